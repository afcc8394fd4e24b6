//! Whether the file at another path is the file that was read: to find what an earlier call moved or copied.
//!
//! A move keeps size and time, so these identify the file. Some servers (gateways to object stores) create a new file
//! when they rename, and some copies cannot get the time of their original: then the content decides, by the digest
//! of what was read, which the engine notes.

use super::FolderSource;
use super::compare::{Comparison, Metadata, Stat, noted_stat};
use super::content::Content;
use super::move_away::{NUMBER_LIMIT, found, numbered};
use crate::OfferNotes;
use futures::StreamExt;
use model::{ErrorKind, Offer, OfferIdentity, RemotePath, Result, Sha256};
use std::collections::{HashMap, HashSet};

/// The file that was read: its metadata in the listing, and in the answer to `stat` when it was opened. Neither
/// contains the status time (ctime), because permissions may have changed since.
pub(super) struct Taken<'a> {
    pub(super) identity: &'a OfferIdentity,
    pub(super) found: Metadata,
    pub(super) before: Stat,
    /// The number of bytes read, if the server reports another size. After a move it may report this number.
    pub(super) read: Option<u64>,
    sha256: Option<Sha256>,
    /// Whether the offer was refused: then its content may be unknown.
    pub(super) is_refused: bool,
    /// Whether the file no longer existed right after it was read: then no call has moved it.
    pub(super) was_gone: bool,
}

/// The result of comparing the file at a path with the file that was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Match {
    /// No file exists there.
    Missing,
    /// The same size and time.
    Same,
    /// The same size, and another time or none.
    OtherTime,
    /// Another file.
    Other,
}

/// The names that a move to a target tries.
pub(super) struct NumberedNames<'a> {
    target: &'a RemotePath,
    /// The metadata of these names, after the directory was listed.
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
            Stat::Found(metadata) if ignore_times => Stat::Found(metadata.untimed()),
            Stat::Found(metadata) => Stat::Found(metadata.lasting()),
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

    /// The answer to `stat` when it was opened; if there was none, the metadata in the listing.
    pub(super) fn at_open(&self) -> &Metadata {
        match &self.before {
            Stat::Found(metadata) => metadata,
            Stat::Refused | Stat::Missing => &self.found,
        }
    }

    /// Whether only size and path are known, besides the content: then the content decides. The last digest of a
    /// refused offer does not, because each reading gave other bytes.
    fn needs_content(&self) -> bool {
        self.sha256.is_some()
            && !self.is_refused
            && self.found.modified.is_none()
            && self.at_open().modified.is_none()
    }

    /// The modification times that were reported for it.
    pub(super) fn times(&self) -> impl Iterator<Item = model::Timestamp> {
        let at_open = self.at_open().modified.filter(|at| self.found.modified != Some(*at));
        self.found.modified.into_iter().chain(at_open)
    }

    /// At another path the server may report any size that it reported before, or the number of bytes read.
    fn match_metadata(&self, before: &Metadata, there: &Metadata) -> Match {
        let sizes = [self.found.size, self.read].into_iter().flatten();
        let each: Vec<Metadata> = sizes.map(|size| before.with_size(size)).chain([before.clone()]).collect();
        if each.iter().any(|metadata| metadata.is_moved_to(there)) {
            if self.needs_content() { Match::OtherTime } else { Match::Same }
        } else if each.iter().any(|metadata| metadata.may_be_moved_to(there)) {
            Match::OtherTime
        } else {
            Match::Other
        }
    }

    /// Decides by the listing if `stat` was not conclusive.
    fn match_by_listing(&self, by_stat: Match, listed: Option<&Metadata>) -> Match {
        match listed.map_or(Match::Missing, |listed| self.match_metadata(&self.found, listed)) {
            // A listing without times does not confirm a file for which `stat` reports another time.
            Match::Same if by_stat == Match::OtherTime && self.found.modified.is_none() => Match::OtherTime,
            matched => matched,
        }
    }

    /// Whether this is the content that was read; `None` if its digest was not noted.
    pub(super) fn is_content(&self, content: &Content) -> Option<bool> {
        self.sha256.map(|sha256| sha256 == content.sha256)
    }
}

impl FolderSource {
    /// The file of an offer, with the flow's options.
    pub(super) fn taken<'a>(&self, offer: &'a Offer) -> Taken<'a> {
        Taken::of(offer, self.polling.ignore_times)
    }

    /// Whether the file that was read is still at its path.
    pub(super) async fn compare_with_taken(&self, taken: &Taken<'_>) -> Result<Comparison> {
        self.compare(taken.identity, &taken.found, Some(&taken.before)).await
    }

    /// Whether the file still has the content that was read. Checked only if times are unknown or ignored: then a
    /// file that was overwritten with the same number of bytes looks unchanged. `None` if it no longer exists.
    ///
    /// # Errors
    /// It could not be read to its end, and the part that was read differs from what was read before.
    pub(super) async fn has_same_content(&self, taken: &Taken<'_>) -> Result<Option<bool>> {
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

    /// The metadata at a path. If `stat` is refused, or does not find files that listings show, the listing decides.
    pub(super) async fn stat_or_list(
        &self,
        taken: &Taken<'_>,
        path: &RemotePath,
    ) -> Result<Option<Metadata>> {
        match self.stat(path).await? {
            Stat::Found(metadata) => Ok(Some(metadata)),
            Stat::Missing if matches!(taken.before, Stat::Found(_)) => Ok(None),
            Stat::Missing | Stat::Refused => self.list_again(path).await,
        }
    }

    /// Compares the file at a path with the file that was read. A move may change the version.
    pub(super) async fn match_at(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Match> {
        match self.match_by_stat(taken, path).await? {
            (matched, true) => Ok(matched),
            (matched, false) => {
                let listed = self.list_again(path).await?;
                Ok(taken.match_by_listing(matched, listed.as_ref()))
            }
        }
    }

    /// The same for the numbered names of a target, called in their order: the directory is listed only once.
    pub(super) async fn match_numbered_name(
        &self,
        taken: &Taken<'_>,
        names: &mut NumberedNames<'_>,
        path: &RemotePath,
    ) -> Result<Match> {
        let (matched, is_sure) = self.match_by_stat(taken, path).await?;
        if is_sure {
            return Ok(matched);
        }
        let listed = match &mut names.listed {
            Some(listed) => listed,
            none => none.insert(self.list_numbered(names.target).await?),
        };
        Ok(taken.match_by_listing(matched, listed.get(path.file_name())))
    }

    /// The result by `stat`, and whether it is conclusive without the listing.
    async fn match_by_stat(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<(Match, bool)> {
        Ok(match self.stat(path).await? {
            Stat::Missing => (Match::Missing, matches!(taken.before, Stat::Found(_))),
            Stat::Refused => (Match::Missing, false),
            Stat::Found(metadata) => {
                let matched = taken.match_metadata(taken.at_open(), &metadata);
                // Some servers report another time with each `stat`; the listing may not.
                (matched, matched != Match::OtherTime || taken.needs_content())
            }
        })
    }

    /// The metadata of a target and its numbered names in the listing of their directory, by name.
    async fn list_numbered(&self, target: &RemotePath) -> Result<HashMap<Vec<u8>, Metadata>> {
        let names = (1..=NUMBER_LIMIT).map(|number| numbered(target, number).file_name().to_vec());
        let names: HashSet<Vec<u8>> = names.collect();
        let mut metadata = HashMap::new();
        let Some(mut listing) = found(self.folder.list(&target.parent().unwrap_or_default()).await)? else {
            return Ok(metadata);
        };
        while let Some(entry) = listing.next().await.transpose()? {
            if let Some(name) = names.get(entry.path.as_bytes()) {
                metadata.insert(name.clone(), self.metadata(&entry));
            }
        }
        Ok(metadata)
    }

    /// Whether the file at a path to which it may have been moved is the file that was read; `None` if no file exists
    /// there.
    pub(super) async fn is_taken_file(&self, taken: &Taken<'_>, path: &RemotePath) -> Result<Option<bool>> {
        match self.match_at(taken, path).await? {
            Match::Missing => Ok(None),
            Match::Same => Ok(Some(true)),
            Match::Other => Ok(Some(false)),
            Match::OtherTime => self.copy_has_content(taken, path).await,
        }
    }

    /// Whether a file with the same size and another time has the content that was read. The content of a refused
    /// offer is unknown: then a newer time is enough, because a copy is newer.
    pub(super) async fn copy_has_content(
        &self,
        taken: &Taken<'_>,
        path: &RemotePath,
    ) -> Result<Option<bool>> {
        if taken.sha256.is_none() {
            let metadata = self.stat_or_list(taken, path).await?;
            let is_newer = metadata
                .as_ref()
                .map(|metadata| taken.is_refused && metadata.modified > taken.found.modified);
            return Ok(is_newer);
        }
        match self.content_or_part(path).await {
            // If reading breaks off at the same point as before, it is the same content.
            Ok((content, broken)) => match (taken.is_content(&content), broken) {
                (Some(false), Some(error)) => Err(error),
                (is_content, _) => Ok(is_content),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            // If files can be written but not read, the size must be enough, unless a time contradicts it.
            Err(error) if super::compare::is_refusal(&error) => Ok(Some(taken.needs_content())),
            Err(error) => Err(error),
        }
    }
}
