//! Cron expressions.

use chrono::{DateTime, TimeDelta};
use chrono_tz::Tz;
use croner::parser::{CronParser, Seconds, Year};
use std::fmt;
use std::sync::Arc;

/// A cron expression with five fields: minute, hour, day of the month, month, day of the week.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    times: Arc<croner::Cron>,
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Cron {
    /// Reads an expression. As in `crontab(5)`, where both the day of the month and the day of the week are restricted, a
    /// day that fits either counts.
    ///
    /// # Errors
    /// Says what is wrong, and how an expression is written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let times = parser.parse(text.trim()).map_err(|error| {
            format!(
                "{text:?} is not a cron expression ({}); write five fields: minute, hour, day of the month, month, day of \
                 the week, such as \"*/5 6-20 * * MON-FRI\"",
                error.to_string().trim_end_matches('.')
            )
        })?;
        Ok(Self { text: text.trim().to_owned(), times: Arc::new(times) })
    }

    /// The first time that it names at or after a moment; `None` if there is none.
    #[must_use]
    pub fn next(&self, from: DateTime<Tz>) -> Option<DateTime<Tz>> {
        // Times are whole seconds; a moment within one is after it. Reckoned without the local clock, which may show the
        // same second twice.
        let begun = i64::from(from.timestamp_subsec_nanos());
        let rest = if begun == 0 { 0 } else { 1_000_000_000 - begun };
        let from = from.checked_add_signed(TimeDelta::nanoseconds(rest))?;
        self.times.find_next_occurrence(&from, true).ok()
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
