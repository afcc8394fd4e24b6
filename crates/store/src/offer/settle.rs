//! Telling the source: delete, archive, move or keep.

use crate::lease::NodeLease;
use crate::open::Store;
use model::{AuditEvent, Offer, OfferId, Outcome, Result, Timestamp};
use serde_json::{Map, Value};

impl Store {
    /// Offers of a flow whose source is to be settled now, oldest first. With `after_delivery` only
    /// when all transfers of it are final; then a transfer that did not complete makes the outcome
    /// `Refused`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offers_to_settle(
        &self,
        flow: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Offer, Outcome)>> {
        let _ = (flow, now, limit);
        Ok(Vec::new())
    }

    /// Takes an offer for settling; false when another lives that has it, or it is done.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_settle(&self, offer: OfferId, lease: &NodeLease, now: Timestamp) -> Result<bool> {
        self.write(BeginSettle { offer, lease: lease.clone(), now }).await
    }

    /// The source confirmed. With `kept` the file is still there and its identity hides as long as
    /// listings show it; otherwise the same identity is from now on a new file.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settled(
        &self,
        offer: OfferId,
        kept: bool,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<()> {
        self.write(Settled { offer, kept, events, now }).await
    }

    /// The source could not be settled: again at `next_at`. Answers how often it failed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle_failed(
        &self,
        offer: OfferId,
        next_at: Timestamp,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<u32> {
        self.write(SettleFailed { offer, next_at, events, now }).await
    }

    /// Replaces what the source needs to find an offer again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn update_offer_source_data(
        &self,
        offer: OfferId,
        source_data: Map<String, Value>,
    ) -> Result<()> {
        self.write(UpdateSourceData { offer, source_data }).await
    }
}

struct BeginSettle {
    offer: OfferId,
    lease: NodeLease,
    now: Timestamp,
}
struct Settled {
    offer: OfferId,
    kept: bool,
    events: Vec<AuditEvent>,
    now: Timestamp,
}
struct SettleFailed {
    offer: OfferId,
    next_at: Timestamp,
    events: Vec<AuditEvent>,
    now: Timestamp,
}
struct UpdateSourceData {
    offer: OfferId,
    source_data: Map<String, Value>,
}
crate::command::unfinished!(BeginSettle => bool, Settled => (), SettleFailed => u32, UpdateSourceData => ());
