//! Holding and releasing transfers.

use super::{Act, Acted, acted, open, place, refused, transfer_of};
use crate::command::Command;
use crate::delivery::change;
use crate::delivery::processing;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{
    Error, ErrorKind, EventKind, Lifecycle, Result, TransferAction, TransferId, TransferState, transition,
};

impl Store {
    /// Holds a transfer: none of its deliveries is started until it is released, and later ones in an ordered lane
    /// wait. A delivery that is being sent is finished, and not retried while the transfer is held. Holds do not add
    /// up: one release ends all.
    ///
    /// # Errors
    /// There is no such transfer; it has ended; it has no delivery; the database failed.
    pub async fn hold_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(HoldTransfer { transfer, act: act.clone(), action: TransferAction::Hold }).await
    }

    /// Releases a held transfer.
    ///
    /// # Errors
    /// There is no such transfer; it has ended; it has no delivery; the database failed.
    pub async fn release_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(HoldTransfer { transfer, act: act.clone(), action: TransferAction::Release }).await
    }
}

struct HoldTransfer {
    transfer: TransferId,
    act: Act,
    /// Hold or release.
    action: TransferAction,
}

#[async_trait]
impl Command for HoldTransfer {
    type Answer = Acted;

    fn place(&self) -> u128 {
        place(self.transfer)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, rows) = transfer_of(tx, self.transfer).await?;
        let was = head.state()?;
        let Ok(state) = transition(was, self.action.event()) else {
            // Already held, or not held.
            if was.is_final() {
                return Err(refused(self.action, &head, was));
            }
            return acted(tx, &head, false, 0).await;
        };
        if rows.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, super::operation(self.action))
                .with("transfer", self.transfer)
                .advice("it has no destination: download it, or cancel it")
                .into());
        }
        let state = processing::going_on(tx, self.transfer, state).await?;
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        let is_held = state == TransferState::Held;
        processing::hold(tx, self.transfer, is_held).await?;
        on!(tx, c => sqlx::query("UPDATE deliveries SET held = $2 WHERE transfer_id = $1")
            .bind(self.transfer.uuid()).bind(is_held).execute(c).await.map(|_| ()))?;
        let kind = if is_held { EventKind::TransferHeld } else { EventKind::TransferReleased };
        let event = self.act.event(tx, kind);
        tx.event(head.named_in(event));
        if !is_held {
            tx.wake(Topic::Deliveries);
            tx.wake(Topic::Steps);
        }
        let waiting = open(&rows)?;
        acted(tx, &head, true, waiting).await
    }
}
