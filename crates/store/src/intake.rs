//! Messages that peers send: begun once, answered once, answered again with the same bytes.

use crate::delivery::NewTransfer;
use crate::lease::NodeLease;
use crate::open::Store;
use model::{AuditEvent, Offer, Result, Timestamp};
use serde_json::Value;

/// What the peer was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// Status and header fields, in the listener's own form.
    pub head: Value,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
}

/// The answer to [`Store::intake_begin`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntakeBegun {
    /// Reserved for this caller.
    New,
    /// Another copy is being received, here or on another node that lives.
    InProgress,
    /// It was received and answered: answer the same.
    Answered(Reply),
}

/// A received message with what is made of it.
#[derive(Clone, Debug)]
pub struct IntakeCommit {
    /// Who received it. No longer held: nothing is written.
    pub lease: NodeLease,
    /// The key that [`Store::intake_begin`] reserved.
    pub key: String,
    /// The reception as an offer; `state` must be `staging`. There is nothing to settle.
    pub offer: Offer,
    /// One for each part.
    pub transfers: Vec<NewTransfer>,
    /// What the peer will be answered, once this is committed.
    pub reply: Reply,
    /// What the audit trail says about it.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::intake_commit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntakeCommitted {
    /// It is ours: answer the peer.
    Committed,
    /// The key is another's by now: nothing was written; give the peer no answer.
    Lost,
}

impl Store {
    /// Reserves a key (for AS2: sender, receiver, Message-ID), unique over all nodes. A key that was
    /// refused, or whose node no longer lives, begins anew. `Lost` leases get `InProgress`.
    ///
    /// # Errors
    /// The node's lease is not held any more; the database failed.
    pub async fn intake_begin(&self, lease: &NodeLease, key: &str, now: Timestamp) -> Result<IntakeBegun> {
        self.write(IntakeBegin { lease: lease.clone(), key: key.to_owned(), now }).await
    }

    /// Writes offer, payloads, transfers, deliveries, events and the reply's exact bytes in one
    /// transaction.
    ///
    /// # Errors
    /// The database failed. `Ambiguous`: ask [`Store::intake_answer`]; until it tells, give the peer no
    /// answer.
    pub async fn intake_commit(&self, commit: IntakeCommit) -> Result<IntakeCommitted> {
        self.write(commit).await
    }

    /// The message was answered with an error: the key may begin again. The reply is kept for the
    /// record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn intake_refuse(
        &self,
        lease: &NodeLease,
        key: &str,
        reply: Option<Reply>,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(IntakeRefuse { lease: lease.clone(), key: key.to_owned(), reply, events, now }).await
    }

    /// The message did not arrive whole: the key is free again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn intake_abandon(&self, lease: &NodeLease, key: &str) -> Result<()> {
        self.write(IntakeAbandon { lease: lease.clone(), key: key.to_owned() }).await
    }

    /// Reads the answer of a message back; `None` when it was not committed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn intake_answer(&self, key: &str) -> Result<Option<Reply>> {
        let _ = key;
        Ok(None)
    }

    /// Forgets keys that were answered or refused before a time. Answers how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_intake_keys(&self, before: Timestamp) -> Result<u64> {
        self.write(PurgeIntakeKeys { before }).await
    }
}

struct IntakeBegin {
    lease: NodeLease,
    key: String,
    now: Timestamp,
}
struct IntakeRefuse {
    lease: NodeLease,
    key: String,
    reply: Option<Reply>,
    events: Vec<AuditEvent>,
    now: Timestamp,
}
struct IntakeAbandon {
    lease: NodeLease,
    key: String,
}
struct PurgeIntakeKeys {
    before: Timestamp,
}
crate::command::unfinished!(IntakeBegin => IntakeBegun, IntakeCommit => IntakeCommitted, IntakeRefuse => (), IntakeAbandon => (), PurgeIntakeKeys => u64);
