//! What a person does to transfers and deliveries: one command each, in one transaction with its audit events.
//!
//! A delivery that is being sent is left alone, since what it has done cannot be called back: its end is recorded as
//! it is. What follows from it is the transfer's state to say: of a held one nothing is begun again, of a cancelled one
//! nothing is tried again ([`change::give_up`]).
//!
//! Each can be asked for again, also when its answer was lost: it then says that nothing changed.

mod cancel;
mod hold;
mod resubmit;
mod retry;

pub use resubmit::{Resubmitted, child_id};

use crate::delivery::change::{self, Head};
use crate::either::on;
use crate::fault::Fault;
use crate::row::{DeliveryRow, word};
use crate::tx::{Tx, locking};
use model::{
    Actor, AuditEvent, DeliveryId, DeliveryState, Error, ErrorKind, EventKind, Lifecycle, NodeName,
    Timestamp, TransferAction, TransferId, TransferState, duration_text,
};
use std::time::Duration;
use uuid::Uuid;

/// Who does it, where and when, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// Who.
    pub actor: Actor,
    /// The node that was asked.
    pub node: NodeName,
    /// When.
    pub at: Timestamp,
    /// Why, in that person's words; for the audit trail.
    pub reason: Option<String>,
    /// The request that it is part of, where that has an id; for the audit trail.
    pub request: Option<Uuid>,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acted {
    /// Whether anything changed: not when it was so already.
    pub changed: bool,
    /// Deliveries that it concerns: those sent again, cancelled, or kept from being begun.
    pub deliveries: u32,
    /// Deliveries that are being sent at this moment: they end as they will.
    pub sending: u32,
    /// Where the transfer stands now.
    pub transfer: TransferState,
}

impl Act {
    /// Without a reason.
    #[must_use]
    pub const fn new(actor: Actor, node: NodeName, at: Timestamp) -> Self {
        Self { actor, node, at, reason: None, request: None }
    }

    fn event(&self, tx: &Tx<'_>, kind: EventKind) -> AuditEvent {
        let event = tx.derived(self.at, &self.node, kind).by(self.actor.clone());
        let event = match &self.reason {
            Some(reason) => event.peer_detail("reason", reason),
            None => event,
        };
        match self.request {
            Some(request) => event.detail("request", request.to_string()),
            None => event,
        }
    }
}

/// The operation, as errors name it.
const fn operation(action: TransferAction) -> &'static str {
    match action {
        TransferAction::Retry => "retry a transfer",
        TransferAction::Hold => "hold a transfer",
        TransferAction::Release => "release a transfer",
        TransferAction::Cancel => "cancel a transfer",
        TransferAction::Resubmit => "resubmit a transfer",
    }
}

/// The error of an action that does not fit the transfer's state.
fn refused(action: TransferAction, head: &Head, state: TransferState) -> Fault {
    let advice = match action {
        TransferAction::Retry => {
            "none of its deliveries has failed, expired or been cancelled; to send the file once more, resubmit it"
        }
        TransferAction::Hold => "it has ended: nothing of it can be held",
        TransferAction::Release => "it has ended: nothing of it is held",
        TransferAction::Cancel => "everything of it was delivered",
        TransferAction::Resubmit => {
            "it has not ended, and would be sent twice: wait for its end, or cancel it first"
        }
    };
    Error::permanent(ErrorKind::Rejected, operation(action))
        .with("transfer", head.id())
        .with("state", state)
        .advice(advice)
        .into()
}

fn no_such(what: &'static str, id: impl std::fmt::Display) -> Fault {
    Error::permanent(ErrorKind::NotFound, format!("find a {what}")).with(what, id).into()
}

/// Where a command of a transfer stands in its group, so that those that lock several meet in one order.
fn place(transfer: TransferId) -> u128 {
    transfer.uuid().as_u128()
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

/// What the rows say now; `deliveries` is how many changed.
async fn acted(tx: &mut Tx<'_>, head: &Head, changed: bool, deliveries: u32) -> Result<Acted, Fault> {
    let found: String = on!(tx, c => sqlx::query_scalar("SELECT state FROM transfers WHERE id = $1")
        .bind(head.id().uuid()).fetch_one(c).await)?;
    let transfer = word(TransferState::parse(&found), "transfers.state", &found)?;
    let sending: i64 = on!(tx, c => sqlx::query_scalar(
        "SELECT count(*) FROM deliveries WHERE transfer_id = $1 AND state = $2")
        .bind(head.id().uuid()).bind(DeliveryState::Sending.as_str()).fetch_one(c).await)?;
    Ok(Acted { changed, deliveries, sending: crate::row::small(sending), transfer })
}

/// How many deliveries have not ended.
fn open(rows: &[DeliveryRow]) -> Result<u32, Fault> {
    let mut count = 0;
    for row in rows {
        count += u32::from(!row.state()?.is_final());
    }
    Ok(count)
}

/// Refuses to send what is not there any more: a payload that was removed at the end of its retention.
async fn payload_is_kept(tx: &mut Tx<'_>, action: TransferAction, head: &Head) -> Result<(), Fault> {
    // Locked, so that its removal sees that it is needed again.
    let sql = locking!(tx, "SELECT removed_at FROM payloads WHERE id = $1");
    let removed: Option<Timestamp> =
        on!(tx, c => sqlx::query_scalar(sql).bind(head.payload_id).fetch_one(c).await)?;
    let Some(at) = removed else { return Ok(()) };
    let kept = Duration::from_micros(u64::try_from(head.retain_for).unwrap_or(0));
    Err(Error::permanent(ErrorKind::NotFound, operation(action))
        .with("transfer", head.id())
        .with("payload removed", at)
        .with("retention", duration_text(kept))
        .advice(
            "its content was removed at the end of the flow's retention: put the file at its source again; a longer \
             `retention` of the flow keeps later files longer",
        )
        .into())
}
