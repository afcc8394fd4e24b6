//! Events as they are stored, in the order of their positions: what sealing, verification and retention
//! read. A row that was tampered with until it is no event any more is still read as a row.

use super::hash::EventColumns;
use crate::Store;
use crate::either::on;
use crate::seal::Bound;
use model::{PeerText, Result, Sha256, Timestamp};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use std::collections::VecDeque;
use uuid::Uuid;

/// Rows read at once.
const PAGE: i64 = 1000;
/// Longest summary of a row in a finding, in characters.
const SUMMARY: usize = 1000;

/// One row.
pub(crate) struct StoredRow {
    pub(crate) bound: Bound,
    /// `None` when a column cannot be read as what it should be.
    pub(crate) columns: Option<EventColumns>,
}

impl StoredRow {
    /// The hash of what is stored; `None` when it is no event any more.
    pub(crate) fn hash(&self) -> Option<Sha256> {
        self.columns.as_ref().map(EventColumns::hash)
    }

    /// What is stored in one line, for a finding.
    pub(crate) fn summary(&self) -> String {
        let text = match &self.columns {
            Some(columns) => columns.canonical().chars().take(SUMMARY).collect(),
            None => "not readable as an event".to_owned(),
        };
        PeerText::from(text.as_str()).as_str().to_owned()
    }
}

macro_rules! from_row {
    ($($row:ty),*) => {$(
        impl<'r> sqlx::FromRow<'r, $row> for StoredRow {
            fn from_row(row: &'r $row) -> Result<Self, sqlx::Error> {
                let bound = Bound {
                    position: row.try_get("position")?,
                    // An id that is no UUID is found as an added event without a name.
                    id: row.try_get("id").unwrap_or_default(),
                };
                let columns = || -> Result<EventColumns, sqlx::Error> {
                    let detail: String = row.try_get("detail")?;
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
                        detail: serde_json::from_str(&detail).map_err(|e| sqlx::Error::Decode(e.into()))?,
                    })
                };
                Ok(Self { bound, columns: columns().ok() })
            }
        }
    )*};
}
from_row!(SqliteRow, PgRow);

/// Walks through a range of the trail in order, a page at a time.
pub(crate) struct EventCursor<'a> {
    store: &'a Store,
    /// Where the next page begins; the row there is already read when `after` is set.
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

    /// The next row, left where it is.
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
        let rows: Vec<StoredRow> = self
            .store
            .read("read the audit trail", async {
                on!(self.store.pool(), c => sqlx::query_as(
                    "SELECT position, id, at, node, kind, severity, actor, flow, endpoint, partner, \
                     transfer_id, delivery_id, connection_id, peer, CAST(detail AS TEXT) AS detail \
                     FROM audit_events \
                     WHERE position >= $1 AND position <= $3 \
                     AND (position, id) >= ($1, $2) AND (position, id) < ($3, $4) \
                     AND NOT ($5 AND position = $1 AND id = $2) \
                     ORDER BY position, id LIMIT $6",
                )
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
