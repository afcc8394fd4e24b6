//! A line of LIST in the form of `ls -l`: with a time or a year, day and month in either order, or an ISO date; with or
//! without a group; owners with spaces; months of other languages, whose times are then unknown unless they are numbers.

use super::time::{self, clock, number};
use model::{RemotePath, Timestamp};
use transport::folder::{Entry, EntryKind};

const MONTHS: [&[u8]; 12] =
    [b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec"];

/// A word of the line, and where it ends.
struct Word<'a> {
    text: &'a [u8],
    end: usize,
}

/// The entry of a line; `None` if it has another form.
pub(super) fn read(line: &[u8], now: Timestamp) -> Option<Entry> {
    let kind = match line.first()? {
        b'-' => EntryKind::File,
        b'd' => EntryKind::Directory,
        b'l' => EntryKind::Link,
        b'b' | b'c' | b'p' | b's' | b'D' => EntryKind::Other,
        _ => return None,
    };
    let is_permission = |byte: &u8| b"rwxsStTlL-".contains(byte);
    if !line.get(1..10)?.iter().all(is_permission) {
        return None;
    }
    let words = words(line);
    // The size is the number before the date; a device has two numbers there.
    let (size, modified, end) = (2..words.len()).find_map(|at| {
        let size = std::str::from_utf8(words[at - 1].text).ok()?.parse::<u64>().ok()?;
        let (modified, last) = date(&words, at, now)?;
        Some((size, modified, words[last].end))
    })?;
    // One space; what follows belongs to the name.
    let mut name = line.get(end + 1..)?;
    if kind == EntryKind::Link
        && let Some(arrow) = name.windows(4).position(|part| part == b" -> ")
    {
        name = &name[..arrow];
    }
    if name.is_empty() {
        return None;
    }
    Some(Entry {
        path: RemotePath::from_bytes(name),
        kind,
        size: (kind == EntryKind::File).then_some(size),
        modified,
        version: None,
        changed: None,
    })
}

fn words(line: &[u8]) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    let mut begin = None;
    for (at, byte) in line.iter().enumerate() {
        match (*byte == b' ', begin) {
            (false, None) => begin = Some(at),
            (true, Some(from)) => {
                words.push(Word { text: &line[from..at], end: at });
                begin = None;
                // Permissions to date are some ten words; the rest is the name.
                if words.len() == 16 {
                    return words;
                }
            }
            _ => {}
        }
    }
    words
}

/// The date that begins with a word, and its last word. The time is `None` if the month is not known.
fn date(words: &[Word<'_>], at: usize, now: Timestamp) -> Option<(Option<Timestamp>, usize)> {
    let text = |number: usize| words.get(number).map(|word| word.text);
    let (first, second) = (text(at)?, text(at + 1)?);
    if let Some((year, month, day)) = iso(first) {
        let (hour, minute) = clock(second)?;
        // `ls --full-iso` adds seconds and the zone.
        let last = match text(at + 2) {
            Some([b'+' | b'-', zone @ ..]) if zone.len() == 4 && number(zone).is_some() => at + 2,
            _ => at + 1,
        };
        return Some((time::at(year, month, day, hour, minute), last));
    }
    let third = text(at + 2)?;
    let day_of = |text: &[u8]| {
        let digits = text.strip_suffix(b".").or_else(|| text.strip_suffix(b",")).unwrap_or(text);
        number(digits).filter(|day| digits.len() <= 2 && (1..=31).contains(day))
    };
    let is_month = |text: &[u8]| {
        let is_word = text.first().is_some_and(|byte| byte.is_ascii_alphabetic() || *byte >= 128);
        is_word || numbered_month(text).is_some()
    };
    let (month_word, day) = match (day_of(first), day_of(second)) {
        (None, Some(day)) if is_month(first) => (first, day),
        (Some(day), None) if is_month(second) => (second, day),
        _ => return None,
    };
    let moment = if third.contains(&b':') {
        Moment::Clock(clock(third)?)
    } else {
        Moment::Year(number(third).filter(|_| third.len() == 4)?)
    };
    let month = MONTHS.iter().position(|name| {
        let word = month_word.to_ascii_lowercase();
        let word = word.strip_suffix(b".").unwrap_or(&word);
        word == *name
    });
    let month = month.and_then(|month| u32::try_from(month + 1).ok()).or_else(|| numbered_month(month_word));
    let modified = month.and_then(|month| match moment {
        Moment::Clock((hour, minute)) => time::without_year(month, day, hour, minute, now),
        Moment::Year(year) => time::at(year, month, day, 0, 0),
    });
    Some((modified, at + 2))
}

/// A month as Chinese, Japanese and Korean write it: its number and a character.
fn numbered_month(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (month, rest) = text.split_at(digits);
    let is_numbered = matches!(digits, 1 | 2) && !rest.is_empty() && rest.iter().all(|byte| *byte >= 128);
    number(month).filter(|month| is_numbered && (1..=12).contains(month))
}

enum Moment {
    Clock((u32, u32)),
    Year(u32),
}

/// `2026-11-26`.
fn iso(text: &[u8]) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(|byte| *byte == b'-');
    let year = parts.next().filter(|digits| digits.len() == 4)?;
    let (year, month, day) = (number(year)?, number(parts.next()?)?, number(parts.next()?)?);
    parts.next().is_none().then_some((year, month, day))
}
