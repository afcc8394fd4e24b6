//! The places of connections that wait for a payload: so many in all, and of each partner a share only. A client that has left
//! keeps its place until its time is over: a sender may close its side of the connection after the message and still read the
//! answer, so that the end of its side says nothing.

use crate::admission::Shares;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places.
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_partner: Shares<String>,
}

/// A place, given back when dropped.
pub(super) struct Place {
    _partner: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Places {
    /// So many in all, and a quarter of them for one partner, at least one.
    pub(super) fn new(most: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(most)), of_partner: Shares::new(most / 4) }
    }

    /// A place for a message of this partner, where one is free.
    pub(super) fn take(&self, partner: &str) -> Option<Place> {
        let of_partner = self.of_partner.of(partner.to_owned()).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _partner: of_partner, _all: all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partner_has_a_quarter_of_the_places() {
        let places = Places::new(8);
        let of_globex = [places.take("globex"), places.take("globex")];
        assert!(of_globex.iter().all(Option::is_some));
        assert!(places.take("globex").is_none());
        // Others have theirs, as long as there are any.
        let others = ["a", "b", "c"].map(|name| [places.take(name), places.take(name)]);
        assert!(others.iter().flatten().all(Option::is_some));
        assert!(places.take("d").is_none());
        drop(of_globex);
        assert!(places.take("globex").is_some());
    }

    #[test]
    fn each_partner_has_one_at_least() {
        let places = Places::new(2);
        let first = places.take("globex");
        assert!(first.is_some() && places.take("globex").is_none() && places.take("initech").is_some());
    }
}
