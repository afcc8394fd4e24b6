//! Writing rows and events of connections.

mod events;

pub use events::connection_event_id;

use super::entry::{Header, JournalEntry};
use crate::audit::clean_column;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use chrono::SubsecRound as _;
use events::{
    begun, closed_event, failed_event, failed_micros, given_up, micros, opened_event, remote, security, whole,
};
use model::{
    AuditEvent, ConnectionClosed, ConnectionFailed, ConnectionId, ConnectionOpened, Direction, EventKind,
    NodeName, PeerText, Severity, Timestamp,
};
use serde_json::Value;
use sqlx::QueryBuilder;
use sqlx::types::Json;
use std::collections::BTreeMap;
use uuid::Uuid;

/// The reason of a connection whose process ended before it was closed.
pub const PROCESS_ENDED: &str = "process ended";

/// The most connections closed in one transaction.
const ENDED: i64 = 500;

/// Writes a batch of journal entries. They may be in any order and repeated.
pub(crate) struct ShipConnections {
    node: NodeName,
    process: Timestamp,
    // By id: a statement may change a row only once, and rows are locked in one order.
    opened: BTreeMap<ConnectionId, ConnectionOpened>,
    closed: BTreeMap<ConnectionId, ConnectionClosed>,
    failed: BTreeMap<ConnectionId, ConnectionFailed>,
    events: Vec<AuditEvent>,
}

impl ShipConnections {
    pub(crate) fn new(header: &Header, entries: Vec<JournalEntry>) -> Self {
        let mut batch = Self {
            node: header.node.clone(),
            process: header.process.trunc_subsecs(6),
            opened: BTreeMap::new(),
            closed: BTreeMap::new(),
            failed: BTreeMap::new(),
            events: vec![],
        };
        for entry in entries {
            match entry {
                JournalEntry::Opened(mut opened) => {
                    opened.at = opened.at.trunc_subsecs(6);
                    batch.opened.insert(opened.id, opened);
                }
                JournalEntry::Closed(mut closed) => {
                    closed.at = closed.at.trunc_subsecs(6);
                    batch.closed.insert(closed.id, closed);
                }
                JournalEntry::Failed(mut failed) => {
                    failed.at = failed.at.trunc_subsecs(6);
                    batch.failed.insert(failed.id, failed);
                }
                JournalEntry::Event(event) => batch.events.push(event),
            }
        }
        batch
    }

    async fn insert_opened(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        if self.opened.is_empty() {
            return Ok(());
        }
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO connections (id, node, process_started_at, opened_at, direction, protocol, \
                 purpose, endpoint, host, remote, local, proxy, security, control) ",
            );
            insert.push_values(self.opened.values(), |mut row, opened| {
                row.push_bind(opened.id.uuid())
                    .push_bind(opened.node.as_str())
                    .push_bind(self.process)
                    .push_bind(opened.at)
                    .push_bind(opened.direction.as_str())
                    .push_bind(opened.protocol.as_str())
                    .push_bind(opened.purpose.as_str())
                    .push_bind(opened.endpoint.as_deref().map(clean_column))
                    .push_bind(opened.host.as_ref().map(PeerText::as_str))
                    .push_bind(opened.remote.map(model::address_text))
                    .push_bind(opened.local.map(|address| address.to_string()))
                    .push_bind(opened.proxy.as_deref().map(clean_column))
                    .push_bind(Json(Value::Object(security(opened))))
                    .push_bind(opened.control.map(|control| control.uuid()));
            });
            insert.push(
                " ON CONFLICT (id) DO UPDATE SET opened_at = excluded.opened_at, \
                 direction = excluded.direction, protocol = excluded.protocol, purpose = excluded.purpose, \
                 endpoint = excluded.endpoint, host = excluded.host, remote = excluded.remote, \
                 local = excluded.local, proxy = excluded.proxy, security = excluded.security, \
                 control = excluded.control",
            );
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
        Ok(())
    }

    /// Ends rows. If the opened entry has not arrived yet, the row is created, and completed by that entry.
    async fn insert_closed(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        if self.closed.is_empty() {
            return Ok(());
        }
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO connections (id, node, process_started_at, opened_at, closed_at, bytes_in, \
                 bytes_out, duration_micros, requests, reason, failed) ",
            );
            insert.push_values(self.closed.values(), |mut row, closed| {
                row.push_bind(closed.id.uuid())
                    .push_bind(self.node.as_str())
                    .push_bind(self.process)
                    .push_bind(begun(closed))
                    .push_bind(closed.at)
                    .push_bind(whole(closed.bytes_in))
                    .push_bind(whole(closed.bytes_out))
                    .push_bind(micros(closed))
                    .push_bind(whole(closed.requests))
                    .push_bind(closed.reason.as_str())
                    .push_bind(closed.failed);
            });
            insert.push(
                " ON CONFLICT (id) DO UPDATE SET closed_at = excluded.closed_at, \
                 bytes_in = excluded.bytes_in, bytes_out = excluded.bytes_out, \
                 duration_micros = excluded.duration_micros, requests = excluded.requests, \
                 reason = excluded.reason, failed = excluded.failed, lost_at = NULL \
                 WHERE connections.closed_at IS NULL OR connections.reason = ",
            );
            insert.push_bind(PROCESS_ENDED);
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
        Ok(())
    }

    /// Writes rows of failed connections: opened and ended at once.
    async fn insert_failed(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        if self.failed.is_empty() {
            return Ok(());
        }
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO connections (id, node, process_started_at, opened_at, direction, protocol, \
                 purpose, endpoint, host, remote, proxy, closed_at, bytes_in, bytes_out, duration_micros, \
                 requests, reason, failed) ",
            );
            insert.push_values(self.failed.values(), |mut row, failed| {
                row.push_bind(failed.id.uuid())
                    .push_bind(failed.node.as_str())
                    .push_bind(self.process)
                    .push_bind(failed.at)
                    .push_bind(Direction::Outbound.as_str())
                    .push_bind(failed.protocol.as_str())
                    .push_bind(failed.purpose.as_str())
                    .push_bind(failed.endpoint.as_deref().map(clean_column))
                    .push_bind(failed.host.as_str())
                    .push_bind(failed.remote.map(|address| address.to_string()))
                    .push_bind(failed.proxy.as_deref().map(clean_column))
                    .push_bind(given_up(failed))
                    .push_bind(0_i64)
                    .push_bind(0_i64)
                    .push_bind(failed_micros(failed))
                    .push_bind(0_i64)
                    .push_bind(failed.error.as_str())
                    .push_bind(true);
            });
            insert.push(" ON CONFLICT (id) DO NOTHING");
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
        Ok(())
    }

    /// The targets of the closed connections, for their events: a close entry names only the connection.
    async fn places(&self, tx: &mut Tx<'_>) -> Result<BTreeMap<Uuid, Place>, Fault> {
        let unknown: Vec<Uuid> =
            self.closed.keys().filter(|id| !self.opened.contains_key(id)).map(|id| id.uuid()).collect();
        let mut places: BTreeMap<_, _> = self
            .opened
            .values()
            .map(|opened| {
                let place = Place {
                    id: opened.id.uuid(),
                    endpoint: opened.endpoint.clone(),
                    remote: remote(opened),
                    purpose: Some(opened.purpose.as_str().to_owned()),
                };
                (place.id, place)
            })
            .collect();
        if unknown.is_empty() {
            return Ok(places);
        }
        let rows: Vec<Place> = on!(tx, c => {
            let mut select = QueryBuilder::<Db>::new(
                "SELECT id, endpoint, remote, purpose FROM connections WHERE id IN (",
            );
            let mut ids = select.separated(", ");
            for id in unknown {
                ids.push_bind(id);
            }
            select.push(")");
            select.build_query_as().persistent(false).fetch_all(c).await
        })?;
        places.extend(rows.into_iter().map(|place| (place.id, place)));
        Ok(places)
    }
}

#[async_trait]
impl Command for ShipConnections {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        self.insert_opened(tx).await?;
        self.insert_closed(tx).await?;
        self.insert_failed(tx).await?;
        let places = self.places(tx).await?;
        for opened in self.opened.values() {
            tx.event(opened_event(opened));
        }
        for closed in self.closed.values() {
            let event = closed_event(closed, &self.node);
            tx.event(match places.get(&closed.id.uuid()) {
                Some(place) => place.name_in(event),
                None => event,
            });
        }
        for failed in self.failed.values() {
            tx.event(failed_event(failed));
        }
        tx.events(&self.events);
        Ok(())
    }
}

/// Closes up to [`ENDED`] connections of a dead process; returns their number.
pub(crate) struct EndConnections {
    pub(crate) node: NodeName,
    pub(crate) started_before: Timestamp,
    pub(crate) at: Timestamp,
}

#[async_trait]
impl Command for EndConnections {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let at = self.at.trunc_subsecs(6);
        let ended: Vec<Place> = on!(tx, c => sqlx::query_as(
            "UPDATE connections SET closed_at = $3, reason = $4, failed = TRUE, lost_at = NULL WHERE closed_at IS NULL \
             AND id IN (SELECT id FROM connections WHERE node = $1 AND process_started_at < $2 \
             AND closed_at IS NULL ORDER BY opened_at LIMIT $5) RETURNING id, endpoint, remote, purpose",
        )
        .bind(self.node.as_str())
        .bind(self.started_before.trunc_subsecs(6))
        .bind(at)
        .bind(PROCESS_ENDED)
        .bind(ENDED)
        .fetch_all(c)
        .await)?;
        for place in &ended {
            let id = ConnectionId::new(place.id);
            let event = AuditEvent::new(
                connection_event_id(id, "ended"),
                at,
                self.node.clone(),
                EventKind::ConnectionClosed,
            )
            .connection(id)
            .severity(Severity::Warning)
            .detail("reason", PROCESS_ENDED)
            .detail("failed", true);
            tx.event(place.name_in(event));
        }
        Ok(ended.len() as u64)
    }
}

/// Marks up to [`ENDED`] connections of a silent node as lost; returns their number. It is unknown whether they
/// ended: the node may only be slow, or unable to reach the database.
pub(crate) struct LoseConnections {
    pub(crate) node: NodeName,
    pub(crate) started_before: Timestamp,
    pub(crate) at: Timestamp,
    pub(crate) by: NodeName,
}

#[async_trait]
impl Command for LoseConnections {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let at = self.at.trunc_subsecs(6);
        let lost: Vec<Place> = on!(tx, c => sqlx::query_as(
            "UPDATE connections SET lost_at = $3 WHERE closed_at IS NULL AND lost_at IS NULL \
             AND id IN (SELECT id FROM connections WHERE node = $1 AND process_started_at < $2 \
             AND closed_at IS NULL AND lost_at IS NULL ORDER BY opened_at LIMIT $4) \
             RETURNING id, endpoint, remote, purpose",
        )
        .bind(self.node.as_str())
        .bind(self.started_before.trunc_subsecs(6))
        .bind(at)
        .bind(ENDED)
        .fetch_all(c)
        .await)?;
        for place in &lost {
            let event = tx
                .derived(at, &self.by, EventKind::ConnectionLost)
                .connection(ConnectionId::new(place.id))
                .detail("of_node", self.node.as_str());
            tx.event(place.name_in(event));
        }
        Ok(lost.len() as u64)
    }
}

/// Removes the lost mark of up to [`ENDED`] connections of a living process; returns their number.
pub(crate) struct FindConnections {
    pub(crate) node: NodeName,
    pub(crate) process: Timestamp,
    pub(crate) at: Timestamp,
}

#[async_trait]
impl Command for FindConnections {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let at = self.at.trunc_subsecs(6);
        let found: Vec<Place> = on!(tx, c => sqlx::query_as(
            "UPDATE connections SET lost_at = NULL WHERE closed_at IS NULL AND lost_at IS NOT NULL \
             AND id IN (SELECT id FROM connections WHERE node = $1 AND process_started_at = $2 \
             AND closed_at IS NULL AND lost_at IS NOT NULL ORDER BY opened_at LIMIT $3) \
             RETURNING id, endpoint, remote, purpose",
        )
        .bind(self.node.as_str())
        .bind(self.process.trunc_subsecs(6))
        .bind(ENDED)
        .fetch_all(c)
        .await)?;
        for place in &found {
            let event = tx
                .derived(at, &self.node, EventKind::ConnectionStillOpen)
                .connection(ConnectionId::new(place.id));
            tx.event(place.name_in(event));
        }
        Ok(found.len() as u64)
    }
}

/// The node, flow and endpoint of a connection, for events that name only the connection.
#[derive(Clone, sqlx::FromRow)]
struct Place {
    id: Uuid,
    endpoint: Option<String>,
    remote: Option<String>,
    purpose: Option<String>,
}

impl Place {
    /// Sets them in an event.
    fn name_in(&self, mut event: AuditEvent) -> AuditEvent {
        (event.endpoint, event.peer) = (self.endpoint.clone(), self.remote.clone());
        match &self.purpose {
            Some(purpose) => event.detail("purpose", purpose.as_str()),
            None => event,
        }
    }
}
