//! Listeners: receiving what partners send.

use crate::{Evidence, KeptMessages, PartWriter, Payload, StagedPart};
use async_trait::async_trait;
use model::{
    AuditEvent, CertificateExchange, DeliveryId, DeliveryState, Error, Receipt, RemotePath, Result, Sha256,
    Timestamp, TransferId,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
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

    /// The delivery that a receipt is about, by the key that was bound to it ([`crate::DeliveryLog::correlate`]), whatever
    /// its state; `None` if there is none. Whether a receipt proves the delivery is for the transport to say, from the
    /// notes of the attempt.
    ///
    /// # Errors
    /// The database does not answer: the peer must not be answered.
    async fn awaited(&self, correlation: &str) -> Result<Option<Awaited>>;

    /// Records what a receipt says of its delivery, which may wait for it or still be being sent. Only then may the
    /// peer be answered.
    ///
    /// # Errors
    /// The database does not answer: the peer must not be answered.
    async fn resolve(&self, correlation: &str, resolution: Resolution) -> Result<Resolved>;

    /// Sends the receipts of a message again that was answered before and was received once more. Nothing is sent while
    /// an earlier receipt of the message is still on its way: one that waits for its next attempt goes soon. Nor right after
    /// one has failed. Returns whether they are sent.
    ///
    /// # Errors
    /// The database does not answer: the peer must not be answered.
    async fn repeat_receipts(&self, key: &str, receipts: Vec<OutgoingReceipt>) -> Result<bool>;

    /// How many receipts for messages of a partner are still on their way, counted up to `most`. Each is kept and tried for
    /// hours: a listener MUST NOT accept more without end.
    ///
    /// # Errors
    /// The database does not answer: the peer must not be answered.
    async fn open_receipts(&self, partner: &str, most: u32) -> Result<u32>;

    /// How the answer to a message stands that was to wait for a payload ([`Message::answer_until`]), and is given this reply.
    /// A reply other than that of the commit is for another message under its key: it waits for nothing.
    ///
    /// # Errors
    /// The database does not answer.
    async fn answer(&self, key: &str, reply: &StoredReply) -> Result<AnswerState>;

    /// Ends the wait, and tells how the answer stands: from here on no payload goes into it.
    ///
    /// # Errors
    /// As [`Intake::answer`].
    async fn close_answer(&self, key: &str, reply: &StoredReply) -> Result<AnswerState>;

    /// Messages that are kept while they arrive, so that their senders can go on where a connection broke.
    fn kept(&self) -> &dyn KeptMessages;
}

/// A file of a message about which a listener asks. Flows choose by its name and by its metadata.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedFile<'a> {
    /// Its name.
    pub file_name: &'a RemotePath,
    /// The metadata of its message ([`Message::metadata`]).
    pub of_message: &'a Map<String, Value>,
    /// Its own ([`StagedPart::metadata`]), which counts where both have a key.
    pub metadata: &'a Map<String, Value>,
}

impl<'a> ReceivedFile<'a> {
    /// The value of a key, as its transfers will have it.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'a Value> {
        self.metadata.get(key).or_else(|| self.of_message.get(key))
    }
}

/// Whether a received file is accepted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wanted {
    /// A flow accepts it, and no flow that accepts it is paused.
    Yes,
    /// No flow accepts it. The text says why, for the operator alone: it names flows, and is not sent to the peer.
    No(String),
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
    /// A message with this key was answered before: give the same answer, if it has the same content.
    Answered(AnsweredMessage),
}

/// A message that was answered before.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnsweredMessage {
    /// The answer.
    pub reply: StoredReply,
    /// What its parts were ([`content_digest`]); `None` where that is not known.
    pub content: Option<Sha256>,
    /// Whether it came in the answer to a delivery ([`crate::AnswerMessage`]).
    pub from_answer: bool,
}

/// How the answer to a message stands.
pub enum AnswerState {
    /// It waits for nothing: the peer gets the reply of the commit.
    Plain,
    /// It waits for a payload until this time.
    Waiting(Timestamp),
    /// It holds a payload.
    Given {
        /// Its status and header fields; its body is empty.
        head: StoredReply,
        /// Its body.
        body: Arc<dyn Payload>,
    },
}

/// One digest for the parts of a message, of the SHA-256 of each. Two messages with the same parts have the same, in whatever
/// order these stand, and however they are signed, encrypted and compressed.
#[must_use]
pub fn content_digest(parts: &[Sha256]) -> Sha256 {
    let mut parts: Vec<[u8; 32]> = parts.iter().map(|part| part.0).collect();
    parts.sort_unstable();
    Sha256(openssl::sha::sha256(&parts.concat()))
}

/// A reply that is stored, so that it can be sent again byte for byte.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredReply {
    /// HTTP status, or a similar number of another protocol.
    pub status: u16,
    /// Header fields in order.
    pub headers: Vec<(String, String)>,
    /// The body. A reply is small: the contract's bound is 1 MiB. An answer that holds a payload is staged instead
    /// ([`AnswerState::Given`]).
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

    /// Whether a flow accepts a file of this name, with this metadata (its own and its message's), from this partner. Asked as
    /// soon as both are known, with the same metadata as at the commit; `commit` checks again.
    fn wanted(
        &self,
        listener: &str,
        partner: Option<&str>,
        file_name: &RemotePath,
        metadata: &Map<String, Value>,
    ) -> Wanted;

    /// The same for each file of a message, the first as its root: a flow that keeps the files of a message together looks
    /// at the name and the metadata of the first alone.
    fn wanted_files(&self, listener: &str, partner: Option<&str>, files: &[ReceivedFile<'_>]) -> Vec<Wanted>;

    /// The message was kept under this key ([`KeptMessages::keep`]): with the commit, what is kept counts as answered.
    fn was_kept(&mut self, key: &str);

    /// Writes offer, transfers, deliveries, events and the reply in one transaction. Only then may
    /// the peer be answered.
    ///
    /// # Errors
    /// Nothing was stored, or, if `Ambiguous`, that is unknown. The peer gets no answer, and will send the message
    /// again. `Throttled` if a flow that accepts it was paused in the meantime: the peer is asked to send it again
    /// later.
    async fn commit(self: Box<Self>, message: Message, reply: StoredReply) -> Result<Vec<TransferId>>;

    /// Records why the message was refused, the answer, and the receipts that are sent later, in one transaction. A
    /// message with the same key can be received again.
    ///
    /// # Errors
    /// The refusal could not be recorded: the peer gets no answer.
    async fn refuse(
        self: Box<Self>,
        events: Vec<AuditEvent>,
        reply: StoredReply,
        receipts: Vec<OutgoingReceipt>,
    ) -> Result<()>;

    /// Records what a message says of certificates, with its reply, the receipts that are sent later and its events, in one
    /// transaction; no transfer is made of it. `content` is the digest of its content, as of any message ([`content_digest`]).
    /// Nothing is used of certificates that are proposed: a person or the partner's policy decides.
    ///
    /// # Errors
    /// As [`Reception::commit`]. `Throttled` if too many proposals of the partner wait for a decision, or came within a day.
    async fn take_exchange(
        self: Box<Self>,
        exchange: CertificateExchange,
        content: Sha256,
        events: Vec<AuditEvent>,
        reply: StoredReply,
        receipts: Vec<OutgoingReceipt>,
    ) -> Result<()>;
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
    /// Receipts that are sent later.
    pub receipts: Vec<OutgoingReceipt>,
    /// What proves it; its content [`crate::EvidenceContent::Payload`] is the only part.
    pub evidence: Option<Evidence>,
    /// Until when its connection waits for a payload that is to go into the answer ([`crate::DeliveryLog::give_answer`]);
    /// `None` where the peer is answered at once.
    pub answer_until: Option<Timestamp>,
}

/// A receipt that is sent later, to a place that the message named. It becomes a transfer of kind `receipt`, recorded
/// together with what it confirms or refuses, and is delivered, retried and audited like any other, by the destination
/// that [`crate::Transport::receipt_destination`] makes.
#[derive(Debug)]
pub struct OutgoingReceipt {
    /// The listener that received the message.
    pub listener: String,
    /// The partner that gets the receipt.
    pub partner: String,
    /// The endpoint whose connection settings are used.
    pub endpoint: String,
    /// Where it is sent.
    pub url: String,
    /// Whether it refuses another message than the one that was accepted under its key: then it is not filed under that one.
    pub of_other: bool,
    /// Its bytes, the same in each attempt, with its name and metadata.
    pub part: StagedPart,
}

/// The delivery that a receipt is about.
pub struct Awaited {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its transfer.
    pub transfer: TransferId,
    /// Its state.
    pub state: DeliveryState,
    /// The last attempt, from 1.
    pub attempt: u32,
    /// The flow that it goes through.
    pub flow: String,
    /// The endpoint that it goes to.
    pub endpoint: String,
    /// The notes of its attempts, by key.
    pub notes: BTreeMap<String, Value>,
    /// What was sent. It may have been removed since, at the end of its retention.
    pub payload: Arc<dyn Payload>,
}

/// What a receipt says of its delivery, and what is recorded with that in one transaction.
#[derive(Debug)]
pub struct Resolution {
    /// What it says.
    pub judgement: Judgement,
    /// The partner that sent it, which the delivery's transfer need not name: that of a file that was polled names none, that of
    /// a file that is passed on names the one that it came from.
    pub partner: Option<String>,
    /// Notes of the delivery to be written, as the receipt itself where it does not prove the delivery.
    pub notes: Vec<(String, Value)>,
    /// Further events. Those without a delivery get this one.
    pub events: Vec<AuditEvent>,
    /// Events that are true only if the delivery is tried again; recorded if another attempt is left.
    pub if_retried: Vec<AuditEvent>,
    /// By what a refusal is known when it is posted again: it counts once. None where every one counts.
    pub digest: Option<String>,
    /// What it was judged by. Where that is no longer so, nothing is recorded ([`Resolved::Changed`]).
    pub judged_by: Option<JudgedBy>,
    /// What proves the message together with the receipt; recorded if the receipt proves the delivery, and moves it to
    /// `delivered`. Its content is the payload, or bytes that the delivery keeps ([`crate::DeliveryLog::keep`]).
    pub evidence: Option<Evidence>,
}

impl From<Judgement> for Resolution {
    /// With nothing besides.
    fn from(judgement: Judgement) -> Self {
        Self {
            judgement,
            partner: None,
            notes: Vec::new(),
            events: Vec::new(),
            if_retried: Vec::new(),
            digest: None,
            judged_by: None,
            evidence: None,
        }
    }
}

/// What of a delivery a receipt was judged by, as it was read ([`Intake::awaited`]).
#[derive(Clone, PartialEq, Debug)]
pub struct JudgedBy {
    /// The last attempt.
    pub attempt: u32,
    /// Notes, by key; `None` for one that was not there.
    pub notes: BTreeMap<String, Option<Value>>,
}

/// What a receipt says of its delivery.
#[derive(Debug)]
pub enum Judgement {
    /// It proves that the peer has the payload.
    Proof(Receipt),
    /// The peer refuses the payload, or proves that it has other bytes. Where the error's class says that trying again
    /// can help, the delivery is tried again as after any failed attempt.
    Refusal {
        /// The receipt, which is not positive.
        receipt: Receipt,
        /// What it means.
        error: Error,
        /// Whether it counts although an earlier receipt proved the delivery: it is as well proved as that one. One whose detail does
        /// not say `signed` never counts where that one's does.
        may_contradict: bool,
    },
    /// It proves nothing, and anybody may have sent it: the delivery still waits.
    NoProof {
        /// The receipt.
        receipt: Receipt,
        /// What is wrong with it.
        error: Error,
    },
}

/// The result of resolving a receipt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// The receipt ended its delivery, or its attempt.
    Matched,
    /// The receipt changed nothing: the delivery had already ended, or is tried again anyway, or this refusal was recorded
    /// before. This was recorded.
    Already,
    /// Nothing was recorded: the delivery is no longer what the receipt was judged by. It is to be judged again.
    Changed,
    /// The receipt proves nothing: the delivery still waits. This was recorded.
    Unproven,
    /// No delivery has this key; this was recorded.
    Unmatched,
}
