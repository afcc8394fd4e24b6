//! What the polls of a flow have seen of files that they do not take yet, because they may still be being written.

use crate::Clock;
use model::{RemotePath, Timestamp};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A file as the last listing showed it. A value that the server did not report is `None`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Listing {
    pub(crate) size: Option<u64>,
    pub(crate) modified: Option<Timestamp>,
    pub(crate) version: Option<String>,
    pub(crate) changed: Option<Timestamp>,
}

/// A file that is not taken yet.
pub(crate) struct Pending {
    pub(crate) listing: Listing,
    /// Since when it has been listed like that, by the monotonic clock.
    pub(crate) since: Duration,
    /// When a poll should look at it again before the schedule asks for one, by the monotonic clock.
    pub(crate) look_again: Option<Duration>,
}

/// The files that the last poll of a flow listed and did not take, because they may still be being written. The engine
/// keeps it from one poll to the next, so that no poll has to wait.
///
/// It is in memory: after a restart, and on another node, a file is seen for the first time once more. It holds at most
/// the files that one poll holds.
#[derive(Default)]
pub struct PendingFiles(Mutex<HashMap<RemotePath, Pending>>);

impl PendingFiles {
    fn files(&self) -> MutexGuard<'_, HashMap<RemotePath, Pending>> {
        // It is replaced as a whole, by an assignment that cannot panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time until one of the files may be stable, if it does not change before; `None` if the next poll of the
    /// schedule is soon enough for all of them.
    #[must_use]
    pub fn look_again_in(&self, clock: &dyn Clock) -> Option<Duration> {
        let at = self.files().values().filter_map(|file| file.look_again).min()?;
        Some(at.saturating_sub(clock.monotonic()))
    }

    /// Forgets all of them: another node polls the flow.
    pub fn clear(&self) {
        drop(std::mem::take(&mut *self.files()));
    }

    pub(crate) fn take(&self) -> HashMap<RemotePath, Pending> {
        std::mem::take(&mut *self.files())
    }

    pub(crate) fn replace(&self, files: HashMap<RemotePath, Pending>) {
        *self.files() = files;
    }
}
