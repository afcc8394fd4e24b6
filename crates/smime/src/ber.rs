//! A pull reader for BER over a stream: definite and indefinite lengths, segmented OCTET STRINGs,
//! any nesting (X.690 section 8). Only one buffer is held; an element is collected in memory
//! only under a cap, and memory grows with the bytes that have arrived, never with a claimed length.

use std::io::Read;

use crate::der::{self, CONSTRUCTED, OCTET_STRING};
use crate::error::{Error, Result};

const BUFFER: usize = 64 * 1024;
/// Longest tag and length together: one tag byte, 0x88, eight bytes.
const LONGEST_HEADER: usize = 10;
const PLACE: &str = "CMS structure";

/// Tag and length of the element whose contents come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) tag: u8,
    /// Content length in bytes; none when indefinite.
    pub(crate) len: Option<u64>,
    bytes: [u8; LONGEST_HEADER],
    bytes_len: usize,
}

impl Header {
    pub(crate) fn is_constructed(&self) -> bool {
        self.tag & CONSTRUCTED != 0
    }
}

/// An open constructed element: where it ends, or none until end-of-contents.
type Frame = Option<u64>;

pub(crate) struct BerReader<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Position in the stream of `buffer[start]`.
    offset: u64,
    frames: Vec<Frame>,
    pending: Option<Header>,
    depth_limit: usize,
    element_limit: u64,
    /// OCTET STRING being streamed: bytes left in the present segment, frames when it began.
    octets: Option<(u64, usize)>,
}

impl<R: Read> BerReader<R> {
    /// Reads at most `depth_limit` levels; no collected element is larger than `element_limit`.
    pub(crate) fn new(inner: R, depth_limit: usize, element_limit: u64) -> Self {
        BerReader {
            inner,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            offset: 0,
            frames: Vec::new(),
            pending: None,
            depth_limit,
            element_limit,
            octets: None,
        }
    }

    /// Has at least `wanted` bytes in the buffer, unless the stream ends before.
    fn fill(&mut self, wanted: usize) -> Result<usize> {
        while self.end - self.start < wanted {
            if self.start == self.end {
                self.start = 0;
                self.end = 0;
            } else if self.buffer.len() - self.start < wanted {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => break,
                Ok(count) => self.end += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.end - self.start)
    }

    /// Reads the stream to its end: whether nothing but white space was left.
    pub(crate) fn is_blank_to_end(&mut self) -> Result<bool> {
        let mut blank = true;
        loop {
            let have = self.fill(1)?;
            if have == 0 {
                return Ok(blank);
            }
            blank &= self.buffer[self.start..self.start + have].iter().all(u8::is_ascii_whitespace);
            self.advance(have);
        }
    }

    fn advance(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// The next element of the open one, or none at its end. The header is taken from the
    /// stream; it must be entered, collected, skipped or streamed before the next call.
    pub(crate) fn next(&mut self) -> Result<Option<Header>> {
        if let Some(header) = self.pending.take() {
            return Ok(Some(header));
        }
        let frame = self.frames.last().copied();
        if let Some(Some(end)) = frame
            && self.offset >= end
        {
            return Ok(None);
        }
        let have = self.fill(2)?;
        let ahead = &self.buffer[self.start..self.start + have.min(LONGEST_HEADER)];
        if frame == Some(None) && ahead.starts_with(&[0, 0]) {
            return Ok(None);
        }
        let mut parsed = der::parse_header(ahead)?;
        if parsed.is_none() {
            let have = self.fill(LONGEST_HEADER)?;
            parsed = der::parse_header(&self.buffer[self.start..self.start + have.min(LONGEST_HEADER)])?;
        }
        let (tag, bytes_len, len) = parsed.ok_or_else(|| Error::ended(PLACE))?;
        let mut bytes = [0; LONGEST_HEADER];
        bytes[..bytes_len].copy_from_slice(&self.buffer[self.start..self.start + bytes_len]);
        self.advance(bytes_len);
        self.check_inside(len.unwrap_or(0))?;
        Ok(Some(Header { tag, len, bytes, bytes_len }))
    }

    /// An element must end within the one around it.
    fn check_inside(&self, len: u64) -> Result<()> {
        let end =
            self.offset.checked_add(len).ok_or_else(|| Error::malformed(PLACE, "an impossible length"))?;
        match self.frames.iter().rev().find_map(|frame| *frame) {
            Some(outer) if end > outer => {
                Err(Error::malformed(PLACE, "an element is longer than the one that contains it"))
            }
            _ => Ok(()),
        }
    }

    /// Puts a header back, so that the next call gives it again.
    pub(crate) fn put_back(&mut self, header: Header) {
        self.pending = Some(header);
    }

    pub(crate) fn expect(&mut self, tag: u8, what: &str) -> Result<Header> {
        match self.next()? {
            Some(header) if header.tag == tag => Ok(header),
            _ => Err(Error::malformed(PLACE, format!("{what} expected"))),
        }
    }

    /// The next element if its tag is this one.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<Header>> {
        match self.next()? {
            Some(header) if header.tag == tag => Ok(Some(header)),
            Some(header) => {
                self.put_back(header);
                Ok(None)
            }
            None => Ok(None),
        }
    }

    /// Goes inside a constructed element.
    pub(crate) fn enter(&mut self, header: Header) -> Result<()> {
        if !header.is_constructed() {
            return Err(Error::malformed(PLACE, "a constructed element is expected"));
        }
        if self.frames.len() >= self.depth_limit {
            return Err(Error::limit("ASN.1 nesting", self.depth_limit as u64));
        }
        self.frames.push(header.len.map(|len| self.offset + len));
        Ok(())
    }

    /// Leaves the open element, skipping what is left in it.
    pub(crate) fn leave(&mut self) -> Result<()> {
        while let Some(header) = self.next()? {
            self.skip(header)?;
        }
        if self.frames.pop() == Some(None) {
            // `next` saw the two zero bytes.
            self.advance(2);
        }
        Ok(())
    }

    /// Collects an element as it was received, header and end-of-contents included.
    pub(crate) fn collect(&mut self, header: Header) -> Result<Vec<u8>> {
        let mut out = header.bytes[..header.bytes_len].to_vec();
        self.walk(header, Some(&mut out))?;
        Ok(out)
    }

    /// Skips an element under the same cap as collecting it.
    pub(crate) fn skip(&mut self, header: Header) -> Result<()> {
        self.walk(header, None)
    }

    /// Passes over the contents of an element, copying them when asked. Definite elements are
    /// taken whole; only indefinite ones are looked into.
    fn walk(&mut self, header: Header, mut out: Option<&mut Vec<u8>>) -> Result<()> {
        let floor = self.frames.len();
        let limit = self.element_limit;
        let mut taken = header.bytes_len as u64;
        let mut current = Some(header);
        loop {
            match current.take() {
                Some(header) if header.len.is_none() => self.enter(header)?,
                Some(header) => {
                    let len = header.len.unwrap_or(0);
                    taken = taken.saturating_add(len);
                    if taken > limit {
                        return Err(Error::limit("CMS element in bytes", limit));
                    }
                    self.take(len, out.as_deref_mut())?;
                }
                None => {
                    // End of contents of the innermost indefinite element.
                    self.frames.pop();
                    self.advance(2);
                    taken += 2;
                    if let Some(out) = out.as_deref_mut() {
                        out.extend_from_slice(&[0, 0]);
                    }
                }
            }
            if self.frames.len() == floor {
                return Ok(());
            }
            current = self.next()?;
            if let Some(header) = &current {
                taken = taken.saturating_add(header.bytes_len as u64);
                if taken > limit {
                    return Err(Error::limit("CMS element in bytes", limit));
                }
                if let Some(out) = out.as_deref_mut() {
                    out.extend_from_slice(&header.bytes[..header.bytes_len]);
                }
            }
        }
    }

    fn take(&mut self, mut len: u64, mut out: Option<&mut Vec<u8>>) -> Result<()> {
        while len > 0 {
            let have = self.fill(1)?;
            if have == 0 {
                return Err(Error::ended(PLACE));
            }
            let count = have.min(usize::try_from(len).unwrap_or(usize::MAX));
            if let Some(out) = out.as_deref_mut() {
                out.extend_from_slice(&self.buffer[self.start..self.start + count]);
            }
            self.advance(count);
            len -= count as u64;
        }
        Ok(())
    }

    /// Begins to stream the contents of an OCTET STRING (also under an implicit tag).
    pub(crate) fn begin_octets(&mut self, header: Header) -> Result<()> {
        let floor = self.frames.len();
        match header.len {
            Some(len) if !header.is_constructed() => self.octets = Some((len, floor)),
            _ => {
                self.enter(header)?;
                self.octets = Some((0, floor));
            }
        }
        Ok(())
    }

    /// The next bytes of the OCTET STRING being streamed; empty at its end.
    pub(crate) fn octets(&mut self) -> Result<&[u8]> {
        loop {
            let Some((left, floor)) = self.octets else { return Ok(&[]) };
            if left > 0 {
                let have = self.fill(1)?;
                if have == 0 {
                    return Err(Error::ended(PLACE));
                }
                let count = have.min(usize::try_from(left).unwrap_or(usize::MAX));
                return Ok(&self.buffer[self.start..self.start + count]);
            }
            if self.frames.len() == floor {
                self.octets = None;
                return Ok(&[]);
            }
            match self.next()? {
                None => self.leave()?,
                Some(header) if header.tag & !CONSTRUCTED != OCTET_STRING => {
                    return Err(Error::malformed(PLACE, "a segment that is not an OCTET STRING"));
                }
                Some(header) if header.is_constructed() => self.enter(header)?,
                Some(header) => self.octets = Some((header.len.unwrap_or(0), floor)),
            }
        }
    }

    /// Takes `count` bytes of what [`octets`](Self::octets) gave.
    pub(crate) fn consume_octets(&mut self, count: usize) {
        self.advance(count);
        if let Some((left, _)) = &mut self.octets {
            *left = left.saturating_sub(count as u64);
        }
    }
}

#[cfg(test)]
mod tests;
