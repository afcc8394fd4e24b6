//! Text in headers: encoded-words (RFC 2047), percent forms (RFC 2231), and raw 8-bit bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};

/// Bytes in a named character set as text. None when the name is not known and the bytes are more than
/// ASCII, or when they are not text in that set. A byte order mark says something in UTF-16 alone; in UTF-8 it
/// is part of the text.
pub(crate) fn decode_charset(charset: &str, bytes: &[u8]) -> Option<String> {
    let Some(encoding) = encoding(charset) else {
        // Nearly every set holds ASCII where ASCII has it.
        let plain = !is_hidden_in_ascii(charset, bytes);
        return std::str::from_utf8(bytes).ok().filter(|text| plain && text.is_ascii()).map(str::to_owned);
    };
    let sixteen_bits = encoding == UTF_16LE || encoding == UTF_16BE;
    let encoding = if sixteen_bits { byte_order(charset, bytes) } else { encoding };
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes)?;
    Some(text.strip_prefix('\u{feff}').filter(|_| sixteen_bits).unwrap_or(&text).to_owned())
}

/// Whether ASCII bytes may be other text than they seem: in a set that is known to write characters so, or by
/// the marks of such sets: escapes, shifts, NUL, HZ's `~{` (RFC 1843), UTF-7's `+…-` (RFC 2152).
fn is_hidden_in_ascii(charset: &str, bytes: &[u8]) -> bool {
    let name = plain_name(charset);
    let by_name = ["utf", "ucs", "iso2022", "iso10646", "unicode", "hz"];
    let shifted = bytes.split(|byte| *byte == b'+').skip(1).any(|behind| {
        let base64 = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'/';
        behind.iter().find(|byte| !base64(byte)) == Some(&b'-')
    });
    by_name.iter().any(|start| name.strip_prefix("cs").unwrap_or(&name).starts_with(start))
        || name.contains("utf7")
        || bytes.iter().any(|byte| matches!(byte, 0 | 0x0e | 0x0f | 0x1b))
        || memchr::memmem::find(bytes, b"~{").is_some()
        || shifted
}

/// Which form of UTF-16 bytes are in: as their mark says; else as the name says; else the one in which more
/// high bytes are 0, as those of Latin letters are, and big-endian when none is (RFC 2781, 4.3).
fn byte_order(charset: &str, bytes: &[u8]) -> &'static Encoding {
    let name = plain_name(charset);
    match bytes {
        [0xfe, 0xff, ..] => return UTF_16BE,
        [0xff, 0xfe, ..] => return UTF_16LE,
        _ if name.ends_with("be") => return UTF_16BE,
        _ if name.ends_with("le") => return UTF_16LE,
        _ => {}
    }
    let zeros = |offset: usize| bytes.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    if zeros(1) > zeros(0) { UTF_16LE } else { UTF_16BE }
}

/// A character set's name in lower-case letters and digits alone.
fn plain_name(charset: &str) -> String {
    charset.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// The character set that a name means, in the spellings of web browsers and of mail programs.
fn encoding(name: &str) -> Option<&'static Encoding> {
    let name = name.trim();
    if let Some(found) = Encoding::for_label_no_replacement(name.as_bytes()) {
        return Some(found);
    }
    let plain = plain_name(name);
    let label = match plain.as_str() {
        "utf8mb4" | "cp65001" | "unicode11utf8" => "utf-8".to_owned(),
        "cp932" | "windows932" | "mskanji" => "shift_jis".to_owned(),
        "cp936" | "windows936" | "ms936" => "gbk".to_owned(),
        "cp949" | "windows949" | "ms949" | "uhc" => "euc-kr".to_owned(),
        "cp50220" | "cp50221" | "cp50222" | "iso2022jp1" | "iso2022jpms" => "iso-2022-jp".to_owned(),
        "cp950" | "windows950" | "ms950" => "big5".to_owned(),
        _ => {
            let code_page = ["windows", "win", "cp", "xcp", "mswin", "ansi"]
                .iter()
                .find_map(|prefix| plain.strip_prefix(prefix))
                .filter(|page| page.starts_with("125"));
            match (code_page, plain.strip_prefix("iso8859").or_else(|| plain.strip_prefix("8859"))) {
                (Some(page), _) => format!("windows-{page}"),
                (None, Some(part)) => format!("iso-8859-{part}"),
                (None, None) => plain,
            }
        }
    };
    Encoding::for_label_no_replacement(label.as_bytes())
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

/// Decodes the encoded-words in a text (RFC 2047). What is none stays as it is, and so does a word in a character
/// set that is not known, or whose bytes are no text in it.
#[must_use]
pub fn decode_words(bytes: &[u8]) -> String {
    let mut out = String::new();
    let mut rest = bytes;
    let mut run = Run::default();
    while let Some(at) = memchr::memmem::find(rest, b"=?") {
        let between = &rest[..at];
        let Some(word) = encoded_word(&rest[at..]) else {
            run.write_to(&mut out);
            out.push_str(&decode_raw(&rest[..at + 2]));
            rest = &rest[at + 2..];
            continue;
        };
        // White space between two encoded-words is not part of the text (section 6.2).
        if run.is_empty() || !between.trim_ascii().is_empty() {
            run.write_to(&mut out);
            out.push_str(&decode_raw(between));
        }
        if !run.charset.eq_ignore_ascii_case(&word.charset) {
            run.write_to(&mut out);
            run.charset = word.charset;
        }
        run.bytes.extend(word.bytes);
        if !run.is_empty() {
            run.sent.extend_from_slice(between);
        }
        run.sent.extend_from_slice(&rest[at..at + word.length]);
        rest = &rest[at + word.length..];
    }
    run.write_to(&mut out);
    out.push_str(&decode_raw(rest));
    out
}

/// Neighbouring words in one character set. Their bytes are joined before they are decoded: senders cut
/// words in the middle of a character, although section 5 forbids that.
#[derive(Default)]
struct Run {
    charset: String,
    bytes: Vec<u8>,
    /// The words as they were sent.
    sent: Vec<u8>,
}

impl Run {
    fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    fn write_to(&mut self, out: &mut String) {
        let run = std::mem::take(self);
        // Some products begin each word with a mark, in UTF-8 too.
        let marked = |text: String| text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text);
        match decode_charset(&run.charset, &run.bytes).map(marked) {
            Some(text) => out.push_str(&text),
            None => out.push_str(&decode_raw(&run.sent)),
        }
    }
}

/// One encoded-word.
struct Word {
    charset: String,
    bytes: Vec<u8>,
    /// Of the word as it was sent, in bytes.
    length: usize,
}

/// `=?charset?B|Q?text?=` at the start of `bytes`.
fn encoded_word(bytes: &[u8]) -> Option<Word> {
    let inner = &bytes[2..];
    let charset_end = memchr::memchr(b'?', inner)?;
    let charset = std::str::from_utf8(&inner[..charset_end]).ok()?;
    // RFC 2231 section 5 lets a language follow the character set.
    let charset = charset.split('*').next().unwrap_or(charset);
    let encoding = inner.get(charset_end + 1)?;
    if charset.is_empty() || inner.get(charset_end + 2) != Some(&b'?') {
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
    Some(Word { charset: charset.to_owned(), bytes: decoded, length: 2 + charset_end + 3 + text_end + 2 })
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
    fn words_in_any_character_set_are_read_as_what_they_are() {
        for (sent, text) in [
            ("=?ISO-8859-2?Q?zam=F3wienie_=B1=B6.edi?=", "zamówienie ąś.edi"),
            ("=?windows-1250?Q?=9Alu=9Dou=E8k=FD.edi?=", "šluťoučký.edi"),
            ("=?cp1250?Q?=9A?=", "š"),
            ("=?win-1250?q?=9A?=", "š"),
            ("=?GB2312?B?tqm1pS5lZGk=?=", "订单.edi"),
            ("=?Shift_JIS?B?ko2Vti5lZGk=?=", "注文.edi"),
            ("=?cp932?B?ko2Vti5lZGk=?=", "注文.edi"),
            ("=?iso-2022-jp?B?GyRCQ21KOBsoQi5lZGk=?=", "注文.edi"),
            ("=?EUC-KR?B?wda5ri5lZGk=?=", "주문.edi"),
            ("=?koi8-r?Q?=DA=C1=CB=C1=DA?=", "заказ"),
            ("=?windows-1251?Q?=E7=E0=EA=E0=E7?=", "заказ"),
            ("=?iso8859-15?Q?=A4?=", "€"),
            ("=?windows-1252?Q?=80?=", "€"),
            ("=?utf-8*en?Q?=E2=82=AC?=", "€"),
            ("=?us-ascii?Q?order.edi?=", "order.edi"),
            // Sixteen bits, with and without a mark of the byte order, and marks of other forms.
            ("=?UTF-16?B?/v8AYQ==?=", "a"),
            ("=?UTF-16?B?//5hAA==?=", "a"),
            ("=?UTF-16?B?AGEALgBl?=", "a.e"),
            ("=?UTF-16?B?YQAuAGUA?=", "a.e"),
            ("=?UTF-16?B?bOhlhwAuAGU=?=", "注文.e"),
            ("=?utf-16be?B?AGE=?=", "a"),
            ("=?utf-16le?B?//5hAA==?=", "a"),
            ("=?utf-16le?B?/v8AYQ==?=", "a"),
            ("=?UCS-2?B?AGE=?=", "a"),
            ("=?ISO-10646-UCS-2?B?AGE=?=", "a"),
            ("=?utf-8?B?77u/YQ==?=", "a"),
            ("=?cp50220?B?GyRCQ21KOBsoQi5lZGk=?=", "注文.edi"),
            // A character cut in two, and words of two sets side by side.
            ("=?utf-8?B?w6k=?= =?utf-8?Q?=C3?= =?UTF-8?Q?=A9?=", "éé"),
            ("=?utf-8?Q?=C3=A9?= =?koi8-r?Q?=DA?=", "éз"),
            ("a =?utf-8?Q?b?= c =?utf-8?Q?d?=", "a b c d"),
        ] {
            assert_eq!(decode_words(sent.as_bytes()), text, "{sent}");
        }
    }

    #[test]
    fn what_cannot_be_decoded_stays_as_it_was_sent() {
        for sent in [
            "=?x-unknown?Q?=E9.edi?=",
            "=?utf-8?Q?=E9.edi?=",
            "=?Shift_JIS?B?gf8=?=",
            "=?utf-7?Q?=E9?=",
            "=?utf-8?X?a?=",
            "=?utf-8?B?not base64!?=",
            "=??Q?a?=",
            "a =?x-unknown?Q?=E9?= =?x-unknown?Q?=E8?= b",
            // Sets that are not read and write their characters in ASCII.
            "=?HZ-GB-2312?Q?~{6)5%~}.edi?=",
            "=?hz-gb-2312?Q?order.edi?=",
            "=?ISO-2022-KR?B?GyQpQw5WVjkuDw==?=",
            "=?iso-2022-cn?B?GyQpQQ42KTUlDw==?=",
            "=?UTF-7?Q?Gr+APYA3w-e.edi?=",
            "=?unicode-1-1-utf-7?Q?Gr+APYA3w-e.edi?=",
            "=?x-unicode-2-0-utf-7?Q?order.edi?=",
            "=?utf-32?B?AAAAYQ==?=",
            "=?ISO-10646-UCS-4?B?AAAAYQ==?=",
            "=?UCS-4?Q?a?=",
            // The same under names that are not known at all.
            "=?x-unknown?B?GyRCQ20=?=",
            "=?x-unknown?B?DmEP?=",
            "=?x-unknown?B?AGE=?=",
            "=?x-unknown?Q?~{6)5%~}?=",
            "=?x-unknown?Q?Gr+APY-e?=",
        ] {
            assert_eq!(decode_words(sent.as_bytes()), sent);
        }
        // ASCII is ASCII under nearly any name.
        assert_eq!(decode_words(b"=?x-unknown?Q?order_1.edi?="), "order 1.edi");
        assert_eq!(decode_words(b"=?x-unknown?Q?1+2,_a-b.edi?="), "1+2, a-b.edi");
    }

    #[test]
    fn percent_forms_are_lenient() {
        assert_eq!(percent(b"%41%4", b'%', false), b"A%4");
        assert_eq!(extended_value("é a"), "UTF-8''%C3%A9%20a");
    }
}
