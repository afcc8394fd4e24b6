//! Listings, line by line: MLSD's facts, and what LIST answers on Unix and Windows servers.

mod facts;
mod time;
mod unix;
mod windows;

pub(crate) use facts::read as facts;
pub(crate) use time::{read as time, written};

use model::Timestamp;
use transport::folder::Entry;

/// The longest line of a listing: a name of 4 KiB, four bytes a character, and its facts.
pub(crate) const LINE: usize = 20 * 1024;

/// The form of a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Form {
    /// Facts of MLSD (RFC 3659, 7).
    Facts,
    /// As `ls -l` on Unix.
    Unix,
    /// As `dir` on Windows.
    Windows,
    /// Unix or Windows, as the lines show.
    Either,
}

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// An entry, with its name alone as path.
    Entry(Entry),
    /// Nothing of an entry: empty, a sum, or the directory itself and the one above it.
    Nothing,
    /// It cannot be read.
    Unreadable,
}

impl Form {
    /// Reads a line without its end. `now` gives the year to dates without one.
    pub(crate) fn read(self, line: &[u8], now: Timestamp) -> Line {
        if line.trim_ascii().is_empty() {
            return Line::Nothing;
        }
        let entry = match self {
            Self::Facts => facts::read(line),
            Self::Unix => unix::read(line, now),
            Self::Windows => windows::read(line),
            Self::Either => unix::read(line, now).or_else(|| windows::read(line)),
        };
        match entry {
            Some(entry) if matches!(entry.path.as_bytes(), b"." | b"..") => Line::Nothing,
            Some(entry) => Line::Entry(entry),
            None if self != Self::Facts && is_sum(line) => Line::Nothing,
            None => Line::Unreadable,
        }
    }
}

/// `total 12`, in any language: a word and a number, before the entries.
fn is_sum(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (first, second) = (words.next(), words.next());
    let is_word = |word: &[u8]| word.iter().all(|byte| byte.is_ascii_alphabetic() || *byte >= 128);
    words.next().is_none()
        && first.is_some_and(is_word)
        && second.is_some_and(|word| word.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests;
