//! Segment files: their names, reading them, and removing an incomplete last line after a crash.

use super::entry::{Header, JournalEntry, LONGEST, Line, decode};
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// A position in the journal: the segment's number and the byte in it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The file of a segment.
pub(crate) fn path(directory: &Path, segment: u64) -> PathBuf {
    directory.join(format!("{segment:012}.journal"))
}

/// Numbers and sizes of the existing segments, in order.
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

/// Cuts off what follows the last complete line: the rest of a write that a crash interrupted. Returns the number of
/// bytes cut. A damaged line before complete ones stays, because it is not an interrupted write.
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

/// The result of one call of [`Reader::read`].
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) entries: Vec<JournalEntry>,
    /// Damaged lines, unchanged: they are set aside, never dropped.
    pub(crate) damaged: Vec<Vec<u8>>,
    /// The position of the next batch.
    pub(crate) end: Place,
}

/// Reads one segment from a position.
pub(crate) struct Reader {
    file: BufReader<File>,
    place: Place,
    /// The process that wrote the segment; `None` if its first line is damaged.
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

    /// Reads complete lines up to byte `until`, at most this number of entries or about this number of bytes.
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

/// One line with its line break; a line longer than any valid one is split.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<u64> {
    let read = reader.by_ref().take(2 * LONGEST as u64).read_until(b'\n', line)?;
    Ok(read as u64)
}
