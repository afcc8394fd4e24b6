//! Text in headers: encoded-words (RFC 2047), percent forms (RFC 2231), and raw 8-bit bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes in a named character set as text. Unknown sets are read as UTF-8, else as Latin-1.
pub(crate) fn decode_charset(charset: &str, bytes: &[u8]) -> String {
    match charset.to_ascii_lowercase().as_str() {
        "iso-8859-1" | "latin1" | "iso8859-1" | "windows-1252" | "cp1252" => latin1(bytes),
        _ => decode_raw(bytes),
    }
}

/// Bytes of no declared character set: UTF-8 where they are that, else Latin-1.
pub(crate) fn decode_raw(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => latin1(bytes),
    }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Decodes the encoded-words in a text; what is none stays as it is.
pub(crate) fn decode_words(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    let mut after_word = false;
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let Some((text, used)) = encoded_word(&rest[at..]) else {
            out.push_str(&decode_raw(&rest[..at + 2]));
            rest = &rest[at + 2..];
            after_word = false;
            continue;
        };
        let between = &rest[..at];
        // White space between two encoded-words is not part of the text (section 6.2).
        if !(after_word && between.trim_ascii().is_empty()) {
            out.push_str(&decode_raw(between));
        }
        out.push_str(&text);
        rest = &rest[at + used..];
        after_word = true;
    }
    out.push_str(&decode_raw(rest));
    out
}

/// `=?charset?B|Q?text?=` at the start of `bytes`: the text and the length of the word.
fn encoded_word(bytes: &[u8]) -> Option<(String, usize)> {
    let inner = &bytes[2..];
    let charset_end = memchr::memchr(b'?', inner)?;
    let charset = std::str::from_utf8(&inner[..charset_end]).ok()?;
    // RFC 2231 section 5 lets a language follow the character set.
    let charset = charset.split('*').next().unwrap_or(charset);
    let encoding = inner.get(charset_end + 1)?;
    if inner.get(charset_end + 2) != Some(&b'?') {
        return None;
    }
    let text = &inner[charset_end + 3..];
    let text_end = memchr::memmem::find(text, b"?=")?;
    let encoded = &text[..text_end];
    let decoded = match encoding.to_ascii_lowercase() {
        b'b' => {
            let clean: Vec<u8> =
                encoded.iter().copied().filter(|byte| !matches!(byte, b' ' | b'=')).collect();
            base64::engine::general_purpose::STANDARD_NO_PAD.decode(clean).ok()?
        }
        b'q' => percent(encoded, b'=', true),
        _ => return None,
    };
    Some((decode_charset(charset, &decoded), 2 + charset_end + 3 + text_end + 2))
}

/// Decodes `%41` (or `=41`); what is no such form stays. Underscores become spaces when asked.
pub(crate) fn percent(bytes: &[u8], mark: u8, underscore: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == mark
            && let (Some(high), Some(low)) = (hex(bytes.get(at + 1)), hex(bytes.get(at + 2)))
        {
            out.push(high << 4 | low);
            at += 3;
            continue;
        }
        out.push(if underscore && byte == b'_' { b' ' } else { byte });
        at += 1;
    }
    out
}

pub(crate) fn hex(byte: Option<&u8>) -> Option<u8> {
    char::from(*byte?).to_digit(16).map(|digit| digit as u8)
}

/// A text as an RFC 2231 extended value: `UTF-8''a%20b`.
pub(crate) fn extended_value(text: &str) -> String {
    let mut out = String::from("UTF-8''");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Base64 with padding, for MICs and small parts.
pub(crate) fn base64_text(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words_in_both_encodings() {
        assert_eq!(decode_words(b"=?utf-8?B?w6k=?= =?ISO-8859-1?q?_=E9?=.edi"), "é é.edi");
        assert_eq!(decode_words(b"plain =? not"), "plain =? not");
        assert_eq!(decode_words(b"=?utf-8?B?w6k?="), "é");
        assert_eq!(decode_words(b"\xe9"), "é");
    }

    #[test]
    fn percent_forms_are_lenient() {
        assert_eq!(percent(b"%41%4", b'%', false), b"A%4");
        assert_eq!(extended_value("é a"), "UTF-8''%C3%A9%20a");
    }
}
