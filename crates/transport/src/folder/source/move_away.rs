//! Moving a file to another directory of its place, whatever is cut off: by renaming, and where that is refused by
//! copying.

use super::compare::{Comparison, Stat, is_refusal};
use super::taken::{Likeness, NumberedNames, Taken};
use super::{FolderSource, names};
use crate::folder::After;
use model::{Error, ErrorKind, Offer, OfferIdentity, RemotePath, Result};
use std::collections::VecDeque;

/// Most names tried for a file whose name is taken in the directory it is moved to.
pub(super) const NUMBER_LIMIT: u32 = 1_000;

/// Most files read to find the one that an earlier call moved.
const READ_LIMIT: usize = 8;

/// How a move ended.
pub(super) enum Moved {
    /// It lies there, by this call or an earlier one.
    To(RemotePath),
    /// Neither the file nor what an earlier call made of it is to be found.
    Gone,
    /// Something else lies at its path; left alone, or put back.
    Changed,
}

impl FolderSource {
    /// Moves the file to `target`, by way of a name beside it that is this offer's alone: whatever is cut
    /// off, the next call finds under that name what was moved, and whether it is what was taken.
    pub(super) async fn move_away(&self, offer: &Offer, target: &RemotePath) -> Result<Moved> {
        let taken = &self.taken(offer);
        let aside = beside(offer, target, ".moving");
        match self.compare_taken(taken).await? {
            Comparison::Same(_) | Comparison::Doubtful(_) => {}
            Comparison::Missing => return self.go_on(offer, taken, target, false).await,
            Comparison::Different(_) => return self.go_on(offer, taken, target, true).await,
        }
        match self.still_holds(taken).await? {
            Some(true) => {}
            Some(false) => return self.go_on(offer, taken, target, true).await,
            None => return self.go_on(offer, taken, target, false).await,
        }
        self.make_parent(target).await?;
        let mut renamed = self.rename_new(taken.path(), &aside).await;
        if matches!(&renamed, Err(error) if error.kind() == ErrorKind::NotFound) {
            // Either the file went, or somebody removed the directory since it was made.
            if self.lying(taken, taken.path()).await?.is_none() {
                return self.moved_before(taken, target).await;
            }
            self.forget_made();
            self.make_parent(target).await?;
            renamed = self.rename_new(taken.path(), &aside).await;
        }
        match renamed {
            // Whoever watches that directory may have been quick: then there is nothing to finish.
            Ok(()) => Ok(self.finish(taken, &aside, target).await?.unwrap_or(Moved::Gone)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // An earlier call got as far as that, so what lies at the source now is a new file.
                let moved = self.finish(taken, &aside, target).await?;
                // Where versions tell files apart it is still the old one: the folder copied it to another file
                // system, and was cut off before it removed it.
                if taken.identity.version.is_some() && matches!(moved, Some(Moved::To(_))) {
                    found(self.folder.remove(taken.path()).await)?;
                    return Ok(moved.unwrap_or(Moved::Gone));
                }
                Ok(Moved::Changed)
            }
            // Over the border of a file system, by an account that may not, on a server that cannot: SFTP has no code
            // for the first, and servers use any for the others.
            Err(error) if is_refusal(&error) => {
                // Done all the same, or taken by somebody meanwhile: then there is nothing to copy.
                if self.lying(taken, taken.path()).await?.is_none() {
                    return self.go_on(offer, taken, target, false).await;
                }
                self.copy_away(offer, taken, target, error).await
            }
            Err(error) => Err(error),
        }
    }

    /// The file is gone from its place, or another one is there: finishes what an earlier call began.
    async fn go_on(
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

    /// Looks at what was moved aside: the file that was taken gets its name, any other goes back to where
    /// it lay. `None` when nothing lies aside.
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

    /// Whether a name that is taken was taken by an earlier call for this very offer. Then what was moved
    /// is a new file, even where size and time cannot tell it from the one taken. Only a name with the
    /// offer's own time says so: any other may be of an older file that looked the same.
    async fn moved_by_earlier_call(&self, taken: &Taken<'_>, to: &RemotePath) -> Result<bool> {
        if !matches!(self.polling.after, After::Archive { timestamp: true, .. }) {
            return Ok(false);
        }
        Ok(self.is_taken_file(taken, to).await? == Some(true))
    }

    /// The file is gone from its place, and nothing lies aside: finds what an earlier call made of it.
    async fn moved_before(&self, taken: &Taken<'_>, target: &RemotePath) -> Result<Moved> {
        let mut of_its_size = VecDeque::new();
        let mut names = NumberedNames::of(target);
        // One that was gone when it was read was moved by no call.
        let most = if taken.was_gone { 0 } else { NUMBER_LIMIT };
        for number in 1..=most {
            let to = numbered(target, number);
            match self.likeness_of_name(taken, &mut names, &to).await? {
                Likeness::Nothing => break,
                Likeness::Same => return self.moved_to(taken, to).await,
                Likeness::OtherTime => of_its_size.push_back(to),
                Likeness::Other => {}
            }
            if of_its_size.len() > READ_LIMIT {
                of_its_size.pop_front();
            }
        }
        // The place does not keep times. The newest name is the likeliest.
        for to in of_its_size.into_iter().rev() {
            if self.has_its_content(taken, &to).await? == Some(true) {
                return self.moved_to(taken, to).await;
            }
        }
        self.went_before(taken.path()).await?;
        tracing::warn!(path = %taken.path(), target = %target, "the file to be moved no longer exists; somebody else moved or removed it");
        Ok(Moved::Gone)
    }

    async fn moved_to(&self, taken: &Taken<'_>, to: RemotePath) -> Result<Moved> {
        self.went_before(&to).await?;
        self.went_before(taken.path()).await?;
        Ok(Moved::To(to))
    }

    /// Puts a file that was not taken back to where it lay; where a still newer one has the name,
    /// beside it, where it is offered too.
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

    /// Renames without replacing; where the place cannot promise that, looks first.
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

/// A name beside the target that is this offer's alone.
pub(super) fn beside(offer: &Offer, target: &RemotePath, what: &str) -> RemotePath {
    let id = offer.id.uuid().simple().to_string();
    let tail = format!(".{}{what}", &id[id.len() - 12..]);
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

/// `None` for what is not there.
pub(super) fn found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
