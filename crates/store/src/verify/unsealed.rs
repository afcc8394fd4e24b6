//! Events at positions that no seal covers, and the database function that assigns positions.

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

/// What the database says gives an event its place, without the brackets and blanks that each version writes as it likes.
const DEFAULT: &str = "audit_positionpg_current_xact_id::text::bigint";

impl Store {
    /// Finds events beyond all that was written, and a replaced source of places.
    pub(super) async fn find_beyond(&self, report: &mut VerifyReport) -> Result<()> {
        for finding in self.out_of_reach(NAMED).await? {
            report.find(finding);
        }
        Ok(())
    }

    /// A replaced source of places, or else the events beyond all that was written, at most so many.
    pub(crate) async fn out_of_reach(&self, at_most: i64) -> Result<Vec<Finding>> {
        if let Some(found) = self.altered_positions().await? {
            return Ok(vec![Finding::PositionsAltered { found }]);
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
            .read("look for events after the end of the trail", async {
                on!(self.pool(), c => sqlx::query_as(AssertSqlSafe(sql)).bind(at_most).fetch_all(c).await)
            })
            .await?;
        let beyond =
            |row: StoredRow| Finding::EventWithoutSeal { event: row.bound.id, stored: row.summary() };
        Ok(rows.into_iter().map(beyond).collect())
    }

    /// What gives events their places, when that is not what Waybill made; `None` when it is.
    async fn altered_positions(&self) -> Result<Option<String>> {
        let Either::Postgres(pool) = self.pool() else { return Ok(None) };
        let (body, default): (Option<String>, Option<String>) = self
            .read("read how the database assigns positions to events", async {
                sqlx::query_as(
                    "SELECT (SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('audit_position(bigint)')), \
                     (SELECT pg_get_expr(d.adbin, d.adrelid) FROM pg_attrdef d JOIN pg_attribute a \
                      ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
                      WHERE d.adrelid = to_regclass('audit_events') AND a.attname = 'position')",
                )
                .fetch_one(pool)
                .await
            })
            .await?;
        let (body, default) = (body.unwrap_or_default(), default.unwrap_or_default());
        if body.strip_prefix("SELECT transaction + ").and_then(|by| by.parse::<i64>().ok()).is_none() {
            return Ok(Some(format!("the body of audit_position is now {body:?}")));
        }
        let bare = default.replace(['(', ')', ' '], "");
        Ok((bare != DEFAULT).then(|| format!("the default of audit_events.position is now {default:?}")))
    }
}
