//! What an earlier attempt left that wrote in another way: a person corrected the destination's options and retried the
//! delivery.
//!
//! What may have arrived still counts as it did. What surely has not is removed, and written in the way that is asked for
//! now: else it would get the name that was corrected, or fail again for the reason that was.

use super::direct::EarlierUpload;
use super::publish::TemporaryFile;
use super::{FolderDestination, Overwrite, PUBLISHING, Publishing, WRITING, names};
use crate::{Deliver, Sent};
use model::{ErrorKind, RemotePath, Result};
use serde_json::Value;

impl FolderDestination {
    /// Whether a written file that was to be published goes to another name now, or is written in another way.
    pub(super) fn is_corrected(&self, earlier: &Publishing, path: &RemotePath) -> bool {
        !self.options.temporary_name || earlier.base != *path
    }

    /// Whether a file is surely not published, by what is found under its temporary name.
    pub(super) fn is_surely_unpublished(
        delivery: &Deliver,
        earlier: &Publishing,
        found: &TemporaryFile,
    ) -> bool {
        match found {
            TemporaryFile::Ready => true,
            // Every try is known to have been refused.
            TemporaryFile::Unknown => earlier.refused && !delivery.interrupted,
            TemporaryFile::Gone | TemporaryFile::Elsewhere | TemporaryFile::Damaged => false,
        }
    }

    /// Removes a written file that is to be written in another way. Answers its delivery where it was published after
    /// the look, by an act whose answer was lost.
    pub(super) async fn take_back(&self, delivery: &Deliver, earlier: &Publishing) -> Result<Option<Sent>> {
        // First the note: without it, nothing takes the file's absence for its publication.
        delivery.log.note(PUBLISHING, Value::Null).await?;
        match self.folder.remove(&earlier.temporary).await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(self.delivered(delivery, earlier))),
            Err(error) => {
                tracing::warn!(path = %earlier.temporary, error = %error.chain(), "temporary file not removed");
                Ok(None)
            }
            Ok(()) => Ok(None),
        }
    }

    /// Whether a file has a delivery's name, perhaps with a number.
    pub(super) fn has_name(name: &RemotePath, path: &RemotePath, limit: usize) -> bool {
        name == path
            || (2..=Overwrite::NUMBERS)
                .any(|number| path.with_file_name(&names::numbered(path.file_name(), number, limit)) == *name)
    }

    /// Removes an unfinished file of ours that has a name which is not wanted any more.
    pub(super) async fn remove_unfinished(&self, delivery: &Deliver, name: &RemotePath) -> Result<()> {
        delivery.log.may_act()?;
        match self.folder.remove(name).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(path = %name, error = %error.chain(), "an unfinished file was not removed");
            }
            _ => {}
        }
        // What appears under that name from now on is somebody else's.
        delivery.log.note(WRITING, Value::Null).await
    }

    /// Looks for what an attempt without temporary names left, now that there are some. Answers the delivery where the
    /// file has arrived.
    pub(super) async fn find_written_directly(&self, delivery: &Deliver) -> Result<Option<Sent>> {
        let Some(earlier) = self.noted_writing(delivery) else { return Ok(None) };
        match self.find_earlier_upload(delivery, earlier).await? {
            EarlierUpload::Delivered(writing) => Ok(Some(self.written(delivery, &writing))),
            EarlierUpload::Ours(name) => self.remove_unfinished(delivery, &name).await.map(|()| None),
            EarlierUpload::Nothing | EarlierUpload::Unknown => Ok(None),
        }
    }
}
