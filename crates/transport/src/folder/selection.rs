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
    /// The bytes of its paths and versions in memory.
    fn bytes(&self) -> usize {
        let paths = [&self.place.1, &self.relative, &self.identity.path];
        let paths: usize = paths.iter().map(|path| path.as_bytes().len()).sum();
        let version = self.identity.version.as_ref().map_or(0, String::len);
        paths + version + self.marker.as_ref().map_or(0, |marker| marker.bytes())
    }

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

/// The most bytes of paths and versions that a poll keeps: over six times what the most candidates with usual names have. A server
/// with very long names leaves the rest to later polls.
const BYTES_LIMIT: usize = 64 << 20;

/// The lowest candidates so far, at most `bound` of them.
pub(super) struct Selection {
    heap: BinaryHeap<Candidate>,
    bound: usize,
    bytes: usize,
    bytes_limit: usize,
}

impl Selection {
    pub(super) fn new(bound: usize) -> Self {
        Self { heap: BinaryHeap::new(), bound, bytes: 0, bytes_limit: BYTES_LIMIT }
    }

    /// Adds a candidate; returns those that are dropped if there are too many.
    pub(super) fn push(&mut self, candidate: Candidate) -> Vec<Candidate> {
        self.bytes += candidate.bytes();
        self.heap.push(candidate);
        let mut dropped = Vec::new();
        while (self.heap.len() > self.bound || self.bytes > self.bytes_limit)
            && let Some(last) = self.heap.pop()
        {
            self.bytes -= last.bytes();
            dropped.push(last);
        }
        dropped
    }

    /// All of them, in order.
    pub(super) fn into_sorted(self) -> Vec<Candidate> {
        self.heap.into_sorted_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(at: i64, name: &str) -> Candidate {
        let identity = OfferIdentity {
            flow: "f".into(),
            endpoint: "e".into(),
            path: "p".into(),
            size: None,
            modified: chrono::DateTime::from_timestamp(at, 0),
            version: None,
            rule: model::IdentityRule::default(),
        };
        Candidate::new(Order::Arrival, 0, name.into(), identity, None, None)
    }

    fn names(selection: Selection) -> Vec<String> {
        selection.into_sorted().into_iter().map(|candidate| candidate.relative.to_text()).collect()
    }

    #[test]
    fn the_oldest_are_held_whatever_the_order_of_arrival() {
        let mut selection = Selection::new(3);
        for at in [50, 10, 40, 20, 30, 60] {
            selection.push(candidate(at, &at.to_string()));
        }
        assert_eq!(names(selection), ["10", "20", "30"]);
    }

    #[test]
    fn very_long_names_leave_fewer() {
        let mut selection = Selection { bytes_limit: 50, ..Selection::new(1_000) };
        for at in [50, 10, 40, 20] {
            selection.push(candidate(at, &format!("{at}-seven")));
        }
        // Each of them has 17 bytes of paths.
        assert_eq!(names(selection), ["10-seven", "20-seven"]);
        let mut versions = Selection { bytes_limit: 50, ..Selection::new(1_000) };
        for at in [50, 10, 40, 20] {
            let mut candidate = candidate(at, "a");
            candidate.identity.version = Some("v".repeat(20));
            versions.push(candidate);
        }
        assert_eq!(names(versions).len(), 2, "a server may state long versions");
        let mut alone = Selection { bytes_limit: 10, ..Selection::new(1_000) };
        assert_eq!(alone.push(candidate(1, "longer than that")).len(), 1);
    }
}
