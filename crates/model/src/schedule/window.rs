//! Windows of the day.

use chrono::{Datelike, Days, NaiveDate, NaiveDateTime, Timelike, Weekday};
use std::fmt;

const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Mon, "mon"),
    (Weekday::Tue, "tue"),
    (Weekday::Wed, "wed"),
    (Weekday::Thu, "thu"),
    (Weekday::Fri, "fri"),
    (Weekday::Sat, "sat"),
    (Weekday::Sun, "sun"),
];

/// Minutes of a day.
const DAY: u32 = 24 * 60;

/// A part of the day, on some days of the week; it may go over midnight.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Window {
    /// The first minute of the day that belongs to it.
    from: u32,
    /// The first minute after it: greater than `from`, or, over midnight, at most `from` on the next day.
    to: u32,
    /// The days on which it begins, Monday first.
    days: [bool; 7],
}

/// What is wrong with a window.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowError {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

impl Window {
    /// Reads a window: `from` and `to` as hours and minutes, days of the week or ranges of them (`mon-fri`), none for
    /// every day.
    ///
    /// # Errors
    /// Says which field is wrong, and how it is written.
    pub fn parse<'a>(
        from: &str,
        to: &str,
        days: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, WindowError> {
        let wrong = |field| move |message| WindowError { field, message };
        let start = minute(from, false).map_err(wrong("from"))?;
        let end = minute(to, true).map_err(wrong("to"))?;
        if start == end {
            let message = format!("is the same time as 'from', {from:?}: the window has no length");
            return Err(WindowError { field: "to", message });
        }
        let mut chosen = [false; 7];
        let mut is_every = true;
        for text in days {
            is_every = false;
            range(text, &mut chosen).map_err(wrong("days"))?;
        }
        Ok(Self { from: start, to: end, days: if is_every { [true; 7] } else { chosen } })
    }

    /// The minute of the day at which it begins.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.from
    }

    /// Whether it is open at a moment of the local clock.
    #[must_use]
    pub fn is_open(&self, local: NaiveDateTime) -> bool {
        self.days_at(local).next().is_some()
    }

    /// Whether it begins on a day.
    pub(super) fn begins_on(&self, day: NaiveDate) -> bool {
        self.days[day.weekday().num_days_from_monday() as usize]
    }

    /// The days on which the windows began that are open at a moment of the local clock: today, yesterday, both or
    /// none.
    pub(super) fn days_at(&self, local: NaiveDateTime) -> impl Iterator<Item = NaiveDate> + '_ {
        let minute = local.hour() * 60 + local.minute();
        let over_midnight = self.to <= self.from;
        let today = minute >= self.from && (over_midnight || minute < self.to);
        let yesterday = over_midnight && minute < self.to;
        let day = local.date();
        let begun = today.then_some(day).into_iter();
        let begun = begun.chain(yesterday.then(|| day.checked_sub_days(Days::new(1))).flatten());
        begun.filter(|day| self.begins_on(*day))
    }
}

pub(super) fn minute(text: &str, is_end: bool) -> Result<u32, String> {
    let read = || {
        let (hours, minutes) = text.split_once(':')?;
        let digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        let (hours, minutes): (u32, u32) =
            (digits(hours) && digits(minutes)).then_some((hours.parse().ok()?, minutes.parse().ok()?))?;
        let minute = hours * 60 + minutes;
        (minutes < 60 && (minute < DAY || is_end && minute == DAY)).then_some(minute)
    };
    read().ok_or_else(|| format!("{text:?} is not a time of day; write hours and minutes, such as \"06:00\""))
}

fn range(text: &str, chosen: &mut [bool; 7]) -> Result<(), String> {
    let day = |word: &str| {
        let found = DAYS.iter().position(|(_, name)| name.eq_ignore_ascii_case(word.trim()));
        found.ok_or_else(|| {
            format!(
                "{text:?} names no days of the week; write mon, tue, wed, thu, fri, sat or sun, or a range such as \
                 \"mon-fri\""
            )
        })
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(text)?, day(text)?),
    };
    let mut at = first;
    chosen[at] = true;
    while at != last {
        at = (at + 1) % 7;
        chosen[at] = true;
    }
    Ok(())
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |minute: u32| format!("{:02}:{:02}", minute / 60, minute % 60);
        write!(f, "{} and {}", time(self.from), time(self.to))?;
        if self.days.contains(&false) {
            let chosen: Vec<&str> =
                DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|((_, day), _)| *day).collect();
            write!(f, " on {}", chosen.join(", "))?;
        }
        Ok(())
    }
}
