//! Looks at a source as a poll does, and takes nothing.
//!
//! The source is asked by the same call as in a poll, and which offers are known is asked by the same query. What differs
//! is what is written: nothing.

use async_trait::async_trait;
use futures::TryStreamExt;
use model::definition::{Endpoint, Flow};
use model::{OfferIdentity, RemotePath, Result, SkipCount, SkipReason, Timestamp};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{KnownOffer, Store};
use transport::{Discovery, KnownOffers, Services, SkippedFile, Transport, UnstableFile};

/// Most files that are listed one by one; of the others only the counts are told.
pub(crate) const LISTED: usize = 100_000;

/// What a poll would do now.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DryRun {
    /// What it would take, in the order of processing.
    pub takes: Vec<FileSeen>,
    /// What it would leave where it is, as a poll meets it; what is over the flow's `read_limit` in the order of
    /// processing.
    pub leaves: Vec<FileLeft>,
    /// How many it would leave for each reason, those included that are not listed.
    pub skipped: Vec<SkipCount>,
    /// How many are counted and not listed, because there are more than 100,000.
    pub not_listed: u64,
}

/// A file at the source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSeen {
    /// Its path; of what was not looked at further, below the polled directory.
    pub path: RemotePath,
    /// Its size in bytes, where the place tells it.
    pub size: Option<u64>,
    /// When it was changed last, where the place tells it.
    pub modified: Option<Timestamp>,
}

/// A file that a poll leaves where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileLeft {
    /// The file.
    pub file: FileSeen,
    /// The reason.
    pub why: SkipReason,
    /// When it is tried again, where that is known.
    pub next: Option<Timestamp>,
    /// Why it could not be taken, of one that was tried.
    pub error: Option<String>,
}

/// Looks at a flow's source.
///
/// # Errors
/// The source cannot be asked, or the database.
pub(crate) async fn dry_run(
    store: Store,
    transport: &dyn Transport,
    endpoint: Arc<Endpoint>,
    flow: Arc<Flow>,
    services: Services,
) -> Result<DryRun> {
    let looked_at = services.clock.now();
    let source = transport.source(endpoint, flow, services)?;
    let seen = Arc::new(Seen { store, looked_at, lists: Mutex::default() });
    let mut offers = source.discover(Discovery { known: Arc::clone(&seen) as _ }).await?;
    let mut takes = Vec::new();
    let mut not_listed = 0;
    while let Some(offer) = offers.try_next().await? {
        if takes.len() < LISTED {
            takes.push(FileSeen::of(&offer.identity));
        } else {
            not_listed += 1;
        }
    }
    let lists = std::mem::take(&mut *seen.lists());
    let skipped = lists.counts.into_iter().map(|(reason, files)| SkipCount { reason, files }).collect();
    Ok(DryRun { takes, leaves: lists.leaves, skipped, not_listed: not_listed + lists.not_listed })
}

impl FileSeen {
    fn of(identity: &OfferIdentity) -> Self {
        Self { path: identity.path.clone(), size: identity.size, modified: identity.modified }
    }
}

#[derive(Default)]
struct Lists {
    /// What is on record of the offers asked about last, by key.
    known: HashMap<String, KnownOffer>,
    leaves: Vec<FileLeft>,
    counts: BTreeMap<SkipReason, u64>,
    not_listed: u64,
}

/// Hears what a poll leaves where it is. Writes nothing.
struct Seen {
    store: Store,
    looked_at: Timestamp,
    lists: Mutex<Lists>,
}

impl Seen {
    fn lists(&self) -> MutexGuard<'_, Lists> {
        // A panic elsewhere ends the dry run.
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn unstable(&self, _files: Vec<UnstableFile>) {
        // Each of them is told as a file that changes.
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
