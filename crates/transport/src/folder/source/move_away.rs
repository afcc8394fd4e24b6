//! Moving a file to another directory on its server so that any interruption is safe: by renaming, or by copying if
//! renaming is refused.

use super::FolderSource;
use super::compare::{Comparison, Stat, is_refusal};
use super::taken::{Match, NumberedNames, Taken};
use crate::folder::After;
use crate::folder::names;
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result};
use std::collections::VecDeque;

/// The highest number that is tried if the name exists in the target directory.
pub(in crate::folder) const NUMBER_LIMIT: u32 = 1_000;

/// The most files that are read to find the one that an earlier call moved.
const READ_LIMIT: usize = 8;

/// The result of a move.
pub(super) enum Moved {
    /// The file has this path now, by this call or an earlier one.
    To(RemotePath),
    /// Neither the file nor a result of an earlier call was found.
    Gone,
    /// Another file has its path. It was not touched, or was put back.
    Changed,
}

impl FolderSource {
    /// Moves the file to `target`. It is first renamed to a name beside the target that only this offer uses: after
    /// an interruption, the next call finds the moved file under that name and checks whether it is the file that was
    /// read.
    pub(super) async fn move_away(&self, offer: &Offer, target: &RemotePath) -> Result<Moved> {
        let taken = &self.taken(offer);
        let aside = beside(offer, target, ".moving");
        match self.compare_with_taken(taken).await? {
            Comparison::Same(_) | Comparison::Doubtful(_) => {}
            Comparison::Missing => return self.resume(offer, taken, target, false).await,
            Comparison::Different(_) => return self.resume(offer, taken, target, true).await,
        }
        match self.has_same_content(taken).await? {
            Some(true) => {}
            Some(false) => return self.resume(offer, taken, target, true).await,
            None => return self.resume(offer, taken, target, false).await,
        }
        self.make_parent(target).await?;
        let mut renamed = self.rename_new(taken.path(), &aside).await;
        if matches!(&renamed, Err(error) if error.kind() == ErrorKind::NotFound) {
            // Either the file no longer exists, or somebody removed the target directory after it was created.
            if self.stat_or_list(taken, taken.path()).await?.is_none() {
                return self.moved_before(taken, target).await;
            }
            self.forget_made();
            self.make_parent(target).await?;
            renamed = self.rename_new(taken.path(), &aside).await;
        }
        match renamed {
            // A program that watches that directory may already have taken the file: then there is nothing to finish.
            Ok(()) => Ok(self.finish(taken, &aside, target).await?.unwrap_or(Moved::Gone)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // An earlier call has already renamed the file, so the file at the source is a new one.
                let moved = self.finish(taken, &aside, target).await?;
                // With a version, it is known to be the old file: the folder copied it to another file system and was
                // interrupted before it removed it.
                if taken.identity.version.is_some() && matches!(moved, Some(Moved::To(_))) {
                    found(self.folder.remove(taken.path()).await)?;
                    return Ok(moved.unwrap_or(Moved::Gone));
                }
                Ok(Moved::Changed)
            }
            // The target is on another file system, the account lacks the right, or the server cannot rename. SFTP
            // has no code for the first, and servers use any code for the others.
            Err(error) if is_refusal(&error) => {
                // The rename took effect anyway, or somebody took the file in the meantime: then there is nothing to
                // copy.
                if self.stat_or_list(taken, taken.path()).await?.is_none() {
                    return self.resume(offer, taken, target, false).await;
                }
                self.copy_away(offer, taken, target, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// Called if the file no longer exists or was replaced: finishes what an earlier call began.
    async fn resume(
        &self,
        offer: &Offer,
        taken: &Taken<'_>,
        target: &RemotePath,
        replaced: bool,
    ) -> Result<Moved> {
        if let Some(moved) = self.finish(taken, &beside(offer, target, ".moving"), target).await? {
            return Ok(moved);
        }
        if let Some(moved) = self.finish_copy(offer, taken, target).await? {
            return Ok(moved);
        }
        if replaced { Ok(Moved::Changed) } else { self.moved_before(taken, target).await }
    }

    /// Checks the file that was moved aside: if it is the one that was read, it gets its final name; any other file
    /// is put back. `None` if there is no file aside.
    async fn finish(
        &self,
        taken: &Taken<'_>,
        aside: &RemotePath,
        target: &RemotePath,
    ) -> Result<Option<Moved>> {
        match self.is_taken_file(taken, aside).await? {
            None => return Ok(None),
            Some(true) => {}
            Some(false) => return self.put_back(taken.identity, aside).await.map(Some),
        }
        for number in 1..=NUMBER_LIMIT {
            let to = numbered(target, number);
            match self.rename_new(aside, &to).await {
                Ok(()) => return Ok(Some(Moved::To(to))),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    if self.moved_by_earlier_call(taken, &to).await? {
                        return self.put_back(taken.identity, aside).await.map(Some);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(no_free_name(target).with("path", taken.path()))
    }

    /// Whether the file that has this name was put there by an earlier call for this same offer. Then the file that
    /// was moved now is a new one, even if size and time are the same. Only a name with the offer's own time proves
    /// it; any other name may belong to an older file with the same size and time.
    async fn moved_by_earlier_call(&self, taken: &Taken<'_>, to: &RemotePath) -> Result<bool> {
        if !matches!(self.polling.after, After::Archive { timestamp: true, .. }) {
            return Ok(false);
        }
        Ok(self.is_taken_file(taken, to).await? == Some(true))
    }

    /// Called if the file no longer exists and there is no file aside: finds the result of an earlier call.
    async fn moved_before(&self, taken: &Taken<'_>, target: &RemotePath) -> Result<Moved> {
        let mut of_its_size = VecDeque::new();
        let mut names = NumberedNames::of(target);
        // If the file had disappeared when it was read, no call has moved it.
        let most = if taken.was_gone { 0 } else { NUMBER_LIMIT };
        for number in 1..=most {
            let to = numbered(target, number);
            match self.match_numbered_name(taken, &mut names, &to).await? {
                Match::Missing => break,
                Match::Same => return self.moved_to(taken, to).await,
                Match::OtherTime => of_its_size.push_back(to),
                Match::Other => {}
            }
            if of_its_size.len() > READ_LIMIT {
                of_its_size.pop_front();
            }
        }
        // The server does not keep times. The newest name is the most likely.
        for to in of_its_size.into_iter().rev() {
            if self.copy_has_content(taken, &to).await? == Some(true) {
                return self.moved_to(taken, to).await;
            }
        }
        self.sync_parent(taken.path()).await?;
        tracing::warn!(path = %taken.path(), target = %target, "the file to be moved no longer exists; somebody else moved or removed it");
        Ok(Moved::Gone)
    }

    async fn moved_to(&self, taken: &Taken<'_>, to: RemotePath) -> Result<Moved> {
        self.sync_parent(&to).await?;
        self.sync_parent(taken.path()).await?;
        Ok(Moved::To(to))
    }

    /// Puts back a file that is not the one that was read. If its path is in use again, it gets a name with a number,
    /// and is offered too.
    async fn put_back(&self, identity: &OfferIdentity, aside: &RemotePath) -> Result<Moved> {
        for number in 1..=NUMBER_LIMIT {
            let back = numbered(&identity.path, number);
            match self.rename_new(aside, &back).await {
                Ok(()) => {
                    tracing::warn!(path = %identity.path, back = %back, "the file had been replaced before it was moved; the new file was put back");
                    return Ok(Moved::Changed);
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::transient(ErrorKind::AlreadyExists, "put back a new file that was moved by mistake")
            .with("path", &identity.path)
            .with("now at", aside))
    }

    /// Renames without replacing. If the server cannot guarantee that, checks first whether the target exists.
    pub(super) async fn rename_new(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let guarded = self.folder.capabilities().await?.rename_no_replace;
        if !guarded {
            let is_taken = match self.stat(to).await? {
                Stat::Found(_) => true,
                Stat::Missing => false,
                Stat::Refused => self.list_again(to).await?.is_some(),
            };
            if is_taken {
                return Err(Error::permanent(ErrorKind::AlreadyExists, "move a file").with("path", to));
            }
        }
        self.folder.rename(from, to).await
    }
}

/// A name beside the target that only this offer uses.
pub(super) fn beside(offer: &Offer, target: &RemotePath, what: &str) -> RemotePath {
    let id = offer.id.uuid().simple().to_string();
    let tail = format!(".{}{what}{}", &id[id.len() - 12..], names::TEMPORARY);
    target.with_file_name(&names::wrapped(b".", target.file_name(), tail.as_bytes()))
}

/// The path with a number in its name; number 1 is the path itself.
pub(super) fn numbered(path: &RemotePath, number: u32) -> RemotePath {
    path.with_file_name(&names::numbered(path.file_name(), number, names::NAME_LIMIT))
}

pub(super) fn no_free_name(target: &RemotePath) -> Error {
    Error::transient(ErrorKind::AlreadyExists, "find a free name for a moved file")
        .with("target", target)
        .advice("remove files with the same name from the directory")
}

/// `None` if the error is `NotFound`.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
