//! ASCII armour as a stream (RFC 9580 section 6). RFC 3156 section 2 requires it.

use std::io::{self, Read};

use openssl::base64::encode_block;

/// Bytes of a line: 64 characters of base64.
const LINE: usize = 48;
/// Lines that are made at a time.
const LINES: usize = 1024;

/// A reader of what `inner` gives, in armour.
pub(crate) struct Armored<R> {
    inner: R,
    /// What the first and last lines name: `MESSAGE`, `SIGNATURE`.
    kind: &'static str,
    raw: Vec<u8>,
    text: Vec<u8>,
    given: usize,
    checksum: Crc24,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Head,
    Content,
    Ended,
}

impl<R: Read> Armored<R> {
    pub(crate) fn new(inner: R, kind: &'static str) -> Self {
        Armored {
            inner,
            kind,
            raw: vec![0; LINE * LINES],
            text: Vec::new(),
            given: 0,
            checksum: Crc24::default(),
            state: State::Head,
        }
    }

    /// Makes the next lines.
    fn fill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        match self.state {
            State::Head => {
                self.text.extend_from_slice(format!("-----BEGIN PGP {}-----\r\n\r\n", self.kind).as_bytes());
                self.state = State::Content;
            }
            State::Content => {
                let count = read_full(&mut self.inner, &mut self.raw)?;
                let bytes = &self.raw[..count];
                self.checksum.update(bytes);
                for line in bytes.chunks(LINE) {
                    self.text.extend_from_slice(encode_block(line).as_bytes());
                    self.text.extend_from_slice(b"\r\n");
                }
                if count < self.raw.len() {
                    // The checksum is optional today (section 6.1), and old readers miss it.
                    let checksum = encode_block(&self.checksum.bytes());
                    let end = format!("={checksum}\r\n-----END PGP {}-----\r\n", self.kind);
                    self.text.extend_from_slice(end.as_bytes());
                    self.state = State::Ended;
                }
            }
            State::Ended => {}
        }
        Ok(())
    }
}

impl<R: Read> Read for Armored<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        while self.given == self.text.len() {
            if self.state == State::Ended {
                return Ok(0);
            }
            self.fill()?;
        }
        let count = out.len().min(self.text.len() - self.given);
        out[..count].copy_from_slice(&self.text[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

/// Fills `out` as far as the stream goes.
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

/// The checksum of section 6.1.1.
struct Crc24(u32);

impl Default for Crc24 {
    fn default() -> Self {
        Crc24(0x00B7_04CE)
    }
}

/// Of each byte that is shifted out.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u32) << 16;
        let mut bit = 0;
        while bit < 8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4CFB;
            }
            bit += 1;
        }
        table[byte] = crc & 0x00FF_FFFF;
        byte += 1;
    }
    table
}

impl Crc24 {
    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = ((self.0 >> 16) as u8) ^ byte;
            self.0 = ((self.0 << 8) ^ TABLE[usize::from(index)]) & 0x00FF_FFFF;
        }
    }

    fn bytes(&self) -> [u8; 3] {
        let [_, first, second, third] = self.0.to_be_bytes();
        [first, second, third]
    }
}

#[cfg(test)]
mod tests {
    use pgp::armor::Dearmor;

    use super::*;

    #[test]
    fn the_library_reads_what_is_written() {
        for len in [0, 1, 47, 48, 49, LINE * LINES - 1, LINE * LINES, LINE * LINES + 1, 200_000] {
            let bytes: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
            let mut text = Vec::new();
            Armored::new(bytes.as_slice(), "MESSAGE").read_to_end(&mut text).unwrap();
            let mut read = Vec::new();
            Dearmor::new(text.as_slice()).read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes, "{len} bytes");
        }
    }

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        let mut checksum = Crc24::default();
        checksum.update(b"123456789");
        assert_eq!(checksum.bytes(), [0x21, 0xCF, 0x02]);
    }
}
