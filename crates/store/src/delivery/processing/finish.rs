//! The end of an attempt at the steps of a transfer: what they made, the deliveries that send it, and the events, in one
//! transaction.

use super::{Waiting, going_on, waiting};
use crate::command::Command;
use crate::delivery::Failure;
use crate::delivery::change::{self, Change, Head};
use crate::delivery::insert::{hashed, insert_payload, refer};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, small};
use crate::tx::{Tx, locking};
use crate::wake::Topic;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, DeliveryEvent, DeliveryId, PayloadId, PayloadRecord, ProcessingClaim, Result,
    Timestamp, TransferEvent, TransferState, transition,
};
use sqlx::FromRow;
use std::collections::{HashMap, HashSet};

/// A payload that a step made.
#[derive(Clone, Debug)]
pub struct MadePayload {
    /// Its bytes, which are durable in staging.
    pub payload: PayloadRecord,
    /// What the step read.
    pub parent: PayloadRecord,
    /// What the step did, in one line.
    pub made_by: String,
    /// Its event, of the kind `step.done`; the store adds what verification compares with the rows.
    pub event: AuditEvent,
}

/// The end of an attempt at the steps of a transfer.
#[derive(Clone, Debug)]
pub enum StepsEnd {
    /// They were done, or failed for good, for each of the claimed deliveries.
    Done {
        /// What was made, each payload after the one that it was made of.
        made: Vec<MadePayload>,
        /// What each delivery sends: one of these payloads, or the one that was received.
        sent: Vec<(DeliveryId, PayloadId)>,
        /// The deliveries whose steps failed for good, and why.
        failed: Vec<FailedSteps>,
    },
    /// They could not be done this time.
    Retry {
        /// When they are tried again.
        due_at: Timestamp,
        /// Why.
        error: Failure,
        /// The event.
        event: Box<AuditEvent>,
    },
}

/// A delivery whose steps failed for good.
#[derive(Clone, Debug)]
pub struct FailedSteps {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Why.
    pub error: Failure,
    /// In a lane: whether the next delivery may continue.
    pub lane_continues: bool,
    /// The event, of the kind `delivery.failed`.
    pub event: AuditEvent,
}

/// The answer to [`Store::end_steps`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StepsEnded {
    /// It is recorded. The payloads that were made for deliveries which do not need them any more are not: their bytes
    /// have no row and may be removed.
    Done {
        /// Those that are recorded.
        recorded: HashSet<PayloadId>,
        /// The transfer's final state, if it has ended by this.
        transfer_ended: Option<TransferState>,
    },
    /// Another node holds the claim now: nothing was written.
    ClaimLost,
}

impl Store {
    /// Ends an attempt at the steps of a transfer. Deliveries that a person cancelled meanwhile, or that expired, stay so.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, it may be recorded; the same call then returns `ClaimLost`.
    pub async fn end_steps(
        &self,
        claim: &ProcessingClaim,
        end: StepsEnd,
        now: Timestamp,
    ) -> Result<StepsEnded> {
        self.write(EndSteps { claim: claim.clone(), end, now }).await
    }
}

struct EndSteps {
    claim: ProcessingClaim,
    end: StepsEnd,
    now: Timestamp,
}

#[derive(FromRow)]
struct StandingRow {
    node: Option<String>,
    epoch: Option<i64>,
    attempt: i64,
}

#[async_trait]
impl Command for EndSteps {
    type Answer = StepsEnded;

    fn place(&self) -> u128 {
        self.claim.transfer.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<StepsEnded, Fault> {
        let ProcessingClaim { transfer, node, epoch, attempt } = &self.claim;
        let Some(head) = change::lock_transfer(tx, transfer.uuid()).await? else {
            return Ok(StepsEnded::ClaimLost);
        };
        let sql = locking!(tx, "SELECT node, epoch, attempt FROM processing WHERE transfer_id = $1");
        let row: Option<StandingRow> =
            on!(tx, c => sqlx::query_as(sql).bind(transfer.uuid()).fetch_optional(c).await)?;
        let is_ours = row.is_some_and(|row| {
            row.node.as_deref() == Some(node.as_str())
                && row.epoch == Some(*epoch)
                && small(row.attempt) == *attempt
        });
        if !is_ours {
            return Ok(StepsEnded::ClaimLost);
        }
        match &self.end {
            StepsEnd::Retry { due_at, error, event } => {
                let (kind, text) = error.columns();
                on!(tx, c => sqlx::query(
                    "UPDATE processing SET node = NULL, epoch = NULL, due_at = $2, failures = failures + 1, error = $3, \
                       error_kind = $4, updated_at = $5 WHERE transfer_id = $1")
                    .bind(transfer.uuid()).bind(due_at).bind(text).bind(kind).bind(self.now)
                    .execute(c).await.map(|_| ()))?;
                tx.event(head.named_in(AuditEvent { at: self.now, ..(**event).clone() }));
                Ok(StepsEnded::Done { recorded: HashSet::new(), transfer_ended: None })
            }
            StepsEnd::Done { made, sent, failed } => {
                let recorded = self.send(tx, &head, made, sent).await?;
                for failed in failed {
                    self.fail(tx, &head, failed).await?;
                }
                let transfer_ended = self.go_on(tx, &head).await?;
                Ok(StepsEnded::Done { recorded, transfer_ended })
            }
        }
    }
}

impl EndSteps {
    /// A delivery of this transfer that still waits for its payload.
    async fn waiting(&self, tx: &mut Tx<'_>, delivery: DeliveryId) -> Result<Option<DeliveryRow>, Fault> {
        let sql = locking!(
            tx,
            "SELECT * FROM deliveries WHERE id = $1 AND transfer_id = $2 AND state = 'pending' AND payload_id IS NULL"
        );
        Ok(on!(tx, c => sqlx::query_as(sql)
            .bind(delivery.uuid()).bind(self.claim.transfer.uuid()).fetch_optional(c).await)?)
    }

    /// Gives deliveries what they send, and records what of it is new.
    async fn send(
        &self,
        tx: &mut Tx<'_>,
        head: &Head,
        made: &[MadePayload],
        sent: &[(DeliveryId, PayloadId)],
    ) -> Result<HashSet<PayloadId>, Fault> {
        let by_id: HashMap<PayloadId, &MadePayload> =
            made.iter().map(|made| (made.payload.id, made)).collect();
        let (mut needed, mut waiting) = (HashSet::new(), Vec::new());
        for (delivery, payload) in sent {
            if self.waiting(tx, *delivery).await?.is_none() {
                continue;
            }
            waiting.push((*delivery, *payload));
            // What it was made of is needed too: it tells how it came to be.
            let mut next = by_id.get(payload);
            while let Some(made) = next {
                needed.insert(made.payload.id);
                next = by_id.get(&made.parent.id);
            }
        }
        for made in made.iter().filter(|made| needed.contains(&made.payload.id)) {
            insert_payload(tx, &made.payload).await?;
            on!(tx, c => sqlx::query("UPDATE payloads SET parent_id = $2, made_by = $3 WHERE id = $1")
                .bind(made.payload.id.uuid()).bind(made.parent.id.uuid()).bind(&made.made_by)
                .execute(c).await.map(|_| ()))?;
            refer(tx, &made.payload, self.claim.transfer).await?;
            let to: Vec<String> = waiting
                .iter()
                .filter(|(_, payload)| *payload == made.payload.id)
                .map(|(delivery, _)| delivery.to_string())
                .collect();
            let event = AuditEvent { at: self.now, ..made.event.clone() }
                .detail("step", made.made_by.as_str())
                .detail("payload", made.payload.id.to_string())
                .detail("bytes", made.payload.length)
                .detail("parent_payload", made.parent.id.to_string())
                .detail("parent_bytes", made.parent.length)
                .detail("deliveries", to);
            let event = hashed(event, "sha256", &made.payload);
            let event = hashed(event, "parent_sha256", &made.parent);
            let event = event.peer_detail("file_name", made.payload.file_name.to_text());
            let event = match &made.payload.media_type {
                Some(media_type) => event.peer_detail("media_type", media_type),
                None => event,
            };
            tx.event(head.named_in(event));
        }
        for (delivery, payload) in waiting {
            on!(tx, c => sqlx::query("UPDATE deliveries SET payload_id = $2, updated_at = $3 WHERE id = $1")
                .bind(delivery.uuid()).bind(payload.uuid()).bind(self.now).execute(c).await.map(|_| ()))?;
        }
        Ok(needed)
    }

    async fn fail(&self, tx: &mut Tx<'_>, head: &Head, failed: &FailedSteps) -> Result<(), Fault> {
        let Some(row) = self.waiting(tx, failed.delivery).await? else { return Ok(()) };
        let state = transition(row.state()?, DeliveryEvent::Fail)?;
        let change = Change {
            failures: row.failures + 1,
            error: Some(failed.error.columns()),
            lane_open: row.lane.is_some() && !failed.lane_continues,
            ..Change::to(&row, state, self.now)
        };
        change::write(tx, &row, &change).await?;
        let event = change::told(failed.event.clone(), &row, &change, false);
        tx.event(head.named_in(event.delivery(failed.delivery)));
        Ok(())
    }

    /// Lets the transfer go on, or end.
    async fn go_on(&self, tx: &mut Tx<'_>, head: &Head) -> Result<Option<TransferState>, Fault> {
        let transfer = self.claim.transfer;
        let Waiting { any, .. } = waiting(tx, transfer).await?;
        on!(tx, c => sqlx::query(
            "UPDATE processing SET node = NULL, epoch = NULL, due_at = $2, failures = 0, error = NULL, error_kind = NULL, \
               updated_at = $3 WHERE transfer_id = $1")
            // A person may have sent a delivery back meanwhile.
            .bind(transfer.uuid()).bind(any.then_some(self.now)).bind(self.now).execute(c).await.map(|_| ()))?;
        let was = head.state()?;
        if was == TransferState::Processing {
            let state = transition(was, TransferEvent::Deliver)?;
            let state = going_on(tx, transfer, state).await?;
            if state != was {
                change::set_transfer_state(tx, head, state, self.now).await?;
            }
        }
        tx.wake(Topic::Deliveries);
        if any {
            tx.wake(Topic::Steps);
        }
        // Read again: its state may have changed above.
        let Some(head) = change::lock_transfer(tx, transfer.uuid()).await? else { return Ok(None) };
        change::end_transfer(tx, &head, self.now, &self.claim.node, &Actor::System).await
    }
}
