//! Messages that are kept while they arrive, so that their senders can go on where a connection broke.

use async_trait::async_trait;
use model::{AuditEvent, Error, Result};
use std::time::Duration;
use tokio::sync::watch;

/// What is kept of a message. The caller that asked for it is its holder now: an earlier one's bytes are not counted any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldMessage {
    /// The number of this holder, to go on with ([`Keep::goes_on`]).
    pub holder: i64,
    /// The message's key, as [`crate::Intake::begin`] gets it.
    pub message: String,
    /// Bytes that are durable.
    pub length: u64,
    /// The last of them.
    pub last_byte: Option<u8>,
    /// Bytes of the whole message, where they are known.
    pub total: Option<u64>,
    /// The message was answered. Its bytes are removed.
    pub answered: bool,
}

/// A message that is to be kept while it arrives.
#[derive(Debug)]
pub struct Keep {
    /// By what it is known; for AS2: transfer id, sender, receiver.
    pub key: String,
    /// The message's key, as [`crate::Intake::begin`] gets it.
    pub message: String,
    /// The listener.
    pub listener: String,
    /// The partner that it names.
    pub partner: String,
    /// The holder's number, to go on with what is held. `None` starts over: what was kept under the key is removed.
    pub goes_on: Option<i64>,
    /// Bytes of the whole message, where they are known.
    pub total: Option<u64>,
    /// The bounds of the listener.
    pub limits: KeepLimits,
    /// How long it is kept after its last byte.
    pub keep_for: Duration,
    /// Recorded when it is kept.
    pub events: Vec<AuditEvent>,
    /// Recorded, with the number of bytes that are durable (`received`), if its connection breaks ([`PartialBytes::broke_off`]).
    pub broken_off: AuditEvent,
    /// Recorded instead, in the same way, if what has come is removed because it is too little to go on with.
    pub too_little: AuditEvent,
}

/// What a listener keeps of all messages that are not whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeepLimits {
    /// The most messages.
    pub messages: u64,
    /// The most bytes, of whole messages where their length is known.
    pub bytes: u64,
}

/// The answer to [`KeptMessages::keep`].
pub enum Kept {
    /// It is kept.
    Open(KeptMessage),
    /// A new message is not kept, for this reason; it can be received all the same.
    NotKept(String),
    /// Nothing is held any more: the sender has to start over.
    Gone,
    /// Somebody else has taken the message over.
    TakenOver,
    /// There is no room for the rest of the message and its payload: the sender is to come again.
    NoRoom(Error),
}

/// A message that is kept while it arrives.
pub struct KeptMessage {
    /// Its bytes.
    pub bytes: Box<dyn PartialBytes>,
    /// What becomes of it.
    pub state: KeptState,
}

/// The bytes of a message that is kept while it arrives. All methods block. Dropping it makes durable what has come.
pub trait PartialBytes: Send {
    /// Bytes that are held.
    fn length(&self) -> u64;

    /// Reads some of them again, from an offset. Returns 0 at the end.
    ///
    /// # Errors
    /// Local errors.
    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize>;

    /// Appends bytes.
    ///
    /// # Errors
    /// `Throttled` if somebody else has taken the message over; `StorageFull`, other local errors.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Says that the message is whole.
    fn finish(&mut self);

    /// Says that the connection broke before it was: this is put on record ([`Keep::broken_off`]).
    fn broke_off(&mut self);
}

/// What becomes of a message that is kept while it arrives.
#[derive(Clone, Debug)]
pub struct KeptState {
    taken_over: watch::Receiver<bool>,
    ended: watch::Receiver<bool>,
}

impl KeptState {
    /// Each becomes true once.
    #[must_use]
    pub const fn new(taken_over: watch::Receiver<bool>, ended: watch::Receiver<bool>) -> Self {
        Self { taken_over, ended }
    }

    /// Waits until somebody else takes the message over, or the process ends: its connection is to be given up.
    pub async fn taken_over(&mut self) {
        if self.taken_over.wait_for(|is| *is).await.is_err() {
            // Its task has ended: nothing takes it over here any more.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until what has come is durable and recorded, after the [`PartialBytes`] were dropped; or until that is given up.
    pub async fn ended(&mut self) {
        // An error means that the engine is gone, which is an end as well.
        drop(self.ended.wait_for(|is| *is).await);
    }
}

/// The engine's side of messages that are kept while they arrive. One holder at a time writes a message; a caller that asks what
/// is held takes it over, on whichever node.
#[async_trait]
pub trait KeptMessages: Send + Sync {
    /// Takes a message over and says what is held of it. `None` if nothing is; if too little is to go on with, it is removed.
    ///
    /// # Errors
    /// The database does not answer.
    async fn held(&self, key: &str) -> Result<Option<HeldMessage>>;

    /// Keeps a message from now on.
    ///
    /// # Errors
    /// The database does not answer, or a local error.
    async fn keep(&self, keep: Keep) -> Result<Kept>;

    /// Removes what is held of a message that was answered or refused. Of an answered one its length and last byte stay.
    ///
    /// # Errors
    /// The database does not answer.
    async fn forget(&self, key: &str) -> Result<()>;
}
