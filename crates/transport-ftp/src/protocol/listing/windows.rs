//! A line of LIST in the form of `dir`, as Windows servers send it: date, time, `<DIR>` or a size, and the name.

use super::time::{self, clock, number};
use model::{RemotePath, Timestamp};
use transport::folder::{Entry, EntryKind};

/// The entry of a line; `None` if it has another form.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let (date, rest) = word(line)?;
    let (year, month, day) = day(date)?;
    let (clock, rest) = word(rest)?;
    let (half, after) = word(rest)?;
    // "03:19PM", and with a space.
    let (clock, rest) = match half.to_ascii_uppercase().as_slice() {
        half @ (b"AM" | b"PM") => (time_of_day(clock, Some(half))?, after),
        _ => (time_of_day(clock, None)?, rest),
    };
    let modified: Option<Timestamp> = time::at(year, month, day, clock.0, clock.1);
    let (size, rest) = word(rest)?;
    let (kind, size) = match size.to_ascii_uppercase().as_slice() {
        b"<DIR>" => (EntryKind::Directory, None),
        b"<SYMLINK>" | b"<SYMLINKD>" | b"<JUNCTION>" => (EntryKind::Link, None),
        digits => {
            let digits: Vec<u8> =
                digits.iter().copied().filter(|byte| !matches!(byte, b',' | b'.')).collect();
            let size = std::str::from_utf8(&digits).ok()?.parse::<u64>().ok()?;
            (EntryKind::File, Some(size))
        }
    };
    // A size stands before one space, the words for directories in a wider column.
    let name = if kind == EntryKind::File { rest.get(1..)? } else { rest.trim_ascii_start() };
    if name.is_empty() {
        return None;
    }
    Some(Entry { path: RemotePath::from_bytes(name), kind, size, modified, version: None, changed: None })
}

/// The next word, and what follows it with the space before.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| *byte == b' ')?;
    (end > 0).then(|| text.split_at(end))
}

/// `11-26-26`, `11/26/2026`, `2026-11-26`.
fn day(text: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(|byte| matches!(byte, b'-' | b'/'));
    let (first, second, third) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let (a, b, c) = (number(first)?, number(second)?, number(third)?);
    let (year, month, day) = match (first.len(), third.len()) {
        (4, 1..=2) => (a, b, c),
        (1..=2, 4) => (c, a, b),
        (1..=2, 2) => (if c < 70 { 2000 + c } else { 1900 + c }, a, b),
        _ => return None,
    };
    ((1..=12).contains(&month) && (1..=31).contains(&day)).then_some((year, month, day))
}

fn time_of_day(text: &[u8], half: Option<&[u8]>) -> Option<(u32, u32)> {
    let upper = text.to_ascii_uppercase();
    let (text, half) = match (upper.strip_suffix(b"AM"), upper.strip_suffix(b"PM")) {
        (Some(text), _) => (text, Some(&b"AM"[..])),
        (_, Some(text)) => (text, Some(&b"PM"[..])),
        _ => (&upper[..], half),
    };
    let (hour, minute) = clock(text)?;
    match half {
        None => Some((hour, minute)),
        Some(_) if !(1..=12).contains(&hour) => None,
        Some(half) => Some((hour % 12 + if half == b"PM" { 12 } else { 0 }, minute)),
    }
}
