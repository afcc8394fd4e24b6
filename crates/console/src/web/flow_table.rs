//! Flows as a table, with their transfers of the last 24 hours.

use crate::state::flow_definitions::{DefinedFlow, DefinedFlows};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::chart::Spark;
use crate::web::format::{Moment, cut, grouped, safe_text};
use crate::web::list_query::ListQuery;
use crate::web::state_counts::ANY_FAILED;
use crate::web::transfer_table::TRANSFERS;
use askama::Template;
use model::{Suspension, SuspensionKind, Timestamp};
use store::{FailingPoll, FlowDay, MissingFiles};

/// The longest name and route that are shown, in characters.
const LONGEST: usize = 90;
/// The longest cause of failing polls, in characters.
const CAUSE: usize = 600;
/// Flows that the overview shows: those with failures, and in all.
const FAILING: usize = 8;
const MOST: usize = 15;

/// A table of flows.
#[derive(Template)]
#[template(path = "flow_table.html")]
pub(crate) struct FlowTable {
    pub(crate) caption: &'static str,
    pub(crate) rows: Vec<FlowRow>,
}

impl askama::filters::HtmlSafe for FlowTable {}

/// A flow in a list.
pub(crate) struct FlowRow {
    pub(crate) name: String,
    /// Its title for people.
    pub(crate) title: Option<String>,
    pub(crate) url: String,
    /// Source and destinations, where the flow is defined.
    pub(crate) route: Option<String>,
    /// Who paused it, since when and why.
    pub(crate) paused: Option<String>,
    /// That its last poll failed, and why.
    pub(crate) failing: Option<String>,
    /// Files that it expected and that have not come.
    pub(crate) missing: Option<String>,
    /// When its source is polled.
    pub(crate) polls: Option<String>,
    /// When the next poll begins, where it is not polled all the time.
    pub(crate) next_poll: Option<Moment>,
    /// Endpoints that refuse a name that is taken.
    pub(crate) refusing: Option<String>,
    pub(crate) recorded: String,
    pub(crate) failed: String,
    /// The failed ones, when there are any.
    pub(crate) failed_url: Option<String>,
    pub(crate) chart: Option<Spark>,
}

impl FlowRow {
    pub(crate) fn new(
        name: &str,
        defined: Option<&DefinedFlow>,
        day: Option<&FlowDay>,
        now: Timestamp,
    ) -> Self {
        let polls = defined.and_then(|flow| flow.polls(now));
        let failed = day.map_or(0, |day| day.failed);
        let any_failed = [("flow", Some(name)), ("state", Some(ANY_FAILED)), ("within", Some("24h"))];
        Self {
            name: cut(&safe_text(name), LONGEST),
            title: defined.and_then(|flow| Some(cut(flow.title.as_ref()?, LONGEST))),
            url: ListQuery::default().with(TRANSFERS, "flow", name),
            route: defined.map(|flow| cut(&flow.route, LONGEST)),
            paused: None,
            failing: None,
            missing: None,
            polls: polls.as_ref().map(|polls| format!("polls {}", polls.schedule)),
            next_poll: polls.and_then(|polls| polls.next).map(Moment),
            refusing: defined.and_then(DefinedFlow::refusing).map(|endpoints| cut(&endpoints, LONGEST)),
            recorded: grouped(day.map_or(0, |day| day.recorded)),
            failed: grouped(failed),
            failed_url: (failed > 0).then(|| ListQuery::default().url(TRANSFERS, &any_failed)),
            chart: day.map(|day| Spark::day(now, &day.hours)),
        }
    }
}

impl FlowRow {
    /// A flow with its title and transfers alone.
    fn titled(name: &str, defined: Option<&DefinedFlow>, day: &FlowDay, now: Timestamp) -> Self {
        let title = defined.and_then(|flow| Some(cut(flow.title.as_ref()?, LONGEST)));
        Self { title, ..Self::new(name, None, Some(day), now) }
    }

    /// The same, saying who paused the flow.
    pub(crate) fn paused(mut self, suspensions: &[Suspension]) -> Self {
        let of_flow = |found: &&Suspension| found.kind == SuspensionKind::Flow && found.name == self.name;
        self.paused = suspensions.iter().find(of_flow).map(Suspension::words);
        self
    }

    /// The same, saying which expected files have not come.
    pub(crate) fn missing(mut self, all: &[MissingFiles]) -> Self {
        self.missing = all
            .iter()
            .find(|missing| missing.flow == self.name)
            .map(|missing| format!("at least {} expected on {}", grouped(missing.at_least), missing.day));
        self
    }

    /// The same, saying whether its last poll failed.
    pub(crate) fn failing(mut self, all: &[FailingPoll]) -> Self {
        let found = all.iter().find(|failing| failing.flow == self.name);
        self.failing = found.map(|failing| cut(&safe_text(&failing.error), CAUSE));
        self
    }

    pub(crate) fn failing_badge() -> Badge {
        Badge::new(Tone::Bad, Icon::Warning, "Polls fail")
    }

    pub(crate) fn missing_badge() -> Badge {
        Badge::new(Tone::Bad, Icon::Warning, "Files missing")
    }

    pub(crate) fn paused_badge() -> Badge {
        Badge::new(Tone::Warn, Icon::Pause, "Paused")
    }
}

impl FlowTable {
    /// The flows with failures, those with the most first; then the busiest.
    pub(crate) fn few(days: &[FlowDay], defined: &DefinedFlows, now: Timestamp) -> Self {
        let mut failing: Vec<&FlowDay> = days.iter().filter(|day| day.failed > 0).collect();
        failing.sort_by_key(|day| std::cmp::Reverse((day.failed, day.recorded)));
        failing.truncate(FAILING);
        let mut busiest: Vec<&FlowDay> =
            days.iter().filter(|day| !failing.iter().any(|listed| listed.flow == day.flow)).collect();
        busiest.sort_by_key(|day| std::cmp::Reverse(day.recorded));
        let rows = failing.into_iter().chain(busiest).take(MOST);
        Self {
            caption: "Transfers of each flow in the last 24 hours",
            rows: rows.map(|day| FlowRow::titled(&day.flow, defined.get(&day.flow), day, now)).collect(),
        }
    }
}

/// The names of the busiest flows, for the fields that ask for one.
pub(crate) fn names(days: &[FlowDay], most: usize) -> Vec<String> {
    let mut days: Vec<&FlowDay> = days.iter().collect();
    days.sort_by_key(|day| std::cmp::Reverse(day.recorded));
    days.into_iter().take(most).map(|day| day.flow.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(flow: &str, recorded: u64, failed: u64) -> FlowDay {
        FlowDay { flow: flow.into(), recorded, failed, hours: Default::default() }
    }

    #[test]
    fn a_paused_flow_says_who_paused_it_and_why() {
        let paused = Suspension {
            kind: SuspensionKind::Flow,
            name: "orders".into(),
            by: model::Actor::User("anna".into()),
            reason: Some("the partner <moves>".into()),
            since: Timestamp::UNIX_EPOCH,
        };
        let row = |name: &str| {
            FlowRow::new(name, None, None, Timestamp::UNIX_EPOCH).paused(std::slice::from_ref(&paused))
        };
        let table = FlowTable { caption: "Flows", rows: vec![row("orders"), row("invoices")] };
        let html = table.render().unwrap();
        assert_eq!(html.matches("Paused").count(), 1, "{html}");
        assert!(
            html.contains("paused by anna since 1970-01-01 00:00:00 UTC: the partner &#60;moves&#62;"),
            "{html}"
        );
    }

    #[test]
    fn a_flow_says_when_it_polls_and_which_files_are_missing() {
        let now: Timestamp = "2026-07-01T12:00:00Z".parse().unwrap();
        let every = DefinedFlow::polled("cron", "0 18 * * *");
        let missing =
            MissingFiles { flow: "orders".into(), day: "2026-06-30".into(), by: now, at_least: 2, found: 1 };
        let row = |name| FlowRow::new(name, Some(&every), None, now).missing(std::slice::from_ref(&missing));
        let html = FlowTable { caption: "Flows", rows: vec![row("orders"), row("other")] }.render().unwrap();
        assert_eq!(html.matches("Files missing").count(), 1, "{html}");
        assert!(html.contains("at least 2 expected on 2026-06-30"), "{html}");
        assert!(html.contains("polls cron") && html.contains("2026-07-01 18:00:00 UTC"), "{html}");
    }

    #[test]
    fn those_with_failures_come_first_and_then_the_busiest() {
        let days: Vec<FlowDay> =
            (0..40).map(|n| day(&format!("f{n:02}"), n, u64::from(n < 10) * (n + 1))).collect();
        let names: Vec<String> = FlowTable::few(&days, &DefinedFlows::default(), Timestamp::UNIX_EPOCH)
            .rows
            .into_iter()
            .map(|row| row.name)
            .collect();
        assert_eq!(names.len(), MOST);
        assert_eq!(names[..9], ["f09", "f08", "f07", "f06", "f05", "f04", "f03", "f02", "f39"]);
    }
}
