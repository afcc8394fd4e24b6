//! How many messages are read at once. Who sends one is not proved before its last byte: strangers must
//! not take the buffers, threads and descriptors that deliveries need.

use crate::streaming::STREAM_BUFFERS;
use model::{Error, ErrorKind, Result};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use transport::{BufferBudget, BufferLease};

/// Each message that is read holds a thread of the blocking pool, which has 512 and other work to do.
const MOST_PLACES: usize = 256;
/// Files of all messages together that are open until their message is proved, the first of each apart.
pub(crate) const MORE_PARTS: usize = 256;

/// The places for messages on their way in.
pub(crate) struct Admission {
    budget: BufferBudget,
    places: Semaphore,
    more_parts: Arc<Semaphore>,
}

/// A place, given back when dropped.
pub(crate) struct Admitted<'a> {
    _place: SemaphorePermit<'a>,
    _room: BufferLease,
}

impl Admission {
    /// As many places as half the budget carries.
    pub(crate) fn new(budget: &BufferBudget) -> Self {
        Self {
            places: Semaphore::new(places(budget.total())),
            budget: budget.clone(),
            more_parts: Arc::new(Semaphore::new(MORE_PARTS)),
        }
    }

    /// Waits for a place and its buffers.
    ///
    /// # Errors
    /// The process ends.
    pub(crate) async fn enter(&self) -> Result<Admitted<'_>> {
        let place = self.places.acquire().await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "wait for a place to read a message").caused_by(error)
        })?;
        Ok(Admitted { _place: place, _room: self.budget.take(STREAM_BUFFERS).await })
    }

    /// The places for parts, [`MORE_PARTS`] of them.
    pub(crate) fn more_parts(&self) -> Arc<Semaphore> {
        Arc::clone(&self.more_parts)
    }
}

fn places(budget: u64) -> usize {
    usize::try_from(budget / 2 / STREAM_BUFFERS as u64).unwrap_or(MOST_PLACES).clamp(1, MOST_PLACES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_coming_in_never_take_the_whole_budget() {
        for (budget, expected) in [(16 << 20, 8), (256 << 20, 128), (1 << 20, 1), (0, 1), (64 << 30, 256)] {
            assert_eq!(places(budget), expected, "{budget}");
        }
    }

    #[tokio::test]
    async fn a_place_takes_its_buffers_and_gives_them_back() {
        let budget = BufferBudget::new(4 * STREAM_BUFFERS as u64);
        let admission = Admission::new(&budget);
        let held = [admission.enter().await.unwrap(), admission.enter().await.unwrap()];
        assert_eq!(budget.free(), budget.total() / 2);
        // The third waits.
        assert!(futures::FutureExt::now_or_never(admission.enter()).is_none());
        drop(held);
        assert_eq!(budget.free(), budget.total());
        assert!(admission.enter().await.is_ok());
    }
}
