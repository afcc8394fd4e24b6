//! Events at places that no seal reaches.

use super::{Finding, VerifyReport};
use crate::Store;
use crate::audit::{StoredRow, columns};
use crate::either::{Either, on};
use model::Result;
use sqlx::AssertSqlSafe;

/// Such events that are named, at most.
const NAMED: i64 = 100;

/// The place that the next transaction would get, seen from the statement's own snapshot: what it shows was
/// written before. A transaction's own number is no measure, as older ones may still be under way.
const NEXT: (&str, &str) = (
    "(SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_events'), 0) + 1)",
    "(SELECT audit_position(pg_snapshot_xmax(pg_current_snapshot())::text::bigint))",
);

impl Store {
    /// Finds events beyond all that was written, and a replaced source of places.
    pub(super) async fn find_beyond(&self, report: &mut VerifyReport) -> Result<()> {
        if let Either::Postgres(pool) = self.pool() {
            let body: Option<String> = self
                .read("read how events get their places", async {
                    sqlx::query_scalar(
                        "SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('audit_position(bigint)')",
                    )
                    .fetch_optional(pool)
                    .await
                })
                .await?;
            let body = body.unwrap_or_default();
            if body.strip_prefix("SELECT transaction + ").and_then(|by| by.parse::<i64>().ok()).is_none() {
                report.find(Finding::PositionsAltered { found: body });
                return Ok(());
            }
        }
        let next = on!(self.pool(), sqlite _c => NEXT.0, postgres _c => NEXT.1);
        // A database that was just restored into a server which counts anew has all its seals beyond what
        // that one counted: the next run of sealing moves its count behind them.
        let sql = format!(
            "SELECT {} FROM audit_events WHERE position >= {next} AND {next} >= \
             coalesce((SELECT to_position FROM audit_seals ORDER BY seq DESC LIMIT 1), 0) \
             ORDER BY position, id LIMIT $1",
            columns(self.backend())
        );
        let rows: Vec<StoredRow> = self
            .read("look for events beyond the trail's end", async {
                on!(self.pool(), c => sqlx::query_as(AssertSqlSafe(sql)).bind(NAMED).fetch_all(c).await)
            })
            .await?;
        for row in rows {
            let stored = row.summary();
            report.find(Finding::EventBeyond { event: row.bound.id, stored });
        }
        Ok(())
    }
}
