//! Lists of transfers.

use super::query::{Bind, Column, Listing, Page, Query};
use crate::Store;
use crate::row::{content, path, word};
use model::{
    Content, OfferId, PayloadId, RemotePath, Result, Timestamp, TransferId, TransferKind, TransferState,
};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

/// Which transfers: what lists and actions in bulk have in common.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransferFilter {
    /// In this state.
    pub state: Option<TransferState>,
    /// Failed or partly failed.
    pub failed: bool,
    /// With a delivery in trouble that last changed at or after this: failed, expired, or tried again.
    pub trouble_since: Option<Timestamp>,
    /// Of this flow.
    pub flow: Option<String>,
    /// Of this partner.
    pub partner: Option<String>,
    /// With a delivery to this endpoint.
    pub endpoint: Option<String>,
    /// Whose file name contains this, whatever its case. May look through all that the other
    /// conditions leave ([`Store::text_index`]): give a time range with it.
    pub name_contains: Option<String>,
    /// Whose file name begins with this.
    pub name_begins: Option<String>,
    /// Whose file name, without directories, matches this mask: `*` and `?`, capitals count, as in flows.
    pub name_mask: Option<String>,
    /// Recorded at or after.
    pub from: Option<Timestamp>,
    /// Recorded before.
    pub to: Option<Timestamp>,
}

/// A transfer as lists show it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TransferView {
    /// The transfer.
    pub id: TransferId,
    /// Its kind.
    pub kind: TransferKind,
    /// Its flow.
    pub flow: String,
    /// The revision of the definitions whose flow it goes through.
    pub revision: i64,
    /// Its partner, when there is one.
    pub partner: Option<String>,
    /// The offer it came from.
    pub offer: Option<OfferId>,
    /// The transfer it was made from.
    pub parent: Option<TransferId>,
    /// Its bytes.
    pub payload: PayloadId,
    /// Their name.
    pub file_name: RemotePath,
    /// Their number.
    pub length: u64,
    /// Where they are, and their hash.
    pub content: Content,
    /// Their media type.
    pub media_type: Option<String>,
    /// When they were removed, at the end of their retention.
    pub payload_removed_at: Option<Timestamp>,
    /// Where the transfer stands.
    pub state: TransferState,
    /// When it was recorded.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many deliveries it has.
    pub deliveries: u32,
    /// How many of them are delivered.
    pub delivered: u32,
}

/// The statement that [`TransferRow`] reads, up to its conditions.
pub(super) const SELECT: &str = "SELECT t.id, t.kind, t.flow, t.revision, t.partner, t.offer_id, t.parent_id, \
     t.payload_id, t.file_name, t.state, t.created_at, t.updated_at, t.ended_at, p.length, p.sha256, p.streamed, \
     p.media_type, p.removed_at, \
     (SELECT count(*) FROM deliveries d WHERE d.transfer_id = t.id) AS deliveries, \
     (SELECT count(*) FROM deliveries d WHERE d.transfer_id = t.id AND d.state = 'delivered') AS delivered \
     FROM transfers t JOIN payloads p ON p.id = t.payload_id WHERE TRUE";

#[derive(FromRow)]
pub(super) struct TransferRow {
    id: Uuid,
    kind: String,
    flow: String,
    revision: i64,
    partner: Option<String>,
    offer_id: Option<Uuid>,
    parent_id: Option<Uuid>,
    payload_id: Uuid,
    file_name: String,
    state: String,
    created_at: Timestamp,
    updated_at: Timestamp,
    ended_at: Option<Timestamp>,
    length: i64,
    sha256: Option<Vec<u8>>,
    streamed: bool,
    media_type: Option<String>,
    removed_at: Option<Timestamp>,
    deliveries: i64,
    delivered: i64,
}

impl TransferRow {
    pub(super) fn view(self) -> Result<TransferView> {
        let whole = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(TransferView {
            id: TransferId::new(self.id),
            kind: word(TransferKind::parse(&self.kind), "transfers.kind", &self.kind)?,
            flow: self.flow,
            revision: self.revision,
            partner: self.partner,
            offer: self.offer_id.map(OfferId::new),
            parent: self.parent_id.map(TransferId::new),
            payload: PayloadId::new(self.payload_id),
            file_name: path(&self.file_name)?,
            length: u64::try_from(self.length).unwrap_or(0),
            content: content(self.streamed, self.sha256)?,
            media_type: self.media_type,
            payload_removed_at: self.removed_at,
            state: word(TransferState::parse(&self.state), "transfers.state", &self.state)?,
            created_at: self.created_at,
            updated_at: self.updated_at,
            ended_at: self.ended_at,
            deliveries: whole(self.deliveries),
            delivered: whole(self.delivered),
        })
    }
}

impl TransferFilter {
    /// Whether every transfer is meant.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it looks at text or at deliveries, and so perhaps through all that its other conditions leave.
    #[must_use]
    pub const fn searches(&self) -> bool {
        self.name_contains.is_some() || self.name_mask.is_some() || self.endpoint.is_some()
    }
}

pub(super) fn statement(store: &Store, filter: &TransferFilter, page: Page) -> Query {
    let mut query = Query::new(store, SELECT);
    restrict(&mut query, filter);
    query.page("t.created_at", "t.id", page);
    query
}

/// Adds the conditions of a filter to a statement over `transfers t`.
pub(super) fn restrict(query: &mut Query, filter: &TransferFilter) {
    query.and_text("t.state = ?", filter.state.map(TransferState::as_str));
    if filter.failed {
        query.sql.push_str(" AND t.state IN ('failed', 'partly_failed')");
    }
    query.and(
        "t.id IN (SELECT d.transfer_id FROM deliveries d WHERE d.state IN ('retrying', 'failed', 'expired') \
         AND d.updated_at >= ?)",
        filter.trouble_since.map(Bind::Time),
    );
    query.and_text("t.flow = ?", filter.flow.as_deref());
    query.and_text("t.partner = ?", filter.partner.as_deref());
    query.and_text(
        "EXISTS (SELECT 1 FROM deliveries d WHERE d.transfer_id = t.id AND d.endpoint = ?)",
        filter.endpoint.as_deref(),
    );
    // Names are stored in their text form, which escapes some characters.
    let stored = |name: &String| RemotePath::from(name.as_str()).to_text();
    query.contains(&[Column::Text("t.file_name")], filter.name_contains.as_ref().map(stored).as_deref());
    // The index has the first 200 characters.
    let prefix: Option<String> =
        filter.name_begins.as_ref().map(|name| stored(name).chars().take(200).collect());
    query.begins("substr(t.file_name, 1, 200)", prefix.as_deref());
    query.matches_mask("t.file_name", filter.name_mask.as_deref());
    query.between("t.created_at", filter.from, filter.to);
}

impl Store {
    /// Transfers, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn transfers(&self, filter: &TransferFilter, page: Page) -> Result<Listing<TransferView>> {
        let query = statement(self, filter, page);
        query.list(self, "list transfers", filter.searches(), page, TransferRow::view).await
    }

    /// One transfer.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the row.
    pub async fn transfer_view(&self, id: TransferId) -> Result<Option<TransferView>> {
        let mut query = Query::new(self, SELECT);
        query.and("t.id = ?", Some(Bind::Id(id.uuid())));
        let mut rows: Vec<TransferRow> = query.fetch(self, "read a transfer").await?;
        rows.pop().map(TransferRow::view).transpose()
    }
}
