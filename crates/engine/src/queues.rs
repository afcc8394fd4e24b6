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

/// Whether a queue is full with so many deliveries waiting. One that was full has room again when a quarter of it is
/// free: at its limit, it would become full and free with every delivery, and each change is an event.
pub(crate) fn is_full(queue: u32, waiting: u32, was_full: bool) -> bool {
    if was_full { waiting > queue - queue.div_ceil(4) } else { waiting >= queue }
}

impl Queues {
    /// Whether an endpoint's queue was full when it was counted last.
    pub(crate) fn is_full(&self, endpoint: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(endpoint)
    }

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

#[cfg(test)]
mod tests {
    use super::is_full;

    #[test]
    fn a_queue_that_was_full_has_room_when_a_quarter_is_free() {
        for (queue, waiting, was_full, expected) in [
            (100, 99, false, false),
            (100, 100, false, true),
            (100, 76, true, true),
            (100, 75, true, false),
            (3, 3, true, true),
            (3, 2, true, false),
            (1, 1, true, true),
            (1, 0, true, false),
        ] {
            assert_eq!(is_full(queue, waiting, was_full), expected, "{queue} {waiting} {was_full}");
        }
    }
}
