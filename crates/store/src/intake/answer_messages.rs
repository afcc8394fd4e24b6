//! Messages that came in the answer to a delivery: remembered under their keys like those that peers have posted, in the
//! transaction that records how the attempt ended. A peer may send one both ways, in either order; it is taken once.

use super::keys::{Reserved, lock_key, reserve};
use super::receipts::{RepeatReceipts, are_recorded};
use super::{Reply, cancel_refusal};
use crate::command::Command;
use crate::delivery::{Finish, FinishAttempt, Finished, NewEvidence, NewTransfer};
use crate::either::on;
use crate::fault::Fault;
use crate::offer::insert_settled;
use crate::open::Store;
use crate::row::digest;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Claim, Error, ErrorKind, Offer, PayloadId, Result, Sha256, Timestamp, TransferKind};
use sqlx::types::Json;

/// A message that came in the answer to a delivery, as it is remembered.
#[derive(Clone, Debug)]
pub struct NewAnswerMessage {
    /// Its key, as of [`Store::intake_begin`].
    pub key: String,
    /// The reception as an offer, which the transfers of the answer name. Its `state` must be `staging`. It needs no settling.
    pub offer: Offer,
    /// Whether it is remembered. Where no flow takes it, a copy that a listener receives must not count as a repetition.
    pub is_remembered: bool,
    /// What proves it, of its first transfer.
    pub evidence: Option<NewEvidence>,
    /// The answer to a repetition.
    pub reply: Reply,
    /// A digest of its content, by which a repetition is told from another message with the same key.
    pub content: Sha256,
    /// The event to write if it was received before: then nothing is made of it.
    pub repeated: AuditEvent,
    /// The event to write if another message was received under its key before: then it is taken, and not remembered.
    pub differs: AuditEvent,
}

/// The answer to [`Store::finish_answered`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerFinished {
    /// How the attempt stands.
    pub finished: Finished,
    /// Staged payloads of which nothing was made, because their message was received before.
    pub unused: Vec<PayloadId>,
}

impl From<Finished> for AnswerFinished {
    fn from(finished: Finished) -> Self {
        Self { finished, unused: Vec::new() }
    }
}

impl Store {
    /// As [`Store::finish_proved`], for an attempt whose answer holds a message. If it was received before, no reply is recorded;
    /// its receipts are, as by [`Store::repeat_receipts`]. A copy that a listener is receiving at this moment is lost at its
    /// commit, so that its sender comes again.
    ///
    /// # Errors
    /// As [`Store::finish`].
    pub async fn finish_answered(
        &self,
        claim: &Claim,
        finish: Finish,
        now: Timestamp,
        events: Vec<AuditEvent>,
        evidence: Option<NewEvidence>,
        message: NewAnswerMessage,
    ) -> Result<AnswerFinished> {
        let attempt = FinishAttempt::new(claim, finish, now, events, evidence);
        self.write(FinishAnswered { attempt, message }).await
    }
}

struct FinishAnswered {
    attempt: FinishAttempt,
    message: NewAnswerMessage,
}

/// What is known of a message when it comes in an answer.
enum Known {
    /// Nothing, or it was refused before.
    New,
    /// It was received before.
    Received,
    /// Another message was received under its key, or it is not known what that one held.
    Other(Option<Sha256>),
}

#[async_trait]
impl Command for FinishAnswered {
    type Answer = AnswerFinished;

    fn place(&self) -> u128 {
        self.attempt.place()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<AnswerFinished, Fault> {
        let (mut attempt, mut unused) = (self.attempt.clone(), Vec::new());
        // Once they are recorded, an earlier call has done all of this; its commit was not confirmed.
        if attempt.records_replies(tx).await? && !are_recorded(tx, attempt.replies()).await? {
            match self.known(tx).await? {
                Known::New => {
                    self.take(tx, &mut attempt).await?;
                    if self.message.is_remembered {
                        self.remember(tx).await?;
                    }
                }
                Known::Received => {
                    let (replies, events) = attempt.take_replies();
                    unused = self.repeat(tx, replies, events).await?;
                }
                Known::Other(first) => {
                    self.take(tx, &mut attempt).await?;
                    let event = self.message.differs.clone();
                    let event = event.detail("content", self.message.content.to_string());
                    tx.event(match first {
                        Some(first) => event.detail("first_content", first.to_string()),
                        None => event,
                    });
                }
            }
        }
        Ok(AnswerFinished { finished: attempt.apply(tx).await?, unused })
    }
}

impl FinishAnswered {
    /// What is known under its key. Locks the key, and reserves it where it is to be remembered.
    async fn known(&self, tx: &mut Tx<'_>) -> Result<Known, Fault> {
        let NewAnswerMessage { key, is_remembered, .. } = &self.message;
        let claim = &self.attempt.claim;
        let row = match is_remembered {
            true => match reserve(tx, key, (&claim.node, claim.epoch), self.attempt.now).await? {
                Reserved::New => None,
                Reserved::Known(row) => Some(row),
                Reserved::Not => {
                    let error =
                        Error::transient(ErrorKind::Unreachable, "remember a message that came in an answer");
                    return Err(error.with("delivery", claim.delivery).into());
                }
            },
            false => lock_key(tx, &digest(key)).await?,
        };
        Ok(match row {
            Some(row) if row.state == "answered" => match row.content() {
                Some(first) if first == self.message.content => Known::Received,
                first => Known::Other(first),
            },
            Some(row) => {
                // The sender would take it for the answer to this one.
                cancel_refusal(tx, row.refusal_id, &claim.node, self.attempt.now).await?;
                Known::New
            }
            None => Known::New,
        })
    }

    /// Lets the transfers of the message be recorded, with what proves it.
    async fn take(&self, tx: &mut Tx<'_>, attempt: &mut FinishAttempt) -> Result<(), Fault> {
        insert_settled(tx, &self.message.offer, self.attempt.now).await?;
        attempt.set_message(self.message.offer.id, self.message.evidence.clone());
        Ok(())
    }

    /// Remembers the message under its key.
    async fn remember(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let NewAnswerMessage { key, offer, reply, content, .. } = &self.message;
        let (claim, now) = (&self.attempt.claim, self.attempt.now);
        on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET state = 'answered', node = $2, epoch = $3, began_at = $4, answered_at = $4, \
             offer_id = $5, reply_head = $6, reply_body = $7, content_digest = $8, answer_until = NULL, \
             answer_head = NULL, answer_payload_id = NULL, refusal_id = NULL, from_answer = TRUE WHERE digest = $1")
            .bind(digest(key)).bind(claim.node.as_str()).bind(claim.epoch).bind(now).bind(offer.id.uuid())
            .bind(Json(&reply.head)).bind(&reply.body).bind(content.0.to_vec())
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }

    /// Records the receipts of a message that was received before, and nothing else of it. Answers the payloads that nothing
    /// names.
    async fn repeat(
        &self,
        tx: &mut Tx<'_>,
        replies: Vec<NewTransfer>,
        events: Vec<AuditEvent>,
    ) -> Result<Vec<PayloadId>, Fault> {
        let (transfers, replies): (Vec<NewTransfer>, Vec<NewTransfer>) =
            replies.into_iter().partition(|new| new.transfer.kind == TransferKind::Receipt);
        let payload = |new: &NewTransfer| new.transfer.payload.id;
        let mut unused: Vec<PayloadId> = replies.iter().map(payload).collect();
        let of_evidence = self.message.evidence.as_ref().and_then(|evidence| evidence.content.as_ref());
        unused.extend(of_evidence.map(|content| content.id).filter(|id| !unused.contains(id)));
        if !transfers.is_empty() {
            let receipts: Vec<PayloadId> = transfers.iter().map(payload).collect();
            let of_receipt =
                |event: &AuditEvent| transfers.iter().any(|new| event.transfer == Some(new.transfer.id));
            let events = events.into_iter().filter(of_receipt).collect();
            let (key, now) = (self.message.key.clone(), self.attempt.now);
            let repeat = RepeatReceipts { key, transfers: transfers.clone(), events, of_other: false, now };
            if !repeat.apply(tx).await? {
                unused.extend(receipts);
            }
        }
        tx.event(self.message.repeated.clone());
        Ok(unused)
    }
}
