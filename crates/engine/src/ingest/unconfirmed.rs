//! Readings that are kept until it is known whether the file still exists: if it has disappeared when it is to be
//! read again, the earlier reading is the only copy.
//!
//! The list is kept in memory. After a process ends, its readings are in staging without a row; the sweep moves them
//! to quarantine, where a person finds them.

use crate::ingest::reading::{Discovered, Whole};
use model::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::FoundOffer;

/// The most readings at a time. One more is moved to quarantine.
const LIMIT: usize = 1_000;

/// A reading and its offer.
pub(crate) struct UnconfirmedReading {
    pub(crate) offer: FoundOffer,
    pub(crate) at: Timestamp,
    pub(crate) whole: Whole,
}

/// Readings that wait for a second one, by the offer's key.
#[derive(Default)]
pub(crate) struct UnconfirmedReadings(Mutex<HashMap<String, UnconfirmedReading>>);

/// A reading that is not kept.
pub(crate) enum NotKept {
    /// A better reading of the same offer is kept; this one may be removed.
    Superseded(Whole),
    /// The limit is reached, and this reading may be the only copy.
    NoRoom(UnconfirmedReading),
}

impl UnconfirmedReadings {
    fn readings(&self) -> MutexGuard<'_, HashMap<String, UnconfirmedReading>> {
        // A map of plain values is consistent after any panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a reading; it replaces an earlier one of the same offer. Returns the reading that is not kept.
    pub(crate) fn keep(&self, found: &Discovered, whole: Whole) -> Option<NotKept> {
        let key = found.offer.identity.key();
        let mut readings = self.readings();
        let earlier = readings.remove(&key);
        match earlier {
            // A reading that is known to be incomplete does not replace one that may be complete.
            Some(earlier) if whole.partial && !earlier.whole.partial => {
                readings.insert(key, earlier);
                Some(NotKept::Superseded(whole))
            }
            earlier => {
                let reading = UnconfirmedReading { offer: found.offer.clone(), at: found.at, whole };
                if readings.len() >= LIMIT {
                    return Some(NotKept::NoRoom(reading));
                }
                readings.insert(key, reading);
                earlier.map(|earlier| NotKept::Superseded(earlier.whole))
            }
        }
    }

    /// Removes and returns the reading of an offer.
    pub(crate) fn remove(&self, key: &str) -> Option<UnconfirmedReading> {
        self.readings().remove(key)
    }

    /// The offers of a flow's source with a kept reading, with their keys.
    pub(crate) fn offers_of(&self, flow: &str, endpoint: &str) -> Vec<(String, FoundOffer)> {
        let readings = self.readings();
        let of_this_flow = readings.iter().filter(|(_, reading)| {
            let identity = &reading.offer.identity;
            identity.flow == flow && identity.endpoint == endpoint
        });
        of_this_flow.map(|(key, reading)| (key.clone(), reading.offer.clone())).collect()
    }
}
