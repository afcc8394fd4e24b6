//! Cancelling what is not delivered.

use super::{Act, Acted, acted, delivery_of, place, refused, transfer_of};
use crate::command::Command;
use crate::delivery::change::{self, Change, Head};
use crate::fault::Fault;
use crate::open::Store;
use crate::row::DeliveryRow;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    DeliveryEvent, DeliveryId, DeliveryState, EventKind, Lifecycle, Result, TransferAction, TransferEvent,
    TransferId, TransferState, transition,
};

impl Store {
    /// Cancels a delivery that is not being sent. A failed one is skipped, and its lane continues.
    ///
    /// # Errors
    /// There is no such delivery; it is being sent or delivered; or the database failed.
    pub async fn cancel_delivery(&self, delivery: DeliveryId, act: &Act) -> Result<Acted> {
        self.write(CancelDelivery { delivery, act: act.clone() }).await
    }

    /// Cancels all deliveries of a transfer that are neither being sent nor delivered, and the transfer. A delivery
    /// that is being sent is finished: if it arrives, the transfer is completed or partly failed; if not, it is not
    /// retried. A delivery that awaits its receipt is cancelled too; a later receipt records that it arrived. In a
    /// failed transfer, the failed deliveries are cancelled, and their lanes continue.
    ///
    /// # Errors
    /// There is no such transfer; it was completely delivered; or the database failed.
    pub async fn cancel_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(CancelTransfer { transfer, act: act.clone() }).await
    }
}

/// Cancels one delivery; the caller updates the transfer.
async fn cancel(tx: &mut Tx<'_>, head: &Head, row: &DeliveryRow, act: &Act) -> Result<(), Fault> {
    let was = row.state()?;
    let state = transition(was, DeliveryEvent::Cancel)?;
    let change = Change { lane_open: false, interrupted: row.interrupted, ..Change::to(row, state, act.at) };
    change::write(tx, row, &change).await?;
    let ends_attempt = was == DeliveryState::AwaitingReceipt;
    if ends_attempt {
        change::end_attempt(tx, row, &change).await?;
    }
    let event = act
        .event(tx, EventKind::DeliveryCancelled)
        .delivery(DeliveryId::new(row.id))
        .endpoint(&row.endpoint)
        .detail("was", was.as_str());
    let event = change::with_remaining(tx, row, event).await?;
    tx.event(head.named_in(change::told(event, row, &change, ends_attempt)));
    Ok(())
}

/// Cancels a transfer within a larger command, if there is one and it has not ended.
pub(crate) async fn cancel_unended(tx: &mut Tx<'_>, transfer: TransferId, act: &Act) -> Result<(), Fault> {
    let Some(head) = change::lock_transfer(tx, transfer.uuid()).await? else { return Ok(()) };
    if !head.state()?.is_final() {
        CancelTransfer { transfer, act: act.clone() }.apply(tx).await?;
    }
    Ok(())
}

struct CancelDelivery {
    delivery: DeliveryId,
    act: Act,
}

#[async_trait]
impl Command for CancelDelivery {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, row) = delivery_of(tx, self.delivery).await?;
        cancel(tx, &head, &row, &self.act).await?;
        change::end_transfer(tx, &head, self.act.at, &self.act.node, &self.act.actor).await?;
        acted(tx, &head, true, 1).await
    }
}

struct CancelTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for CancelTransfer {
    type Answer = Acted;

    fn place(&self) -> u128 {
        place(self.transfer)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, rows) = transfer_of(tx, self.transfer).await?;
        let was = head.state()?;
        let next = transition(was, TransferEvent::Cancel);
        if next.is_err() && was != TransferState::Cancelled {
            return Err(refused(TransferAction::Cancel, &head, was));
        }
        let (mut count, mut sending) = (0, false);
        for row in &rows {
            let state = row.state()?;
            sending |= state == DeliveryState::Sending;
            if transition(state, DeliveryEvent::Cancel).is_ok() {
                cancel(tx, &head, row, &self.act).await?;
                count += 1;
            }
        }
        let state = next.unwrap_or(was);
        if state == was {
            // Cancelled before, or partly failed: a part was delivered, and stays so.
            if was == TransferState::Cancelled && !sending {
                change::retain(tx, &head, self.act.at).await?;
            }
            return acted(tx, &head, count > 0, count).await;
        }
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        if sending {
            change::retain_while_sending(tx, &head).await?;
        }
        let event = self.act.event(tx, EventKind::TransferCancelled).detail("deliveries", count);
        tx.event(head.named_in(event));
        acted(tx, &head, true, count).await
    }
}
