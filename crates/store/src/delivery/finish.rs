//! The end of an attempt.

use crate::command::Command;
use crate::delivery::change::{self, Change};
use crate::delivery::insert::{described, insert_replies};
use crate::delivery::{Failure, NewTransfer};
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{DeliveryRow, small};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{
    Actor, AuditEvent, Claim, DeliveryEvent, DeliveryState, EventKind, Lifecycle, Receipt, Result, Timestamp,
    TransferState, transition,
};

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Finish {
    /// The destination has it.
    Delivered {
        /// Its evidence.
        receipt: Receipt,
        /// What came back and becomes transfers.
        replies: Vec<NewTransfer>,
    },
    /// Sent; the receipt comes later.
    Awaiting {
        /// Until when it is awaited.
        deadline: Timestamp,
    },
    /// Failed; another attempt follows.
    Retry {
        /// When.
        due_at: Timestamp,
        /// Why it failed.
        error: Failure,
    },
    /// Failed permanently.
    Fail {
        /// The reason.
        error: Failure,
        /// A receipt that says no, if that is why.
        receipt: Option<Receipt>,
        /// In a lane: whether the next one may pass.
        lane_continues: bool,
    },
    /// Its time ran out.
    Expire {
        /// In a lane: whether the next one may pass.
        lane_continues: bool,
    },
}

/// The answer to [`Store::finish`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Finished {
    /// It is on record.
    Done {
        /// How the transfer ended, if this was its last delivery.
        transfer_ended: Option<TransferState>,
    },
    /// A receipt that overtook this answer had settled it already: replies were recorded, with the
    /// events about them; the rest was not needed.
    AlreadyResolved(DeliveryState),
    /// The claim is another's by now: nothing was written.
    ClaimLost,
}

impl Store {
    /// Ends an attempt, at `now`; the one among `events` that tells of it gets that time, and the error and
    /// the receipt's digest as the rows show them. While the delivery is `sending`, the claim's node, epoch and attempt must be
    /// the row's; once it is `awaiting_receipt`, the attempt alone.
    ///
    /// # Errors
    /// The database failed. `Ambiguous`: ask again with the same claim; `ClaimLost` or
    /// `AlreadyResolved` then says that it took effect, or that another has it.
    pub async fn finish(
        &self,
        claim: &Claim,
        finish: Finish,
        now: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<Finished> {
        self.write(FinishAttempt { claim: claim.clone(), finish, now, events }).await
    }
}

struct FinishAttempt {
    claim: Claim,
    finish: Finish,
    now: Timestamp,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for FinishAttempt {
    type Answer = Finished;

    fn place(&self) -> u128 {
        self.claim.delivery.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Finished, Fault> {
        let Some((head, row)) = change::lock(tx, self.claim.delivery).await? else {
            return Ok(Finished::ClaimLost);
        };
        match standing(&row, &self.claim)? {
            Standing::Ours => {}
            Standing::Resolved(state) => {
                if let Finish::Delivered { replies, .. } = &self.finish {
                    insert_replies(tx, replies, self.now).await?;
                    // The receipt has told the rest.
                    let of_reply = |event: &&AuditEvent| {
                        replies.iter().any(|reply| event.transfer == Some(reply.transfer.id))
                    };
                    let of_replies: Vec<_> = self.events.iter().filter(of_reply).cloned().collect();
                    tx.events(&described(&of_replies, replies));
                }
                return Ok(Finished::AlreadyResolved(state));
            }
            Standing::Lost => return Ok(Finished::ClaimLost),
        }
        // The same answer once more, as its first commit was not answered.
        let awaited = row.state()? == DeliveryState::AwaitingReceipt;
        if awaited && matches!(self.finish, Finish::Awaiting { .. }) {
            return Ok(Finished::Done { transfer_ended: None });
        }
        let state = transition(row.state()?, self.finish.event())?;
        let change = self.finish.change(&row, state, self.now);
        change::write(tx, &row, &change).await?;
        change::end_attempt(tx, &row, &change).await?;
        if let Finish::Delivered { replies, .. } = &self.finish {
            insert_replies(tx, replies, self.now).await?;
        }
        let replies = match &self.finish {
            Finish::Delivered { replies, .. } => replies.as_slice(),
            _ => &[],
        };
        for event in described(&self.events, replies) {
            let own = event.delivery == Some(self.claim.delivery) && event.kind == self.finish.kind();
            tx.event(if own { change::told(event, &row, &change, true) } else { event });
        }
        change::give_up(tx, &head, self.claim.delivery, self.now, &self.claim.node).await?;
        let given_up = head.state()? == TransferState::Cancelled && state == DeliveryState::Retrying;
        let transfer_ended = if state.is_final() || given_up {
            change::end_transfer(tx, &head, self.now, &self.claim.node, &Actor::System).await?
        } else {
            None
        };
        Ok(Finished::Done { transfer_ended })
    }
}

/// The state of a claim.
pub(crate) enum Standing {
    /// It is valid.
    Ours,
    /// A receipt settled the attempt.
    Resolved(DeliveryState),
    /// Another node has claimed the delivery, or no node has.
    Lost,
}

/// While sending, node, epoch and attempt must agree. After that the attempt alone: its number is given
/// once, and a receipt may come to any node.
pub(crate) fn standing(row: &DeliveryRow, claim: &Claim) -> Result<Standing, Fault> {
    let state = row.state()?;
    if small(row.attempt) != claim.attempt {
        return Ok(Standing::Lost);
    }
    Ok(match state {
        DeliveryState::Sending
            if row.node.as_deref() == Some(claim.node.as_str()) && row.epoch == Some(claim.epoch) =>
        {
            Standing::Ours
        }
        DeliveryState::AwaitingReceipt => Standing::Ours,
        state if state.is_final() => Standing::Resolved(state),
        _ => Standing::Lost,
    })
}

impl Finish {
    fn event(&self) -> DeliveryEvent {
        match self {
            Self::Delivered { .. } => DeliveryEvent::Deliver,
            Self::Awaiting { .. } => DeliveryEvent::Await,
            Self::Retry { .. } => DeliveryEvent::Retry,
            Self::Fail { .. } => DeliveryEvent::Fail,
            Self::Expire { .. } => DeliveryEvent::Expire,
        }
    }

    /// The kind of the event about it.
    fn kind(&self) -> EventKind {
        match self {
            Self::Delivered { .. } => EventKind::DeliveryDelivered,
            Self::Awaiting { .. } => EventKind::DeliveryAwaiting,
            Self::Retry { .. } => EventKind::DeliveryRetrying,
            Self::Fail { .. } => EventKind::DeliveryFailed,
            Self::Expire { .. } => EventKind::DeliveryExpired,
        }
    }

    fn change<'a>(&'a self, row: &DeliveryRow, state: DeliveryState, now: Timestamp) -> Change<'a> {
        let change = Change::to(row, state, now);
        let in_lane = row.lane.is_some();
        match self {
            Self::Delivered { receipt, .. } => Change { receipt: Some(receipt), lane_open: false, ..change },
            Self::Awaiting { deadline } => {
                Change { receipt_deadline: Some(*deadline), claimed: true, ..change }
            }
            Self::Retry { due_at, error } => {
                Change { due_at: *due_at, failures: row.failures + 1, error: Some(error.columns()), ..change }
            }
            Self::Fail { error, receipt, lane_continues } => Change {
                failures: row.failures + 1,
                error: Some(error.columns()),
                receipt: receipt.as_ref(),
                lane_open: in_lane && !lane_continues,
                ..change
            },
            Self::Expire { lane_continues } => Change { lane_open: in_lane && !lane_continues, ..change },
        }
    }
}
