//! Times in listings.

use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};
use model::Timestamp;

/// `YYYYMMDDHHMMSS`, perhaps with a fraction, in UTC (RFC 3659, 2.3).
pub(crate) fn read(text: &[u8]) -> Option<Timestamp> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &b""[..]),
    };
    // Some servers count the years since 1900 after a 19: "19126" is 2026.
    let year_digits = match whole.len() {
        14 => 4,
        15 if whole.starts_with(b"191") => 5,
        _ => return None,
    };
    let (year, rest) = whole.split_at(year_digits);
    let year = match year_digits {
        5 => 1900 + number(&year[2..])?,
        _ => number(year)?,
    };
    let two = |at: usize| number(&rest[at..at + 2]);
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, two(0)?, two(2)?)?;
    let mut nanos = 0;
    let mut unit = 100_000_000;
    for digit in fraction {
        if !digit.is_ascii_digit() {
            return None;
        }
        nanos += u32::from(digit - b'0') * unit;
        unit /= 10;
    }
    // A leap second is the last one of its minute.
    Some(date.and_hms_nano_opt(two(4)?, two(6)?, two(8)?.min(59), nanos)?.and_utc())
}

/// A day and a time of day without a year: the last such moment, or one up to a day ahead, as clocks differ.
pub(super) fn without_year(
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    now: Timestamp,
) -> Option<Timestamp> {
    let latest = now.checked_add_signed(TimeDelta::days(1))?;
    // Eight years back there is a 29 February in any case.
    (0..=8).find_map(|back| {
        let date = NaiveDate::from_ymd_opt(latest.year() - back, month, day)?;
        let at = date.and_hms_opt(hour, minute, 0)?.and_utc();
        (at <= latest).then_some(at)
    })
}

/// A day, and a time of it.
pub(super) fn at(year: u32, month: u32, day: u32, hour: u32, minute: u32) -> Option<Timestamp> {
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    date.and_hms_opt(hour, minute, 0).map(|at| at.and_utc())
}

/// A moment as MFMT takes it; `None` before the year 0 and after 9999.
pub(crate) fn written(at: DateTime<chrono::Utc>) -> Option<String> {
    (0..=9999).contains(&at.year()).then(|| at.format("%Y%m%d%H%M%S").to_string())
}

/// At most nine digits.
pub(super) fn number(digits: &[u8]) -> Option<u32> {
    let fits = (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    fits.then(|| digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0')))
}

/// `hh:mm`, perhaps with seconds.
pub(super) fn clock(text: &[u8]) -> Option<(u32, u32)> {
    let mut parts = text.split(|byte| *byte == b':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    (hour < 24 && minute < 60).then_some((hour, minute))
}
