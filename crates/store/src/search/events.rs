//! Lists of audit events.

use super::query::{Bind, Column, Listing, Page, Query, split};
use super::unreadable::{Attempted, UnreadableRow};
use crate::Store;
use crate::either::Backend;
use crate::text_index::EVENT_TEXT;
use model::{ConnectionId, DeliveryId, EventId, EventWords, Result, Severity, Timestamp, TransferId};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// Which events.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this kind; with a dot at the end, of every kind that begins so (`delivery.`).
    pub kind: Option<String>,
    /// Of this severity.
    pub severity: Option<Severity>,
    /// About this flow.
    pub flow: Option<String>,
    /// About this endpoint.
    pub endpoint: Option<String>,
    /// About this transfer.
    pub transfer: Option<TransferId>,
    /// About this connection.
    pub connection: Option<ConnectionId>,
    /// By this actor, as in [`model::Actor::to_text`].
    pub actor: Option<String>,
    /// Whose detail or peer contains this, whatever its case. May look through all that the other
    /// conditions leave ([`Store::text_index`]): give a time range with it.
    pub text: Option<String>,
    /// Without those about connections that the console's own pages are asked for by.
    pub without_console: bool,
    /// At or after.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
}

/// An event as it is stored. Words are as they are found, also such as this Waybill does not know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventView {
    /// The event.
    pub id: EventId,
    /// When it happened.
    pub at: Timestamp,
    /// Where it happened.
    pub node: String,
    /// What happened.
    pub kind: String,
    /// How much it matters.
    pub severity: String,
    /// Who did it.
    pub actor: String,
    /// The flow concerned.
    pub flow: Option<String>,
    /// The endpoint concerned.
    pub endpoint: Option<String>,
    /// The partner concerned.
    pub partner: Option<String>,
    /// The transfer concerned.
    pub transfer: Option<TransferId>,
    /// The delivery concerned.
    pub delivery: Option<DeliveryId>,
    /// The connection concerned.
    pub connection: Option<ConnectionId>,
    /// The peer's address.
    pub peer: Option<String>,
    /// The rest.
    pub detail: Map<String, Value>,
}

pub(super) const SELECT: &str = "SELECT id, at, node, kind, severity, actor, flow, endpoint, partner, transfer_id, \
     delivery_id, connection_id, peer, detail FROM audit_events WHERE TRUE";

#[derive(FromRow)]
pub(super) struct EventRow {
    id: Uuid,
    at: Timestamp,
    node: String,
    kind: String,
    severity: String,
    actor: String,
    flow: Option<String>,
    endpoint: Option<String>,
    partner: Option<String>,
    transfer_id: Option<Uuid>,
    delivery_id: Option<Uuid>,
    connection_id: Option<Uuid>,
    peer: Option<String>,
    detail: Json<Map<String, Value>>,
}

#[derive(FromRow)]
struct NumberRow {
    number: i64,
}

/// From which end a transfer's events are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

impl EventView {
    /// One line: who, where, to what, and why.
    #[must_use]
    pub fn summary(&self) -> String {
        EventWords {
            kind: &self.kind,
            actor: &self.actor,
            node: &self.node,
            flow: self.flow.as_deref(),
            endpoint: self.endpoint.as_deref(),
            partner: self.partner.as_deref(),
            peer: self.peer.as_deref(),
            detail: &self.detail,
        }
        .summary()
    }
}

impl EventRow {
    pub(super) fn view(self) -> EventView {
        EventView {
            id: EventId::new(self.id),
            at: self.at,
            node: self.node,
            kind: self.kind,
            severity: self.severity,
            actor: self.actor,
            flow: self.flow,
            endpoint: self.endpoint,
            partner: self.partner,
            transfer: self.transfer_id.map(TransferId::new),
            delivery: self.delivery_id.map(DeliveryId::new),
            connection: self.connection_id.map(ConnectionId::new),
            peer: self.peer,
            detail: self.detail.0,
        }
    }
}

pub(super) fn statement(store: &Store, filter: &EventFilter, page: Page) -> Query {
    let mut query = Query::new(store, SELECT);
    match filter.kind.as_deref() {
        Some(kind) if kind.ends_with('.') => {
            // Every kind that is known and begins so: equality finds the index in time order.
            let kinds: Vec<&str> = model::EventKind::ALL
                .iter()
                .map(|kind| kind.as_str())
                .filter(|known| known.starts_with(kind))
                .collect();
            let places: Vec<String> =
                kinds.iter().map(|kind| query.bind(Bind::Text((*kind).to_owned()))).collect();
            let list = if places.is_empty() { "NULL".to_owned() } else { places.join(", ") };
            query.sql.push_str(&format!(" AND kind IN ({list})"));
        }
        kind => query.and_text("kind = ?", kind),
    }
    if filter.without_console {
        query.sql.push_str(match store.backend() {
            // As text: a row that is no JSON must not keep the others from being read. Within a text of the
            // detail these quotes would be escaped.
            Backend::Sqlite => {
                " AND NOT (kind LIKE 'connection.%' AND detail LIKE '%\"purpose\":\"console\"%')"
            }
            Backend::Postgres => {
                " AND NOT (kind LIKE 'connection.%' AND coalesce(detail->>'purpose', '') = 'console')"
            }
        });
    }
    query.and_text("severity = ?", filter.severity.map(Severity::as_str));
    query.and_text("flow = ?", filter.flow.as_deref());
    query.and_text("endpoint = ?", filter.endpoint.as_deref());
    query.and_text("actor = ?", filter.actor.as_deref());
    query.and("transfer_id = ?", filter.transfer.map(|id| Bind::Id(id.uuid())));
    query.and("connection_id = ?", filter.connection.map(|id| Bind::Id(id.uuid())));
    let text: &[Column] = match store.backend() {
        Backend::Sqlite => &[Column::Json("detail"), Column::Text("peer")],
        Backend::Postgres => &[Column::Json(EVENT_TEXT)],
    };
    query.contains(text, filter.text.as_deref());
    query.between("at", filter.from, filter.to);
    query.page("at", "id", page);
    query
}

impl Store {
    /// Audit events, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn events(&self, filter: &EventFilter, page: Page) -> Result<Listing<EventView>> {
        let query = statement(self, filter, page);
        query
            .list(self, "list audit events", filter.text.is_some(), page, |row: EventRow| Ok(row.view()))
            .await
    }

    /// The events of a transfer, at most so many.
    pub(super) async fn events_of(
        &self,
        transfer: TransferId,
        order: Order,
        at_most: usize,
    ) -> Result<(Vec<EventView>, Vec<UnreadableRow>)> {
        let mut query = Query::new(self, SELECT);
        query.and("transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        let order = match order {
            Order::OldestFirst => "at, id",
            Order::NewestFirst => "at DESC, id DESC",
        };
        query.sql.push_str(&format!(" ORDER BY {order} LIMIT {at_most}"));
        let rows: Vec<Attempted<EventRow>> = query.fetch(self, "read a transfer's events").await?;
        Ok(split(rows, |row| Ok(row.view())))
    }

    /// How many events a transfer has.
    pub(super) async fn count_events_of(&self, transfer: TransferId) -> Result<u64> {
        let mut query = Query::new(self, "SELECT count(*) AS number FROM audit_events WHERE TRUE");
        query.and("transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        let rows: Vec<NumberRow> = query.fetch(self, "count a transfer's events").await?;
        Ok(rows.first().and_then(|row| u64::try_from(row.number).ok()).unwrap_or(0))
    }
}
