//! Stored events in the order of their positions, for sealing, verification and retention. A row that was changed so
//! that it is no longer a valid event is still read as a row.

use super::hash::EventColumns;
use crate::Store;
use crate::either::{Backend, on};
use crate::seal::Bound;
use chrono::SecondsFormat;
use model::{PeerText, Result, Sha256, Timestamp, canonical_json};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use std::collections::VecDeque;
use uuid::Uuid;

/// The number of rows read at once.
const PAGE: i64 = 1000;
/// The longest summary of a row in a finding, in characters.
const SUMMARY: usize = 1000;

/// One row.
pub(crate) struct StoredRow {
    pub(crate) bound: Bound,
    /// `None` if a column cannot be read, or is stored in a form that Waybill never writes: another reader could read
    /// another value than the one that was hashed.
    pub(crate) columns: Option<EventColumns>,
    /// The detail as text, for a finding about a row without valid columns.
    raw: Option<String>,
}

impl StoredRow {
    #[cfg(test)]
    pub(crate) fn of(bound: Bound, columns: EventColumns) -> Self {
        Self { bound, columns: Some(columns), raw: None }
    }

    /// The hash of what is stored; `None` if it is no longer a valid event.
    pub(crate) fn hash(&self) -> Option<Sha256> {
        self.columns.as_ref().map(EventColumns::hash)
    }

    /// A one-line summary of the row, for a finding.
    pub(crate) fn summary(&self) -> String {
        let text = match (&self.columns, &self.raw) {
            (Some(columns), _) => columns.canonical(),
            (None, Some(raw)) => format!("not in the form that Waybill writes; its detail: {raw}"),
            (None, None) => "not readable as an event".to_owned(),
        };
        let text: String = text.chars().take(SUMMARY).collect();
        PeerText::from(text.as_str()).as_str().to_owned()
    }
}

/// The columns that [`StoredRow`] reads. SQLite stores a value of any type in any column, a time in any spelling, and
/// JSON with duplicate keys, which readers treat differently: so the types and raw texts are read.
pub(crate) const fn columns(backend: Backend) -> &'static str {
    match backend {
        Backend::Sqlite => {
            "position, id, at, node, kind, severity, actor, flow, endpoint, partner, transfer_id, delivery_id, \
             connection_id, peer, CAST(detail AS TEXT) AS detail, CAST(at AS TEXT) AS at_text, \
             typeof(id) || ' ' || typeof(at) || ' ' || typeof(node) || ' ' || typeof(kind) || ' ' || \
             typeof(severity) || ' ' || typeof(actor) || ' ' || typeof(detail) AS kinds, \
             typeof(coalesce(flow, '')) || ' ' || typeof(coalesce(endpoint, '')) || ' ' || \
             typeof(coalesce(partner, '')) || ' ' || typeof(coalesce(peer, '')) AS texts, \
             typeof(coalesce(transfer_id, x'')) || ' ' || typeof(coalesce(delivery_id, x'')) || ' ' || \
             typeof(coalesce(connection_id, x'')) AS ids"
        }
        Backend::Postgres => {
            "position, id, at, node, kind, severity, actor, flow, endpoint, partner, transfer_id, delivery_id, \
             connection_id, peer, CAST(detail AS TEXT) AS detail"
        }
    }
}

/// A column whose value cannot be read as Waybill wrote it.
fn unlike(what: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(format!("{what} is not in the form that Waybill writes").into())
}

fn read_columns<'r, R: sqlx::Row>(row: &'r R, detail: &str) -> Result<EventColumns, sqlx::Error>
where
    &'static str: sqlx::ColumnIndex<R>,
    String: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Uuid: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Timestamp: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<String>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
    Option<Uuid>: sqlx::Decode<'r, R::Database> + sqlx::Type<R::Database>,
{
    let detail: Value = serde_json::from_str(detail).map_err(|e| sqlx::Error::Decode(e.into()))?;
    if has_fraction(&detail) {
        return Err(unlike("a number of its detail"));
    }
    Ok(EventColumns {
        id: row.try_get("id")?,
        at: row.try_get::<Timestamp, _>("at")?.timestamp_micros(),
        node: row.try_get("node")?,
        kind: row.try_get("kind")?,
        severity: row.try_get("severity")?,
        actor: row.try_get("actor")?,
        flow: row.try_get("flow")?,
        endpoint: row.try_get("endpoint")?,
        partner: row.try_get("partner")?,
        transfer: row.try_get::<Option<Uuid>, _>("transfer_id")?,
        delivery: row.try_get::<Option<Uuid>, _>("delivery_id")?,
        connection: row.try_get::<Option<Uuid>, _>("connection_id")?,
        peer: row.try_get("peer")?,
        detail,
    })
}

/// Waybill writes whole numbers only: `1.0` equals 1 in the database but is another text.
fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(has_fraction),
        Value::Object(fields) => fields.values().any(has_fraction),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

/// Whether SQLite stores exactly what Waybill writes.
fn as_written(row: &SqliteRow, columns: &EventColumns, detail: &str) -> Result<(), sqlx::Error> {
    let whole = |name, kinds: &str| Ok::<_, sqlx::Error>(row.try_get::<String, _>(name)? == kinds);
    if !whole("kinds", "blob text text text text text text")?
        || !whole("texts", "text text text text")?
        || !whole("ids", "blob blob blob")?
    {
        return Err(unlike("the kind of a column"));
    }
    let at = row.try_get::<Timestamp, _>("at")?.to_rfc3339_opts(SecondsFormat::AutoSi, false);
    if row.try_get::<String, _>("at_text")? != at {
        return Err(unlike("its time"));
    }
    if canonical_json(&columns.detail) != detail {
        return Err(unlike("its detail"));
    }
    Ok(())
}

macro_rules! from_row {
    ($($row:ty, $check:expr;)*) => {$(
        impl<'r> sqlx::FromRow<'r, $row> for StoredRow {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                let bound = Bound {
                    position: row.try_get("position")?,
                    // An id that is not a UUID is reported as an added event without a name.
                    id: row.try_get("id").unwrap_or_default(),
                };
                let raw: Result<String, _> = row.try_get("detail");
                let columns = raw.as_ref().ok().and_then(|detail| {
                    let columns = read_columns(row, detail).ok()?;
                    $check(row, &columns, detail).ok().map(|()| columns)
                });
                Ok(Self { bound, raw: if columns.is_some() { None } else { raw.ok() }, columns })
            }
        }
    )*};
}
from_row! {
    SqliteRow, as_written;
    PgRow, |_: &PgRow, _: &EventColumns, _: &str| Ok::<(), sqlx::Error>(());
}

/// Iterates over a range of the trail in order, one page at a time.
pub(crate) struct EventCursor<'a> {
    store: &'a Store,
    /// Where the next page begins; with `after`, the row at this place was already read.
    next: Bound,
    after: bool,
    to: Bound,
    page: VecDeque<StoredRow>,
    at_end: bool,
}

impl<'a> EventCursor<'a> {
    /// From `from` (inclusive) to `to` (exclusive).
    pub(crate) fn new(store: &'a Store, from: Bound, to: Bound) -> Self {
        Self { store, next: from, after: false, to, page: VecDeque::new(), at_end: false }
    }

    /// The next row, without consuming it.
    pub(crate) async fn peek(&mut self) -> Result<Option<&StoredRow>> {
        if self.page.is_empty() && !self.at_end {
            self.fetch().await?;
        }
        Ok(self.page.front())
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Option<StoredRow>> {
        self.peek().await?;
        Ok(self.page.pop_front())
    }

    async fn fetch(&mut self) -> Result<()> {
        // The plain comparison is for SQLite, which does not use an index for the pair.
        let sql = format!(
            "SELECT {} FROM audit_events \
                     WHERE position >= $1 AND position <= $3 \
                     AND (position, id) >= ($1, $2) AND (position, id) < ($3, $4) \
                     AND NOT ($5 AND position = $1 AND id = $2) \
                     ORDER BY position, id LIMIT $6",
            columns(self.store.backend())
        );
        let rows: Vec<StoredRow> = self
            .store
            .read("read the audit trail", async {
                on!(self.store.pool(), c => sqlx::query_as(AssertSqlSafe(sql))
                .bind(self.next.position)
                .bind(self.next.id)
                .bind(self.to.position)
                .bind(self.to.id)
                .bind(self.after)
                .bind(PAGE)
                .fetch_all(c)
                .await)
            })
            .await?;
        self.at_end = (rows.len() as i64) < PAGE;
        if let Some(last) = rows.last() {
            (self.next, self.after) = (last.bound, true);
        }
        self.page = rows.into();
        Ok(())
    }
}
