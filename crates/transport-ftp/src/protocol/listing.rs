//! Listings, line by line: MLSD's facts, and what LIST answers on Unix, Windows, IBM i (AS/400), OpenVMS and z/OS (MVS).

mod as400;
mod facts;
mod mvs;
mod time;
mod unix;
mod vms;
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
    /// As on IBM i.
    As400,
    /// As on OpenVMS.
    Vms,
    /// As on z/OS, outside its Unix file system.
    Mvs,
    /// Unix, Windows, IBM i or OpenVMS, as the lines show.
    Any,
}

/// What a line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// An entry, with its name alone as path.
    Entry(Entry),
    /// Nothing of an entry: empty, a sum, or the directory itself and the one above it.
    Nothing,
    /// The beginning of an entry whose rest is the next line.
    Begun,
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
            Self::As400 => as400::read(line),
            Self::Vms => vms::read(line),
            Self::Mvs => mvs::read(line),
            Self::Any => unix::read(line, now)
                .or_else(|| windows::read(line))
                .or_else(|| as400::read(line))
                .or_else(|| vms::read(line)),
        };
        match entry {
            Some(entry) if matches!(entry.path.as_bytes(), b"." | b"..") => Line::Nothing,
            Some(entry) => Line::Entry(entry),
            None if matches!(self, Self::Vms | Self::Any) && vms::goes_on(line) => Line::Begun,
            None if self.is_frame(line) => Line::Nothing,
            None => Line::Unreadable,
        }
    }
}

impl Form {
    /// Whether a line stands before or after the entries.
    fn is_frame(self, line: &[u8]) -> bool {
        match self {
            Self::Facts => false,
            Self::Mvs => mvs::is_frame(line),
            Self::Vms => vms::is_frame(line),
            Self::Any => is_sum(line) || vms::is_frame(line),
            Self::Unix | Self::Windows | Self::As400 => is_sum(line),
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
