//! Retrying what failed.

use super::{Act, Acted, acted, delivery_of, payload_is_kept, place, refused, transfer_of};
use crate::command::Command;
use crate::delivery::change::{self, Change, Head};
use crate::delivery::processing;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, later};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    DeliveryEvent, DeliveryId, DeliveryState, EventKind, GIVEN_ANSWER, Lifecycle, OVERTAKEN, Result,
    TransferAction, TransferEvent, TransferId, TransferState, transition,
};
use serde_json::Value;
use sqlx::types::Json;
use std::time::Duration;

/// A flow as the revision in force has it: what is retried goes through it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowInForce {
    /// The revision.
    pub revision: i64,
    /// The flow's destinations.
    pub destinations: Vec<DestinationInForce>,
}

/// A destination of a [`FlowInForce`]. It is the one that a delivery goes to when its name and its endpoint are the same,
/// wherever it stands among the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DestinationInForce {
    /// Its name within the flow.
    pub name: String,
    /// The endpoint.
    pub endpoint: String,
    /// How long a delivery may take, counted from the retry; `None` without limit.
    pub expires_after: Option<Duration>,
    /// In a lane: whether the next one may pass when this one has failed or expired.
    pub lane_continues: bool,
}

/// The result of a retry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retried {
    /// What it changed.
    pub acted: Acted,
    /// The deliveries that are sent again.
    pub deliveries: Vec<Requeued>,
}

/// A delivery that is sent again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Requeued {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The flow's name for its destination.
    pub destination: String,
    /// The endpoint.
    pub endpoint: String,
    /// The revision whose flow it goes through now.
    pub revision: i64,
    /// Whether the flow in force has its destination. Otherwise it keeps the revision that it had.
    pub in_force: bool,
}

impl Store {
    /// Retries a delivery that failed, expired, was cancelled or waits for its next attempt: it is due now, its
    /// failures are reset, and it returns to its place in its lane. It keeps its revision.
    ///
    /// # Errors
    /// There is no such delivery; its state does not allow it; its payload was removed; or the database failed.
    pub async fn retry_delivery(&self, delivery: DeliveryId, act: &Act) -> Result<Acted> {
        self.write(RetryDelivery { delivery, act: act.clone() }).await
    }

    /// The same for all deliveries of a transfer that failed, expired or wait for their next attempt; where there is none,
    /// for those that were cancelled. From now on they go through the flow in force, where `flow` is given and has their
    /// destination, and expire by it. Their file names, their notes and their places in lanes stay; so does the revision
    /// of the transfer and of its other deliveries.
    ///
    /// # Errors
    /// There is no such transfer; it has ended without such a delivery; its payload was removed; or the database
    /// failed.
    pub async fn retry_transfer(
        &self,
        transfer: TransferId,
        act: &Act,
        flow: Option<FlowInForce>,
    ) -> Result<Retried> {
        self.write(RetryTransfer { transfer, act: act.clone(), flow }).await
    }
}

/// Makes a delivery due again.
async fn requeue(
    tx: &mut Tx<'_>,
    head: &Head,
    row: &DeliveryRow,
    act: &Act,
    flow: Option<&FlowInForce>,
) -> Result<Requeued, Fault> {
    let was = row.state()?;
    let state = transition(was, DeliveryEvent::Requeue)?;
    // Whether its last attempt was interrupted is kept: the effect of that attempt must still be checked.
    let interrupted = row.interrupted;
    let change = Change { due_at: act.at, failures: 0, interrupted, ..Change::to(row, state, act.at) };
    change::write(tx, row, &change).await?;
    let had = row.revision.unwrap_or(head.revision);
    let found = flow.and_then(|flow| {
        let same = |to: &&DestinationInForce| to.name == row.destination && to.endpoint == row.endpoint;
        Some((flow, flow.destinations.iter().find(same)?))
    });
    // Also where the flow is the same: the endpoint may be another one, and only a node that has this revision in force
    // may use it.
    let revision = found.map_or(had, |(flow, _)| flow.revision);
    // Its time may have run out: it is counted anew. Where nothing in force says how long, the person who wants it sent
    // knows better than what it was recorded under.
    let expires = found.and_then(|(_, to)| to.expires_after).map(|wait| later(act.at, wait));
    let lane_continues = found.map_or(row.lane_continues, |(_, to)| to.lane_continues);
    on!(tx, c => sqlx::query(
        "UPDATE deliveries SET held = $2, expires_at = $3, revision = $4, lane_continues = $5 WHERE id = $1")
        .bind(row.id).bind(head.state()? == TransferState::Held).bind(expires)
        .bind((revision != head.revision).then_some(revision)).bind(lane_continues)
        .execute(c).await.map(|_| ()))?;
    note_overtaken(tx, row).await?;
    let delivery = DeliveryId::new(row.id);
    // It had ended: who wants it sent does not want it left in the answer that was given then.
    if was != DeliveryState::Retrying {
        on!(tx, c => sqlx::query("DELETE FROM notes WHERE delivery_id = $1 AND key = $2")
            .bind(row.id).bind(GIVEN_ANSWER).execute(c).await.map(|_| ()))?;
    }
    let event = act
        .event(tx, EventKind::DeliveryRequeued)
        .delivery(delivery)
        .endpoint(&row.endpoint)
        .detail("was", was.as_str())
        .detail("revision", revision);
    let event = if revision == had { event } else { event.detail("revision_before", had) };
    tx.event(head.named_in(change::told(event, row, &change, false)));
    let (destination, endpoint) = (row.destination.clone(), row.endpoint.clone());
    Ok(Requeued { delivery, destination, endpoint, revision, in_force: found.is_some() })
}

/// Notes that later deliveries of its lane were begun since it was sent last: it does not stand where it stood.
async fn note_overtaken(tx: &mut Tx<'_>, row: &DeliveryRow) -> Result<(), Fault> {
    let Some(lane) = &row.lane else { return Ok(()) };
    on!(tx, c => sqlx::query(
        "INSERT INTO notes (delivery_id, key, value) SELECT $1, $2, $3 WHERE EXISTS ( \
         SELECT 1 FROM deliveries WHERE lane = $4 AND attempt > 0 \
           AND lane_seq > (SELECT lane_seq FROM deliveries WHERE id = $1)) \
         ON CONFLICT (delivery_id, key) DO UPDATE SET value = excluded.value")
        .bind(row.id).bind(OVERTAKEN).bind(Json(Value::Bool(true))).bind(lane)
        .execute(c).await.map(|_| ()))?;
    Ok(())
}

struct RetryDelivery {
    delivery: DeliveryId,
    act: Act,
}

#[async_trait]
impl Command for RetryDelivery {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, row) = delivery_of(tx, self.delivery).await?;
        let state = transition(head.state()?, TransferEvent::Reopen)?;
        payload_is_kept(tx, TransferAction::Retry, &head, &self.act).await?;
        requeue(tx, &head, &row, &self.act, None).await?;
        processing::again(tx, &head, state == TransferState::Held, self.act.at).await?;
        let state = processing::going_on(tx, head.id(), state).await?;
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        acted(tx, &head, true, 1).await
    }
}

struct RetryTransfer {
    transfer: TransferId,
    act: Act,
    flow: Option<FlowInForce>,
}

#[async_trait]
impl Command for RetryTransfer {
    type Answer = Retried;

    fn place(&self) -> u128 {
        place(self.transfer)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Retried, Fault> {
        let (head, rows) = transfer_of(tx, self.transfer).await?;
        let was = head.state()?;
        let retried = |cancelled| -> Result<Vec<&DeliveryRow>, Fault> {
            let mut found = Vec::new();
            for row in &rows {
                if row.state()?.is_retried(cancelled) {
                    found.push(row);
                }
            }
            Ok(found)
        };
        let mut again = retried(false)?;
        if again.is_empty() {
            again = retried(true)?;
        }
        if again.is_empty() && !was.is_final() && !rows.is_empty() {
            // It is already being sent; steps that wait for their next attempt need not.
            let hastened = processing::hasten(tx, self.transfer, self.act.at).await?;
            if hastened {
                let event = self.act.event(tx, EventKind::StepsRequeued);
                tx.event(head.named_in(event));
            }
            let acted = acted(tx, &head, hastened, 0).await?;
            return Ok(Retried { acted, deliveries: Vec::new() });
        }
        let state = transition(was, TransferEvent::Reopen);
        let (Ok(state), false) = (state, again.is_empty()) else {
            return Err(refused(TransferAction::Retry, &head, was));
        };
        payload_is_kept(tx, TransferAction::Retry, &head, &self.act).await?;
        let mut deliveries = Vec::with_capacity(again.len());
        for row in &again {
            deliveries.push(requeue(tx, &head, row, &self.act, self.flow.as_ref()).await?);
        }
        processing::again(tx, &head, state == TransferState::Held, self.act.at).await?;
        let state = processing::going_on(tx, head.id(), state).await?;
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        let count = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        Ok(Retried { acted: acted(tx, &head, true, count).await?, deliveries })
    }
}
