//! Temporary files of attempts that are dropped, as when their node loses its lease.
//!
//! An attempt that was stopped for longer than its lease may write its file after the attempt that follows has looked for
//! it: nobody else would remove it. Until the note about the publication is asked for, nobody can rely on the file, and it
//! goes with its attempt. From then on only the answer tells: with the note written, the attempt that follows publishes
//! the file or finds it published; with the claim lost, there is no note and the file goes. So that answer is waited for
//! also after the attempt was dropped. Nothing else of the attempt goes on, and the final name is never touched.

use super::Publishing;
use crate::Deliver;
use crate::folder::Folder;
use model::{Error, ErrorKind, RemotePath, Result};
use std::sync::Arc;
use std::time::Duration;

/// Longest time for removing what a dropped attempt wrote.
const LONGEST: Duration = Duration::from_secs(10);

/// The temporary file of an attempt that has noted nothing of it. Dropped, the file is removed.
pub(super) struct Unnoted {
    folder: Arc<dyn Folder>,
    temporary: Option<RemotePath>,
}

impl Unnoted {
    pub(super) fn watch(folder: &Arc<dyn Folder>, temporary: &RemotePath) -> Self {
        Self { folder: Arc::clone(folder), temporary: Some(temporary.clone()) }
    }

    /// Writing ended by itself, and has removed or kept the file as it should.
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

/// Notes a publication; removes the file when the claim was lost, also when nobody waits for the answer any more.
pub(super) async fn note_or_remove(
    folder: &Arc<dyn Folder>,
    delivery: &Deliver,
    publishing: &Publishing,
) -> Result<()> {
    let (folder, log, publishing) = (Arc::clone(folder), Arc::clone(&delivery.log), publishing.clone());
    let noting = tokio::spawn(async move {
        let noted = publishing.note(&*log).await;
        if noted.as_ref().is_err_and(|error| error.kind() == ErrorKind::ClaimLost) {
            // Nothing was noted, so nobody relies on the file; whoever holds the claim has looked for it already.
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

/// As far as possible: what stays takes room, and is taken for whole by nobody.
pub(super) async fn remove_temporary(folder: &dyn Folder, temporary: &RemotePath) {
    if let Err(error) = folder.remove(temporary).await
        && error.kind() != ErrorKind::NotFound
    {
        tracing::warn!(path = %temporary, error = %error.chain(), "temporary file not removed");
    }
}
