//! The files of a listing that a flow may take: what matches, is complete by its done file, and is not known.

use super::FolderSource;
use super::claim::{CLAIMED_LIMIT, released_path};
use super::markers::Markers;
use crate::folder::filter::Verdict;
use crate::folder::options::{After, Claim};
use crate::folder::selection::{Candidate, Selection};
use crate::folder::walk::{Listed, Walk, is_directory};
use crate::folder::{EntryKind, names};
use crate::{ClaimedFile, Discovery, SkippedFile};
use model::{ErrorKind, OfferIdentity, Result, SkipReason};
use std::collections::HashSet;
use std::sync::Arc;

/// The most candidates that a poll keeps in memory; from a longer listing, the first in order.
const CANDIDATE_LIMIT: usize = 100_000;

/// How many candidates a poll with a limit keeps besides those it may take: as many may be changing before the limit is
/// not reached.
const SPARE_CANDIDATES: usize = 10_000;

/// The number of identities in one question: the limit of [`crate::KnownOffers::known`].
const KNOWN_BATCH: usize = 1_000;

/// A file of a walk that is not skipped altogether.
pub(super) enum Next {
    /// The flow accepts it.
    Taken(Listed),
    /// The flow leaves it in this poll. If it is known, it must stay so: what a complete listing does not show is forgotten.
    Left(Listed),
}

impl FolderSource {
    /// Why a file is skipped; `None` if it is not.
    pub(super) fn passes_over(&self, name: &[u8]) -> Option<SkipReason> {
        let suffix = self.polling.temporary_suffix.as_bytes();
        if name.ends_with(names::CLAIMED_SUFFIX) {
            Some(SkipReason::SetAside)
        } else if !suffix.is_empty() && name.ends_with(suffix) || names::is_unfinished_in_archive(name) {
            Some(SkipReason::TemporaryName)
        } else if self.is_attachment(name) {
            Some(SkipReason::AttachedFile)
        } else if !self.poll.mask.matches(name) {
            Some(SkipReason::Mask)
        } else {
            None
        }
    }

    /// Why a file is skipped because of done files; `None` if it is not. Notes its own done file.
    pub(super) fn is_undone(&self, listed: &mut Listed, markers: Option<&Markers>) -> Option<SkipReason> {
        let (done_file, markers) = (self.done_file()?, markers?);
        let name = listed.relative.file_name();
        if done_file.is_marker(name) {
            return Some(SkipReason::DoneFile);
        }
        let marker = markers.get(&listed.path.with_file_name(&done_file.marker_of(name)));
        listed.marker = marker.cloned().map(Box::new);
        marker.is_none().then_some(SkipReason::NoDoneFile)
    }

    /// The next file of the walk that the flow accepts, or that it leaves now and may have taken before; `None` at the end.
    /// Adds the files that are claimed, by the paths without the claim.
    pub(super) async fn next_taken(
        &self,
        walk: &mut Walk<'_>,
        markers: Option<&Markers>,
        claimed: &mut Vec<ClaimedFile>,
    ) -> Result<Option<Next>> {
        while let Some(mut listed) = walk.next().await? {
            if let Some(why) = self.passes_over(listed.relative.file_name()) {
                walk.pass_over(why, &listed.relative);
                if why == SkipReason::SetAside && claimed.len() < CLAIMED_LIMIT {
                    // What another flow would take is that flow's.
                    let released = released_path(&listed.path)
                        .filter(|path| self.passes_over(path.file_name()).is_none());
                    let (size, modified) = (listed.entry.size, listed.entry.modified);
                    claimed.extend(released.map(|path| ClaimedFile { path, size, modified }));
                }
            } else if let Some(why) = self.is_undone(&mut listed, markers) {
                walk.pass_over(why, &listed.relative);
                // A kept file that was taken before is still listed: without its done file it must not be forgotten, and
                // then be taken again.
                if why == SkipReason::NoDoneFile && self.polling.after == After::Keep {
                    return Ok(Some(Next::Left(listed)));
                }
            } else if listed.entry.kind == EntryKind::Unknown
                && is_directory(self.folder.as_ref(), &listed.path).await?
            {
                walk.pass_over(SkipReason::Directory, &listed.relative);
            } else if let Verdict::Leave(why) =
                self.polling.filter.judge(&listed.entry, self.services.clock.now())
            {
                walk.pass_over(why, &listed.relative);
                // The same holds for a file that was taken by its name, or refused, before it had this size or age.
                return Ok(Some(Next::Left(listed)));
            } else {
                return Ok(Some(Next::Taken(listed)));
            }
        }
        Ok(None)
    }

    pub(super) fn candidate(&self, listed: Listed, number: i64) -> Candidate {
        let timed = !self.polling.ignore_times;
        let identity = OfferIdentity {
            flow: self.options.flow.name.clone(),
            endpoint: self.options.endpoint.clone(),
            path: listed.path,
            size: listed.entry.size,
            modified: listed.entry.modified.filter(|_| timed),
            version: listed.entry.version,
            rule: self.polling.identity,
        };
        let changed = listed.entry.changed.filter(|_| timed);
        Candidate::new(self.poll.order, number, listed.relative, identity, changed, listed.marker)
    }

    /// How many candidates a poll keeps in memory, and why it leaves those beyond.
    fn candidates(&self) -> (usize, SkipReason) {
        let limited = self.poll.read_limit.saturating_add(SPARE_CANDIDATES);
        if self.poll.read_limit > 0 && limited < CANDIDATE_LIMIT {
            (limited, SkipReason::ReadLimit)
        } else {
            (CANDIDATE_LIMIT, SkipReason::ListingLimit)
        }
    }

    /// The files that match and are not known.
    pub(super) async fn collect(&self, discovery: &Discovery) -> Result<Vec<Candidate>> {
        let known = Arc::clone(&discovery.known);
        let markers = self.markers().await?;
        let mut walk = self.walk()?.observed(move |why, path| known.skipped(&SkippedFile::listed(path, why)));
        let (bound, beyond) = self.candidates();
        let mut selection = Selection::new(bound);
        let mut batch = Vec::with_capacity(KNOWN_BATCH);
        let mut number = 0;
        let mut kept = Vec::with_capacity(KNOWN_BATCH);
        let mut claimed = Vec::new();
        loop {
            let listed = match self.next_taken(&mut walk, markers.as_ref(), &mut claimed).await {
                Ok(Some(Next::Taken(listed))) => listed,
                Ok(Some(Next::Left(listed))) => {
                    kept.push(self.candidate(listed, number).identity.key());
                    if kept.len() == KNOWN_BATCH {
                        discovery.known.known(std::mem::take(&mut kept)).await?;
                    }
                    continue;
                }
                Ok(None) => break,
                // The endpoint may name a single file, which is claimed.
                Err(error) if error.kind() == ErrorKind::NotFound && self.polling.claim == Claim::Rename => {
                    let path = self.options.directory.clone();
                    let Some(metadata) = self.claimed_file(&path).await? else { return Err(error) };
                    let (size, modified) = (metadata.size, metadata.modified);
                    claimed.push(ClaimedFile { path, size, modified });
                    break;
                }
                Err(error) => return Err(error),
            };
            batch.push(self.candidate(listed, number));
            number += 1;
            if batch.len() == KNOWN_BATCH {
                admit(&mut batch, &mut selection, beyond, discovery).await?;
            }
        }
        admit(&mut batch, &mut selection, beyond, discovery).await?;
        if !kept.is_empty() {
            discovery.known.known(kept).await?;
        }
        if walk.complete() {
            discovery.known.listing_complete().await?;
        }
        if self.polling.claim == Claim::Rename {
            self.release_orphans(discovery, claimed).await?;
        }
        Ok(selection.into_sorted())
    }
}

/// Asks which files of a batch are known, and adds the others to the selection.
async fn admit(
    batch: &mut Vec<Candidate>,
    selection: &mut Selection,
    beyond: SkipReason,
    discovery: &Discovery,
) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = batch.iter().map(|candidate| candidate.identity.key()).collect();
    let known = discovery.known.known(keys.clone()).await?;
    let mut new = Vec::with_capacity(batch.len());
    for (candidate, key) in batch.drain(..).zip(keys) {
        if known.contains(&key) {
            discovery.known.skipped(&candidate.skipped(SkipReason::Known));
        } else {
            new.push(candidate);
        }
    }
    let done_files: Vec<String> = new.iter().filter_map(Candidate::done_file_key).collect();
    let used = match done_files.is_empty() {
        true => HashSet::new(),
        false => discovery.known.used_done_files(done_files).await?,
    };
    for candidate in new {
        let is_used = candidate.done_file_key().is_some_and(|key| used.contains(&key));
        let (left, why) = match is_used {
            true => (vec![candidate], SkipReason::UsedDoneFile),
            false => (selection.push(candidate), beyond),
        };
        for candidate in left {
            discovery.known.skipped(&candidate.skipped(why));
        }
    }
    Ok(())
}
