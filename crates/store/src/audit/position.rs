//! The order in which events became part of the trail, and up to where it is complete.
//!
//! An event's position is the number of the transaction that wrote it (Postgres) or its sequence
//! (SQLite). Below the horizon nothing can appear any more. A Postgres database that was restored from a
//! dump lives in a server that counts transactions from the beginning again: then the function
//! `audit_position` gets an offset, so that new events come behind all that is sealed.

use crate::Store;
use crate::command::Command;
use crate::either::{Backend, on};
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::Result;

impl Store {
    /// The first position that can still get an event.
    pub(crate) async fn audit_horizon(&self) -> Result<i64> {
        self.read("read the audit trail's horizon", async {
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

    /// Sees to it that new events come behind the newest seal.
    pub(crate) async fn raise_positions(&self) -> Result<()> {
        match self.backend() {
            Backend::Sqlite => Ok(()),
            Backend::Postgres => self.write(RaisePositions).await,
        }
    }
}

struct RaisePositions;

#[async_trait]
impl Command for RaisePositions {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, sqlite _c => Ok(()), postgres c => {
            let sealed = "SELECT coalesce((SELECT to_position FROM audit_seals ORDER BY seq DESC LIMIT 1), 0)";
            let behind = |sealed: i64, here: i64| here < sealed;
            let position = "SELECT audit_position(pg_current_xact_id()::text::bigint)";
            let here: i64 = sqlx::query_scalar(position).fetch_one(&mut *c).await?;
            if !behind(sqlx::query_scalar(sealed).fetch_one(&mut *c).await?, here) {
                return Ok(());
            }
            // Writers end first; another node may have done it in the meantime.
            sqlx::query("SELECT set_config('lock_timeout', '5s', true)").execute(&mut *c).await?;
            sqlx::query("LOCK TABLE audit_events IN ACCESS EXCLUSIVE MODE")
                .execute(&mut *c)
                .await
                .map_err(super::partition::busy)?;
            sqlx::query("SELECT set_config('lock_timeout', '0', true)").execute(&mut *c).await?;
            let here: i64 = sqlx::query_scalar(position).fetch_one(&mut *c).await?;
            let sealed: i64 = sqlx::query_scalar(sealed).fetch_one(&mut *c).await?;
            if !behind(sealed, here) {
                return Ok(());
            }
            let last: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM audit_events")
                .fetch_one(&mut *c)
                .await?;
            let transaction: i64 =
                sqlx::query_scalar("SELECT pg_current_xact_id()::text::bigint").fetch_one(&mut *c).await?;
            let offset = sealed.max(last) + 1 - transaction;
            tracing::warn!(
                offset,
                "this database was restored into another server: audit positions continue behind the newest seal"
            );
            sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
                "CREATE OR REPLACE FUNCTION audit_position(transaction bigint) RETURNS bigint \
                 LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT transaction + {offset}'"
            )))
            .execute(&mut *c)
            .await?;
            Ok(())
        })
    }
}
