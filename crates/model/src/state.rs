//! The three state machines and the one function that moves them (design, section 4).

use crate::connection::words;
use std::fmt::{Debug, Display};

/// A state machine: what may follow from where.
pub trait Lifecycle: Copy + Eq + Debug + Display + 'static {
    /// What can happen to it.
    type Event: Copy + Eq + Debug + 'static;

    /// The next state, or `None` when the event cannot happen here.
    fn next(self, event: Self::Event) -> Option<Self>;

    /// Whether nothing moves it any more but a person.
    fn is_final(self) -> bool;
}

/// An event that cannot happen in a state.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a {machine} in state '{from}' does not allow '{event}'")]
pub struct IllegalTransition {
    /// Offer, transfer or delivery.
    pub machine: &'static str,
    /// The state it is in.
    pub from: String,
    /// The event that does not fit.
    pub event: String,
}

/// Moves a state machine. The only way any state of Waybill changes.
///
/// # Errors
/// The event cannot happen in this state; nothing changed.
pub fn transition<S: Lifecycle>(from: S, event: S::Event) -> Result<S, IllegalTransition> {
    from.next(event).ok_or_else(|| IllegalTransition {
        machine: std::any::type_name::<S>().rsplit("::").next().unwrap_or("state").trim_end_matches("State"),
        from: from.to_string(),
        event: format!("{event:?}"),
    })
}

words! {
    /// Where an offer stands.
    OfferState {
        /// Found; nothing of it is ours yet.
        Seen = "seen",
        /// Being copied into staging.
        Staging = "staging",
        /// Ours: its transfers are recorded.
        Recorded = "recorded",
        /// Being deleted, archived, moved or marked at its source.
        Settling = "settling",
        /// Done with at its source.
        Settled = "settled",
        /// Could not be read; waits for its next try.
        BackedOff = "backed_off",
        /// Given up, with its cause.
        Refused = "refused",
    }
}

/// What can happen to an offer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OfferEvent {
    /// Copying begins.
    Stage,
    /// Its transfers are in the database.
    Record,
    /// It could not be read this time.
    BackOff,
    /// It is refused, and not tried again.
    Refuse,
    /// Settling begins, or begins again.
    Settle,
    /// The source confirmed.
    Settled,
    /// A person wants it tried again.
    Retry,
    /// A person wants a streamed file sent again, which stayed at its source.
    Reopen,
}

impl OfferEvent {
    /// All events.
    pub const ALL: [Self; 8] = [
        Self::Stage,
        Self::Record,
        Self::BackOff,
        Self::Refuse,
        Self::Settle,
        Self::Settled,
        Self::Retry,
        Self::Reopen,
    ];
}

impl Lifecycle for OfferState {
    type Event = OfferEvent;

    fn next(self, event: OfferEvent) -> Option<Self> {
        use OfferEvent as E;
        match (self, event) {
            (Self::Seen | Self::BackedOff, E::Stage) => Some(Self::Staging),
            (Self::Staging, E::Record) => Some(Self::Recorded),
            (Self::Seen | Self::Staging | Self::BackedOff, E::BackOff) => Some(Self::BackedOff),
            (Self::Seen | Self::Staging | Self::BackedOff, E::Refuse) => Some(Self::Refused),
            (Self::Recorded | Self::Settling, E::Settle) => Some(Self::Settling),
            (Self::Settling, E::Settled) => Some(Self::Settled),
            (Self::Refused, E::Retry) => Some(Self::BackedOff),
            (Self::Settled, E::Reopen) => Some(Self::Recorded),
            _ => None,
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Settled | Self::Refused)
    }
}

words! {
    /// Where a transfer stands.
    TransferState {
        /// Its payload is staged and recorded.
        Staged = "staged",
        /// Its steps run.
        Processing = "processing",
        /// Its deliveries are running.
        Delivering = "delivering",
        /// Every delivery succeeded.
        Completed = "completed",
        /// Some deliveries succeeded, the others ended.
        PartlyFailed = "partly_failed",
        /// No delivery succeeded.
        Failed = "failed",
        /// A person ended it.
        Cancelled = "cancelled",
        /// Waits for a person.
        Held = "held",
    }
}

/// What can happen to a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum TransferEvent {
    /// Its steps begin.
    Process,
    /// Its deliveries may be claimed.
    Deliver,
    /// Every delivery succeeded.
    Complete,
    /// All deliveries are final, some succeeded.
    PartlyFail,
    /// All deliveries are final, none succeeded.
    Fail,
    /// A person ends it.
    Cancel,
    /// A person, or a rule, stops it.
    Hold,
    /// A person releases it.
    Release,
    /// A delivery was sent back to pending.
    Reopen,
    /// A person sends its payload once more, as a transfer of its own.
    Resubmit,
}

impl TransferEvent {
    /// All events.
    pub const ALL: [Self; 10] = [
        Self::Process,
        Self::Deliver,
        Self::Complete,
        Self::PartlyFail,
        Self::Fail,
        Self::Cancel,
        Self::Hold,
        Self::Release,
        Self::Reopen,
        Self::Resubmit,
    ];
}

impl Lifecycle for TransferState {
    type Event = TransferEvent;

    fn next(self, event: TransferEvent) -> Option<Self> {
        use TransferEvent as E;
        match (self, event) {
            // What was released or retried goes back to its steps where they are not done.
            (Self::Staged | Self::Delivering, E::Process) => Some(Self::Processing),
            (Self::Processing, E::Deliver) => Some(Self::Delivering),
            // A held transfer whose last delivery was being sent when it was held ends all the same; so does a
            // cancelled one, if that delivery arrives. A later negative receipt changes the end of a completed one.
            (Self::Delivering | Self::Held | Self::Cancelled, E::Complete) => Some(Self::Completed),
            (
                Self::Processing | Self::Delivering | Self::Held | Self::Cancelled | Self::Completed,
                E::PartlyFail,
            ) => Some(Self::PartlyFailed),
            (
                Self::Processing | Self::Delivering | Self::Held | Self::Completed | Self::PartlyFailed,
                E::Fail,
            ) => Some(Self::Failed),
            // Of one that failed, what failed is given up: its lanes go on.
            (Self::Staged | Self::Processing | Self::Delivering | Self::Held | Self::Failed, E::Cancel) => {
                Some(Self::Cancelled)
            }
            (Self::PartlyFailed, E::Cancel) => Some(self),
            (Self::Staged | Self::Processing | Self::Delivering, E::Hold) => Some(Self::Held),
            (Self::Held, E::Release) => Some(Self::Delivering),
            (Self::Failed | Self::PartlyFailed | Self::Cancelled, E::Reopen) => Some(Self::Delivering),
            (Self::Processing | Self::Delivering | Self::Held, E::Reopen) => Some(self),
            // While it is under way its payload would be sent twice.
            (state, E::Resubmit) if state.is_final() => Some(self),
            _ => None,
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::PartlyFailed | Self::Failed | Self::Cancelled)
    }
}

impl TransferState {
    /// How a transfer ends by its deliveries: `None` while one of them is not final.
    #[must_use]
    pub fn ended_by(deliveries: &[DeliveryState]) -> Option<TransferEvent> {
        if deliveries.is_empty() || deliveries.iter().any(|state| !state.is_final()) {
            return None;
        }
        let delivered = deliveries.iter().filter(|s| **s == DeliveryState::Delivered).count();
        let cancelled = deliveries.iter().filter(|s| **s == DeliveryState::Cancelled).count();
        Some(if delivered == deliveries.len() {
            TransferEvent::Complete
        } else if cancelled == deliveries.len() {
            TransferEvent::Cancel
        } else if delivered > 0 {
            TransferEvent::PartlyFail
        } else {
            TransferEvent::Fail
        })
    }
}

words! {
    /// Where a delivery stands.
    DeliveryState {
        /// May be claimed when it is due.
        Pending = "pending",
        /// A node is at it.
        Sending = "sending",
        /// Sent; the receipt will come later.
        AwaitingReceipt = "awaiting_receipt",
        /// Done, with its receipt.
        Delivered = "delivered",
        /// The last attempt failed; may be claimed when it is due again.
        Retrying = "retrying",
        /// Failed permanently.
        Failed = "failed",
        /// Its time ran out.
        Expired = "expired",
        /// A person cancelled or skipped it.
        Cancelled = "cancelled",
    }
}

/// What can happen to a delivery.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DeliveryEvent {
    /// A node takes it.
    Claim,
    /// Sent; a receipt is awaited.
    Await,
    /// A positive receipt has arrived, perhaps before the answer to the sending.
    Deliver,
    /// The attempt failed, another follows.
    Retry,
    /// The attempt failed, none follows; or a later receipt is negative.
    Fail,
    /// Its time ran out.
    Expire,
    /// A person cancels or skips it.
    Cancel,
    /// A person sends it on its way again.
    Requeue,
}

impl DeliveryEvent {
    /// All events.
    pub const ALL: [Self; 8] = [
        Self::Claim,
        Self::Await,
        Self::Deliver,
        Self::Retry,
        Self::Fail,
        Self::Expire,
        Self::Cancel,
        Self::Requeue,
    ];
}

impl Lifecycle for DeliveryState {
    type Event = DeliveryEvent;

    fn next(self, event: DeliveryEvent) -> Option<Self> {
        use DeliveryEvent as E;
        match (self, event) {
            (Self::Pending | Self::Retrying, E::Claim) => Some(Self::Sending),
            (Self::Sending, E::Await) => Some(Self::AwaitingReceipt),
            (Self::Sending | Self::AwaitingReceipt, E::Deliver) => Some(Self::Delivered),
            (Self::Sending | Self::AwaitingReceipt, E::Retry) => Some(Self::Retrying),
            (Self::Pending | Self::Sending | Self::AwaitingReceipt | Self::Retrying, E::Fail) => {
                Some(Self::Failed)
            }
            (Self::Delivered, E::Fail) => Some(Self::Failed),
            (Self::Pending | Self::Sending | Self::AwaitingReceipt | Self::Retrying, E::Expire) => {
                Some(Self::Expired)
            }
            (
                Self::Pending | Self::AwaitingReceipt | Self::Retrying | Self::Failed | Self::Expired,
                E::Cancel,
            ) => Some(Self::Cancelled),
            // One that waits for its next attempt is due at once.
            (Self::Retrying | Self::Failed | Self::Expired | Self::Cancelled, E::Requeue) => {
                Some(Self::Pending)
            }
            _ => None,
        }
    }

    fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Failed | Self::Expired | Self::Cancelled)
    }
}

mod action;

pub use action::TransferAction;

#[cfg(test)]
mod tests;
