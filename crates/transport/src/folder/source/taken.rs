//! Whether what lies at another path is the file that was taken.
//!
//! A move keeps size and time, so by these it is known again. There are places whose renames make a file a new one
//! (gateways to object stores), and copies that cannot be given their original's time: there the content tells, by the
//! digest of what was read, which the engine notes.

use super::compare::{Look, Presence, Told, noted_look};
use super::content::Content;
use super::{CAUSE, FolderSource, GONE, READ_BYTES, SHA256};
use model::{ErrorKind, Offer, OfferIdentity, RemotePath, Result, Sha256};
use serde_json::Value;

/// The file that was taken: what the listing told of it, and what a look told when it was opened. Neither holds
/// the time of the system's last change: permissions may have been changed since.
pub(super) struct Taken<'a> {
    pub(super) identity: &'a OfferIdentity,
    pub(super) found: Told,
    pub(super) before: Look,
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
    /// The same size, and another time.
    OtherTime,
    /// Something else.
    Other,
}

impl<'a> Taken<'a> {
    pub(super) fn of(offer: &'a Offer) -> Self {
        let found = Told::when_found(&offer.identity, None);
        let before = match noted_look(&offer.source_data, &found) {
            Look::Told(told) => Look::Told(told.lasting()),
            other => other,
        };
        let noted = |key| offer.source_data.get(key);
        Self {
            identity: &offer.identity,
            found,
            before,
            read: noted(READ_BYTES).and_then(Value::as_u64),
            sha256: noted(SHA256).and_then(Value::as_str).and_then(|text| text.parse().ok()),
            is_refused: offer.source_data.contains_key(CAUSE),
            was_gone: offer.source_data.contains_key(GONE),
        }
    }

    pub(super) fn path(&self) -> &RemotePath {
        &self.identity.path
    }

    /// What a look told of it when it was opened; else what the listing told.
    pub(super) fn looked(&self) -> &Told {
        match &self.before {
            Look::Told(told) => told,
            Look::Untold | Look::Missing => &self.found,
        }
    }

    /// The times it was told with.
    pub(super) fn times(&self) -> impl Iterator<Item = model::Timestamp> {
        let looked = self.looked().modified.filter(|at| self.found.modified != Some(*at));
        self.found.modified.into_iter().chain(looked)
    }

    /// The place may state any of the sizes at another path that it stated, or that was read.
    fn likeness(&self, before: &Told, there: &Told) -> Likeness {
        let sizes = [self.found.size, self.read].into_iter().flatten();
        let each: Vec<Told> = sizes.map(|size| before.with_size(size)).chain([before.clone()]).collect();
        if each.iter().any(|told| told.is_moved_to(there)) {
            Likeness::Same
        } else if each.iter().any(|told| told.may_be_moved_to(there)) {
            Likeness::OtherTime
        } else {
            Likeness::Other
        }
    }

    /// Whether this is what was read of it; `None` where nobody noted that.
    pub(super) fn is_content(&self, content: &Content) -> Option<bool> {
        self.sha256.map(|sha256| sha256 == content.sha256)
    }
}

impl FolderSource {
    /// Whether the file that was taken still lies where it was found.
    pub(super) async fn presence_of(&self, taken: &Taken<'_>) -> Result<Presence> {
        self.presence(taken.identity, &taken.found, Some(&taken.before)).await
    }

    /// What lies at a path. Where a look is refused, or shows nothing of what listings show, the listing tells.
    pub(super) async fn lying(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<Told>> {
        match self.look(path).await? {
            Look::Told(told) => Ok(Some(told)),
            Look::Missing if matches!(taken.before, Look::Told(_)) => Ok(None),
            Look::Missing | Look::Untold => self.list_again(path).await,
        }
    }

    /// Compares what lies at a path with the file that was taken: a move may give it another version.
    pub(super) async fn likeness(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Likeness> {
        match self.look(path).await? {
            Look::Missing if matches!(taken.before, Look::Told(_)) => return Ok(Likeness::Nothing),
            Look::Missing | Look::Untold => {}
            Look::Told(told) => match taken.likeness(taken.looked(), &told) {
                // Some servers tell another time at each look; the listing may not.
                Likeness::OtherTime => {}
                likeness => return Ok(likeness),
            },
        }
        let listed = self.list_again(path).await?;
        Ok(listed.map_or(Likeness::Nothing, |listed| taken.likeness(&taken.found, &listed)))
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
        match self.content(path).await {
            Ok(content) => Ok(taken.is_content(&content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if super::compare::is_refusal(&error) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }
}
