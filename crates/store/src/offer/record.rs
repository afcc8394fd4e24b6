//! The transaction from which a file is ours.

use crate::delivery::NewTransfer;
use crate::lease::NodeLease;
use crate::open::Store;
use model::definition::SettleWhen;
use model::{AuditEvent, Offer, Result, Timestamp};

/// A staged offer with what is made of it. `offer.state` must be `staging`.
#[derive(Clone, Debug)]
pub struct RecordOffer {
    /// Who records. No longer held: nothing is written.
    pub lease: NodeLease,
    /// The source, when it is polled under a lease of its own; no longer held: nothing is written.
    pub source: Option<String>,
    /// What was found.
    pub offer: Offer,
    /// When the source is settled; `None` when there is nothing to settle.
    pub settle_when: Option<SettleWhen>,
    /// One for each part.
    pub transfers: Vec<NewTransfer>,
    /// What the audit trail says about it.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`RecordOffer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It is ours.
    Recorded,
    /// It was ours already (the same offer id or identity): nothing was written; do not settle.
    AlreadyRecorded,
    /// The node's or the source's lease is not held any more: nothing was written.
    LeaseLost,
}

/// An offer that could not be staged.
#[derive(Clone, Debug)]
pub struct OfferFailed {
    /// What was found; its `failures` are counted by the store.
    pub offer: Offer,
    /// When it may be offered again; `None` gives it up for good.
    pub next_at: Option<Timestamp>,
    /// Why.
    pub error: String,
    /// Whether a refused one is to be settled at the source (moved to the error directory).
    pub settle_refused: bool,
    /// What the audit trail says about it.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

impl Store {
    /// Makes an offer ours: offer, payloads, transfers, deliveries and events in one transaction.
    /// Lanes are numbered in the order in which these calls are answered; for an ordered flow, await
    /// one before the next.
    ///
    /// # Errors
    /// The database failed. `Ambiguous`: it may be recorded; ask [`Store::transfer`].
    pub async fn record_offer(&self, offer: RecordOffer) -> Result<Recorded> {
        self.write(offer).await
    }

    /// Notes that an offer could not be staged: attempts are counted (the answer), and it is backed
    /// off or refused.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offer_failed(&self, failed: OfferFailed) -> Result<u32> {
        self.write(failed).await
    }
}
crate::command::unfinished!(RecordOffer => Recorded, OfferFailed => u32);
