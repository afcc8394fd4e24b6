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
        self.extended(name).map(|(_, bytes)| bytes).or_else(|| self.plain(name).map(<[u8]>::to_vec))
    }

    /// A parameter as text: RFC 2231 forms first, then RFC 2047 words and raw bytes.
    pub fn text(&self, name: &str) -> Option<String> {
        match self.extended(name) {
            Some((Some(charset), bytes)) => Some(words::decode_charset(&charset, &bytes)),
            Some((None, bytes)) => Some(words::decode_words(&bytes)),
            None => self.plain(name).map(words::decode_words),
        }
    }

    fn plain(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    /// `name*=`, `name*0=`, `name*0*=`: RFC 2231 sections 3 and 4.
    fn extended(&self, name: &str) -> Option<(Option<String>, Vec<u8>)> {
        if let Some(value) = self.plain(&format!("{name}*")) {
            return Some(extended_bytes(value));
        }
        let mut charset = None;
        let mut joined = Vec::new();
        let mut pieces = 0;
        loop {
            if let Some(value) = self.plain(&format!("{name}*{pieces}*")) {
                if pieces == 0 {
                    let (found, bytes) = extended_bytes(value);
                    charset = found;
                    joined.extend(bytes);
                } else {
                    joined.extend(words::percent(value, b'%', false));
                }
            } else if let Some(value) = self.plain(&format!("{name}*{pieces}")) {
                joined.extend_from_slice(value);
            } else {
                break;
            }
            pieces += 1;
        }
        (pieces > 0).then_some((charset, joined))
    }
}

/// Character set and bytes of `charset'language'percent-encoded`.
fn extended_bytes(value: &[u8]) -> (Option<String>, Vec<u8>) {
    let mut pieces = value.splitn(3, |byte| *byte == b'\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_), Some(text)) => {
            (Some(words::decode_raw(charset)), words::percent(text, b'%', false))
        }
        _ => (None, words::percent(value, b'%', false)),
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
    let mut bytes = quoted.iter().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => return (value, &quoted[at + 1..]),
            b'\\' => value.extend(bytes.next().map(|(_, escaped)| *escaped)),
            _ => value.push(*byte),
        }
    }
    (value, &[])
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
                format!("'{}' is no media type", essence.escape_debug()),
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

    /// Reads a value leniently: any case, TABs, missing spaces, and the whole in quotes.
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
        let essence: String = words::decode_raw(&value[..end]).split_ascii_whitespace().collect::<String>();
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
        assert!(ContentType::parse(b"nonsense").is_none());
    }

    #[test]
    fn continued_and_extended_parameters() {
        let media = parse("a/b; name*0*=utf-8'en'%e2%82%ac; name*1=\" rate\"; name*2*=%73.txt");
        assert_eq!(media.parameter("name").as_deref(), Some("€ rates.txt"));
        assert_eq!(parse("a/b; name*=iso-8859-1''%E9").parameter("name").as_deref(), Some("é"));
        assert_eq!(parse("a/b; name=\"=?utf-8?B?w6k=?=\"").parameter("name").as_deref(), Some("é"));
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
    }
}
