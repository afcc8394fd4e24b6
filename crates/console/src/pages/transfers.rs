//! `/transfers`: the list.

use crate::state::AppState;
use crate::state::flow_definitions::DefinedFlow;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::badge::Badge;
use crate::web::chart::Chart;
use crate::web::choices::{Choice, times};
use crate::web::filters::{FilterReader, WITHIN};
use crate::web::flow_table::names;
use crate::web::layout::{Layout, Section};
use crate::web::list::Results;
use crate::web::list_query::ListQuery;
use crate::web::page_error::PageError;
use crate::web::search::{Search, search};
use crate::web::state_counts::{ANY_FAILED, StateCount, state_counts};
use crate::web::transfer_table::{TRANSFERS, TransferTable};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use model::{Result as ModelResult, Timestamp, TransferState};
use std::sync::Arc;
use store::{Listing, Page, Store, TransferFilter, TransferView};

/// Flows that the form suggests, the busiest ones.
const SUGGESTED: usize = 50;

#[derive(Template)]
#[template(path = "transfers.html")]
struct TransfersPage {
    layout: Layout,
    query: ListQuery,
    states: Vec<StateCount>,
    choices: Vec<Choice>,
    times: Vec<Choice>,
    flows: Vec<String>,
    chart: Chart,
    /// Whether the rarer fields are in use.
    more: bool,
    results: Results,
}

struct Transfers;

impl Search for Transfers {
    type Filter = TransferFilter;
    type Row = TransferView;
    type Table = TransferTable;
    const PATH: &'static str = TRANSFERS;
    const TITLE: &'static str = "Transfers";
    const NOUNS: (&'static str, &'static str) = ("transfer", "transfers");
    const EMPTY_HINT: &'static str = "A transfer is shown here when a flow has found or received a file. If you \
        expected one, look for <a href=\"/audit?kind=poll.failed\">failed polls</a> in the audit trail and for \
        <a href=\"/connections?failed=yes\">failed connections</a>.";

    fn read(reader: &mut FilterReader<'_>, now: Timestamp) -> (TransferFilter, bool) {
        let filter = filter(reader, now);
        let through_text = filter.searches();
        (filter, through_text)
    }

    async fn find(store: &Store, filter: &TransferFilter, page: Page) -> ModelResult<Listing<TransferView>> {
        store.transfers(filter, page).await
    }

    fn table(rows: &[TransferView], _now: Timestamp) -> TransferTable {
        TransferTable::new("Transfers, newest first", rows)
    }
}

const ANY_FAILED_WORDS: &str = "Failed or partly failed";

/// The filter that a URL asks for.
fn filter(reader: &mut FilterReader<'_>, now: Timestamp) -> TransferFilter {
    let state = reader.word("state", "State", |word| match TransferState::parse(word) {
        Some(state) => Some((Some(state), Badge::transfer(state).word.to_owned())),
        None => (word == ANY_FAILED).then(|| (None, ANY_FAILED_WORDS.to_owned())),
    });
    let problem_since = reader.word("problem", "With delivery problems", |word| {
        let (_, shown, length) = WITHIN.iter().find(|(known, ..)| *known == word)?;
        let since = length.map_or(Some(Timestamp::UNIX_EPOCH), |length| now.checked_sub_signed(length));
        Some((since?, (*shown).to_owned()))
    });
    let flow = reader.text("flow", "Flow");
    let partner = reader.text("partner", "Partner");
    let endpoint = reader.text("endpoint", "Delivered to endpoint");
    let name = reader.text("name", "File name");
    let name_mask = reader.text("mask", "File name mask");
    // Of two states together no index has the order in time: all of the range are put in order.
    let searches = name.is_some() || name_mask.is_some() || endpoint.is_some();
    let span = reader.span(now, searches || state == Some(None));
    TransferFilter {
        state: state.flatten(),
        failed: state == Some(None),
        trouble_since: problem_since,
        flow,
        partner,
        endpoint,
        name_contains: name,
        name_begins: None,
        name_mask,
        from: span.from,
        to: span.to,
    }
}

/// The states that the form offers.
fn choices(filter: &TransferFilter) -> Vec<Choice> {
    let one = |state: &TransferState| Choice {
        value: state.as_str(),
        label: Badge::transfer(*state).word,
        chosen: filter.state == Some(*state),
    };
    let any_failed = Choice { value: ANY_FAILED, label: ANY_FAILED_WORDS, chosen: filter.failed };
    TransferState::ALL.iter().map(one).chain([any_failed]).collect()
}

/// `GET /transfers`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    query: ListQuery,
) -> Result<Response, PageError> {
    let (filter, mut results) = search::<Transfers>(&state, &query).await?;
    if auth.fragment {
        return Ok(Html(results.list.render()?).into_response());
    }
    if let Some(flow) = &filter.flow {
        results.notices.extend(state.defined_flows().await?.get(flow).and_then(DefinedFlow::caution));
    }
    let overview = state.overview().await?.overview;
    let page = TransfersPage {
        layout: auth.layout(Section::Transfers),
        states: state_counts(&overview, filter.state),
        choices: choices(&filter),
        times: times(&query),
        flows: names(&overview.flows, SUGGESTED),
        chart: Chart::day(state.now(), overview.flows.iter().map(|flow| &flow.hours)),
        more: ["from", "to", "partner", "endpoint", "mask"].iter().any(|key| query.get(key).is_some()),
        query,
        results,
    };
    Ok(Html(page.render()?).into_response())
}
