//! Writing results: JSON for programs, columns for people.

use model::{Error, Result};
use std::fmt;
use std::io::{ErrorKind as IoErrorKind, Write as _};

/// Whoever read standard output wants no more of it, as `head` does: no fault, and nothing to say.
#[derive(Debug)]
struct ReaderLeft;

impl fmt::Display for ReaderLeft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("standard output was closed by its reader")
    }
}

impl std::error::Error for ReaderLeft {}

/// Whether an error says no more than that nobody reads the result any more.
pub(crate) fn reader_left(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<ReaderLeft>())
}

/// A result was written as far as anybody reads: for commands whose exit code says something of its own.
///
/// # Errors
/// It could not be written for another reason.
pub(crate) fn as_far_as_read(written: Result<()>) -> Result<()> {
    written.or_else(|error| if reader_left(&error) { Ok(()) } else { Err(error) })
}

/// Writes a line to standard output.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn line(text: impl fmt::Display) -> Result<()> {
    writeln!(std::io::stdout(), "{text}").map_err(not_written)
}

/// Writes bytes to standard output as they are.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn bytes(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(not_written)
}

fn not_written(error: std::io::Error) -> Error {
    match error.kind() {
        IoErrorKind::BrokenPipe => {
            Error::permanent(model::ErrorKind::Internal, "write the result").caused_by(ReaderLeft)
        }
        _ => Error::local_io("write the result", error),
    }
}

/// Writes a line for the person at the terminal to standard error, so that results can be piped.
pub(crate) fn note(text: impl fmt::Display) {
    // Where nobody reads it, there is nobody to tell.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Writes a value as indented JSON.
///
/// # Errors
/// Standard output is closed.
pub(crate) fn json(value: &serde_json::Value) -> Result<()> {
    line(format_args!("{value:#}"))
}

/// Rows in columns as wide as they need to be. Rows that come later may make them wider, never narrower.
pub(crate) struct Columns {
    head: Option<&'static [&'static str]>,
    widths: Vec<usize>,
}

impl Columns {
    /// Columns under these words; without any, a row is one cell.
    pub(crate) fn new(head: &'static [&'static str]) -> Self {
        let widths = head.iter().map(|word| word.chars().count()).collect();
        Self { head: (!head.is_empty()).then_some(head), widths }
    }

    /// Writes rows, with the head before the first ones.
    ///
    /// # Errors
    /// Standard output is closed.
    pub(crate) fn write(&mut self, rows: Vec<Vec<String>>) -> Result<()> {
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        if !rows.is_empty()
            && let Some(head) = self.head.take()
        {
            self.row(head.iter().copied())?;
        }
        rows.iter().try_for_each(|row| self.row(row.iter().map(String::as_str)))
    }

    fn row<'a>(&self, cells: impl Iterator<Item = &'a str>) -> Result<()> {
        let widths = self.widths.iter().copied().chain(std::iter::repeat(0));
        let padded: Vec<String> = cells.zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        line(padded.join("  ").trim_end())
    }
}

/// A moment, for people: UTC to the second.
pub(crate) fn time(at: model::Timestamp) -> String {
    at.format("%Y-%m-%d %H:%M:%SZ").to_string()
}
