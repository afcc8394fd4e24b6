//! Rows of connections against `connection.opened` and `connection.closed`, or `connection.failed` of a dial
//! that gave none.

use super::{PAGE, Placed, RowReport, Run, Snapshot};
use crate::either::on;
use crate::search::{Attempted, split};
use model::{EventKind, Result, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

const TABLE: &str = "connections";

#[derive(FromRow)]
struct ConnectionRow {
    id: Uuid,
    node: String,
    opened_at: Timestamp,
    direction: Option<String>,
    protocol: Option<String>,
    purpose: Option<String>,
    endpoint: Option<String>,
    host: Option<String>,
    remote: Option<String>,
    local: Option<String>,
    proxy: Option<String>,
    security: Option<Json<Value>>,
    lost_at: Option<Timestamp>,
    closed_at: Option<Timestamp>,
    bytes_in: Option<i64>,
    bytes_out: Option<i64>,
    duration_micros: Option<i64>,
    requests: Option<i64>,
    reason: Option<String>,
    failed: Option<bool>,
}

impl Run<'_> {
    pub(super) async fn connections(&mut self, progress: &mut impl FnMut(&RowReport)) -> Result<()> {
        let mut after = Uuid::nil();
        loop {
            let mut page = Snapshot::begin(self.store).await?;
            let rows: Vec<Attempted<ConnectionRow>> = self
                .store
                .read("read connections", async {
                    on!(page, c => sqlx::query_as(
                        "SELECT id, node, opened_at, direction, protocol, purpose, endpoint, host, remote, local, \
                         proxy, security, lost_at, closed_at, bytes_in, bytes_out, duration_micros, requests, \
                         reason, failed FROM connections WHERE id > $1 ORDER BY id LIMIT $2",
                    )
                    .bind(after)
                    .bind(PAGE)
                    .fetch_all(c)
                    .await)
                })
                .await?;
            let at_end = (rows.len() as i64) < PAGE;
            let last = rows.iter().rev().find_map(Attempted::id);
            let (rows, unreadable) = split(rows, Ok);
            for row in unreadable {
                let id = row.id.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
                self.report.find(TABLE, id, row.error);
            }
            let rows: Vec<ConnectionRow> =
                rows.into_iter().filter(|row| self.within(row.opened_at)).collect();
            let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
            let mut events = self.events_about(&mut page, "connection_id", &ids).await?;
            for row in rows {
                let events = events.remove(&row.id).unwrap_or_default();
                self.connection(row, &events);
            }
            progress(&self.report);
            match last {
                Some(last) if !at_end => after = last,
                _ => break,
            }
        }
        self.find_missing(EventKind::ConnectionOpened, TABLE, |event| event.connection.into_iter().collect())
            .await?;
        self.find_missing(EventKind::ConnectionFailed, TABLE, |event| {
            let dialled = event.detail.get("direction").is_some();
            event.connection.into_iter().filter(|_| dialled).collect()
        })
        .await
    }

    fn connection(&mut self, row: ConnectionRow, events: &[Placed]) {
        self.count(TABLE);
        let id = row.id.to_string();
        let this = (TABLE, id.as_str());
        let dial = events
            .iter()
            .find(|event| event.is(EventKind::ConnectionFailed) && event.detail("direction").is_some());
        let opened = events.iter().find(|event| event.is(EventKind::ConnectionOpened)).or(dial);
        // The owner's own word comes after what a later process of its node says, if both are there.
        let closed = events.iter().rev().filter(|event| event.is(EventKind::ConnectionClosed));
        let closed = closed
            .clone()
            .find(|event| event.detail("bytes_in").is_some())
            .or_else(|| events.iter().rev().find(|event| event.is(EventKind::ConnectionClosed)));
        if self.is_retired(row.opened_at) && (opened.is_none() || (closed.is_none() && dial.is_none())) {
            self.report.retired += 1;
            return;
        }
        self.note_sealing(opened.into_iter().chain(closed));
        let micros = |at: Timestamp| at.timestamp_micros().to_string();
        let text = |value: &Option<String>| value.clone();
        if let Some(opened) = opened {
            let event = &opened.event;
            let told = |key: &str| opened.text(key).map(str::to_owned);
            self.compare(this, "node", Some(row.node.clone()), Some(event.node.clone()));
            self.compare(this, "opened_at", Some(micros(row.opened_at)), Some(event.at.to_string()));
            self.compare(this, "endpoint", text(&row.endpoint), event.endpoint.clone());
            self.compare(this, "remote", text(&row.remote), event.peer.clone());
            for (column, stored) in [
                ("direction", &row.direction),
                ("protocol", &row.protocol),
                ("purpose", &row.purpose),
                ("host", &row.host),
                ("local", &row.local),
                ("proxy", &row.proxy),
            ] {
                self.compare(this, column, text(stored), told(column));
            }
            let security = row.security.as_ref().map(|Json(value)| model::canonical_json(value));
            self.compare(this, "security", security, opened.detail("security").map(model::canonical_json));
        } else if closed.is_none() || row.direction.is_some() {
            self.report.find(TABLE, &id, "it lacks the event of its opening");
        }
        if let (None, Some(dial)) = (closed, dial) {
            self.compare(this, "reason", text(&row.reason), dial.text("error").map(str::to_owned));
            self.compare(this, "failed", row.failed.map(|failed| failed.to_string()), Some("true".into()));
            let lasted = dial.detail("duration_micros").map(ToString::to_string);
            self.compare(
                this,
                "duration_micros",
                row.duration_micros.map(|micros| micros.to_string()),
                lasted,
            );
            return;
        }
        let Some(closed) = closed else {
            if row.closed_at.is_some() {
                self.report.find(TABLE, &id, "it is shown as closed and lacks the event of its closing");
            }
            let lost = events
                .iter()
                .rev()
                .find(|event| event.is(EventKind::ConnectionLost) || event.is(EventKind::ConnectionFound));
            let lost = lost.filter(|event| event.is(EventKind::ConnectionLost));
            self.compare(
                this,
                "lost_at",
                row.lost_at.map(micros),
                lost.map(|lost| lost.event.at.to_string()),
            );
            return;
        };
        self.compare(this, "closed_at", row.closed_at.map(micros), Some(closed.event.at.to_string()));
        self.compare(this, "reason", text(&row.reason), closed.text("reason").map(str::to_owned));
        let number = |key: &str| closed.detail(key).map(ToString::to_string);
        let failed = row.failed.map(|failed| failed.to_string());
        self.compare(this, "failed", failed, number("failed"));
        for (column, stored) in [
            ("bytes_in", row.bytes_in),
            ("bytes_out", row.bytes_out),
            ("duration_micros", row.duration_micros),
            ("requests", row.requests),
        ] {
            self.compare(this, column, stored.map(|stored| stored.to_string()), number(column));
        }
    }
}
