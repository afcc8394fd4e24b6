//! Line ends as some signers read them.

use std::io::{self, Read};

/// Reads every bare LF as CRLF: the form in which some partners sign text.
#[derive(Debug)]
pub struct CrlfReader<R> {
    inner: R,
    chunk: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
    after_cr: bool,
}

impl<R: Read> CrlfReader<R> {
    /// Around content.
    pub fn new(inner: R) -> Self {
        Self { inner, chunk: vec![0; 32 * 1024], ready: Vec::new(), at: 0, after_cr: false }
    }
}

impl<R: Read> Read for CrlfReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            let count = self.inner.read(&mut self.chunk)?;
            self.ready.clear();
            self.at = 0;
            for byte in &self.chunk[..count] {
                if *byte == b'\n' && !self.after_cr {
                    self.ready.push(b'\r');
                }
                self.ready.push(*byte);
                self.after_cr = *byte == b'\r';
            }
        }
        let count = out.len().min(self.ready.len() - self.at);
        out[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_line_ends_are_read_as_the_signer_did() {
        let text = [&b"a\nb\r\nc\r"[..], b"\nd\n\n"].concat();
        let mut read = Vec::new();
        CrlfReader::new(&text[..]).read_to_end(&mut read).unwrap();
        assert_eq!(read, b"a\r\nb\r\nc\r\nd\r\n\r\n");
    }
}
