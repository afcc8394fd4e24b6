//! What the engine gives to a transport, so that no transport needs the store.

use crate::{BufferBudget, Evidence, PartWriter, Payload, StagedPayload, StoredReply};
use async_trait::async_trait;
use model::definition::Definitions;
use model::{
    AuditEvent, Error, ErrorKind, EventKind, NodeName, OfferIdentity, OfferedHostKey, RemotePath, Result,
    SendProgress, SkipReason, Timestamp, TransferId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The engine's services for transports. They live longer than one attempt. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// This node.
    pub node: NodeName,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Partners, identities and keys in the revision in force.
    pub directory: Arc<dyn Directory>,
    /// The host keys that all nodes trust.
    pub host_keys: Arc<dyn HostKeyList>,
    /// The audit trail.
    pub audit: Arc<dyn AuditLog>,
    /// Room for buffers.
    pub budget: BufferBudget,
    /// Staging, for replies and received parts.
    pub staging: Arc<dyn StagingArea>,
}

impl Services {
    /// A new audit event of this node, now.
    #[must_use]
    pub fn event(&self, kind: EventKind) -> AuditEvent {
        AuditEvent::new(
            model::EventId::new(self.random.uuid(self.clock.now())),
            self.clock.now(),
            self.node.clone(),
            kind,
        )
    }
}

/// The part of staging that transports use.
pub trait StagingArea: Send + Sync {
    /// Begins a part without a name. Blocks briefly (creates a file).
    ///
    /// # Errors
    /// Local errors.
    fn begin(&self) -> Result<Box<dyn PartWriter>>;
}

/// The clock. A parameter, so that tests need not wait.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The present time in UTC, in whole microseconds.
    fn now(&self) -> Timestamp;

    /// A time that never goes back, for leases and durations. It starts at an arbitrary point.
    fn monotonic(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// The source of randomness. A parameter, so that tests can repeat it.
pub trait Random: Send + Sync {
    /// Fills the buffer with random bytes that are good enough for keys.
    fn fill(&self, bytes: &mut [u8]);

    /// A version 7 UUID for this moment.
    fn uuid(&self, now: Timestamp) -> Uuid {
        let mut random = [0_u8; 10];
        self.fill(&mut random);
        let millis = u64::try_from(now.timestamp_millis()).unwrap_or_default();
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    /// A number from 0 up to but not including 1.
    fn unit(&self) -> f64 {
        let mut bytes = [0_u8; 4];
        self.fill(&mut bytes);
        f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
    }
}

/// The definitions, in the revision in force at the time of asking.
pub trait Directory: Send + Sync {
    /// The definitions in force.
    fn definitions(&self) -> Arc<Definitions>;
}

/// The list of known hosts, for protocols whose servers show host keys.
#[async_trait]
pub trait HostKeyList: Send + Sync {
    /// The lines in force on this node, in the form of OpenSSH's `known_hosts`. The same `Arc` until the list changes.
    fn lines(&self) -> Arc<Vec<String>>;

    /// Keeps a key that a server showed and that is not on file, for a person to decide about.
    ///
    /// # Errors
    /// It could not be kept.
    async fn offered(&self, key: OfferedHostKey) -> Result<()>;
}

/// The audit trail, for events that do not belong to a state change.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Writes events. They are durable when it returns.
    ///
    /// # Errors
    /// They could not be written.
    async fn record(&self, events: Vec<AuditEvent>) -> Result<()>;
}

/// The highest number of unstable files that one poll reports.
pub const UNSTABLE_LIMIT: usize = 100;

/// A file whose modification time differed between two listings, while nothing else did. Either it is still
/// being written, or the server reports a different time on each request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnstableFile {
    /// Its path.
    pub path: RemotePath,
    /// Its size in bytes, if the server reports it.
    pub size: Option<u64>,
    /// The time in the last listing but one.
    pub was: Timestamp,
    /// The time in the last listing.
    pub is: Timestamp,
}

/// A file that a listing shows under the name of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedFile {
    /// Its path without the claim.
    pub path: RemotePath,
    /// Its size in bytes, if the server reports it.
    pub size: Option<u64>,
    /// Its modification time, if the server reports it.
    pub modified: Option<Timestamp>,
}

/// A file, or another entry of a listing, that a poll skips.
#[derive(Clone, Copy, Debug)]
pub struct SkippedFile<'a> {
    /// Its path below the polled directory.
    pub path: &'a RemotePath,
    /// The reason.
    pub why: SkipReason,
    /// Its identity as an offer; `None` if the poll skipped it by its name and kind alone.
    pub identity: Option<&'a OfferIdentity>,
}

impl<'a> SkippedFile<'a> {
    /// An entry that was skipped by its name and kind alone.
    #[must_use]
    pub const fn listed(path: &'a RemotePath, why: SkipReason) -> Self {
        Self { path, why, identity: None }
    }
}

/// The offers that are already known.
#[async_trait]
pub trait KnownOffers: Send + Sync {
    /// Returns which of these identity keys (at most 1,000 per call) must not be offered now.
    ///
    /// # Errors
    /// The database does not answer: the poll ends.
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>>;

    /// Returns which of these keys of done files (at most 1,000 per call) came with an earlier file of their name that is
    /// still known: then the file beside it is a new one whose done file is not there yet.
    ///
    /// # Errors
    /// The database does not answer: the poll ends.
    async fn used_done_files(&self, keys: Vec<String>) -> Result<HashSet<String>>;

    /// Reports the files (at most 1,000) that a listing shows under the names of claims. Returns the paths, without the
    /// claim, of those whose claims were left behind: unchanged for long enough, and no offer that is not settled waits
    /// for them.
    ///
    /// # Errors
    /// The database does not answer.
    async fn orphaned_claims(&self, claimed: Vec<ClaimedFile>) -> Result<Vec<RemotePath>>;

    /// Reports the files that are not offered because only their time has changed since the last
    /// listing: at most [`UNSTABLE_LIMIT`], the first in the flow's order. The engine counts them, and warns.
    fn unstable(&self, files: Vec<UnstableFile>);

    /// Whether staging may have room for a file that would be offered now. A file for which it has none is not offered, and does
    /// not count against the flow's limit. Asked for stable files alone, in their order, once for each that the limit allows.
    fn has_room(&self, _file: &OfferIdentity) -> bool {
        true
    }

    /// Called for each file that the poll skips, with the reason; for known files right after [`KnownOffers::known`].
    fn skipped(&self, _file: &SkippedFile<'_>) {}

    /// Reports that the listing was complete, so that kept files that no longer exist can be forgotten.
    ///
    /// # Errors
    /// The database does not answer.
    async fn listing_complete(&self) -> Result<()>;
}

/// What a note says of bytes that were kept ([`DeliveryLog::keep`]).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct KeptBytes {
    /// The bytes.
    pub bytes: StagedPayload,
    /// What the transport said of them.
    pub about: Value,
}

impl KeptBytes {
    /// Reads such a note.
    ///
    /// # Errors
    /// `Internal`, permanent: it is not one.
    pub fn of(note: &Value) -> Result<Self> {
        Self::deserialize(note).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "read the note of bytes that were kept").caused_by(error)
        })
    }

    /// The note.
    ///
    /// # Errors
    /// `Internal`, permanent: it cannot be written.
    pub fn to_note(&self) -> Result<Value> {
        serde_json::to_value(self).map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write the note of bytes that are kept").caused_by(error)
        })
    }
}

/// The message of a peer that a payload answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnsweredBy {
    /// By the key under which it was received ([`crate::Intake::begin`]).
    Key(String),
    /// By a transfer that was made of it.
    Transfer(TransferId),
}

/// The answer to a message, while its connection waits for a payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WaitingAnswer {
    /// The message's key. Whether its peer is the one that the payload is for is the transport's to see.
    pub key: String,
    /// What the peer gets without a payload.
    pub reply: StoredReply,
}

/// The durable state of one delivery, bound to the claim of the present attempt.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// Writes a note, which is durable when it returns. Write it **before** the act that it describes.
    ///
    /// # Errors
    /// The claim was lost, or the database does not answer: do not act.
    async fn note(&self, key: &str, value: Value) -> Result<()>;

    /// Keeps staged bytes that this delivery sends and that could not be made again exactly, under a note that says
    /// `about` of them: both are durable when it returns. The bytes are removed with the transfer's other payloads, at the
    /// end of its retention.
    ///
    /// # Errors
    /// As [`DeliveryLog::note`]. Bytes that were not kept are removed from staging in time.
    async fn keep(&self, key: &str, bytes: StagedPayload, about: Value) -> Result<Arc<dyn Payload>>;

    /// The bytes that an earlier attempt kept: of its note, read by [`KeptBytes::of`].
    ///
    /// # Errors
    /// Local errors.
    fn kept(&self, kept: &KeptBytes) -> Result<Arc<dyn Payload>>;

    /// Binds a key (a Message-ID) to this delivery. Call it before the first byte is sent.
    ///
    /// # Errors
    /// As [`DeliveryLog::note`].
    async fn correlate(&self, key: &str) -> Result<()>;

    /// The answer to a message of the peer that waits for a payload, if there is one; `None`, the default, where no answer
    /// ever waits.
    ///
    /// # Errors
    /// The database does not answer.
    async fn waiting_answer(&self, _of: &AnsweredBy) -> Result<Option<WaitingAnswer>> {
        Ok(None)
    }

    /// Puts what this delivery sends into the answer to a message that waits: the head of the whole answer, whose body is empty,
    /// and the body, which is staged and kept with the transfer's other payloads. It is durable when this returns, and
    /// a repetition of the message gets the same. Returns whether it is in the answer; if not, the wait has ended, and nothing
    /// was written.
    ///
    /// # Errors
    /// As [`DeliveryLog::note`].
    async fn give_answer(&self, _key: &str, _head: StoredReply, _body: StagedPayload) -> Result<bool> {
        Ok(false)
    }

    /// Hands in what proves the message of this attempt. It is written in the transaction that records the attempt as
    /// delivered, and dropped with an attempt that ends otherwise. The last one that was handed in counts. The receipt is
    /// recorded by itself. Where the receipt comes later, what proves the message is recorded with it
    /// ([`crate::Resolution`]).
    fn prove(&self, evidence: Evidence);

    /// Says how much of what this attempt sends has left, for a person who watches: every few seconds at most, and not of what
    /// is sent in less. Nothing depends on it, and the attempt goes on where it cannot be stored. The default stores nothing.
    async fn on_the_wire(&self, _progress: SendProgress) {}

    /// Whether the claim is still valid by the monotonic clock. Ask immediately before a publish or POST.
    ///
    /// # Errors
    /// `Transient`: the lease could not be renewed for half its time. Do not act.
    fn may_act(&self) -> Result<()>;
}
