//! Readings that are kept until it is known what became of the file: it may be gone when it is read again, and then what
//! was read before is the only copy.
//!
//! They are known in memory only. What a process that ends leaves of them lies in staging without a row, and the sweep
//! sets it aside, where a person finds it.

use crate::ingest::reading::{Discovered, Whole};
use model::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use transport::FoundOffer;

/// Most readings kept at a time. One more is set aside in quarantine.
const LIMIT: usize = 1_000;

/// A reading, and of what.
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
    /// A better one of the same offer is kept: this one may go.
    Superseded(Whole),
    /// There is no room for it, and it may be the only copy.
    NoRoom(UnconfirmedReading),
}

impl UnconfirmedReadings {
    fn readings(&self) -> MutexGuard<'_, HashMap<String, UnconfirmedReading>> {
        // A map of plain values is whole whatever panics.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a reading, in place of an earlier one of the same offer. Answers the reading that is not kept.
    pub(crate) fn keep(&self, found: &Discovered, whole: Whole) -> Option<NotKept> {
        let key = found.offer.identity.key();
        let mut readings = self.readings();
        let earlier = readings.remove(&key);
        match earlier {
            // What is known to be less than the file does not replace what may be all of it.
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

    /// Takes out the reading of an offer.
    pub(crate) fn remove(&self, key: &str) -> Option<UnconfirmedReading> {
        self.readings().remove(key)
    }

    /// The offers of a flow's source of which a reading is kept, with their keys.
    pub(crate) fn offers_of(&self, flow: &str, endpoint: &str) -> Vec<(String, FoundOffer)> {
        let readings = self.readings();
        let of_this_flow = readings.iter().filter(|(_, reading)| {
            let identity = &reading.offer.identity;
            identity.flow == flow && identity.endpoint == endpoint
        });
        of_this_flow.map(|(key, reading)| (key.clone(), reading.offer.clone())).collect()
    }
}
