//! Files that are expected by a time of the day.

use super::window::minute;
use super::{Pace, Schedule, moments};
use crate::Timestamp;
use chrono::{Days, NaiveDate};
use std::fmt;

/// How many days back the last day is looked for on which files were expected.
const LOOK_BACK_DAYS: u64 = 14;

/// How many files are expected by a time of each day on which the source is polled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Expectation {
    /// The minute of the day.
    by: u32,
    /// How many files, at least 1.
    pub at_least: u32,
}

/// A day on which files were expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpectedDay {
    /// The day.
    pub day: NaiveDate,
    /// When it began.
    pub from: Timestamp,
    /// By when the files were expected.
    pub by: Timestamp,
}

impl Expectation {
    /// Reads the time of day, such as `18:00`.
    ///
    /// # Errors
    /// Says how a time is written.
    pub fn parse(by: &str, at_least: u32) -> Result<Self, String> {
        Ok(Self { by: minute(by, false)?, at_least })
    }

    /// The last day whose time had come at a moment, by the clock of the schedule's zone. Files are expected on days on
    /// which a poll may begin. `None` when there was no such day within two weeks.
    #[must_use]
    pub fn last_day(&self, schedule: &Schedule, now: Timestamp) -> Option<ExpectedDay> {
        let today = schedule.zone.local(now).date_naive();
        let days = (0..=LOOK_BACK_DAYS).filter_map(|back| today.checked_sub_days(Days::new(back)));
        days.filter(|day| schedule.polls_on(*day)).find_map(|day| {
            let first = |minute| moments(schedule.zone.0, day, minute).into_iter().next();
            let (from, by) = (first(0)?, first(self.by)?);
            (by <= now).then_some(ExpectedDay { day, from, by })
        })
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = if self.at_least == 1 { "file" } else { "files" };
        write!(f, "at least {} {files} by {:02}:{:02}", self.at_least, self.by / 60, self.by % 60)
    }
}

impl Schedule {
    /// Whether a poll may begin on a day.
    fn polls_on(&self, day: NaiveDate) -> bool {
        let is_day_off = self.not_on.as_ref().is_some_and(|calendar| calendar.is_day_off(day));
        let has_window = self.between.is_empty() || self.between.iter().any(|window| window.begins_on(day));
        let has_time = || match &self.pace {
            Pace::Every(_) => true,
            Pace::Cron(cron) => {
                let start = moments(self.zone.0, day, 0).into_iter().next();
                let next = start.and_then(|start| cron.next(self.zone.local(start)));
                next.is_some_and(|next| next.date_naive() == day)
            }
        };
        !is_day_off && has_window && has_time()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Calendar, Cron, TimeZone, Window};
    use std::sync::Arc;
    use std::time::Duration;

    fn last(schedule: &Schedule, now: &str) -> Option<(String, String)> {
        let expectation = Expectation::parse("18:00", 1).unwrap();
        let day = expectation.last_day(schedule, now.parse().unwrap())?;
        Some((day.day.to_string(), day.by.to_rfc3339()))
    }

    #[test]
    fn the_last_day_is_found_by_the_clock_of_the_zone() {
        let zone = TimeZone::parse("Europe/Berlin").unwrap();
        let every = Schedule { zone, ..Schedule::every(Duration::from_secs(60)) };
        // 18:00 in summer is 16:00 UTC.
        let told = |now| last(&every, now).unwrap();
        assert_eq!(told("2026-07-01T15:59:59Z").0, "2026-06-30");
        assert_eq!(told("2026-07-01T16:00:00Z"), ("2026-07-01".into(), "2026-07-01T16:00:00+00:00".into()));
        assert_eq!(told("2026-07-01T23:30:00Z").0, "2026-07-01");
    }

    #[test]
    fn only_days_with_polls_count() {
        let weekends =
            Calendar { name: "c".into(), days_off: ["2026-07-02".parse().unwrap()].into(), weekends: true };
        let calendar =
            Schedule { not_on: Some(Arc::new(weekends)), ..Schedule::every(Duration::from_secs(60)) };
        // Thursday the 2nd is a day off, the 4th and 5th are a weekend.
        assert_eq!(last(&calendar, "2026-07-02T20:00:00Z").unwrap().0, "2026-07-01");
        assert_eq!(last(&calendar, "2026-07-05T20:00:00Z").unwrap().0, "2026-07-03");
        let window = Window::parse("06:00", "20:00", ["mon-wed"]).unwrap();
        let windows = Schedule { between: vec![window], ..Schedule::every(Duration::from_secs(60)) };
        assert_eq!(last(&windows, "2026-07-05T20:00:00Z").unwrap().0, "2026-07-01");
        let mondays = Pace::Cron(Cron::parse("*/5 6-20 * * MON").unwrap());
        let cron = Schedule { pace: mondays, ..Schedule::every(Duration::from_secs(60)) };
        assert_eq!(last(&cron, "2026-07-05T20:00:00Z").unwrap().0, "2026-06-29");
        let never: Vec<_> = (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(2026, 7, day)).collect();
        let closed = Calendar { name: "c".into(), days_off: never.into_iter().collect(), weekends: false };
        let closed = Schedule { not_on: Some(Arc::new(closed)), ..Schedule::every(Duration::from_secs(60)) };
        assert_eq!(last(&closed, "2026-07-31T20:00:00Z"), None);
    }

    #[test]
    fn a_time_is_hours_and_minutes() {
        assert_eq!(Expectation::parse("18:00", 2).unwrap().to_string(), "at least 2 files by 18:00");
        assert_eq!(Expectation::parse("06:05", 1).unwrap().to_string(), "at least 1 file by 06:05");
        for wrong in ["", "18", "24:00", "6:00", "18:60"] {
            assert!(Expectation::parse(wrong, 1).is_err(), "{wrong}");
        }
    }
}
