//! The end of an attempt.

use crate::delivery::{Failure, NewTransfer};
use crate::open::Store;
use model::{AuditEvent, Claim, DeliveryState, PayloadRecord, Receipt, Result, Timestamp, TransferState};

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum Finish {
    /// The destination has it.
    Delivered {
        /// Its evidence.
        receipt: Receipt,
        /// The evidence's own bytes, where staged; `receipt.evidence` names them.
        evidence: Option<PayloadRecord>,
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
    /// Failed for good.
    Fail {
        /// Why.
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
    /// A receipt that overtook this answer had settled it already: replies were recorded, the rest
    /// was not needed.
    AlreadyResolved(DeliveryState),
    /// The claim is another's by now: nothing was written.
    ClaimLost,
}

impl Store {
    /// Ends an attempt. While the delivery is `sending`, the claim's node, epoch and attempt must be
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
crate::command::unfinished!(FinishAttempt => Finished);
