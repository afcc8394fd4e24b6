//! Deliveries whose time has come: overdue receipts, expiry.

use crate::command::Command;
use crate::delivery::change::{self, Change};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, TransferRow, small, transfer_columns, unreadable};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Actor, Claim, Delivery, DeliveryEvent, DeliveryId, DeliveryState, Error, ErrorKind, EventKind, NodeName,
    Result, Timestamp, Transfer, TransferId, transition,
};
use uuid::Uuid;

/// A delivery whose receipt did not arrive in time. The engine retries it or fails it with [`Store::finish`].
#[derive(Clone, Debug)]
pub struct Overdue {
    /// The delivery, `awaiting_receipt`.
    pub delivery: Delivery,
    /// Its transfer, with the payload as it was received.
    pub transfer: Transfer,
    /// The claim for [`Store::finish`].
    pub claim: Claim,
    /// Until when the receipt was awaited.
    pub deadline: Timestamp,
    /// The number of failed attempts before this one.
    pub failures: u32,
}

impl Store {
    /// Deliveries whose receipt is overdue, longest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overdue_receipts(&self, now: Timestamp, limit: u32) -> Result<Vec<Overdue>> {
        const OPERATION: &str = "look up overdue receipts";
        let rows: Vec<DeliveryRow> = self
            .read(OPERATION, async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM deliveries WHERE state = 'awaiting_receipt' AND receipt_deadline <= $1 \
                     ORDER BY receipt_deadline LIMIT $2")
                    .bind(now).bind(i64::from(limit)).fetch_all(c).await)
            })
            .await?;
        let mut overdue = Vec::with_capacity(rows.len());
        for row in rows {
            let (Some(deadline), Some(node), Some(epoch)) =
                (row.receipt_deadline, row.node.clone(), row.epoch)
            else {
                continue;
            };
            let (id, failures) = (row.id, small(row.failures));
            // A row that this version cannot read must not block the others.
            let unread = |error: &Error| {
                tracing::error!(delivery = %id, error = error.chain(), "this overdue receipt is skipped");
            };
            let node = NodeName::try_from(node).map_err(|error| unreadable("deliveries.node", &error));
            let read = node.and_then(|node| Ok((node, row.delivery()?))).inspect_err(unread);
            let Ok((node, delivery)) = read else { continue };
            let transfer = match self.transfer(delivery.transfer).await {
                Ok(Some(transfer)) => transfer,
                Err(error) if error.kind() != ErrorKind::IntegrityFailed => return Err(error),
                found => {
                    let gone =
                        Error::permanent(ErrorKind::Internal, OPERATION).with("transfer", delivery.transfer);
                    unread(&found.err().unwrap_or(gone));
                    continue;
                }
            };
            let claim = Claim { delivery: delivery.id, node, epoch, attempt: delivery.attempt };
            overdue.push(Overdue { delivery, transfer, claim, deadline, failures });
        }
        Ok(overdue)
    }

    /// A transfer with its payload.
    ///
    /// # Errors
    /// The database failed.
    pub async fn transfer(&self, id: TransferId) -> Result<Option<Transfer>> {
        let row: Option<TransferRow> = self
            .read("look up a transfer", async {
                on!(self.pool(), c => sqlx::query_as(concat!("SELECT ", transfer_columns!(),
                    " FROM transfers t JOIN payloads p ON p.id = t.payload_id WHERE t.id = $1"))
                    .bind(id.uuid()).fetch_optional(c).await)
            })
            .await?;
        row.map(TransferRow::transfer).transpose()
    }

    /// The deliveries of a transfer, in the order in which they were recorded.
    ///
    /// # Errors
    /// The database failed.
    pub async fn deliveries(&self, transfer: TransferId) -> Result<Vec<Delivery>> {
        let rows: Vec<DeliveryRow> = self
            .read("look up deliveries", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM deliveries WHERE transfer_id = $1 ORDER BY created_at, id")
                    .bind(transfer.uuid()).fetch_all(c).await)
            })
            .await?;
        rows.into_iter().map(DeliveryRow::delivery).collect()
    }

    /// The earliest time at which a delivery or receipt is due or a delivery expires; `None` if there is none. May be
    /// in the past.
    ///
    /// # Errors
    /// The database failed.
    pub async fn next_due(&self) -> Result<Option<Timestamp>> {
        let due: Vec<Option<Timestamp>> = self
            .read("look up what is due next", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT min(due_at) FROM deliveries WHERE state IN ('pending', 'retrying') AND NOT held \
                       AND lane IS NULL AND payload_id IS NOT NULL \
                     UNION ALL \
                     SELECT min(d.due_at) FROM lanes l JOIN deliveries d ON d.id = (SELECT x.id FROM deliveries x \
                       WHERE x.lane = l.lane AND x.lane_open ORDER BY x.lane_seq LIMIT 1) \
                       WHERE d.state IN ('pending', 'retrying') AND NOT d.held AND d.payload_id IS NOT NULL \
                     UNION ALL \
                     SELECT min(receipt_deadline) FROM deliveries WHERE state = 'awaiting_receipt' \
                     UNION ALL \
                     SELECT min(expires_at) FROM deliveries WHERE expires_at IS NOT NULL \
                       AND state IN ('pending', 'retrying', 'awaiting_receipt')")
                    .fetch_all(c).await)
            })
            .await?;
        Ok(due.into_iter().flatten().min())
    }

    /// Expires deliveries that are past their time and not being sent, with their events.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire_due(
        &self,
        by: &NodeName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<ExpiredDelivery>> {
        self.write(ExpireDue { by: by.clone(), now, limit }).await
    }
}

/// A delivery that expired.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpiredDelivery {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its transfer.
    pub transfer: TransferId,
    /// Its transfer's flow.
    pub flow: String,
    /// Its endpoint.
    pub endpoint: String,
}

struct ExpireDue {
    by: NodeName,
    now: Timestamp,
    limit: u32,
}

#[async_trait]
impl Command for ExpireDue {
    type Answer = Vec<ExpiredDelivery>;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<ExpiredDelivery>, Fault> {
        let due: Vec<Uuid> = on!(tx, c => sqlx::query_scalar(
            "SELECT id FROM deliveries WHERE expires_at IS NOT NULL AND expires_at <= $1 \
             AND state IN ('pending', 'retrying', 'awaiting_receipt') ORDER BY expires_at LIMIT $2")
            .bind(self.now).bind(i64::from(self.limit)).fetch_all(c).await)?;
        let mut expired = Vec::new();
        for id in due.into_iter().map(DeliveryId::new) {
            let Some((head, row)) = change::lock(tx, id).await? else { continue };
            let was = row.state()?;
            // Another node may have claimed it between the query and the lock, or a person have retried it.
            if row.expires_at.is_none_or(|at| at > self.now)
                || !matches!(
                    was,
                    DeliveryState::Pending | DeliveryState::Retrying | DeliveryState::AwaitingReceipt
                )
            {
                continue;
            }
            let state = transition(was, DeliveryEvent::Expire)?;
            let change = Change {
                lane_open: row.lane.is_some() && !row.lane_continues,
                ..Change::to(&row, state, self.now)
            };
            change::write(tx, &row, &change).await?;
            let ends_attempt = was == DeliveryState::AwaitingReceipt;
            if ends_attempt {
                change::end_attempt(tx, &row, &change).await?;
            }
            let event = tx
                .derived(self.now, &self.by, EventKind::DeliveryExpired)
                .delivery(id)
                .endpoint(&row.endpoint)
                .detail("was", was.as_str());
            tx.event(head.named_in(change::told(event, &row, &change, ends_attempt)));
            change::give_up(tx, &head, id, self.now, &self.by).await?;
            change::end_transfer(tx, &head, change.now, &self.by, &Actor::System).await?;
            expired.push(ExpiredDelivery {
                delivery: id,
                transfer: head.id(),
                flow: head.flow().to_owned(),
                endpoint: row.endpoint.clone(),
            });
        }
        Ok(expired)
    }
}
