//! Conversions between rows and the types of `model`.

use crate::fault::Fault;
use model::{
    Content, Delivery, DeliveryId, DeliveryState, Error, ErrorKind, Offer, OfferId, OfferIdentity,
    OfferState, PayloadId, PayloadRecord, RemotePath, Result, Sha256, Timestamp, Transfer, TransferId,
    TransferKind, TransferState,
};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// A row of `offers`.
#[derive(FromRow, Debug)]
pub(crate) struct OfferRow {
    id: Uuid,
    flow: String,
    endpoint: String,
    path: String,
    size: Option<i64>,
    modified_at: Option<Timestamp>,
    version: Option<String>,
    state: String,
    found_at: Timestamp,
    failures: i64,
    source_data: Json<Map<String, Value>>,
}

impl OfferRow {
    pub(crate) const fn id(&self) -> OfferId {
        OfferId::new(self.id)
    }

    pub(crate) fn offer(self) -> Result<Offer> {
        Ok(Offer {
            id: OfferId::new(self.id),
            identity: OfferIdentity {
                flow: self.flow,
                endpoint: self.endpoint,
                path: path(&self.path)?,
                size: self.size.map(unsigned).transpose()?,
                modified: self.modified_at,
                version: self.version,
                rule: model::IdentityRule::default(),
            },
            state: word(OfferState::parse(&self.state), "offers.state", &self.state)?,
            found_at: self.found_at,
            failures: small(self.failures),
            source_data: self.source_data.0,
        })
    }
}

/// A row of `payloads`.
#[derive(FromRow, Debug)]
pub(crate) struct PayloadRow {
    id: Uuid,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
    media_type: Option<String>,
    file_name: String,
    staged_at: Timestamp,
}

impl PayloadRow {
    pub(crate) fn payload(self) -> Result<PayloadRecord> {
        Ok(PayloadRecord {
            id: PayloadId::new(self.id),
            length: unsigned(self.length)?,
            content: content(self.streamed, self.sha256)?,
            media_type: self.media_type,
            file_name: path(&self.file_name)?,
            staged_at: self.staged_at,
        })
    }
}

/// The columns of [`TransferRow`], from `transfers t JOIN payloads p ON p.id = t.payload_id`.
macro_rules! transfer_columns {
    () => {
        "t.id, t.kind, t.flow, t.revision, t.offer_id, t.parent_id, t.partner, t.payload_id, t.file_name, t.state, \
         t.created_at, t.metadata, t.sequence, p.length, p.sha256, p.streamed, p.media_type, p.staged_at"
    };
}
pub(crate) use transfer_columns;

/// A transfer with its payload.
#[derive(FromRow, Debug)]
pub(crate) struct TransferRow {
    id: Uuid,
    kind: String,
    flow: String,
    revision: i64,
    offer_id: Option<Uuid>,
    parent_id: Option<Uuid>,
    partner: Option<String>,
    payload_id: Uuid,
    file_name: String,
    state: String,
    created_at: Timestamp,
    metadata: Json<Map<String, Value>>,
    sequence: i64,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
    media_type: Option<String>,
    staged_at: Timestamp,
}

impl TransferRow {
    pub(crate) const fn id(&self) -> Uuid {
        self.id
    }

    pub(crate) fn transfer(self) -> Result<Transfer> {
        Ok(Transfer {
            id: TransferId::new(self.id),
            kind: word(TransferKind::parse(&self.kind), "transfers.kind", &self.kind)?,
            flow: self.flow,
            revision: self.revision,
            offer: self.offer_id.map(OfferId::new),
            parent: self.parent_id.map(TransferId::new),
            sequence: small(self.sequence),
            partner: self.partner,
            payload: PayloadRecord {
                id: PayloadId::new(self.payload_id),
                length: unsigned(self.length)?,
                content: content(self.streamed, self.sha256)?,
                media_type: self.media_type,
                file_name: path(&self.file_name)?,
                staged_at: self.staged_at,
            },
            state: word(TransferState::parse(&self.state), "transfers.state", &self.state)?,
            created_at: self.created_at,
            metadata: self.metadata.0,
        })
    }
}

/// A row of `deliveries`, with the columns that only the store uses.
#[derive(FromRow, Clone, Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) id: Uuid,
    pub(crate) transfer_id: Uuid,
    pub(crate) destination: String,
    pub(crate) endpoint: String,
    pub(crate) revision: Option<i64>,
    pub(crate) payload_id: Option<Uuid>,
    file_name: String,
    state: String,
    pub(crate) updated_at: Timestamp,
    pub(crate) attempt: i64,
    pub(crate) failures: i64,
    pub(crate) lane: Option<String>,
    pub(crate) lane_continues: bool,
    pub(crate) due_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) receipt_deadline: Option<Timestamp>,
    pub(crate) node: Option<String>,
    pub(crate) epoch: Option<i64>,
    pub(crate) interrupted: bool,
}

impl DeliveryRow {
    pub(crate) fn state(&self) -> Result<DeliveryState> {
        word(DeliveryState::parse(&self.state), "deliveries.state", &self.state)
    }

    pub(crate) fn delivery(self) -> Result<Delivery> {
        Ok(Delivery {
            id: DeliveryId::new(self.id),
            transfer: TransferId::new(self.transfer_id),
            state: self.state()?,
            destination: self.destination,
            endpoint: self.endpoint,
            revision: self.revision,
            file_name: path(&self.file_name)?,
            attempt: small(self.attempt),
            lane: self.lane,
            due_at: self.due_at,
            expires_at: self.expires_at,
        })
    }
}

/// Reads a word of a closed list. An unknown word was not written by this version.
pub(crate) fn word<T>(parsed: Option<T>, column: &'static str, found: &str) -> Result<T> {
    parsed.ok_or_else(|| unreadable(column, found))
}

pub(crate) fn path(text: &str) -> Result<RemotePath> {
    RemotePath::from_text(text).map_err(|error| unreadable("a path", &error))
}

pub(crate) fn sha256(bytes: Vec<u8>) -> Result<Sha256> {
    bytes.try_into().map(Sha256).map_err(|_| unreadable("payloads.sha256", "not 32 bytes"))
}

/// Where a payload's bytes are. Only of what is streamed may the hash be missing.
pub(crate) fn content(streamed: bool, hash: Option<Vec<u8>>) -> Result<Content> {
    match (streamed, hash.map(sha256).transpose()?) {
        (true, hash) => Ok(Content::Streamed(hash)),
        (false, Some(hash)) => Ok(Content::Staged(hash)),
        (false, None) => Err(unreadable("payloads.sha256", "null")),
    }
}

pub(crate) fn unsigned(number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| unreadable("a length", &number.to_string()))
}

pub(crate) fn unreadable(column: &'static str, found: &str) -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "read a row of the database")
        .with("column", column)
        .said(found)
        .advice("the database was written by a newer Waybill, or changed by hand")
}

/// The error of a row with invalid columns.
pub(crate) fn undecodable(error: sqlx::Error) -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "read a row of the database")
        .caused_by(error)
        .advice("the database was written by a newer Waybill, or changed by hand")
}

/// A count; a larger one is reduced to the largest possible.
pub(crate) fn small(count: i64) -> u32 {
    u32::try_from(count).unwrap_or(if count < 0 { 0 } else { u32::MAX })
}

/// A length as the database holds it.
pub(crate) fn signed(length: u64) -> Result<i64, Fault> {
    i64::try_from(length)
        .map_err(|_| Error::permanent(ErrorKind::Unsupported, "record a length").with("bytes", length).into())
}

/// A time plus a duration; at most the end of time.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    chrono::TimeDelta::from_std(by)
        .ok()
        .and_then(|by| at.checked_add_signed(by))
        // The last time that both databases can store and sort as text.
        .filter(|at| *at < END_OF_TIME)
        .unwrap_or(END_OF_TIME)
}

pub(crate) const END_OF_TIME: Timestamp = match chrono::DateTime::from_timestamp(253_402_300_799, 0) {
    Some(end) => end,
    None => Timestamp::MAX_UTC,
};

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// SHA-256 in hexadecimal, for keys that may be longer than an index entry.
pub(crate) fn digest(key: &str) -> String {
    Sha256(openssl::sha::sha256(key.as_bytes())).to_string()
}

/// Ids for `IN (SELECT unhex(value) FROM json_each($1))`: this is how SQLite binds a list.
pub(crate) fn hex_list(ids: &[Uuid]) -> Json<Vec<String>> {
    Json(ids.iter().map(|id| id.simple().to_string()).collect())
}
