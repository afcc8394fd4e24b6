//! Calendars of days off.

use chrono::{Datelike, NaiveDate, Weekday};
use std::collections::BTreeSet;

/// A business calendar: the days on which nothing is polled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Calendar {
    /// Its name.
    pub name: String,
    /// The days off, in the time zone of the flow that names the calendar.
    pub days_off: BTreeSet<NaiveDate>,
    /// Whether Saturdays and Sundays are days off as well.
    pub weekends: bool,
}

impl Calendar {
    /// Reads a day, such as `2026-12-25`.
    ///
    /// # Errors
    /// Says how a day is written.
    pub fn parse_day(text: &str) -> Result<NaiveDate, String> {
        let wrong = || format!("{text:?} is not a day; write it as year, month and day: \"2026-12-25\"");
        let day: NaiveDate = text.parse().map_err(|_| wrong())?;
        // The parser also takes days without leading zeros and years with a sign.
        if day.to_string() == text { Ok(day) } else { Err(wrong()) }
    }

    /// Whether a day is a day off.
    #[must_use]
    pub fn is_day_off(&self, day: NaiveDate) -> bool {
        self.weekends && matches!(day.weekday(), Weekday::Sat | Weekday::Sun) || self.days_off.contains(&day)
    }
}
