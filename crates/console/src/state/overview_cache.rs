//! The overview's numbers, counted once for all who look at them.

use model::{Result, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{NodeRevision, Overview, Revision, Store};

/// How long numbers are shown again without being counted again, for all who look at them.
const FRESH_FOR: Duration = Duration::from_secs(4);
/// How long they are shown while somebody else is counting.
const SHOWN_FOR: Duration = Duration::from_secs(60);

/// The last count. Counting costs the same for one open page and for a hundred.
#[derive(Default)]
pub(crate) struct OverviewCache {
    last: Mutex<Option<CountedOverview>>,
    /// Locked while the numbers are being counted.
    turn: tokio::sync::Mutex<()>,
}

/// Numbers, and when they were counted.
#[derive(Clone)]
pub(crate) struct CountedOverview {
    pub(crate) at: Timestamp,
    pub(crate) overview: Arc<Overview>,
    pub(crate) revisions: Arc<NodeRevisions>,
}

/// The newest revision of the definitions, and which one each node has in force.
#[derive(Default)]
pub(crate) struct NodeRevisions {
    /// `None` before the first.
    pub(crate) newest: Option<Revision>,
    pub(crate) nodes: Vec<NodeRevision>,
}

impl NodeRevisions {
    async fn read(store: &Store, now: Timestamp) -> Result<Self> {
        let newest = store.revision(store.current_revision_number().await?).await?;
        Ok(Self { newest, nodes: store.node_revisions(now).await? })
    }
}

impl OverviewCache {
    fn last(&self) -> MutexGuard<'_, Option<CountedOverview>> {
        // What is in there is replaced whole.
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last count, if it is fresh enough.
    fn still_fresh(&self, now: Timestamp, counting: bool) -> Option<CountedOverview> {
        let good_for = if counting { SHOWN_FOR } else { FRESH_FOR };
        self.last().clone().filter(|count| (now - count.at).to_std().is_ok_and(|age| age < good_for))
    }

    /// The numbers. Nobody waits for another's answer from the database.
    pub(crate) async fn get(&self, store: &Store, now: Timestamp) -> Result<CountedOverview> {
        let turn = self.turn.try_lock();
        if let Some(count) = self.still_fresh(now, turn.is_err()) {
            return Ok(count);
        }
        let revisions = Arc::new(NodeRevisions::read(store, now).await?);
        let count = CountedOverview { at: now, overview: Arc::new(store.overview(now).await?), revisions };
        *self.last() = Some(count.clone());
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use store::SealLag;

    #[test]
    fn nobody_waits_for_another_to_count() {
        let at = Timestamp::UNIX_EPOCH;
        let counted = OverviewCache::default();
        assert!(counted.still_fresh(at, true).is_none());
        let overview = Overview {
            failing_polls: Vec::new(),
            waiting_for_room: Vec::new(),
            claims_left: Vec::new(),
            missing_files: Vec::new(),
            transfers: Vec::new(),
            flows: Vec::new(),
            failing: Vec::new(),
            failing_total: 0,
            unreadable: Vec::new(),
            offline: Vec::new(),
            unsettled: Vec::new(),
            failing_steps: Vec::new(),
            refused_files: Vec::new(),
            refused: Vec::new(),
            seal_lag: SealLag { events: 0, oldest: None, lag: Duration::ZERO, last: None },
            live_connections: 0,
        };
        *counted.last() =
            Some(CountedOverview { at, overview: Arc::new(overview), revisions: Arc::default() });
        for (seconds, free, counting) in [(3, true, true), (10, false, true), (61, false, false)] {
            let now = at + Duration::from_secs(seconds);
            assert_eq!(counted.still_fresh(now, false).is_some(), free, "{seconds} s");
            assert_eq!(
                counted.still_fresh(now, true).is_some(),
                counting,
                "{seconds} s, while another counts"
            );
        }
    }
}
