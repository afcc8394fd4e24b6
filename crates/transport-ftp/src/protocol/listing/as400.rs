//! A line of LIST on IBM i (AS/400): owner, size, date, time, `*TYPE` and the name; of members of files, owner, type and
//! name alone. Dates are read as `MM/DD/YY`, `DD.MM.YY` and `YYYY-MM-DD`; others, which a server's job can ask for, leave
//! the time unknown.

use super::time::{self, clock, number};
use model::{RemotePath, Timestamp};
use transport::folder::{Entry, EntryKind};

/// The entry of a line; `None` if it has another form.
pub(super) fn read(line: &[u8]) -> Option<Entry> {
    let star = line.windows(2).position(|two| two == b" *")? + 1;
    let (before, after) = line.split_at(star);
    let end = after.iter().position(|byte| *byte == b' ')?;
    let (kind, name) = (kind(&after[1..end])?, after[end..].trim_ascii());
    let mut words = before.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.next()?;
    let (size, modified) = match (words.next(), words.next(), words.next(), words.next()) {
        (None, ..) => (None, None),
        (Some(size), Some(date), Some(time), None) => {
            let size = std::str::from_utf8(size).ok()?.parse::<u64>().ok()?;
            (Some(size), moment(date, time))
        }
        _ => return None,
    };
    let name = name.strip_suffix(b"/").unwrap_or(name);
    let name = name.rsplit(|byte| *byte == b'/').next().filter(|name| !name.is_empty())?;
    Some(Entry {
        path: RemotePath::from_bytes(name),
        kind,
        size: size.filter(|_| kind == EntryKind::File),
        modified,
        version: None,
        changed: None,
    })
}

/// A physical file is a directory of members: `Unknown` is tried as both.
fn kind(word: &[u8]) -> Option<EntryKind> {
    Some(match word {
        b"STMF" | b"DSTMF" | b"MEM" | b"MBR" | b"DOC" => EntryKind::File,
        b"DIR" | b"DDIR" | b"LIB" | b"FLR" => EntryKind::Directory,
        b"FILE" => EntryKind::Unknown,
        b"SYMLNK" => EntryKind::Link,
        other if !other.is_empty() && other.iter().all(u8::is_ascii_uppercase) => EntryKind::Other,
        _ => return None,
    })
}

fn moment(date: &[u8], time: &[u8]) -> Option<Timestamp> {
    let separator = *date.iter().find(|byte| !byte.is_ascii_digit())?;
    let mut parts = date.split(|byte| *byte == separator);
    let (first, second, third) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?)?);
    let century = |year: u32| if year < 70 { 2000 + year } else { 1900 + year };
    let (year, month, day) = match separator {
        b'/' => (century(third), first, second),
        b'.' => (century(third), second, first),
        b'-' if first > 99 => (first, second, third),
        _ => return None,
    };
    let (hour, minute) = clock(time)?;
    time::at(year, month, day, hour, minute)
}
