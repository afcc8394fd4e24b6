//! A MIME entity to be written: headers, and a body that is a stream of known length.

use std::io::{self, Cursor, Read};

use super::headers::Headers;
use crate::algorithm::Digest;
use crate::error::Result;
use crate::mic::{MicReader, MicSlot};

/// A stream that may know how long it is before its first byte is read.
pub trait Measured: Read {
    /// Length in bytes of the whole stream from its beginning; none when it cannot be known.
    fn total_len(&self) -> Option<u64>;
}

impl Measured for &[u8] {
    fn total_len(&self) -> Option<u64> {
        Some(self.len() as u64)
    }
}

impl<T: AsRef<[u8]>> Measured for Cursor<T> {
    fn total_len(&self) -> Option<u64> {
        Some(self.get_ref().as_ref().len() as u64)
    }
}

impl<M: Measured + ?Sized> Measured for Box<M> {
    fn total_len(&self) -> Option<u64> {
        (**self).total_len()
    }
}

/// A payload with the length that its owner knows. Fails when the stream turns out otherwise.
pub struct Payload<R> {
    inner: R,
    len: u64,
    left: u64,
}

impl<R: Read> Payload<R> {
    /// `inner` will yield exactly `len` bytes.
    pub fn new(inner: R, len: u64) -> Self {
        Payload { inner, len, left: len }
    }
}

impl<R: Read> Measured for Payload<R> {
    fn total_len(&self) -> Option<u64> {
        Some(self.len)
    }
}

impl<R: Read> Read for Payload<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let wrong =
            |kind, what| io::Error::new(kind, format!("the payload {what} the {} bytes announced", self.len));
        if self.left == 0 {
            return match self.inner.read(&mut [0])? {
                0 => Ok(0),
                _ => Err(wrong(io::ErrorKind::InvalidData, "goes on after")),
            };
        }
        let count = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.inner.read(&mut out[..count])?;
        if count == 0 {
            return Err(wrong(io::ErrorKind::UnexpectedEof, "ended before"));
        }
        self.left -= count as u64;
        Ok(count)
    }
}

/// Headers and a body that has not been read yet.
pub struct Entity<B> {
    headers: Headers,
    body: B,
    tap: Option<(Digest, MicSlot)>,
}

impl<B: Measured> Entity<B> {
    /// An entity whose body goes out as it is.
    pub fn new(headers: Headers, body: B) -> Self {
        Entity { headers, body, tap: None }
    }

    /// The headers.
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Length of the body in bytes, when it can be known: what Content-Length says.
    pub fn body_len(&self) -> Option<u64> {
        self.body.total_len()
    }

    pub(crate) fn body(&self) -> &B {
        &self.body
    }

    /// Headers and body apart: the outermost entity's headers become HTTP's.
    pub fn into_parts(self) -> (Headers, B) {
        (self.headers, self.body)
    }

    /// Computes a MIC over this entity with its headers when it streams inside another (encrypted
    /// without a signature: RFC 4130 section 7.3.1; compressed: RFC 5402 section 4).
    /// For an entity that goes out plain wrap its body in a [`MicReader`] instead.
    pub fn tap_mic(&mut self, algorithm: Digest) -> MicSlot {
        let slot = MicSlot::default();
        self.tap = Some((algorithm, slot.clone()));
        slot
    }

    /// Headers, empty line and body as one stream, as another entity carries it.
    pub fn into_stream(self) -> Result<EntityStream<B>> {
        let mut head = self.headers.raw().to_vec();
        head.extend_from_slice(b"\r\n");
        let plain = PlainStream { head: Cursor::new(head), body: self.body };
        Ok(match self.tap {
            None => EntityStream(Stream::Plain(plain)),
            Some((algorithm, slot)) => {
                EntityStream(Stream::Tapped(MicReader::with_slot(plain, algorithm, slot)?))
            }
        })
    }
}

/// An entity's bytes: headers, empty line, body.
pub struct EntityStream<B>(Stream<B>);

enum Stream<B> {
    Plain(PlainStream<B>),
    Tapped(MicReader<PlainStream<B>>),
}

struct PlainStream<B> {
    head: Cursor<Vec<u8>>,
    body: B,
}

impl<B: Read> Read for PlainStream<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.head.read(out)? {
            0 => self.body.read(out),
            count => Ok(count),
        }
    }
}

impl<B: Measured> Measured for PlainStream<B> {
    fn total_len(&self) -> Option<u64> {
        self.body.total_len()?.checked_add(self.head.get_ref().len() as u64)
    }
}

impl<B: Measured> Read for EntityStream<B> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Stream::Plain(stream) => stream.read(out),
            Stream::Tapped(stream) => stream.read(out),
        }
    }
}

impl<B: Measured> Measured for EntityStream<B> {
    fn total_len(&self) -> Option<u64> {
        match &self.0 {
            Stream::Plain(stream) => stream.total_len(),
            Stream::Tapped(stream) => stream.total_len(),
        }
    }
}

/// Fills `out` from `source` as far as the stream goes; small pieces would cost a call each below.
pub(crate) fn read_full(source: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match source.read(&mut out[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_streams_with_its_length() {
        let headers = Headers::new().with("Content-Type", "text/plain").unwrap();
        let mut entity = Entity::new(headers, Payload::new(&b"hello"[..], 5));
        let slot = entity.tap_mic(Digest::Sha256);
        let mut stream = entity.into_stream().unwrap();
        let len = stream.total_len();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"Content-Type: text/plain\r\n\r\nhello");
        assert_eq!(len, Some(bytes.len() as u64));
        assert_eq!(slot.get().unwrap().digest, openssl::sha::sha256(&bytes));
    }

    #[test]
    fn a_payload_keeps_its_word() {
        assert!(Payload::new(&b"hello"[..], 6).read_to_end(&mut Vec::new()).is_err());
        assert!(Payload::new(&b"hello"[..], 4).read_to_end(&mut Vec::new()).is_err());
    }
}
