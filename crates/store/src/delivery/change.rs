//! The steps that every change of a delivery shares: locking its rows in one order, and ending its transfer.

use crate::delivery::failure;
use crate::delivery::insert::receipt_digest;
use crate::either::on;
use crate::fault::Fault;
use crate::row::{DeliveryRow, later, word};
use crate::tx::{Tx, locking};
use crate::wake::Topic;
use chrono::TimeDelta;
use model::{
    Actor, AuditEvent, DeliveryEvent, DeliveryId, DeliveryState, EventKind, Lifecycle, MAY_REMAIN, NodeName,
    PUBLISHING, Timestamp, TransferEvent, TransferId, TransferState, transition,
};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// The data of a transfer that a change of a delivery needs.
#[derive(FromRow, Clone, Debug)]
pub(crate) struct Head {
    id: Uuid,
    flow: String,
    pub(crate) revision: i64,
    partner: Option<String>,
    state: String,
    pub(crate) retain_for: i64,
    pub(crate) payload_id: Uuid,
}

impl Head {
    pub(crate) fn id(&self) -> TransferId {
        TransferId::new(self.id)
    }

    pub(crate) fn flow(&self) -> &str {
        &self.flow
    }

    pub(crate) fn state(&self) -> Result<TransferState, Fault> {
        Ok(word(TransferState::parse(&self.state), "transfers.state", &self.state)?)
    }

    /// Until when its payloads are kept if it ends at this time.
    fn retained_until(&self, ended: Timestamp) -> Timestamp {
        let micros = TimeDelta::microseconds(self.retain_for);
        later(ended, micros.to_std().unwrap_or_default())
    }

    /// Sets flow, partner and transfer of an event.
    pub(crate) fn named_in(&self, mut event: AuditEvent) -> AuditEvent {
        event.partner = event.partner.or_else(|| self.partner.clone());
        event.flow = event.flow.or_else(|| Some(self.flow.clone()));
        event.transfer(self.id())
    }
}

/// A transfer's head. Its row is not locked.
pub(crate) async fn head(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<Head>, Fault> {
    Ok(on!(tx, c => sqlx::query_as(
        "SELECT id, flow, revision, partner, state, retain_for, payload_id FROM transfers WHERE id = $1")
        .bind(id).fetch_optional(c).await)?)
}

/// A transfer's head. Its row is locked.
pub(crate) async fn lock_transfer(tx: &mut Tx<'_>, id: Uuid) -> Result<Option<Head>, Fault> {
    let sql = locking!(
        tx,
        "SELECT id, flow, revision, partner, state, retain_for, payload_id FROM transfers WHERE id = $1"
    );
    Ok(on!(tx, c => sqlx::query_as(sql).bind(id).fetch_optional(c).await)?)
}

/// A delivery and its transfer. Both rows are locked, the transfer's first, as everywhere.
pub(crate) async fn lock(
    tx: &mut Tx<'_>,
    delivery: DeliveryId,
) -> Result<Option<(Head, DeliveryRow)>, Fault> {
    let sql = locking!(
        tx,
        "SELECT id, flow, revision, partner, state, retain_for, payload_id FROM transfers \
         WHERE id = (SELECT transfer_id FROM deliveries WHERE id = $1)"
    );
    let head: Option<Head> = on!(tx, c => sqlx::query_as(sql).bind(delivery.uuid()).fetch_optional(c).await)?;
    let Some(head) = head else { return Ok(None) };
    let sql = locking!(tx, "SELECT * FROM deliveries WHERE id = $1");
    let row: Option<DeliveryRow> =
        on!(tx, c => sqlx::query_as(sql).bind(delivery.uuid()).fetch_optional(c).await)?;
    Ok(row.map(|row| (head, row)))
}

/// The columns that every change sets.
#[derive(Debug)]
pub(crate) struct Change<'a> {
    pub(crate) state: DeliveryState,
    pub(crate) now: Timestamp,
    pub(crate) failures: i64,
    pub(crate) lane_open: bool,
    pub(crate) due_at: Timestamp,
    pub(crate) receipt_deadline: Option<Timestamp>,
    /// Whether the claim stays: the file was sent, and the receipt is awaited.
    pub(crate) claimed: bool,
    pub(crate) receipt: Option<&'a model::Receipt>,
    pub(crate) error: Option<(&'a str, &'a str)>,
    /// Whether the last attempt was interrupted by the end of its node, so that its effect is still unknown.
    pub(crate) interrupted: bool,
}

impl<'a> Change<'a> {
    /// A change of the state alone, which ends the claim. Its time follows that of the change before it: `now` may have been read
    /// earlier, or from the clock of another node, and the events of a delivery are put in order by their times.
    pub(crate) fn to(row: &DeliveryRow, state: DeliveryState, now: Timestamp) -> Self {
        Self {
            state,
            now: if now < row.updated_at { row.updated_at + TimeDelta::microseconds(1) } else { now },
            failures: row.failures,
            lane_open: row.lane.is_some(),
            due_at: row.due_at,
            receipt_deadline: None,
            claimed: false,
            receipt: None,
            error: None,
            interrupted: false,
        }
    }
}

/// Writes a change, and wakes the next delivery of its lane.
pub(crate) async fn write(tx: &mut Tx<'_>, row: &DeliveryRow, change: &Change<'_>) -> Result<(), Fault> {
    let (kind, text) = change.error.unzip();
    let (node, epoch) = if change.claimed { (row.node.as_deref(), row.epoch) } else { (None, None) };
    let ended = change.state.is_final().then_some(change.now);
    on!(tx, c => sqlx::query(
        "UPDATE deliveries SET state = $2, updated_at = $3, failures = $4, lane_open = $5, due_at = $6, \
           receipt_deadline = $7, node = $8, epoch = $9, receipt = $10, error = $11, error_kind = $12, \
           ended_at = $13, interrupted = $14, opens_at = NULL WHERE id = $1")
        .bind(row.id).bind(change.state.as_str()).bind(change.now).bind(change.failures)
        .bind(change.lane_open).bind(change.due_at).bind(change.receipt_deadline).bind(node).bind(epoch)
        .bind(change.receipt.map(Json)).bind(text).bind(kind).bind(ended).bind(change.interrupted)
        .execute(c).await.map(|_| ()))?;
    if (row.lane.is_some() && !change.lane_open)
        || matches!(change.state, DeliveryState::Retrying | DeliveryState::Pending)
    {
        tx.wake(Topic::Deliveries);
    }
    Ok(())
}

/// The event of a change, with the values that verification compares with the rows: the time, the error, the digest
/// of the receipt, and with `of_attempt` the number of its attempt.
pub(crate) fn told(
    event: AuditEvent,
    row: &DeliveryRow,
    change: &Change<'_>,
    of_attempt: bool,
) -> AuditEvent {
    let mut event = AuditEvent { at: change.now, ..event };
    if of_attempt {
        event = event.detail("attempt", row.attempt);
    }
    if let Some((kind, text)) = change.error {
        event = event.detail("error", text).detail("error_kind", kind);
    }
    match change.receipt {
        Some(receipt) => event.detail("receipt_digest", receipt_digest(receipt)),
        None => event,
    }
}

/// Ends the row of a delivery's last attempt, unless it has already ended; while a receipt is awaited, the row stays
/// open.
pub(crate) async fn end_attempt(
    tx: &mut Tx<'_>,
    row: &DeliveryRow,
    change: &Change<'_>,
) -> Result<(), Fault> {
    let (kind, text) = change.error.unzip();
    let ended = (change.state != DeliveryState::AwaitingReceipt).then_some(change.now);
    on!(tx, c => sqlx::query(
        "UPDATE attempts SET ended_at = $3, outcome = $4, error = $5, error_kind = $6, receipt = $7 \
         WHERE delivery_id = $1 AND number = $2")
        .bind(row.id).bind(row.attempt).bind(ended).bind(change.state.as_str()).bind(text).bind(kind)
        .bind(change.receipt.map(Json))
        .execute(c).await.map(|_| ()))?;
    Ok(())
}

/// The states of all deliveries of a transfer.
async fn delivery_states(tx: &mut Tx<'_>, head: &Head) -> Result<Vec<DeliveryState>, Fault> {
    let words: Vec<String> = on!(tx, c => sqlx::query_scalar("SELECT state FROM deliveries WHERE transfer_id = $1")
        .bind(head.id).fetch_all(c).await)?;
    let states = words.iter().map(|found| word(DeliveryState::parse(found), "deliveries.state", found));
    Ok(states.collect::<Result<_, _>>()?)
}

/// Sets the transfer's state when all its deliveries are final, with its event, and makes its child on the failure route if it
/// fails; `None` if a delivery is not final, or the transfer does not change.
pub(crate) async fn end_transfer(
    tx: &mut Tx<'_>,
    head: &Head,
    now: Timestamp,
    by: &NodeName,
    actor: &Actor,
) -> Result<Option<TransferState>, Fault> {
    end(tx, head, now, by, actor, true).await
}

/// The same where a later receipt has contradicted that of a delivery. The failure route is not followed: the file has arrived
/// there, and a person decides.
pub(crate) async fn contradict_transfer(
    tx: &mut Tx<'_>,
    head: &Head,
    now: Timestamp,
    by: &NodeName,
) -> Result<Option<TransferState>, Fault> {
    end(tx, head, now, by, &Actor::System, false).await
}

async fn end(
    tx: &mut Tx<'_>,
    head: &Head,
    now: Timestamp,
    by: &NodeName,
    actor: &Actor,
    follows_route: bool,
) -> Result<Option<TransferState>, Fault> {
    let states = delivery_states(tx, head).await?;
    let Some(event) = TransferState::ended_by(&states) else { return Ok(None) };
    let was = head.state()?;
    let Ok(state) = transition(was, event) else {
        // It stays cancelled: the delivery that was being sent did not arrive.
        if was == TransferState::Cancelled {
            retain(tx, head, now).await?;
        }
        return Ok(None);
    };
    set_transfer_state(tx, head, state, now).await?;
    let kind = match event {
        TransferEvent::Complete => EventKind::TransferCompleted,
        TransferEvent::Cancel => EventKind::TransferCancelled,
        _ => EventKind::TransferFailed,
    };
    let failed = matches!(event, TransferEvent::Fail | TransferEvent::PartlyFail);
    let child = match failed && follows_route {
        true => failure::make_child(tx, head.id(), now, by).await?,
        false => None,
    };
    let delivered = states.iter().filter(|state| **state == DeliveryState::Delivered).count();
    let event = tx
        .derived(now, by, kind)
        .by(actor.clone())
        .detail("state", state.as_str())
        .detail("deliveries", states.len())
        .detail("delivered", delivered);
    let event = match child {
        Some(child) => event.detail("failure_route", child.to_string()),
        None => event,
    };
    let event = head.named_in(event);
    tx.event(event);
    Ok(Some(state))
}

/// Corrects the state of a transfer that had failed, one delivery of which is proved now. Where it failed, its failure route
/// was followed; it is not followed again. `None` if the transfer does not change.
pub(crate) async fn correct_transfer(
    tx: &mut Tx<'_>,
    head: &Head,
    now: Timestamp,
    by: &NodeName,
) -> Result<Option<TransferState>, Fault> {
    let states = delivery_states(tx, head).await?;
    let (event, kind) = match TransferState::ended_by(&states) {
        Some(TransferEvent::Complete) => (TransferEvent::Complete, EventKind::TransferCompleted),
        Some(TransferEvent::PartlyFail) => (TransferEvent::PartlyFail, EventKind::TransferFailed),
        _ => return Ok(None),
    };
    let was = head.state()?;
    let state = transition(transition(was, TransferEvent::Reopen)?, event)?;
    if state == was {
        return Ok(None);
    }
    set_transfer_state(tx, head, state, now).await?;
    let delivered = states.iter().filter(|state| **state == DeliveryState::Delivered).count();
    let event = tx
        .derived(now, by, kind)
        .by(Actor::System)
        .detail("state", state.as_str())
        .detail("was", was.as_str())
        .detail("deliveries", states.len())
        .detail("delivered", delivered);
    let event = head.named_in(event);
    tx.event(event);
    Ok(Some(state))
}

/// Cancels a delivery that did not arrive and whose transfer was cancelled while it was being sent: it is not tried
/// again, and its lane continues.
pub(crate) async fn give_up(
    tx: &mut Tx<'_>,
    head: &Head,
    delivery: DeliveryId,
    now: Timestamp,
    by: &NodeName,
) -> Result<(), Fault> {
    if head.state()? != TransferState::Cancelled {
        return Ok(());
    }
    let Some((_, row)) = lock(tx, delivery).await? else { return Ok(()) };
    let was = row.state()?;
    if !matches!(was, DeliveryState::Retrying | DeliveryState::Failed | DeliveryState::Expired) {
        return Ok(());
    }
    let state = transition(was, DeliveryEvent::Cancel)?;
    let change = Change { lane_open: false, interrupted: row.interrupted, ..Change::to(&row, state, now) };
    write(tx, &row, &change).await?;
    let event = tx
        .derived(now, by, EventKind::DeliveryCancelled)
        .delivery(delivery)
        .endpoint(&row.endpoint)
        .detail("was", was.as_str())
        .detail("why", "its transfer was cancelled while it was being sent");
    let event = with_remaining(tx, &row, event).await?;
    tx.event(head.named_in(told(event, &row, &change, false)));
    Ok(())
}

/// The event of a cancelled delivery, with the files that may remain at its destination, as the transport noted them before it published
/// ([`PUBLISHING`]).
pub(crate) async fn with_remaining(
    tx: &mut Tx<'_>,
    row: &DeliveryRow,
    event: AuditEvent,
) -> Result<AuditEvent, Fault> {
    let note: Option<Json<Value>> = on!(tx, c => sqlx::query_scalar(
        "SELECT value FROM notes WHERE delivery_id = $1 AND key = $2")
        .bind(row.id).bind(PUBLISHING).fetch_optional(c).await)?;
    let paths = note.as_ref().and_then(|note| note.0.get(MAY_REMAIN)?.as_array());
    let paths: Vec<&str> = paths.into_iter().flatten().filter_map(Value::as_str).collect();
    Ok(if paths.is_empty() { event } else { event.peer_detail(MAY_REMAIN, paths.join(", ")) })
}

/// Keeps the payload of a cancelled transfer as long as a delivery of it is being sent.
pub(crate) async fn retain_while_sending(tx: &mut Tx<'_>, head: &Head) -> Result<(), Fault> {
    on!(tx, c => sqlx::query("UPDATE transfers SET retained_until = NULL WHERE id = $1")
        .bind(head.id).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// Keeps the payloads of a transfer for at least so many microseconds after its end, also where it has ended.
pub(crate) async fn retain_for(tx: &mut Tx<'_>, head: &mut Head, micros: i64) -> Result<(), Fault> {
    let Some(longer) = u64::try_from(micros.saturating_sub(head.retain_for)).ok().filter(|more| *more > 0)
    else {
        return Ok(());
    };
    let until: Option<Timestamp> = on!(tx, c => sqlx::query_scalar("SELECT retained_until FROM transfers WHERE id = $1")
        .bind(head.id).fetch_one(c).await)?;
    let until = until.map(|until| later(until, Duration::from_micros(longer)));
    head.retain_for = micros;
    on!(tx, c => sqlx::query("UPDATE transfers SET retain_for = $2, retained_until = $3 WHERE id = $1")
        .bind(head.id).bind(micros).bind(until).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// Starts the retention of a cancelled transfer, unless it has started: no delivery of it is being sent any more.
pub(crate) async fn retain(tx: &mut Tx<'_>, head: &Head, now: Timestamp) -> Result<(), Fault> {
    on!(tx, c => sqlx::query(
        "UPDATE transfers SET retained_until = $2 WHERE id = $1 AND retained_until IS NULL")
        .bind(head.id).bind(head.retained_until(now)).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// Sets a transfer's state. Its retention starts at its end, and is cancelled if the transfer is opened again.
pub(crate) async fn set_transfer_state(
    tx: &mut Tx<'_>,
    head: &Head,
    state: TransferState,
    now: Timestamp,
) -> Result<(), Fault> {
    let ended = state.is_final().then_some(now);
    let retained = ended.map(|at| head.retained_until(at));
    on!(tx, c => sqlx::query(
        "UPDATE transfers SET state = $2, updated_at = $3, ended_at = $4, retained_until = $5 WHERE id = $1")
        .bind(head.id).bind(state.as_str()).bind(now).bind(ended).bind(retained)
        .execute(c).await.map(|_| ()))?;
    Ok(())
}
