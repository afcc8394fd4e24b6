//! Moving a file by copying it, if the server does not rename it: an archive on another file system, or a server that
//! refuses to rename.
//!
//! Two files are created one after the other beside the target: `.<name>.<offer>.copying.a`, which is incomplete and is
//! written again by the next call, and `.<name>.<offer>.copied.a`, which is complete and verified. Only when the second
//! exists, the original is removed; then the copy gets its final name. So an interrupted call can always be repeated,
//! and there is always at least one complete file. If the server does not rename in the target directory either,
//! `copy_named` does the copy.

use super::FolderSource;
use super::compare::{Comparison, is_refusal};
use super::content::{Content, READING, Summing, Wholeness};
use super::move_away::{Moved, NUMBER_LIMIT, beside, found, numbered};
use super::settle::version_to_remove;
use super::taken::{Match, Taken};
use crate::folder::names;
use crate::folder::sum::fill;
use crate::folder::{Upload, Written};
use model::{Error, ErrorKind, Offer, RemotePath, Result};

/// The operation of the error if a file was copied but may not be removed.
const REMOVE_ORIGINAL: &str = "remove a file that was copied";

/// The result of copying.
enum Copied {
    /// The complete copy is beside the target.
    Whole,
    /// Another program has already collected the copy.
    Fetched,
    /// The file changed during the copy; the copy was removed.
    Changed,
}

impl FolderSource {
    /// Moves a file that the server did not rename. If it cannot be copied either, returns the error of the rename.
    pub(super) async fn copy_away(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
        refused: Error,
    ) -> Result<Moved> {
        self.copy_over(offer, taken, target).await.map_err(|error| match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled | ErrorKind::Busy => error,
            // These errors already say what was done and what is missing.
            ErrorKind::IntegrityFailed => error,
            _ if error.operation() == REMOVE_ORIGINAL => error,
            _ => refused
                .with("copying it instead", error.chain())
                .advice("check that files may be written to the directory; if it is on another file system, the file is copied there and the original removed"),
        })
    }

    async fn copy_over(&self, offer: &Offer, taken: &Taken<'_>, target: &RemotePath) -> Result<Moved> {
        let copied = beside(offer, target, ".copied");
        if self.stat_or_list(taken, &copied).await?.is_none() {
            if !self.renames_beside(offer, taken, target).await? {
                return self.copy_under_name(offer, taken, target).await;
            }
            match self.copy(offer, taken, target, &copied).await? {
                Copied::Whole => {}
                Copied::Fetched => {
                    return self.remove_original(taken, &copied).await.map(|()| Moved::Gone);
                }
                Copied::Changed => return Ok(Moved::Changed),
            }
            tracing::info!(path = %taken.path(), target = %target, "the server does not rename this file into its directory: it was copied");
        }
        self.remove_original(taken, &copied).await?;
        match self.name_copy(&copied, target).await? {
            Some(path) => Ok(Moved::To(path)),
            None => Ok(Moved::Gone),
        }
    }

    /// Continues with the copy of an earlier call, if the file itself no longer exists or was replaced.
    pub(super) async fn finish_copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        let copied = beside(offer, target, ".copied");
        if self.stat_or_list(taken, &copied).await?.is_none() {
            let copying = beside(offer, target, ".copying");
            let Some(metadata) = self.stat_or_list(taken, &copying).await? else {
                return self.finish_named_copy(offer, taken, target).await;
            };
            match self.wholeness_of(taken, &copying, &metadata).await? {
                Wholeness::Whole => self.folder.rename(&copying, &copied).await?,
                Wholeness::Other => {
                    found(self.folder.remove(&copying).await)?;
                    return Ok(None);
                }
                // Some servers remove a file when it is read. Then this copy may be the only one.
                Wholeness::Unknown => {
                    let name = names::wrapped(b"", target.file_name(), b".unverified");
                    let Some(kept) = self.name_copy(&copying, &target.with_file_name(&name)).await? else {
                        return Ok(None);
                    };
                    return Err(left_unverified(taken, &kept, metadata.size));
                }
            }
        }
        Ok(self.name_copy(&copied, target).await?.map(Moved::To))
    }

    /// Whether files beside the target can be renamed. Tested with an empty file, so that no complete copy is written
    /// in vain. The renamed test file becomes the beginning of the copy.
    async fn renames_beside(&self, offer: &Offer, taken: &Taken<'_>, target: &RemotePath) -> Result<bool> {
        let copying = beside(offer, target, ".copying");
        if self.stat_or_list(taken, &copying).await?.is_some() {
            return Ok(true);
        }
        let trial = beside(offer, target, ".trial");
        self.folder.begin_write(&trial, Some(0)).await?.finish().await?;
        match self.folder.rename(&trial, &copying).await {
            Ok(()) => Ok(true),
            // The server collects files as soon as they are closed: then only their final names can be used.
            Err(error) if is_refusal(&error) || error.kind() == ErrorKind::NotFound => {
                found(self.folder.remove(&trial).await)?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Copies and verifies.
    async fn copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
        copied: &RemotePath,
    ) -> Result<Copied> {
        let copying = beside(offer, target, ".copying");
        let upload = self.folder.begin_write(&copying, offer.identity.size).await?;
        let (read, written) = self.copy_bytes(taken.path(), upload).await?;
        if !self.verify_copy(taken, &copying, &read, &written).await? {
            found(self.folder.remove(&copying).await)?;
            return Ok(Copied::Changed);
        }
        if written.gone {
            return Ok(Copied::Fetched);
        }
        self.keep_time(taken, &copying).await?;
        self.folder.rename(&copying, copied).await.map(|()| Copied::Whole)
    }

    /// Copies the content of a file into an upload. If that fails, what was written stays: if the server removed the
    /// file when it was read, it is the only copy; otherwise the next call writes it again.
    pub(super) async fn copy_bytes(
        &self,
        from: &RemotePath,
        mut upload: Box<dyn Upload>,
    ) -> Result<(Content, Written)> {
        let _lease = self.services.budget.take(READING).await;
        let mut reader = self.folder.read(from, 0).await?;
        let mut read = Summing::new();
        loop {
            let chunk = fill(&mut reader).await?;
            if chunk.is_empty() {
                break;
            }
            read.add(&chunk);
            upload.write(chunk.freeze()).await?;
        }
        Ok((read.content(), upload.finish().await?))
    }

    /// Verifies that the file was read completely, and that the copy has the same content. False if the file itself
    /// changed in the meantime, so that the copy is useless. Removes nothing.
    ///
    /// # Errors
    /// `IntegrityFailed`: one of them is not true, or not known.
    pub(super) async fn verify_copy(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        read: &Content,
        written: &Written,
    ) -> Result<bool> {
        let wholeness = taken.wholeness(read);
        let is_another = wholeness == Wholeness::Other && taken.expected_bytes() == Some(read.bytes);
        // A file that is replaced while it is read may give bytes of both files: only a digest can exclude that.
        if is_another || taken.is_content(read) != Some(true) && self.is_replaced(taken).await? {
            return Ok(false);
        }
        if wholeness != Wholeness::Whole {
            return Err(read_early(taken, copy, read));
        }
        if written.gone {
            return Ok(true);
        }
        // The reported size may be wrong; the content that was read is not.
        let (is_equal, bytes) = match self.content(copy).await {
            Ok(there) => (there == *read, there.bytes),
            // Reading is not allowed there. Every write was acknowledged, so the reported size must be enough.
            Err(error) if is_refusal(&error) => {
                let bytes = written.size.unwrap_or(read.bytes);
                (bytes == read.bytes, bytes)
            }
            Err(error) => return Err(error),
        };
        if is_equal {
            return Ok(true);
        }
        Err(Error::transient(ErrorKind::IntegrityFailed, "copy a file completely")
            .with("path", taken.path())
            .with("copy", copy)
            .with("read bytes", read.bytes)
            .with("bytes of the copy", bytes)
            .advice("check whether a disk or quota is full where the copy is; the original was not removed and will be copied again"))
    }

    async fn is_replaced(&self, taken: &Taken<'_>) -> Result<bool> {
        // A missing file is not replaced: some servers remove a file when it is read.
        Ok(matches!(self.compare_with_taken(taken).await?, Comparison::Different(_)))
    }

    /// Sets the copy's time to the original's, where the server can, so that the next call recognises the copy. The
    /// server may report another time than was set, so this is checked.
    pub(super) async fn keep_time(&self, taken: &Taken<'_>, copy: &RemotePath) -> Result<()> {
        if !self.folder.capabilities().await?.set_modified {
            return Ok(());
        }
        for time in taken.times() {
            match self.folder.set_modified(copy, time).await {
                Ok(()) if self.match_at(taken, copy).await? == Match::Same => return Ok(()),
                Ok(()) => {}
                Err(error) if is_refusal(&error) || error.kind() == ErrorKind::NotFound => {
                    tracing::debug!(path = %copy, error = %error.chain(), "the server does not set the time of a copy");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes the original, of which a complete copy exists.
    pub(super) async fn remove_original(&self, taken: &Taken<'_>, copy: &RemotePath) -> Result<()> {
        let compared = self.compare_with_taken(taken).await?;
        match &compared {
            Comparison::Same(_) | Comparison::Doubtful(_) => {}
            // Missing: an earlier call removed it. Different: the new file will be offered.
            Comparison::Missing | Comparison::Different(_) => return Ok(()),
        }
        // One that was replaced after it was compared stays, and will be offered.
        let version = version_to_remove(taken, &compared);
        match found(self.folder.remove_version(taken.path(), version).await) {
            Err(error) if is_refusal(&error) => {
                Err(Error::new(error.kind(), error.retry(), REMOVE_ORIGINAL)
                    .with("path", taken.path())
                    .with("copy", copy)
                    .advice("the copy is complete, but the original cannot be removed: ask the server's operator for the right to delete it, or set after = \"keep\" on the flow and remove its error_directory")
                    .caused_by(error))
            }
            removed => removed.map(drop),
        }
    }

    /// Gives the copy its final name, with a number if that name exists; `None` if the copy no longer exists.
    async fn name_copy(&self, copied: &RemotePath, target: &RemotePath) -> Result<Option<RemotePath>> {
        for number in 1..=NUMBER_LIMIT {
            let to = numbered(target, number);
            match self.rename_new(copied, &to).await {
                Ok(()) => return Ok(Some(to)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(super::move_away::no_free_name(target))
    }
}

/// The error if it is not certain that the file was read completely.
pub(super) fn read_early(taken: &Taken<'_>, copy: &RemotePath, read: &Content) -> Error {
    let error = Error::transient(ErrorKind::IntegrityFailed, "verify that a file was read completely")
        .with("path", taken.path())
        .with("copy", copy)
        .with("read bytes", read.bytes);
    let error = match taken.expected_bytes() {
        Some(expected) => error.with("expected bytes", expected),
        None => error.with("expected bytes", "not known"),
    };
    error.advice("the original was not removed, because its copy may be incomplete: read it by other means, and move it by hand")
}

/// The error if the file no longer exists, and it is not known whether its copy is complete.
pub(super) fn left_unverified(taken: &Taken<'_>, copy: &RemotePath, size: Option<u64>) -> Error {
    let error = Error::transient(ErrorKind::IntegrityFailed, "verify a copy whose original no longer exists")
        .with("path", taken.path())
        .with("copy", copy);
    let error = match size {
        Some(size) => error.with("bytes of the copy", size),
        None => error,
    };
    error.advice("this copy may be the only one left of the file, and may be incomplete: check it, and keep or remove it by hand")
}
