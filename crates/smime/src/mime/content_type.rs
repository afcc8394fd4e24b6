//! `Content-Type` and the parameters it shares with `Content-Disposition`: a lenient reader
//! (RFC 2045 section 5.1, RFC 2231) and a strict writer.

use std::fmt;

use super::words;
use crate::error::{Error, Result};

/// Parameters in order of appearance, names in lower case, values as raw bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, Vec<u8>)>);

impl Parameters {
    /// Reads `; name=value; name="value"`: quotes may be missing or never close, spaces and TABs
    /// may stand anywhere.
    fn parse(mut rest: &[u8]) -> Parameters {
        let mut found = Vec::new();
        while let Some(at) = rest.iter().position(|byte| !is_separator(*byte)) {
            rest = &rest[at..];
            let name_end = rest.iter().position(|byte| matches!(byte, b'=' | b';')).unwrap_or(rest.len());
            let name = words::decode_raw(rest[..name_end].trim_ascii()).to_ascii_lowercase();
            rest = &rest[name_end..];
            let Some(value) = rest.strip_prefix(b"=") else { continue };
            let (value, after) = parse_value(value.trim_ascii_start());
            rest = after;
            if !name.is_empty() {
                found.push((name, value));
            }
        }
        Parameters(found)
    }

    /// The parameters of a `Content-Disposition` value.
    pub(crate) fn of_disposition(value: &[u8]) -> Parameters {
        let at = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        Parameters::parse(&value[at..])
    }

    /// The raw bytes of a parameter: plain, or the pieces of an RFC 2231 value joined and
    /// percent-decoded.
    pub fn raw(&self, name: &str) -> Option<Vec<u8>> {
        self.extended(name).map(|extended| extended.bytes).or_else(|| self.plain(name).map(<[u8]>::to_vec))
    }

    /// A parameter as text: RFC 2231 forms first, then RFC 2047 words and raw bytes. What cannot be
    /// decoded gives way to a plain form beside it (RFC 6266 section 4.3), else it stays as it was sent.
    pub fn text(&self, name: &str) -> Option<String> {
        let plain = || self.plain(name).map(words::decode_words);
        let Some(extended) = self.extended(name) else { return plain() };
        let decoded = match &extended.charset {
            Some(charset) if !charset.is_empty() => words::decode_charset(charset, &extended.bytes),
            _ => Some(words::decode_words(&extended.bytes)),
        };
        decoded.or_else(plain).or_else(|| Some(words::decode_raw(&extended.sent)))
    }

    /// Of several under one name the first that is not empty.
    fn plain(&self, name: &str) -> Option<&[u8]> {
        let mut named = self.0.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let first = named.next()?;
        let said = std::iter::once(first).chain(named).find(|(_, value)| !value.is_empty());
        Some(said.unwrap_or(first).1.as_slice())
    }

    /// `name*=`, `name*0=`, `name*0*=`: RFC 2231 sections 3 and 4.
    fn extended(&self, name: &str) -> Option<Extended> {
        if let Some(value) = self.plain(&format!("{name}*")) {
            return Some(Extended::read(value));
        }
        let mut joined = Extended::default();
        let mut pieces = 0;
        loop {
            if let Some(value) = self.plain(&format!("{name}*{pieces}*")) {
                let piece = match pieces {
                    0 => Extended::read(value),
                    _ => Extended { bytes: words::percent(value, b'%', false), ..Extended::default() },
                };
                if pieces == 0 {
                    joined.charset = piece.charset;
                }
                joined.bytes.extend(piece.bytes);
                joined.sent.extend_from_slice(value);
            } else if let Some(value) = self.plain(&format!("{name}*{pieces}")) {
                joined.bytes.extend_from_slice(value);
                joined.sent.extend_from_slice(value);
            } else {
                break;
            }
            pieces += 1;
        }
        (pieces > 0).then_some(joined)
    }
}

/// An RFC 2231 value.
#[derive(Default)]
struct Extended {
    charset: Option<String>,
    /// Percent-decoded.
    bytes: Vec<u8>,
    /// As it was sent, its pieces joined.
    sent: Vec<u8>,
}

impl Extended {
    /// Reads `charset'language'percent-encoded`.
    fn read(value: &[u8]) -> Self {
        let mut pieces = value.splitn(3, |byte| *byte == b'\'');
        let (charset, text) = match (pieces.next(), pieces.next(), pieces.next()) {
            (Some(charset), Some(_), Some(text)) => (Some(words::decode_raw(charset)), text),
            _ => (None, value),
        };
        Self { charset, bytes: words::percent(text, b'%', false), sent: value.to_vec() }
    }
}

fn is_separator(byte: u8) -> bool {
    byte == b';' || byte.is_ascii_whitespace()
}

fn parse_value(text: &[u8]) -> (Vec<u8>, &[u8]) {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        let end = text.iter().position(|byte| *byte == b';').unwrap_or(text.len());
        return (text[..end].trim_ascii().to_vec(), &text[end..]);
    };
    let mut value = Vec::new();
    let mut at = 0;
    while let Some(&byte) = quoted.get(at) {
        match (byte, quoted.get(at + 1)) {
            (b'"', _) => return (value, &quoted[at + 1..]),
            // A path that ends with its separator, as in "C:\out\": the quote closes, for no other does.
            (b'\\', Some(b'"')) if ends_here(&quoted[at + 2..]) => {
                value.push(b'\\');
                return (value, &quoted[at + 2..]);
            }
            // Before anything else a backslash is one: "C:\data\order.edi" is a path, and nobody quotes
            // letters (RFC 2045 says quoted-pair, but senders put raw paths here).
            (b'\\', Some(&escaped @ (b'"' | b'\\'))) => {
                value.push(escaped);
                at += 1;
            }
            _ => value.push(byte),
        }
        at += 1;
    }
    (value, &[])
}

/// Whether a quote before `rest` closes the value: the next parameter or nothing follows, and no other
/// quote could close it.
fn ends_here(rest: &[u8]) -> bool {
    let next = rest.trim_ascii_start();
    next.is_empty() || next.starts_with(b";") && rest.iter().filter(|byte| **byte == b'"').count() % 2 == 0
}

/// A media type with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType {
    essence: String,
    parameters: Parameters,
}

impl ContentType {
    /// A type to be written. Errors unless `essence` is `type/subtype` in token characters.
    pub fn new(essence: &str) -> Result<ContentType> {
        let valid = essence
            .split_once('/')
            .is_some_and(|(kind, subtype)| is_token(kind.as_bytes()) && is_token(subtype.as_bytes()));
        if !valid {
            return Err(Error::malformed(
                "Content-Type",
                format!("'{}' is not a media type", essence.escape_debug()),
            ));
        }
        Ok(ContentType { essence: essence.to_owned(), parameters: Parameters::default() })
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> ContentType {
        self.parameters.0.push((name.to_owned(), value.as_bytes().to_vec()));
        self
    }

    /// Takes a parameter out, in all its forms.
    #[must_use]
    pub fn without(mut self, name: &str) -> ContentType {
        let is_form_of =
            |other: &str| other.split('*').next().is_some_and(|base| base.eq_ignore_ascii_case(name));
        self.parameters.0.retain(|(other, _)| !is_form_of(other));
        self
    }

    /// Reads a value leniently: any case, TABs, missing spaces, and the whole or the type in quotes.
    /// None when there is not even a `type/subtype`.
    pub fn parse(value: &[u8]) -> Option<ContentType> {
        let mut value = value.trim_ascii().to_vec();
        if let Some(inner) = value.strip_prefix(b"\"") {
            let inner = inner.strip_suffix(b"\"").unwrap_or(inner).to_vec();
            value = Vec::with_capacity(inner.len());
            let mut bytes = inner.iter().peekable();
            while let Some(byte) = bytes.next() {
                if !(*byte == b'\\' && bytes.peek() == Some(&&b'"')) {
                    value.push(*byte);
                }
            }
        }
        let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
        // Some quote the type and not its parameters.
        let is_noise = |character: char| character.is_ascii_whitespace() || character == '"';
        let essence = words::decode_raw(&value[..end]).replace(is_noise, "");
        let (kind, subtype) = essence.split_once('/')?;
        if kind.is_empty() || subtype.is_empty() {
            return None;
        }
        Some(ContentType {
            essence: essence.to_ascii_lowercase(),
            parameters: Parameters::parse(&value[end..]),
        })
    }

    /// `type/subtype`, in lower case when it was read.
    pub fn essence(&self) -> &str {
        &self.essence
    }

    /// Whether the type (before the slash) is this one.
    pub fn is_kind(&self, kind: &str) -> bool {
        self.essence.split('/').next().is_some_and(|own| own.eq_ignore_ascii_case(kind))
    }

    /// A parameter's text, decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.parameters.text(name)
    }

    /// All parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }
}

fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.iter().all(|byte| byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?=".contains(byte))
}

impl fmt::Display for ContentType {
    /// Writes in one line, quoting where needed; text beyond ASCII as RFC 2231 says.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.essence)?;
        for (name, value) in &self.parameters.0 {
            if is_token(value) {
                write!(f, "; {name}={}", words::decode_raw(value))?;
            } else if value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                let text = words::decode_raw(value).replace('\\', "\\\\").replace('"', "\\\"");
                write!(f, "; {name}=\"{text}\"")?;
            } else {
                write!(f, "; {name}*={}", words::extended_value(&words::decode_raw(value)))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ContentType {
        ContentType::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn wild_forms_are_read() {
        let media = parse(
            "Multipart/Signed;boundary=abc;micalg=\"sha-256\" ;\tprotocol=application/pkcs7-signature;",
        );
        assert_eq!(media.essence(), "multipart/signed");
        assert_eq!(media.parameter("Boundary").as_deref(), Some("abc"));
        assert_eq!(media.parameter("micalg").as_deref(), Some("sha-256"));
        assert_eq!(media.parameter("protocol").as_deref(), Some("application/pkcs7-signature"));

        let whole = parse(r#""application/pkcs7-mime; smime-type=enveloped-data; name=\"smime.p7m\"""#);
        assert_eq!(whole.essence(), "application/pkcs7-mime");
        assert_eq!(whole.parameter("name").as_deref(), Some("smime.p7m"));

        assert_eq!(parse("a/b; x=\"never closed").parameter("x").as_deref(), Some("never closed"));
        assert_eq!(parse("a/b; flag; x=1").parameter("x").as_deref(), Some("1"));
        let quoted = parse("\"multipart/signed\"; boundary=abc");
        assert_eq!(quoted.essence(), "multipart/signed");
        assert_eq!(quoted.parameter("boundary").as_deref(), Some("abc"));
        assert!(ContentType::parse(b"nonsense").is_none() && ContentType::parse(b"\"\"/x").is_none());
    }

    #[test]
    fn continued_and_extended_parameters() {
        let media = parse("a/b; name*0*=utf-8'en'%e2%82%ac; name*1=\" rate\"; name*2*=%73.txt");
        assert_eq!(media.parameter("name").as_deref(), Some("€ rates.txt"));
        assert_eq!(parse("a/b; name*=iso-8859-1''%E9").parameter("name").as_deref(), Some("é"));
        assert_eq!(parse("a/b; name=\"=?utf-8?B?w6k=?=\"").parameter("name").as_deref(), Some("é"));
    }

    #[test]
    fn extended_parameters_in_any_character_set() {
        for (value, name) in [
            ("name*=ISO-8859-2''zam%F3wienie.edi", "zamówienie.edi"),
            ("name*=windows-1250'cs'%9A.edi", "š.edi"),
            ("name*=Shift_JIS'ja'%92%8D%95%B6.edi", "注文.edi"),
            ("name*=GB2312''%B6%A9%B5%A5.edi", "订单.edi"),
            ("name*0*=GB2312''%B6; name*1*=%A9%B5%A5; name*2=.edi", "订单.edi"),
            ("name*=\"UTF-8''%e2%82%ac.edi\"", "€.edi"),
            ("name*=''order%201.edi", "order 1.edi"),
            // What cannot be decoded gives way to the plain form, else it stays.
            ("name=order.edi; name*=x-unknown''%E9.edi", "order.edi"),
            ("name=order.edi; name*=UTF-8''%E9.edi", "order.edi"),
            ("name*=x-unknown''%E9.edi", "x-unknown''%E9.edi"),
            ("name*=x-unknown''order%201.edi", "order 1.edi"),
            ("name=\"=?ISO-8859-2?Q?zam=F3wienie?=.edi\"", "zamówienie.edi"),
        ] {
            assert_eq!(parse(&format!("a/b; {value}")).parameter("name").as_deref(), Some(name), "{value}");
        }
    }

    #[test]
    fn a_backslash_escapes_quotes_and_itself_alone() {
        for (value, name) in [
            (r#""C:\data\order2.edi""#, r"C:\data\order2.edi"),
            (r#""C:\\data\\order2.edi""#, r"C:\data\order2.edi"),
            (r#""\\server\share\order.edi""#, r"\server\share\order.edi"),
            (r#""C:\out\"; size=3"#, r"C:\out\"),
            (r#""C:\out\""#, r"C:\out\"),
            (r#""a \"b\" c.edi"; x="1""#, r#"a "b" c.edi"#),
            (r#""ends with a quote\"""#, r#"ends with a quote""#),
            (r"C:\data\order2.edi", r"C:\data\order2.edi"),
        ] {
            assert_eq!(
                parse(&format!("a/b; name={value}")).parameter("name").as_deref(),
                Some(name),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let media = ContentType::new("application/edi-x12")
            .unwrap()
            .with("name", "a \"b\" é.edi")
            .with("charset", "utf-8")
            .with("title", "x \"y\\z\"");
        let text = media.to_string();
        assert!(text.is_ascii());
        let back = parse(&text);
        assert_eq!(back.parameter("name").as_deref(), Some("a \"b\" é.edi"));
        assert_eq!(back.parameter("title").as_deref(), Some("x \"y\\z\""));
        assert!(ContentType::new("a b/c").is_err());
        let without = parse("a/b; name*0=x; charset=utf-8; NAME=y").without("name");
        assert_eq!(without.to_string(), "a/b; charset=utf-8");
    }
}
