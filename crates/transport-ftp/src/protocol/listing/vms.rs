//! A line of LIST on OpenVMS: name with its version, blocks, date and time. A name that fills its column stands on a line of
//! its own, and the rest on the next one. Blocks are no bytes: the size is unknown. Of several versions of a file the first
//! one listed, the newest, is the file.

use super::time::{self, clock, number};
use model::RemotePath;
use transport::folder::{Entry, EntryKind};

const MONTHS: [&[u8]; 12] =
    [b"JAN", b"FEB", b"MAR", b"APR", b"MAY", b"JUN", b"JUL", b"AUG", b"SEP", b"OCT", b"NOV", b"DEC"];

/// Whether a line is a name whose rest follows.
pub(super) fn goes_on(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    !line.contains(&b' ') && version(line).is_some()
}

/// A name without its version.
fn version(word: &[u8]) -> Option<&[u8]> {
    let at = word.iter().rposition(|byte| *byte == b';')?;
    let number = &word[at + 1..];
    (at > 0 && !number.is_empty() && number.iter().all(u8::is_ascii_digit)).then(|| &word[..at])
}

/// The entry of a line; `None` if it has another form.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let name = version(words.next()?)?;
    // Used blocks, and after a slash those taken.
    let blocks = words.next()?;
    if !blocks.split(|byte| *byte == b'/').all(|count| number(count).is_some()) {
        return None;
    }
    let mut date = words.next()?.split(|byte| *byte == b'-');
    let (day, month, year) =
        (number(date.next()?)?, date.next()?.to_ascii_uppercase(), number(date.next()?)?);
    let month = u32::try_from(MONTHS.iter().position(|name| *name == month)? + 1).ok()?;
    let (hour, minute) = clock(words.next()?)?;
    let upper = name.to_ascii_uppercase();
    let (name, kind) = match upper.strip_suffix(b".DIR") {
        Some(stem) => (&name[..stem.len()], EntryKind::Directory),
        None => (name, EntryKind::File),
    };
    Some(Entry {
        path: RemotePath::from_bytes(name),
        kind,
        size: None,
        modified: time::at(year, month, day, hour, minute),
        version: None,
        changed: None,
    })
}

/// What stands around the entries: the directory, a sum, nothing.
pub(super) fn is_frame(line: &[u8]) -> bool {
    line.starts_with(b"Directory ") || line.starts_with(b"Total of ") || line.starts_with(b"Grand total ")
}
