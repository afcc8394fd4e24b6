//! Content-Transfer-Encoding decoders as readers (RFC 2045 section 6).

use std::io::{self, BufRead, Read};

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::words::hex;
use crate::error::{Error, Result};

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferEncoding {
    /// Bytes as they are; what AS2 means when it says nothing.
    Binary,
    /// Lines of ASCII.
    SevenBit,
    /// Lines of any bytes.
    EightBit,
    /// Base64.
    Base64,
    /// Quoted-printable.
    QuotedPrintable,
}

impl TransferEncoding {
    /// The encoding that a header value names. Errors when it is not one of RFC 2045's.
    pub fn parse(value: &[u8]) -> Result<TransferEncoding> {
        let name = String::from_utf8_lossy(value).to_ascii_lowercase();
        let name = name.split(';').next().unwrap_or_default();
        Ok(match name.trim_matches(|c: char| c == '"' || c.is_ascii_whitespace()) {
            "" | "binary" => TransferEncoding::Binary,
            "7bit" | "7-bit" => TransferEncoding::SevenBit,
            "8bit" | "8-bit" => TransferEncoding::EightBit,
            "base64" => TransferEncoding::Base64,
            "quoted-printable" => TransferEncoding::QuotedPrintable,
            other => {
                return Err(Error::unsupported(format!(
                    "Content-Transfer-Encoding '{}'",
                    other.escape_debug().take(80).collect::<String>()
                )));
            }
        })
    }

    /// A reader of the decoded bytes.
    pub fn decoder<'a>(self, source: Box<dyn BufRead + 'a>) -> Box<dyn BufRead + 'a> {
        match self {
            TransferEncoding::Base64 => {
                Box::new(io::BufReader::with_capacity(CHUNK, Base64Reader::new(source)))
            }
            TransferEncoding::QuotedPrintable => {
                Box::new(io::BufReader::with_capacity(CHUNK, QuotedPrintableReader::new(source)))
            }
            _ => source,
        }
    }
}

const CHUNK: usize = 64 * 1024;
const PLACE: &str = "base64 body";

/// Decodes base64 from a stream: white space anywhere, padding optional.
pub struct Base64Reader<R> {
    source: R,
    engine: GeneralPurpose,
    /// Characters not yet decoded, white space taken out.
    pending: Vec<u8>,
    decoded: Vec<u8>,
    at: usize,
    padded: bool,
    ended: bool,
}

impl<R: BufRead> Base64Reader<R> {
    /// Decodes what `source` yields.
    pub fn new(source: R) -> Self {
        let config = GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent);
        Base64Reader {
            source,
            engine: GeneralPurpose::new(&alphabet::STANDARD, config),
            pending: Vec::with_capacity(CHUNK),
            decoded: Vec::new(),
            at: 0,
            padded: false,
            ended: false,
        }
    }

    /// Takes characters from the source into `pending`, lines at a time.
    fn gather(&mut self) -> Result<()> {
        let available = self.source.fill_buf()?;
        let count = available.len().min(CHUNK);
        self.ended = count == 0;
        for piece in available[..count].split(|byte| byte.is_ascii_whitespace()) {
            let text = match memchr::memchr(b'=', piece) {
                Some(at) if !self.padded => {
                    self.padded = true;
                    if piece[at..].iter().any(|byte| *byte != b'=') {
                        return Err(Error::malformed(PLACE, "characters after the padding"));
                    }
                    &piece[..at]
                }
                Some(0) if piece.iter().all(|byte| *byte == b'=') => continue,
                _ if self.padded && !piece.is_empty() => {
                    return Err(Error::malformed(PLACE, "characters after the padding"));
                }
                _ => piece,
            };
            self.pending.extend_from_slice(text);
        }
        self.source.consume(count);
        Ok(())
    }

    fn refill(&mut self) -> Result<()> {
        self.decoded.clear();
        self.at = 0;
        while self.decoded.is_empty() && !(self.ended && self.pending.is_empty()) {
            self.gather()?;
            let whole = if self.ended { self.pending.len() } else { self.pending.len() / 4 * 4 };
            self.decoded.resize(whole / 4 * 3 + 3, 0);
            let count = self
                .engine
                .decode_slice(&self.pending[..whole], &mut self.decoded)
                .map_err(|error| Error::malformed(PLACE, error.to_string()))?;
            self.decoded.truncate(count);
            self.pending.drain(..whole);
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Base64Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.decoded.len() {
            self.refill()?;
        }
        let count = out.len().min(self.decoded.len() - self.at);
        out[..count].copy_from_slice(&self.decoded[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Decodes quoted-printable from a stream. What breaks the encoding is passed on as it stands,
/// as RFC 2045 section 6.7 advises.
pub struct QuotedPrintableReader<R> {
    source: R,
    /// An `=` and what followed it, not decided yet; or white space that may end a line.
    held: Vec<u8>,
    decoded: Vec<u8>,
    at: usize,
    ended: bool,
}

/// White space at a line's end is not content, but nobody may make us hold megabytes of it.
const LONGEST_HELD: usize = 1000;

impl<R: BufRead> QuotedPrintableReader<R> {
    /// Decodes what `source` yields.
    pub fn new(source: R) -> Self {
        QuotedPrintableReader { source, held: Vec::new(), decoded: Vec::new(), at: 0, ended: false }
    }

    fn push(&mut self, byte: u8) {
        match (self.held.as_slice(), byte) {
            ([b'=', ..], _) => self.push_escaped(byte),
            (_, b'=') => {
                self.decoded.append(&mut self.held);
                self.held.push(byte);
            }
            (_, b' ' | b'\t' | b'\r') => {
                self.held.push(byte);
                if self.held.len() > LONGEST_HELD {
                    self.decoded.append(&mut self.held);
                }
            }
            (held, b'\n') => {
                let line_end: &[u8] = if held.ends_with(b"\r") { b"\r\n" } else { b"\n" };
                self.decoded.extend_from_slice(line_end);
                self.held.clear();
            }
            _ => {
                self.decoded.append(&mut self.held);
                self.decoded.push(byte);
            }
        }
    }

    fn push_escaped(&mut self, byte: u8) {
        let first = self.held.get(1).copied();
        match (first, byte) {
            // A soft line break, with or without white space before the line end.
            (None | Some(b' ' | b'\t' | b'\r'), b'\n') => self.held.clear(),
            (None | Some(b' ' | b'\t'), b' ' | b'\t' | b'\r') if self.held.len() < LONGEST_HELD => {
                self.held.push(byte);
            }
            (None, _) if byte.is_ascii_hexdigit() => self.held.push(byte),
            (Some(high), low) => match (hex(Some(&high)), hex(Some(&low))) {
                (Some(high), Some(low)) => {
                    self.decoded.push(high << 4 | low);
                    self.held.clear();
                }
                _ => self.give_up(byte),
            },
            _ => self.give_up(byte),
        }
    }

    fn give_up(&mut self, byte: u8) {
        self.decoded.append(&mut self.held);
        self.push(byte);
    }
}

impl<R: BufRead> Read for QuotedPrintableReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.decoded.len() && !self.ended {
            self.decoded.clear();
            self.at = 0;
            let available = self.source.fill_buf()?;
            let chunk = available[..available.len().min(CHUNK)].to_vec();
            self.source.consume(chunk.len());
            if chunk.is_empty() {
                self.ended = true;
                let soft = self.held.first() == Some(&b'=') && self.held[1..].trim_ascii().is_empty();
                if !soft && !self.held.trim_ascii().is_empty() {
                    self.decoded.append(&mut self.held);
                }
            }
            for byte in chunk {
                self.push(byte);
            }
        }
        let count = out.len().min(self.decoded.len() - self.at);
        out[..count].copy_from_slice(&self.decoded[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;

    fn base64(text: &[u8], capacity: usize) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let source = io::BufReader::with_capacity(capacity, text);
        Base64Reader::new(source).read_to_end(&mut out)?;
        Ok(out)
    }

    fn quoted(text: &[u8], capacity: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let source = io::BufReader::with_capacity(capacity, text);
        QuotedPrintableReader::new(source).read_to_end(&mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn base64_with_any_lines_and_splits(
            bytes in proptest::collection::vec(any::<u8>(), 0..500),
            width in 1usize..90,
            capacity in 1usize..70,
            padded in any::<bool>(),
        ) {
            let text = STANDARD.encode(&bytes);
            let text = if padded { text } else { text.trim_end_matches('=').to_owned() };
            let lines: Vec<&str> = text
                .as_bytes()
                .chunks(width)
                .map(|line| std::str::from_utf8(line).unwrap())
                .collect();
            let text = lines.join("\r\n") + "\n \n";
            prop_assert_eq!(base64(text.as_bytes(), capacity).unwrap(), bytes);
        }

        #[test]
        fn decoders_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), capacity in 1usize..20) {
            let _ = base64(&bytes, capacity);
            let _ = quoted(&bytes, capacity);
        }

        #[test]
        fn quoted_printable_is_split_anywhere(capacity in 1usize..30) {
            let text = b"caf=E9 =3d=\r\n more=  \n  kept trail \t\r\nbad =ZZ =\r\n\r\nend=";
            let expected: &[u8] = b"caf\xe9 = more  kept trail\r\nbad =ZZ \r\nend";
            prop_assert_eq!(quoted(text, capacity), expected);
        }
    }

    #[test]
    fn base64_refuses_what_it_is_not() {
        assert!(base64(b"ab!d", 10).is_err());
        assert!(base64(b"QQ==QQ==", 10).is_err());
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(TransferEncoding::parse(b" BASE64 ").unwrap(), TransferEncoding::Base64);
        assert!(TransferEncoding::parse(b"x-uuencode").is_err());
    }
}
