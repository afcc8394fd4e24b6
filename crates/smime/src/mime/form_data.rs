//! `multipart/form-data` as a stream (RFC 7578; RFC 2046, 5.1): bytes are pushed in as they arrive, and come out as the parts'
//! headers, content and ends.
//!
//! It is pushed where [`Multipart`](super::multipart::Multipart) pulls: the head of a form decides what becomes of the rest, and
//! is read before a thread is there for it. No more is kept than one header section, and what may be the beginning of a
//! boundary.

use memchr::memmem::Finder;

use super::content_type::Parameters;
use super::headers::Headers;
use crate::error::{Error, Result};
use crate::message::limits::Limits;

/// RFC 2046 allows 70; some products take more.
const LONGEST_BOUNDARY: usize = 256;
/// Spaces that may follow a boundary on its line.
const LONGEST_PADDING: usize = 256;
/// Bytes before the first boundary.
const LONGEST_PREAMBLE: usize = 64 * 1024;
/// Bytes of one part's headers.
const HEADER_BYTES: usize = 16 * 1024;
/// Parts of one form.
const MOST_PARTS: usize = 200;
const PLACE: &str = "form";

/// A piece of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FormPiece {
    /// A part begins, with these headers.
    Begins(Headers),
    /// Bytes of its content.
    Content(Vec<u8>),
    /// The part has ended.
    Ends,
}

/// Where in a form the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the first boundary. `fresh`: at its very beginning.
    Preamble {
        fresh: bool,
    },
    Headers,
    /// `fresh`: nothing of it was seen, so that a boundary may stand here without a line end before.
    Content {
        fresh: bool,
    },
    Epilogue,
}

/// What is at hand of the bytes before the next boundary line.
enum Found {
    /// The line: the content ends at `before`, and what follows begins at `end`.
    Delimiter { before: usize, end: usize, closing: bool },
    /// None so far: so many bytes are content for certain.
    Undecided { content: usize },
}

enum Candidate {
    Delimiter { end: usize, closing: bool },
    Text,
    Undecided,
}

/// Reads a form that is pushed in.
pub struct FormData {
    /// `--boundary`.
    dash: Vec<u8>,
    /// `\n--boundary`.
    finder: Finder<'static>,
    buffer: Vec<u8>,
    place: Place,
    parts: usize,
    passed: usize,
}

impl FormData {
    /// Reads the parts that `boundary` separates. Errors when the boundary is empty or longer than 256 bytes.
    pub fn new(boundary: &str) -> Result<Self> {
        let boundary = boundary.trim_end();
        if boundary.is_empty() || boundary.len() > LONGEST_BOUNDARY {
            return Err(Error::malformed(PLACE, "no usable boundary"));
        }
        let dash = [b"--", boundary.as_bytes()].concat();
        let line = [b"\n", dash.as_slice()].concat();
        Ok(FormData {
            dash,
            finder: Finder::new(&line).into_owned(),
            buffer: Vec::new(),
            place: Place::Preamble { fresh: true },
            parts: 0,
            passed: 0,
        })
    }

    /// Takes the next bytes, and gives what is certain by now. Errors when it is no form, or has more parts or headers than
    /// are read.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<FormPiece>> {
        if self.place != Place::Epilogue {
            self.buffer.extend_from_slice(bytes);
        }
        self.pieces(false)
    }

    /// The last pieces: no byte follows. Errors when the form has no end.
    pub fn finish(&mut self) -> Result<Vec<FormPiece>> {
        let pieces = self.pieces(true)?;
        match self.place {
            Place::Epilogue => Ok(pieces),
            _ => Err(Error::ended(PLACE)),
        }
    }

    /// Whether its last boundary has come: what follows is no part of it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.place == Place::Epilogue
    }

    fn pieces(&mut self, at_end: bool) -> Result<Vec<FormPiece>> {
        let mut pieces = Vec::new();
        loop {
            match self.place {
                Place::Preamble { fresh } => match self.delimiter(fresh, at_end) {
                    Found::Delimiter { end, closing, .. } => self.follow(end, closing),
                    Found::Undecided { content } => {
                        self.buffer.drain(..content);
                        self.passed += content;
                        if self.passed > LONGEST_PREAMBLE {
                            return Err(Error::malformed(PLACE, "no boundary at its beginning"));
                        }
                        self.place = Place::Preamble { fresh: fresh && content == 0 };
                        return Ok(pieces);
                    }
                },
                Place::Headers => match self.headers()? {
                    Some(headers) => pieces.push(FormPiece::Begins(headers)),
                    None => return Ok(pieces),
                },
                Place::Content { fresh } => match self.delimiter(fresh, at_end) {
                    Found::Delimiter { before: 0, end, closing } => {
                        self.follow(end, closing);
                        pieces.push(FormPiece::Ends);
                    }
                    Found::Delimiter { before: content, .. } => pieces.push(self.content(content)),
                    Found::Undecided { content: 0 } => return Ok(pieces),
                    Found::Undecided { content } => {
                        pieces.push(self.content(content));
                        return Ok(pieces);
                    }
                },
                Place::Epilogue => {
                    self.buffer.clear();
                    return Ok(pieces);
                }
            }
        }
    }

    /// Goes on behind a boundary line.
    fn follow(&mut self, end: usize, closing: bool) {
        self.buffer.drain(..end);
        self.place = if closing { Place::Epilogue } else { Place::Headers };
    }

    fn content(&mut self, count: usize) -> FormPiece {
        self.place = Place::Content { fresh: false };
        FormPiece::Content(self.buffer.drain(..count).collect())
    }

    /// The headers of the next part, if they are whole.
    fn headers(&mut self) -> Result<Option<Headers>> {
        let Some(end) = section_end(&self.buffer) else {
            return match self.buffer.len() > HEADER_BYTES {
                true => Err(Error::malformed(PLACE, "the headers of a part are too long")),
                false => Ok(None),
            };
        };
        let limits = Limits { header_bytes: HEADER_BYTES, ..Limits::default() };
        let section: Vec<u8> = self.buffer.drain(..end).collect();
        let (headers, _) = Headers::parse(&section, &limits)?;
        self.parts += 1;
        if self.parts > MOST_PARTS {
            return Err(Error::malformed(PLACE, "it has too many parts"));
        }
        self.place = Place::Content { fresh: true };
        Ok(Some(headers))
    }

    /// The next boundary line.
    fn delimiter(&self, fresh: bool, at_end: bool) -> Found {
        if fresh {
            if self.buffer.starts_with(&self.dash) {
                match self.candidate(self.dash.len(), at_end) {
                    Candidate::Delimiter { end, closing } => {
                        return Found::Delimiter { before: 0, end, closing };
                    }
                    Candidate::Undecided => return Found::Undecided { content: 0 },
                    Candidate::Text => {}
                }
            } else if !at_end && self.dash.starts_with(&self.buffer) {
                return Found::Undecided { content: 0 };
            }
        }
        let line = self.dash.len() + 1;
        let mut from = 0;
        while let Some(at) = self.finder.find(&self.buffer[from..]).map(|at| from + at) {
            let before = if at > 0 && self.buffer[at - 1] == b'\r' { at - 1 } else { at };
            match self.candidate(at + line, at_end) {
                Candidate::Delimiter { end, closing } => return Found::Delimiter { before, end, closing },
                Candidate::Undecided => return Found::Undecided { content: before },
                Candidate::Text => from = at + 1,
            }
        }
        // What may be the beginning of a boundary line stays, with the CR before it.
        let kept = if at_end { 0 } else { line };
        Found::Undecided { content: self.buffer.len().saturating_sub(kept) }
    }

    /// What stands behind `--boundary`.
    fn candidate(&self, after: usize, at_end: bool) -> Candidate {
        let rest = &self.buffer[after..];
        if !at_end && rest.len() < 2 && b"--".starts_with(rest) {
            return Candidate::Undecided;
        }
        let closing = rest.starts_with(b"--");
        let from = if closing { 2 } else { 0 };
        let padding = rest[from..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        if padding > LONGEST_PADDING {
            return Candidate::Text;
        }
        let end = after + from + padding;
        match (&rest[from + padding..], closing) {
            ([b'\n', ..], _) => Candidate::Delimiter { end: end + 1, closing },
            ([b'\r', b'\n', ..], _) => Candidate::Delimiter { end: end + 2, closing },
            ([] | [b'\r'], true) if at_end => Candidate::Delimiter { end: self.buffer.len(), closing },
            ([] | [b'\r'], _) if !at_end => Candidate::Undecided,
            _ => Candidate::Text,
        }
    }
}

/// The first byte behind a header section and its empty line.
fn section_end(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if matches!(&bytes[line..at], [] | [b'\r']) {
            return Some(at + 1);
        }
        line = at + 1;
    }
    None
}

impl Headers {
    /// The name of a form's field (`Content-Disposition: form-data; name=…`), as it was written.
    pub fn form_field(&self) -> Option<String> {
        Parameters::of_disposition(self.get("Content-Disposition")?).text("name")
    }

    /// The raw bytes of the file name of a form's field, if it has one. Not safe as a path.
    pub fn form_file_name(&self) -> Option<Vec<u8>> {
        Parameters::of_disposition(self.get("Content-Disposition")?).raw("filename")
    }
}

#[cfg(test)]
mod tests;
