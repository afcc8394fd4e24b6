//! Endpoints whose queues are full: their flows take no new files.

use model::definition::Flow;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Which queues are full, as this node counted them last. [`crate::operate`] keeps it up to date.
#[derive(Debug, Default)]
pub(crate) struct Queues(Mutex<BTreeMap<String, u32>>);

/// A full queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FullQueue {
    /// The endpoint.
    pub(crate) endpoint: String,
    /// How many deliveries may wait for it.
    pub(crate) queue: u32,
}

impl FullQueue {
    /// Why a flow takes no files, for its log line and for a sender.
    pub(crate) fn words(&self) -> String {
        format!(
            "waiting: {} or more deliveries wait for endpoint {}, as many as its queue allows",
            self.queue, self.endpoint
        )
    }
}

impl Queues {
    /// Takes over what was counted: the limits of the full queues by endpoint. Returns those that became full, and
    /// those that have room again.
    pub(crate) fn replace(&self, full: BTreeMap<String, u32>) -> (Vec<FullQueue>, Vec<String>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = full.iter().filter(|(endpoint, _)| !known.contains_key(*endpoint));
        let filled = filled.map(|(endpoint, queue)| FullQueue { endpoint: endpoint.clone(), queue: *queue });
        let filled = filled.collect();
        let freed = known.keys().filter(|endpoint| !full.contains_key(*endpoint)).cloned().collect();
        *known = full;
        (filled, freed)
    }

    /// The first full queue that a flow delivers to.
    pub(crate) fn full(&self, flow: &Flow) -> Option<FullQueue> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_empty() {
            return None;
        }
        flow.usual_destinations().find_map(|destination| {
            let queue = known.get(&destination.endpoint)?;
            Some(FullQueue { endpoint: destination.endpoint.clone(), queue: *queue })
        })
    }
}
