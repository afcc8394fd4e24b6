//! Segment files: their names, their reading, and the end of one that was cut off by a crash.

use super::entry::{Header, JournalEntry, LONGEST, Line, decode};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A place in the journal: the segment's number and the byte within it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The file of a segment.
pub(crate) fn path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:012}.journal"))
}

/// Numbers and sizes of the segments that are there, in order.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut found = vec![];
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_suffix(".journal")).and_then(|n| n.parse().ok());
        if let Some(number) = number {
            found.push((number, entry.metadata()?.len()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Cuts what follows the last whole line: the rest of a write that a crash interrupted. Returns the
/// number of bytes cut. A broken line with whole ones behind it stays; it is damage, not a torn end.
pub(crate) fn cut_torn_end(path: &Path) -> io::Result<u64> {
    let mut reader = BufReader::new(OpenOptions::new().read(true).write(true).open(path)?);
    let (mut at, mut whole, mut line) = (0, 0, vec![]);
    loop {
        line.clear();
        match next_line(&mut reader, &mut line)? {
            0 => break,
            read => at += read,
        }
        if line.pop() == Some(b'\n') && decode(&line).is_some() {
            whole = at;
        }
    }
    if whole < at {
        let file = reader.into_inner();
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(at - whole)
}

/// What one call of [`Reader::read`] gave.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) entries: Vec<JournalEntry>,
    /// Lines that are not whole, verbatim: to be set aside, never dropped.
    pub(crate) damaged: Vec<Vec<u8>>,
    /// Where the next batch begins.
    pub(crate) end: Place,
}

/// Reads one segment from a place on.
pub(crate) struct Reader {
    file: BufReader<File>,
    place: Place,
    /// Whose segment it is; `None` when its first line is damaged.
    pub(crate) header: Option<Header>,
}

impl Reader {
    pub(crate) fn open(directory: &Path, from: Place) -> io::Result<Self> {
        let mut file = BufReader::new(File::open(path(directory, from.segment))?);
        let mut line = vec![];
        next_line(&mut file, &mut line)?;
        line.pop();
        let header = match decode(&line) {
            Some(Line::Segment(header)) => Some(header),
            _ => None,
        };
        file.seek(SeekFrom::Start(from.offset))?;
        Ok(Self { file, place: from, header })
    }

    /// Reads whole lines up to byte `until`, at most so many entries or about so many bytes.
    pub(crate) fn read(&mut self, until: u64, entries: usize, bytes: u64) -> io::Result<Batch> {
        let begin = self.place.offset;
        let mut batch = Batch { end: self.place, ..Batch::default() };
        let mut line = vec![];
        while self.place.offset < until
            && batch.entries.len() + batch.damaged.len() < entries
            && self.place.offset - begin < bytes
        {
            line.clear();
            let read = next_line(&mut self.file, &mut line)?;
            if read == 0 {
                break;
            }
            self.place.offset += read;
            if line.last() == Some(&b'\n') {
                line.pop();
            }
            match decode(&line) {
                Some(Line::Entry(entry)) => batch.entries.push(*entry),
                Some(Line::Segment(_)) => {}
                None => batch.damaged.push(line.clone()),
            }
        }
        batch.end = self.place;
        Ok(batch)
    }
}

/// One line with its break; what is longer than any line that was ever written is cut into several.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<u64> {
    let read = reader.by_ref().take(2 * LONGEST as u64).read_until(b'\n', line)?;
    Ok(read as u64)
}
