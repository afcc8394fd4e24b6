//! Sending a file under its final name, also over several connections.
//!
//! The file goes on only where the server confirmed its bytes one by one (SFTP, local directories), and opens a file to go
//! on with it without creating one. An FTP server may create it: had the receiver taken the part meanwhile, a file without
//! its beginning would lie there under the final name, for the receiver to take as well.

use super::FolderDestination;
use super::copying::copy;
use super::direct::Writing;
use super::resume::{Broken, is_cut, with_count};
use crate::folder::Upload;
use crate::{Deliver, PayloadReader};
use model::{Error, ErrorKind, Result};

impl FolderDestination {
    /// Sends a payload to its file. The caller holds a lease for the buffers, and has noted that the file is ours.
    ///
    /// # Errors
    /// The file is not whole. It was removed where that was possible; else its note stays, and the next attempt writes
    /// it again.
    pub(super) async fn send_directly(
        &self,
        delivery: &Deliver,
        (mut reader, mut upload): (PayloadReader, Box<dyn Upload>),
        writing: &mut Writing,
    ) -> Result<Box<dyn Upload>> {
        let length = delivery.payload.length();
        let mut from = 0;
        loop {
            let copied = async {
                let copied = copy(reader, &mut *upload).await?;
                upload.flush().await?;
                Ok(copied)
            };
            let error = match copied.await {
                Ok(copied) if copied == length - from => return Ok(upload),
                Ok(copied) => Error::transient(ErrorKind::IntegrityFailed, "read a payload completely")
                    .with("payload", delivery.payload.id())
                    .with("expected bytes", length - from)
                    .with("read bytes", copied),
                Err(error) => error,
            };
            let acknowledged = upload.acknowledged();
            if acknowledged.is_none() || !is_cut(&error) {
                self.give_up(delivery, upload, writing).await;
                return Err(with_count(error, &writing.resumptions));
            }
            let is_left = upload.suspend().await;
            let broken = Broken { error, acknowledged, is_left };
            (from, upload) = match self.next(delivery, &writing.name, &broken, &writing.resumptions).await {
                Ok(Some(next)) => next,
                next => {
                    if let Err(error) = next {
                        tracing::info!(path = %writing.name, error = %error.chain(), "could not go on with a file whose connection broke");
                    }
                    self.remove_part(delivery, writing).await;
                    return Err(with_count(broken.error, &writing.resumptions));
                }
            };
            writing.connection = upload.connection();
            let resumption = self.resumption(&writing.name, &broken.error, from, writing.connection);
            writing.resumptions.push(resumption);
            reader = match delivery.payload.open(from..length).await {
                Ok(reader) => reader,
                Err(error) => {
                    self.give_up(delivery, upload, writing).await;
                    return Err(with_count(error, &writing.resumptions));
                }
            };
        }
    }

    /// Removes an incomplete file that was left to be gone on with, unless another node may have claimed the delivery.
    async fn remove_part(&self, delivery: &Deliver, writing: &Writing) {
        if delivery.log.may_act().is_ok()
            && let Err(error) = self.folder.remove(&writing.name).await
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!(path = %writing.name, error = %error.chain(), "unfinished file not removed; the next attempt writes it again");
        }
        self.note_if_gone(delivery, writing).await;
    }
}
