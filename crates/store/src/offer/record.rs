//! Recording an offer: after this transaction Waybill is responsible for the file.

use crate::command::{Command, place_of};
use crate::delivery::{NewTransfer, described, insert_transfers};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::open::Store;
use crate::row::{digest, signed, small};
use crate::tx::Tx;
use async_trait::async_trait;
use model::definition::SettleWhen;
use model::{
    AuditEvent, Offer, OfferEvent, OfferIdentity, OfferState, Result, Sha256, Timestamp, transition,
};
use sqlx::types::Json;

/// A staged offer and the records made from it. `offer.state` must be `staging`.
#[derive(Clone, Debug)]
pub struct RecordOffer {
    /// The recording node's lease. If it is no longer held, nothing is written.
    pub lease: NodeLease,
    /// The lease of the source, if it is polled; if it is no longer held, nothing is written.
    pub source: Option<String>,
    /// The offer.
    pub offer: Offer,
    /// When the source is settled; `None` if it needs no settling.
    pub settle_when: Option<SettleWhen>,
    /// Whether settling needs the payloads, so that they are kept until then.
    pub needs_payload: bool,
    /// The key of the done file that it was found with.
    pub done_file: Option<String>,
    /// One for each part.
    pub transfers: Vec<NewTransfer>,
    /// The events.
    pub events: Vec<AuditEvent>,
    /// Its content, where the flow tells files apart by it: if the flow has taken it before from this endpoint, the
    /// offer is recorded without transfers, to be settled.
    pub content: Option<KnownContent>,
    /// The time.
    pub now: Timestamp,
}

/// The content of an offer.
#[derive(Clone, Debug)]
pub struct KnownContent {
    /// Its digest.
    pub sha256: Sha256,
    /// The events to write in place of the others where the content was taken before.
    pub events: Vec<AuditEvent>,
}

/// The answer to [`RecordOffer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It is recorded.
    Recorded,
    /// Its content was taken before: it is recorded without transfers, and its source is to be settled.
    Duplicate,
    /// It was already recorded (the same offer id or identity): nothing was written; do not settle.
    AlreadyRecorded,
    /// The node's or the source's lease is no longer held: nothing was written.
    LeaseLost,
}

/// An offer that could not be staged.
#[derive(Clone, Debug)]
pub struct OfferFailed {
    /// The offer. The store counts its `failures`.
    pub offer: Offer,
    /// When it may be offered again; `None` refuses it permanently.
    pub next_at: Option<Timestamp>,
    /// The reason.
    pub error: String,
    /// Whether a refused offer is settled at the source (moved to the error directory).
    pub settle_refused: bool,
    /// The key of the done file that it was found with.
    pub done_file: Option<String>,
    /// The events.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

impl Store {
    /// Records an offer: offer, payloads, transfers, deliveries and events in one transaction. Lanes are numbered in
    /// the order in which these calls return; for an ordered flow, await each call before the next.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, it may be recorded; the same call then returns `AlreadyRecorded`.
    pub async fn record_offer(&self, offer: RecordOffer) -> Result<Recorded> {
        self.write(offer).await
    }

    /// Records that an offer could not be staged: counts attempts (the result), and backs it off or refuses it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn offer_failed(&self, failed: OfferFailed) -> Result<u32> {
        self.write(failed).await
    }
}

#[async_trait]
impl Command for RecordOffer {
    type Answer = Recorded;

    fn place(&self) -> u128 {
        place_of(&self.offer.identity.flow)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Recorded, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(Recorded::LeaseLost);
        }
        if let Some(source) = &self.source
            && !tx.holds_source(&self.lease, source).await?
        {
            return Ok(Recorded::LeaseLost);
        }
        let recorded = transition(staging(self.offer.state)?, OfferEvent::Record)?;
        let content = self.content.as_ref().map(|content| content.sha256.to_string());
        if let (Some(known), Some(digest)) = (&self.content, &content)
            && is_taken(tx, &self.offer.identity, digest).await?
        {
            let row = NewRow {
                state: recorded,
                hides: true,
                settle_when: Some(SettleWhen::Recorded),
                settle_outcome: Some("taken"),
                content,
                done_file: self.done_file.as_deref(),
                ..NewRow::of(&self.offer, self.now)?
            };
            if !upsert(tx, &row).await? {
                return Ok(Recorded::AlreadyRecorded);
            }
            tx.events(&known.events);
            return Ok(Recorded::Duplicate);
        }
        let row = match self.settle_when {
            None => NewRow { state: settled(recorded)?, ..NewRow::of(&self.offer, self.now)? },
            Some(when) => NewRow {
                state: recorded,
                hides: true,
                settle_when: Some(when),
                settle_outcome: Some("taken"),
                needs_payload: self.needs_payload,
                content,
                done_file: self.done_file.as_deref(),
                ..NewRow::of(&self.offer, self.now)?
            },
        };
        if !upsert(tx, &row).await? {
            return Ok(Recorded::AlreadyRecorded);
        }
        let transfers = insert_transfers(tx, &self.transfers, self.now).await?;
        tx.events(&described(&self.events, &transfers));
        Ok(Recorded::Recorded)
    }
}

#[async_trait]
impl Command for OfferFailed {
    type Answer = u32;

    fn place(&self) -> u128 {
        place_of(&self.offer.identity.flow)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u32, Fault> {
        let event = if self.next_at.is_some() { OfferEvent::BackOff } else { OfferEvent::Refuse };
        let refused = self.next_at.is_none();
        let row = NewRow {
            state: transition(self.offer.state, event)?,
            hides: true,
            // It stays at the source and is skipped as long as it exists, unless it is moved away.
            kept: refused && !self.settle_refused,
            settle_when: (refused && self.settle_refused).then_some(SettleWhen::Recorded),
            settle_outcome: (refused && self.settle_refused).then_some("refused"),
            next_at: self.next_at,
            failed: 1,
            error: Some(&self.error),
            done_file: self.done_file.as_deref(),
            ..NewRow::of(&self.offer, self.now)?
        };
        upsert(tx, &row).await?;
        tx.events(&self.events);
        let failures: Option<i64> = on!(tx, c => sqlx::query_scalar("SELECT failures FROM offers WHERE id = $1")
            .bind(self.offer.id.uuid()).fetch_optional(c).await)?;
        Ok(failures.map_or(0, small))
    }
}

/// Inserts the offer of a message from a peer: it needs no settling, and no other offer is skipped because of it.
/// False if it already exists.
pub(crate) async fn insert_settled(tx: &mut Tx<'_>, offer: &Offer, now: Timestamp) -> Result<bool, Fault> {
    let recorded = transition(staging(offer.state)?, OfferEvent::Record)?;
    upsert(tx, &NewRow { state: settled(recorded)?, ..NewRow::of(offer, now)? }).await
}

/// An offer that was found and read in one step has also been staged.
fn staging(state: OfferState) -> Result<OfferState, Fault> {
    Ok(match state {
        OfferState::Seen | OfferState::BackedOff => transition(state, OfferEvent::Stage)?,
        other => other,
    })
}

fn settled(recorded: OfferState) -> Result<OfferState, Fault> {
    Ok(transition(transition(recorded, OfferEvent::Settle)?, OfferEvent::Settled)?)
}

/// Whether a flow has taken a content from an endpoint, and its transfer neither failed nor was cancelled.
async fn is_taken(tx: &mut Tx<'_>, identity: &OfferIdentity, content: &str) -> Result<bool, Fault> {
    Ok(on!(tx, c => sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM offers o JOIN transfers t ON t.offer_id = o.id WHERE o.flow = $1 \
         AND o.endpoint = $2 AND o.content = $3 AND t.parent_id IS NULL \
         AND t.state NOT IN ('failed', 'partly_failed', 'cancelled'))")
        .bind(&identity.flow).bind(&identity.endpoint).bind(content).fetch_one(c).await)?)
}

struct NewRow<'a> {
    offer: &'a Offer,
    size: Option<i64>,
    now: Timestamp,
    state: OfferState,
    hides: bool,
    kept: bool,
    settle_when: Option<SettleWhen>,
    settle_outcome: Option<&'static str>,
    needs_payload: bool,
    next_at: Option<Timestamp>,
    /// Added to the failures of the row that is replaced.
    failed: i64,
    error: Option<&'a str>,
    content: Option<String>,
    done_file: Option<&'a str>,
}

impl<'a> NewRow<'a> {
    fn of(offer: &'a Offer, now: Timestamp) -> Result<Self, Fault> {
        Ok(Self {
            offer,
            size: offer.identity.size.map(signed).transpose()?,
            now,
            state: offer.state,
            hides: false,
            kept: false,
            settle_when: None,
            settle_outcome: None,
            needs_payload: false,
            next_at: None,
            failed: 0,
            error: None,
            content: None,
            done_file: None,
        })
    }
}

/// Writes an offer's row; it replaces one with the same identity that could not be staged before. False, and nothing
/// written, if a row with this identity or id is in a later state.
async fn upsert(tx: &mut Tx<'_>, row: &NewRow<'_>) -> Result<bool, Fault> {
    let offer = row.offer;
    let identity = &offer.identity;
    let there: Option<String> = on!(tx, c => sqlx::query_scalar(
        "SELECT state FROM offers WHERE id = $1 AND state NOT IN ('seen', 'staging', 'backed_off')")
        .bind(offer.id.uuid()).fetch_optional(c).await)?;
    if there.is_some() {
        return Ok(false);
    }
    let written = on!(tx, c => sqlx::query(
        "INSERT INTO offers (id, flow, endpoint, identity, path, size, modified_at, version, state, found_at, \
           updated_at, failures, source_data, hides, kept, listed_at, settle_when, settle_outcome, next_at, error, content, \
           needs_payload, done_file) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $11, $16, $17, $18, $19, $20, $21, $22) \
         ON CONFLICT (identity) WHERE hides DO UPDATE SET id = excluded.id, state = excluded.state, \
           found_at = excluded.found_at, updated_at = excluded.updated_at, source_data = excluded.source_data, hides = excluded.hides, \
           failures = CASE WHEN excluded.failures = 0 THEN 0 ELSE offers.failures + 1 END, \
           kept = excluded.kept, listed_at = excluded.listed_at, settle_when = excluded.settle_when, \
           settle_outcome = excluded.settle_outcome, next_at = excluded.next_at, error = excluded.error, content = excluded.content, \
           needs_payload = excluded.needs_payload, done_file = excluded.done_file \
         WHERE offers.state IN ('seen', 'staging', 'backed_off')")
        .bind(offer.id.uuid()).bind(&identity.flow).bind(&identity.endpoint).bind(digest(&identity.key()))
        .bind(identity.path.to_text()).bind(row.size).bind(identity.modified).bind(&identity.version)
        .bind(row.state.as_str()).bind(offer.found_at).bind(row.now).bind(row.failed)
        .bind(Json(&offer.source_data)).bind(row.hides).bind(row.kept)
        .bind(row.settle_when.map(SettleWhen::as_str)).bind(row.settle_outcome).bind(row.next_at)
        .bind(row.error).bind(&row.content).bind(row.needs_payload).bind(row.done_file.map(digest))
        .execute(c).await.map(|done| done.rows_affected()))?;
    Ok(written == 1)
}
