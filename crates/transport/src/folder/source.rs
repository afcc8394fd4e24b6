//! Polling, written once over any [`Folder`].
//!
//! A poll lists, takes out what is known, waits, lists again and offers what stayed the same. Nothing is
//! kept between polls but the names of directories already made: any node can go on with any offer.

mod copy_away;
mod settle;

use super::selection::{Candidate, Selection};
use super::walk::{Listed, Walk};
use super::{Entry, EntryKind, Folder, names, parse_directory};
use crate::{
    Discovery, FoundOffer, OfferStream, Part, PartStream, Probe, ProbeStep, Services, Settled, Source,
};
use async_trait::async_trait;
use futures::StreamExt;
use model::definition::{After, ClaimBy, Flow, FlowSource, PollSource};
use model::{Error, ErrorKind, Offer, OfferIdentity, Outcome, RemotePath, Result};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

/// Most candidates a poll holds in memory; of a longer listing the first in order.
const CANDIDATE_LIMIT: usize = 100_000;

/// Identities asked about at a time: the bound of [`crate::KnownOffers::known`].
const KNOWN_BATCH: usize = 1_000;

/// The key in `source_data` under which the engine leaves the cause of a refusal before settling.
pub const CAUSE: &str = "cause";

const RELATIVE: &str = "relative";

/// What polling needs to know.
#[derive(Clone)]
pub struct FolderSourceOptions {
    /// The flow; its source must be a polled one.
    pub flow: Arc<Flow>,
    /// The endpoint's name, for identities.
    pub endpoint: String,
    /// The polled directory (or the one file), as the folder takes it; empty for where a login starts.
    pub directory: RemotePath,
    /// Files with this suffix are still being written and never taken.
    pub temporary_suffix: String,
}

/// Polls a folder.
pub struct FolderSource {
    folder: Arc<dyn Folder>,
    options: FolderSourceOptions,
    poll: PollSource,
    services: Services,
    made: Mutex<HashSet<RemotePath>>,
}

/// Checks what a flow asks of a polled directory, without any I/O: archive, move and error directories
/// are named, and none lies inside the polled directory (it would be polled again); claiming is a way
/// that can be done.
///
/// # Errors
/// `ConfigInvalid` or `Unsupported`, in words for the person who wrote it.
pub fn check_poll(directory: &RemotePath, poll: &PollSource) -> Result<()> {
    if poll.claim == ClaimBy::Rename {
        return Err(Error::permanent(ErrorKind::Unsupported, "claim files by renaming")
            .advice("leave 'claim' out: files are claimed by the poller's lease"));
    }
    let after = match &poll.after {
        After::Archive { directory, .. } => Some(("archive", directory)),
        After::Move { directory } => Some(("move", directory)),
        After::Delete | After::Keep => None,
    };
    let error = poll.error_directory.as_ref().map(|directory| ("error", directory));
    for (purpose, text) in after.into_iter().chain(error) {
        let other = parse_directory(text).map_err(|e| e.with("purpose", purpose))?;
        if other.is_within(directory) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a directory")
                .with("purpose", purpose)
                .with("directory", &other)
                .with("polled directory", directory)
                .advice("it lies inside the polled directory; name one outside"));
        }
    }
    Ok(())
}

impl FolderSource {
    /// A source over a folder. Opens nothing.
    ///
    /// # Errors
    /// As [`check_poll`]; `ConfigInvalid` when the flow does not poll.
    pub fn new(folder: Arc<dyn Folder>, options: FolderSourceOptions, services: Services) -> Result<Self> {
        let FlowSource::Poll(poll) = &options.flow.source else {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "poll for a flow that receives")
                .with("flow", &options.flow.name));
        };
        let poll = poll.clone();
        check_poll(&options.directory, &poll)?;
        Ok(Self { folder, options, poll, services, made: Mutex::default() })
    }

    fn walk(&self) -> Walk {
        Walk::new(Arc::clone(&self.folder), self.options.directory.clone(), self.poll.recursive)
    }

    fn takes(&self, listed: &Listed) -> bool {
        let name = listed.relative.file_name();
        let suffix = self.options.temporary_suffix.as_bytes();
        self.poll.mask.matches(name)
            && !name.ends_with(names::CLAIMED_SUFFIX)
            && (suffix.is_empty() || !name.ends_with(suffix))
    }

    fn candidate(&self, listed: Listed, number: i64) -> Candidate {
        let identity = OfferIdentity {
            flow: self.options.flow.name.clone(),
            endpoint: self.options.endpoint.clone(),
            path: listed.path,
            size: listed.entry.size,
            modified: listed.entry.modified,
            version: listed.entry.version,
        };
        Candidate::new(self.poll.order, number, listed.relative, identity)
    }

    /// The first listing: what matches and is not known.
    async fn collect(&self, discovery: &Discovery) -> Result<Vec<Candidate>> {
        let mut walk = self.walk();
        let mut selection = Selection::new(CANDIDATE_LIMIT);
        let mut batch = Vec::with_capacity(KNOWN_BATCH);
        let mut number = 0;
        while let Some(listed) = walk.next().await? {
            if !self.takes(&listed) {
                continue;
            }
            batch.push(self.candidate(listed, number));
            number += 1;
            if batch.len() == KNOWN_BATCH {
                admit(&mut batch, &mut selection, discovery).await?;
            }
        }
        admit(&mut batch, &mut selection, discovery).await?;
        if walk.complete() {
            discovery.known.listing_complete().await?;
        }
        Ok(selection.into_sorted())
    }

    /// The second listing: of the candidates, those that stayed the same.
    async fn stable(&self, candidates: Vec<Candidate>) -> Result<Vec<Candidate>> {
        let mut waiting: HashMap<RemotePath, Candidate> =
            candidates.into_iter().map(|c| (c.identity.path.clone(), c)).collect();
        let mut stable = Vec::new();
        let mut walk = self.walk();
        while !waiting.is_empty() {
            let Some(listed) = walk.next().await? else { break };
            if let Some(candidate) = waiting.remove(&listed.path)
                && is_same(&listed.entry, &candidate.identity)
            {
                stable.push(candidate);
            }
        }
        stable.sort_unstable();
        Ok(stable)
    }

    /// What lies at the offer's path now; `None` when that is not what was found.
    async fn same_entry(&self, identity: &OfferIdentity) -> Result<Option<Entry>> {
        match self.folder.stat(&identity.path).await {
            Ok(entry) if is_same(&entry, identity) => Ok(Some(entry)),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Asks which of a batch are known, and takes the others into the selection.
async fn admit(batch: &mut Vec<Candidate>, selection: &mut Selection, discovery: &Discovery) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let keys: Vec<String> = batch.iter().map(|candidate| candidate.identity.key()).collect();
    let known = discovery.known.known(keys.clone()).await?;
    for (candidate, key) in batch.drain(..).zip(keys) {
        if !known.contains(&key) {
            selection.push(candidate);
        }
    }
    Ok(())
}

/// Whether an entry is the file of this identity.
fn is_same(entry: &Entry, identity: &OfferIdentity) -> bool {
    entry.kind == EntryKind::File
        && entry.size == identity.size
        && entry.modified == identity.modified
        && entry.version == identity.version
}

#[async_trait]
impl Source for FolderSource {
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream> {
        let mut candidates = self.collect(&discovery).await?;
        let wait = self.poll.stable_for.min(self.poll.every);
        if !candidates.is_empty() && !wait.is_zero() {
            self.services.clock.sleep(wait).await;
            candidates = self.stable(candidates).await?;
        }
        if self.poll.read_limit > 0 {
            candidates.truncate(self.poll.read_limit);
        }
        Ok(futures::stream::iter(candidates.into_iter().map(|candidate| {
            let mut source_data = Map::new();
            source_data.insert(RELATIVE.into(), Value::from(candidate.relative.to_text()));
            Ok(FoundOffer { identity: candidate.identity, source_data })
        }))
        .boxed())
    }

    async fn open(&self, offer: &FoundOffer) -> Result<PartStream> {
        let identity = &offer.identity;
        if self.same_entry(identity).await?.is_none() {
            return Err(Error::transient(ErrorKind::NotFound, "read a file as it was found")
                .with("endpoint", &identity.endpoint)
                .with("path", &identity.path)
                .advice("it changed or went away since; what lies there now is offered anew"));
        }
        let reader = self.folder.read(&identity.path, 0).await?;
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
            metadata.insert("source_modified_micros".into(), Value::from(modified.timestamp_micros()));
        }
        let part = Part { file_name, media_type: None, metadata, reader };
        Ok(futures::stream::iter([Ok(part)]).boxed())
    }

    async fn unchanged(&self, offer: &FoundOffer) -> Result<bool> {
        Ok(self.same_entry(&offer.identity).await?.is_some())
    }

    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled> {
        self.settle_offer(offer, outcome).await
    }

    async fn probe(&self) -> Probe {
        let mut probe = Probe::default();
        let clock = &self.services.clock;
        let began = clock.monotonic();
        let first = self.walk().next().await;
        let took = clock.monotonic().saturating_sub(began);
        let (result, file) = match first {
            Ok(Some(listed)) => (Ok(format!("first file: {}", listed.relative)), Some(listed.path)),
            Ok(None) => (Ok("no file there now".to_owned()), None),
            Err(error) => (Err(error), None),
        };
        probe.steps.push(ProbeStep { name: "list", took, result });
        if let Some(path) = file {
            let began = clock.monotonic();
            let result = self.folder.stat(&path).await.map(|entry| {
                entry.size.map_or_else(|| path.to_text(), |size| format!("{path}: {size} bytes"))
            });
            let took = clock.monotonic().saturating_sub(began);
            probe.steps.push(ProbeStep { name: "stat", took, result });
        }
        probe
    }
}
