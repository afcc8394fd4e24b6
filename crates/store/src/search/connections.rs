//! Lists of connections, live and past.

use super::query::{Bind, Column, Listing, Page, Query, split};
use super::unreadable::{Attempted, UnreadableRow};
use crate::Store;
use crate::row::{unreadable, word};
use model::{ConnectionId, Direction, Protocol, Purpose, Result, Security, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use std::time::Duration;
use uuid::Uuid;

/// Which connections.
#[derive(Clone, Debug, Default)]
pub struct ConnectionFilter {
    /// Up now, or ended.
    pub live: Option<bool>,
    /// Of this endpoint.
    pub endpoint: Option<String>,
    /// Speaking this.
    pub protocol: Option<Protocol>,
    /// Opened by this side.
    pub direction: Option<Direction>,
    /// Whose host, addresses or proxy contain this, whatever its case.
    pub address: Option<String>,
    /// Ended by an error, or not.
    pub failed: Option<bool>,
    /// The data connections (FTP) of this connection.
    pub control: Option<ConnectionId>,
    /// Without those that the console's own pages are asked for by.
    pub without_console: bool,
    /// Without data connections (FTP), as there is one for each listing and file. Those that failed stay.
    pub without_data: bool,
    /// Opened at or after.
    pub from: Option<Timestamp>,
    /// Opened before.
    pub to: Option<Timestamp>,
}

/// A connection, as far as it is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConnectionView {
    /// The connection.
    pub id: ConnectionId,
    /// The node it belongs to.
    pub node: String,
    /// When the socket was there.
    pub opened_at: Timestamp,
    /// Who opened it; this and what follows is `None` when only its end is known.
    pub direction: Option<Direction>,
    /// What is spoken on it.
    pub protocol: Option<Protocol>,
    /// What it is for.
    pub purpose: Option<Purpose>,
    /// The endpoint it belongs to.
    pub endpoint: Option<String>,
    /// The host and port asked for.
    pub host: Option<String>,
    /// The other side's address.
    pub remote: Option<String>,
    /// Our address.
    pub local: Option<String>,
    /// The proxy it goes through.
    pub proxy: Option<String>,
    /// How it is protected.
    pub security: Option<Security>,
    /// Of a data connection (FTP): the connection over which it was agreed on.
    pub control: Option<ConnectionId>,
    /// When another node lost sight of it: whether it still lives is not known.
    pub lost_at: Option<Timestamp>,
    /// When it ended; `None` while it is up.
    pub closed_at: Option<Timestamp>,
    /// Bytes read.
    pub bytes_in: Option<u64>,
    /// Bytes written.
    pub bytes_out: Option<u64>,
    /// How long it was up.
    pub duration: Option<Duration>,
    /// Requests or file operations carried.
    pub requests: Option<u64>,
    /// Why it ended.
    pub reason: Option<String>,
    /// Whether the end was an error.
    pub failed: Option<bool>,
}

/// The statement that [`ConnectionRow`] reads, up to its conditions.
pub(crate) const SELECT: &str = "SELECT id, node, opened_at, direction, protocol, purpose, endpoint, host, remote, local, \
     proxy, security, control, lost_at, closed_at, bytes_in, bytes_out, duration_micros, requests, reason, failed \
     FROM connections WHERE TRUE";

/// A connection as it is stored.
#[derive(FromRow)]
pub(crate) struct ConnectionRow {
    pub(crate) id: Uuid,
    pub(crate) node: String,
    pub(crate) opened_at: Timestamp,
    pub(crate) direction: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) purpose: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) remote: Option<String>,
    pub(crate) local: Option<String>,
    pub(crate) proxy: Option<String>,
    pub(crate) security: Option<Json<Value>>,
    pub(crate) control: Option<Uuid>,
    pub(crate) lost_at: Option<Timestamp>,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) bytes_in: Option<i64>,
    pub(crate) bytes_out: Option<i64>,
    pub(crate) duration_micros: Option<i64>,
    pub(crate) requests: Option<i64>,
    pub(crate) reason: Option<String>,
    pub(crate) failed: Option<bool>,
}

impl ConnectionRow {
    fn view(self) -> Result<ConnectionView> {
        fn known<T>(
            text: Option<&str>,
            parse: fn(&str) -> Option<T>,
            column: &'static str,
        ) -> Result<Option<T>> {
            text.map(|text| word(parse(text), column, text)).transpose()
        }
        let whole = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let security = self.security.map(|Json(value)| serde_json::from_value(value)).transpose();
        Ok(ConnectionView {
            id: ConnectionId::new(self.id),
            node: self.node,
            opened_at: self.opened_at,
            direction: known(self.direction.as_deref(), Direction::parse, "connections.direction")?,
            protocol: known(self.protocol.as_deref(), Protocol::parse, "connections.protocol")?,
            purpose: known(self.purpose.as_deref(), Purpose::parse, "connections.purpose")?,
            endpoint: self.endpoint,
            host: self.host,
            remote: self.remote,
            local: self.local,
            proxy: self.proxy,
            security: security.map_err(|e| unreadable("connections.security", &e.to_string()))?,
            control: self.control.map(ConnectionId::new),
            lost_at: self.lost_at,
            closed_at: self.closed_at,
            bytes_in: whole(self.bytes_in),
            bytes_out: whole(self.bytes_out),
            duration: whole(self.duration_micros).map(Duration::from_micros),
            requests: whole(self.requests),
            reason: self.reason,
            failed: self.failed,
        })
    }
}

/// As the index has it that leaves them out.
pub(super) const NOT_CONSOLE: &str = " AND coalesce(purpose, '') <> 'console'";

/// As the index has it that leaves these out too.
const NOT_DATA: &str = " AND (coalesce(purpose, '') <> 'data' OR coalesce(failed, FALSE))";

pub(super) fn statement(store: &Store, filter: &ConnectionFilter, page: Page) -> Query {
    let mut query = Query::new(store, SELECT);
    query.sql.push_str(match filter.live {
        None => "",
        Some(true) => " AND closed_at IS NULL AND lost_at IS NULL",
        Some(false) => " AND (closed_at IS NOT NULL OR lost_at IS NOT NULL)",
    });
    query.sql.push_str(match filter.failed {
        None => "",
        Some(true) => " AND failed = TRUE",
        Some(false) => " AND failed = FALSE",
    });
    if filter.without_console {
        query.sql.push_str(NOT_CONSOLE);
    }
    if filter.without_data {
        query.sql.push_str(NOT_DATA);
    }
    query.and("control = ?", filter.control.map(|control| Bind::Id(control.uuid())));
    query.and_text("endpoint = ?", filter.endpoint.as_deref());
    query.and_text("protocol = ?", filter.protocol.map(Protocol::as_str));
    query.and_text("direction = ?", filter.direction.map(Direction::as_str));
    query.contains(&["host", "remote", "local", "proxy"].map(Column::Text), filter.address.as_deref());
    query.between("opened_at", filter.from, filter.to);
    query.page("opened_at", "id", page);
    query
}

impl Store {
    /// Connections, newest first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn connections(
        &self,
        filter: &ConnectionFilter,
        page: Page,
    ) -> Result<Listing<ConnectionView>> {
        let query = statement(self, filter, page);
        query.list(self, "list connections", filter.address.is_some(), page, ConnectionRow::view).await
    }

    /// One connection.
    ///
    /// # Errors
    /// The database failed, or this version cannot read the row.
    pub async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionView>> {
        let mut query = Query::new(self, SELECT);
        query.and("id = ?", Some(Bind::Id(id.uuid())));
        let mut rows: Vec<ConnectionRow> = query.fetch(self, "read a connection").await?;
        rows.pop().map(ConnectionRow::view).transpose()
    }

    /// Some connections, and for each data connection among them the one over which it was agreed on.
    pub(super) async fn connections_by_id(
        &self,
        ids: &[ConnectionId],
    ) -> Result<(Vec<ConnectionView>, Vec<UnreadableRow>)> {
        if ids.is_empty() {
            return Ok((vec![], vec![]));
        }
        let mut query = Query::new(self, SELECT);
        let places: Vec<String> = ids.iter().map(|id| query.bind(Bind::Id(id.uuid()))).collect();
        let named = places.join(", ");
        query.sql.push_str(&format!(
            " AND id IN (SELECT id FROM connections WHERE id IN ({named}) \
             UNION SELECT control FROM connections WHERE id IN ({named}) AND control IS NOT NULL) \
             ORDER BY opened_at, id"
        ));
        let rows: Vec<Attempted<ConnectionRow>> = query.fetch(self, "read connections").await?;
        Ok(split(rows, ConnectionRow::view))
    }
}
