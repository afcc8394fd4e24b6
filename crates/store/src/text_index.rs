//! The indexes by which PostgreSQL finds a part of a text: trigrams, by its extension `pg_trgm`.
//!
//! They are no part of the migrations, as the extension may be missing, or may be made by the database's
//! administrator only, and as they cost whoever writes: `database.text_search_indexes` switches them off.
//! Without them a search looks through all rows of its range. SQLite has none.
//!
//! Each month of the audit trail has its own. On a table without rows it is made at the start; all others are
//! made in the background, without keeping writers waiting, by one node at a time. What an interrupted node
//! left half made is dropped and made again.

use crate::either::Connection;
use crate::fault::database_error;
use crate::target::Target;
use model::Result;
use sqlx::{AssertSqlSafe, PgConnection};
use std::collections::HashSet;
use std::time::Duration;

/// What the index on a month of the audit trail is over; searches name the same expression.
pub(crate) const EVENT_TEXT: &str = "CAST(detail AS TEXT) || ' ' || coalesce(peer, '')";
/// Time between two looks at whether another node is done, and the first one between two tries.
const PAUSE: Duration = Duration::from_secs(2);
/// Longest time between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// Whether parts of texts are found by an index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TextIndex {
    /// By trigrams: three letters or more are found whatever the range.
    Trigrams,
    /// SQLite looks through all rows of the range.
    Scan,
    /// PostgreSQL looks through all rows of the range, as the extension is missing: why.
    Missing(String),
    /// PostgreSQL looks through all rows of the range, as the settings say so.
    Off,
}

impl TextIndex {
    /// Makes the extension where it is missing and, except beside a gateway, the indexes of tables without rows. Answers
    /// also whether others are left to [`build_or_drop_all`].
    pub(crate) async fn open(
        connection: &mut Connection,
        wanted: bool,
        beside_gateway: bool,
    ) -> Result<(Self, bool)> {
        let Connection::Postgres(c) = connection else { return Ok((Self::Scan, false)) };
        const OPERATION: &str = "build the text search indexes";
        let error = |error| database_error(error, OPERATION);
        if !wanted {
            let left =
                !beside_gateway && tables(c).await.map_err(error)?.iter().any(|table| table.differs(false));
            return Ok((Self::Off, left));
        }
        if !has_extension(c).await.map_err(error)? {
            if beside_gateway {
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
        if beside_gateway {
            return Ok((Self::Trigrams, false));
        }
        let lock_timeout = |value: &str| AssertSqlSafe(format!("SET lock_timeout = '{value}'"));
        sqlx::raw_sql(lock_timeout("2s")).execute(&mut *c).await.map_err(error)?;
        for table in tables(c).await.map_err(error)?.iter().filter(|table| table.is_valid.is_none()) {
            // One that writers hold, or that another node is at, is left to the background too.
            if is_empty(c, &table.name).await.map_err(error)?
                && let Err(why) = make(c, &table.name, "").await
            {
                tracing::debug!(table = table.name, error = %why, "its text search index will be built later");
            }
        }
        sqlx::raw_sql(lock_timeout("0")).execute(&mut *c).await.map_err(error)?;
        let left = tables(c).await.map_err(error)?.iter().any(|table| table.differs(true));
        Ok((Self::Trigrams, left))
    }

    /// For the operator.
    pub(crate) fn warning(&self) -> Option<String> {
        let Self::Missing(why) = self else { return None };
        Some(format!(
            "searches for a part of a text read all rows of their time range, because PostgreSQL's \
            extension pg_trgm is missing ({why}); install it with CREATE EXTENSION pg_trgm, then restart \
            Waybill"
        ))
    }
}

/// Builds what is still missing, or where indexes are not wanted drops what is there, table by table, while
/// writers go on. Tried again without an end: the database may be away for as long as it takes.
pub(crate) async fn build_or_drop_all(target: Target, wanted: bool) {
    let mut pauses = Pauses::default();
    loop {
        let pause = match build_or_drop_once(&target, wanted, &mut pauses).await {
            Ok(true) => return,
            // Another node is at it.
            Ok(false) => PAUSE,
            Err(error) => {
                let pause = pauses.after_failure();
                tracing::warn!(
                    error = error.chain(),
                    again_in_seconds = pause.as_secs(),
                    "{} failed; until it succeeds, searches read all rows. Check that the database answers \
                    and has free disk space",
                    if wanted { "building a text search index" } else { "dropping a text search index" }
                );
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// How long to wait between tries: longer after each failure, and as at first after each success.
#[derive(Default)]
struct Pauses {
    failures: u32,
}

impl Pauses {
    fn after_failure(&mut self) -> Duration {
        let pause = PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        pause
    }

    fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Answers false when another node is at it.
async fn build_or_drop_once(target: &Target, wanted: bool, pauses: &mut Pauses) -> Result<bool> {
    let mut connection = target.connect().await?;
    let Connection::Postgres(c) = &mut connection else { return Ok(true) };
    let operation = if wanted { "build a text search index" } else { "drop a text search index" };
    let error = |error| database_error(error, operation);
    // Asked for again and again instead of waited for: whoever makes an index waits for the end of every
    // statement that began before, also of one that waits for this lock. The session has it, and a server's
    // process that still makes what its node gave up.
    let is_mine: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('waybill indexes for searching text'))")
            .fetch_one(&mut *c)
            .await
            .map_err(error)?;
    if !is_mine {
        connection.close().await;
        pauses.succeeded();
        return Ok(false);
    }
    let (mut seen, mut failed) = (HashSet::new(), None);
    loop {
        // Looked at again each time: months come and go meanwhile.
        let tables = tables(c).await.map_err(error)?;
        let next = tables.into_iter().find(|table| table.differs(wanted) && !seen.contains(&table.name));
        let Some(table) = next else { break };
        tracing::info!(
            table = table.name,
            "{} the text search index of a table; writers do not wait for it",
            if wanted { "building" } else { "dropping" }
        );
        match build_or_drop(c, &table, wanted).await {
            Ok(()) => pauses.succeeded(),
            Err(why) => failed = Some(error(why).with("table", &table.name)),
        }
        seen.insert(table.name);
    }
    // The lock goes with the session.
    connection.close().await;
    failed.map_or(Ok(true), Err)
}

async fn build_or_drop(c: &mut PgConnection, table: &Table, wanted: bool) -> Result<(), sqlx::Error> {
    if table.is_valid.is_some() {
        let statement = format!("DROP INDEX CONCURRENTLY IF EXISTS {}", index_of(&table.name));
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut *c).await?;
    }
    if wanted { make(c, &table.name, "CONCURRENTLY").await } else { Ok(()) }
}

/// The index of a month that is being made, where the extension is there.
pub(crate) async fn for_new_month(c: &mut PgConnection, table: &str) -> Result<(), sqlx::Error> {
    if has_extension(c).await? { make(c, table, "").await } else { Ok(()) }
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
    /// Whether its index can be used; `None` where there is none. One that was not made to its end is there
    /// and of no use.
    is_valid: Option<bool>,
}

impl Table {
    fn differs(&self, wanted: bool) -> bool {
        if wanted { self.is_valid != Some(true) } else { self.is_valid.is_some() }
    }
}

/// The tables that are searched: the transfers, and each month of the audit trail.
async fn tables(c: &mut PgConnection) -> Result<Vec<Table>, sqlx::Error> {
    sqlx::query_as(
        "SELECT c.relname::text AS name, (SELECT i.indisvalid FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid \
           WHERE i.indrelid = c.oid AND x.relname = c.relname || '_by_text') AS is_valid \
         FROM pg_class c WHERE c.oid = 'transfers'::regclass \
           OR c.oid IN (SELECT inhrelid FROM pg_inherits WHERE inhparent = 'audit_events'::regclass) \
         ORDER BY c.relname DESC",
    )
    .fetch_all(c)
    .await
}

async fn is_empty(c: &mut PgConnection, table: &str) -> Result<bool, sqlx::Error> {
    let sql = format!("SELECT NOT EXISTS (SELECT 1 FROM {table})");
    sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(c).await
}

fn index_of(table: &str) -> String {
    format!("{table}_by_text")
}

async fn make(c: &mut PgConnection, table: &str, how: &str) -> Result<(), sqlx::Error> {
    let text = if table == "transfers" { "file_name" } else { EVENT_TEXT };
    let statement = format!(
        "CREATE INDEX {how} IF NOT EXISTS {} ON {table} USING gin (lower({text}) gin_trgm_ops)",
        index_of(table)
    );
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(c).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_without_an_end_to_tries_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::default();
        let seconds: Vec<u64> = (0..10).map(|_| pauses.after_failure().as_secs()).collect();
        assert_eq!(seconds, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        (0..100).for_each(|_| assert!(pauses.after_failure() <= LONGEST_PAUSE));
        pauses.succeeded();
        assert_eq!(pauses.after_failure(), PAUSE);
    }
}
