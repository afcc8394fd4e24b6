//! A line of LIST on z/OS outside its Unix file system: data sets (volume, unit, date of the last use, extents, tracks,
//! format, lengths, organization, name), and members of a partitioned one with statistics (version, created, changed, lines,
//! user) or without any. There are no sizes in bytes; the only time of a data set is that of its last use.

use super::time::{self, clock, number};
use model::{RemotePath, Timestamp};
use transport::folder::{Entry, EntryKind};

/// The entry of a line; `None` if it has another form.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let words: Vec<&[u8]> =
        line.split(|byte| *byte == b' ').filter(|word| !word.is_empty()).take(12).collect();
    match words.as_slice() {
        [b"Pseudo", b"Directory", name] => entry(name, EntryKind::Directory, None),
        // Reading it would bring it back from a tape.
        [b"Migrated", name] => entry(name, EntryKind::Other, None),
        [_, .., organization, name] if words.len() == 10 && date(words[2]).is_some() => {
            let kind = match *organization {
                b"PO" | b"PO-E" => EntryKind::Directory,
                b"PS" | b"PS-E" | b"PS-L" => EntryKind::File,
                _ => EntryKind::Other,
            };
            entry(name, kind, None)
        }
        [name, _, created, changed, at, ..] if is_member(name) && date(created).is_some() => {
            let ((year, month, day), (hour, minute)) = (date(changed)?, clock(at)?);
            entry(name, EntryKind::File, time::at(year, month, day, hour, minute))
        }
        [name] if is_member(name) => entry(name, EntryKind::File, None),
        _ => None,
    }
}

/// The heads of both tables.
pub(super) fn is_frame(line: &[u8]) -> bool {
    line.starts_with(b"Volume Unit ") || line.starts_with(b" Name ") || line.trim_ascii() == b"Name"
}

fn entry(name: &[u8], kind: EntryKind, modified: Option<Timestamp>) -> Option<Entry> {
    let name = name.strip_prefix(b"'").and_then(|name| name.strip_suffix(b"'")).unwrap_or(name);
    if name.is_empty() {
        return None;
    }
    let path = RemotePath::from_bytes(name);
    Some(Entry { path, kind, size: None, modified, version: None, changed: None })
}

/// One to eight letters, digits and three signs, with a letter or sign first.
fn is_member(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || b"$#@".contains(byte);
    (1..=8).contains(&name.len())
        && name.first().is_some_and(is_letter)
        && name.iter().all(|byte| is_letter(byte) || byte.is_ascii_digit())
}

/// `2026/11/26`.
fn date(word: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = word.split(|byte| *byte == b'/');
    let year = number(parts.next().filter(|digits| digits.len() == 4)?)?;
    let (month, day) = (number(parts.next()?)?, number(parts.next()?)?);
    (parts.next().is_none() && (1..=12).contains(&month) && (1..=31).contains(&day))
        .then_some((year, month, day))
}
