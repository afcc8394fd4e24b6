//! Destinations: where payloads are delivered to.

use crate::{DeliveryLog, Evidence, OutgoingReceipt, Payload, Probe, StagedPart, StoredReply};
use async_trait::async_trait;
use model::{Claim, ConnectionId, Receipt, RemotePath, Result, Sha256, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One attempt of a delivery, as the engine gives it to a destination.
pub struct Deliver {
    /// The claim under which this attempt acts. Its attempt number is part of the names of temporary files.
    pub claim: Claim,
    /// The bytes.
    pub payload: Arc<dyn Payload>,
    /// The files that go with it, in the same message, in their order. The engine hands in none for a transport that does not
    /// declare `sends_attachments`. They are staged, each with a file name, a media type and metadata.
    pub attachments: Vec<Arc<dyn Payload>>,
    /// The name at the destination, relative to the endpoint's directory. Never leads out of it.
    pub file_name: RemotePath,
    /// When the file was received: the time of dates in names.
    pub received: Timestamp,
    /// The flow, for names and the connection's requests.
    pub flow: String,
    /// The partner, when the transfer has one.
    pub partner: Option<String>,
    /// The notes of earlier attempts, by key.
    pub notes: BTreeMap<String, Value>,
    /// Whether an earlier attempt was interrupted, so that its effect is unknown.
    pub interrupted: bool,
    /// Whether this is the last automatic attempt. If it fails without effect, it must remove what it has
    /// written.
    pub is_last: bool,
    /// Durable state of this delivery.
    pub log: Arc<dyn DeliveryLog>,
}

/// The result of an attempt that did not fail.
#[derive(Debug)]
pub enum Sent {
    /// The destination has the payload and confirmed it.
    Delivered {
        /// The evidence.
        receipt: Receipt,
        /// Payloads that arrived with the answer.
        replies: Vec<Reply>,
    },
    /// The receipt will arrive later.
    Awaiting {
        /// When the delivery stops waiting for it.
        deadline: Timestamp,
        /// The connection that the payload went over, where it went over one.
        connection: Option<ConnectionId>,
        /// Payloads that arrived with the answer. The peer may repeat them when the file is sent once more, because no receipt
        /// has come: where no message of theirs is known ([`Reply::message`]), they are recorded once more.
        replies: Vec<Reply>,
    },
}

/// A payload that arrived with the answer to a delivery. It becomes a transfer in the transaction that records how the attempt
/// ended.
#[derive(Debug)]
pub struct Reply {
    /// The payload, already staged.
    pub part: StagedPart,
    /// The receipt that the peer asks for, recorded in the same transaction and sent later: of several replies of one answer
    /// the first has it.
    pub receipt: Option<OutgoingReceipt>,
    /// The message of which the payloads of the answer are the content, where it has an id of its own: it is remembered in the
    /// same transaction. Of several replies of one answer the first has it.
    pub message: Option<AnswerMessage>,
}

/// A message that arrived in the answer to a delivery. It is remembered like one that a listener received, so that the peer may
/// also send it as a message of its own, before or after, and it is taken once.
#[derive(Clone, PartialEq, Debug)]
pub struct AnswerMessage {
    /// Its key, the same as that of the message where a listener receives it ([`crate::Intake::begin`]).
    pub key: String,
    /// Its id as the peer wrote it, for events.
    pub message_id: String,
    /// The answer that a listener gives to a repetition.
    pub reply: StoredReply,
    /// What its parts are ([`crate::content_digest`]).
    pub content: Sha256,
    /// Whether a copy that the peer also sends as a message of its own is a repetition. Where a listener would make something else
    /// of it than transfers, it is not.
    pub is_remembered: bool,
    /// What proves it.
    pub evidence: Option<Evidence>,
}

impl From<StagedPart> for Reply {
    /// One for which no receipt is asked.
    fn from(part: StagedPart) -> Self {
        Self { part, receipt: None, message: None }
    }
}

/// A destination: a place to which payloads are delivered.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Makes one attempt. Before each act that cannot be undone, it notes what it is going to do
    /// ([`DeliveryLog::note`]) and asks whether it is still allowed to ([`DeliveryLog::may_act`]).
    ///
    /// # Errors
    /// The retry class follows from the protocol's own answer. `Ambiguous` if the effect is unknown: the next
    /// attempt finds out, with the help of the notes.
    async fn deliver(&self, delivery: Deliver) -> Result<Sent>;

    /// Whether a file can have this name here, as far as that is known without asking the server. A poll refuses a file
    /// that cannot, and leaves it at its source, instead of taking it and failing later.
    ///
    /// # Errors
    /// Permanent: it cannot; the error says why.
    fn check_name(&self, _file_name: &RemotePath) -> Result<()> {
        Ok(())
    }

    /// Tests every step of a delivery and reports each. Removes what it writes.
    async fn probe(&self) -> Probe;
}
