//! Locks of files that are written, at endpoints that lock.
//!
//! A lock is noted before the first byte of its file is sent. So the next attempt gives back what one that was killed left
//! locked: its file could otherwise be neither written nor removed by anybody, until the server ends the lock. The lock under
//! which a file of the final name is replaced is the folder's own, is not noted, and ends by itself within minutes.

use super::publish::to_note;
use super::{FolderDestination, is_not_shown};
use crate::Deliver;
use crate::folder::Upload;
use model::{Error, ErrorKind, RemotePath, Result, Retry};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The key of the note of a file's lock. It says nothing of what became of the file.
pub const LOCKED: &str = "locked";

/// The key of the note of a marker's lock: that of its file may not be given back yet.
pub(super) const MARKER_LOCKED: &str = "marker_locked";

#[derive(Serialize, Deserialize)]
struct LockNote {
    path: RemotePath,
    lock: String,
    /// The endpoint's address.
    address: String,
}

/// Whether the next attempt may do better: the server was not reached, or had no time for the request. A refusal says no more than
/// that the lock may still be held, which shows when the file is written or removed.
fn is_worth_waiting(error: &Error) -> bool {
    error.retry() != Retry::Permanent && error.kind() != ErrorKind::Rejected
}

impl FolderDestination {
    /// Notes the lock of a file that is begun, if it has one.
    ///
    /// # Errors
    /// It could not be noted; the file is given up.
    pub(super) async fn note_lock(
        &self,
        delivery: &Deliver,
        key: &str,
        path: &RemotePath,
        upload: Box<dyn Upload>,
    ) -> Result<Box<dyn Upload>> {
        let Some(lock) = upload.lock() else { return Ok(upload) };
        let note = LockNote { path: path.clone(), lock, address: self.options.address.clone() };
        let noted = match to_note(&note) {
            Ok(note) => delivery.log.note(key, note).await,
            Err(error) => Err(error),
        };
        match noted {
            Ok(()) => Ok(upload),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Gives back the locks that an earlier attempt noted.
    ///
    /// # Errors
    /// Transient: the server could not be asked. Nothing was done to the file.
    pub(super) async fn release_locks(&self, delivery: &Deliver) -> Result<()> {
        for key in [LOCKED, MARKER_LOCKED] {
            self.release_lock(delivery, key).await?;
        }
        Ok(())
    }

    async fn release_lock(&self, delivery: &Deliver, key: &str) -> Result<()> {
        let noted = delivery.notes.get(key).and_then(|note| LockNote::deserialize(note).ok());
        let Some(noted) = noted.filter(|noted| noted.address == self.options.address) else { return Ok(()) };
        match self.folder.release_lock(&noted.path, &noted.lock).await {
            Ok(()) => {}
            Err(error) if is_worth_waiting(&error) => return Err(error.retry_as(Retry::Transient)),
            Err(error) => {
                tracing::warn!(
                    endpoint = %self.options.endpoint, path = %noted.path, error = %error.chain(),
                    "the lock of an earlier attempt was not given back; it ends by itself"
                );
                // The same would be answered each time. Anything else, as a refused login, says nothing of the lock: its note stays.
                if error.retry() != Retry::Permanent || !is_not_shown(&error) {
                    return Ok(());
                }
            }
        }
        delivery.log.note(key, Value::Null).await
    }
}
