//! What a person does to transfers: retried, held, released, cancelled, resubmitted; each one, or all that a filter means.
//!
//! What can be done in which state is for `model::transition` to say; what is done is one transaction of the store, with
//! its audit events. All of it needs [`Permission::OperateTransfers`].

mod bulk;
mod cancel;
mod hold;
mod release;
mod resubmit;
mod retry;

pub use bulk::{BulkAnswer, BulkRequest, CountAnswer, CountRequest, RefusedTransfer};
pub use resubmit::ResubmitRequest;
pub use retry::{KeptRevision, RetriedDelivery};

use crate::{Caller, Control};
use model::{Error, ErrorKind, Permission, Result, TransferAction, TransferId, TransferState};
use serde::{Deserialize, Serialize};
use store::{Act, Acted};
use uuid::Uuid;

/// Most characters of a reason.
const LONGEST_REASON: usize = 1000;

/// A transfer to be retried, held, released or cancelled.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferRequest {
    /// The transfer.
    pub transfer: TransferId,
    /// Why, for the audit trail; at most 1,000 characters.
    #[serde(default)]
    pub reason: Option<String>,
}

/// The result of an action.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransferAnswer {
    /// The transfer that it was asked for.
    pub transfer: TransferId,
    /// What was done.
    pub action: TransferAction,
    /// Whether it changed anything: not when it was so already.
    pub changed: bool,
    /// Where the transfer stands now.
    pub state: TransferState,
    /// Deliveries that it concerns: those sent again, cancelled, or kept from being begun.
    pub deliveries: u32,
    /// Deliveries that are being sent at this moment: they end as they will.
    pub sending: u32,
    /// The new transfer, of one that was resubmitted.
    pub child: Option<TransferId>,
    /// The deliveries that are sent again, of one that was retried, and through which flow each goes.
    #[serde(default)]
    pub retried: Vec<RetriedDelivery>,
}

impl TransferAnswer {
    fn new(transfer: TransferId, action: TransferAction, acted: Acted) -> Self {
        let Acted { changed, deliveries, sending, transfer: state } = acted;
        let (child, retried) = (None, Vec::new());
        Self { transfer, action, changed, state, deliveries, sending, child, retried }
    }
}

impl Control {
    /// Who acts, when and why. Refuses users without the permission to operate transfers.
    pub(crate) fn act(&self, caller: &Caller, reason: Option<&str>, request: Option<Uuid>) -> Result<Act> {
        caller.require(Permission::OperateTransfers)?;
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty());
        if let Some(length) = reason.map(|text| text.chars().count()).filter(|n| *n > LONGEST_REASON) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "write the reason to the audit trail")
                .with("characters", length)
                .advice(format!("a reason has at most {LONGEST_REASON} characters")));
        }
        let act = Act::new(caller.actor.clone(), self.0.settings.node.clone(), (self.0.now)());
        Ok(Act { reason: reason.map(str::to_owned), request, ..act })
    }
}
