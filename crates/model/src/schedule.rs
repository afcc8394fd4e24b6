//! When a source is polled: at an interval or by a cron expression, within windows, not on the days off of a calendar.
//!
//! All of it follows the clock of one time zone. Where that clock is put forward, a time that does not exist counts as
//! the first moment after the gap; where it is put back, a cron expression with a fixed hour or minute pattern names the
//! first of the two moments, one that repeats within the hour names both, and a window is open during both.

mod calendar;
mod cron;
mod expectation;
mod window;

pub use calendar::Calendar;
pub use cron::Cron;
pub use expectation::{Expectation, ExpectedDay};
pub use window::{Window, WindowError};

use crate::{Timestamp, did_you_mean, duration_text};
use chrono::{DateTime, Days, NaiveDate, TimeDelta};
use chrono_tz::{TZ_VARIANTS, Tz};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How far ahead a next poll is looked for, in days: 29 February comes within it, also around 2100.
const HORIZON_DAYS: i64 = 8 * 366 + 2;

/// A time zone, with the name of the IANA database, such as `Europe/Berlin`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeZone(Tz);

impl Default for TimeZone {
    /// UTC.
    fn default() -> Self {
        Self(Tz::UTC)
    }
}

impl TimeZone {
    /// Reads a zone's name.
    ///
    /// # Errors
    /// Says how zones are named, with the name that may have been meant.
    pub fn parse(name: &str) -> Result<Self, String> {
        let same = |zone: &&Tz| zone.name().eq_ignore_ascii_case(name);
        match name.parse() {
            Ok(zone) => Ok(Self(zone)),
            Err(_) => Err(TZ_VARIANTS.iter().find(same).map_or_else(
                || {
                    let hint = did_you_mean(name, TZ_VARIANTS.iter().map(|zone| zone.name()));
                    format!(
                        "{name:?} is not a time zone of the IANA database, such as \"Europe/Berlin\" or \"UTC\"{hint}"
                    )
                },
                |zone| format!("{name:?} is written \"{}\"", zone.name()),
            )),
        }
    }

    /// A moment by the zone's clock.
    #[must_use]
    pub fn local(self, at: Timestamp) -> DateTime<Tz> {
        at.with_timezone(&self.0)
    }
}

impl fmt::Display for TimeZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// How polls follow each other.
#[derive(Clone, PartialEq, Debug)]
pub enum Pace {
    /// The time from the start of one poll to the start of the next.
    Every(Duration),
    /// The times that a cron expression names.
    Cron(Cron),
}

/// When a source is polled.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// How polls follow each other.
    pub pace: Pace,
    /// By whose clock.
    pub zone: TimeZone,
    /// The windows in which polls begin; none for at any time.
    pub between: Vec<Window>,
    /// The calendar on whose days off no poll begins. A window that goes over midnight belongs to the day on which it
    /// begins.
    pub not_on: Option<Arc<Calendar>>,
}

impl Default for Schedule {
    /// At any time.
    fn default() -> Self {
        Self::every(Duration::ZERO)
    }
}

/// Why no poll begins at a moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// It is outside the windows.
    OutsideWindows,
    /// It is a day off, or in a window that began on one.
    DayOff,
}

impl Schedule {
    /// Polls at an interval, at any time.
    #[must_use]
    pub const fn every(interval: Duration) -> Self {
        Self { pace: Pace::Every(interval), zone: TimeZone(Tz::UTC), between: Vec::new(), not_on: None }
    }

    /// The interval; `None` for a cron expression.
    #[must_use]
    pub const fn interval(&self) -> Option<Duration> {
        match self.pace {
            Pace::Every(interval) => Some(interval),
            Pace::Cron(_) => None,
        }
    }

    /// Whether polls begin at any time of the day, on any day.
    #[must_use]
    pub const fn is_unrestricted(&self) -> bool {
        self.between.is_empty() && self.not_on.is_none()
    }

    /// Why no poll begins at a moment; `None` if one may.
    #[must_use]
    pub fn closed_at(&self, at: Timestamp) -> Option<Closed> {
        let local = self.zone.local(at);
        let works = |day: NaiveDate| self.not_on.as_ref().is_none_or(|calendar| !calendar.is_day_off(day));
        if self.between.is_empty() {
            return (!works(local.date_naive())).then_some(Closed::DayOff);
        }
        let mut closed = Closed::OutsideWindows;
        for day in self.between.iter().flat_map(|window| window.days_at(local.naive_local())) {
            if works(day) {
                return None;
            }
            closed = Closed::DayOff;
        }
        Some(closed)
    }

    /// The first moment at or after `from` at which a poll may begin: with an interval, `from` itself or the start of the
    /// next window; with a cron expression, the first time that it names. `None` when there is none within eight years.
    #[must_use]
    pub fn next(&self, from: Timestamp) -> Option<Timestamp> {
        let end = from + TimeDelta::days(HORIZON_DAYS);
        let mut at = from;
        while at < end {
            if let Pace::Cron(cron) = &self.pace {
                at = cron.next(self.zone.local(at))?.to_utc();
            }
            if self.closed_at(at).is_none() {
                return (at < end).then_some(at);
            }
            at = self.opens(at, end)?;
        }
        None
    }

    /// The first moment after a closed one that is open.
    fn opens(&self, after: Timestamp, end: Timestamp) -> Option<Timestamp> {
        let mut day = self.zone.local(after).date_naive();
        let last = self.zone.local(end).date_naive();
        while day <= last {
            let starts = self.starts(day).into_iter().filter(|start| *start > after);
            if let Some(start) = starts.filter(|start| self.closed_at(*start).is_none()).min() {
                return Some(start);
            }
            day = day.checked_add_days(Days::new(1))?;
        }
        None
    }

    /// The moments of a day at which it may become open.
    fn starts(&self, day: NaiveDate) -> Vec<Timestamp> {
        let whole_day = [0].into_iter().filter(|_| self.between.is_empty());
        let minutes = self.between.iter().map(Window::start).chain(whole_day);
        minutes.flat_map(|minute| moments(self.zone.0, day, minute)).collect()
    }
}

/// The moments at which the zone's clock shows a minute of a day: two where it is put back, and where it is put forward
/// over it, the first moment after the gap.
fn moments(zone: Tz, day: NaiveDate, minute: u32) -> Vec<Timestamp> {
    let Some(wanted) = day.and_hms_opt(minute / 60, minute % 60, 0) else { return Vec::new() };
    // No clock is put forward by more than a day.
    for later in 0..=24 * 60 {
        match (wanted + TimeDelta::minutes(later)).and_local_timezone(zone) {
            chrono::LocalResult::None => {}
            chrono::LocalResult::Single(at) => return vec![at.to_utc()],
            chrono::LocalResult::Ambiguous(first, second) => return vec![first.to_utc(), second.to_utc()],
        }
    }
    Vec::new()
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.pace {
            Pace::Every(interval) => write!(f, "every {}", duration_text(*interval))?,
            Pace::Cron(cron) => write!(f, "cron \"{cron}\"")?,
        }
        for (window, word) in
            self.between.iter().zip(std::iter::once(" between ").chain(std::iter::repeat(", ")))
        {
            write!(f, "{word}{window}")?;
        }
        if let Some(calendar) = &self.not_on {
            write!(f, ", not on the days off of calendar {}", calendar.name)?;
        }
        if !self.is_unrestricted() || matches!(self.pace, Pace::Cron(_)) {
            write!(f, " ({})", self.zone)?;
        }
        Ok(())
    }
}

impl Closed {
    /// In words, after "no poll now:".
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::OutsideWindows => "it is outside the flow's windows (between)",
            Self::DayOff => "today is a day off of the flow's calendar (not_on)",
        }
    }

    /// The word for programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutsideWindows => "outside_windows",
            Self::DayOff => "day_off",
        }
    }
}

#[cfg(test)]
mod tests;
