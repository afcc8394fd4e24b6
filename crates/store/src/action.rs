//! What a person does to transfers and deliveries. Each writes its own audit events.

use crate::command::Command;
use crate::delivery::change::{self, Change, Head};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, word};
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, DeliveryEvent, DeliveryId, DeliveryState, Error, ErrorKind, EventKind, Lifecycle,
    NodeName, Result, Timestamp, TransferEvent, TransferId, TransferState, transition,
};

/// Who does it, where and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// The node that was asked.
    pub node: NodeName,
    /// When.
    pub at: Timestamp,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acted {
    /// Deliveries that changed.
    pub deliveries: u32,
    /// Where the transfer stands now.
    pub transfer: TransferState,
}

impl Store {
    /// Sends a failed, expired or cancelled delivery on its way again: due now, failures forgotten, its
    /// place in its lane taken again.
    ///
    /// # Errors
    /// There is no such delivery; it is in no such state; the database failed.
    pub async fn retry_delivery(&self, delivery: DeliveryId, act: &Act) -> Result<Acted> {
        self.write(RetryDelivery { delivery, act: act.clone() }).await
    }

    /// The same for all failed, expired and cancelled deliveries of a transfer.
    ///
    /// # Errors
    /// There is no such transfer; it has no such delivery; the database failed.
    pub async fn retry_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(RetryTransfer { transfer, act: act.clone() }).await
    }

    /// Cancels a delivery that is not under way; one that failed is skipped: its lane goes on.
    ///
    /// # Errors
    /// There is no such delivery; it is under way or done; the database failed.
    pub async fn cancel_delivery(&self, delivery: DeliveryId, act: &Act) -> Result<Acted> {
        self.write(CancelDelivery { delivery, act: act.clone() }).await
    }

    /// Cancels all deliveries of a transfer that are neither under way nor delivered, and with them the
    /// transfer; one under way ends as it will.
    ///
    /// # Errors
    /// There is no such transfer; it has ended; the database failed.
    pub async fn cancel_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(CancelTransfer { transfer, act: act.clone() }).await
    }

    /// Holds a transfer: none of its deliveries is claimed until it is released.
    ///
    /// # Errors
    /// There is no such transfer; it has ended; the database failed.
    pub async fn hold_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(HoldTransfer { transfer, act: act.clone() }).await
    }

    /// Lets a held transfer go on.
    ///
    /// # Errors
    /// There is no such transfer; it is not held; the database failed.
    pub async fn release_transfer(&self, transfer: TransferId, act: &Act) -> Result<Acted> {
        self.write(ReleaseTransfer { transfer, act: act.clone() }).await
    }
}

impl Act {
    fn event(&self, tx: &Tx<'_>, kind: EventKind) -> AuditEvent {
        tx.derived(self.at, &self.node, kind).by(self.actor.clone())
    }
}

fn no_such(what: &'static str, id: impl std::fmt::Display) -> Fault {
    Error::permanent(ErrorKind::NotFound, format!("find a {what}")).with(what, id).into()
}

async fn delivery_of(tx: &mut Tx<'_>, id: DeliveryId) -> Result<(Head, DeliveryRow), Fault> {
    change::lock(tx, id).await?.ok_or_else(|| no_such("delivery", id))
}

async fn transfer_of(tx: &mut Tx<'_>, id: TransferId) -> Result<(Head, Vec<DeliveryRow>), Fault> {
    let head = change::lock_transfer(tx, id.uuid()).await?.ok_or_else(|| no_such("transfer", id))?;
    let sql = locking!(tx, "SELECT * FROM deliveries WHERE transfer_id = $1 ORDER BY id");
    let rows = on!(tx, c => sqlx::query_as(sql).bind(id.uuid()).fetch_all(c).await)?;
    Ok((head, rows))
}

/// What the transfer's row says now.
async fn acted(tx: &mut Tx<'_>, head: &Head, deliveries: u32) -> Result<Acted, Fault> {
    let found: String = on!(tx, c => sqlx::query_scalar("SELECT state FROM transfers WHERE id = $1")
        .bind(head.id().uuid()).fetch_one(c).await)?;
    let transfer = word(TransferState::parse(&found), "transfers.state", &found)?;
    Ok(Acted { deliveries, transfer })
}

/// Sends a delivery on its way again.
async fn requeue(tx: &mut Tx<'_>, head: &Head, row: &DeliveryRow, act: &Act) -> Result<(), Fault> {
    let was = row.state()?;
    let state = transition(was, DeliveryEvent::Requeue)?;
    let change = Change { due_at: act.at, failures: 0, ..Change::to(row, state, act.at) };
    change::write(tx, row, &change).await?;
    // Its time may have run out; the person who wants it sent knows better.
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

/// Opens a transfer again, whose bytes must still be there.
async fn reopen(tx: &mut Tx<'_>, head: &Head, act: &Act) -> Result<(), Fault> {
    let state = transition(head.state()?, TransferEvent::Reopen)?;
    let sql = locking!(tx, "SELECT removed_at FROM payloads WHERE id = $1");
    let removed: Option<Timestamp> =
        on!(tx, c => sqlx::query_scalar(sql).bind(head.payload_id).fetch_one(c).await)?;
    if let Some(at) = removed {
        return Err(Error::permanent(ErrorKind::NotFound, "retry a transfer")
            .with("transfer", head.id())
            .with("payload removed", at)
            .advice("its content was removed at the end of its retention; put the file at its source again")
            .into());
    }
    change::set_transfer_state(tx, head, state, act.at).await
}

/// Cancels one delivery; the caller sees to the transfer.
async fn cancel(tx: &mut Tx<'_>, head: &Head, row: &DeliveryRow, act: &Act) -> Result<(), Fault> {
    let was = row.state()?;
    let state = transition(was, DeliveryEvent::Cancel)?;
    let change = Change { lane_open: false, ..Change::to(row, state, act.at) };
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
    tx.event(head.named_in(change::told(event, row, &change, ends_attempt)));
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
        requeue(tx, &head, &row, &self.act).await?;
        reopen(tx, &head, &self.act).await?;
        acted(tx, &head, 1).await
    }
}

struct RetryTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for RetryTransfer {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, rows) = transfer_of(tx, self.transfer).await?;
        let mut count = 0;
        for row in &rows {
            if transition(row.state()?, DeliveryEvent::Requeue).is_ok() {
                requeue(tx, &head, row, &self.act).await?;
                count += 1;
            }
        }
        if count == 0 {
            return Err(Error::permanent(ErrorKind::Rejected, "retry a transfer")
                .with("transfer", self.transfer)
                .advice("none of its deliveries has failed, expired or been cancelled")
                .into());
        }
        reopen(tx, &head, &self.act).await?;
        acted(tx, &head, count).await
    }
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
        acted(tx, &head, 1).await
    }
}

struct CancelTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for CancelTransfer {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        let (head, rows) = transfer_of(tx, self.transfer).await?;
        let state = transition(head.state()?, TransferEvent::Cancel)?;
        let mut count = 0;
        for row in &rows {
            if transition(row.state()?, DeliveryEvent::Cancel).is_ok() {
                cancel(tx, &head, row, &self.act).await?;
                count += 1;
            }
        }
        change::set_transfer_state(tx, &head, state, self.act.at).await?;
        let event = self.act.event(tx, EventKind::TransferCancelled).detail("deliveries", count);
        tx.event(head.named_in(event));
        acted(tx, &head, count).await
    }
}

struct HoldTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for HoldTransfer {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        hold(tx, self.transfer, &self.act, TransferEvent::Hold, EventKind::TransferHeld).await
    }
}

struct ReleaseTransfer {
    transfer: TransferId,
    act: Act,
}

#[async_trait]
impl Command for ReleaseTransfer {
    type Answer = Acted;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Acted, Fault> {
        tx.wake();
        hold(tx, self.transfer, &self.act, TransferEvent::Release, EventKind::TransferReleased).await
    }
}

async fn hold(
    tx: &mut Tx<'_>,
    transfer: TransferId,
    act: &Act,
    event: TransferEvent,
    kind: EventKind,
) -> Result<Acted, Fault> {
    let (head, rows) = transfer_of(tx, transfer).await?;
    let state = transition(head.state()?, event)?;
    if rows.is_empty() {
        return Err(Error::permanent(ErrorKind::Rejected, "hold or release a transfer")
            .with("transfer", transfer)
            .advice("it has no destination: download it, or cancel it")
            .into());
    }
    change::set_transfer_state(tx, &head, state, act.at).await?;
    on!(tx, c => sqlx::query("UPDATE deliveries SET held = $2 WHERE transfer_id = $1")
        .bind(transfer.uuid()).bind(state == TransferState::Held).execute(c).await.map(|_| ()))?;
    let event = act.event(tx, kind);
    tx.event(head.named_in(event));
    let mut waiting = 0;
    for row in &rows {
        waiting += u32::from(!row.state()?.is_final());
    }
    acted(tx, &head, waiting).await
}
