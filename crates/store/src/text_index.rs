//! The indexes by which PostgreSQL finds a part of a text: trigrams, by its extension `pg_trgm`.
//!
//! They are no part of the migrations, as the extension may be missing, or may be made by the database's
//! administrator only. Without them a search looks through all rows of its range. SQLite has none.
//!
//! On a table that is small they are made at the start; on a large one in the background, without keeping
//! writers waiting. Each month of the audit trail has its own.

use crate::either::Connection;
use crate::fault::database_error;
use crate::target::Target;
use model::{Error, Result};
use sqlx::{AssertSqlSafe, PgConnection};

/// What the index on a month of the audit trail is over; searches name the same expression.
pub(crate) const EVENT_TEXT: &str = "CAST(detail AS TEXT) || ' ' || coalesce(peer, '')";
/// Larger tables are indexed in the background.
const LARGE: i64 = 64 << 20;

/// Whether parts of texts are found by an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextIndex {
    /// By trigrams: three letters or more are found whatever the range.
    Trigrams,
    /// SQLite looks through all rows of the range.
    Scan,
    /// PostgreSQL looks through all rows of the range, as the extension is missing: why.
    Missing(String),
}

impl TextIndex {
    /// Sees to the extension and, except for a guest, to the indexes of tables that are small. Answers
    /// also whether others are left to [`make_rest`].
    pub(crate) async fn open(connection: &mut Connection, guest: bool) -> Result<(Self, bool)> {
        let Connection::Postgres(c) = connection else { return Ok((Self::Scan, false)) };
        const OPERATION: &str = "see to the indexes for searching text";
        let error = |error| database_error(error, OPERATION);
        if !has_extension(c).await.map_err(error)? {
            if guest {
                return Ok((Self::Missing("it is not installed".to_owned()), false));
            }
            let made = sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_trgm").execute(&mut *c).await;
            // Another node may have made it at the same moment.
            if let Err(why) = made
                && !has_extension(c).await.map_err(error)?
            {
                return Ok((Self::Missing(why.to_string()), false));
            }
        }
        let mut left = false;
        if !guest {
            let lock_timeout = |value: &str| AssertSqlSafe(format!("SET lock_timeout = '{value}'"));
            sqlx::raw_sql(lock_timeout("2s")).execute(&mut *c).await.map_err(error)?;
            for table in tables(c).await.map_err(error)?.iter().filter(|table| !table.is_indexed) {
                // One that writers hold is left to the background too.
                left |= table.bytes >= LARGE || make(c, &table.name, false).await.is_err();
            }
            sqlx::raw_sql(lock_timeout("0")).execute(&mut *c).await.map_err(error)?;
        }
        Ok((Self::Trigrams, left))
    }

    /// For the operator.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self::Missing(why) = self else { return None };
        Some(format!(
            "searches for a part of a text look through all rows of their time range, as PostgreSQL's extension \
             pg_trgm is missing ({why}); have it made with CREATE EXTENSION pg_trgm and start Waybill again"
        ))
    }
}

/// Makes what is still missing, table by table, while writers go on.
pub(crate) async fn make_rest(target: Target) {
    let made = async {
        let mut connection = target.connect().await?;
        if let Connection::Postgres(c) = &mut connection {
            let error = |error| database_error(error, "make an index for searching text");
            for table in tables(c).await.map_err(error)?.iter().filter(|table| !table.is_indexed) {
                tracing::info!(
                    table = table.name,
                    "an index for searching text is being made; nothing waits for it"
                );
                make(c, &table.name, true).await.map_err(error)?;
            }
        }
        connection.close().await;
        Ok::<(), Error>(())
    };
    if let Err(error) = made.await {
        tracing::warn!(error = %error.chain(), "an index for searching text was not made; it is tried again at the next start");
    }
}

/// The index of a month that is being made, where the extension is there.
pub(crate) async fn for_new_month(c: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    if has_extension(c).await? { make(c, table, false).await } else { Ok(()) }
}

/// Whether indexes over trigrams can be named as they are here: also that the extension is on the path.
async fn has_extension(c: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM pg_opclass WHERE opcname = 'gin_trgm_ops' AND pg_opclass_is_visible(oid))")
        .fetch_one(c)
        .await
}

#[derive(sqlx::FromRow)]
struct Table {
    name: String,
    bytes: i64,
    is_indexed: bool,
}

/// The tables that are searched: the transfers, and each month of the audit trail.
async fn tables(c: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.relname::text AS name, pg_relation_size(c.oid) AS bytes, EXISTS (SELECT 1 FROM pg_index i \
           JOIN pg_class x ON x.oid = i.indexrelid WHERE i.indrelid = c.oid AND i.indisvalid \
           AND x.relname = c.relname || '_by_text') AS is_indexed \
         FROM pg_class c WHERE c.oid = 'transfers'::regclass \
           OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_events'::regclass) \
         ORDER BY c.relname DESC",
    )
    .fetch_all(c)
    .await
}

async fn make(c: &mut PgConnection, table: &str, beside_writers: bool) -> Result<(), sqlx::Error> {
    let text = if table == "transfers" { "file_name" } else { EVENT_TEXT };
    let index = format!("{table}_by_text");
    if beside_writers {
        // What an interrupted try left is not used, and would be in the way.
        sqlx::raw_sql(AssertSqlSafe(format!("DROP INDEX CONCURRENTLY IF EXISTS {index}")))
            .execute(&mut *c)
            .await?;
    }
    let how = if beside_writers { "CONCURRENTLY" } else { "" };
    let statement =
        format!("CREATE INDEX {how} IF NOT EXISTS {index} ON {table} USING gin (lower({text}) gin_trgm_ops)");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(c).await.map(|_| ())
}
