//! Records that nodes sign with their seal keys: what retention removed, whose keys are trusted, which restored
//! database was accepted. A person who can only write to the database cannot create one.
//!
//! A record is the detail of an event and is signed together with the event's kind and id. Its event is removed with
//! its month. Before that the record is carried over: another event contains it unchanged, with its signature, so
//! that it remains valid without limit, whichever node signed it.

use crate::Store;
use crate::audit::{StoredRow, columns};
use crate::either::on;
use crate::seal::{SealKey, TrustedKeys};
use model::{EventKind, Result, Sha256, canonical_json};
use serde_json::{Map, Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

/// The kinds of events that are signed records.
const KINDS: [EventKind; 3] = [EventKind::AuditRemoved, EventKind::AuditKeyTrusted, EventKind::AuditRestored];

/// A record as it lies in the trail, signature unchecked.
#[derive(Clone, Debug)]
pub(crate) struct RecordRow {
    /// The event that holds it now.
    pub(crate) event: Uuid,
    pub(crate) kind: EventKind,
    /// When that event was written, in microseconds since 1970; `None` when it is no event any more.
    pub(crate) at: Option<i64>,
    pub(crate) detail: Map<String, Value>,
}

/// Adds key and signature to a record's detail.
///
/// # Errors
/// The cryptographic library failed.
pub(crate) fn sign(
    kind: EventKind,
    event: Uuid,
    mut detail: Map<String, Value>,
    key: &SealKey,
) -> Result<Map<String, Value>> {
    detail.insert("key".into(), key.id().into());
    let signature = key.sign(&signed_bytes(kind, event, &detail))?;
    detail.insert("signature".into(), openssl::base64::encode_block(&signature).into());
    Ok(detail)
}

impl RecordRow {
    /// The event that the record was signed for, and the record; `None` when it is malformed or no trusted
    /// key has signed it.
    pub(crate) fn read(&self, trusted: &TrustedKeys) -> Option<(Uuid, Map<String, Value>)> {
        let (event, mut detail) = unwrapped(self.event, self.detail.clone());
        let signature = openssl::base64::decode_block(detail.remove("signature")?.as_str()?).ok()?;
        let signed = signed_bytes(self.kind, event, &detail);
        trusted.check(detail.get("key")?.as_str()?, &signed, &signature)?.then_some((event, detail))
    }

    /// The event that the record was written for, and the record, whoever signed it.
    pub(crate) fn unproven(&self) -> (Uuid, Map<String, Value>) {
        unwrapped(self.event, self.detail.clone())
    }

    /// The key that the record names as its own.
    pub(crate) fn key(&self) -> Option<String> {
        Some(self.unproven().1.get("key")?.as_str()?.to_owned())
    }

    /// SHA-256 over the record as it was signed, and its signature: the same wherever it was carried to.
    pub(crate) fn digest(&self) -> Sha256 {
        let (event, detail) = self.unproven();
        Sha256(openssl::sha::sha256(&signed_bytes(self.kind, event, &detail)))
    }

    /// The event for which the record was signed.
    pub(crate) fn first_event(&self) -> Uuid {
        unwrapped(self.event, self.detail.clone()).0
    }

    /// The detail of an event that carries the record over.
    pub(crate) fn carried(self) -> Map<String, Value> {
        let (first, record) = unwrapped(self.event, self.detail);
        let mut carried = Map::from_iter([("first_event".to_owned(), first.to_string().into())]);
        if let Some(month) = record.get("month") {
            carried.insert("month".into(), month.clone());
        }
        carried.insert("record".into(), record.into());
        carried
    }
}

/// The record in an event's detail, and the event that it was signed for: its own, or the one it was
/// carried over from.
fn unwrapped(event: Uuid, mut detail: Map<String, Value>) -> (Uuid, Map<String, Value>) {
    let first = detail.get("first_event").and_then(Value::as_str).and_then(|id| id.parse().ok());
    match (first, detail.remove("record")) {
        (Some(first), Some(Value::Object(record))) => (first, record),
        (_, Some(other)) => {
            detail.insert("record".into(), other);
            (event, detail)
        }
        (_, None) => (event, detail),
    }
}

fn signed_bytes(kind: EventKind, event: Uuid, detail: &Map<String, Value>) -> Vec<u8> {
    canonical_json(&json!({"kind": kind.as_str(), "event": event.to_string(), "record": detail})).into_bytes()
}

/// All signed records, the oldest first.
pub(crate) async fn record_rows(store: &Store) -> Result<Vec<RecordRow>> {
    let mut records = vec![];
    for kind in KINDS {
        let sql =
            format!("SELECT {} FROM audit_events WHERE kind = $1 ORDER BY at, id", columns(store.backend()));
        let rows: Vec<StoredRow> = store
            .read("read the signed records of the audit trail", async {
                on!(store.pool(), c => sqlx::query_as(AssertSqlSafe(sql))
                    .bind(kind.as_str())
                    .fetch_all(c)
                    .await)
            })
            .await?;
        records.extend(rows.into_iter().map(|row| {
            let at = row.columns.as_ref().map(|columns| columns.at);
            let detail = match row.columns.map(|columns| columns.detail) {
                Some(Value::Object(detail)) => detail,
                _ => Map::new(),
            };
            RecordRow { event: row.bound.id, kind, at, detail }
        }));
    }
    Ok(records)
}
