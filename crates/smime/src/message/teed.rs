//! A body that is written elsewhere while it is read.

use std::io::{self, BufRead, Read, Write};

/// Passes a body on, and writes each byte once to a writer, if there is one, before it is passed on.
pub struct Teed<R> {
    inner: R,
    to: Option<Box<dyn Write + Send>>,
    /// So many of the bytes that `inner` holds ready are written.
    ahead: usize,
}

impl<R: BufRead> Teed<R> {
    /// Begins with `head`, which the body does not have any more. Errors: those of the writer.
    pub fn begin(inner: R, mut to: Option<Box<dyn Write + Send>>, head: [&[u8]; 2]) -> io::Result<Self> {
        if let Some(to) = &mut to {
            for part in head {
                to.write_all(part)?;
            }
        }
        Ok(Teed { inner, to, ahead: 0 })
    }

    /// The body was read to its end. Errors: those of the writer.
    pub fn end(self) -> io::Result<()> {
        match self.to {
            Some(mut to) => to.flush(),
            None => Ok(()),
        }
    }
}

impl<R: BufRead> BufRead for Teed<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let ready = self.inner.fill_buf()?;
        if let Some(to) = &mut self.to
            && let Some(new) = ready.get(self.ahead..)
        {
            to.write_all(new)?;
            self.ahead = ready.len();
        }
        Ok(ready)
    }

    fn consume(&mut self, count: usize) {
        self.ahead = self.ahead.saturating_sub(count);
        self.inner.consume(count);
    }
}

impl<R: BufRead> Read for Teed<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(out.len());
        out[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;
    use std::sync::{Arc, Mutex};

    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn each_byte_is_written_once_however_it_is_read() {
        let text: Vec<u8> = (0..=255).cycle().take(1000).collect();
        for buffer in [1, 7, 64, 5000] {
            for step in [1, 3, 500] {
                let kept = Arc::new(Mutex::new(Vec::new()));
                let to: Box<dyn Write + Send> = Box::new(Shared(Arc::clone(&kept)));
                let body = BufReader::with_capacity(buffer, &text[..]);
                let mut teed = Teed::begin(body, Some(to), [b"head: x\r\n", b"\r\n"]).unwrap();
                let mut read = Vec::new();
                loop {
                    // What was looked at twice and not consumed is not written twice.
                    let _ = teed.fill_buf().unwrap();
                    let ready = teed.fill_buf().unwrap();
                    if ready.is_empty() {
                        break;
                    }
                    let count = ready.len().min(step);
                    read.extend_from_slice(&ready[..count]);
                    teed.consume(count);
                }
                teed.end().unwrap();
                assert_eq!(read, text, "{buffer} {step}");
                assert_eq!(
                    *kept.lock().unwrap(),
                    [&b"head: x\r\n\r\n"[..], &text[..]].concat(),
                    "{buffer} {step}"
                );
            }
        }
    }
}
