//! `/`: how things stand; and the numbers that other pages show too.

use crate::chart::Chart;
use crate::door::session::FRAGMENT;
use crate::flows::{FlowLine, few};
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::show::{Badge, Moment, between, duration_text, grouped, unreadable_rows};
use crate::site::Site;
use crate::trouble::{LONG_LAG, Troubles, troubles};
use askama::Template;
use axum::extract::State;
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use model::{Lifecycle, Result as ModelResult, Timestamp, TransferState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Overview;

/// How long numbers are shown again without being counted again, for all who look at them.
const FRESH_FOR: Duration = Duration::from_secs(4);
/// How long they are shown while somebody else is counting.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// The last count. Counting costs the same for one open page and for a hundred.
#[derive(Default)]
pub(crate) struct Counted {
    last: Mutex<Option<Count>>,
    /// Held by whoever counts.
    turn: tokio::sync::Mutex<()>,
}

/// Numbers, and when they were counted.
#[derive(Clone)]
pub(crate) struct Count {
    pub(crate) at: Timestamp,
    pub(crate) overview: Arc<Overview>,
}

impl Counted {
    fn last(&self) -> MutexGuard<'_, Option<Count>> {
        // What is in there is replaced whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last count, when it is still good to be shown.
    fn shown(&self, now: Timestamp, counting: bool) -> Option<Count> {
        let good_for = if counting { SHOWN_FOR } else { FRESH_FOR };
        self.last().clone().filter(|count| (now - count.at).to_std().is_ok_and(|age| age < good_for))
    }
}

impl Site {
    /// The numbers, at most a few seconds old, or a minute while they are being counted: nobody waits for
    /// another's answer from the database.
    pub(crate) async fn overview(&self) -> ModelResult<Count> {
        let now = self.now();
        let turn = self.counted.turn.try_lock();
        if let Some(count) = self.counted.shown(now, turn.is_err()) {
            return Ok(count);
        }
        let count = Count { at: now, overview: Arc::new(self.store.overview(now).await?) };
        *self.counted.last() = Some(count.clone());
        Ok(count)
    }
}

/// Transfers of a state, with a link to them.
pub(crate) struct StateCount {
    pub(crate) badge: Badge,
    pub(crate) count: String,
    pub(crate) zero: bool,
    pub(crate) url: String,
    pub(crate) current: bool,
}

/// The counts by state, those that go on first; those of final states of the last 24 hours.
pub(crate) fn state_counts(overview: &Overview, chosen: Option<TransferState>) -> Vec<StateCount> {
    // Nothing rests in these two: they are shown only while something is there.
    let passing = [TransferState::Staged, TransferState::Processing];
    let mut states = TransferState::ALL.to_vec();
    states.sort_by_key(|state| state.is_final());
    states
        .into_iter()
        .map(|state| {
            let count = overview.transfers.iter().find(|(found, _)| *found == state).map_or(0, |(_, n)| *n);
            (state, count)
        })
        .filter(|(state, count)| *count > 0 || !passing.contains(state))
        .map(|(state, count)| StateCount {
            badge: Badge::transfer(state),
            count: grouped(count),
            zero: count == 0,
            url: if state.is_final() {
                format!("/transfers?state={state}&within=24h")
            } else {
                format!("/transfers?state={state}")
            },
            current: chosen == Some(state),
        })
        .collect()
}

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    frame: Frame,
    body: OverviewBody,
}

#[derive(Template)]
#[template(path = "overview_body.html")]
struct OverviewBody {
    states: Vec<StateCount>,
    chart: Chart,
    flows: Vec<FlowLine>,
    /// Whether not all are shown that had a transfer, and how many had one.
    flows_left_out: bool,
    flow_count: String,
    troubles: Troubles,
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
    at: Moment,
}

impl askama::filters::HtmlSafe for OverviewBody {}

/// `GET /`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let count = site.overview().await?;
    let body = body(&site, &count);
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(body.render()?).into_response());
    }
    let page = OverviewPage { frame: frame.at(Section::Overview), body };
    Ok(Html(page.render()?).into_response())
}

fn body(site: &Site, count: &Count) -> OverviewBody {
    let (now, overview) = (site.now(), &count.overview);
    let lag = &overview.seal_lag;
    let shown = few(&overview.flows, now);
    OverviewBody {
        states: state_counts(overview, None),
        chart: Chart::day(now, overview.flows.iter().map(|flow| &flow.hours)),
        flows_left_out: overview.flows.len() > shown.len(),
        flow_count: grouped(overview.flows.len() as u64),
        flows: shown,
        troubles: troubles(site, count),
        unreadable: unreadable_rows("delivery", &overview.unreadable),
        live: grouped(overview.live_connections),
        unsealed: if lag.events >= 100_000 { "100,000 or more".into() } else { grouped(lag.events) },
        lag: duration_text(lag.lag),
        unsealed_none: lag.events == 0,
        lag_long: lag.lag >= LONG_LAG,
        sealed: lag.last.map(|(seq, at)| (seq, Moment(at))),
        journal: site.vitals.journal().map(|journal| crate::show::size_text(journal.backlog_bytes)),
        free: site.vitals.staging().map(|staging| crate::show::size_text(staging.free_bytes)),
        up: between(site.started, now),
        at: Moment(count.at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::SealLag;

    #[test]
    fn nobody_waits_for_another_to_count() {
        let at = Timestamp::UNIX_EPOCH;
        let counted = Counted::default();
        assert!(counted.shown(at, true).is_none());
        let overview = Overview {
            transfers: Vec::new(),
            flows: Vec::new(),
            failing: Vec::new(),
            in_trouble: 0,
            unreadable: Vec::new(),
            offline: Vec::new(),
            unsettled: Vec::new(),
            refused: Vec::new(),
            seal_lag: SealLag { events: 0, oldest: None, lag: Duration::ZERO, last: None },
            live_connections: 0,
        };
        *counted.last() = Some(Count { at, overview: Arc::new(overview) });
        for (seconds, free, counting) in [(3, true, true), (10, false, true), (61, false, false)] {
            let now = at + Duration::from_secs(seconds);
            assert_eq!(counted.shown(now, false).is_some(), free, "{seconds} s");
            assert_eq!(counted.shown(now, true).is_some(), counting, "{seconds} s, while another counts");
        }
    }
}
