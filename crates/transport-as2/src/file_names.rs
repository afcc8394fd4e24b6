//! File names on their way: what a sender says becomes a safe name on our side, and our names become parameters that a
//! header may hold (RFC 2183, RFC 2231, RFC 2047).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::words;

words! {
    /// How the names of files are written that are more than printable ASCII.
    FileNameForm {
        /// `filename*=UTF-8''…` (RFC 2231).
        Extended = "extended",
        /// The same, with a name in ASCII before it for partners that do not read it (RFC 6266, appendix D).
        ExtendedWithAscii = "extended_with_ascii",
        /// `filename="=?UTF-8?B?…?="` (RFC 2047), which no standard allows there and many products read.
        EncodedWord = "encoded_word",
    }
}

/// A whole field `Content-Disposition` for a file of this name.
pub(crate) fn attachment(name: &[u8], form: FileNameForm) -> String {
    format!("attachment; {}", parameter(name, form))
}

/// `filename=…`: plain or quoted where it is printable ASCII. Bytes that are no UTF-8 go out as Latin-1, one byte a
/// character, so that nothing is lost.
pub(crate) fn parameter(name: &[u8], form: FileNameForm) -> String {
    let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(b);
    if name.iter().all(token) {
        return format!("filename={}", String::from_utf8_lossy(name));
    }
    // Lenient readers, ours too, may take such a quote for the end of the value.
    let is_ambiguous = name.contains(&b'"') && name.contains(&b';');
    if !is_ambiguous && name.iter().all(|b| (0x20..0x7f).contains(b)) {
        return format!("filename={}", quoted(&String::from_utf8_lossy(name)));
    }
    match form {
        FileNameForm::Extended => extended(name),
        // The plain one first: some readers stop at the first that they know (RFC 6266, appendix D).
        FileNameForm::ExtendedWithAscii => {
            format!("filename={}; {}", quoted(&in_ascii(name)), extended(name))
        }
        FileNameForm::EncodedWord => format!("filename=\"{}\"", encoded_words(name)),
    }
}

fn charset(name: &[u8]) -> &'static str {
    if std::str::from_utf8(name).is_ok() { "UTF-8" } else { "ISO-8859-1" }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn extended(name: &[u8]) -> String {
    let mut text = format!("filename*={}''", charset(name));
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

/// The characters of a name, each that is no printable ASCII as `_`; a quote or backslash too, which lenient readers may take
/// for the end of the value.
fn in_ascii(name: &[u8]) -> String {
    let plain = |c: char| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '_' };
    match std::str::from_utf8(name) {
        Ok(text) => text.chars().map(plain).collect(),
        Err(_) => name.iter().map(|byte| plain(char::from(*byte))).collect(),
    }
}

/// Bytes of one encoded-word, before they are encoded: it has 75 characters at most (RFC 2047, 2).
const LONGEST_WORD: usize = 42;

/// Encoded-words with a space between them, which stands for nothing. No character is cut in two.
fn encoded_words(name: &[u8]) -> String {
    let charset = charset(name);
    let mut words: Vec<String> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let mut end = rest.len().min(LONGEST_WORD);
        while charset == "UTF-8" && end > 1 && rest.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
            end -= 1;
        }
        let (word, after) = rest.split_at(end);
        words.push(format!("=?{charset}?B?{}?=", BASE64.encode(word)));
        rest = after;
    }
    words.join(" ")
}

/// Longest file name that file systems hold, in bytes.
const LONGEST_NAME: usize = 255;

/// A name for the file on our side: the last part of what the sender says, without what could lead
/// elsewhere or break a line. The raw name stays in the metadata.
#[must_use]
pub fn safe_file_name(raw: Option<&str>, message_id: &str) -> String {
    let last = without_drive(last_part(raw.unwrap_or_default()).trim());
    let mut name: String = last
        .trim()
        .chars()
        .map(|c| {
            if breaks_lines(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') {
                '_'
            } else {
                c
            }
        })
        .collect();
    if name.len() > LONGEST_NAME {
        name = shortened(&name);
    }
    if !name.chars().all(|c| c == '.' || c == ' ') {
        return name;
    }
    let id: String = message_id
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '@'))
        .take(150)
        .collect();
    format!("message-{}", id.trim_matches('.'))
}

/// What stands behind the last separator. A slash in an encoded-word that could not be decoded is a digit of
/// its base64, and separates nothing.
fn last_part(name: &str) -> &str {
    let mut from = 0;
    let mut at = 0;
    while let Some(found) = name[at..].find(['/', '\\', '=']) {
        at += found;
        match word_length(&name[at..]) {
            Some(length) => at += length,
            None => {
                // All three are one byte.
                from = if name[at..].starts_with('=') { from } else { at + 1 };
                at += 1;
            }
        }
    }
    &name[from..]
}

/// The length in bytes of an encoded-word at the beginning (RFC 2047, 2), whether or not it can be decoded.
fn word_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix("=?")?;
    let (charset, rest) = inner.split_once('?')?;
    let rest = rest.strip_prefix(['B', 'b', 'Q', 'q'])?.strip_prefix('?')?;
    let word = !charset.is_empty() && !charset.contains(['/', '\\']);
    word.then_some(text.len() - rest.len() + rest.find("?=")? + 2)
}

/// `C:order.edi` names a file in a drive's own directory.
fn without_drive(name: &str) -> &str {
    match name.split_once(':') {
        Some((drive, rest)) if drive.len() == 1 && drive.starts_with(|c: char| c.is_ascii_alphabetic()) => {
            rest
        }
        _ => name,
    }
}

/// A name cut to what a file system holds. The extension stays: flows choose by it.
fn shortened(name: &str) -> String {
    let (stem, extension) = split_extension(name);
    let mut room = LONGEST_NAME - extension.len();
    while !stem.is_char_boundary(room) {
        room -= 1;
    }
    format!("{}{extension}", &stem[..room])
}

/// A name before and from its last dot; one that is long is no extension.
fn split_extension(name: &str) -> (&str, &str) {
    let dot = name.rfind('.').filter(|at| *at > 0 && name.len() - at <= 32);
    dot.map_or((name, ""), |at| name.split_at(at))
}

/// Whether a character breaks or reorders the line that it stands in.
fn breaks_lines(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A name that no other file of the same message has: of those that want one name, each but the first gets its number.
pub(crate) fn unlike(name: String, others: &[&str]) -> String {
    if !others.contains(&name.as_str()) {
        return name;
    }
    let (stem, extension) = split_extension(&name);
    let numbered = |number: usize| {
        let ending = format!("-{number}{extension}");
        let mut room = LONGEST_NAME.saturating_sub(ending.len()).min(stem.len());
        while !stem.is_char_boundary(room) {
            room -= 1;
        }
        format!("{}{ending}", &stem[..room])
    };
    // Among one more than there are others, one is free.
    let free = (2..others.len() + 3).map(numbered).find(|name| !others.contains(&name.as_str()));
    free.unwrap_or_else(|| numbered(others.len() + 3))
}

#[cfg(test)]
mod tests;
