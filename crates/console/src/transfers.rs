//! `/transfers`: the list.

use crate::chart::Chart;
use crate::door::session::FRAGMENT;
use crate::flows::{DefinedFlow, names};
use crate::frame::{Frame, Section};
use crate::overview::{StateCount, state_counts};
use crate::problem::Problem;
use crate::query::{Asked, CONSOLE, Chip, Pager, Reading, WITHIN, ended, live_every};
use crate::show::{Badge, Moment, ShortId, Size, between, path_text, unreadable_rows};
use crate::site::Site;
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use model::{Timestamp, TransferKind, TransferState};
use std::sync::Arc;
use store::{TransferFilter, TransferView};

pub(crate) const PATH: &str = "/transfers";
/// The state filter's word for transfers that failed or partly failed.
pub(crate) const ANY_FAILED: &str = "any_failed";

/// Flows that the form suggests, the busiest ones.
const SUGGESTED: usize = 50;

/// A row of a list of transfers.
pub(crate) struct TransferLine {
    pub(crate) id: ShortId,
    pub(crate) badge: Badge,
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) flow: String,
    pub(crate) partner: Option<String>,
    /// Said of what is no ordinary payload.
    pub(crate) kind: Option<&'static str>,
    pub(crate) size: Size,
    pub(crate) delivered: u32,
    pub(crate) deliveries: u32,
    pub(crate) recorded: Moment,
    pub(crate) took: Option<String>,
}

impl TransferLine {
    pub(crate) fn new(transfer: &TransferView) -> Self {
        Self {
            id: ShortId(transfer.id.uuid()),
            badge: Badge::transfer(transfer.state),
            name: path_text(&transfer.file_name),
            url: format!("{PATH}/{}", transfer.id),
            flow: transfer.flow.clone(),
            partner: transfer.partner.clone(),
            kind: kind_word(transfer.kind),
            size: Size(transfer.length),
            delivered: transfer.delivered,
            deliveries: transfer.deliveries,
            recorded: Moment(transfer.created_at),
            took: transfer.ended_at.map(|end| between(transfer.created_at, end)),
        }
    }
}

pub(crate) const fn kind_word(kind: TransferKind) -> Option<&'static str> {
    match kind {
        TransferKind::Payload => None,
        TransferKind::Receipt => Some("Receipt"),
        TransferKind::Reply => Some("Reply"),
    }
}

/// A value to choose in a form.
pub(crate) struct Choice {
    pub(crate) value: &'static str,
    pub(crate) shown: &'static str,
    pub(crate) chosen: bool,
}

/// Whether the console's own connections are shown.
pub(crate) fn shown_or_not(asked: &Asked) -> Vec<Choice> {
    vec![Choice { value: "yes", shown: "Shown", chosen: asked.get(CONSOLE) == Some("yes") }]
}

/// The ranges of time that a form offers.
pub(crate) fn times(asked: &Asked) -> Vec<Choice> {
    WITHIN
        .iter()
        .map(|(value, shown, _)| Choice { value, shown, chosen: asked.get("within") == Some(value) })
        .collect()
}

#[derive(Template)]
#[template(path = "transfers_list.html")]
struct TransfersList {
    rows: Vec<TransferLine>,
    ended: Option<String>,
    unreadable: Vec<String>,
    pager: Pager,
    filtered: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for TransfersList {}

#[derive(Template)]
#[template(path = "transfers.html")]
struct TransfersPage {
    frame: Frame,
    asked: Asked,
    states: Vec<StateCount>,
    choices: Vec<Choice>,
    times: Vec<Choice>,
    flows: Vec<String>,
    chart: Chart,
    chips: Vec<Chip>,
    problems: Vec<String>,
    live_every: u32,
    /// Whether the rarer fields are in use.
    more: bool,
    list: TransfersList,
}

const ANY_FAILED_WORDS: &str = "Failed or partly failed";

/// The filter that a URL asks for.
fn filter(reading: &mut Reading<'_>, now: Timestamp) -> TransferFilter {
    let state = reading.word("state", "State", |word| match TransferState::parse(word) {
        Some(state) => Some((Some(state), Badge::transfer(state).word.to_owned())),
        None => (word == ANY_FAILED).then(|| (None, ANY_FAILED_WORDS.to_owned())),
    });
    let trouble_since = reading.word("trouble", "A delivery in trouble", |word| {
        let (_, shown, length) = WITHIN.iter().find(|(known, ..)| *known == word)?;
        let since = length.map_or(Some(Timestamp::UNIX_EPOCH), |length| now.checked_sub_signed(length));
        Some((since?, (*shown).to_owned()))
    });
    let flow = reading.text("flow", "Flow");
    let partner = reading.text("partner", "Partner");
    let name = reading.text("name", "File name");
    // Of two states together no index has the order in time: all of the range are put in order.
    let span = reading.span(now, name.is_some() || state == Some(None));
    TransferFilter {
        state: state.flatten(),
        failed: state == Some(None),
        trouble_since,
        flow,
        partner,
        name_contains: name,
        name_begins: None,
        from: span.from,
        to: span.to,
    }
}

/// The states that the form offers.
fn choices(filter: &TransferFilter) -> Vec<Choice> {
    let one = |state: &TransferState| Choice {
        value: state.as_str(),
        shown: Badge::transfer(*state).word,
        chosen: filter.state == Some(*state),
    };
    let any_failed = Choice { value: ANY_FAILED, shown: ANY_FAILED_WORDS, chosen: filter.failed };
    TransferState::ALL.iter().map(one).chain([any_failed]).collect()
}

/// `GET /transfers`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = site.now();
    let mut reading = Reading::new(&asked, PATH);
    let filter = filter(&mut reading, now);
    let through_text = filter.name_contains.is_some();
    reading.tell_index(site.store.text_index(), through_text);
    let page = reading.page();
    let filtered = !reading.chips.is_empty();
    let (chips, mut problems) = (reading.chips, reading.problems);
    let found = site.store.transfers(&filter, page).await?;
    let list = TransfersList {
        rows: found.rows.iter().map(TransferLine::new).collect(),
        unreadable: unreadable_rows("transfer", &found.unreadable),
        pager: Pager::new(&asked, PATH, found.next),
        ended: ended(found.ended_after),
        filtered,
        at: Moment(now),
    };
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(list.render()?).into_response());
    }
    if let Some(flow) = &filter.flow {
        problems.extend(site.defined_flows().await?.get(flow).and_then(DefinedFlow::caution));
    }
    let overview = site.overview().await?.overview;
    let page = TransfersPage {
        frame: frame.at(Section::Transfers),
        states: state_counts(&overview, filter.state),
        choices: choices(&filter),
        times: times(&asked),
        flows: names(&overview.flows, SUGGESTED),
        chart: Chart::day(now, overview.flows.iter().map(|flow| &flow.hours)),
        chips,
        problems,
        live_every: live_every(through_text),
        more: asked.get("from").or(asked.get("to")).or(asked.get("partner")).is_some(),
        asked,
        list,
    };
    Ok(Html(page.render()?).into_response())
}
