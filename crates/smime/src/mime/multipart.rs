//! Multipart bodies as a stream (RFC 2046 section 5.1).
//!
//! A part is the text strictly between two boundary lines: the line end before a boundary belongs
//! to the boundary. Bare LF does as well as CRLF; preamble and epilogue are passed over.

use std::io::{self, BufRead, Read};

use memchr::memmem::Finder;

use crate::error::{Error, Result};

const BUFFER: usize = 128 * 1024;
/// RFC 2046 allows 70; some products take more.
const LONGEST_BOUNDARY: usize = 256;
/// Spaces that may follow a boundary on its line.
const LONGEST_PADDING: usize = 256;
const PLACE: &str = "multipart body";

/// The boundary line behind the content that is at hand.
#[derive(Debug, Clone, Copy)]
struct Delimiter {
    /// First byte after its line.
    end: usize,
    closing: bool,
}

enum Candidate {
    Delimiter {
        end: usize,
        closing: bool,
    },
    Text,
    /// More bytes must be seen.
    Undecided,
}

/// Reads a multipart body part by part.
pub struct Multipart<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    at_end: bool,
    /// `--boundary`.
    dash: Vec<u8>,
    /// `\n--boundary`.
    finder: Finder<'static>,
    /// Up to here the buffer is content of the present part.
    content: usize,
    delimiter: Option<Delimiter>,
    /// Nothing of the present part was seen: a boundary may stand here without a line end before.
    at_line_start: bool,
    closed: bool,
}

impl<R: Read> Multipart<R> {
    /// Reads the parts that `boundary` separates. Errors when the boundary is empty or longer
    /// than 256 bytes.
    pub fn new(inner: R, boundary: &str) -> Result<Self> {
        let boundary = boundary.trim_end();
        if boundary.is_empty() || boundary.len() > LONGEST_BOUNDARY {
            return Err(Error::malformed(PLACE, "no usable boundary"));
        }
        let dash = [b"--", boundary.as_bytes()].concat();
        let line = [b"\n", dash.as_slice()].concat();
        Ok(Multipart {
            inner,
            buffer: vec![0; BUFFER],
            start: 0,
            end: 0,
            at_end: false,
            dash,
            finder: Finder::new(&line).into_owned(),
            content: 0,
            delimiter: None,
            at_line_start: true,
            closed: false,
        })
    }

    /// The next part; none after the closing boundary. What was left of the part before is
    /// passed over. Errors when the body ends without its closing boundary.
    pub fn next_part(&mut self) -> Result<Option<PartReader<'_, R>>> {
        if self.closed {
            return Ok(None);
        }
        loop {
            let count = self.available()?.len();
            if count == 0 {
                break;
            }
            self.start += count;
        }
        let Some(delimiter) = self.delimiter.take() else {
            return Err(Error::ended(PLACE));
        };
        self.start = delimiter.end;
        self.content = delimiter.end;
        self.at_line_start = true;
        self.closed = delimiter.closing;
        Ok((!delimiter.closing).then_some(PartReader { multipart: self }))
    }

    /// Skips the epilogue, so that the stream below is read to its end.
    pub fn finish(mut self) -> Result<()> {
        loop {
            match self.inner.read(&mut self.buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// As [`finish`](Self::finish), and tells whether nothing but white space followed the last part
    /// that was asked for.
    pub fn finish_blank(mut self) -> Result<bool> {
        let mut blank = self.next_part()?.is_none();
        blank &= self.buffer[self.start..self.end].iter().all(u8::is_ascii_whitespace);
        loop {
            match self.inner.read(&mut self.buffer) {
                Ok(0) => return Ok(blank),
                Ok(count) => blank &= self.buffer[..count].iter().all(u8::is_ascii_whitespace),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads more behind what is there; false at the end of the stream.
    fn read_more(&mut self) -> Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        } else if self.start > 0 {
            // Only what could be the beginning of a boundary is ever moved.
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.content = self.start;
        loop {
            match self.inner.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    return Ok(false);
                }
                Ok(count) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Content of the present part that is in the buffer; empty when its boundary is reached.
    fn available(&mut self) -> Result<&[u8]> {
        while self.start == self.content {
            if self.delimiter.is_some() || self.closed {
                return Ok(&[]);
            }
            self.scan()?;
        }
        Ok(&self.buffer[self.start..self.content])
    }

    /// Finds how far the content reaches, reading more when that cannot be told.
    fn scan(&mut self) -> Result<()> {
        if self.at_line_start {
            match self.candidate(self.start) {
                Candidate::Delimiter { end, closing } => {
                    self.delimiter = Some(Delimiter { end, closing });
                    return Ok(());
                }
                Candidate::Undecided => return self.need_more(),
                Candidate::Text => self.at_line_start = false,
            }
        }
        let mut from = self.start;
        loop {
            let Some(found) = self.finder.find(&self.buffer[from..self.end]) else {
                if self.at_end {
                    self.content = self.end;
                    return if self.start == self.end { Err(Error::ended(PLACE)) } else { Ok(()) };
                }
                // What could be the beginning of "\r\n--boundary" is held back.
                let held = self.dash.len() + 1;
                let safe = self.end.saturating_sub(held);
                let window = &self.buffer[safe.max(self.start)..self.end];
                let safe = match memchr::memchr2(b'\r', b'\n', window) {
                    Some(at) => safe.max(self.start) + at,
                    None => self.end,
                };
                self.content = safe;
                return if safe == self.start { self.need_more() } else { Ok(()) };
            };
            let newline = from + found;
            match self.candidate(newline + 1) {
                Candidate::Text => from = newline + 1,
                Candidate::Delimiter { end, closing } => {
                    self.content = self.line_end_start(newline);
                    self.delimiter = Some(Delimiter { end, closing });
                    return Ok(());
                }
                Candidate::Undecided => {
                    self.content = self.line_end_start(newline);
                    return if self.content == self.start { self.need_more() } else { Ok(()) };
                }
            }
        }
    }

    fn line_end_start(&self, newline: usize) -> usize {
        let carriage = newline > self.start && self.buffer[newline - 1] == b'\r';
        newline - usize::from(carriage)
    }

    fn need_more(&mut self) -> Result<()> {
        if !self.read_more()? && self.start == self.end {
            return Err(Error::ended(PLACE));
        }
        Ok(())
    }

    /// Whether a boundary line stands at `at`, where a line begins.
    fn candidate(&self, at: usize) -> Candidate {
        let text = &self.buffer[at..self.end];
        let common = text.len().min(self.dash.len());
        if text[..common] != self.dash[..common] {
            return Candidate::Text;
        }
        if common < self.dash.len() {
            return if self.at_end { Candidate::Text } else { Candidate::Undecided };
        }
        let mut next = self.dash.len();
        let closing = text[next..].starts_with(b"--");
        if closing {
            next += 2;
        } else if !self.at_end && text[next..] == *b"-" {
            return Candidate::Undecided;
        }
        let padding = text[next..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if padding > LONGEST_PADDING {
            return Candidate::Text;
        }
        next += padding;
        match &text[next..] {
            [b'\n', ..] => Candidate::Delimiter { end: at + next + 1, closing },
            [b'\r', b'\n', ..] => Candidate::Delimiter { end: at + next + 2, closing },
            [] | [b'\r'] if self.at_end => Candidate::Delimiter { end: self.end, closing },
            [] | [b'\r'] => Candidate::Undecided,
            _ => Candidate::Text,
        }
    }
}

/// The bytes of one part, headers and body, between the boundaries.
pub struct PartReader<'a, R> {
    multipart: &'a mut Multipart<R>,
}

impl<R: Read> Read for PartReader<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(out.len());
        out[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for PartReader<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(self.multipart.available()?)
    }

    fn consume(&mut self, count: usize) {
        self.multipart.start += count;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns `first` bytes, then `step` at a time.
    struct Pieces<'a>(&'a [u8], usize, usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let wanted = if self.1 > 0 { std::mem::take(&mut self.1) } else { self.2 };
            let count = wanted.min(self.0.len()).min(out.len());
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn parts(body: &[u8], boundary: &str, first: usize, step: usize) -> Result<Vec<Vec<u8>>> {
        let mut multipart = Multipart::new(Pieces(body, first, step), boundary)?;
        let mut all = Vec::new();
        while let Some(mut part) = multipart.next_part()? {
            let mut bytes = Vec::new();
            part.read_to_end(&mut bytes)?;
            all.push(bytes);
        }
        multipart.finish()?;
        Ok(all)
    }

    const BODY: &[u8] = b"\r\npreamble --b\r\nContent-Type: x\r\n--b \t\r\n\r\none\r\r\n--b\n--bb\r\n--b-\n\n\r\n--b\r\n\r\n--b--\r\nepilogue\r\n--b\r\n";

    #[test]
    fn every_split_gives_the_same_parts() {
        let expected: Vec<Vec<u8>> = vec![b"\r\none\r".to_vec(), b"--bb\r\n--b-\n\n".to_vec(), b"".to_vec()];
        for first in 0..BODY.len() {
            assert_eq!(parts(BODY, "b", first, BODY.len()).unwrap(), expected, "{first}");
        }
        for step in 1..BODY.len() {
            assert_eq!(parts(BODY, "b", 0, step).unwrap(), expected, "{step}");
        }
    }

    #[test]
    fn a_missing_closing_boundary_is_an_error() {
        let whole = b"--b\r\none\r\n--b--";
        assert_eq!(parts(whole, "b", 0, 3).unwrap(), vec![b"one".to_vec()]);
        for cut in 0..whole.len() {
            assert!(parts(&whole[..cut], "b", 0, 3).is_err(), "{cut}");
        }
    }

    #[test]
    fn padding_without_end_is_text() {
        let body = [b"--b\r\nx\r\n--b".to_vec(), vec![b' '; 1000], b"\r\n--b--\r\n".to_vec()].concat();
        assert_eq!(parts(&body, "b", 0, 7).unwrap()[0].len(), 1 + 2 + 3 + 1000);
    }

    #[test]
    fn what_is_left_of_a_part_is_passed_over() {
        let body = b"--b\r\n\r\nlong enough\r\n--b\r\nsecond\r\n--b--";
        let mut multipart = Multipart::new(&body[..], "b").unwrap();
        multipart.next_part().unwrap().unwrap().read_exact(&mut [0; 3]).unwrap();
        let mut text = String::new();
        multipart.next_part().unwrap().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "second");
        assert!(multipart.next_part().unwrap().is_none());
        assert!(multipart.next_part().unwrap().is_none());
    }

    proptest! {
        #[test]
        fn parts_of_boundary_like_bytes(
            contents in proptest::collection::vec(
                proptest::collection::vec(prop::sample::select(b"\r\n-b x".to_vec()), 0..60), 1..5),
            step in 1usize..50,
            lf in any::<bool>(),
        ) {
            let end: &[u8] = if lf { b"\n" } else { b"\r\n" };
            let mut body = Vec::new();
            for content in &contents {
                body.extend_from_slice(b"--b-xxbx");
                body.extend_from_slice(end);
                body.extend_from_slice(content);
                body.extend_from_slice(end);
            }
            body.extend_from_slice(b"--b-xxbx--");
            prop_assume!(contents.iter().all(|content| memchr::memmem::find(content, b"--b-xxbx").is_none()));
            // With LF as the line end, a CR before it reads as part of the line end.
            prop_assume!(!lf || contents.iter().all(|content| !content.ends_with(b"\r")));
            prop_assert_eq!(parts(&body, "b-xxbx", 0, step).unwrap(), contents);
        }

        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(prop::sample::select(b"\r\n-b \t\0".to_vec()), 0..80), step in 1usize..9) {
            let _ = parts(&body, "b", 0, step);
        }
    }
}
