//! Who holds the messages that this node keeps.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// How long a holder on this node has to make durable what it has. It is taken over after that all the same.
const LONGEST_END: Duration = Duration::from_secs(10);

/// The holders on this node, by the keys of their messages.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashMap<String, Holder>>);

/// Who holds a message.
pub(super) struct Holder {
    pub(super) fence: i64,
    pub(super) stop: watch::Sender<bool>,
    pub(super) ended: watch::Receiver<bool>,
}

impl Holders {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Holder>> {
        // After a panic elsewhere at most one holder stays in it, which is taken over.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the holder of a message to stop, and waits until what it has is durable and recorded.
    pub(super) async fn stop(&self, key: &str) {
        let ended = self.all().get(key).map(|holder| {
            holder.stop.send_replace(true);
            holder.ended.clone()
        });
        let Some(mut ended) = ended else { return };
        if tokio::time::timeout(LONGEST_END, ended.wait_for(|is| *is)).await.is_err() {
            tracing::warn!(
                key,
                "a message is taken over although its earlier connection has not ended; what that has not recorded is sent again"
            );
        }
    }

    pub(super) fn enter(&self, key: &str, holder: Holder) {
        self.all().insert(key.to_owned(), holder);
    }

    /// Removes a holder, unless another one has its place.
    pub(super) fn leave(&self, key: &str, fence: i64) {
        let mut all = self.all();
        if all.get(key).is_some_and(|holder| holder.fence == fence) {
            all.remove(key);
        }
    }
}
