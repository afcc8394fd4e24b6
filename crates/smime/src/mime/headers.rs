//! Header sections: read from a stream under caps, kept as received, written without folding.

use std::io::{BufRead, Cursor, Read};

use super::content_type::{ContentType, Parameters};
use super::transfer::TransferEncoding;
use crate::error::{Error, Result};
use crate::message::limits::Limits;

const PLACE: &str = "MIME header";

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The name as it was written.
    pub name: String,
    /// The value unfolded and trimmed, otherwise as received; it may hold raw 8-bit bytes.
    pub value: Vec<u8>,
}

/// A header section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    fields: Vec<Field>,
    raw: Vec<u8>,
    /// The empty line after the section, as received.
    end: Vec<u8>,
}

impl Headers {
    /// An empty section.
    pub fn new() -> Self {
        Headers::default()
    }

    /// Adds a field. Errors when name or value hold what would break out of the line.
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self> {
        let value = value.as_ref();
        if name.is_empty() || !name.bytes().all(is_name_byte) {
            return Err(Error::malformed(PLACE, format!("'{}' is not a field name", name.escape_debug())));
        }
        if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return Err(Error::malformed(PLACE, format!("the value of {name} holds a line end")));
        }
        self.raw.extend_from_slice(name.as_bytes());
        self.raw.extend_from_slice(b": ");
        self.raw.extend_from_slice(value);
        self.raw.extend_from_slice(b"\r\n");
        self.fields.push(Field { name: name.to_owned(), value: value.to_vec() });
        Ok(self)
    }

    /// The fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The section's bytes, each line with its end, without the empty line that closes it.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The empty line that closes the section, as received; empty when the stream ended without one.
    pub fn end(&self) -> &[u8] {
        &self.end
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The first value under a name, whatever its case.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.fields
            .iter()
            .find(|field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.as_slice())
    }

    /// `Content-Type`; absent or hopeless, it is none (RFC 2045 section 5.2 would say text/plain,
    /// AS2 partners mean 'unknown').
    pub fn content_type(&self) -> Option<ContentType> {
        self.get("Content-Type").and_then(ContentType::parse)
    }

    /// `Content-Transfer-Encoding`; none when absent, an error when not known.
    pub fn transfer_encoding(&self) -> Result<Option<TransferEncoding>> {
        self.get("Content-Transfer-Encoding").map(TransferEncoding::parse).transpose()
    }

    /// Raw bytes of the file name: `Content-Disposition: filename`, else `Content-Type: name`; the first that is not blank.
    /// Whatever the peer sent: not safe as a path.
    pub fn file_name_raw(&self) -> Option<Vec<u8>> {
        self.file_name_parameter(|parameters, name| parameters.raw(name))
    }

    /// The file name decoded (RFC 2231, RFC 2047, UTF-8, else Latin-1). Not safe as a path.
    pub fn file_name(&self) -> Option<String> {
        self.file_name_parameter(|parameters, name| parameters.text(name))
    }

    fn file_name_parameter<T>(&self, get: impl Fn(&Parameters, &str) -> Option<T>) -> Option<T> {
        let disposition = self.get("Content-Disposition").map(Parameters::of_disposition);
        let media = self.content_type();
        let of_type = media.as_ref().map(ContentType::parameters);
        let places = [
            (disposition.as_ref(), "filename"),
            (disposition.as_ref(), "name"),
            (of_type, "name"),
            (of_type, "filename"),
        ];
        let said = |(parameters, name): &(&Parameters, &str)| parameters.text(name);
        let mut present = places.into_iter().filter_map(|(parameters, name)| Some((parameters?, name)));
        let mut first = None;
        let counts = present.find(|place| {
            let text = said(place);
            if first.is_none() && text.is_some() {
                first = Some(*place);
            }
            text.is_some_and(|text| !text.trim().is_empty())
        });
        let (parameters, name) = counts.or(first)?;
        get(parameters, name)
    }

    /// Reads a section up to and including its empty line. What was read of a body that has no
    /// header section at all is given back as the second value, to be put in front of the rest.
    ///
    /// Accepts bare LF, folding with spaces or TABs, spaces before the colon; skips lines that
    /// are no field. Errors: a cap is met, or the stream ends inside the section.
    pub fn read(source: &mut impl BufRead, limits: &Limits) -> Result<(Headers, Vec<u8>)> {
        let mut headers = Headers::new();
        loop {
            let line_start = headers.raw.len();
            let complete = read_line(source, &mut headers.raw, limits)?;
            let line = &headers.raw[line_start..];
            if is_empty_line(line) {
                headers.end = headers.raw.split_off(line_start);
                break;
            }
            if !complete && line.is_empty() {
                // The stream ended after the fields: an entity without a body.
                break;
            }
            let text = trim_line_end(line).to_vec();
            let folded = matches!(text.first(), Some(b' ' | b'\t'));
            if folded && let Some(last) = headers.fields.last_mut() {
                last.value.push(b' ');
                last.value.extend_from_slice(text.trim_ascii());
            } else if let Some(field) = parse_field(&text) {
                if headers.fields.len() >= limits.header_fields {
                    return Err(Error::limit("MIME header fields", limits.header_fields as u64));
                }
                headers.fields.push(field);
            } else if headers.fields.is_empty() {
                // No header section: these bytes are the body.
                let body = std::mem::take(&mut headers.raw);
                return Ok((headers, body));
            }
            if !complete {
                break;
            }
        }
        Ok((headers, Vec::new()))
    }

    /// As [`read`](Self::read), from bytes that are all there; gives the rest as well.
    pub fn parse<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Headers, &'a [u8])> {
        let mut cursor = Cursor::new(bytes);
        let (headers, body) = Headers::read(&mut cursor, limits)?;
        let at = usize::try_from(cursor.position()).unwrap_or(usize::MAX) - body.len();
        Ok((headers, bytes.get(at..).unwrap_or_default()))
    }
}

fn is_name_byte(byte: u8) -> bool {
    (33..127).contains(&byte) && byte != b':'
}

fn parse_field(line: &[u8]) -> Option<Field> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let name = line[..colon].trim_ascii_end();
    // Narrower than RFC 5322, so that bodies without headers are not taken for some.
    if name.is_empty() || !name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte)) {
        return None;
    }
    let name = String::from_utf8(name.to_vec()).ok()?;
    Some(Field { name, value: line[colon + 1..].trim_ascii().to_vec() })
}

fn is_empty_line(line: &[u8]) -> bool {
    matches!(line, b"\n" | b"\r\n")
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Appends one line with its end; false when the stream ended before it.
fn read_line(source: &mut impl BufRead, raw: &mut Vec<u8>, limits: &Limits) -> Result<bool> {
    loop {
        let available = match source.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        if available.is_empty() {
            return Ok(false);
        }
        let room = limits.header_bytes.saturating_sub(raw.len());
        let line = memchr::memchr(b'\n', available).map(|at| at + 1);
        let count = line.unwrap_or(available.len());
        if count > room {
            return Err(Error::limit("MIME header in bytes", limits.header_bytes as u64));
        }
        raw.extend_from_slice(&available[..count]);
        source.consume(count);
        if line.is_some() {
            return Ok(true);
        }
    }
}

/// A body with what was read of it before put in front again.
pub(crate) type Body<R> = std::io::Chain<Cursor<Vec<u8>>, R>;

/// A header section and the body behind it, with what was read too far put in front again.
pub(crate) fn split<R: BufRead>(mut source: R, limits: &Limits) -> Result<(Headers, Body<R>)> {
    let (headers, pushed_back) = Headers::read(&mut source, limits)?;
    Ok((headers, Cursor::new(pushed_back).chain(source)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> (Headers, Vec<u8>) {
        let (headers, body) = Headers::parse(text, &Limits::default()).unwrap();
        (headers, body.to_vec())
    }

    #[test]
    fn folded_tabbed_and_bare_lf_headers() {
        let (headers, body) = parse(
            b"content-type:\tmultipart/signed;\r\n\tmicalg=sha1;\n  boundary=\"x y\"\nSubject : a\r\n\r\nbody",
        );
        let media = headers.content_type().unwrap();
        assert_eq!(media.essence(), "multipart/signed");
        assert_eq!(media.parameter("boundary").as_deref(), Some("x y"));
        assert_eq!(headers.get("SUBJECT"), Some(&b"a"[..]));
        assert_eq!(body, b"body");
    }

    #[test]
    fn no_section_at_all_is_a_body() {
        let (headers, body) = parse(b"UNB+UNOA:1+A+B'\nmore\n\nend");
        // The first line has a colon but no field name before it.
        assert!(headers.is_empty());
        assert_eq!(body, b"UNB+UNOA:1+A+B'\nmore\n\nend");
        assert_eq!(parse(b"\r\nbody").1, b"body");
        assert_eq!(parse(b"").1, b"");
    }

    #[test]
    fn caps_are_kept() {
        let limits = Limits { header_bytes: 100, header_fields: 3, ..Limits::default() };
        let long = [b'a'; 200];
        assert!(matches!(Headers::parse(&long, &limits), Err(Error::LimitExceeded { .. })));
        let many = b"a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\n\r\n";
        assert!(matches!(Headers::parse(many, &limits), Err(Error::LimitExceeded { .. })));
    }

    #[test]
    fn values_cannot_break_out_of_their_line() {
        assert!(Headers::new().with("Subject", "a\r\nBcc: b").is_err());
        assert!(Headers::new().with("Sub ject", "a").is_err());
        assert_eq!(Headers::new().with("A", "b").unwrap().raw(), b"A: b\r\n");
    }

    #[test]
    fn file_names_come_from_either_header() {
        let (headers, _) = parse(b"Content-Disposition: attachment; filename=\"a b.edi\"\r\n\r\n");
        assert_eq!(headers.file_name().as_deref(), Some("a b.edi"));
        let (headers, _) = parse(b"Content-Type: a/b; name*=utf-8''%c3%a9.edi\r\n\r\n");
        assert_eq!(headers.file_name().as_deref(), Some("é.edi"));
        let (headers, _) = parse(b"Content-Disposition: attachment; filename=../../\xe9\r\n\r\n");
        assert_eq!(headers.file_name_raw().as_deref(), Some(&b"../../\xe9"[..]));
        assert_eq!(headers.file_name().as_deref(), Some("../../é"));
        // A blank one gives way to what is said elsewhere.
        let (headers, _) = parse(
            b"Content-Disposition: attachment; filename=\"\"; filename=\" \"\r\nContent-Type: a/b; name=c.edi\r\n\r\n",
        );
        assert_eq!(headers.file_name().as_deref(), Some("c.edi"));
        let (headers, _) = parse(b"Content-Disposition: attachment; filename=\"\"\r\n\r\n");
        assert_eq!(headers.file_name().as_deref(), Some(""));
    }
}
