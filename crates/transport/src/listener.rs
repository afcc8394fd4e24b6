//! What partners send to us.

use crate::{PartWriter, StagedPart};
use async_trait::async_trait;
use model::{AuditEvent, Receipt, RemotePath, Result, TransferId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::sync::watch;

/// Becomes true when the process is asked to end.
pub type Shutdown = watch::Receiver<bool>;

/// Something that takes messages from partners.
#[async_trait]
pub trait Listener: Send + Sync {
    /// Whether it could be served as it is defined: its certificate fits its key and is in date. Asked before another
    /// listener ends for it, which goes on when it could not.
    ///
    /// # Errors
    /// What is wrong with it.
    fn check(&self) -> Result<()> {
        Ok(())
    }

    /// Takes its addresses, or registers its routes with `net`'s server. A failure takes this listener
    /// down and says so; the process lives, and calls it again after a while, until it works: what is
    /// taken already stays so.
    ///
    /// # Errors
    /// The address is taken, or may not be used.
    async fn bind(&self, intake: Arc<dyn Intake>) -> Result<()>;

    /// Serves until shutdown, then lets what is under way end.
    ///
    /// # Errors
    /// The listener cannot go on.
    async fn serve(&self, shutdown: Shutdown) -> Result<()>;
}

/// The engine's side of a reception.
#[async_trait]
pub trait Intake: Send + Sync {
    /// Reserves a key (for AS2: sender, receiver, Message-ID), unique over all nodes.
    ///
    /// # Errors
    /// The database cannot be asked: the peer must not be answered.
    async fn begin(&self, key: &str) -> Result<Begin>;

    /// Ends a waiting delivery with its receipt; also one that is still being sent.
    ///
    /// # Errors
    /// The database cannot be asked.
    async fn resolve(&self, correlation: &str, receipt: Receipt) -> Result<Resolved>;
}

/// Whether a received file is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// Some flow takes it, and no flow that would is paused.
    Yes,
    /// No flow takes it.
    No,
    /// A flow that takes it is paused, in these words: the peer is asked to send the message again later, and nothing of
    /// it is taken, also not by other flows, which would otherwise take it twice.
    Paused(String),
}

/// The answer to a reservation.
pub enum Begin {
    /// It is new, or was answered with an error: receive it.
    New(Box<dyn Reception>),
    /// Another connection, here or on another node, is receiving it now: ask the peer to come again.
    InProgress,
    /// It was answered: give the same answer.
    Answered(StoredReply),
}

/// A reply kept so that it can be given again, byte for byte.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredReply {
    /// HTTP status, or the protocol's like.
    pub status: u16,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body. A reply is small: the contract's bound is 1 MiB.
    pub body: Vec<u8>,
}

/// One message being received. It ends under the definitions that were in force when it began. Dropping it frees the
/// key.
#[async_trait]
pub trait Reception: Send {
    /// Begins a part in staging.
    ///
    /// # Errors
    /// Staging cannot take it (`StorageFull`).
    async fn part(&mut self) -> Result<Box<dyn PartWriter>>;

    /// Whether some flow takes a file of this name from this partner: asked as soon as the name is known; `commit`
    /// looks again.
    fn wanted(&self, listener: &str, partner: Option<&str>, file_name: &RemotePath) -> Wanted;

    /// Writes offer, transfers, deliveries, events and the reply in one transaction. Only then may
    /// the peer be answered.
    ///
    /// # Errors
    /// Nothing was taken; or, `Ambiguous`, it is not known: the peer gets no answer and comes again. `Throttled` when a
    /// flow that takes it was paused meanwhile: the peer is asked to come again later.
    async fn commit(self: Box<Self>, message: Message, reply: StoredReply) -> Result<Vec<TransferId>>;

    /// Records why the message was refused, with the answer given; the key may begin again.
    ///
    /// # Errors
    /// It could not be recorded: the peer gets no answer.
    async fn refuse(self: Box<Self>, events: Vec<AuditEvent>, reply: StoredReply) -> Result<()>;
}

/// What was received, its parts committed.
pub struct Message {
    /// The listener's name.
    pub listener: String,
    /// The endpoint or path it came in by.
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

/// What a receipt found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// It ended its delivery.
    Matched,
    /// The delivery had ended already, the same way.
    Already,
    /// No delivery waits for it; recorded.
    Unmatched,
}
