//! Evidence: what proves a message, written in the transaction that makes the message true (the end of an attempt, or the
//! receipt that came later), and removed when its own retention ends.
//!
//! The event of that transaction has the evidence's id and digest, so that the seals cover it.

use crate::audit::clean_detail;
use crate::command::Command;
use crate::delivery::change::{self, Head};
use crate::delivery::insert::{insert_payload, precise, refer};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{later, micros, unreadable};
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::evidence::RECEIPT;
use model::{
    AuditEvent, DeliveryId, EventKind, EvidenceId, NodeName, OfferId, PayloadId, PayloadRecord, Receipt,
    Result, Sha256, Timestamp, TransferId, canonical_json,
};
use serde_json::{Map, Value, json};
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// The key of an event's detail with the id of the evidence that was recorded with it.
pub(crate) const EVIDENCE: &str = "evidence";
/// The key of an event's detail with its digest.
pub(crate) const EVIDENCE_DIGEST: &str = "evidence_digest";
/// The key of an event's detail with the time until which it is kept.
pub(crate) const EVIDENCE_UNTIL: &str = "evidence_until";

/// The most that is removed in one transaction.
const REMOVED: i64 = 500;

/// The message that evidence proves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvidenceOf {
    /// One that was received.
    Received(OfferId),
    /// One that a delivery sent.
    Sent(DeliveryId),
}

/// Evidence to be recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct NewEvidence {
    /// Its id.
    pub id: EvidenceId,
    /// The message.
    pub of: EvidenceOf,
    /// The transfer that was sent, or the first one that was made of what was received.
    pub transfer: TransferId,
    /// How long it is kept.
    pub keep_for: Duration,
    /// What its transport says of it.
    pub about: Map<String, Value>,
    /// Its pieces by name.
    pub pieces: BTreeMap<String, Vec<u8>>,
    /// The bytes that a signature or a MIC covers, besides the pieces.
    pub content: Option<PayloadRecord>,
    /// Whether these are kept as long as the evidence; else as long as the transfer's payload.
    pub keeps_content: bool,
}

impl NewEvidence {
    /// The same, with the receipt that proves the message among its pieces: in its delivery, that of another message may
    /// take its place.
    pub(crate) fn with_receipt(&self, receipt: Option<&Receipt>) -> Self {
        let mut proved = self.clone();
        if let Some(mdn) = receipt.and_then(|receipt| receipt.mdn.as_ref()) {
            proved.pieces.insert(RECEIPT.to_owned(), mdn.as_bytes().to_vec());
        }
        proved
    }

    /// In the form that both databases give back unchanged.
    fn about_json(&self) -> Map<String, Value> {
        clean_detail(&self.about)
    }

    fn pieces_json(&self) -> Value {
        evidence_pieces(&self.pieces)
    }

    /// The digest that its event has.
    fn digest(&self) -> Sha256 {
        let payload = self.content.as_ref().map(|payload| payload.id);
        evidence_digest(&Value::Object(self.about_json()), &self.pieces_json(), payload)
    }

    fn keep_until(&self, now: Timestamp) -> Timestamp {
        later(now, self.keep_for)
    }

    /// The event with which it is recorded.
    pub(crate) fn told(&self, event: AuditEvent, now: Timestamp) -> AuditEvent {
        event
            .detail(EVIDENCE, self.id.to_string())
            .detail(EVIDENCE_DIGEST, self.digest().to_string())
            .detail(EVIDENCE_UNTIL, precise(self.keep_until(now)))
    }

    /// An event, with it where that is the one which records its transfer: the message is received then.
    pub(crate) fn told_at_arrival(&self, event: AuditEvent, now: Timestamp) -> AuditEvent {
        let begins = matches!(event.kind, EventKind::TransferRecorded | EventKind::TransferHeld);
        match begins && event.transfer == Some(self.transfer) {
            true => self.told(event, now),
            false => event,
        }
    }

    /// Writes it, and keeps the payloads of its transfer as long. Once more with the same id answers false.
    pub(crate) async fn record(
        &self,
        tx: &mut Tx<'_>,
        head: &mut Head,
        now: Timestamp,
    ) -> Result<bool, Fault> {
        let inserted = self.insert(tx, now).await?;
        let kept = self.retained_for(head.retain_for);
        change::retain_for(tx, head, kept).await?;
        Ok(inserted)
    }

    /// Whether there is evidence of the delivery that sent the message.
    pub(crate) async fn is_recorded(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let EvidenceOf::Sent(delivery) = self.of else { return Ok(false) };
        let found: i64 = on!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM evidence WHERE transfer_id = $1 AND delivery_id = $2")
            .bind(self.transfer.uuid()).bind(delivery.uuid()).fetch_one(c).await)?;
        Ok(found > 0)
    }

    /// Writes it. The transfer refers to its content. Once more with the same id changes nothing, and answers false.
    pub(crate) async fn insert(&self, tx: &mut Tx<'_>, now: Timestamp) -> Result<bool, Fault> {
        // A receipt may come so late that the content is gone; of that the row says which it was.
        if let Some(content) = &self.content
            && !is_removed(tx, content.id).await?
        {
            insert_payload(tx, content).await?;
            refer(tx, content, self.transfer).await?;
        }
        let (offer, delivery) = match self.of {
            EvidenceOf::Received(offer) => (Some(offer.uuid()), None),
            EvidenceOf::Sent(delivery) => (None, Some(delivery.uuid())),
        };
        let inserted = on!(tx, c => sqlx::query(
            "INSERT INTO evidence (id, transfer_id, offer_id, delivery_id, recorded_at, keep_until, about, pieces, payload_id) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING")
            .bind(self.id.uuid()).bind(self.transfer.uuid()).bind(offer).bind(delivery).bind(now)
            .bind(self.keep_until(now)).bind(Json(self.about_json())).bind(Json(self.pieces_json()))
            .bind(self.content.as_ref().map(|payload| payload.id.uuid()))
            .execute(c).await.map(|done| done.rows_affected()))?;
        Ok(inserted == 1)
    }

    /// How long the payloads of its transfer are kept, which would be kept for `microseconds`.
    pub(crate) fn retained_for(&self, microseconds: i64) -> i64 {
        match self.keeps_content && self.content.is_some() {
            true => microseconds.max(micros(self.keep_for)),
            false => microseconds,
        }
    }
}

/// Whether the bytes of a payload were removed at the end of its retention.
async fn is_removed(tx: &mut Tx<'_>, payload: PayloadId) -> Result<bool, Fault> {
    // Locked, so that no removal comes between this and the reference.
    let sql = locking!(tx, "SELECT removed_at FROM payloads WHERE id = $1");
    let found: Option<Option<Timestamp>> =
        on!(tx, c => sqlx::query_scalar(sql).bind(payload.uuid()).fetch_optional(c).await)?;
    Ok(found.flatten().is_some())
}

/// The digest of evidence: SHA-256 over the canonical JSON (RFC 8785) of what is said of it, its pieces in base64 by name,
/// and the id of its content. An event has it, so that a seal covers the evidence.
#[must_use]
pub fn evidence_digest(about: &Value, pieces: &Value, content: Option<PayloadId>) -> Sha256 {
    let whole = json!({
        "v": 1, "about": about, "pieces": pieces, "content": content.map(|payload| payload.to_string()),
    });
    Sha256(openssl::sha::sha256(canonical_json(&whole).as_bytes()))
}

/// Pieces as they are stored, and as the digest is taken of them: base64 by name.
#[must_use]
pub fn evidence_pieces(pieces: &BTreeMap<String, Vec<u8>>) -> Value {
    Value::Object(pieces.iter().map(|(name, bytes)| (name.clone(), BASE64.encode(bytes).into())).collect())
}

/// Reads pieces as they are stored.
pub(crate) fn read_pieces(pieces: &Value) -> Result<BTreeMap<String, Vec<u8>>> {
    let broken = |what: &str| unreadable("evidence.pieces", what);
    let pieces = pieces.as_object().ok_or_else(|| broken("no object"))?;
    let read = |(name, text): (&String, &Value)| {
        let text = text.as_str().ok_or_else(|| broken("no text"))?;
        let bytes = BASE64.decode(text).map_err(|error| broken(&error.to_string()))?;
        Ok((name.clone(), bytes))
    };
    pieces.iter().map(read).collect()
}

impl Store {
    /// Removes evidence whose retention ended before a time, with an event for each. Its row and its dates stay. Returns
    /// how many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_evidence(&self, by: &NodeName, now: Timestamp) -> Result<u64> {
        let mut removed = 0;
        loop {
            match self.write(RemoveEvidence { by: by.clone(), now }).await? {
                0 => return Ok(removed),
                some => removed += some,
            }
        }
    }
}

struct RemoveEvidence {
    by: NodeName,
    now: Timestamp,
}

#[derive(FromRow)]
struct PastRow {
    id: Uuid,
    transfer_id: Uuid,
    delivery_id: Option<Uuid>,
    about: Option<Json<Value>>,
}

#[async_trait]
impl Command for RemoveEvidence {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let sql = locking!(
            tx,
            "SELECT id, transfer_id, delivery_id, about FROM evidence \
             WHERE removed_at IS NULL AND keep_until <= $1 ORDER BY id LIMIT $2"
        );
        let past: Vec<PastRow> =
            on!(tx, c => sqlx::query_as(sql).bind(self.now).bind(REMOVED).fetch_all(c).await)?;
        for row in &past {
            on!(tx, c => sqlx::query(
                "UPDATE evidence SET removed_at = $2, about = NULL, pieces = NULL WHERE id = $1")
                .bind(row.id).bind(self.now).execute(c).await.map(|_| ()))?;
            let message_id = row.about.as_ref().and_then(|about| about.0.get("message_id")?.as_str());
            let event = tx
                .derived(self.now, &self.by, EventKind::EvidenceRemoved)
                .transfer(TransferId::new(row.transfer_id))
                .detail(EVIDENCE, row.id.to_string())
                .detail("message_id", message_id);
            tx.event(match row.delivery_id {
                Some(delivery) => event.delivery(DeliveryId::new(delivery)),
                None => event,
            });
        }
        Ok(past.len() as u64)
    }
}
