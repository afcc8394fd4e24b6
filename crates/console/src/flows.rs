//! `/flows`: every flow, those that are defined and those that had a transfer in the last 24 hours.
//! The overview shows a few of them: those with failures and the busiest.

use crate::chart::Spark;
use crate::door::session::FRAGMENT;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::query::{Asked, Chip, Pager, ROWS, Reading};
use crate::show::{Moment, cut, grouped, safe_text};
use crate::site::Site;
use crate::transfers::{ANY_FAILED, Choice, PATH as TRANSFERS};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use model::{Result as ModelResult, Timestamp};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use store::FlowDay;

pub(crate) const PATH: &str = "/flows";
/// The longest name and way that are shown, in characters.
const LONGEST: usize = 90;
/// Flows that the overview shows: those with failures, and in all.
const FAILING: usize = 8;
const SHOWN: usize = 15;

/// A flow in a list.
pub(crate) struct FlowLine {
    pub(crate) name: String,
    pub(crate) url: String,
    /// Source and destinations, where the flow is defined.
    pub(crate) way: Option<String>,
    /// Endpoints that refuse a name that is taken.
    pub(crate) refusing: Option<String>,
    pub(crate) recorded: String,
    pub(crate) failed: String,
    /// The failed ones, when there are any.
    pub(crate) failed_url: Option<String>,
    pub(crate) chart: Option<Spark>,
}

impl FlowLine {
    fn new(name: &str, defined: Option<&DefinedFlow>, day: Option<&FlowDay>, now: Timestamp) -> Self {
        let failed = day.map_or(0, |day| day.failed);
        let any_failed = [("flow", Some(name)), ("state", Some(ANY_FAILED)), ("within", Some("24h"))];
        Self {
            name: cut(&safe_text(name), LONGEST),
            url: Asked::default().with(TRANSFERS, "flow", name),
            way: defined.map(|flow| cut(&flow.way, LONGEST)),
            refusing: defined.and_then(DefinedFlow::refusing).map(|endpoints| cut(&endpoints, LONGEST)),
            recorded: grouped(day.map_or(0, |day| day.recorded)),
            failed: grouped(failed),
            failed_url: (failed > 0).then(|| Asked::default().url(TRANSFERS, &any_failed)),
            chart: day.map(|day| Spark::day(now, &day.hours)),
        }
    }
}

/// Those with failures, the most first; then the busiest.
pub(crate) fn few(days: &[FlowDay], now: Timestamp) -> Vec<FlowLine> {
    let mut failing: Vec<&FlowDay> = days.iter().filter(|day| day.failed > 0).collect();
    failing.sort_by_key(|day| std::cmp::Reverse((day.failed, day.recorded)));
    failing.truncate(FAILING);
    let mut busiest: Vec<&FlowDay> =
        days.iter().filter(|day| !failing.iter().any(|shown| shown.flow == day.flow)).collect();
    busiest.sort_by_key(|day| std::cmp::Reverse(day.recorded));
    failing
        .into_iter()
        .chain(busiest)
        .take(SHOWN)
        .map(|day| FlowLine::new(&day.flow, None, Some(day), now))
        .collect()
}

/// The names of the busiest flows, for the fields that ask for one.
pub(crate) fn names(days: &[FlowDay], most: usize) -> Vec<String> {
    let mut days: Vec<&FlowDay> = days.iter().collect();
    days.sort_by_key(|day| std::cmp::Reverse(day.recorded));
    days.into_iter().take(most).map(|day| day.flow.clone()).collect()
}

/// A flow of the definitions in force.
#[derive(PartialEq, Debug)]
pub(crate) struct DefinedFlow {
    /// Its source and its destinations.
    way: String,
    /// The endpoints it delivers to that refuse a name that is taken.
    refusing: Vec<String>,
}

impl DefinedFlow {
    fn refusing(&self) -> Option<String> {
        (!self.refusing.is_empty()).then(|| self.refusing.join(", "))
    }

    /// What is to be known before a partner uses a file name again.
    pub(crate) fn caution(&self) -> Option<String> {
        let endpoints = self.refusing()?;
        Some(format!(
            "A file name that is used again while a file of that name lies at {endpoints} fails the delivery: nothing there is \
             replaced. To change that, set the endpoint's option overwrite to \"rename\" or \"replace\"."
        ))
    }
}

/// The flows of the definitions in force, read once for each revision.
#[derive(Default)]
pub(crate) struct Defined {
    last: Mutex<Option<(i64, DefinedFlows)>>,
}

type DefinedFlows = Arc<BTreeMap<String, DefinedFlow>>;

impl Site {
    /// The flows of the definitions in force.
    pub(crate) async fn defined_flows(&self) -> ModelResult<DefinedFlows> {
        let number = self.store.current_revision_number().await?;
        let last = self.defined.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, flows)) = last.filter(|(known, _)| *known == number) {
            return Ok(flows);
        }
        let Some(revision) = self.store.current_revision().await? else { return Ok(DefinedFlows::default()) };
        let flows = Arc::new(defined(&revision.documents, &self.settings.refusing_transports));
        *self.defined.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((revision.summary.number, Arc::clone(&flows)));
        Ok(flows)
    }
}

/// Reads stored documents: files with their tables.
fn defined(documents: &Value, refusing: &[&str]) -> BTreeMap<String, DefinedFlow> {
    let tables = |kind: &'static str| {
        let files = documents.get("files").and_then(Value::as_object);
        let files = files.into_iter().flat_map(|files| files.values());
        files.filter_map(move |file| file.get(kind)?.as_object()).flatten()
    };
    let refuses = |endpoint: &Value| {
        let transport = endpoint.get("transport").and_then(Value::as_str);
        let overwrite = endpoint.get("options").and_then(|options| options.get("overwrite"));
        transport.is_some_and(|name| refusing.contains(&name))
            && overwrite.is_none_or(|overwrite| overwrite == "refuse")
    };
    let refusing: BTreeSet<&str> =
        tables("endpoint").filter(|(_, endpoint)| refuses(endpoint)).map(|(name, _)| name.as_str()).collect();
    tables("flow").map(|(name, flow)| (name.clone(), defined_flow(flow, &refusing))).collect()
}

fn defined_flow(flow: &Value, refusing: &BTreeSet<&str>) -> DefinedFlow {
    let name = |place: &Value| {
        let name = ["endpoint", "listener"].iter().find_map(|key| place.get(*key)?.as_str());
        name.unwrap_or("?").to_owned()
    };
    let from = flow.get("source").map_or_else(|| "?".to_owned(), name);
    let to = flow.get("destination").and_then(Value::as_array).into_iter().flatten();
    let to: Vec<String> = to.map(name).collect();
    let shown: Vec<String> = to.iter().map(|name| safe_text(name)).collect();
    let shown = if shown.is_empty() { "?".to_owned() } else { shown.join(", ") };
    let refusing = to.iter().filter(|name| refusing.contains(name.as_str()));
    let refusing: BTreeSet<String> = refusing.map(|name| safe_text(name)).collect();
    DefinedFlow {
        way: format!("{} \u{2192} {shown}", safe_text(&from)),
        refusing: refusing.into_iter().collect(),
    }
}

#[derive(Template)]
#[template(path = "flows_list.html")]
struct FlowsList {
    rows: Vec<FlowLine>,
    pager: Pager,
    filtered: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for FlowsList {}

#[derive(Template)]
#[template(path = "flows.html")]
struct FlowsPage {
    frame: Frame,
    asked: Asked,
    shows: Vec<Choice>,
    count: String,
    chips: Vec<Chip>,
    problems: Vec<String>,
    list: FlowsList,
}

/// Which flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Failing,
    Busy,
    Idle,
}

const WHICH: [(&str, &str, Which); 3] = [
    ("failed", "With failures in 24 hours", Which::Failing),
    ("busy", "With transfers in 24 hours", Which::Busy),
    ("idle", "Without transfers in 24 hours", Which::Idle),
];

impl Which {
    fn holds(self, day: Option<&FlowDay>) -> bool {
        match self {
            Self::Failing => day.is_some_and(|day| day.failed > 0),
            Self::Busy => day.is_some(),
            Self::Idle => day.is_none(),
        }
    }
}

/// `GET /flows`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = site.now();
    let mut reading = Reading::new(&asked, PATH);
    let name = reading.text("name", "Name").map(|name| name.to_lowercase());
    let which = reading.word("show", "Show", |word| {
        let (_, shown, which) = WHICH.iter().find(|(known, ..)| *known == word)?;
        Some((*which, (*shown).to_owned()))
    });
    let (chips, problems) = (reading.chips, reading.problems);
    let count = site.overview().await?;
    let defined = site.defined_flows().await?;
    let mut flows: BTreeMap<&str, Option<&FlowDay>> =
        defined.keys().map(|name| (name.as_str(), None)).collect();
    flows.extend(count.overview.flows.iter().map(|day| (day.flow.as_str(), Some(day))));
    let known = flows.len();
    flows.retain(|flow, day| {
        which.is_none_or(|which| which.holds(*day))
            && name.as_ref().is_none_or(|name| flow.to_lowercase().contains(name))
    });
    let flows: Vec<(&str, Option<&FlowDay>)> = flows.into_iter().collect();
    let (from, pager) = pages(&asked, &flows);
    let list = FlowsList {
        rows: flows[from..]
            .iter()
            .take(ROWS as usize)
            .map(|(name, day)| FlowLine::new(name, defined.get(*name), *day, now))
            .collect(),
        pager,
        filtered: !chips.is_empty(),
        at: Moment(count.at),
    };
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(list.render()?).into_response());
    }
    let page = FlowsPage {
        frame: frame.at(Section::Flows),
        shows: WHICH
            .iter()
            .map(|(value, shown, of)| Choice { value, shown, chosen: which == Some(*of) })
            .collect(),
        count: grouped(known as u64),
        chips,
        problems,
        asked,
        list,
    };
    Ok(Html(page.render()?).into_response())
}

/// Where the page begins that was asked for: behind the name in `after`, whichever flows there are by now.
fn pages(asked: &Asked, flows: &[(&str, Option<&FlowDay>)]) -> (usize, Pager) {
    let after = asked.get("after");
    let from = after.map_or(0, |after| flows.partition_point(|(name, _)| *name <= after));
    let rows = ROWS as usize;
    let url = |from: usize| {
        let before = from.checked_sub(1).and_then(|last| flows.get(last)).map(|(name, _)| *name);
        asked.url(PATH, &[("after", before)])
    };
    let pager = Pager {
        newest: (from > 0).then(|| url(0)),
        newer: (from > 0).then(|| url(from.saturating_sub(rows))),
        older: (from + rows < flows.len()).then(|| url(from + rows)),
        words: ["First", "Previous", "Next"],
    };
    (from, pager)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn day(flow: &str, recorded: u64, failed: u64) -> FlowDay {
        FlowDay { flow: flow.into(), recorded, failed, hours: Default::default() }
    }

    #[test]
    fn those_with_failures_come_first_and_then_the_busiest() {
        let days: Vec<FlowDay> =
            (0..40).map(|n| day(&format!("f{n:02}"), n, u64::from(n < 10) * (n + 1))).collect();
        let names: Vec<String> =
            few(&days, Timestamp::UNIX_EPOCH).into_iter().map(|line| line.name).collect();
        assert_eq!(names.len(), SHOWN);
        assert_eq!(names[..9], ["f09", "f08", "f07", "f06", "f05", "f04", "f03", "f02", "f39"]);
    }

    #[test]
    fn pages_begin_behind_a_name() {
        let names: Vec<String> = (0..120).map(|n| format!("f{n:03}")).collect();
        let flows: Vec<(&str, Option<&FlowDay>)> = names.iter().map(|name| (name.as_str(), None)).collect();
        let page = |query: &str| pages(&Asked::read(query), &flows);
        let (from, pager) = page("");
        assert_eq!((from, pager.newer, pager.older.as_deref()), (0, None, Some("/flows?after=f049")));
        let (from, pager) = page("after=f049");
        assert_eq!(
            (from, pager.newer.as_deref(), pager.older.as_deref()),
            (50, Some("/flows"), Some("/flows?after=f099"))
        );
        let (from, pager) = page("after=f099");
        assert_eq!((from, pager.newer.as_deref(), pager.older), (100, Some("/flows?after=f049"), None));
        // A flow that went away meanwhile.
        assert_eq!(page("after=f0495").0, 50);
        assert_eq!(page("after=zzz").0, 120);
    }

    #[test]
    fn flows_are_read_from_stored_documents() {
        let documents = json!({"files": {
            "a.toml": {"flow": {"orders": {
                "source": {"endpoint": "acme-sftp"}, "destination": [{"endpoint": "globex-as2"}, {"endpoint": "archive"}],
            }}},
            "b.toml": {"endpoint": {
                "globex-as2": {"transport": "as2"},
                "archive": {"transport": "file"},
                "numbered": {"transport": "file", "options": {"overwrite": "rename"}},
                "plain": {"transport": "sftp", "options": {"overwrite": "refuse"}},
                "elsewhere": {"transport": "sftp", "options": {"overwrite": "${env:OVERWRITE}"}},
            }, "flow": {"inbound": {"source": {"listener": "as2"}}, "many": {"destination": [
                {"endpoint": "numbered"}, {"endpoint": "plain"}, {"endpoint": "elsewhere"}, {"endpoint": "plain"},
            ]}}},
        }});
        let flows = defined(&documents, &["file", "sftp"]);
        assert_eq!(flows["orders"].way, "acme-sftp \u{2192} globex-as2, archive");
        assert_eq!(flows["orders"].refusing, ["archive"]);
        assert_eq!((flows["inbound"].way.as_str(), flows["inbound"].caution()), ("as2 \u{2192} ?", None));
        assert_eq!(flows["many"].refusing, ["plain"]);
    }
}
