//! Where payloads go.

use crate::{DeliveryLog, Payload, Probe, StagedPart};
use async_trait::async_trait;
use model::{Claim, Receipt, RemotePath, Result, Timestamp};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// One attempt at a delivery, as the engine hands it to a destination.
pub struct Deliver {
    /// The right to act; its attempt number names temporary files.
    pub claim: Claim,
    /// The bytes.
    pub payload: Arc<dyn Payload>,
    /// The name at the destination, relative to the endpoint's directory. Never leads out of it.
    pub file_name: RemotePath,
    /// The flow, for names and the connection's requests.
    pub flow: String,
    /// The partner, when the transfer has one.
    pub partner: Option<String>,
    /// What earlier attempts noted, by key.
    pub notes: BTreeMap<String, Value>,
    /// Whether an earlier attempt was cut off, so that its effect is not known.
    pub interrupted: bool,
    /// Whether no further attempt follows by itself if this one fails: what surely had no effect is taken back then.
    pub is_last: bool,
    /// Durable state of this delivery.
    pub log: Arc<dyn DeliveryLog>,
}

/// How an attempt ended that did not fail.
#[derive(Debug)]
pub enum Sent {
    /// The destination has it, and said so.
    Delivered {
        /// Its evidence.
        receipt: Receipt,
        /// Payloads that came with the answer, already staged.
        replies: Vec<StagedPart>,
    },
    /// The receipt will come later, at the latest then.
    Awaiting {
        /// When the wait is over.
        deadline: Timestamp,
    },
}

/// A place that takes payloads.
#[async_trait]
pub trait Destination: Send + Sync {
    /// Makes one attempt. Before any act whose effect cannot be taken back it notes what it is about
    /// to do ([`DeliveryLog::note`]) and asks whether it still may ([`DeliveryLog::may_act`]).
    ///
    /// # Errors
    /// With the retry class of the protocol's own answer. `Ambiguous` when the effect is not known:
    /// the next attempt finds the notes and finds out.
    async fn deliver(&self, delivery: Deliver) -> Result<Sent>;

    /// Tries every step of a delivery and reports each; what it writes it removes.
    async fn probe(&self) -> Probe;
}
