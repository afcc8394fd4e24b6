//! Which offers a poll may skip.

use crate::command::Command;
use crate::either::{Backend, on};
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{digest, word};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{OfferState, RemotePath, Result, SkipReason, Timestamp};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, FromRow};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// The most keys of one query.
const BATCH: usize = 5000;

/// Earlier attempts to stage or settle an offer.
#[derive(Clone, Debug, Default)]
pub struct EarlierTries {
    /// The number of failed attempts.
    pub failures: u32,
    /// What the last one stored in the offer's `source_data`.
    pub source_data: Map<String, Value>,
}

/// The record of an offer that must not be offered now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownOffer {
    /// Its state.
    pub state: OfferState,
    /// Whether it stays at the source: kept as the flow says, or refused.
    pub kept: bool,
    /// When it is tried again.
    pub next_at: Option<Timestamp>,
    /// The last error.
    pub error: Option<String>,
}

impl KnownOffer {
    /// Why a poll skips it.
    #[must_use]
    pub const fn skip_reason(&self) -> SkipReason {
        match self.state {
            OfferState::BackedOff => SkipReason::BackedOff,
            OfferState::Refused => SkipReason::Refused,
            _ if self.kept => SkipReason::Kept,
            _ => SkipReason::TakenAlready,
        }
    }
}

#[derive(FromRow)]
struct KnownRow {
    identity: String,
    state: String,
    kept: bool,
    next_at: Option<Timestamp>,
    error: Option<String>,
}

impl Store {
    /// The identity keys ([`model::OfferIdentity::key`]) of these that must not be offered now: recorded and not yet
    /// settled, refused, backed off until later, or kept at the source.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known(&self, keys: &[String], now: Timestamp) -> Result<HashSet<String>> {
        let by_digest = by_digest(keys);
        let found: Vec<(String,)> = self
            .rows_of(
                "look up known offers",
                "SELECT identity FROM offers WHERE hides AND identity ANY_OF_THESE \
                 AND NOT (state = 'backed_off' AND next_at <= $2)",
                &by_digest,
                Some(now),
            )
            .await?;
        Ok(asked_for(&by_digest, found))
    }

    /// The keys of done files of these that came with an offer which is recorded and not yet settled, refused, or kept at
    /// the source. Offers that could not be staged have not used theirs.
    ///
    /// # Errors
    /// The database failed.
    pub async fn used_done_files(&self, keys: &[String]) -> Result<HashSet<String>> {
        let by_digest = by_digest(keys);
        let found: Vec<(String,)> = self
            .rows_of(
                "look up used done files",
                "SELECT done_file FROM offers WHERE hides AND done_file ANY_OF_THESE \
                 AND state NOT IN ('seen', 'staging', 'backed_off')",
                &by_digest,
                None,
            )
            .await?;
        Ok(asked_for(&by_digest, found))
    }

    /// Those of these paths at which any flow has offers that are to be settled, whatever the endpoint: several flows and
    /// endpoints may lead to one place.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unsettled_paths(&self, paths: &[RemotePath]) -> Result<HashSet<RemotePath>> {
        let by_text: HashMap<String, &RemotePath> = paths.iter().map(|path| (path.to_text(), path)).collect();
        let found: Vec<(String,)> = self
            .rows_of(
                "look up offers that are not settled",
                "SELECT path FROM offers WHERE settle_outcome IS NOT NULL AND path ANY_OF_THESE",
                &by_text,
                None,
            )
            .await?;
        Ok(asked_for(&by_text, found))
    }

    /// The records of those identity keys that must not be offered now, by key.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known_offers(&self, keys: &[String]) -> Result<HashMap<String, KnownOffer>> {
        let by_digest = by_digest(keys);
        let found: Vec<KnownRow> = self
            .rows_of(
                "look up known offers",
                "SELECT identity, state, kept, next_at, error FROM offers WHERE hides AND identity ANY_OF_THESE",
                &by_digest,
                None,
            )
            .await?;
        let mut known = HashMap::new();
        for row in found {
            let state = word(OfferState::parse(&row.state), "offers.state", &row.state)?;
            let offer = KnownOffer { state, kept: row.kept, next_at: row.next_at, error: row.error };
            known.extend(by_digest.get(&row.identity).map(|key| ((*key).clone(), offer)));
        }
        Ok(known)
    }

    /// Rows by many values of a column, some thousands to a query. In `sql`, `ANY_OF_THESE` stands behind the column, and
    /// $2 for the time, where one is given.
    async fn rows_of<K, R>(
        &self,
        what: &'static str,
        sql: &'static str,
        of: &HashMap<String, &K>,
        at: Option<Timestamp>,
    ) -> Result<Vec<R>>
    where
        K: Sync,
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        let values: Vec<&str> = of.keys().map(String::as_str).collect();
        let these = match self.backend() {
            Backend::Sqlite => "IN (SELECT value FROM json_each($1))",
            Backend::Postgres => "= ANY($1)",
        };
        let sql = sql.replace("ANY_OF_THESE", these);
        let mut rows = Vec::new();
        for values in values.chunks(BATCH) {
            let sql = AssertSqlSafe(sql.clone());
            let found: Vec<R> = self
                .read(what, async {
                    on!(self.pool(),
                        sqlite c => {
                            let query = sqlx::query_as(sql).bind(Json(values));
                            let query = if let Some(at) = at { query.bind(at) } else { query };
                            query.fetch_all(c).await
                        },
                        postgres c => {
                            let query = sqlx::query_as(sql).bind(values);
                            let query = if let Some(at) = at { query.bind(at) } else { query };
                            query.fetch_all(c).await
                        },
                    )
                })
                .await?;
            rows.extend(found);
        }
        Ok(rows)
    }

    /// The record of earlier attempts to stage or settle an offer with this identity key; empty if it is unknown.
    ///
    /// # Errors
    /// The database failed.
    pub async fn earlier_tries(&self, key: &str) -> Result<EarlierTries> {
        let digest = digest(key);
        let row: Option<(i64, Json<Map<String, Value>>)> = self
            .read("look up a known offer", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT failures, source_data FROM offers WHERE hides AND identity = $1")
                    .bind(&digest).fetch_optional(c).await)
            })
            .await?;
        Ok(row.map_or_else(EarlierTries::default, |(failures, Json(source_data))| EarlierTries {
            failures: u32::try_from(failures).unwrap_or_default(),
            source_data,
        }))
    }

    /// Marks offers that stay at the source, or are being settled and may stay there, as still listed there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listed(&self, keys: &[String], at: Timestamp) -> Result<()> {
        self.still_listed(keys, false, at).await
    }

    /// The same, for offers whose done files are still listed there: they are remembered as long.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listed_done_files(&self, keys: &[String], at: Timestamp) -> Result<()> {
        self.still_listed(keys, true, at).await
    }

    async fn still_listed(&self, keys: &[String], by_done_file: bool, at: Timestamp) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            let digests = keys.iter().map(|key| digest(key)).collect();
            self.write(Listed { digests, by_done_file, at }).await?;
        }
        Ok(())
    }

    /// Deletes the offers that stayed at the source (kept or refused) and were not listed since `at`, so that a file
    /// with the same name, size and time is new. Call it only after a complete listing. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_unlisted(&self, flow: &str, endpoint: &str, at: Timestamp) -> Result<u64> {
        self.write(ForgetUnlisted { flow: flow.to_owned(), endpoint: endpoint.to_owned(), at }).await
    }
}

/// Keys by their digests, which are what the database has.
fn by_digest(keys: &[String]) -> HashMap<String, &String> {
    keys.iter().map(|key| (digest(key), key)).collect()
}

/// What was asked about, of the values that were found.
fn asked_for<K: Clone + Eq + Hash>(of: &HashMap<String, &K>, found: Vec<(String,)>) -> HashSet<K> {
    found.iter().filter_map(|(value,)| of.get(value)).map(|asked| (*asked).clone()).collect()
}

struct Listed {
    digests: Vec<String>,
    by_done_file: bool,
    at: Timestamp,
}

#[async_trait]
impl Command for Listed {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let (of_sqlite, of_postgres) = if self.by_done_file {
            (
                "UPDATE offers SET listed_at = $2 WHERE hides AND (kept OR settle_outcome IS NOT NULL) \
                 AND done_file IN (SELECT value FROM json_each($1)) AND (listed_at IS NULL OR listed_at < $2)",
                "UPDATE offers SET listed_at = $2 WHERE hides AND (kept OR settle_outcome IS NOT NULL) \
                 AND done_file = ANY($1) AND (listed_at IS NULL OR listed_at < $2)",
            )
        } else {
            (
                "UPDATE offers SET listed_at = $2 WHERE hides AND (kept OR settle_outcome IS NOT NULL) \
                 AND identity IN (SELECT value FROM json_each($1)) AND (listed_at IS NULL OR listed_at < $2)",
                "UPDATE offers SET listed_at = $2 WHERE hides AND (kept OR settle_outcome IS NOT NULL) \
                 AND identity = ANY($1) AND (listed_at IS NULL OR listed_at < $2)",
            )
        };
        on!(tx,
            sqlite c => sqlx::query(of_sqlite)
                .bind(Json(&self.digests)).bind(self.at).execute(c).await.map(|_| ()),
            postgres c => sqlx::query(of_postgres)
                .bind(&self.digests).bind(self.at).execute(c).await.map(|_| ()),
        )?;
        Ok(())
    }
}

struct ForgetUnlisted {
    flow: String,
    endpoint: String,
    at: Timestamp,
}

#[async_trait]
impl Command for ForgetUnlisted {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        Ok(on!(tx, c => sqlx::query(
            "UPDATE offers SET hides = false, kept = false WHERE kept AND flow = $1 AND endpoint = $2 \
             AND listed_at < $3")
            .bind(&self.flow).bind(&self.endpoint).bind(self.at)
            .execute(c).await.map(|done| done.rows_affected()))?)
    }
}
