//! How many transfers there are of each state, as links to them.

use crate::web::badge::Badge;
use crate::web::format::grouped;
use model::{Lifecycle, TransferState};
use store::Overview;

/// The state filter's word for transfers that failed or partly failed.
pub(crate) const ANY_FAILED: &str = "any_failed";

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
