//! A receipt that comes later, from any node.

use crate::open::Store;
use model::{
    AuditEvent, DeliveryId, DeliveryState, NodeName, PayloadRecord, Receipt, Result, Timestamp, TransferId,
    TransferState,
};

/// The answer to [`Store::resolve`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolved {
    /// The delivery has its receipt.
    Resolved {
        /// The delivery.
        delivery: DeliveryId,
        /// Its transfer.
        transfer: TransferId,
        /// Where the delivery stood.
        was: DeliveryState,
        /// How the transfer ended, if it did by this.
        transfer_ended: Option<TransferState>,
    },
    /// No delivery waits for it.
    Unmatched,
    /// The delivery had its receipt already, or has ended otherwise: nothing changed.
    AlreadyResolved {
        /// The delivery.
        delivery: DeliveryId,
        /// Its transfer.
        transfer: TransferId,
        /// Where it stands.
        state: DeliveryState,
    },
}

impl Store {
    /// Ends the delivery that a key was bound to: delivered by a positive receipt, failed by a
    /// negative one, also when it was `delivered` before. `events` are written in each case; those that
    /// name no delivery get the one found, with its transfer, flow and endpoint. The store adds
    /// `delivery.delivered`, `delivery.failed` or `receipt.unmatched`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn resolve(
        &self,
        key: &str,
        receipt: Receipt,
        evidence: Option<PayloadRecord>,
        by: &NodeName,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Resolved> {
        self.write(Resolve { key: key.to_owned(), receipt, evidence, by: by.clone(), events, now }).await
    }
}

struct Resolve {
    key: String,
    receipt: Receipt,
    evidence: Option<PayloadRecord>,
    by: NodeName,
    events: Vec<AuditEvent>,
    now: Timestamp,
}
crate::command::unfinished!(Resolve => Resolved);
