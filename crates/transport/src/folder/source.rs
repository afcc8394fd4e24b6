//! Polling of any [`Folder`].
//!
//! A poll lists the directory, skips known files, and offers those that an earlier poll saw unchanged. A source keeps
//! nothing between polls that another node would need: any node can continue with any offer.

mod attachments;
mod claim;
mod collect;
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
use super::filter::Empty;
use super::options::{After, Claim, Polling};
use super::selection::Candidate;
use super::walk::Walk;
use super::{FileReader, Folder, check_poll, remove_unchanged};
use crate::{
    AfterRead, ArchivedFile, ArchivedRemoval, Described, Discovery, FoundOffer, OfferNotes, OfferStream,
    Opened, Part, Probe, Resumptions, Services, Settled, Source, Watch,
};
use async_trait::async_trait;
use attachments::{Exactly, note_attachments};
use claim::{found_at_source, offer_at_source};
use compare::{
    Comparison, Metadata, Stat, StatDifference, note_changed, note_stat, noted_changed, noted_stat,
};
use futures::StreamExt;
use markers::note_marker;
use model::definition::{Flow, FlowSource, PollSource};
use model::schema::{Findings, Section};
use model::{Error, ErrorKind, Offer, Outcome, RemotePath, Result};
use resuming::Resuming;
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

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

    pub(super) fn done_file(&self) -> Option<&DoneFile> {
        self.polling.done_file.as_ref()
    }

    pub(super) const fn is_timed(&self) -> bool {
        !self.polling.ignore_times
    }

    /// The `source_data` of a file with this path below the polled directory.
    pub(super) fn data_of(relative: &RemotePath) -> Map<String, Value> {
        Map::from_iter([(RELATIVE.to_owned(), Value::from(relative.to_text()))])
    }
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
        Self::describe_file(offer)
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
        let attachments = self.attachments_beside(&identity.path, &file_name).await?;
        let described = attachments.iter().map(|attachment| Self::attachment_described(offer, attachment));
        let described = described.collect::<Result<Vec<_>>>()?;
        note_attachments(&mut source_data, &attachments);
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
        let mut reader = Resuming::over(self, opened, bytes, &resumptions);
        if !described.is_empty() {
            reader = Exactly::of(reader, size, &identity.path);
        }
        let part = Part { file_name, media_type, metadata, reader, file, connection, resumptions };
        // Each is opened when its turn comes: no offer holds several connections.
        let folder = Arc::clone(&self.folder);
        let attached = futures::stream::iter(described)
            .then(move |described| Self::open_attachment(Arc::clone(&folder), described));
        Ok(Opened { parts: futures::stream::iter([Ok(part)]).chain(attached).boxed(), size, source_data })
    }

    async fn look_again(&self, offer: &FoundOffer) -> Result<AfterRead> {
        if let Some(changed) = self.changed_attachment(offer).await? {
            return Ok(changed);
        }
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
    /// What is known of a file before it is opened.
    ///
    /// # Errors
    /// As [`Source::describe`].
    fn describe_file(offer: &FoundOffer) -> Result<Described> {
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
