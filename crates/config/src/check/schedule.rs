//! When a source is polled.

use super::Checker;
use super::location::Location;
use crate::reader::Reader;
use crate::tree::{Entry, Value};
use model::schedule::{Cron, Pace, Schedule, TimeZone, Window};
use std::sync::Arc;
use std::time::Duration;

/// Below this a poll spends its time on opening connections.
pub(super) const OFTEN: Duration = Duration::from_secs(5);

impl<'a> Checker<'a> {
    /// `None` with a problem told.
    pub(super) fn schedule(&self, reader: &Reader<'a>, location: Option<&Location>) -> Option<Schedule> {
        let pace = match reader.text("cron") {
            Some(text) => {
                Cron::parse(&text.value).map(Pace::Cron).map_err(|words| reader.error("cron", words)).ok()
            }
            None => every(reader, location).map(Pace::Every),
        };
        let empty = "is empty: no poll would ever begin; leave it out to poll at any time";
        let hours = self.hours(reader, empty);
        let schedule = Schedule { pace: pace?, ..hours? };
        let follows_clock = matches!(schedule.pace, Pace::Cron(_)) || !schedule.is_unrestricted();
        let has_dates = reader.mentions("{received") || reader.mentions("{date");
        let is_used = follows_clock || reader.has("not_on") || reader.has("expect") || has_dates;
        if reader.has("time_zone") && !is_used {
            let without =
                "has no effect without 'cron', 'between', 'not_on', 'expect' or a date in a directory";
            reader.warning("time_zone", without);
        }
        if follows_clock && schedule.next(reader.context.environment.now()).is_none() {
            let field = ["cron", "between", "not_on"].into_iter().find(|field| reader.has(field))?;
            let message = "no poll would begin within the next eight years: no time fits 'cron' or 'every', 'between' \
                           and 'not_on' together";
            reader.error(field, message);
        }
        Some(schedule)
    }
}

impl<'a> Checker<'a> {
    /// The hours in which deliveries to a destination begin. `None` with a problem told.
    pub(super) fn delivery_hours(&self, reader: &Reader<'a>) -> Option<Schedule> {
        let empty = "is empty: no delivery would ever begin; leave it out to deliver at any time";
        let hours = self.hours(reader, empty)?;
        if hours.next(reader.context.environment.now()).is_none() {
            let field = if reader.has("between") { "between" } else { "not_on" };
            reader.error(
                field,
                "no delivery would begin within the next eight years: no time fits 'between' and 'not_on' together",
            );
        }
        Some(hours)
    }

    /// Windows, days off and the zone of both, at no pace. `empty` tells what an empty list of windows means.
    fn hours(&self, reader: &Reader<'a>, empty: &str) -> Option<Schedule> {
        let zone = reader
            .text_or_default("time_zone")
            .and_then(|name| TimeZone::parse(&name).map_err(|words| reader.error("time_zone", words)).ok());
        let windows: Vec<Option<Window>> = reader.tables("between").iter().map(window).collect();
        let is_empty = |entry: &Entry| matches!(&entry.node.value, Value::List(items) if items.is_empty());
        if reader.entry("between").is_some_and(is_empty) {
            reader.error("between", empty);
            return None;
        }
        let between: Option<Vec<Window>> = windows.into_iter().collect();
        // A flow of an earlier revision is read without calendars, and polls no more.
        let not_on = self.name_in(reader, "not_on").and_then(|name| self.definitions.calendars.get(&name));
        Some(Schedule {
            zone: zone?,
            between: between?,
            not_on: not_on.map(Arc::clone),
            ..Schedule::default()
        })
    }
}

pub(super) fn window(table: &Reader<'_>) -> Option<Window> {
    let (from, to) = (table.text("from")?, table.text("to")?);
    let days = table.list("days");
    let window = Window::parse(&from.value, &to.value, days.iter().map(|day| day.value.as_str()));
    window.map_err(|error| table.error(error.field, error.message)).ok()
}

fn every(reader: &Reader<'_>, location: Option<&Location>) -> Option<Duration> {
    let every = reader.duration("every")?;
    if every < Duration::from_secs(1) {
        reader.error("every", "must be at least \"1s\"");
        return None;
    }
    if every < OFTEN && location.is_some_and(|location| location.scheme.connects_per_poll) {
        reader.warning("every", "is less than 5s, and polls may open a new connection each time");
    }
    Some(every)
}
