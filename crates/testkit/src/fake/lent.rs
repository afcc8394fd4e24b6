//! What the engine lends a transport, in memory.

use crate::clock::SeededRandom;
use async_trait::async_trait;
use model::definition::Definitions;
use model::{
    AuditEvent, Content, Error, ErrorKind, NodeName, OfferIdentity, OfferedHostKey, PayloadId, PayloadRecord,
    RemotePath, Result, Sha256, SkipReason, Timestamp,
};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use transport::{
    AuditLog, BufferBudget, ClaimedFile, Clock, DeliveryLog, Directory, Evidence, HostKeyList, KeptBytes,
    KnownOffers, PartWriter, Payload, PayloadReader, Services, SkippedFile, StagedPayload, StagingArea,
    UnstableFile,
};
use uuid::Uuid;

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Services on a clock: 64 MiB of buffers, repeatable randomness, an audit trail in memory, no
/// definitions and no staging. Replace what a test needs otherwise.
#[must_use]
pub fn services(clock: Arc<dyn Clock>) -> Services {
    Services {
        // A literal that fits: the fallback is never reached.
        node: NodeName::try_from("test".to_owned()).unwrap_or_else(|_| unreachable!("a plain name")),
        clock,
        random: Arc::new(SeededRandom::new(1)),
        directory: Arc::new(NoDirectory),
        host_keys: Arc::new(MemoryHostKeys::default()),
        audit: Arc::new(MemoryAudit::default()),
        budget: BufferBudget::new(64 << 20),
        staging: Arc::new(NoStaging),
    }
}

/// A directory without definitions.
pub struct NoDirectory;

impl Directory for NoDirectory {
    fn definitions(&self) -> Arc<Definitions> {
        Arc::default()
    }
}

/// A list of known hosts in memory.
#[derive(Default)]
pub struct MemoryHostKeys {
    lines: Mutex<Arc<Vec<String>>>,
    offered: Mutex<Vec<OfferedHostKey>>,
}

impl MemoryHostKeys {
    /// Puts other lines in force.
    pub fn set(&self, lines: &[&str]) {
        *locked(&self.lines) = Arc::new(lines.iter().map(|line| (*line).to_owned()).collect());
    }

    /// The keys that were kept for a decision.
    #[must_use]
    pub fn kept(&self) -> Vec<OfferedHostKey> {
        locked(&self.offered).clone()
    }
}

#[async_trait]
impl HostKeyList for MemoryHostKeys {
    fn lines(&self) -> Arc<Vec<String>> {
        Arc::clone(&locked(&self.lines))
    }

    async fn offered(&self, key: OfferedHostKey) -> Result<()> {
        locked(&self.offered).push(key);
        Ok(())
    }
}

struct NoStaging;

impl StagingArea for NoStaging {
    fn begin(&self) -> Result<Box<dyn PartWriter>> {
        Err(Error::permanent(ErrorKind::Unsupported, "stage a part in a test without staging"))
    }
}

/// An audit trail in memory.
#[derive(Default)]
pub struct MemoryAudit {
    events: Mutex<Vec<AuditEvent>>,
}

impl MemoryAudit {
    /// What was recorded.
    #[must_use]
    pub fn events(&self) -> Vec<AuditEvent> {
        locked(&self.events).clone()
    }
}

#[async_trait]
impl AuditLog for MemoryAudit {
    async fn record(&self, events: Vec<AuditEvent>) -> Result<()> {
        locked(&self.events).extend(events);
        Ok(())
    }
}

/// Known identities, as the engine would tell them.
#[derive(Default)]
pub struct Known {
    keys: Mutex<HashSet<String>>,
    without_room: Mutex<HashSet<String>>,
    asked: Mutex<Vec<usize>>,
    orphans: Mutex<Vec<RemotePath>>,
    complete: AtomicU64,
    unstable: Mutex<Vec<UnstableFile>>,
    skipped: Mutex<BTreeMap<SkipReason, u64>>,
}

impl Known {
    /// Makes the key of an identity, or of a done file, known.
    pub fn add(&self, key: String) {
        locked(&self.keys).insert(key);
    }

    /// Leaves no room in staging for the file with this key.
    pub fn add_without_room(&self, key: String) {
        locked(&self.without_room).insert(key);
    }

    /// Makes the claim of a file one that was left behind.
    pub fn orphan(&self, path: RemotePath) {
        locked(&self.orphans).push(path);
    }

    /// The files that were told to be unstable, in the order of the telling.
    #[must_use]
    pub fn unstable(&self) -> Vec<UnstableFile> {
        locked(&self.unstable).clone()
    }

    /// How many files were left, by reason.
    #[must_use]
    pub fn skipped(&self) -> BTreeMap<SkipReason, u64> {
        locked(&self.skipped).clone()
    }

    /// How many identities each question held.
    #[must_use]
    pub fn asked(&self) -> Vec<usize> {
        locked(&self.asked).clone()
    }

    /// How many listings were said to be complete.
    #[must_use]
    pub fn complete_listings(&self) -> u64 {
        self.complete.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl KnownOffers for Known {
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        locked(&self.asked).push(keys.len());
        let known = locked(&self.keys);
        Ok(keys.into_iter().filter(|key| known.contains(key)).collect())
    }

    async fn orphaned_claims(&self, claimed: Vec<ClaimedFile>) -> Result<Vec<RemotePath>> {
        let orphans = locked(&self.orphans);
        Ok(claimed.into_iter().map(|file| file.path).filter(|path| orphans.contains(path)).collect())
    }

    async fn used_done_files(&self, keys: Vec<String>) -> Result<HashSet<String>> {
        self.known(keys).await
    }

    fn unstable(&self, files: Vec<UnstableFile>) {
        locked(&self.unstable).extend(files);
    }

    fn has_room(&self, file: &OfferIdentity) -> bool {
        !locked(&self.without_room).contains(&file.key())
    }

    fn skipped(&self, file: &SkippedFile<'_>) {
        *locked(&self.skipped).entry(file.why).or_default() += 1;
    }

    async fn listing_complete(&self) -> Result<()> {
        self.complete.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Durable state of one delivery, in memory; survives the attempts that a test makes.
#[derive(Default)]
pub struct MemoryLog {
    notes: Mutex<BTreeMap<String, Value>>,
    correlations: Mutex<Vec<String>>,
    evidence: Mutex<Option<Evidence>>,
    lost: AtomicBool,
    lose_after_note: AtomicBool,
    /// Whether notes wait before they are written.
    is_held: watch::Sender<bool>,
    /// How many notes were asked for.
    asked: watch::Sender<u64>,
}

impl MemoryLog {
    /// Lets notes wait before they are written (`true`), or go on.
    pub fn hold_notes(&self, held: bool) {
        self.is_held.send_replace(held);
    }

    /// Waits until so many notes were asked for.
    pub async fn until_asked(&self, notes: u64) {
        // The sender is ours, so the channel cannot close while this waits.
        let _ = self.asked.subscribe().wait_for(|asked| *asked >= notes).await;
    }

    /// The notes, as the next attempt gets them.
    #[must_use]
    pub fn notes(&self) -> BTreeMap<String, Value> {
        locked(&self.notes).clone()
    }

    /// The keys bound so far.
    #[must_use]
    pub fn correlations(&self) -> Vec<String> {
        locked(&self.correlations).clone()
    }

    /// What was handed in last to prove the message.
    #[must_use]
    pub fn evidence(&self) -> Option<Evidence> {
        locked(&self.evidence).clone()
    }

    /// Loses the claim (`true`), or gives it back.
    pub fn lose_claim(&self, lost: bool) {
        self.lost.store(lost, Ordering::SeqCst);
    }

    /// Loses the claim as soon as the next note is written: the act it describes must not follow.
    pub fn lose_claim_after_note(&self) {
        self.lose_after_note.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl DeliveryLog for MemoryLog {
    async fn note(&self, key: &str, value: Value) -> Result<()> {
        self.asked.send_modify(|asked| *asked += 1);
        // The sender is ours, so the channel cannot close while this waits.
        let _ = self.is_held.subscribe().wait_for(|held| !held).await;
        self.may_act()?;
        locked(&self.notes).insert(key.to_owned(), value);
        if self.lose_after_note.swap(false, Ordering::SeqCst) {
            self.lose_claim(true);
        }
        Ok(())
    }

    async fn keep(&self, _: &str, _: StagedPayload, _: Value) -> Result<Arc<dyn Payload>> {
        Err(Error::permanent(ErrorKind::Unsupported, "keep bytes in a test without staging"))
    }

    fn kept(&self, _: &KeptBytes) -> Result<Arc<dyn Payload>> {
        Err(Error::permanent(ErrorKind::Unsupported, "keep bytes in a test without staging"))
    }

    async fn correlate(&self, key: &str) -> Result<()> {
        self.may_act()?;
        locked(&self.correlations).push(key.to_owned());
        Ok(())
    }

    fn prove(&self, evidence: Evidence) {
        *locked(&self.evidence) = Some(evidence);
    }

    fn may_act(&self) -> Result<()> {
        if self.lost.load(Ordering::SeqCst) {
            return Err(Error::transient(ErrorKind::ClaimLost, "go on with a claim that was lost"));
        }
        Ok(())
    }
}

/// A payload held in memory.
pub struct BytesPayload {
    record: PayloadRecord,
    bytes: Arc<[u8]>,
    metadata: Map<String, Value>,
}

impl BytesPayload {
    /// A payload of these bytes.
    #[must_use]
    pub fn shared(file_name: impl Into<RemotePath>, bytes: impl Into<Arc<[u8]>>) -> Arc<dyn Payload> {
        Self::described(file_name, bytes, Map::new())
    }

    /// The same with metadata.
    #[must_use]
    pub fn described(
        file_name: impl Into<RemotePath>,
        bytes: impl Into<Arc<[u8]>>,
        metadata: Map<String, Value>,
    ) -> Arc<dyn Payload> {
        let bytes = bytes.into();
        let record = PayloadRecord {
            id: PayloadId::new(Uuid::new_v4()),
            length: bytes.len() as u64,
            content: Content::Staged(Sha256(openssl::sha::sha256(&bytes))),
            media_type: None,
            file_name: file_name.into(),
            staged_at: Timestamp::UNIX_EPOCH,
        };
        Arc::new(Self { record, bytes, metadata })
    }

    fn range(&self, range: Range<u64>) -> Vec<u8> {
        let cut = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes[cut(range.start)..cut(range.end).max(cut(range.start))].to_vec()
    }
}

#[async_trait]
impl Payload for BytesPayload {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        self.record.content.sha256()
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        0
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        Ok(Box::new(io::Cursor::new(self.range(range))))
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn io::Read + Send>> {
        Ok(Box::new(io::Cursor::new(self.range(range))))
    }
}
