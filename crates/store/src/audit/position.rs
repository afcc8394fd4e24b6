//! The positions of events in the trail, and the horizon below which the trail is complete.
//!
//! An event's position is the number of the transaction that wrote it (Postgres) or its sequence (SQLite). No new
//! event can appear below the horizon. If a Postgres database is restored from a dump into another server, that
//! server counts transactions from the beginning: then the function `audit_position` gets an offset, so that new
//! events come after everything that is sealed.

use crate::Store;
use crate::command::Command;
use crate::either::{Backend, on};
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Error, ErrorKind, Result};

impl Store {
    /// The lowest position that a new event can still get.
    pub(crate) async fn audit_horizon(&self) -> Result<i64> {
        self.read("read how far the audit trail is complete", async {
            on!(self.pool(),
                sqlite c => sqlx::query_scalar(
                    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit_events'), 0) + 1",
                )
                .fetch_one(c)
                .await,
                postgres c => sqlx::query_scalar(
                    "SELECT audit_position(pg_snapshot_xmin(pg_current_snapshot())::text::bigint)",
                )
                .fetch_one(c)
                .await)
        })
        .await
    }

    /// Makes sure that new events get positions after the newest seal.
    pub(crate) async fn raise_positions(&self) -> Result<()> {
        match self.backend() {
            Backend::Sqlite => Ok(()),
            Backend::Postgres => self.write(RaisePositions { all: false }).await,
        }
    }

    /// Makes sure that every existing event can be sealed, whatever its position: new events come after all of them.
    /// Uses the function that Waybill created.
    pub(crate) async fn take_in_all_positions(&self) -> Result<()> {
        match self.backend() {
            // New events come after the last row without further action.
            Backend::Sqlite => Ok(()),
            Backend::Postgres => self.write(RaisePositions { all: true }).await,
        }
    }
}

/// An event above this position leaves too few positions for later ones.
const HIGHEST: i64 = i64::MAX / 4 * 3;

struct RaisePositions {
    all: bool,
}

#[async_trait]
impl Command for RaisePositions {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, sqlite _c => Ok(()), postgres c => {
            let sealed = "SELECT coalesce((SELECT to_position FROM audit_seals ORDER BY seq DESC LIMIT 1), 0)";
            let behind = |sealed: i64, here: i64| here < sealed;
            let position = "SELECT audit_position(pg_current_xact_id()::text::bigint)";
            let here: i64 = sqlx::query_scalar(position).fetch_one(&mut *c).await?;
            if !self.all && !behind(sqlx::query_scalar(sealed).fetch_one(&mut *c).await?, here) {
                return Ok(());
            }
            // Running writers must end first; another node may have done it in the meantime.
            sqlx::query("SELECT set_config('lock_timeout', '5s', true)").execute(&mut *c).await?;
            sqlx::query("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
                .execute(&mut *c)
                .await
                .map_err(super::partition::busy)?;
            sqlx::query("SELECT set_config('lock_timeout', '0', true)").execute(&mut *c).await?;
            let here: i64 = sqlx::query_scalar(position).fetch_one(&mut *c).await?;
            let sealed: i64 = sqlx::query_scalar(sealed).fetch_one(&mut *c).await?;
            if !self.all && !behind(sealed, here) {
                return Ok(());
            }
            let last: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM audit_events")
                .fetch_one(&mut *c)
                .await?;
            // Older transactions that have not written an event yet still will, and those events must also come after
            // the newest seal.
            let oldest = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
            let oldest: i64 = sqlx::query_scalar(oldest).fetch_one(&mut *c).await?;
            let last = sealed.max(last);
            if last > HIGHEST {
                return Err(Error::permanent(ErrorKind::IntegrityFailed, "set the next position of the audit trail")
                    .with("position", last)
                    .advice("Waybill did not write the event with this position: keep a copy of this row of audit_events, and remove it by hand")
                    .into());
            }
            let sql = "SELECT prosrc FROM pg_proc WHERE oid = to_regprocedure('audit_position(bigint)')";
            let body: Option<String> = sqlx::query_scalar(sql).fetch_optional(&mut *c).await?;
            let offset = body.as_deref().and_then(|body| body.strip_prefix("SELECT transaction + ")?.parse::<i64>().ok());
            let offset = match offset {
                // It is the function that Waybill created, and its offset is large enough.
                Some(offset) if here > last && offset >= 0 => offset,
                _ => last + 1 - oldest,
            };
            tracing::warn!(offset, "audit positions continue after the newest seal");
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint \
                 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT transaction + {offset}'; \
                 ALTER TABLE audit_events ALTER COLUMN position \
                 SET DEFAULT audit_position(pg_current_xact_id()::text::bigint)"
            )))
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }
}
