//! Temporary files of attempts that are dropped, for example when their node loses its lease.
//!
//! A node that was stopped for longer than its lease may write its file after the next attempt has removed older
//! files; nobody else would remove that file. Until the attempt starts to write the note about the publication, no
//! other attempt can rely on the file, so it is removed when the attempt is dropped. After that, the answer to the
//! note decides: if the note was written, the next attempt publishes the file or finds it published; if the claim was
//! lost, there is no note, and the file is removed. So the answer is awaited even if the attempt is dropped. No other
//! part of the attempt continues, and the final name is never touched.

use super::Publishing;
use crate::Deliver;
use crate::folder::Folder;
use model::{Error, ErrorKind, RemotePath, Result};
use std::sync::Arc;
use std::time::Duration;

/// The longest time for removing the file of a dropped attempt.
const LONGEST: Duration = Duration::from_secs(10);

/// The temporary file of an attempt that has not noted it yet. The file is removed when this is dropped.
pub(super) struct Unnoted {
    folder: Arc<dyn Folder>,
    temporary: Option<RemotePath>,
}

impl Unnoted {
    pub(super) fn watch(folder: &Arc<dyn Folder>, temporary: &RemotePath) -> Self {
        Self { folder: Arc::clone(folder), temporary: Some(temporary.clone()) }
    }

    /// Writing has ended; it has already removed the file or decided to keep it.
    pub(super) fn disarm(mut self) {
        self.temporary = None;
    }
}

impl Drop for Unnoted {
    fn drop(&mut self) {
        let Some(temporary) = self.temporary.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let folder = Arc::clone(&self.folder);
        runtime.spawn(async move {
            let removing = remove_temporary(&*folder, &temporary);
            if tokio::time::timeout(LONGEST, removing).await.is_err() {
                tracing::warn!(path = %temporary, "temporary file not removed in time");
            }
        });
    }
}

/// Notes a publication. If the claim was lost, removes the file, even if the attempt was dropped in the meantime.
pub(super) async fn note_or_remove(
    folder: &Arc<dyn Folder>,
    delivery: &Deliver,
    publishing: &Publishing,
) -> Result<()> {
    let (folder, log, publishing) = (Arc::clone(folder), Arc::clone(&delivery.log), publishing.clone());
    let noting = tokio::spawn(async move {
        let noted = publishing.note(&*log).await;
        if noted.as_ref().is_err_and(|error| error.kind() == ErrorKind::ClaimLost) {
            // There is no note, so no attempt relies on the file; the attempt that holds the claim has already
            // removed older files.
            remove_temporary(&*folder, &publishing.temporary).await;
        }
        noted
    });
    noting.await.unwrap_or_else(|error| {
        Err(Error::transient(ErrorKind::Internal, "note that a file is about to be published")
            .with("fault", error)
            .advice("this is a bug in Waybill; the log shows where it is"))
    })
}

/// Removes the file if possible. A file that stays takes space but is never treated as complete.
pub(super) async fn remove_temporary(folder: &dyn Folder, temporary: &RemotePath) {
    if let Err(error) = folder.remove(temporary).await
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %temporary, error = %error.chain(), "temporary file not removed");
    }
}
