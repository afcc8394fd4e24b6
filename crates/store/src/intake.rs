//! Messages from peers: received once, answered once, and answered again with the same bytes.

mod answer_messages;
mod answers;
mod keys;
mod receipts;

pub use answer_messages::{AnswerFinished, NewAnswerMessage};
pub use answers::{AnswerGiven, AnswerState, AnsweredBy};
pub(crate) use keys::lock_key;

use crate::action::{Act, cancel_unended};
use crate::command::{Command, place_of};
use crate::delivery::{NewEvidence, NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::offer::insert_settled;
use crate::open::Store;
use crate::row::digest;
use crate::tx::Tx;
use async_trait::async_trait;
use keys::{KeyRow, ReplyRow, Reserved, reserve};
use model::{Actor, AuditEvent, Error, ErrorKind, NodeName, Offer, Result, Sha256, Timestamp, TransferId};
use receipts::are_recorded;
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

/// The most keys deleted in one transaction.
const PURGED: i64 = 1000;

/// The answer to a peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    /// `status`, and `headers` as ordered pairs; otherwise in the listener's own form.
    pub head: Value,
    /// The exact bytes of the body.
    pub body: Vec<u8>,
}

/// The answer to [`Store::intake_begin`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntakeBegun {
    /// Reserved for this caller.
    New,
    /// Another copy is being received, on this or another living node.
    InProgress,
    /// A message with this key was received and answered: give the same answer, if it has the same content.
    Answered(Answered),
}

/// A message that was answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// The answer.
    pub reply: Reply,
    /// The digest of its content, as its commit gave it.
    pub content: Option<Sha256>,
    /// Whether the message came in the answer to a delivery.
    pub from_answer: bool,
}

/// A received message and the records made from it.
#[derive(Clone, Debug)]
pub struct IntakeCommit {
    /// The receiving node's lease. If it is no longer held, nothing is written.
    pub lease: NodeLease,
    /// The key that [`Store::intake_begin`] reserved.
    pub key: String,
    /// The reception as an offer. Its `state` must be `staging`. It needs no settling.
    pub offer: Offer,
    /// One for each part, and those of receipts that are sent later.
    pub transfers: Vec<NewTransfer>,
    /// The answer that the peer gets after the commit.
    pub reply: Reply,
    /// A digest of its content, by which a repetition is told from another message with the same key.
    pub content: Option<Sha256>,
    /// What proves the message.
    pub evidence: Option<NewEvidence>,
    /// Until when the answer waits for a payload; `None` where the peer is answered at once.
    pub answer_until: Option<Timestamp>,
    /// The events.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::intake_commit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntakeCommitted {
    /// It is recorded: answer the peer.
    Committed,
    /// Another node holds the key now, or the message was recorded as it came in an answer: nothing was written; do not answer
    /// the peer.
    Lost,
}

impl Store {
    /// Reserves a key (for AS2: sender, receiver, Message-ID), unique over all nodes. A key that was refused, or
    /// whose node has died, can be reserved again.
    ///
    /// # Errors
    /// The node no longer holds its lease; or the database failed.
    pub async fn intake_begin(&self, lease: &NodeLease, key: &str, now: Timestamp) -> Result<IntakeBegun> {
        self.write(IntakeBegin { lease: lease.clone(), key: key.to_owned(), now }).await
    }

    /// Writes offer, payloads, transfers, deliveries, events and the reply's exact bytes in one
    /// transaction.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call [`Store::intake_answer`]; until it returns the result, do not answer
    /// the peer.
    pub async fn intake_commit(&self, commit: IntakeCommit) -> Result<IntakeCommitted> {
        self.write(commit).await
    }

    /// Records that the message was answered with an error, and the receipts that are sent later: the key can be reserved
    /// again. The reply is kept for the record. Returns whether the key was held; if not, no receipt is recorded.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same receipts.
    pub async fn intake_refuse(
        &self,
        lease: &NodeLease,
        key: &str,
        reply: Option<Reply>,
        receipts: Vec<NewTransfer>,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<bool> {
        let (lease, key) = (lease.clone(), key.to_owned());
        self.write(IntakeRefuse { lease, key, reply, receipts, events, now }).await
    }

    /// Frees the key of a message that did not arrive completely.
    ///
    /// # Errors
    /// The database failed.
    pub async fn intake_abandon(&self, lease: &NodeLease, key: &str) -> Result<()> {
        self.write(IntakeAbandon { lease: lease.clone(), key: key.to_owned() }).await
    }

    /// Reads the stored answer to a message; `None` if it was not committed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn intake_answer(&self, key: &str) -> Result<Option<Reply>> {
        let found: Option<ReplyRow> = self
            .read("look up the answer to a message", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT reply_head, reply_body FROM intake_keys WHERE digest = $1 AND state = 'answered'")
                    .bind(digest(key)).fetch_optional(c).await)
            })
            .await?;
        Ok(found.map(ReplyRow::reply))
    }

    /// Deletes keys that were answered or refused before a time. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn purge_intake_keys(&self, before: Timestamp) -> Result<u64> {
        let mut purged = 0;
        loop {
            match self.write(PurgeIntakeKeys { before }).await? {
                0 => return Ok(purged),
                some => purged += some,
            }
        }
    }
}

struct IntakeBegin {
    lease: NodeLease,
    key: String,
    now: Timestamp,
}

#[async_trait]
impl Command for IntakeBegin {
    type Answer = IntakeBegun;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<IntakeBegun, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Err(lease_lost("begin a message"));
        }
        let holder = (&self.lease.node, self.lease.epoch);
        match reserve(tx, &self.key, holder, self.now).await? {
            Reserved::New => Ok(IntakeBegun::New),
            Reserved::Known(row) => self.again(tx, &digest(&self.key), row).await,
            Reserved::Not => Ok(IntakeBegun::InProgress),
        }
    }
}

impl IntakeBegin {
    /// The key is known: its state decides.
    async fn again(&self, tx: &mut Tx<'_>, digest: &str, row: KeyRow) -> Result<IntakeBegun, Fault> {
        if row.state == "answered" {
            return Ok(IntakeBegun::Answered(row.answered()));
        }
        if row.state == "in_progress" {
            let time = tx.lease_time(self.now);
            let lives: Option<i64> = on!(tx, c => sqlx::query_scalar(
                "SELECT epoch FROM leases WHERE node = $1 AND epoch = $2 AND held AND until_at > $3")
                .bind(&row.node).bind(row.epoch).bind(time).fetch_optional(c).await)?;
            if lives.is_some() {
                return Ok(IntakeBegun::InProgress);
            }
        }
        on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'in_progress', node = $2, epoch = $3, began_at = $4, \
             answered_at = NULL, reply_head = NULL, reply_body = NULL, content_digest = NULL, \
             answer_until = NULL, answer_head = NULL, answer_payload_id = NULL WHERE digest = $1")
            .bind(digest).bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(self.now)
            .execute(c).await.map(|_| ()))?;
        Ok(IntakeBegun::New)
    }
}

pub(crate) fn lease_lost(operation: &'static str) -> Fault {
    Error::transient(ErrorKind::Unreachable, operation)
        .advice("this node's lease has ended; try again when it has a new one")
        .into()
}

#[async_trait]
impl Command for IntakeCommit {
    type Answer = IntakeCommitted;

    fn place(&self) -> u128 {
        // Sorted like the lanes of its flow. The key's own row is used by one attempt at most beside it, in whose answer the same
        // message came: where the two wait for each other, one is done again. The offer has no flow.
        place_of(self.transfers.first().map_or("", |new| &new.transfer.flow))
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<IntakeCommitted, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(IntakeCommitted::Lost);
        }
        let digest = digest(&self.key);
        let Some(row) = lock_key(tx, &digest).await? else { return Ok(IntakeCommitted::Lost) };
        if row.state == "answered" && row.offer_id == Some(self.offer.id.uuid()) {
            return Ok(IntakeCommitted::Committed);
        }
        let ours = row.state == "in_progress"
            && row.node == self.lease.node.as_str()
            && row.epoch == self.lease.epoch;
        if !ours || !insert_settled(tx, &self.offer, self.now).await? {
            return Ok(IntakeCommitted::Lost);
        }
        cancel_refusal(tx, row.refusal_id, &self.lease.node, self.now).await?;
        let transfers = insert_transfers(tx, &self.transfers, self.now).await?;
        if let Some(evidence) = &self.evidence {
            evidence.insert(tx, self.now).await?;
        }
        on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'answered', answered_at = $2, offer_id = $3, reply_head = $4, \
             reply_body = $5, content_digest = $6, answer_until = $7, refusal_id = NULL WHERE digest = $1")
            .bind(&digest).bind(self.now).bind(self.offer.id.uuid()).bind(Json(&self.reply.head))
            .bind(&self.reply.body).bind(self.content.map(|content| content.0.to_vec()))
            .bind(self.answer_until).execute(c).await.map(|_| ()))?;
        for event in described(&self.events, &transfers) {
            tx.event(match &self.evidence {
                Some(evidence) => evidence.told_at_arrival(event, self.now),
                None => event,
            });
        }
        Ok(IntakeCommitted::Committed)
    }
}

/// Cancels the receipt of an earlier refusal that is still on its way: its sender would take it for the answer to the message
/// as it came now. One that is being sent at this moment is not tried again.
async fn cancel_refusal(
    tx: &mut Tx<'_>,
    refusal: Option<Uuid>,
    node: &NodeName,
    now: Timestamp,
) -> Result<(), Fault> {
    let Some(refusal) = refusal else { return Ok(()) };
    let why = "its message came again and was answered anew";
    let act = Act { reason: Some(why.to_owned()), ..Act::new(Actor::System, node.clone(), now) };
    cancel_unended(tx, TransferId::new(refusal), &act).await
}

struct IntakeRefuse {
    lease: NodeLease,
    key: String,
    reply: Option<Reply>,
    receipts: Vec<NewTransfer>,
    events: Vec<AuditEvent>,
    now: Timestamp,
}

#[async_trait]
impl Command for IntakeRefuse {
    type Answer = bool;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let (head, body) = self.reply.as_ref().map(|reply| (Json(&reply.head), &reply.body)).unzip();
        let digest = digest(&self.key);
        let earlier = lock_key(tx, &digest).await?.and_then(|row| row.refusal_id);
        let refusal = self.receipts.first().map(|new| new.transfer.id.uuid());
        let held = on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'refused', answered_at = $4, reply_head = $5, reply_body = $6, \
             refusal_id = $7 WHERE digest = $1 AND node = $2 AND epoch = $3 AND state = 'in_progress'")
            .bind(&digest).bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(self.now)
            .bind(head).bind(body).bind(refusal).execute(c).await.map(|done| done.rows_affected()))?
            == 1;
        if held {
            cancel_refusal(tx, earlier, &self.lease.node, self.now).await?;
            let receipts = insert_transfers(tx, &self.receipts, self.now).await?;
            tx.events(&described(&self.events, &receipts));
        } else if are_recorded(tx, &self.receipts).await? {
            return Ok(true);
        } else {
            // That it was refused stays on record; there is no receipt to tell of.
            let of_receipt =
                |event: &AuditEvent| self.receipts.iter().any(|new| event.transfer == Some(new.transfer.id));
            let own: Vec<AuditEvent> =
                self.events.iter().filter(|event| !of_receipt(event)).cloned().collect();
            tx.events(&own);
        }
        Ok(held)
    }
}

struct IntakeAbandon {
    lease: NodeLease,
    key: String,
}

#[async_trait]
impl Command for IntakeAbandon {
    type Answer = ();

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        // What is known of an earlier refusal stays.
        on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'refused', answered_at = began_at \
             WHERE digest = $1 AND node = $2 AND epoch = $3 AND state = 'in_progress' AND refusal_id IS NOT NULL")
            .bind(digest(&self.key)).bind(self.lease.node.as_str()).bind(self.lease.epoch)
            .execute(c).await.map(|_| ()))?;
        on!(tx, c => sqlx::query(
            "DELETE FROM intake_keys WHERE digest = $1 AND node = $2 AND epoch = $3 AND state = 'in_progress'")
            .bind(digest(&self.key)).bind(self.lease.node.as_str()).bind(self.lease.epoch)
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

struct PurgeIntakeKeys {
    before: Timestamp,
}

#[async_trait]
impl Command for PurgeIntakeKeys {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        Ok(on!(tx, c => sqlx::query(
            "DELETE FROM intake_keys WHERE digest IN (SELECT digest FROM intake_keys \
             WHERE state <> 'in_progress' AND began_at < $1 AND answered_at < $1 ORDER BY began_at LIMIT $2)")
            .bind(self.before).bind(PURGED).execute(c).await.map(|done| done.rows_affected()))?)
    }
}
