//! The steps of transfers: which node does them, and what they made.
//!
//! A delivery whose flow has steps for it has no payload until they are done, and cannot be claimed. Its place in its
//! lane is given when it is recorded, so that steps change no order.

mod claim;
mod finish;

pub use claim::ClaimedSteps;
pub use finish::{FailedSteps, MadePayload, StepsEnd, StepsEnded};

use crate::delivery::change::{self, Head};
use crate::delivery::steps_due::due;
use crate::either::on;
use crate::fault::Fault;
use crate::row::word;
use crate::tx::Tx;
use crate::wake::Topic;
use model::{
    DeliveryState, EventKind, Lifecycle, NodeName, Timestamp, TransferEvent, TransferId, TransferState,
    transition,
};
use uuid::Uuid;

/// Holds the steps of a transfer, or releases them.
pub(crate) async fn hold(tx: &mut Tx<'_>, transfer: TransferId, held: bool) -> Result<(), Fault> {
    on!(tx, c => sqlx::query("UPDATE processing SET held = $2 WHERE transfer_id = $1")
        .bind(transfer.uuid()).bind(held).execute(c).await.map(|_| ()))?;
    Ok(())
}

/// How the deliveries of a transfer stand to its steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Waiting {
    /// Whether one of them waits for its payload.
    pub(crate) any: bool,
    /// Whether all that have not ended do.
    pub(crate) all: bool,
}

pub(crate) async fn waiting(tx: &mut Tx<'_>, transfer: TransferId) -> Result<Waiting, Fault> {
    let rows: Vec<(String, bool)> = on!(tx, c => sqlx::query_as(
        "SELECT state, payload_id IS NULL FROM deliveries WHERE transfer_id = $1")
        .bind(transfer.uuid()).fetch_all(c).await)?;
    let mut waiting = Waiting { any: false, all: true };
    for (found, waits) in rows {
        let state = word(DeliveryState::parse(&found), "deliveries.state", &found)?;
        if !state.is_final() {
            waiting.any |= waits;
            waiting.all &= waits;
        }
    }
    waiting.all &= waiting.any;
    Ok(waiting)
}

/// The state of a transfer that goes on: `processing` while all its open deliveries wait for steps.
pub(crate) async fn going_on(
    tx: &mut Tx<'_>,
    transfer: TransferId,
    state: TransferState,
) -> Result<TransferState, Fault> {
    if state == TransferState::Delivering && waiting(tx, transfer).await?.all {
        return Ok(transition(state, TransferEvent::Process)?);
    }
    Ok(state)
}

/// After deliveries of a transfer were sent back: lets steps make what they send, where that is still to be made or was
/// removed meanwhile.
pub(crate) async fn again(tx: &mut Tx<'_>, head: &Head, held: bool, now: Timestamp) -> Result<(), Fault> {
    // What was received is kept longer where another transfer needs it; then the steps can be done once more.
    on!(tx, c => sqlx::query(
        "UPDATE deliveries SET payload_id = NULL WHERE transfer_id = $1 AND state = 'pending' AND payload_id <> $2 \
         AND EXISTS (SELECT 1 FROM payloads p WHERE p.id = deliveries.payload_id AND p.removed_at IS NOT NULL)")
        .bind(head.id().uuid()).bind(head.payload_id).execute(c).await.map(|_| ()))?;
    if waiting(tx, head.id()).await?.any {
        due(tx, head.id().uuid(), held, now).await?;
    }
    Ok(())
}

/// Makes steps due now that wait for their next attempt after a failure. Whether there were any.
pub(crate) async fn hasten(tx: &mut Tx<'_>, transfer: TransferId, now: Timestamp) -> Result<bool, Fault> {
    let hastened = on!(tx, c => sqlx::query(
        "UPDATE processing SET due_at = $2, failures = 0, updated_at = $2 \
         WHERE transfer_id = $1 AND node IS NULL AND failures > 0 AND due_at > $2")
        .bind(transfer.uuid()).bind(now).execute(c).await.map(|done| done.rows_affected()))?;
    if hastened > 0 {
        tx.wake(Topic::Steps);
    }
    Ok(hastened > 0)
}

/// Releases the claims of one epoch of a node; their steps are done again.
pub(crate) async fn release(
    tx: &mut Tx<'_>,
    node: &NodeName,
    epoch: i64,
    by: &NodeName,
    now: Timestamp,
) -> Result<u64, Fault> {
    let rows: Vec<(Uuid, i64)> = on!(tx, c => sqlx::query_as(
        "UPDATE processing SET node = NULL, epoch = NULL, due_at = $3, updated_at = $3 WHERE node = $1 AND epoch = $2 \
         RETURNING transfer_id, attempt")
        .bind(node.as_str()).bind(epoch).bind(now).fetch_all(c).await)?;
    for (transfer, attempt) in &rows {
        let Some(head) = change::head(tx, *transfer).await? else { continue };
        let event = tx
            .derived(now, by, EventKind::StepsInterrupted)
            .detail("attempt", *attempt)
            .detail("node", node.as_str())
            .detail("epoch", epoch);
        tx.event(head.named_in(event));
    }
    if !rows.is_empty() {
        tx.wake(Topic::Steps);
    }
    Ok(rows.len() as u64)
}
