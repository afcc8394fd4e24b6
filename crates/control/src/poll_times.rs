//! When a flow polls, for lists and dry runs.

use crate::flow_document::{FlowDocument, calendars};
use model::schedule::{Closed, Pace, Schedule};
use model::schema::Section;
use model::{StoredDefinition, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

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

/// The schedules of the flows that are polled, as far as no reference to a variable decides them.
#[must_use]
pub fn poll_schedules(definitions: &[StoredDefinition]) -> BTreeMap<String, Schedule> {
    let calendars = calendars(definitions);
    let flows = definitions.iter().filter(|definition| definition.section == Section::FLOW.as_str());
    let read = |definition: &StoredDefinition| {
        let document = FlowDocument::of(definition);
        document.source("endpoint")?;
        Some((definition.name.clone(), document.schedule(&calendars)?))
    };
    flows.filter_map(read).collect()
}

impl PollTimes {
    /// When a schedule lets polls begin, at a moment.
    #[must_use]
    pub fn of(schedule: &Schedule, now: Timestamp) -> Self {
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
