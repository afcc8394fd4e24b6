//! A request that waits for other requests. Its connection may be closed meanwhile to make room for another
//! one.

use super::exchange::Exchange;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// In each request's extensions: its connection's place among those of its address.
#[derive(Clone)]
pub struct Standby(pub(super) Arc<Exchange>);

impl Standby {
    /// Says that nothing is done for the request until the answer is dropped. Where connections become too
    /// many, one that waits so is closed like an idle one; the handler is then dropped, and no answer given.
    pub fn waits(&self) -> Waits {
        self.0.state.waiting.fetch_add(1, Ordering::Relaxed);
        self.0.slot.at_work(false);
        Waits(Arc::clone(&self.0))
    }
}

impl std::fmt::Debug for Standby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Standby").field(&self.0.peer.connection).finish()
    }
}

/// A request waits until this is dropped.
#[must_use]
pub struct Waits(Arc<Exchange>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.state.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.slot.at_work(true);
    }
}

impl std::fmt::Debug for Waits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Waits").field(&self.0.peer.connection).finish()
    }
}
