//! Listeners: receiving what partners send.

use crate::{PartWriter, StagedPart};
use async_trait::async_trait;
use model::{AuditEvent, Receipt, RemotePath, Result, TransferId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::watch;

/// Becomes true when the process is to stop.
pub type Shutdown = watch::Receiver<bool>;

/// A listener: receives messages from partners.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Checks whether it could be served as it is defined, for example whether its certificate is valid now and
    /// matches its key. Called before it replaces a running listener, which keeps running if this fails.
    ///
    /// # Errors
    /// The reason why it could not be served.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Opens its addresses, or registers its routes with `net`'s server. If that fails, this listener is down and the
    /// failure is reported; the process continues and calls this method again after some time, until it succeeds.
    /// Addresses that are already open stay open.
    ///
    /// # Errors
    /// The address is in use, or may not be used.
    async fn bind(&self, intake: Arc<dyn Intake>) -> Result<()>;

    /// Serves until shutdown, then waits for running requests to finish.
    ///
    /// # Errors
    /// The listener cannot continue.
    async fn serve(&self, shutdown: Shutdown) -> Result<()>;
}

/// The engine's side of receiving messages.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Reserves the key of a message (for AS2: sender, receiver, Message-ID), unique over all nodes.
    ///
    /// # Errors
    /// The database does not answer: the peer must not be answered.
    async fn begin(&self, key: &str) -> Result<Begin>;

    /// Ends a delivery that waits for this receipt, or is still being sent.
    ///
    /// # Errors
    /// The database does not answer.
    async fn resolve(&self, correlation: &str, receipt: Receipt) -> Result<Resolved>;
}

/// Whether a received file is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A flow accepts it, and no flow that accepts it is paused.
    Yes,
    /// No flow accepts it.
    No,
    /// A flow that accepts it is paused, as the text says. The peer is asked to send the message again later; until
    /// then no flow accepts any part of it, because the other flows would receive it twice.
    Paused(String),
}

/// The result of reserving a message's key.
pub enum Begin {
    /// The message is new, or was answered with an error before: receive it.
    New(Box<dyn Reception>),
    /// Another connection, here or on another node, is receiving the message now: ask the peer to send it
    /// again later.
    InProgress,
    /// The message was answered before: give the same answer.
    Answered(StoredReply),
}

/// A reply that is stored, so that it can be sent again byte for byte.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredReply {
    /// HTTP status, or a similar number of another protocol.
    pub status: u16,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body. A reply is small: the contract's bound is 1 MiB.
    pub body: Vec<u8>,
}

/// One message that is being received. It is handled under the definitions that were in force when it began.
/// Dropping it releases the key.
#[async_trait]
pub trait Reception: Send {
    /// Begins a part in staging.
    ///
    /// # Errors
    /// Staging has no space (`StorageFull`), or another local error.
    async fn part(&mut self) -> Result<Box<dyn PartWriter>>;

    /// Whether a flow accepts a file of this name from this partner. Asked as soon as the name is known;
    /// `commit` checks again.
    fn wanted(&self, listener: &str, partner: Option<&str>, file_name: &RemotePath) -> Wanted;

    /// Writes offer, transfers, deliveries, events and the reply in one transaction. Only then may
    /// the peer be answered.
    ///
    /// # Errors
    /// Nothing was stored, or, if `Ambiguous`, that is unknown. The peer gets no answer, and will send the message
    /// again. `Throttled` if a flow that accepts it was paused in the meantime: the peer is asked to send it again
    /// later.
    async fn commit(self: Box<Self>, message: Message, reply: StoredReply) -> Result<Vec<TransferId>>;

    /// Records why the message was refused, and the answer. A message with the same key can be received
    /// again.
    ///
    /// # Errors
    /// The refusal could not be recorded: the peer gets no answer.
    async fn refuse(self: Box<Self>, events: Vec<AuditEvent>, reply: StoredReply) -> Result<()>;
}

/// A received message whose parts are committed.
pub struct Message {
    /// The listener's name.
    pub listener: String,
    /// The endpoint or path at which it arrived.
    pub endpoint: String,
    /// Who sent it.
    pub partner: Option<String>,
    /// Its parts.
    pub parts: Vec<StagedPart>,
    /// Metadata for all parts.
    pub metadata: Map<String, Value>,
    /// Events of the reception.
    pub events: Vec<AuditEvent>,
}

/// The result of resolving a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// The receipt ended its delivery.
    Matched,
    /// The delivery had already ended in the same way.
    Already,
    /// No delivery waits for the receipt; this was recorded.
    Unmatched,
}
