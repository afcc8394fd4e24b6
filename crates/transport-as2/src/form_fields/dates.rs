//! Dates in forms (RFC 822, 5; RFC 1123, 5.2.14): read as systems of that time write them.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta};
use model::Timestamp;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// The zones of RFC 822 by name, in hours. Military ones were defined with the wrong sign there: they say nothing.
const ZONES: [(&str, i32); 11] = [
    ("ut", 0),
    ("utc", 0),
    ("gmt", 0),
    ("est", -5),
    ("edt", -4),
    ("cst", -6),
    ("cdt", -5),
    ("mst", -7),
    ("mdt", -6),
    ("pst", -8),
    ("pdt", -7),
];

/// Reads a date: the day of the week and the seconds may be left out, the year may have two digits (RFC 2822, 4.3).
pub(crate) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    let text = text.split_once(',').map_or(text, |(_, date)| date);
    let mut words = text.split_ascii_whitespace();
    let day: u32 = words.next()?.parse().ok()?;
    let month = words.next()?.get(..3)?.to_ascii_lowercase();
    let month = MONTHS.iter().position(|name| *name == month)?;
    let year = year(words.next()?)?;
    let mut time = words.next()?.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse().ok()?, time.next()?.parse().ok()?);
    let second: u32 = time.next().map_or(Some(0), |second| second.parse().ok())?;
    let zone = zone(words.next()?)?;
    if words.next().is_some_and(|more| !more.starts_with('(')) {
        return None;
    }
    let date = NaiveDate::from_ymd_opt(year, u32::try_from(month + 1).ok()?, day)?;
    // A leap second is the next one.
    let is_leap = second == 60;
    let local = date.and_hms_opt(hour, minute, if is_leap { 59 } else { second })?;
    let at: DateTime<FixedOffset> = local.and_local_timezone(zone).single()?;
    let at = if is_leap { at.checked_add_signed(TimeDelta::seconds(1))? } else { at };
    Some(at.to_utc())
}

/// As it is written (RFC 1123, 5.2.14).
pub(crate) fn text(at: Timestamp) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn year(text: &str) -> Option<i32> {
    let year: i32 = text.parse().ok()?;
    match text.len() {
        2 if year < 50 => Some(year + 2000),
        2 | 3 => Some(year + 1900),
        4 => Some(year),
        _ => None,
    }
}

fn zone(text: &str) -> Option<FixedOffset> {
    if let Some((_, hours)) = ZONES.iter().find(|(name, _)| text.eq_ignore_ascii_case(name)) {
        return FixedOffset::east_opt(hours * 3600);
    }
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        // RFC 2822, 4.3: as -0000.
        (letter, "") if letter.bytes().all(|byte| byte.is_ascii_alphabetic()) => {
            return FixedOffset::east_opt(0);
        }
        _ => return None,
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes): (i32, i32) = (digits[..2].parse().ok()?, digits[2..].parse().ok()?);
    FixedOffset::east_opt(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_of_both_documents_are_read() {
        for (written, expected) in [
            ("Tue, 06 Nov 2001 12:53:01 UT", "2001-11-06T12:53:01+00:00"),
            ("6 Nov 01 12:53 GMT", "2001-11-06T12:53:00+00:00"),
            ("Fri, 30 Sep 98 23:59:59 -0500", "1998-10-01T04:59:59+00:00"),
            ("30 September 1998 23:59:59 EDT", "1998-10-01T03:59:59+00:00"),
            ("01 Jan 2027 00:00:00 +0130 (comment)", "2026-12-31T22:30:00+00:00"),
            ("31 Dec 2016 23:59:60 Z", "2017-01-01T00:00:00+00:00"),
        ] {
            assert_eq!(parse(written).map(|at| at.to_rfc3339()).as_deref(), Some(expected), "{written}");
        }
        for wrong in [
            "",
            "tomorrow",
            "2027-01-01T00:00:00Z",
            "32 Jan 2027 00:00:00 GMT",
            "1 Jan 2027 25:00:00 GMT",
            "1 Jan 2027 00:00:00",
            "1 Jan 2027 00:00:00 XYZ",
            "1 Jan 2027 00:00:00 +99",
            "1 Jan 2027 00:00:00 GMT more",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_text_panics(seconds in 0_i64..4_000_000_000, wild in ".{0,60}") {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            prop_assert_eq!(parse(&text(at)), Some(at));
            let _ = parse(&wild);
        }
    }
}
