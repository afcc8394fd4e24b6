//! Fencing: releasing everything that a dead node holds.

use crate::command::Command;
use crate::delivery::change;
use crate::delivery::processing;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{
    Actor, DeliveryEvent, DeliveryId, DeliveryState, EventKind, NodeName, Result, Timestamp, TransferId,
    TransferState, transition,
};

/// A node whose lease lapsed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fenced {
    /// The node.
    pub node: NodeName,
    /// The epoch of the lapsed lease.
    pub epoch: i64,
    /// Deliveries whose claims were released and that are due again.
    pub deliveries: u64,
}

impl Store {
    /// Releases everything that nodes with lapsed leases hold: running deliveries (`interrupted`) and steps become due again,
    /// messages in progress may be received again, sources and offers are free. `by` is the node that does it, for
    /// the record. Leaves out a node whose last transaction is still open: the next call finds it ended (PostgreSQL
    /// ends it after 5 seconds without a statement).
    ///
    /// # Errors
    /// The database failed.
    pub async fn fence_expired(&self, by: &NodeName, now: Timestamp) -> Result<Vec<Fenced>> {
        self.write(FenceExpired { by: by.clone(), now }).await
    }
}

struct FenceExpired {
    by: NodeName,
    now: Timestamp,
}

#[async_trait]
impl Command for FenceExpired {
    type Answer = Vec<Fenced>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<Fenced>, Fault> {
        let time = tx.lease_time(self.now);
        // A frozen node's open transaction still locks its lease until the server ends it. Waiting for that would hold
        // up this node's own commands in the group. (One that locks a delivery alone, as a note does, is waited for: it
        // was open before the lease lapsed, and the server ends it as soon.)
        let sql = tx.pick(
            "SELECT node, epoch FROM leases WHERE held AND until_at <= $1 ORDER BY node",
            "SELECT node, epoch FROM leases WHERE held AND until_at <= $1 ORDER BY node FOR UPDATE SKIP LOCKED",
        );
        let ended: Vec<(String, i64)> = on!(tx, c => sqlx::query_as(sql).bind(time).fetch_all(c).await)?;
        let mut fenced = Vec::with_capacity(ended.len());
        for (name, epoch) in ended {
            let node =
                NodeName::try_from(name).map_err(|error| crate::row::unreadable("leases.node", &error))?;
            let deliveries = fence(tx, &node, epoch, &self.by, self.now).await?;
            on!(tx, c => sqlx::query("UPDATE leases SET epoch = epoch + 1, held = false WHERE node = $1")
                .bind(node.as_str()).execute(c).await.map(|_| ()))?;
            fenced.push(Fenced { node, epoch, deliveries });
        }
        Ok(fenced)
    }
}

/// Releases all claims of a node that ended without releasing them, and records it.
pub(crate) async fn fence(
    tx: &mut Tx<'_>,
    node: &NodeName,
    epoch: i64,
    by: &NodeName,
    now: Timestamp,
) -> Result<u64, Fault> {
    let deliveries = release_claims(tx, node, epoch, by, now).await?;
    let event = tx
        .derived(now, by, EventKind::NodeFenced)
        .detail("node", node.as_str())
        .detail("epoch", epoch)
        .detail("deliveries", deliveries);
    tx.event(event);
    Ok(deliveries)
}

/// A delivery that was cancelled while it was being sent is not tried again.
async fn give_up_cancelled(
    tx: &mut Tx<'_>,
    rows: &[DeliveryRow],
    by: &NodeName,
    now: Timestamp,
) -> Result<(), Fault> {
    for row in rows {
        let state: String = on!(tx, c => sqlx::query_scalar("SELECT state FROM transfers WHERE id = $1")
            .bind(row.transfer_id).fetch_one(c).await)?;
        let delivery = DeliveryId::new(row.id);
        if state == TransferState::Cancelled.as_str()
            && let Some((head, _)) = change::lock(tx, delivery).await?
        {
            change::give_up(tx, &head, delivery, now, by).await?;
            change::end_transfer(tx, &head, now, by, &Actor::System).await?;
        }
    }
    Ok(())
}

/// Releases all claims of one epoch of a node. The lease's row must be locked.
pub(crate) async fn release_claims(
    tx: &mut Tx<'_>,
    node: &NodeName,
    epoch: i64,
    by: &NodeName,
    now: Timestamp,
) -> Result<u64, Fault> {
    // Later commands in the group must query the lease again.
    tx.held.clear();
    let state = transition(DeliveryState::Sending, DeliveryEvent::Retry)?;
    let rows: Vec<DeliveryRow> = on!(tx, c => sqlx::query_as(
        "UPDATE deliveries SET state = $4, due_at = $3, interrupted = true, \
         updated_at = CASE WHEN updated_at > $3 THEN updated_at ELSE $3 END, node = NULL, epoch = NULL WHERE node = $1 AND epoch = $2 AND state = 'sending' RETURNING *")
        .bind(node.as_str()).bind(epoch).bind(now).bind(state.as_str()).fetch_all(c).await)?;
    for row in &rows {
        on!(tx, c => sqlx::query(
            "UPDATE attempts SET ended_at = $3, outcome = 'interrupted' WHERE delivery_id = $1 AND number = $2")
            .bind(row.id).bind(row.attempt).bind(now).execute(c).await.map(|_| ()))?;
        let event = tx
            .derived(now, by, EventKind::DeliveryInterrupted)
            .transfer(TransferId::new(row.transfer_id))
            .delivery(DeliveryId::new(row.id))
            .endpoint(&row.endpoint)
            .detail("attempt", row.attempt)
            .detail("node", node.as_str())
            .detail("epoch", epoch);
        tx.event(event);
    }
    give_up_cancelled(tx, &rows, by, now).await?;
    for sql in [
        // What is known of an earlier refusal stays.
        "UPDATE intake_keys SET state = 'refused', answered_at = began_at \
         WHERE node = $1 AND epoch = $2 AND state = 'in_progress' AND refusal_id IS NOT NULL",
        "DELETE FROM intake_keys WHERE node = $1 AND epoch = $2 AND state = 'in_progress'",
        "DELETE FROM source_leases WHERE node = $1 AND epoch = $2",
        "UPDATE offers SET node = NULL, epoch = NULL WHERE node = $1 AND epoch = $2",
    ] {
        on!(tx, c => sqlx::query(sql).bind(node.as_str()).bind(epoch).execute(c).await.map(|_| ()))?;
    }
    // Last: whoever ends steps locks their transfer first.
    processing::release(tx, node, epoch, by, now).await?;
    if !rows.is_empty() {
        tx.wake(Topic::Deliveries);
    }
    Ok(rows.len() as u64)
}
