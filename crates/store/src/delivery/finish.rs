//! The end of an attempt.

use crate::command::Command;
use crate::delivery::change::{self, Change};
use crate::delivery::evidence::NewEvidence;
use crate::delivery::insert::{described, insert_replies};
use crate::delivery::streamed::{StreamedContent, record_content};
use crate::delivery::{Failure, NewTransfer};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, small};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, Claim, DeliveryEvent, DeliveryState, EventKind, Lifecycle, OfferId, PayloadId,
    Receipt, Result, Timestamp, TransferState, transition,
};
use serde_json::Value;
use sqlx::types::Json;

/// The result of an attempt.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "few exist at a time, each for one write")]
pub enum Finish {
    /// The destination confirmed it.
    Delivered {
        /// Its evidence.
        receipt: Receipt,
        /// Payloads that came with the answer and become transfers.
        replies: Vec<NewTransfer>,
    },
    /// The destination confirmed it, and it was read at its source while it was sent.
    Streamed {
        /// Its evidence.
        receipt: Receipt,
        /// What is known of it now.
        content: StreamedContent,
    },
    /// It was sent; the receipt comes later.
    Awaiting {
        /// Until when the receipt is awaited.
        deadline: Timestamp,
        /// Payloads that came with the answer and become transfers.
        replies: Vec<NewTransfer>,
    },
    /// It failed; another attempt follows.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Why it failed.
        error: Failure,
    },
    /// The endpoint refused access: it waits, and the attempt does not count as failed.
    Wait {
        /// Until when, if the endpoint is not offline for longer.
        due_at: Timestamp,
        /// What the endpoint answered.
        error: Failure,
    },
    /// It failed permanently.
    Fail {
        /// The reason.
        error: Failure,
        /// The negative receipt, if that is the reason.
        receipt: Option<Receipt>,
        /// In a lane: whether the next delivery may continue.
        lane_continues: bool,
    },
    /// The delivery expired.
    Expire {
        /// In a lane: whether the next delivery may continue.
        lane_continues: bool,
    },
}

/// The answer to [`Store::finish`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finished {
    /// It is recorded.
    Done {
        /// The transfer's final state, if this was its last delivery.
        transfer_ended: Option<TransferState>,
    },
    /// A receipt that arrived before this answer has already settled it: replies were recorded, with their events;
    /// the rest was not needed.
    AlreadyResolved(DeliveryState),
    /// Another node holds the claim now: nothing was written.
    ClaimLost,
}

impl Store {
    /// Ends an attempt at `now`. The event of the attempt among `events` gets that time, and the error and the
    /// receipt's digest as they are in the rows. While the delivery is `sending`, node, epoch and attempt of the
    /// claim must match the row; once it is `awaiting_receipt`, the attempt alone.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same claim: `ClaimLost` or `AlreadyResolved` then
    /// means that the first call took effect, or that another node has the claim.
    pub async fn finish(
        &self,
        claim: &Claim,
        finish: Finish,
        now: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<Finished> {
        self.finish_proved(claim, finish, now, events, None).await
    }

    /// The same, with what proves the message that was sent. It is recorded if the attempt ends as delivered, also where a
    /// receipt has settled the delivery before without any ([`Store::resolve_noting`]).
    ///
    /// # Errors
    /// As [`Store::finish`].
    pub async fn finish_proved(
        &self,
        claim: &Claim,
        finish: Finish,
        now: Timestamp,
        events: Vec<AuditEvent>,
        evidence: Option<NewEvidence>,
    ) -> Result<Finished> {
        self.write(FinishAttempt::new(claim, finish, now, events, evidence)).await
    }
}

/// The end of an attempt, as a command.
#[derive(Clone)]
pub(crate) struct FinishAttempt {
    pub(crate) claim: Claim,
    finish: Finish,
    pub(crate) now: Timestamp,
    events: Vec<AuditEvent>,
    evidence: Option<NewEvidence>,
    /// Of the message that its replies are.
    of_message: Option<NewEvidence>,
}

#[async_trait]
impl Command for FinishAttempt {
    type Answer = Finished;

    fn place(&self) -> u128 {
        self.claim.delivery.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Finished, Fault> {
        let Some((mut head, row)) = change::lock(tx, self.claim.delivery).await? else {
            return Ok(Finished::ClaimLost);
        };
        match standing(&row, &self.claim)? {
            Standing::Ours => {}
            Standing::Resolved(state) => {
                let replies = insert_replies(tx, self.finish.replies(), self.now).await?;
                self.insert_evidence_of_message(tx).await?;
                // The receipt has recorded the rest.
                let of_reply = |event: &&AuditEvent| {
                    replies.iter().any(|reply| event.transfer == Some(reply.transfer.id))
                };
                let of_replies: Vec<_> = self.events.iter().filter(of_reply).cloned().collect();
                for event in described(&of_replies, &replies) {
                    tx.event(self.told(event));
                }
                // One that ended otherwise is not proved.
                if state == DeliveryState::Delivered {
                    self.prove_resolved(tx, &head, &row).await?;
                }
                return Ok(Finished::AlreadyResolved(state));
            }
            Standing::Lost => return Ok(Finished::ClaimLost),
        }
        // A repetition of the same answer, because its first commit was not confirmed.
        if self.is_repeated(&row)? {
            return Ok(Finished::Done { transfer_ended: None });
        }
        let state = transition(row.state()?, self.finish.event())?;
        let evidence = self.evidence.as_ref().map(|evidence| evidence.with_receipt(self.finish.receipt()));
        if let Some(evidence) = &evidence {
            evidence.record(tx, &mut head, self.now).await?;
        }
        let change = self.finish.change(&row, state, self.now);
        change::write(tx, &row, &change).await?;
        change::end_attempt(tx, &row, &change).await?;
        let replies = insert_replies(tx, self.finish.replies(), self.now).await?;
        self.insert_evidence_of_message(tx).await?;
        if let Finish::Streamed { content, .. } = &self.finish {
            let payload = PayloadId::new(head.payload_id);
            record_content(tx, payload, head.id(), content).await?;
            let event = AuditEvent { at: self.now, ..content.event.clone() };
            let event = event.delivery(self.claim.delivery).detail("payload", payload.to_string());
            tx.event(head.named_in(match content.sha256 {
                Some(sha256) => event.detail("sha256", sha256.to_string()),
                None => event,
            }));
        }
        for event in described(&self.events, &replies) {
            let own = event.delivery == Some(self.claim.delivery) && event.kind == self.finish.kind();
            let event = if own { change::told(event, &row, &change, true) } else { self.told(event) };
            tx.event(match &evidence {
                Some(evidence) if own => evidence.told(event, self.now),
                _ => event,
            });
        }
        change::give_up(tx, &head, self.claim.delivery, self.now, &self.claim.node).await?;
        let given_up = head.state()? == TransferState::Cancelled && state == DeliveryState::Retrying;
        let transfer_ended = if state.is_final() || given_up {
            change::end_transfer(tx, &head, change.now, &self.claim.node, &Actor::System).await?
        } else {
            None
        };
        Ok(Finished::Done { transfer_ended })
    }
}

impl FinishAttempt {
    pub(crate) fn new(
        claim: &Claim,
        finish: Finish,
        now: Timestamp,
        events: Vec<AuditEvent>,
        evidence: Option<NewEvidence>,
    ) -> Self {
        // One that waits for its receipt is not proved yet.
        let evidence = evidence.filter(|_| matches!(finish, Finish::Delivered { .. }));
        Self { claim: claim.clone(), finish, now, events, evidence, of_message: None }
    }

    /// Whether it would record its replies now: the claim is valid, and no earlier call has begun the wait for a receipt. Locks
    /// the delivery.
    pub(crate) async fn records_replies(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let Some((_, row)) = change::lock(tx, self.claim.delivery).await? else { return Ok(false) };
        Ok(match standing(&row, &self.claim)? {
            Standing::Lost => false,
            Standing::Resolved(_) => true,
            Standing::Ours => !self.is_repeated(&row)?,
        })
    }

    /// Whether an earlier call has begun the wait for a receipt; its commit was not confirmed.
    fn is_repeated(&self, row: &DeliveryRow) -> Result<bool, Fault> {
        Ok(row.state()? == DeliveryState::AwaitingReceipt && matches!(self.finish, Finish::Awaiting { .. }))
    }

    /// Takes out its replies, with the events of them.
    pub(crate) fn take_replies(&mut self) -> (Vec<NewTransfer>, Vec<AuditEvent>) {
        let replies = self.finish.replies_mut().map(std::mem::take).unwrap_or_default();
        let of_reply =
            |event: &AuditEvent| replies.iter().any(|reply| event.transfer == Some(reply.transfer.id));
        let (of_replies, others) = std::mem::take(&mut self.events).into_iter().partition(of_reply);
        self.events = others;
        (replies, of_replies)
    }

    /// Names the message as part of which its replies came, and what proves that.
    pub(crate) fn set_message(&mut self, offer: OfferId, evidence: Option<NewEvidence>) {
        for reply in self.finish.replies_mut().into_iter().flatten() {
            reply.transfer.offer = Some(offer);
        }
        self.of_message = evidence;
    }

    pub(crate) fn replies(&self) -> &[NewTransfer] {
        self.finish.replies()
    }

    async fn insert_evidence_of_message(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        if let Some(evidence) = &self.of_message {
            evidence.insert(tx, self.now).await?;
        }
        Ok(())
    }

    /// An event of a reply, with the evidence of its message where that is recorded with it.
    fn told(&self, event: AuditEvent) -> AuditEvent {
        match &self.of_message {
            Some(evidence) => evidence.told_at_arrival(event, self.now),
            None => event,
        }
    }

    /// Records evidence of a message whose receipt came before the attempt ended.
    async fn prove_resolved(
        &self,
        tx: &mut Tx<'_>,
        head: &change::Head,
        row: &DeliveryRow,
    ) -> Result<(), Fault> {
        let Some(evidence) = &self.evidence else { return Ok(()) };
        let mut head = head.clone();
        let receipt: Option<Json<Value>> = on!(tx, c => sqlx::query_scalar("SELECT receipt FROM deliveries WHERE id = $1")
            .bind(row.id).fetch_one(c).await)?;
        let receipt = receipt.and_then(|Json(receipt)| serde_json::from_value::<Receipt>(receipt).ok());
        let evidence = evidence.with_receipt(receipt.as_ref());
        // The receipt's own record, or an earlier call.
        if evidence.is_recorded(tx).await? || !evidence.record(tx, &mut head, self.now).await? {
            return Ok(());
        }
        let event = tx
            .derived(self.now, &self.claim.node, EventKind::EvidenceRecorded)
            .delivery(self.claim.delivery)
            .endpoint(&row.endpoint);
        tx.event(head.named_in(evidence.told(event, self.now)));
        Ok(())
    }
}

/// The state of a claim.
pub(crate) enum Standing {
    /// It is valid.
    Ours,
    /// A receipt settled the attempt.
    Resolved(DeliveryState),
    /// Another node has claimed the delivery, or no node has.
    Lost,
}

/// While sending, node, epoch and attempt must match. After that only the attempt: its number is unique, and a
/// receipt may arrive at any node.
pub(crate) fn standing(row: &DeliveryRow, claim: &Claim) -> Result<Standing, Fault> {
    let state = row.state()?;
    if small(row.attempt) != claim.attempt {
        return Ok(Standing::Lost);
    }
    Ok(match state {
        DeliveryState::Sending
            if row.node.as_deref() == Some(claim.node.as_str()) && row.epoch == Some(claim.epoch) =>
        {
            Standing::Ours
        }
        DeliveryState::AwaitingReceipt => Standing::Ours,
        state if state.is_final() => Standing::Resolved(state),
        _ => Standing::Lost,
    })
}

impl Finish {
    fn event(&self) -> DeliveryEvent {
        match self {
            Self::Delivered { .. } | Self::Streamed { .. } => DeliveryEvent::Deliver,
            Self::Awaiting { .. } => DeliveryEvent::Await,
            Self::Retry { .. } | Self::Wait { .. } => DeliveryEvent::Retry,
            Self::Fail { .. } => DeliveryEvent::Fail,
            Self::Expire { .. } => DeliveryEvent::Expire,
        }
    }

    /// What came with the answer.
    fn replies(&self) -> &[NewTransfer] {
        match self {
            Self::Delivered { replies, .. } | Self::Awaiting { replies, .. } => replies,
            _ => &[],
        }
    }

    fn replies_mut(&mut self) -> Option<&mut Vec<NewTransfer>> {
        match self {
            Self::Delivered { replies, .. } | Self::Awaiting { replies, .. } => Some(replies),
            _ => None,
        }
    }

    /// The receipt that confirms it.
    const fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Delivered { receipt, .. } | Self::Streamed { receipt, .. } => Some(receipt),
            _ => None,
        }
    }

    /// The kind of its event.
    fn kind(&self) -> EventKind {
        match self {
            Self::Delivered { .. } | Self::Streamed { .. } => EventKind::DeliveryDelivered,
            Self::Awaiting { .. } => EventKind::DeliveryAwaiting,
            Self::Retry { .. } | Self::Wait { .. } => EventKind::DeliveryRetrying,
            Self::Fail { .. } => EventKind::DeliveryFailed,
            Self::Expire { .. } => EventKind::DeliveryExpired,
        }
    }

    fn change<'a>(&'a self, row: &DeliveryRow, state: DeliveryState, now: Timestamp) -> Change<'a> {
        let change = Change::to(row, state, now);
        let in_lane = row.lane.is_some();
        match self {
            Self::Delivered { receipt, .. } | Self::Streamed { receipt, .. } => {
                Change { receipt: Some(receipt), lane_open: false, ..change }
            }
            Self::Awaiting { deadline, .. } => {
                Change { receipt_deadline: Some(*deadline), claimed: true, ..change }
            }
            Self::Retry { due_at, error } => {
                Change { due_at: *due_at, failures: row.failures + 1, error: Some(error.columns()), ..change }
            }
            Self::Wait { due_at, error } => {
                Change { due_at: *due_at, error: Some(error.columns()), ..change }
            }
            Self::Fail { error, receipt, lane_continues } => Change {
                failures: row.failures + 1,
                error: Some(error.columns()),
                receipt: receipt.as_ref(),
                lane_open: in_lane && !lane_continues,
                ..change
            },
            Self::Expire { lane_continues } => Change { lane_open: in_lane && !lane_continues, ..change },
        }
    }
}
