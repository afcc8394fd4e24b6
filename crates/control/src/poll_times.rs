//! When a flow polls, for lists and dry runs.

use model::Timestamp;
use model::schedule::{Closed, Pace, Schedule};
use serde::Serialize;

/// When a flow polls its source.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PollTimes {
    /// Its schedule in words.
    pub schedule: String,
    /// Whether polls begin now: at an interval, and neither outside windows nor on a day off.
    pub running: bool,
    /// When the next poll begins; `None` while it polls at an interval, and when no poll is to come.
    pub next: Option<Timestamp>,
    /// Why no poll begins now: `outside_windows` or `day_off`.
    pub closed: Option<&'static str>,
    /// The same in words.
    pub closed_words: Option<&'static str>,
}

impl PollTimes {
    pub(crate) fn of(schedule: &Schedule, now: Timestamp) -> Self {
        let closed = schedule.closed_at(now);
        let running = closed.is_none() && matches!(schedule.pace, Pace::Every(_));
        Self {
            schedule: schedule.to_string(),
            running,
            next: if running { None } else { schedule.next(now) },
            closed: closed.map(Closed::as_str),
            closed_words: closed.map(Closed::words),
        }
    }
}
