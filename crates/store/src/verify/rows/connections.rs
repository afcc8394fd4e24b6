//! Rows of connections against `connection.opened` and `connection.closed`, or `connection.failed` of a dial
//! that gave none.

use super::{Columns, Placed, RowReport, Run, Snapshot};
use crate::search::{CONNECTIONS, ConnectionRow};
use model::{EventKind, Result, Timestamp};
use serde_json::Value;
use sqlx::types::Json;
use uuid::Uuid;

const TABLE: &str = "connections";

impl Run<'_> {
    pub(super) async fn connections(&mut self, progress: &mut impl FnMut(&RowReport)) -> Result<()> {
        let mut after = None;
        loop {
            let mut page = Snapshot::begin(self.store).await?;
            let (rows, next) = self.page(&mut page, TABLE, (CONNECTIONS, "id"), after).await?;
            let rows: Vec<ConnectionRow> =
                rows.into_iter().filter(|row: &ConnectionRow| self.within(row.opened_at)).collect();
            let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
            let mut events = self.events_about(&mut page, "connection_id", &ids).await?;
            for row in rows {
                let events = events.remove(&row.id).unwrap_or_default();
                self.connection(row, &events);
            }
            progress(&self.report);
            if next.is_none() {
                break;
            }
            after = next;
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
            let control = row.control.map(|control| control.to_string());
            self.compare(this, "control", control, told("control"));
            let security = row.security.as_ref().map(|Json(value)| model::canonical_json(value));
            self.compare(this, "security", security, opened.detail("security").map(model::canonical_json));
        } else if closed.is_none() || row.direction.is_some() {
            self.report.find(TABLE, &id, "the event about its opening is missing");
        }
        let number = |number: Option<i64>| number.map(|number| number.to_string());
        let ended = vec![
            ("closed_at", row.closed_at.map(micros)),
            ("reason", text(&row.reason)),
            ("failed", row.failed.map(|failed| failed.to_string())),
            ("bytes_in", number(row.bytes_in)),
            ("bytes_out", number(row.bytes_out)),
            ("duration_micros", number(row.duration_micros)),
            ("requests", number(row.requests)),
        ];
        let told = match (closed, dial) {
            (Some(closed), _) => columns_when_closed(closed),
            (None, Some(dial)) => columns_when_failed(dial),
            (None, None) => ended.iter().map(|(column, _)| (*column, None)).collect(),
        };
        self.compare_with_last(this, &ended, &[told]);
        let lost = events
            .iter()
            .rev()
            .find(|event| event.is(EventKind::ConnectionLost) || event.is(EventKind::ConnectionStillOpen))
            .filter(|event| event.is(EventKind::ConnectionLost) && closed.or(dial).is_none());
        let told = lost.map(|lost| lost.event.at.to_string());
        self.compare(this, "lost_at", row.lost_at.map(micros), told);
    }
}

/// What the event of a connection's end says of it.
fn columns_when_closed(closed: &Placed) -> Columns {
    let told = |key: &str| closed.detail(key).map(ToString::to_string);
    vec![
        ("closed_at", Some(closed.event.at.to_string())),
        ("reason", closed.text("reason").map(str::to_owned)),
        ("failed", told("failed")),
        ("bytes_in", told("bytes_in")),
        ("bytes_out", told("bytes_out")),
        ("duration_micros", told("duration_micros")),
        ("requests", told("requests")),
    ]
}

/// What the event of a dial that gave no connection says of its row.
fn columns_when_failed(dial: &Placed) -> Columns {
    let lasted = dial.detail("duration_micros").and_then(Value::as_i64);
    let nothing = || Some("0".to_owned());
    vec![
        ("closed_at", lasted.map(|lasted| dial.event.at.saturating_add(lasted).to_string())),
        ("reason", dial.text("error").map(str::to_owned)),
        ("failed", Some("true".to_owned())),
        ("bytes_in", nothing()),
        ("bytes_out", nothing()),
        ("duration_micros", lasted.map(|lasted| lasted.to_string())),
        ("requests", nothing()),
    ]
}
