//! What an earlier attempt left that wrote in another way: a person corrected the destination's options and retried the
//! delivery.
//!
//! What may have arrived still counts as it did. What surely has not is removed, and written in the way that is asked for
//! now: else it would get the name that was corrected, or fail again for the reason that was.

use super::direct::EarlierUpload;
use super::dropped::remove_temporary;
use super::publish::TemporaryFile;
use super::{FolderDestination, Overwrite, PUBLISHING, Publishing, WRITING, is_not_shown, names};
use crate::{Deliver, Sent};
use model::{Error, ErrorKind, RemotePath, Result, Retry};
use serde_json::Value;

/// Advice if an unfinished file cannot be removed.
const NOT_REMOVED: &str = "the file is incomplete; the next attempt tries again. If the server refuses to remove it, let \
    this user remove files there or have the file removed, or set the flow's destination back to its earlier name and \
    temporary = \"none\": then the file is written again under that name";

impl FolderDestination {
    /// Whether a written file that was to be published goes to another name now, or is written in another way.
    pub(super) fn is_corrected(&self, earlier: &Publishing, path: &RemotePath) -> bool {
        !self.options.temporary_name || earlier.base != *path
    }

    /// Whether a file is surely not published, by what is found under its temporary name, where it does not have its
    /// final name too.
    pub(super) fn is_surely_unpublished(earlier: &Publishing, found: &TemporaryFile) -> bool {
        match found {
            TemporaryFile::Ready => true,
            // Every try is known to have been refused.
            TemporaryFile::Unknown => earlier.refused,
            TemporaryFile::Gone | TemporaryFile::Elsewhere | TemporaryFile::Damaged => false,
        }
    }

    /// Whether a file that has its temporary name has its final name too: some servers rename by giving a second name
    /// and then removing the first, and may be interrupted between the two. Both names then lead to one file, so its
    /// size, and its version or time, are told alike. Where neither version nor time is told, nothing shows that a file
    /// of that name is ours.
    ///
    /// # Errors
    /// Ambiguous: the server did not answer.
    pub(super) async fn has_final_name(&self, earlier: &Publishing) -> Result<bool> {
        let looks = (self.folder.stat(&earlier.temporary).await, self.folder.stat(&earlier.name).await);
        let (temporary, name) = match looks {
            (Ok(temporary), Ok(name)) => (temporary, name),
            (Err(error), _) | (_, Err(error))
                if error.kind() == ErrorKind::NotFound || is_not_shown(&error) =>
            {
                return Ok(false);
            }
            (Err(error), _) | (_, Err(error)) => return Err(error.retry_as(Retry::Ambiguous)),
        };
        let versions = temporary.version.zip(name.version).map(|(one, other)| one == other);
        let times = temporary.modified.zip(name.modified).map(|(one, other)| one == other);
        let is_alike = versions.or(times).is_some() && versions != Some(false) && times != Some(false);
        Ok(is_alike && temporary.size == name.size)
    }

    /// Ends a publication that was interrupted when the file had both names. The temporary one is removed.
    pub(super) async fn end_publication(&self, delivery: &Deliver, earlier: &Publishing) -> Result<Sent> {
        let parent = earlier.name.parent().unwrap_or_else(|| self.options.directory.clone());
        // The final name may not be durable yet, and the temporary one is removed.
        if let Err(error) = self.folder.sync_directory(&parent).await
            && error.kind() != ErrorKind::NotFound
        {
            return Err(error.retry_as(Retry::Ambiguous));
        }
        delivery.log.may_act()?;
        remove_temporary(&*self.folder, &earlier.temporary).await;
        self.remove_replaced(earlier).await;
        Ok(self.delivered(delivery, earlier))
    }

    /// Removes a written file that is to be written in another way. Answers its delivery where it was published after
    /// the look, by an act whose answer was lost.
    pub(super) async fn take_back(&self, delivery: &Deliver, earlier: &Publishing) -> Result<Option<Sent>> {
        // First the note: without it, nothing takes the file's absence for its publication.
        delivery.log.note(PUBLISHING, Value::Null).await?;
        match self.folder.remove(&earlier.temporary).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.remove_replaced(earlier).await;
                Ok(Some(self.delivered(delivery, earlier)))
            }
            Err(error) => {
                tracing::warn!(path = %earlier.temporary, error = %error.chain(), "temporary file not removed");
                Ok(None)
            }
            Ok(()) => {
                self.put_back_replaced(earlier).await;
                Ok(None)
            }
        }
    }

    /// Whether a file has a delivery's name, perhaps with a number.
    pub(super) fn has_name(name: &RemotePath, path: &RemotePath, limit: usize) -> bool {
        name == path
            || (2..=Overwrite::NUMBERS)
                .any(|number| path.with_file_name(&names::numbered(path.file_name(), number, limit)) == *name)
    }

    /// Removes an unfinished file of ours: its name is not wanted any more, or must be free for a whole file.
    ///
    /// # Errors
    /// Transient: it may still be there. Its note stays, so the next attempt removes it before it writes anything.
    pub(super) async fn remove_unfinished(&self, delivery: &Deliver, name: &RemotePath) -> Result<()> {
        delivery.log.may_act()?;
        match self.folder.remove(name).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                let failed =
                    Error::transient(error.kind(), "remove the unfinished file of an earlier attempt");
                Err(failed
                    .with("endpoint", &self.options.endpoint)
                    .with("path", name)
                    .advice(NOT_REMOVED)
                    .caused_by(error))
            }
            // What appears under that name from now on is somebody else's.
            _ => delivery.log.note(WRITING, Value::Null).await,
        }
    }

    /// Looks for what an attempt without temporary names left, now that there are some. Answers the delivery where the
    /// file has arrived.
    pub(super) async fn find_written_directly(&self, delivery: &Deliver) -> Result<Option<Sent>> {
        let Some(earlier) = self.noted_writing(delivery) else { return Ok(None) };
        match self.find_earlier_upload(delivery, earlier).await? {
            EarlierUpload::Delivered(writing) => self.written(delivery, &writing).map(Some),
            EarlierUpload::Ours(name) => self.remove_unfinished(delivery, &name).await.map(|()| None),
            // What has that name now, or gets it later, is somebody else's.
            EarlierUpload::Nothing => delivery.log.note(WRITING, Value::Null).await.map(|()| None),
            EarlierUpload::Unknown => Ok(None),
        }
    }
}
