//! A request that waits for other requests. Its connection may be closed to make room for another one.

use super::exchange::Exchange;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// The slot of its connection; in each request's extensions.
#[derive(Clone)]
pub struct Standby(pub(super) Arc<Exchange>);

impl Standby {
    /// Marks the request as waiting until the returned value is dropped. If there are too many connections, a waiting
    /// one is closed like an idle one; its handler is then dropped, and no answer is given.
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

/// The request is marked as waiting until this is dropped.
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
