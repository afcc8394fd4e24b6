//! A person's actions on transfers and deliveries: one command each, in one transaction with its audit events.
//!
//! A delivery that is being sent is not changed, because its effect cannot be undone: its result is recorded
//! normally. What follows depends on the transfer's state: a held one starts nothing, a cancelled one retries nothing
//! ([`change::give_up`]).
//!
//! Each action can be repeated, for example if its answer was lost: it then reports that nothing changed.

mod cancel;
mod hold;
mod resubmit;
mod retry;
mod send;

pub(crate) use cancel::cancel_unended;
pub use resubmit::{Resubmitted, child_id};
pub use retry::{DestinationInForce, FlowInForce, Requeued, Retried};

use crate::delivery::change::{self, Head};
use crate::delivery::reopen;
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

/// Who acts, where and when, and why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Act {
    /// The actor.
    pub actor: Actor,
    /// The node that received the request.
    pub node: NodeName,
    /// When.
    pub at: Timestamp,
    /// The reason that the person gave, for the audit trail.
    pub reason: Option<String>,
    /// The id of the request, if it has one, for the audit trail.
    pub request: Option<Uuid>,
}

/// The result of an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acted {
    /// Whether anything changed; false if the state was already reached.
    pub changed: bool,
    /// The number of deliveries that were retried, cancelled, held or released.
    pub deliveries: u32,
    /// The number of deliveries that are being sent at this moment; they are not changed.
    pub sending: u32,
    /// The transfer's state now.
    pub transfer: TransferState,
}

impl Act {
    /// An action without a reason.
    #[must_use]
    pub const fn new(actor: Actor, node: NodeName, at: Timestamp) -> Self {
        Self { actor, node, at, reason: None, request: None }
    }

    pub(crate) fn event(&self, tx: &Tx<'_>, kind: EventKind) -> AuditEvent {
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

/// The operation's name in errors.
const fn operation(action: TransferAction) -> &'static str {
    match action {
        TransferAction::Retry => "retry a transfer",
        TransferAction::Hold => "hold a transfer",
        TransferAction::Release => "release a transfer",
        TransferAction::Cancel => "cancel a transfer",
        TransferAction::Resubmit => "resubmit a transfer",
    }
}

/// The error if the transfer's state does not allow the action.
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

/// The sort key of a command on a transfer, so that commands that lock several rows lock them in one order.
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

/// The result from the rows; `deliveries` is the number of changed ones.
async fn acted(tx: &mut Tx<'_>, head: &Head, changed: bool, deliveries: u32) -> Result<Acted, Fault> {
    let found: String = on!(tx, c => sqlx::query_scalar("SELECT state FROM transfers WHERE id = $1")
        .bind(head.id().uuid()).fetch_one(c).await)?;
    let transfer = word(TransferState::parse(&found), "transfers.state", &found)?;
    let sending: i64 = on!(tx, c => sqlx::query_scalar(
        "SELECT count(*) FROM deliveries WHERE transfer_id = $1 AND state = $2")
        .bind(head.id().uuid()).bind(DeliveryState::Sending.as_str()).fetch_one(c).await)?;
    Ok(Acted { changed, deliveries, sending: crate::row::small(sending), transfer })
}

/// The number of deliveries that are not final.
fn open(rows: &[DeliveryRow]) -> Result<u32, Fault> {
    let mut count = 0;
    for row in rows {
        count += u32::from(!row.state()?.is_final());
    }
    Ok(count)
}

/// Refuses to send a payload that was removed at the end of its retention, or one of its attachments, or a payload that was streamed and is not at its source
/// any more.
async fn payload_is_kept(
    tx: &mut Tx<'_>,
    action: TransferAction,
    head: &Head,
    act: &Act,
) -> Result<(), Fault> {
    // Locked, so that its removal sees that it is needed again.
    let sql = locking!(tx, "SELECT removed_at, streamed FROM payloads WHERE id = $1");
    let (removed, streamed): (Option<Timestamp>, bool) =
        on!(tx, c => sqlx::query_as(sql).bind(head.payload_id).fetch_one(c).await)?;
    if streamed && action == TransferAction::Retry {
        return reopen(tx, operation(action), head.id(), act.at).await;
    }
    if streamed {
        return Err(Error::permanent(ErrorKind::Unsupported, operation(action))
            .with("transfer", head.id())
            .advice(
                "its file was streamed, and Waybill keeps no copy: put the file at its source again; without `stream` \
                 on the flow's source, the content of later files is kept",
            )
            .into());
    }
    // Its attachments too: another transfer may need the first file for longer. In the order in which a removal locks them.
    let sql = locking!(
        tx,
        "SELECT p.removed_at FROM payloads p WHERE p.id IN \
         (SELECT a.payload_id FROM attachments a WHERE a.transfer_id = $1) ORDER BY p.id"
    );
    let attached: Vec<Option<Timestamp>> =
        on!(tx, c => sqlx::query_scalar(sql).bind(head.id().uuid()).fetch_all(c).await)?;
    let Some(at) = removed.or_else(|| attached.into_iter().flatten().next()) else { return Ok(()) };
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
