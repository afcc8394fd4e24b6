//! `/`: numbers, problems, flows and the condition of the node.

mod node_problems;
mod problems;
mod revisions;

use crate::pages::overview::problems::{LONG_LAG, Problems, problems};
use crate::pages::overview::revisions::{InForce, in_force};
use crate::state::AppState;
use crate::state::flow_definitions::DefinedFlows;
use crate::state::overview_cache::CountedOverview;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::chart::Chart;
use crate::web::flow_table::FlowTable;
use crate::web::format::{Moment, between, duration_text, grouped, size_text, unreadable_rows};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use crate::web::state_counts::{StateCount, state_counts};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use std::sync::Arc;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    layout: Layout,
    body: OverviewBody,
}

#[derive(Template)]
#[template(path = "overview_body.html")]
struct OverviewBody {
    states: Vec<StateCount>,
    chart: Chart,
    flows: FlowTable,
    /// Whether not all are shown that had a transfer, and how many had one.
    flows_left_out: bool,
    flow_count: String,
    problems: Problems,
    unreadable: Vec<String>,
    live: String,
    unsealed: String,
    lag: String,
    unsealed_none: bool,
    lag_long: bool,
    sealed: Option<(i64, Moment)>,
    journal: Option<String>,
    free: Option<String>,
    up: String,
    in_force: InForce,
    at: Moment,
}

impl askama::filters::HtmlSafe for OverviewBody {}

/// `GET /`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
) -> Result<Response, PageError> {
    let count = state.overview().await?;
    let body = body(&state, &count, &state.defined_flows().await?);
    if auth.fragment {
        return Ok(Html(body.render()?).into_response());
    }
    let page = OverviewPage { layout: auth.layout(Section::Overview), body };
    Ok(Html(page.render()?).into_response())
}

fn body(state: &AppState, count: &CountedOverview, defined: &DefinedFlows) -> OverviewBody {
    let (now, overview) = (state.now(), &count.overview);
    let lag = &overview.seal_lag;
    let flows = FlowTable::few(&overview.flows, defined, now);
    OverviewBody {
        states: state_counts(overview, None),
        chart: Chart::day(now, overview.flows.iter().map(|flow| &flow.hours)),
        flows_left_out: overview.flows.len() > flows.rows.len(),
        flow_count: grouped(overview.flows.len() as u64),
        flows,
        problems: problems(state, count),
        unreadable: unreadable_rows("delivery", &overview.unreadable),
        live: grouped(overview.live_connections),
        unsealed: if lag.events >= 100_000 { "100,000 or more".into() } else { grouped(lag.events) },
        lag: duration_text(lag.lag),
        unsealed_none: lag.events == 0,
        lag_long: lag.lag >= LONG_LAG,
        sealed: lag.last.map(|(seq, at)| (seq, Moment(at))),
        journal: state.node.journal().map(|journal| size_text(journal.backlog_bytes)),
        free: state.node.staging().map(|staging| size_text(staging.free_bytes)),
        up: between(state.started, now),
        in_force: in_force(&count.revisions),
        at: Moment(count.at),
    }
}
