//! A file that has the name already: with `overwrite = "skip_same"` one with the same content counts as the delivery.

use super::receipt::Arrival;
use super::{FolderDestination, Overwrite, is_not_shown, known_sha256};
use crate::folder::{EntryKind, NotSet, READER_BUFFERS, SUM_CHUNK, sum};
use crate::{Deliver, Sent};
use model::{Error, ErrorKind, RemotePath, Result};

/// The text for a receipt.
const VERIFIED_BY: &str = "a file of this name with the same SHA-256 existed; it was read";

impl FolderDestination {
    /// The delivery, if the existing file of this name is the same; otherwise the error that there is one.
    pub(super) async fn same_or(&self, delivery: &Deliver, exists: Error) -> Result<Sent> {
        if self.options.overwrite != Overwrite::SkipSame {
            return Err(exists);
        }
        let path = self.path_of(delivery)?;
        let found = self.find_same(delivery, &path).await?;
        found.ok_or_else(|| {
            exists.with("the file there", "has other content, or cannot be read to compare it")
        })
    }

    /// The delivery, if a file with its name and its content exists; `None` if there is none, if it has other content,
    /// or if it cannot be read.
    ///
    /// # Errors
    /// The server did not answer.
    pub(super) async fn find_same(&self, delivery: &Deliver, path: &RemotePath) -> Result<Option<Sent>> {
        let (length, sha256) = (delivery.payload.length(), known_sha256(&*delivery.payload)?);
        let is_unusable = |error: &Error| error.kind() == ErrorKind::NotFound || is_not_shown(error);
        match self.folder.stat(path).await {
            Ok(entry) if entry.size.is_some_and(|size| size != length) => return Ok(None),
            Ok(entry) if matches!(entry.kind, EntryKind::File | EntryKind::Unknown) => {}
            Ok(_) => return Ok(None),
            Err(error) if is_unusable(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let _lease = self.services.budget.take(SUM_CHUNK + READER_BUFFERS).await;
        let read_back = async {
            let there = self.folder.read(path, 0).await?;
            sum(delivery.payload.read_back(Box::new(there))).await
        };
        match read_back.await {
            Ok(sum) if sum == (length, sha256) => {}
            Ok(_) => return Ok(None),
            Err(error) if is_unusable(&error) => {
                tracing::debug!(%path, error = %error.chain(), "a file that exists could not be read to compare it");
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        let verified_by = VERIFIED_BY.into();
        let arrival = Arrival {
            name: path,
            size: length,
            sha256,
            verified_by,
            connection: None,
            time: None,
            resumptions: &[],
            not_set: NotSet::default(),
        };
        Ok(Some(self.arrived(arrival, [("existed", true.into())])))
    }
}
