//! Claims: which node does the steps of which transfer.

use crate::command::Command;
use crate::delivery::transfers::{PUT_OFF, transfers_of};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::open::Store;
use crate::row::{DeliveryRow, later, small};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Delivery, ProcessingClaim, Result, Timestamp, Transfer};
use sqlx::FromRow;
use uuid::Uuid;

/// A transfer whose steps this node does.
#[derive(Clone, Debug)]
pub struct ClaimedSteps {
    /// The transfer, with the payload as it was received.
    pub transfer: Transfer,
    /// Its deliveries that wait for what they send.
    pub deliveries: Vec<Delivery>,
    /// The claim, which [`Store::end_steps`] must contain.
    pub claim: ProcessingClaim,
    /// The number of failed attempts in a row.
    pub failures: u32,
}

impl Store {
    /// Claims transfers whose steps are due, longest due first, at most `limit`; none if the node no longer holds its
    /// lease, and none with a delivery of a later revision than `revision`, which the node has in force.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim_steps(
        &self,
        lease: &NodeLease,
        limit: u32,
        revision: i64,
        now: Timestamp,
    ) -> Result<Vec<ClaimedSteps>> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        self.write(ClaimSteps { lease: lease.clone(), limit, revision, now }).await
    }

    /// The earliest time at which steps are due; `None` if there are none. May be in the past.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_steps(&self) -> Result<Option<Timestamp>> {
        self.read("look up which steps are due next", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT min(due_at) FROM processing WHERE due_at IS NOT NULL AND node IS NULL AND NOT held")
                .fetch_one(c).await)
        })
        .await
    }
}

struct ClaimSteps {
    lease: NodeLease,
    limit: u32,
    revision: i64,
    now: Timestamp,
}

#[derive(FromRow)]
struct ClaimRow {
    attempt: i64,
    failures: i64,
}

#[async_trait]
impl Command for ClaimSteps {
    type Answer = Vec<ClaimedSteps>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ClaimedSteps>, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(Vec::new());
        }
        // On PostgreSQL, those that another writer is claiming are skipped.
        let sql = tx.pick(
            concat!(due!(), " LIMIT $3"),
            concat!(due!(), " LIMIT $3 FOR NO KEY UPDATE OF p SKIP LOCKED"),
        );
        let ids: Vec<Uuid> = on!(tx, c => sqlx::query_scalar(sql)
            .bind(self.now).bind(self.revision).bind(i64::from(self.limit)).fetch_all(c).await)?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let transfers = transfers_of(tx, &ids).await?;
        let mut claimed = Vec::with_capacity(ids.len());
        for id in ids {
            let waiting: Vec<DeliveryRow> = on!(tx, c => sqlx::query_as(
                "SELECT * FROM deliveries WHERE transfer_id = $1 AND state = 'pending' AND payload_id IS NULL ORDER BY id")
                .bind(id).fetch_all(c).await)?;
            let deliveries: Result<Vec<Delivery>> = waiting.into_iter().map(DeliveryRow::delivery).collect();
            let (Some(transfer), Ok(deliveries)) = (transfers.get(&id).cloned(), deliveries) else {
                self.put_off(tx, id).await?;
                continue;
            };
            let row: ClaimRow = on!(tx, c => sqlx::query_as(
                "UPDATE processing SET node = $2, epoch = $3, attempt = attempt + 1, updated_at = $4 \
                 WHERE transfer_id = $1 RETURNING attempt, failures")
                .bind(id).bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(self.now)
                .fetch_one(c).await)?;
            let claim = ProcessingClaim {
                transfer: transfer.id,
                node: self.lease.node.clone(),
                epoch: self.lease.epoch,
                attempt: small(row.attempt),
            };
            claimed.push(ClaimedSteps { transfer, deliveries, claim, failures: small(row.failures) });
        }
        Ok(claimed)
    }
}

impl ClaimSteps {
    /// Postpones the steps of a transfer that this version cannot read, so that it does not block others; perhaps a node
    /// comes that can.
    async fn put_off(&self, tx: &mut Tx<'_>, transfer: Uuid) -> Result<(), Fault> {
        tracing::error!(%transfer, "this transfer or a delivery of it cannot be read; its steps are postponed");
        on!(tx, c => sqlx::query("UPDATE processing SET due_at = $2 WHERE transfer_id = $1")
            .bind(transfer).bind(later(self.now, PUT_OFF)).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

/// Transfers whose steps are due and that no node processes.
macro_rules! due {
    () => {
        "SELECT p.transfer_id FROM processing p WHERE p.due_at IS NOT NULL AND p.due_at <= $1 AND p.node IS NULL \
         AND NOT p.held AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN transfers t ON t.id = d.transfer_id \
           WHERE d.transfer_id = p.transfer_id AND d.state = 'pending' AND d.payload_id IS NULL \
           AND coalesce(d.revision, t.revision) > $2) \
         ORDER BY p.due_at, p.transfer_id"
    };
}
use due;
