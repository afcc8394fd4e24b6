//! Moving a file by copying it, where the place does not rename it: an archive on another file system, a server that
//! refuses to rename or cannot.
//!
//! Beside the target lie, one after the other, `.<name>.<offer>.copying`, which is unfinished and is written anew by the
//! next call, and `.<name>.<offer>.copied`, which is whole and verified: only when it is there the file is removed, and
//! then it gets its name. So a call that was cut off anywhere is simply made again, and no moment leaves less than one
//! whole file. Where nothing is renamed in the target's directory either, `copy_named` does it.

use super::compare::{Comparison, is_refusal};
use super::content::{Content, READING, Summing, Wholeness, fill};
use super::move_away::{Moved, NUMBER_LIMIT, beside, found, numbered};
use super::taken::{Likeness, Taken};
use super::{FolderSource, names};
use crate::folder::{Upload, Written};
use model::{Error, ErrorKind, Offer, RemotePath, Result};

/// The operation of the error where a file was copied and may not be removed.
const REMOVE_ORIGINAL: &str = "remove a file that was copied";

/// How copying ended.
enum Copied {
    /// It lies beside the target, whole.
    Whole,
    /// Whoever takes files there has it already.
    Fetched,
    /// The file changed meanwhile; nothing was left of the copy.
    Changed,
}

impl FolderSource {
    /// Moves a file that the place would not rename, and tells the refusal when it cannot be copied either.
    pub(super) async fn copy_away(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
        refused: Error,
    ) -> Result<Moved> {
        self.copy_over(offer, taken, target).await.map_err(|error| match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled => error,
            // These tell what was done, and what is missing.
            ErrorKind::IntegrityFailed => error,
            _ if error.operation() == REMOVE_ORIGINAL => error,
            _ => refused
                .with("copying it instead", error.chain())
                .advice("check that files may be written to the directory; if it is on another file system, the file is copied there and the original removed"),
        })
    }

    async fn copy_over(&self, offer: &Offer, taken: &Taken<'_>, target: &RemotePath) -> Result<Moved> {
        let copied = beside(offer, target, ".copied");
        if self.lying(taken, &copied).await?.is_none() {
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

    /// Goes on with what an earlier call copied, when the file itself is gone or replaced.
    pub(super) async fn finish_copy(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        let copied = beside(offer, target, ".copied");
        if self.lying(taken, &copied).await?.is_none() {
            let copying = beside(offer, target, ".copying");
            let Some(told) = self.lying(taken, &copying).await? else {
                return self.finish_named_copy(offer, taken, target).await;
            };
            match self.wholeness_of(taken, &copying, &told).await? {
                Wholeness::Whole => self.folder.rename(&copying, &copied).await?,
                Wholeness::Other => {
                    found(self.folder.remove(&copying).await)?;
                    return Ok(None);
                }
                // There are places whose files go when they are read: then this may be all that is left of it.
                Wholeness::Unknown => {
                    let name = names::wrapped(b"", target.file_name(), b".unverified");
                    let Some(kept) = self.name_copy(&copying, &target.with_file_name(&name)).await? else {
                        return Ok(None);
                    };
                    return Err(left_unverified(taken, &kept, told.size));
                }
            }
        }
        Ok(self.name_copy(&copied, target).await?.map(Moved::To))
    }

    /// Whether names beside the target can be given and taken away: tried with an empty file, so that no whole one is
    /// written in vain. What comes of it is the beginning of a copy.
    async fn renames_beside(&self, offer: &Offer, taken: &Taken<'_>, target: &RemotePath) -> Result<bool> {
        let copying = beside(offer, target, ".copying");
        if self.lying(taken, &copying).await?.is_some() {
            return Ok(true);
        }
        let trial = beside(offer, target, ".trial");
        self.folder.begin_write(&trial, Some(0)).await?.finish().await?;
        match self.folder.rename(&trial, &copying).await {
            Ok(()) => Ok(true),
            // Where files are taken as soon as they are closed, only their own names do.
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

    /// Writes what a file holds into another one. What was written stays when that fails: of a file that goes when it is
    /// read it is all that is left, and else the next call writes it anew.
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

    /// Verifies that all of the file was read, and that its copy holds what was read; false when the file itself changed
    /// meanwhile, so that the copy is of no use. Nothing is removed here.
    ///
    /// # Errors
    /// `IntegrityFailed`: either is not so, or not known.
    pub(super) async fn verify_copy(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        read: &Content,
        written: &Written,
    ) -> Result<bool> {
        let wholeness = taken.wholeness(read);
        let is_another = wholeness == Wholeness::Other && taken.expected_bytes() == Some(read.bytes);
        // What is read of a file that is replaced may be part of each: only a digest says that it is not.
        if is_another || taken.is_content(read) != Some(true) && self.is_replaced(taken).await? {
            return Ok(false);
        }
        if wholeness != Wholeness::Whole {
            return Err(read_early(taken, copy, read));
        }
        if written.gone {
            return Ok(true);
        }
        // The size that is stated may be wrong; what is read of the copy is not.
        let (is_equal, bytes) = match self.content(copy).await {
            Ok(there) => (there == *read, there.bytes),
            // Nobody may read there: every write was acknowledged, and the size shown has to do.
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
        // Gone is fine: there are places whose files go when they are read.
        Ok(matches!(self.compare_taken(taken).await?, Comparison::Different(_)))
    }

    /// Gives a copy the time of its original, where the place can: by it the copy is known again. What is set is not
    /// always what is told, so it is looked at.
    pub(super) async fn keep_time(&self, taken: &Taken<'_>, copy: &RemotePath) -> Result<()> {
        if !self.folder.capabilities().await?.set_modified {
            return Ok(());
        }
        for time in taken.times() {
            match self.folder.set_modified(copy, time).await {
                Ok(()) if self.likeness(taken, copy).await? == Likeness::Same => return Ok(()),
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

    /// Removes the file, of which a whole copy lies elsewhere.
    pub(super) async fn remove_original(&self, taken: &Taken<'_>, copy: &RemotePath) -> Result<()> {
        match self.compare_taken(taken).await? {
            Comparison::Same(_) | Comparison::Doubtful(_) => {}
            // Gone: an earlier call removed it. Another one: it is offered anew.
            Comparison::Missing | Comparison::Different(_) => return Ok(()),
        }
        match found(self.folder.remove(taken.path()).await) {
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

    /// Gives the copy its name, or one with a number; `None` when it is gone.
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

/// The file was not read whole, as far as is known.
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

/// The file is gone, and it is not known whether its copy is whole.
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
