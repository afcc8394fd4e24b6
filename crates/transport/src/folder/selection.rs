//! The part of a listing that a poll keeps in memory: a limited number of files, the first in the flow's order.

use super::done_file::Marker;
use crate::SkippedFile;
use model::definition::Order;
use model::{OfferIdentity, RemotePath, SkipReason, Timestamp};
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// A file that may become an offer.
pub(super) struct Candidate {
    place: (i64, RemotePath),
    pub(super) relative: RemotePath,
    pub(super) identity: OfferIdentity,
    /// Its status change time (ctime).
    pub(super) changed: Option<Timestamp>,
    /// Its done file, where the flow has done files.
    pub(super) marker: Option<Box<Marker>>,
}

impl Candidate {
    /// A candidate with its position in the order; `listed` is its number in the listing.
    pub(super) fn new(
        order: Order,
        listed: i64,
        relative: RemotePath,
        identity: OfferIdentity,
        changed: Option<Timestamp>,
        marker: Option<Box<Marker>>,
    ) -> Self {
        let place = match order {
            Order::Listing => (listed, RemotePath::default()),
            // A file without a time comes after those with a time.
            Order::Arrival => {
                (identity.modified.map_or(i64::MAX, |at| at.timestamp_micros()), relative.clone())
            }
            Order::Name => (0, relative.clone()),
        };
        Self { place, relative, identity, changed, marker }
    }
}

impl Candidate {
    /// The key of its done file; `None` if it has none, or the server states nothing to know the same one again by.
    pub(super) fn done_file_key(&self) -> Option<String> {
        self.marker.as_ref()?.key(&self.identity)
    }

    /// The report about a candidate that the poll does not offer.
    pub(super) fn skipped(&self, why: SkipReason) -> SkippedFile<'_> {
        SkippedFile { path: &self.relative, why, identity: Some(&self.identity) }
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place.cmp(&other.place)
    }
}

/// The lowest candidates so far, at most `bound` of them.
pub(super) struct Selection {
    heap: BinaryHeap<Candidate>,
    bound: usize,
}

impl Selection {
    pub(super) fn new(bound: usize) -> Self {
        Self { heap: BinaryHeap::new(), bound }
    }

    /// Adds a candidate; returns the one that is dropped if there are too many.
    pub(super) fn push(&mut self, candidate: Candidate) -> Option<Candidate> {
        self.heap.push(candidate);
        if self.heap.len() > self.bound { self.heap.pop() } else { None }
    }

    /// All of them, in order.
    pub(super) fn into_sorted(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_held_whatever_the_order_of_arrival() {
        let mut selection = Selection::new(3);
        for at in [50, 10, 40, 20, 30, 60] {
            let identity = OfferIdentity {
                flow: "f".into(),
                endpoint: "e".into(),
                path: "p".into(),
                size: None,
                modified: chrono::DateTime::from_timestamp(at, 0),
                version: None,
                rule: model::IdentityRule::default(),
            };
            selection.push(Candidate::new(
                Order::Arrival,
                0,
                format!("{at}").as_str().into(),
                identity,
                None,
                None,
            ));
        }
        let names: Vec<_> = selection.into_sorted().into_iter().map(|c| c.relative.to_text()).collect();
        assert_eq!(names, ["10", "20", "30"]);
    }
}
