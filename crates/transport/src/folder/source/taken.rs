//! Whether what lies at another path is the file that was taken.
//!
//! A move keeps size and time, so by these it is known again. There are places whose renames make a file a new one
//! (gateways to object stores), and copies that cannot be given their original's time: there the content tells, by the
//! digest of what was read, which the engine notes.

use super::FolderSource;
use super::compare::{Comparison, Metadata, Stat, noted_stat};
use super::content::Content;
use super::move_away::{NUMBER_LIMIT, found, numbered};
use crate::OfferNotes;
use futures::StreamExt;
use model::{ErrorKind, Offer, OfferIdentity, RemotePath, Result, Sha256};
use std::collections::{HashMap, HashSet};

/// The file that was taken: what the listing told of it, and what a look told when it was opened. Neither holds
/// the time of the system's last change: permissions may have been changed since.
pub(super) struct Taken<'a> {
    pub(super) identity: &'a OfferIdentity,
    pub(super) found: Metadata,
    pub(super) before: Stat,
    /// The bytes that were read of it, where the place states another size. After a move it may state this one.
    pub(super) read: Option<u64>,
    sha256: Option<Sha256>,
    /// Whether it was given up: then nobody may know its content.
    pub(super) is_refused: bool,
    /// Whether it was gone right after it was read: then no call moved it.
    pub(super) was_gone: bool,
}

/// How what lies at a path looks beside the file that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Likeness {
    /// Nothing lies there.
    Nothing,
    /// The same size and time.
    Same,
    /// The same size, and another time, or none.
    OtherTime,
    /// Something else.
    Other,
}

/// The names that a move to a target tries.
pub(super) struct NumberedNames<'a> {
    target: &'a RemotePath,
    /// What the directory tells of them, once it was listed.
    listed: Option<HashMap<Vec<u8>, Metadata>>,
}

impl<'a> NumberedNames<'a> {
    pub(super) fn of(target: &'a RemotePath) -> Self {
        Self { target, listed: None }
    }
}

impl<'a> Taken<'a> {
    fn of(offer: &'a Offer, ignore_times: bool) -> Self {
        let mut found = Metadata::when_found(&offer.identity, None);
        let before = match noted_stat(&offer.source_data, &found) {
            Stat::Found(told) if ignore_times => Stat::Found(told.untimed()),
            Stat::Found(told) => Stat::Found(told.lasting()),
            other => other,
        };
        if ignore_times {
            found = found.untimed();
        }
        let notes = OfferNotes::of(&offer.source_data);
        Self {
            identity: &offer.identity,
            found,
            before,
            read: notes.read_bytes,
            sha256: notes.sha256,
            is_refused: notes.cause.is_some(),
            was_gone: notes.gone,
        }
    }

    pub(super) fn path(&self) -> &RemotePath {
        &self.identity.path
    }

    /// What a look told of it when it was opened; else what the listing told.
    pub(super) fn looked(&self) -> &Metadata {
        match &self.before {
            Stat::Found(told) => told,
            Stat::Refused | Stat::Missing => &self.found,
        }
    }

    /// Whether size and path are all that is told of it, and its content is known: then that tells. What is refused was
    /// read otherwise each time: its last digest does not.
    fn needs_content(&self) -> bool {
        self.sha256.is_some()
            && !self.is_refused
            && self.found.modified.is_none()
            && self.looked().modified.is_none()
    }

    /// The times it was told with.
    pub(super) fn times(&self) -> impl Iterator<Item = model::Timestamp> {
        let looked = self.looked().modified.filter(|at| self.found.modified != Some(*at));
        self.found.modified.into_iter().chain(looked)
    }

    /// The place may state any of the sizes at another path that it stated, or that was read.
    fn likeness(&self, before: &Metadata, there: &Metadata) -> Likeness {
        let sizes = [self.found.size, self.read].into_iter().flatten();
        let each: Vec<Metadata> = sizes.map(|size| before.with_size(size)).chain([before.clone()]).collect();
        if each.iter().any(|told| told.is_moved_to(there)) {
            if self.needs_content() { Likeness::OtherTime } else { Likeness::Same }
        } else if each.iter().any(|told| told.may_be_moved_to(there)) {
            Likeness::OtherTime
        } else {
            Likeness::Other
        }
    }

    /// What the listing says where a look was not sure.
    fn likeness_by_listing(&self, by_look: Likeness, listed: Option<&Metadata>) -> Likeness {
        match listed.map_or(Likeness::Nothing, |listed| self.likeness(&self.found, listed)) {
            // A listing without times does not vouch for a look that tells another one.
            Likeness::Same if by_look == Likeness::OtherTime && self.found.modified.is_none() => {
                Likeness::OtherTime
            }
            likeness => likeness,
        }
    }

    /// Whether this is what was read of it; `None` where nobody noted that.
    pub(super) fn is_content(&self, content: &Content) -> Option<bool> {
        self.sha256.map(|sha256| sha256 == content.sha256)
    }
}

impl FolderSource {
    /// The file of an offer, as this flow goes by what is told of it.
    pub(super) fn taken<'a>(&self, offer: &'a Offer) -> Taken<'a> {
        Taken::of(offer, self.polling.ignore_times)
    }

    /// Whether the file that was taken still lies where it was found.
    pub(super) async fn compare_taken(&self, taken: &Taken<'_>) -> Result<Comparison> {
        self.compare(taken.identity, &taken.found, Some(&taken.before)).await
    }

    /// Whether the file is still the one that was read, where neither its place nor the flow goes by times: there a file that
    /// was overwritten with as many bytes looks the same. `None` when it is gone.
    ///
    /// # Errors
    /// It cannot be read, and broke off before at another place than it does now.
    pub(super) async fn still_holds(&self, taken: &Taken<'_>) -> Result<Option<bool>> {
        if !taken.needs_content() {
            return Ok(Some(true));
        }
        let (content, broken) = match self.content_or_part(taken.path()).await {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read?,
        };
        match (taken.is_content(&content), broken) {
            (Some(false), Some(error)) => Err(error),
            (is_content, _) => Ok(Some(is_content.unwrap_or(true))),
        }
    }

    /// What lies at a path. Where a look is refused, or shows nothing of what listings show, the listing tells.
    pub(super) async fn lying(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<Metadata>> {
        match self.stat(path).await? {
            Stat::Found(told) => Ok(Some(told)),
            Stat::Missing if matches!(taken.before, Stat::Found(_)) => Ok(None),
            Stat::Missing | Stat::Refused => self.list_again(path).await,
        }
    }

    /// Compares what lies at a path with the file that was taken: a move may give it another version.
    pub(super) async fn likeness(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Likeness> {
        match self.likeness_by_look(taken, path).await? {
            (likeness, true) => Ok(likeness),
            (likeness, false) => {
                let listed = self.list_again(path).await?;
                Ok(taken.likeness_by_listing(likeness, listed.as_ref()))
            }
        }
    }

    /// The same of the numbered names of a target, which is asked for in their order: their directory is listed once.
    pub(super) async fn likeness_of_name(
        &self,
        taken: &Taken<'_>,
        names: &mut NumberedNames<'_>,
        path: &RemotePath,
    ) -> Result<Likeness> {
        let (likeness, is_sure) = self.likeness_by_look(taken, path).await?;
        if is_sure {
            return Ok(likeness);
        }
        let listed = match &mut names.listed {
            Some(listed) => listed,
            none => none.insert(self.list_numbered(names.target).await?),
        };
        Ok(taken.likeness_by_listing(likeness, listed.get(path.file_name())))
    }

    /// What a look says, and whether the listing has nothing to add.
    async fn likeness_by_look(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<(Likeness, bool)> {
        Ok(match self.stat(path).await? {
            Stat::Missing => (Likeness::Nothing, matches!(taken.before, Stat::Found(_))),
            Stat::Refused => (Likeness::Nothing, false),
            Stat::Found(told) => {
                let likeness = taken.likeness(taken.looked(), &told);
                // Some servers tell another time at each look; the listing may not.
                (likeness, likeness != Likeness::OtherTime || taken.needs_content())
            }
        })
    }

    /// What the directory of a target tells of the target and its numbered names, by name.
    async fn list_numbered(&self, target: &RemotePath) -> Result<HashMap<Vec<u8>, Metadata>> {
        let names = (1..=NUMBER_LIMIT).map(|number| numbered(target, number).file_name().to_vec());
        let names: HashSet<Vec<u8>> = names.collect();
        let mut told = HashMap::new();
        let Some(mut listing) = found(self.folder.list(&target.parent().unwrap_or_default()).await)? else {
            return Ok(told);
        };
        while let Some(entry) = listing.next().await.transpose()? {
            if let Some(name) = names.get(entry.path.as_bytes()) {
                told.insert(name.clone(), self.metadata(&entry));
            }
        }
        Ok(told)
    }

    /// Whether what lies at a path, where it was moved to, is the file that was taken; `None` when nothing lies there.
    pub(super) async fn is_taken_file(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<bool>> {
        match self.likeness(taken, path).await? {
            Likeness::Nothing => Ok(None),
            Likeness::Same => Ok(Some(true)),
            Likeness::Other => Ok(Some(false)),
            Likeness::OtherTime => self.has_its_content(taken, path).await,
        }
    }

    /// Whether a file of the same size and another time holds what was taken. Of one that was given up nobody noted
    /// what it holds: there it has to do that it is newer, as what is copied or made anew is.
    pub(super) async fn has_its_content(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<bool>> {
        if taken.sha256.is_none() {
            let told = self.lying(taken, path).await?;
            let is_newer = told.as_ref().map(|told| taken.is_refused && told.modified > taken.found.modified);
            return Ok(is_newer);
        }
        match self.content_or_part(path).await {
            // Where reading breaks off at the same place as before, it is as much as was taken.
            Ok((content, broken)) => match (taken.is_content(&content), broken) {
                (Some(false), Some(error)) => Err(error),
                (is_content, _) => Ok(is_content),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // Where files can be put and not read, its size has to do, unless a time contradicts it.
            Err(error) if super::compare::is_refusal(&error) => Ok(Some(taken.needs_content())),
            Err(error) => Err(error),
        }
    }
}
