//! Retrying what failed.

use super::{Act, Acted, acted, delivery_of, payload_is_kept, place, refused, transfer_of};
use crate::command::Command;
use crate::delivery::change::{self, Change, Head};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    DeliveryEvent, DeliveryId, EventKind, Lifecycle, Result, TransferAction, TransferEvent, TransferId,
    TransferState, transition,
};

impl Store {
    /// Retries a delivery that failed, expired, was cancelled or waits for its next attempt: it is due now, its
    /// failures are reset, and it returns to its place in its lane.
    ///
    /// # Errors
    /// There is no such delivery; its state does not allow it; its payload was removed; or the database failed.
    pub async fn retry_delivery(&self, delivery: DeliveryId, act: &Act) -> Result<Acted> {
        self.write(RetryDelivery { delivery, act: act.clone() }).await
    }

    /// Retries all deliveries of a transfer that failed, expired or wait for their next attempt; if there are none,
    /// those that were cancelled.
    ///
    /// # Errors
    /// There is no such transfer; it has ended without such a delivery; its payload was removed; or the database
    /// failed.
    pub async fn retry_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(RetryTransfer { transfer, act: act.clone() }).await
    }
}

/// Makes a delivery due again.
async fn requeue(tx: &mut Tx<'_>, head: &Head, row: &DeliveryRow, act: &Act) -> Result<(), Fault> {
    let was = row.state()?;
    let state = transition(was, DeliveryEvent::Requeue)?;
    // Whether its last attempt was interrupted is kept: the effect of that attempt must still be checked.
    let interrupted = row.interrupted;
    let change = Change { due_at: act.at, failures: 0, interrupted, ..Change::to(row, state, act.at) };
    change::write(tx, row, &change).await?;
    // It may have expired; the person who retries it overrides that.
    on!(tx, c => sqlx::query("UPDATE deliveries SET held = $2, expires_at = NULL WHERE id = $1")
        .bind(row.id).bind(head.state()? == TransferState::Held).execute(c).await.map(|_| ()))?;
    let event = act
        .event(tx, EventKind::DeliveryRequeued)
        .delivery(DeliveryId::new(row.id))
        .endpoint(&row.endpoint)
        .detail("was", was.as_str());
    tx.event(head.named_in(event));
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
        payload_is_kept(tx, TransferAction::Retry, &head).await?;
        requeue(tx, &head, &row, &self.act).await?;
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        acted(tx, &head, true, 1).await
    }
}

struct RetryTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for RetryTransfer {
    type Answer = Acted;

    fn place(&self) -> u128 {
        place(self.transfer)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
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
            // It is already being sent.
            return acted(tx, &head, false, 0).await;
        }
        let state = transition(was, TransferEvent::Reopen);
        let (Ok(state), false) = (state, again.is_empty()) else {
            return Err(refused(TransferAction::Retry, &head, was));
        };
        payload_is_kept(tx, TransferAction::Retry, &head).await?;
        for row in &again {
            requeue(tx, &head, row, &self.act).await?;
        }
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        acted(tx, &head, true, u32::try_from(again.len()).unwrap_or(u32::MAX)).await
    }
}
