//! Settling offers at their sources: delete, archive, move or keep.

use crate::command::Command;
use crate::delivery::Done;
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::offer::archive::{ArchiveRecord, insert_archived};
use crate::open::Store;
use crate::row::{OfferRow, word};
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{
    AuditEvent, Offer, OfferEvent, OfferId, OfferState, Outcome, Result, Timestamp, TransferId, transition,
};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// An offer whose source is to be settled.
#[derive(Clone, Debug)]
pub struct OfferToSettle {
    /// The offer.
    pub offer: Offer,
    /// The outcome, for the source.
    pub outcome: Outcome,
    /// The revision of the flow of its transfers; `None` if it has no transfer.
    pub revision: Option<i64>,
}

impl Store {
    /// Flow and endpoint of offers that may have to be settled now, including flows that are no longer defined.
    /// [`Store::offers_to_settle`] returns the offers.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sources_to_settle(&self, now: Timestamp) -> Result<Vec<(String, String)>> {
        self.read("look up which sources are to be settled", async {
            on!(self.pool(), c => sqlx::query_as(
                "SELECT DISTINCT flow, endpoint FROM offers WHERE settle_outcome IS NOT NULL AND node IS NULL \
                   AND (next_at IS NULL OR next_at <= $1) ORDER BY flow, endpoint")
                .bind(now).fetch_all(c).await)
        })
        .await
    }

    /// The offers of a flow from an endpoint whose source must be settled now, oldest first. With `after_delivery`,
    /// only if all their transfers are final and no delivery is being sent; then a transfer that did not complete
    /// makes the outcome `Refused`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offers_to_settle(
        &self,
        flow: &str,
        endpoint: &str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OfferToSettle>> {
        let rows: Vec<ToSettle> = self
            .read("look up offers to settle", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT o.*, EXISTS (SELECT 1 FROM transfers t WHERE t.offer_id = o.id \
                       AND t.state <> 'completed') AS unfinished, \
                       (SELECT min(t.revision) FROM transfers t WHERE t.offer_id = o.id) AS revision \
                     FROM offers o WHERE o.settle_outcome IS NOT NULL AND o.flow = $1 AND o.endpoint = $4 AND o.node IS NULL \
                       AND (o.next_at IS NULL OR o.next_at <= $2) \
                       AND (o.settle_when = 'recorded' OR NOT EXISTS (SELECT 1 FROM transfers t \
                         WHERE t.offer_id = o.id AND (t.retained_until IS NULL \
                           OR t.state NOT IN ('completed', 'partly_failed', 'failed', 'cancelled')))) \
                     ORDER BY o.found_at, o.id LIMIT $3")
                    .bind(flow).bind(now).bind(i64::from(limit)).bind(endpoint).fetch_all(c).await)
            })
            .await?;
        Ok(rows
            .into_iter()
            .filter_map(|row| {
                let (outcome, revision, id) = (row.outcome(), row.revision, row.offer.id());
                let offer = row.offer.offer().inspect_err(|error| {
                    tracing::error!(offer = %id, error = error.chain(), "this offer cannot be settled");
                });
                Some(OfferToSettle { offer: offer.ok()?, outcome, revision })
            })
            .collect())
    }

    /// Why a delivery of an offer failed; with several, the last error.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offer_failure(&self, offer: OfferId) -> Result<Option<String>> {
        self.read("look up why an offer was not delivered", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT d.error FROM transfers t JOIN deliveries d ON d.transfer_id = t.id WHERE t.offer_id = $1 \
                 AND d.state <> 'delivered' AND d.error IS NOT NULL ORDER BY d.updated_at DESC LIMIT 1")
                .bind(offer.uuid()).fetch_optional(c).await)
        })
        .await
    }

    /// Reserves an offer for settling; false if another living node has it, or it is settled.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_settle(&self, offer: OfferId, lease: &NodeLease, now: Timestamp) -> Result<bool> {
        self.write(BeginSettle { offer, lease: lease.clone(), now }).await
    }

    /// Records that the source confirmed an offer that [`Store::begin_settle`] reserved under this lease. With `kept`
    /// the file still exists, and is skipped as long as listings show it; otherwise a file with the same identity is
    /// new from now on. `archived` are the files in archives that are to be removed later. `ClaimLost`: another node is
    /// settling it; nothing was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settled(
        &self,
        offer: OfferId,
        lease: &NodeLease,
        kept: bool,
        archived: Vec<ArchiveRecord>,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Done> {
        self.write(Settled { offer, lease: lease.clone(), kept, archived, events, now }).await
    }

    /// Records that the source of an offer that [`Store::begin_settle`] reserved under this lease could not be
    /// settled, because of `error`: it is tried again at `next_at`. `ClaimLost`: another node is settling it; nothing
    /// was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn settle_failed(
        &self,
        offer: OfferId,
        lease: &NodeLease,
        next_at: Timestamp,
        error: &str,
        events: Vec<AuditEvent>,
        now: Timestamp,
    ) -> Result<Done> {
        let (lease, error) = (lease.clone(), error.to_owned());
        self.write(SettleFailed { offer, lease, next_at, error, events, now }).await
    }

    /// Replaces the data by which the source finds an offer.
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

#[derive(FromRow)]
struct ToSettle {
    #[sqlx(flatten)]
    offer: OfferRow,
    settle_when: String,
    settle_outcome: String,
    unfinished: bool,
    revision: Option<i64>,
}

impl ToSettle {
    fn outcome(&self) -> Outcome {
        let failed = self.settle_when == "after_delivery" && self.unfinished;
        if failed || self.settle_outcome == "refused" { Outcome::Refused } else { Outcome::Taken }
    }
}

/// An offer's state, with its row locked; `None` if there is no such offer or it needs no settling.
async fn pending(tx: &mut Tx<'_>, offer: OfferId) -> Result<Option<OfferState>, Fault> {
    let sql = locking!(tx, "SELECT state FROM offers WHERE id = $1 AND settle_outcome IS NOT NULL");
    let state: Option<String> =
        on!(tx, c => sqlx::query_scalar(sql).bind(offer.uuid()).fetch_optional(c).await)?;
    state.map(|state| Ok(word(OfferState::parse(&state), "offers.state", &state)?)).transpose()
}

/// A refused offer stays refused while it is moved away; all others are `settling`.
fn settling(state: OfferState) -> Result<OfferState, Fault> {
    Ok(if state == OfferState::Refused { state } else { transition(state, OfferEvent::Settle)? })
}

/// Writes events about settling an offer, with its transfer (the first of several).
async fn settle_events(tx: &mut Tx<'_>, offer: OfferId, events: &[AuditEvent]) -> Result<(), Fault> {
    let transfer: Option<Uuid> = on!(tx, c => sqlx::query_scalar(
        "SELECT id FROM transfers WHERE offer_id = $1 ORDER BY created_at, id LIMIT 1")
        .bind(offer.uuid()).fetch_optional(c).await)?;
    for event in events {
        let transfer = event.transfer.or(transfer.map(TransferId::new));
        tx.event(AuditEvent { transfer, ..event.clone() });
    }
    Ok(())
}

struct BeginSettle {
    offer: OfferId,
    lease: NodeLease,
    now: Timestamp,
}

#[async_trait]
impl Command for BeginSettle {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(false);
        }
        let Some(state) = pending(tx, self.offer).await? else { return Ok(false) };
        let begun = on!(tx, c => sqlx::query(
            // Since it was looked up, a person may have sent a failed delivery again, which reads the file.
            "UPDATE offers SET state = $2, node = $3, epoch = $4, updated_at = $5 WHERE id = $1 \
             AND (node IS NULL OR (node = $3 AND epoch = $4)) \
             AND (settle_when = 'recorded' OR NOT EXISTS (SELECT 1 FROM transfers t \
               WHERE t.offer_id = offers.id AND (t.retained_until IS NULL \
                 OR t.state NOT IN ('completed', 'partly_failed', 'failed', 'cancelled'))))")
            .bind(self.offer.uuid()).bind(settling(state)?.as_str()).bind(self.lease.node.as_str())
            .bind(self.lease.epoch).bind(self.now)
            .execute(c).await.map(|done| done.rows_affected()))?;
        Ok(begun == 1)
    }
}

struct Settled {
    offer: OfferId,
    lease: NodeLease,
    kept: bool,
    archived: Vec<ArchiveRecord>,
    events: Vec<AuditEvent>,
    now: Timestamp,
}

#[async_trait]
impl Command for Settled {
    type Answer = Done;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        // It needs no settling: an earlier call, whose answer was lost, has recorded it.
        let Some(state) = pending(tx, self.offer).await? else { return Ok(Done::Done) };
        let state = match settling(state)? {
            OfferState::Refused => OfferState::Refused,
            settling => transition(settling, OfferEvent::Settled)?,
        };
        let written = on!(tx, c => sqlx::query(
            // A poll may have listed the file since `now`: that must not be undone, or the poll would forget it.
            "UPDATE offers SET state = $2, hides = $3, kept = $3, updated_at = $4, \
             listed_at = CASE WHEN listed_at > $4 THEN listed_at ELSE $4 END, \
             settle_outcome = NULL, next_at = NULL, node = NULL, epoch = NULL, error = NULL \
             WHERE id = $1 AND node = $5 AND epoch = $6")
            .bind(self.offer.uuid()).bind(state.as_str()).bind(self.kept).bind(self.now)
            .bind(self.lease.node.as_str()).bind(self.lease.epoch)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(Done::ClaimLost);
        }
        for archived in &self.archived {
            insert_archived(tx, archived, self.now).await?;
        }
        settle_events(tx, self.offer, &self.events).await?;
        Ok(Done::Done)
    }
}

struct SettleFailed {
    offer: OfferId,
    lease: NodeLease,
    next_at: Timestamp,
    error: String,
    events: Vec<AuditEvent>,
    now: Timestamp,
}

#[async_trait]
impl Command for SettleFailed {
    type Answer = Done;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        let Some(state) = pending(tx, self.offer).await? else { return Ok(Done::ClaimLost) };
        let written = on!(tx, c => sqlx::query(
            "UPDATE offers SET state = $2, next_at = $3, failures = failures + 1, updated_at = $4, error = $7, \
             node = NULL, epoch = NULL WHERE id = $1 AND node = $5 AND epoch = $6")
            .bind(self.offer.uuid()).bind(settling(state)?.as_str()).bind(self.next_at).bind(self.now)
            .bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(&self.error)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(Done::ClaimLost);
        }
        settle_events(tx, self.offer, &self.events).await?;
        Ok(Done::Done)
    }
}

struct UpdateSourceData {
    offer: OfferId,
    source_data: Map<String, Value>,
}

#[async_trait]
impl Command for UpdateSourceData {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("UPDATE offers SET source_data = $2 WHERE id = $1")
            .bind(self.offer.uuid()).bind(Json(&self.source_data)).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}
