//! What a person does to transfers and deliveries. Each writes its own audit events.

use crate::open::Store;
use model::{Actor, DeliveryId, NodeName, Result, Timestamp, TransferId, TransferState};

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

struct RetryDelivery {
    delivery: DeliveryId,
    act: Act,
}
struct RetryTransfer {
    transfer: TransferId,
    act: Act,
}
struct CancelDelivery {
    delivery: DeliveryId,
    act: Act,
}
struct CancelTransfer {
    transfer: TransferId,
    act: Act,
}
struct HoldTransfer {
    transfer: TransferId,
    act: Act,
}
struct ReleaseTransfer {
    transfer: TransferId,
    act: Act,
}
crate::command::unfinished!(RetryDelivery => Acted, RetryTransfer => Acted, CancelDelivery => Acted, CancelTransfer => Acted, HoldTransfer => Acted, ReleaseTransfer => Acted);
