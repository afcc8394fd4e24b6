//! What the engine lends a transport, so that none needs the store.

use crate::{BufferBudget, PartWriter};
use async_trait::async_trait;
use model::definition::Definitions;
use model::{AuditEvent, EventKind, NodeName, OfferIdentity, RemotePath, Result, SkipReason, Timestamp};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Everything lent for longer than one attempt. Cheap to clone.
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

/// Where parts can be staged.
pub trait StagingArea: Send + Sync {
    /// Begins a part without a name. Blocks briefly (creates a file).
    ///
    /// # Errors
    /// Local errors.
    fn begin(&self) -> Result<Box<dyn PartWriter>>;
}

/// Time, so that it can be tested and not slept.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Now, in UTC, cut to microseconds.
    fn now(&self) -> Timestamp;

    /// Time that only grows, for leases and durations; from an arbitrary beginning.
    fn monotonic(&self) -> Duration;

    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// Randomness, so that it can be repeated.
pub trait Random: Send + Sync {
    /// Fills with random bytes, fit for keys.
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

/// The audit trail, for events that are no part of a state change.
#[async_trait]
pub trait AuditLog: Send + Sync {
    /// Writes events; durable when it returns.
    ///
    /// # Errors
    /// They could not be written.
    async fn record(&self, events: Vec<AuditEvent>) -> Result<()>;
}

/// Most files of one poll that are told to be unstable.
pub const UNSTABLE_LIMIT: usize = 100;

/// A file of which nothing but the time differed between two looks at it: it is still being written, or its place tells
/// another time at each look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnstableFile {
    /// Its path.
    pub path: RemotePath,
    /// Its size in bytes, where the place tells it.
    pub size: Option<u64>,
    /// The time it was told with first.
    pub was: Timestamp,
    /// The time it was told with then.
    pub is: Timestamp,
}

/// A file, or something else that a listing shows, that a poll leaves where it is.
#[derive(Clone, Copy, Debug)]
pub struct SkippedFile<'a> {
    /// Its path below the polled directory.
    pub path: &'a RemotePath,
    /// Why.
    pub why: SkipReason,
    /// What it would be as an offer; `None` where the poll did not look further than at its name and kind.
    pub identity: Option<&'a OfferIdentity>,
}

impl<'a> SkippedFile<'a> {
    /// One that was listed and not looked at further.
    #[must_use]
    pub const fn listed(path: &'a RemotePath, why: SkipReason) -> Self {
        Self { path, why, identity: None }
    }
}

/// Which offers are known already.
#[async_trait]
pub trait KnownOffers: Send + Sync {
    /// Of these identity keys (at most 1,000 a call), those that must not be offered now.
    ///
    /// # Errors
    /// The database cannot be asked: the poll ends.
    async fn known(&self, keys: Vec<String>) -> Result<HashSet<String>>;

    /// Told, after both listings, which files the poll leaves to the next one though only their time moved in between: at most
    /// [`UNSTABLE_LIMIT`], the first in the flow's order. They are no offers; the engine counts them, and warns.
    fn unstable(&self, files: Vec<UnstableFile>);

    /// Told of each file that the poll leaves where it is, and why; of known ones right after they were asked about.
    fn skipped(&self, _file: &SkippedFile<'_>) {}

    /// Told once the listing was complete, so that kept files that are gone can be forgotten.
    ///
    /// # Errors
    /// The database cannot be asked.
    async fn listing_complete(&self) -> Result<()>;
}

/// Durable state of one delivery, bound to the claim that lends it.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// Writes a note; durable when it returns. Written **before** the act that it describes.
    ///
    /// # Errors
    /// The claim was lost, or the database cannot be asked: do not act.
    async fn note(&self, key: &str, value: Value) -> Result<()>;

    /// Binds a key (a Message-ID) to this delivery, before the first byte leaves.
    ///
    /// # Errors
    /// As [`DeliveryLog::note`].
    async fn correlate(&self, key: &str) -> Result<()>;

    /// Whether the claim still holds, by the monotonic clock: asked right before a publish or POST.
    ///
    /// # Errors
    /// The lease could not be renewed for half its time: do not act; `Transient`.
    fn may_act(&self) -> Result<()>;
}
