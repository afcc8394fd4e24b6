//! What was exchanged with partners lately: what their endpoints were sent, what they sent, and what went wrong.
//!
//! Each query looks at the last rows of an index and no further, whatever they are: a partner that sends millions of messages and
//! gets none must cost no more than another.

use super::events::{EventRow, SELECT as EVENTS};
use super::query::{Bind, Query, split};
use super::unreadable::{Attempted, UnreadableRow};
use super::{EventView, TransferView, transfers};
use crate::Store;
use crate::row::{path, unreadable, word};
use model::{DeliveryId, DeliveryState, EventKind, RemotePath, Result, Timestamp, TransferId, TransferKind};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// Most rows that are looked at, of an endpoint or a partner.
const LOOKED_AT: i64 = 200;

/// The events that say that something is wrong in a partnership: as the index of them has it.
const TROUBLES: &str =
    "kind IN ('message.refused', 'receipt.unproven', 'receipt.unmatched', 'certificate.fallback_used')";

/// A delivery to a partner's endpoint.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentExchange {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Its transfer.
    pub transfer: TransferId,
    /// What it carries: a receipt of ours is none of these.
    pub kind: TransferKind,
    /// The endpoint.
    pub endpoint: String,
    /// The name that the file has there.
    pub file_name: RemotePath,
    /// Where it stands.
    pub state: DeliveryState,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Until when its receipt is awaited.
    pub receipt_deadline: Option<Timestamp>,
    /// The last error.
    pub error: Option<String>,
    /// Its receipt in one line.
    pub receipt: Option<String>,
    /// What the receipt says by key.
    pub receipt_detail: Map<String, Value>,
}

/// A file that a partner sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedExchange {
    /// Its transfer.
    pub transfer: TransferView,
    /// What is known of the message that it came with.
    pub metadata: Map<String, Value>,
}

#[derive(FromRow)]
struct SentRow {
    id: Uuid,
    transfer_id: Uuid,
    kind: String,
    endpoint: String,
    file_name: String,
    state: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    receipt_deadline: Option<Timestamp>,
    error: Option<String>,
    summary: Option<String>,
    detail: Option<Json<Value>>,
}

impl SentRow {
    fn view(self) -> Result<SentExchange> {
        let detail = match self.detail.map(|Json(detail)| detail) {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(detail)) => detail,
            Some(other) => return Err(unreadable("deliveries.receipt", &other.to_string())),
        };
        Ok(SentExchange {
            delivery: DeliveryId::new(self.id),
            transfer: TransferId::new(self.transfer_id),
            kind: word(TransferKind::parse(&self.kind), "transfers.kind", &self.kind)?,
            endpoint: self.endpoint,
            file_name: path(&self.file_name)?,
            state: word(DeliveryState::parse(&self.state), "deliveries.state", &self.state)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            receipt_deadline: self.receipt_deadline,
            error: self.error,
            receipt: self.summary,
            receipt_detail: detail,
        })
    }
}

#[derive(FromRow)]
struct MetadataRow {
    id: Uuid,
    metadata: Json<Map<String, Value>>,
}

/// Which deliveries to an endpoint.
#[derive(Clone, Copy)]
pub(super) enum Which {
    /// The last ones.
    Last,
    /// Those that wait for a receipt, the first deadline first.
    Awaiting,
}

/// The last deliveries to endpoints, or those that wait for receipts: of each so many at most.
pub(super) fn exchanges(store: &Store, endpoints: &[String], which: Which, most: i64) -> Query {
    let mut query = Query::new(store, "");
    let receipt = query.pick(
        "json_extract(d.receipt, '$.summary') AS summary, json_extract(d.receipt, '$.detail') AS detail",
        "d.receipt ->> 'summary' AS summary, d.receipt -> 'detail' AS detail",
    );
    let (condition, order) = match which {
        Which::Last => ("", "d.created_at DESC, d.id DESC"),
        Which::Awaiting => (" AND d.state = 'awaiting_receipt'", "d.receipt_deadline"),
    };
    let most = query.bind(Bind::Whole(most));
    let mut parts = Vec::with_capacity(endpoints.len());
    for (at, endpoint) in endpoints.iter().enumerate() {
        // No name contains a NUL.
        let endpoint = query.bind(Bind::Text(endpoint.replace('\0', "")));
        parts.push(format!(
            "SELECT * FROM (SELECT d.id, d.transfer_id, t.kind, d.endpoint, d.file_name, d.state, d.created_at, \
             d.updated_at, d.receipt_deadline, d.error, {receipt} FROM deliveries d \
             JOIN transfers t ON t.id = d.transfer_id WHERE d.endpoint = {endpoint}{condition} \
             ORDER BY {order} LIMIT {most}) AS e{at}"
        ));
    }
    query.sql = parts.join(" UNION ALL ");
    query
}

/// The last events about what went wrong with a partner.
pub(super) fn troubles(store: &Store, partner: &str, limit: u32) -> Query {
    let mut query = Query::new(store, EVENTS);
    query.and_text("partner = ?", Some(partner));
    let limit = query.bind(Bind::Whole(i64::from(limit)));
    query.sql.push_str(&format!(" AND {TROUBLES} ORDER BY at DESC, id DESC LIMIT {limit}"));
    query
}

impl Store {
    /// The last files that were sent to endpoints, newest first: of each endpoint among its last 200 deliveries.
    ///
    /// # Errors
    /// The database failed.
    pub async fn sent_to(
        &self,
        endpoints: &[String],
        limit: u32,
    ) -> Result<(Vec<SentExchange>, Vec<UnreadableRow>)> {
        let (mut rows, unreadable) = self.exchanges(endpoints, Which::Last, LOOKED_AT).await?;
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.delivery)));
        rows.truncate(limit as usize);
        Ok((rows, unreadable))
    }

    /// The last file that was sent to each of some endpoints, among its last few deliveries.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_sent_to(&self, endpoints: &[String]) -> Result<Vec<SentExchange>> {
        const FEW: i64 = 5;
        let (mut rows, _) = self.exchanges(endpoints, Which::Last, FEW).await?;
        rows.sort_by(|a, b| {
            (&a.endpoint, b.created_at, b.delivery).cmp(&(&b.endpoint, a.created_at, a.delivery))
        });
        rows.dedup_by(|later, first| later.endpoint == first.endpoint);
        Ok(rows)
    }

    /// Deliveries to endpoints that wait for their receipts, the first deadline first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn awaiting_receipts(
        &self,
        endpoints: &[String],
        limit: u32,
    ) -> Result<(Vec<SentExchange>, Vec<UnreadableRow>)> {
        let (mut rows, unreadable) = self.exchanges(endpoints, Which::Awaiting, i64::from(limit)).await?;
        rows.sort_by_key(|row| (row.receipt_deadline, row.delivery));
        rows.truncate(limit as usize);
        Ok((rows, unreadable))
    }

    async fn exchanges(
        &self,
        endpoints: &[String],
        which: Which,
        most: i64,
    ) -> Result<(Vec<SentExchange>, Vec<UnreadableRow>)> {
        // One part of the statement for each: fewer than any database takes.
        const AT_ONCE: usize = 100;
        let (mut found, mut failed) = (Vec::new(), Vec::new());
        for endpoints in endpoints.chunks(AT_ONCE) {
            let query = exchanges(self, endpoints, which, most);
            let rows: Vec<Attempted<SentRow>> = query.fetch(self, "read what partners were sent").await?;
            let (rows, unreadable) = split(rows, SentRow::view);
            // Our receipts of what they sent are no files.
            found.extend(rows.into_iter().filter(|row| row.kind != TransferKind::Receipt));
            failed.extend(unreadable);
        }
        Ok((found, failed))
    }

    /// The last files that a partner sent, newest first, among its last 200 transfers; with what is known of their messages.
    ///
    /// # Errors
    /// The database failed.
    pub async fn received_from(
        &self,
        partner: &str,
        limit: u32,
    ) -> Result<(Vec<ReceivedExchange>, Vec<UnreadableRow>)> {
        let mut query = Query::new(self, transfers::SELECT);
        query.and_text("t.partner = ?", Some(partner));
        let most = query.bind(Bind::Whole(LOOKED_AT));
        query.sql.push_str(&format!(" ORDER BY t.created_at DESC, t.id DESC LIMIT {most}"));
        let rows: Vec<Attempted<transfers::TransferRow>> =
            query.fetch(self, "read what a partner sent").await?;
        let (mut rows, unreadable) = split(rows, transfers::TransferRow::view);
        rows.retain(|row| row.kind == TransferKind::Payload);
        rows.truncate(limit as usize);
        let ids: Vec<TransferId> = rows.iter().map(|row| row.id).collect();
        let mut metadata = self.metadata_of(&ids).await?;
        let with_metadata = |transfer: TransferView| {
            let found = metadata.iter().position(|(id, _)| *id == transfer.id);
            let metadata = found.map(|at| metadata.swap_remove(at).1).unwrap_or_default();
            ReceivedExchange { transfer, metadata }
        };
        Ok((rows.into_iter().map(with_metadata).collect(), unreadable))
    }

    async fn metadata_of(&self, ids: &[TransferId]) -> Result<Vec<(TransferId, Map<String, Value>)>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = Query::new(self, "SELECT id, metadata FROM transfers WHERE id IN (");
        let places: Vec<String> = ids.iter().map(|id| query.bind(Bind::Id(id.uuid()))).collect();
        query.sql.push_str(&places.join(", "));
        query.sql.push(')');
        let rows: Vec<MetadataRow> = query.fetch(self, "read the metadata of transfers").await?;
        Ok(rows.into_iter().map(|row| (TransferId::new(row.id), row.metadata.0)).collect())
    }

    /// When each of some partners last sent a file, among its last few transfers; none for those that sent none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_received_from(&self, partners: &[String]) -> Result<Vec<(String, Timestamp)>> {
        const AT_ONCE: usize = 100;
        const FEW: i64 = 20;
        let mut found = Vec::new();
        for partners in partners.chunks(AT_ONCE) {
            let mut query = Query::new(self, "");
            let most = query.bind(Bind::Whole(FEW));
            let mut parts = Vec::with_capacity(partners.len());
            for (at, partner) in partners.iter().enumerate() {
                let partner = query.bind(Bind::Text(partner.replace('\0', "")));
                parts.push(format!(
                    "SELECT * FROM (SELECT t.partner, t.kind, t.created_at FROM transfers t WHERE t.partner = {partner} \
                     ORDER BY t.created_at DESC, t.id DESC LIMIT {most}) AS p{at}"
                ));
            }
            query.sql = parts.join(" UNION ALL ");
            let rows: Vec<LastRow> = query.fetch(self, "read when partners last sent a file").await?;
            let files = rows.into_iter().filter(|row| row.kind == TransferKind::Payload.as_str());
            found.extend(files.map(|row| (row.partner, row.created_at)));
        }
        found.sort_by(|a: &(String, Timestamp), b| (&a.0, b.1).cmp(&(&b.0, a.1)));
        found.dedup_by(|later, first| later.0 == first.0);
        Ok(found)
    }

    /// The last events that say that something went wrong with a partner's messages and receipts, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn partner_troubles(
        &self,
        partner: &str,
        limit: u32,
    ) -> Result<(Vec<EventView>, Vec<UnreadableRow>)> {
        let query = troubles(self, partner, limit);
        let rows: Vec<Attempted<EventRow>> = query.fetch(self, "read what went wrong with a partner").await?;
        Ok(split(rows, |row| Ok(row.view())))
    }
}

#[derive(FromRow)]
struct LastRow {
    partner: String,
    kind: String,
    created_at: Timestamp,
}

/// The kinds of these events.
pub const TROUBLES_OF_PARTNERS: [EventKind; 4] = [
    EventKind::MessageRefused,
    EventKind::ReceiptUnproven,
    EventKind::ReceiptUnmatched,
    EventKind::CertificateFallback,
];

#[cfg(test)]
mod tests {
    use super::{TROUBLES, TROUBLES_OF_PARTNERS};

    #[test]
    fn the_index_has_the_kinds_by_their_names() {
        let names: Vec<String> = TROUBLES_OF_PARTNERS.iter().map(|kind| format!("'{kind}'")).collect();
        assert_eq!(TROUBLES, format!("kind IN ({})", names.join(", ")));
        for migration in [
            include_str!("../../../../migrations/sqlite/0001_begin.sql"),
            include_str!("../../../../migrations/postgres/0001_begin.sql"),
        ] {
            assert!(migration.contains(TROUBLES));
        }
    }
}
