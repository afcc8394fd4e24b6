//! Polling of any [`Folder`].
//!
//! A poll lists the directory, skips known files, and offers those that an earlier poll saw unchanged. A source keeps
//! nothing between polls that another node would need: any node can continue with any offer.

mod claim;
mod compare;
mod content;
mod copy_away;
mod copy_named;
mod markers;
mod move_away;
mod outside;
mod probe;
mod resuming;
mod settle;
mod stability;
mod taken;

pub(super) use move_away::NUMBER_LIMIT;

use super::SOURCE_MODIFIED;
use super::done_file::DoneFile;
use super::filter::{Empty, Verdict};
use super::options::{After, Claim, Polling};
use super::selection::{Candidate, Selection};
use super::walk::{Listed, Walk, is_directory};
use super::{EntryKind, FileReader, Folder, check_poll, names, remove_unchanged};
use crate::{
    AfterRead, ArchivedFile, ArchivedRemoval, ClaimedFile, Described, Discovery, FoundOffer, OfferNotes,
    OfferStream, Opened, Part, Probe, Resumptions, Services, Settled, SkippedFile, Source, Watch,
};
use async_trait::async_trait;
use claim::{CLAIMED_LIMIT, found_at_source, offer_at_source, released_path};
use compare::{
    Comparison, Metadata, Stat, StatDifference, note_changed, note_stat, noted_changed, noted_stat,
};
use futures::StreamExt;
use markers::{Markers, note_marker};
use model::definition::{Flow, FlowSource, PollSource};
use model::schema::{Findings, Section};
use model::{Error, ErrorKind, Offer, OfferIdentity, Outcome, RemotePath, Result, SkipReason};
use resuming::Resuming;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

/// The most candidates that a poll keeps in memory; from a longer listing, the first in order.
const CANDIDATE_LIMIT: usize = 100_000;

/// How many candidates a poll with a limit keeps besides those it may take: as many may be changing before the limit is
/// not reached.
const SPARE_CANDIDATES: usize = 10_000;

/// The number of identities in one question: the limit of [`crate::KnownOffers::known`].
const KNOWN_BATCH: usize = 1_000;

const RELATIVE: &str = "relative";

/// Why an empty file is refused.
const REFUSED_EMPTY: &str = "the file is empty, and the flow refuses empty files (empty = \"refuse\")";

/// The options of a polled source.
#[derive(Clone)]
pub struct FolderSourceOptions {
    /// The flow. Its source must be polled.
    pub flow: Arc<Flow>,
    /// The endpoint's name, for identities.
    pub endpoint: String,
    /// The polled directory (or single file), in the server's form; empty for the login directory.
    pub directory: RemotePath,
}

/// A source that polls a folder.
pub struct FolderSource {
    folder: Arc<dyn Folder>,
    options: FolderSourceOptions,
    poll: PollSource,
    polling: Polling,
    services: Services,
    /// Directories that are known to exist.
    made: Mutex<HashSet<RemotePath>>,
    /// The differences between `stat` and listings on this server that this source has seen.
    stat_differences: Mutex<Vec<StatDifference>>,
    /// The files that this source has claimed by renaming, by their own paths.
    claims: Mutex<HashSet<RemotePath>>,
}

impl FolderSource {
    /// Creates a source over a folder. Opens no connection.
    ///
    /// # Errors
    /// `ConfigInvalid`, by [`check_poll`], and when the flow does not poll.
    pub fn new(folder: Arc<dyn Folder>, options: FolderSourceOptions, services: Services) -> Result<Self> {
        let FlowSource::Poll(poll) = &options.flow.source else {
            return Err(Error::permanent(
                ErrorKind::ConfigInvalid,
                "poll for a flow whose source is a listener",
            )
            .with("flow", &options.flow.name));
        };
        let poll = poll.clone();
        let polling = Polling::of(&poll);
        Findings::required(Section::FLOW, &options.flow.name, |findings| {
            check_poll(Some(&options.directory), &polling, findings);
            Some(())
        })?;
        Ok(Self {
            folder,
            options,
            poll,
            polling,
            services,
            made: Mutex::default(),
            stat_differences: Mutex::default(),
            claims: Mutex::default(),
        })
    }

    /// The same source over another connection.
    fn over(&self, folder: Arc<dyn Folder>) -> Self {
        Self {
            folder,
            options: self.options.clone(),
            poll: self.poll.clone(),
            polling: self.polling.clone(),
            services: self.services.clone(),
            made: Mutex::default(),
            stat_differences: Mutex::default(),
            claims: Mutex::default(),
        }
    }

    /// A walk through what is polled now.
    ///
    /// # Errors
    /// `ConfigInvalid`: the flow's `directory` cannot be used.
    pub(super) fn walk<'a>(&self) -> Result<Walk<'a>> {
        let (folder, base) = (Arc::clone(&self.folder), self.options.directory.clone());
        let recursive = self.polling.recursive;
        let Some(polled) = &self.polling.directory else { return Ok(Walk::new(folder, base, recursive)) };
        let mut paths = polled.paths(&base, self.services.clock.now())?;
        Ok(match polled.template.is_dated() {
            true => Walk::of_several(folder, paths, base, recursive),
            false => Walk::new(folder, paths.remove(0), recursive),
        })
    }

    /// The directory that can be watched; `None` if that is another one each day.
    fn watched(&self) -> Result<Option<RemotePath>> {
        let base = &self.options.directory;
        match &self.polling.directory {
            None => Ok(Some(base.clone())),
            Some(polled) if polled.template.is_dated() => Ok(None),
            Some(polled) => {
                let paths = polled.paths(base, self.services.clock.now())?;
                Ok(paths.into_iter().next())
            }
        }
    }

    /// Why a file is skipped; `None` if it is not.
    fn passes_over(&self, name: &[u8]) -> Option<SkipReason> {
        let suffix = self.polling.temporary_suffix.as_bytes();
        if name.ends_with(names::CLAIMED_SUFFIX) {
            Some(SkipReason::SetAside)
        } else if !suffix.is_empty() && name.ends_with(suffix) || names::is_unfinished_in_archive(name) {
            Some(SkipReason::TemporaryName)
        } else if !self.poll.mask.matches(name) {
            Some(SkipReason::Mask)
        } else {
            None
        }
    }

    pub(super) fn done_file(&self) -> Option<&DoneFile> {
        self.polling.done_file.as_ref()
    }

    pub(super) const fn is_timed(&self) -> bool {
        !self.polling.ignore_times
    }

    /// Why a file is skipped because of done files; `None` if it is not. Notes its own done file.
    fn is_undone(&self, listed: &mut Listed, markers: Option<&Markers>) -> Option<SkipReason> {
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
    async fn next_taken(
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

    /// The `source_data` of a file with this path below the polled directory.
    pub(super) fn data_of(relative: &RemotePath) -> Map<String, Value> {
        Map::from_iter([(RELATIVE.to_owned(), Value::from(relative.to_text()))])
    }

    fn candidate(&self, listed: Listed, number: i64) -> Candidate {
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
    async fn collect(&self, discovery: &Discovery) -> Result<Vec<Candidate>> {
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

/// A file of a walk that is not skipped altogether.
enum Next {
    /// The flow accepts it.
    Taken(Listed),
    /// The flow leaves it in this poll. If it is known, it must stay so: what a complete listing does not show is forgotten.
    Left(Listed),
}

/// The offer of a candidate.
fn found_offer(candidate: Candidate) -> FoundOffer {
    let mut source_data = FolderSource::data_of(&candidate.relative);
    note_changed(&mut source_data, candidate.changed);
    if let Some(key) = candidate.done_file_key() {
        OfferNotes::change(&mut source_data, |notes| notes.done_file = Some(key));
    }
    note_marker(&mut source_data, candidate.marker);
    FoundOffer { identity: candidate.identity, source_data }
}

/// The metadata in the listing when the offer was found.
fn metadata_when_found(offer: &FoundOffer) -> Metadata {
    Metadata::when_found(&offer.identity, noted_changed(&offer.source_data))
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

#[async_trait]
impl Source for FolderSource {
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream> {
        let begun = self.services.clock.monotonic();
        let candidates = self.collect(&discovery).await?;
        let candidates = self.choose(candidates, &discovery, begun);
        if !candidates.is_empty() {
            self.check_outside().await?;
        }
        let refuses_empty = self.polling.filter.empty == Empty::Refuse;
        let offers = candidates.into_iter().map(move |candidate| {
            let mut offer = found_offer(candidate);
            if refuses_empty && offer.identity.size == Some(0) {
                OfferNotes::change(&mut offer.source_data, |notes| notes.cause = Some(REFUSED_EMPTY.into()));
            }
            Ok(offer)
        });
        Ok(futures::stream::iter(offers).boxed())
    }

    fn describe(&self, offer: &FoundOffer) -> Result<Described> {
        let identity = &offer.identity;
        if let Some(cause) = OfferNotes::of(&offer.source_data).cause {
            return Err(Error::permanent(ErrorKind::Rejected, "accept a file")
                .with("endpoint", &identity.endpoint)
                .with("path", &identity.path)
                .advice(cause));
        }
        let file_name = offer
            .source_data
            .get(RELATIVE)
            .and_then(Value::as_str)
            .and_then(|text| RemotePath::from_text(text).ok())
            .unwrap_or_else(|| RemotePath::from_bytes(identity.path.file_name()));
        let mut metadata = Map::new();
        metadata.insert("source_path".into(), Value::from(identity.path.to_text()));
        if let Some(size) = identity.size {
            metadata.insert("source_size".into(), Value::from(size));
        }
        if let Some(modified) = identity.modified {
            metadata.insert(SOURCE_MODIFIED.into(), Value::from(modified.timestamp_micros()));
        }
        Ok(Described { file_name, media_type: None, metadata })
    }

    async fn open(&self, offer: &FoundOffer) -> Result<Opened> {
        let identity = &offer.identity;
        let mut stat = self.find(offer).await?;
        self.find_marker(offer).await?;
        let Described { file_name, media_type, metadata } = self.describe(offer)?;
        let mut source_data = Map::new();
        let mut at_source = offer.clone();
        if self.polling.claim == Claim::Rename {
            let (claimed, found) = self.claim(offer).await?;
            (stat, at_source) = (found, found_at_source(&claimed));
            source_data.extend(claimed.source_data);
        }
        let file = self.folder.read(&at_source.identity.path, 0).await?;
        let stat_size = match &stat {
            Stat::Found(metadata) => metadata.size,
            Stat::Refused | Stat::Missing => None,
        };
        // A size of 0 from `stat` is no information if the listing reports more.
        let size = stat_size.filter(|size| *size > 0).or(identity.size).or(stat_size);
        note_stat(&mut source_data, &metadata_when_found(&at_source), &stat);
        let mut opened = offer.clone();
        opened.source_data.extend(source_data.clone());
        let resumptions = Resumptions::default();
        let FileReader { bytes, file, connection } = file;
        let reader = Resuming::over(self, opened, bytes, &resumptions);
        let part = Part { file_name, media_type, metadata, reader, file, connection, resumptions };
        Ok(Opened { parts: futures::stream::iter([Ok(part)]).boxed(), size, source_data })
    }

    async fn look_again(&self, offer: &FoundOffer) -> Result<AfterRead> {
        let offer = found_at_source(offer);
        let found = metadata_when_found(&offer);
        let before = noted_stat(&offer.source_data, &found);
        Ok(match self.compare(&offer.identity, &found, Some(&before)).await? {
            Comparison::Same(_) => AfterRead::Unchanged,
            Comparison::Missing => AfterRead::Gone,
            Comparison::Doubtful(words) => AfterRead::Doubtful(words),
            Comparison::Different(words) => AfterRead::Changed(words),
        })
    }

    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        let settled = self.settle_offer(&offer_at_source(offer), outcome).await?;
        if settled == Settled::Kept && OfferNotes::of(&offer.source_data).claimed {
            // It stays at the source: under its own name, by which listings show it.
            self.rename_back(&offer.identity.path).await?;
        }
        Ok(settled)
    }

    fn is_local(&self) -> bool {
        self.folder.is_local()
    }

    async fn release(&self, offer: &FoundOffer) -> Result<()> {
        self.release_claim(&offer.identity.path).await
    }

    fn archive_path(&self, offer: &Offer) -> Option<RemotePath> {
        match &self.polling.after {
            // Without a time in the name, it may get a number.
            After::Archive { directory, timestamp: true } => self.target(offer, directory, true).ok(),
            _ => None,
        }
    }

    async fn remove_archived(&self, file: &ArchivedFile) -> Result<ArchivedRemoval> {
        remove_unchanged(self.folder.as_ref(), file).await
    }

    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        match self.watched()? {
            Some(directory) => self.folder.watch(&directory).await,
            None => Ok(None),
        }
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        if let Some(folder) = Arc::clone(&self.folder).probe(&mut probe).await {
            self.over(folder).probe_steps(&mut probe).await;
        }
        probe
    }
}

impl FolderSource {
    /// Calls `stat` for an offer before it is read, and returns the answer.
    ///
    /// # Errors
    /// `NotFound`, transient, if it is not the file that was found.
    async fn find(&self, offer: &FoundOffer) -> Result<Stat> {
        let identity = &offer.identity;
        let not_found = |advice: String| {
            Error::transient(ErrorKind::NotFound, "read a file as it was found")
                .with("endpoint", &identity.endpoint)
                .with("path", &identity.path)
                .advice(advice)
        };
        match self.compare(identity, &metadata_when_found(offer), None).await? {
            Comparison::Same(stat) => Ok(stat),
            Comparison::Missing => Err(not_found("it disappeared after it was listed".into())),
            Comparison::Doubtful(words) | Comparison::Different(words) => Err(not_found(format!(
                "it changed after it was listed ({words}); the file as it is now will be offered again"
            ))),
        }
    }
}
