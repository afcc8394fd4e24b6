//! The evidence of a transfer's messages: what is kept, and all of one.

use super::query::{Bind, Query};
use crate::Store;
use crate::delivery::evidence::{evidence_digest, read_pieces};
use crate::row::{content, path, unreadable, unsigned};
use model::evidence::RECEIPT;
use model::{
    CONTRADICTED_RECEIPT, Content, DeliveryId, EvidenceId, OfferId, PayloadId, PayloadRecord, Receipt,
    RemotePath, Result, Sha256, Timestamp, TransferId, TransferKind,
};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Messages that are looked up at most: a delivery is retried by a person a few times at most.
const AT_MOST: i64 = 1000;

/// The columns of [`EvidenceRow`], without the pieces.
const SELECT: &str = "SELECT e.id, e.transfer_id, e.offer_id, e.delivery_id, e.recorded_at, e.keep_until, e.about, \
     NULL AS pieces, e.payload_id, e.removed_at FROM evidence e WHERE TRUE";
/// With the pieces.
const SELECT_WHOLE: &str = "SELECT e.id, e.transfer_id, e.offer_id, e.delivery_id, e.recorded_at, e.keep_until, e.about, \
     e.pieces, e.payload_id, e.removed_at FROM evidence e WHERE TRUE";

/// What is known of the evidence of a message, without its bytes.
#[derive(Clone, PartialEq, Debug)]
pub struct EvidenceView {
    /// The evidence.
    pub id: EvidenceId,
    /// The transfer that was sent, or the first one that was made of what was received.
    pub transfer: TransferId,
    /// The delivery that sent the message; `None` of one that was received.
    pub delivery: Option<DeliveryId>,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Until when it is kept.
    pub keep_until: Timestamp,
    /// What its transport says of it; empty once it is removed.
    pub about: Map<String, Value>,
    /// When it was removed at the end of its retention.
    pub removed_at: Option<Timestamp>,
}

/// All of one message's evidence that is in the database.
#[derive(Clone, PartialEq, Debug)]
pub struct KeptEvidence {
    /// What is known of it.
    pub view: EvidenceView,
    /// Its pieces by name.
    pub pieces: BTreeMap<String, Vec<u8>>,
    /// The digest that its event has, computed of what is stored.
    pub digest: Sha256,
    /// The bytes that a signature or a MIC covers, besides the pieces.
    pub content: Option<EvidencePayload>,
    /// The receipt that proved its delivery, also where a later one contradicts it.
    pub receipt: Option<Receipt>,
    /// The transfers of the message: all that were made of what was received, or the one that was sent.
    pub transfers: Vec<EvidenceTransfer>,
    /// The transfers by which our receipt was sent, where its sender wanted it later.
    pub receipt_transfers: Vec<TransferId>,
}

/// Staged bytes of a message.
#[derive(Clone, PartialEq, Debug)]
pub struct EvidencePayload {
    /// What is known of them.
    pub payload: PayloadRecord,
    /// When they were removed.
    pub removed_at: Option<Timestamp>,
}

/// A transfer of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EvidenceTransfer {
    /// The transfer.
    pub id: TransferId,
    /// Its flow.
    pub flow: String,
    /// The name of its file.
    pub file_name: RemotePath,
    /// The length of its file in bytes.
    pub length: u64,
    /// Its file's bytes.
    pub content: Content,
}

#[derive(FromRow)]
struct EvidenceRow {
    id: Uuid,
    transfer_id: Uuid,
    offer_id: Option<Uuid>,
    delivery_id: Option<Uuid>,
    recorded_at: Timestamp,
    keep_until: Timestamp,
    about: Option<Json<Value>>,
    pieces: Option<Json<Value>>,
    payload_id: Option<Uuid>,
    removed_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct ContentRow {
    id: Uuid,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
    media_type: Option<String>,
    file_name: String,
    staged_at: Timestamp,
    removed_at: Option<Timestamp>,
}

#[derive(FromRow)]
struct TransferOfRow {
    id: Uuid,
    flow: String,
    file_name: String,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
}

#[derive(FromRow)]
struct IdRow {
    id: Uuid,
}

#[derive(FromRow)]
struct ReceiptOfRow {
    receipt: Option<Json<Value>>,
}

impl EvidenceRow {
    fn view(&self) -> EvidenceView {
        let about = self.about.as_ref().and_then(|about| about.0.as_object()).cloned();
        EvidenceView {
            id: EvidenceId::new(self.id),
            transfer: TransferId::new(self.transfer_id),
            delivery: self.delivery_id.map(DeliveryId::new),
            recorded_at: self.recorded_at,
            keep_until: self.keep_until,
            about: about.unwrap_or_default(),
            removed_at: self.removed_at,
        }
    }
}

impl Store {
    /// The evidence of a transfer's messages, oldest first: that of the message with which it came, and those that its
    /// deliveries sent.
    ///
    /// # Errors
    /// The database failed.
    pub async fn evidence_of(&self, transfer: TransferId) -> Result<Vec<EvidenceView>> {
        let mut query = Query::new(self, SELECT);
        let id = query.bind(Bind::Id(transfer.uuid()));
        // A receipt without a parent refuses another message with the same key.
        let refusal = format!("t.kind = '{}' AND t.parent_id IS NULL", TransferKind::Receipt.as_str());
        query.sql.push_str(&format!(
            " AND (e.transfer_id = {id} OR e.offer_id = \
             (SELECT t.offer_id FROM transfers t WHERE t.id = {id} AND NOT ({refusal})))"
        ));
        let limit = query.bind(Bind::Whole(AT_MOST));
        query.sql.push_str(&format!(" ORDER BY e.recorded_at, e.id LIMIT {limit}"));
        let rows: Vec<EvidenceRow> = query.fetch(self, "look for a transfer's evidence").await?;
        Ok(rows.iter().map(EvidenceRow::view).collect())
    }

    /// All of one message's evidence; `None` if there is none of this id. Of one that was removed only its dates are left.
    ///
    /// # Errors
    /// The database failed, or what it holds cannot be read.
    pub async fn evidence(&self, id: EvidenceId) -> Result<Option<KeptEvidence>> {
        let mut query = Query::new(self, SELECT_WHOLE);
        query.and("e.id = ?", Some(Bind::Id(id.uuid())));
        let rows: Vec<EvidenceRow> = query.fetch(self, "read the evidence of a message").await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let view = row.view();
        let payload = row.payload_id.map(PayloadId::new);
        let offer = row.offer_id.map(OfferId::new);
        let pieces = row.pieces.as_ref().map_or(Value::Object(Map::new()), |pieces| pieces.0.clone());
        let about = row.about.as_ref().map_or(Value::Null, |about| about.0.clone());
        let digest = evidence_digest(&about, &pieces, payload);
        let pieces = read_pieces(&pieces)?;
        let mdn = pieces.get(RECEIPT).map(Vec::as_slice);
        Ok(Some(KeptEvidence {
            digest,
            content: match payload {
                Some(payload) => self.content_of_evidence(payload).await?,
                None => None,
            },
            receipt: match view.delivery {
                Some(delivery) => self.receipt_of(delivery, mdn).await?,
                None => None,
            },
            transfers: self.transfers_of_message(&view, offer).await?,
            receipt_transfers: self.receipt_transfers(offer).await?,
            pieces,
            view,
        }))
    }

    async fn content_of_evidence(&self, payload: PayloadId) -> Result<Option<EvidencePayload>> {
        let mut query = Query::new(
            self,
            "SELECT id, length, sha256, streamed, media_type, file_name, staged_at, removed_at FROM payloads WHERE TRUE",
        );
        query.and("id = ?", Some(Bind::Id(payload.uuid())));
        let rows: Vec<ContentRow> = query.fetch(self, "read the payload of a message").await?;
        let read = |row: ContentRow| {
            let payload = PayloadRecord {
                id: PayloadId::new(row.id),
                length: unsigned(row.length)?,
                content: content(row.streamed, row.sha256)?,
                media_type: row.media_type,
                file_name: path(&row.file_name)?,
                staged_at: row.staged_at,
            };
            Ok(EvidencePayload { payload, removed_at: row.removed_at })
        };
        rows.into_iter().next().map(read).transpose()
    }

    /// The receipt of a delivery that proved a message: the one with this MDN, if that is kept.
    async fn receipt_of(&self, delivery: DeliveryId, mdn: Option<&[u8]>) -> Result<Option<Receipt>> {
        let proves = |receipt: &Receipt| match mdn {
            Some(mdn) => receipt.mdn.as_ref().is_some_and(|its| its.as_bytes() == mdn),
            None => receipt.positive,
        };
        let mut query = Query::new(self, "SELECT receipt FROM deliveries WHERE TRUE");
        query.and("id = ?", Some(Bind::Id(delivery.uuid())));
        let last = self.read_receipt(query).await?;
        if last.as_ref().is_some_and(proves) {
            return Ok(last);
        }
        let mut query = Query::new(self, "SELECT value AS receipt FROM notes WHERE TRUE");
        query.and("delivery_id = ?", Some(Bind::Id(delivery.uuid())));
        query.and("key = ?", Some(Bind::Text(CONTRADICTED_RECEIPT.to_owned())));
        let contradicted = self.read_receipt(query).await?;
        Ok(match mdn {
            Some(_) => contradicted.filter(proves),
            None => contradicted.or(last),
        })
    }

    async fn read_receipt(&self, query: Query) -> Result<Option<Receipt>> {
        let rows: Vec<ReceiptOfRow> = query.fetch(self, "read the receipt of a delivery").await?;
        let receipt = rows.into_iter().next().and_then(|row| row.receipt).map(|Json(value)| value);
        receipt
            .filter(|value| !value.is_null())
            .map(|value| {
                serde_json::from_value(value).map_err(|error| unreadable("receipt", &error.to_string()))
            })
            .transpose()
    }

    async fn receipt_transfers(&self, offer: Option<OfferId>) -> Result<Vec<TransferId>> {
        let Some(offer) = offer else { return Ok(Vec::new()) };
        let mut query = Query::new(self, "SELECT t.id FROM transfers t WHERE TRUE");
        query.and("t.offer_id = ?", Some(Bind::Id(offer.uuid())));
        query.and("t.kind = ?", Some(Bind::Text(TransferKind::Receipt.as_str().to_owned())));
        // Those that refuse another message with the same key have no parent.
        query.sql.push_str(" AND t.parent_id IS NOT NULL");
        let limit = query.bind(Bind::Whole(AT_MOST));
        query.sql.push_str(&format!(" ORDER BY t.created_at, t.id LIMIT {limit}"));
        let rows: Vec<IdRow> = query.fetch(self, "look for the receipts of a message").await?;
        Ok(rows.into_iter().map(|row| TransferId::new(row.id)).collect())
    }

    async fn transfers_of_message(
        &self,
        view: &EvidenceView,
        offer: Option<OfferId>,
    ) -> Result<Vec<EvidenceTransfer>> {
        let mut query = Query::new(
            self,
            "SELECT t.id, t.flow, t.file_name, p.length, p.sha256, p.streamed FROM transfers t \
             JOIN payloads p ON p.id = t.payload_id WHERE TRUE",
        );
        match offer {
            Some(offer) => query.and("t.offer_id = ?", Some(Bind::Id(offer.uuid()))),
            None => query.and("t.id = ?", Some(Bind::Id(view.transfer.uuid()))),
        }
        query.and("t.kind <> ?", Some(Bind::Text(TransferKind::Receipt.as_str().to_owned())));
        let limit = query.bind(Bind::Whole(AT_MOST));
        query.sql.push_str(&format!(" ORDER BY t.sequence, t.id LIMIT {limit}"));
        let rows: Vec<TransferOfRow> = query.fetch(self, "read the transfers of a message").await?;
        rows.into_iter()
            .map(|row| {
                Ok(EvidenceTransfer {
                    id: TransferId::new(row.id),
                    flow: row.flow,
                    file_name: path(&row.file_name)?,
                    length: unsigned(row.length)?,
                    content: content(row.streamed, row.sha256)?,
                })
            })
            .collect()
    }
}
