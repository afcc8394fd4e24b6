//! Moving a file by copying it, where the place does not rename it: an archive on another file system, a server that
//! refuses to rename or cannot.
//!
//! Beside the target lie, one after the other, `.<name>.<offer>.copying`, which is unfinished and is written anew by the
//! next call, and `.<name>.<offer>.copied`, which is whole and verified: only when it is there the file is removed, and
//! then it gets its name. So a call that was cut off anywhere is simply made again, and no moment leaves less than one
//! whole file. Where nothing is renamed in the target's directory either, `copy_named` does it.

use super::FolderSource;
use super::compare::{Presence, is_refusal};
use super::content::{Content, READING, Summing, fill};
use super::move_away::{Moved, NUMBER_LIMIT, beside, found, numbered};
use super::taken::{Likeness, Taken};
use crate::folder::{Upload, Written};
use model::{Error, ErrorKind, Offer, RemotePath, Result};

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
            _ => refused
                .with("copying it instead", error.chain())
                .advice("see that the directory takes files; is it on another file system, it is copied there and the original removed"),
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
                Copied::Fetched => return self.remove_original(taken).await.map(|()| Moved::Gone),
                Copied::Changed => return Ok(Moved::Changed),
            }
            tracing::info!(path = %taken.path(), target = %target, "the place does not rename this file to its directory: it was copied");
        }
        self.remove_original(taken).await?;
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
        replaced: bool,
    ) -> Result<Option<Moved>> {
        let copied = beside(offer, target, ".copied");
        if self.lying(taken, &copied).await?.is_none() {
            let copying = beside(offer, target, ".copying");
            let Some(unfinished) = self.lying(taken, &copying).await? else {
                return self.finish_named_copy(offer, taken, target).await;
            };
            // There are places whose files go when they are read: then this may be all that is left of it.
            if replaced || unfinished.size.is_none() || unfinished.size != offer.identity.size {
                found(self.folder.remove(&copying).await)?;
                return Ok(None);
            }
            self.folder.rename(&copying, &copied).await?;
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
        let (read, written) = self.pour(taken.path(), upload).await?;
        if written.gone {
            return Ok(Copied::Fetched);
        }
        if !self.is_whole(taken, &copying, &read, &written).await? {
            return Ok(Copied::Changed);
        }
        self.keep_time(taken, &copying).await?;
        match self.folder.rename(&copying, copied).await {
            Ok(()) => Ok(Copied::Whole),
            Err(error) => {
                let _ = self.folder.remove(&copying).await;
                Err(error)
            }
        }
    }

    /// Writes what a file holds into another one.
    pub(super) async fn pour(
        &self,
        from: &RemotePath,
        mut upload: Box<dyn Upload>,
    ) -> Result<(Content, Written)> {
        let _lease = self.services.budget.take(READING).await;
        let poured = async {
            let mut reader = self.folder.read(from, 0).await?;
            let mut read = Summing::new();
            loop {
                let chunk = fill(&mut reader).await?;
                if chunk.is_empty() {
                    return Ok(read.content());
                }
                read.add(&chunk);
                upload.write(chunk.freeze()).await?;
            }
        };
        match poured.await {
            Ok(read) => Ok((read, upload.finish().await?)),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    /// Verifies a copy by reading it; false, and the copy removed, when the file itself changed meanwhile.
    ///
    /// # Errors
    /// It is not whole: it was removed.
    pub(super) async fn is_whole(
        &self,
        taken: &Taken<'_>,
        copy: &RemotePath,
        read: &Content,
        written: &Written,
    ) -> Result<bool> {
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
        if !is_equal {
            found(self.folder.remove(copy).await)?;
            return Err(Error::transient(ErrorKind::IntegrityFailed, "copy a file whole")
                .with("path", taken.path())
                .with("copy", copy)
                .with("read bytes", read.bytes)
                .with("bytes of the copy", bytes));
        }
        // Gone is fine: there are places whose files go when they are read.
        if matches!(self.presence_of(taken).await?, Presence::Different(_)) {
            found(self.folder.remove(copy).await)?;
            return Ok(false);
        }
        Ok(true)
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
                    tracing::debug!(path = %copy, error = %error.chain(), "the place does not set the time of a copy");
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes the file, of which a whole copy lies elsewhere.
    pub(super) async fn remove_original(&self, taken: &Taken<'_>) -> Result<()> {
        match self.presence_of(taken).await? {
            Presence::Same(_) | Presence::Doubtful(_) => {
                found(self.folder.remove(taken.path()).await).map(drop)
            }
            // Gone: an earlier call removed it. Another one: it is offered anew.
            Presence::Missing | Presence::Different(_) => Ok(()),
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
