//! `/flows`: every flow, those that are defined and those that had a transfer in the last 24 hours.

use crate::state::AppState;
use crate::state::flow_definitions::DefinedFlow;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::choices::Choice;
use crate::web::filters::{FilterReader, ROWS};
use crate::web::flow_table::{FlowRow, FlowTable};
use crate::web::format::{Moment, grouped};
use crate::web::layout::{Layout, Section};
use crate::web::list::{List, Results};
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::pager::Pager;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use model::SuspensionKind;
use std::collections::BTreeMap;
use std::sync::Arc;
use store::FlowDay;

const PATH: &str = "/flows";
/// How often the list refreshes itself, in seconds.
const REFRESH_EVERY: u32 = 10;

#[derive(Template)]
#[template(path = "flows.html")]
struct FlowsPage {
    layout: Layout,
    query: ListQuery,
    choices: Vec<Choice>,
    count: String,
    results: Results,
}

/// Which flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Which {
    Failing,
    Busy,
    Idle,
}

const WHICH: [(&str, &str, Which); 3] = [
    ("failed", "With failures in the last 24 hours", Which::Failing),
    ("busy", "With transfers in the last 24 hours", Which::Busy),
    ("idle", "Without transfers in the last 24 hours", Which::Idle),
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
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let now = state.now();
    let mut reader = FilterReader::new(&query, PATH);
    let name = reader.text("name", "Name or title").map(|name| name.to_lowercase());
    let which = reader.word("show", "Show", |word| {
        let (_, label, which) = WHICH.iter().find(|(known, ..)| *known == word)?;
        Some((*which, (*label).to_owned()))
    });
    let (chips, notices) = (reader.chips, reader.notices);
    let count = state.overview().await?;
    let defined = state.defined_flows().await?;
    let mut flows: BTreeMap<&str, Option<&FlowDay>> =
        defined.keys().map(|name| (name.as_str(), None)).collect();
    flows.extend(count.overview.flows.iter().map(|day| (day.flow.as_str(), Some(day))));
    let suspensions = state.node.suspensions();
    let paused = suspensions.iter().filter(|found| found.kind == SuspensionKind::Flow);
    for flow in paused {
        // It may be one that is not defined at the moment.
        flows.entry(&flow.name).or_default();
    }
    let known = flows.len();
    flows.retain(|flow, day| {
        which.is_none_or(|which| which.holds(*day))
            && name.as_ref().is_none_or(|name| is_called(name, flow, defined.get(*flow)))
    });
    let flows: Vec<(&str, Option<&FlowDay>)> = flows.into_iter().collect();
    let (from, pager) = pages(&query, &flows);
    let rows: Vec<FlowRow> = flows[from..]
        .iter()
        .take(ROWS as usize)
        .map(|(name, day)| {
            let row = FlowRow::new(name, defined.get(*name), *day, now);
            row.paused(&suspensions)
                .failing(&count.overview.failing_polls)
                .missing(&count.overview.missing_files)
        })
        .collect();
    let table = FlowTable { caption: "Flows by name, with their transfers of the last 24 hours", rows };
    let list = List {
        noun: "flows",
        table: if table.rows.is_empty() { None } else { Some(table.render()?) },
        filtered: !chips.is_empty(),
        empty_hint: "Flows are defined in TOML documents. Give their directory to Waybill with \
            <code>waybill serve --definitions DIR</code>.",
        stopped: None,
        unreadable: Vec::new(),
        pager,
        at: Moment(count.at),
    };
    if auth.fragment {
        return Ok(Html(list.render()?).into_response());
    }
    let page = FlowsPage {
        layout: auth.layout(Section::Flows),
        choices: WHICH
            .iter()
            .map(|(value, label, of)| Choice { value, label, chosen: which == Some(*of) })
            .collect(),
        count: grouped(known as u64),
        query,
        results: Results { path: PATH, title: "Flows", chips, notices, refresh_every: REFRESH_EVERY, list },
    };
    Ok(Html(page.render()?).into_response())
}

/// Whether a flow's name or title contains a text in lower case.
fn is_called(text: &str, name: &str, defined: Option<&DefinedFlow>) -> bool {
    let title = defined.and_then(|flow| flow.title.as_deref());
    [Some(name), title].into_iter().flatten().any(|known| known.to_lowercase().contains(text))
}

/// Where the page begins that was asked for: behind the name in `after`, whichever flows there are by now.
fn pages(query: &ListQuery, flows: &[(&str, Option<&FlowDay>)]) -> (usize, Pager) {
    let after = query.get("after");
    let from = after.map_or(0, |after| flows.partition_point(|(name, _)| *name <= after));
    let rows = ROWS as usize;
    let url = |from: usize| {
        let before = from.checked_sub(1).and_then(|last| flows.get(last)).map(|(name, _)| *name);
        query.url(PATH, &[("after", before)])
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

    #[test]
    fn pages_begin_behind_a_name() {
        let names: Vec<String> = (0..120).map(|n| format!("f{n:03}")).collect();
        let flows: Vec<(&str, Option<&FlowDay>)> = names.iter().map(|name| (name.as_str(), None)).collect();
        let page = |query: &str| pages(&ListQuery::read(query), &flows);
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
}
