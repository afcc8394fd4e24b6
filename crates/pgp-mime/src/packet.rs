//! Packets whose bodies are streams: lengths in parts (RFC 9580 section 4.2.1.4).

use std::io::{self, Read};

use pgp::types::Tag;

use crate::armor::read_full;

/// Bytes of a part: 2 to the power of [`EXPONENT`], at least 512.
const PART: usize = 1 << EXPONENT;
const EXPONENT: u8 = 16;

/// A packet around the bytes of `inner`, whose length need not be known.
pub(crate) struct Packet<R> {
    inner: R,
    tag: u8,
    /// The next part with room for its header before it.
    buffer: Vec<u8>,
    given: usize,
    filled: usize,
    begun: bool,
    ended: bool,
}

/// The longest header of a part: tag, and a length of five bytes.
const HEADER: usize = 6;

impl<R: Read> Packet<R> {
    pub(crate) fn new(tag: Tag, inner: R) -> Self {
        Packet {
            inner,
            tag: 0xC0 | u8::from(tag),
            buffer: vec![0; HEADER + PART],
            given: 0,
            filled: 0,
            begun: false,
            ended: false,
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let count = read_full(&mut self.inner, &mut self.buffer[HEADER..])?;
        let mut header = Vec::with_capacity(HEADER);
        if !std::mem::replace(&mut self.begun, true) {
            header.push(self.tag);
        }
        if count == PART {
            header.push(0xE0 | EXPONENT);
        } else {
            self.ended = true;
            length(count, &mut header);
        }
        self.given = HEADER - header.len();
        self.buffer[self.given..HEADER].copy_from_slice(&header);
        self.filled = HEADER + count;
        Ok(())
    }
}

/// A length in one, two or five bytes (sections 4.2.1.1 to 4.2.1.3).
pub(crate) fn length(len: usize, out: &mut Vec<u8>) {
    let short = u32::try_from(len).unwrap_or(u32::MAX);
    match short {
        0..=191 => out.push(short as u8),
        192..=8383 => {
            let rest = short - 192;
            out.extend_from_slice(&[(rest >> 8) as u8 + 192, (rest & 0xFF) as u8]);
        }
        _ => {
            out.push(0xFF);
            out.extend_from_slice(&short.to_be_bytes());
        }
    }
}

impl<R: Read> Read for Packet<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.given == self.filled {
            if self.ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = out.len().min(self.filled - self.given);
        out[..count].copy_from_slice(&self.buffer[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use pgp::composed::Message;

    use super::*;

    #[test]
    fn the_library_reads_packets_of_any_length() {
        for len in [0, 1, 180, 191, 192, 8300, 8384, PART - 7, PART - 6, PART - 5, PART, 3 * PART + 17] {
            let content: Vec<u8> = (0..len).map(|at| (at * 17 % 253) as u8).collect();
            // Binary, without a file name and a date (section 5.9).
            let body = [&[b'b', 0, 0, 0, 0, 0][..], &content].concat();
            let mut bytes = Vec::new();
            Packet::new(Tag::LiteralData, body.as_slice()).read_to_end(&mut bytes).unwrap();
            let mut message = Message::from_bytes(bytes.as_slice()).unwrap();
            assert_eq!(message.as_data_vec().unwrap(), content, "{len} bytes");
        }
    }
}
