//! Dry run: examines a source as a poll does, and changes nothing.
//!
//! It calls the source, and queries the known offers, exactly as a poll does. The only difference: nothing is
//! written.

use crate::ingest::room::{RoomOfPoll, StagingRoom};
use async_trait::async_trait;
use futures::TryStreamExt;
use model::definition::{Endpoint, Flow, FlowSource};
use model::{OfferIdentity, RemotePath, Result, SkipCount, SkipReason, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{KnownOffer, Store};
use transport::{
    Discovery, KnownOffers, OfferNotes, PendingFiles, Services, SkippedFile, Transport, UnstableFile,
};

/// The most files that are listed individually; the others are only counted.
pub(crate) const LISTED: usize = 100_000;

/// The longest time that a dry run waits for files to be stable; those that take longer are reported as new.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a poll would do now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DryRun {
    /// The files that it would read, in the order of processing.
    pub takes: Vec<FileSeen>,
    /// The files that it would skip, as a poll finds them; those over the flow's `read_limit` in the order of
    /// processing.
    pub leaves: Vec<FileLeft>,
    /// The number of skipped files for each reason, including those that are not listed.
    pub skipped: Vec<SkipCount>,
    /// The number of files that are counted and not listed, because there are more than 100,000.
    pub not_listed: u64,
    /// The steps that would be done to each file that it would read: those of the flow, then those of destinations.
    pub steps: Vec<StepSeen>,
}

/// A step of a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StepSeen {
    /// What it does, in one line.
    pub does: String,
    /// The destination that it is done for; `None`: all of them.
    pub destination: Option<String>,
}

/// A file at the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSeen {
    /// Its path; below the polled directory if it was skipped by its name alone.
    pub path: RemotePath,
    /// Its size in bytes, if the server reports it.
    pub size: Option<u64>,
    /// Its modification time, if the server reports it.
    pub modified: Option<Timestamp>,
}

/// A file that a poll skips.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLeft {
    /// The file.
    pub file: FileSeen,
    /// The reason.
    pub why: SkipReason,
    /// When it is tried again, if that is known.
    pub next: Option<Timestamp>,
    /// Why it could not be staged, if it was tried.
    pub error: Option<String>,
}

/// Makes a dry run of a flow's source.
///
/// # Errors
/// The source does not answer, or the database.
pub(crate) async fn dry_run(
    store: &Store,
    staging_room: &Arc<StagingRoom>,
    services: Services,
    transport: &dyn Transport,
    endpoint: Arc<Endpoint>,
    flow: Arc<Flow>,
) -> Result<DryRun> {
    let steps = steps_of(&flow)?;
    let clock = Arc::clone(&services.clock);
    let looked_at = clock.now();
    let is_staged = !matches!(&flow.source, FlowSource::Poll(poll) if transport.poll_effects(poll).streams);
    let is_ordered = flow.ordered;
    let source = transport.source(endpoint, flow, services)?;
    let room = || is_staged.then(|| staging_room.of_poll(&Arc::default(), source.is_local()));
    let seen = || {
        // As in a poll: files of an ordered flow wait for those before them.
        let room = if is_ordered { None } else { room() };
        Arc::new(Seen { store: store.clone(), looked_at, room, lists: Mutex::default() })
    };
    let pending = Arc::<PendingFiles>::default();
    let discovery = |seen: &Arc<Seen>, looks_again| Discovery {
        known: Arc::clone(seen) as _,
        pending: Arc::clone(&pending),
        looks_again,
    };
    let mut looked = seen();
    let mut offers = source.discover(discovery(&looked, false)).await?;
    if let Some(stable_for) = pending.look_again_in(clock.as_ref()) {
        // A file is new to a dry run. The poll that looks again would take it.
        drop(offers);
        clock.sleep(stable_for.min(LONGEST_WAIT)).await;
        looked = seen();
        offers = source.discover(discovery(&looked, true)).await?;
    }
    let mut line = InOrder { room: if is_ordered { room() } else { None }, waits: false };
    let mut takes = Vec::new();
    let mut not_listed = 0;
    while let Some(offer) = offers.try_next().await? {
        if let Some(cause) = OfferNotes::of(&offer.source_data).cause {
            looked.leave(&offer.identity, SkipReason::ToRefuse, Some(cause));
        } else if line.waits(&offer.identity) {
            looked.leave(&offer.identity, SkipReason::NoRoom, None);
        } else if takes.len() < LISTED {
            takes.push(FileSeen::of(&offer.identity));
        } else {
            not_listed += 1;
        }
    }
    let lists = std::mem::take(&mut *looked.lists());
    let skipped = lists.counts.into_iter().map(|(reason, files)| SkipCount { reason, files }).collect();
    let not_listed = not_listed + lists.not_listed;
    Ok(DryRun { takes, leaves: lists.leaves, skipped, not_listed, steps })
}

/// The files of an ordered flow: behind one without room, all wait.
struct InOrder {
    /// `None` for other flows.
    room: Option<RoomOfPoll>,
    waits: bool,
}

impl InOrder {
    fn waits(&mut self, file: &OfferIdentity) -> bool {
        self.waits = self.waits || self.room.as_ref().is_some_and(|room| !room.has_room(file));
        self.waits
    }
}

fn steps_of(flow: &Flow) -> Result<Vec<StepSeen>> {
    let own = flow.steps.iter().map(|step| (None, step));
    let more =
        flow.usual_destinations().flat_map(|to| to.steps.iter().map(|step| (Some(to.name.clone()), step)));
    let seen = own.chain(more).map(|(destination, definition)| {
        let does = steps::step(definition)?.describe();
        Ok(StepSeen { does, destination })
    });
    seen.collect()
}

impl FileSeen {
    fn of(identity: &OfferIdentity) -> Self {
        Self { path: identity.path.clone(), size: identity.size, modified: identity.modified }
    }
}

#[derive(Default)]
struct Lists {
    /// The records of the offers that were queried last, by key.
    known: HashMap<String, KnownOffer>,
    leaves: Vec<FileLeft>,
    counts: BTreeMap<SkipReason, u64>,
    not_listed: u64,
}

/// Collects what a poll skips. Writes nothing.
struct Seen {
    store: Store,
    looked_at: Timestamp,
    /// The room for files that are offered, as a poll counts it.
    room: Option<RoomOfPoll>,
    lists: Mutex<Lists>,
}

impl Seen {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // A panic elsewhere ends the dry run.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An offered file that a poll would not take.
    fn leave(&self, identity: &OfferIdentity, why: SkipReason, error: Option<String>) {
        let mut lists = self.lists();
        *lists.counts.entry(why).or_default() += 1;
        if lists.leaves.len() < LISTED {
            lists.leaves.push(FileLeft { file: FileSeen::of(identity), why, next: None, error });
        } else {
            lists.not_listed += 1;
        }
    }
}

#[async_trait]
impl KnownOffers for Seen {
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        let known = self.store.known(&keys, self.looked_at).await?;
        let asked: Vec<String> = known.iter().cloned().collect();
        self.lists().known =
            if asked.is_empty() { HashMap::new() } else { self.store.known_offers(&asked).await? };
        Ok(known)
    }

    async fn orphaned_claims(&self, _claimed: Vec<transport::ClaimedFile>) -> Result<Vec<RemotePath>> {
        // A dry run renames nothing.
        Ok(Vec::new())
    }

    async fn used_done_files(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        self.store.used_done_files(&keys).await
    }

    fn unstable(&self, _files: Vec<UnstableFile>) {
        // Each of them is reported as a changing file.
    }

    fn has_room(&self, file: &OfferIdentity) -> bool {
        self.room.as_ref().is_none_or(|room| room.has_room(file))
    }

    fn skipped(&self, file: &SkippedFile<'_>) {
        let mut lists = self.lists();
        let on_record = match (file.why, file.identity) {
            (SkipReason::Known, Some(identity)) => lists.known.get(&identity.key()).cloned(),
            _ => None,
        };
        let why = on_record.as_ref().map_or(file.why, KnownOffer::skip_reason);
        *lists.counts.entry(why).or_default() += 1;
        if lists.leaves.len() >= LISTED {
            lists.not_listed += 1;
            return;
        }
        let seen = file
            .identity
            .map_or_else(|| FileSeen { path: file.path.clone(), size: None, modified: None }, FileSeen::of);
        let (next, error) = match on_record {
            Some(known) => (known.next_at.filter(|_| why == SkipReason::BackedOff), known.error),
            None => (None, None),
        };
        lists.leaves.push(FileLeft { file: seen, why, next, error });
    }

    async fn listing_complete(&self) -> Result<()> {
        Ok(())
    }
}
