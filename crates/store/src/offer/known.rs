//! Which offers need not be looked at.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::digest;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Result, Timestamp};
use serde_json::{Map, Value};
use sqlx::types::Json;
use std::collections::{HashMap, HashSet};

/// Keys of one query.
const BATCH: usize = 5000;

/// Earlier tries to stage or settle an offer.
#[derive(Clone, Debug, Default)]
pub struct EarlierTries {
    /// Those that failed.
    pub failures: u32,
    /// What the last one left in the offer's `source_data`.
    pub source_data: Map<String, Value>,
}

impl Store {
    /// Of these identity keys ([`model::OfferIdentity::key`]), those that must not be offered now:
    /// recorded and not yet settled, refused, backed off until later, or kept at the source.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known(&self, keys: &[String], now: Timestamp) -> Result<HashSet<String>> {
        let mut known = HashSet::new();
        for keys in keys.chunks(BATCH) {
            let by_digest: HashMap<String, &String> = keys.iter().map(|key| (digest(key), key)).collect();
            let digests: Vec<&str> = by_digest.keys().map(String::as_str).collect();
            let found: Vec<String> = self
                .read("look up known offers", async {
                    on!(self.pool(),
                        sqlite c => sqlx::query_scalar(
                            "SELECT identity FROM offers WHERE hides AND identity IN (SELECT value FROM json_each($1)) \
                             AND NOT (state = 'backed_off' AND next_at <= $2)")
                            .bind(Json(&digests)).bind(now).fetch_all(c).await,
                        postgres c => sqlx::query_scalar(
                            "SELECT identity FROM offers WHERE hides AND identity = ANY($1) \
                             AND NOT (state = 'backed_off' AND next_at <= $2)")
                            .bind(&digests).bind(now).fetch_all(c).await,
                    )
                })
                .await?;
            known.extend(found.iter().filter_map(|digest| by_digest.get(digest)).map(|key| (*key).clone()));
        }
        Ok(known)
    }

    /// What is on record of earlier tries to stage or settle an offer with this identity key; nothing when it is not
    /// known.
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

    /// Marks offers that stay at the source as still listed there.
    ///
    /// # Errors
    /// The database failed.
    pub async fn listed(&self, keys: &[String], at: Timestamp) -> Result<()> {
        for keys in keys.chunks(BATCH) {
            self.write(Listed { digests: keys.iter().map(|key| digest(key)).collect(), at }).await?;
        }
        Ok(())
    }

    /// Forgets the offers that stayed at the source (kept, or refused) and were not listed since `at`,
    /// so that the same name, size and time is a new file. Only after a complete listing. Answers how
    /// many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_unlisted(&self, flow: &str, endpoint: &str, at: Timestamp) -> Result<u64> {
        self.write(ForgetUnlisted { flow: flow.to_owned(), endpoint: endpoint.to_owned(), at }).await
    }
}

struct Listed {
    digests: Vec<String>,
    at: Timestamp,
}

#[async_trait]
impl Command for Listed {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx,
            sqlite c => sqlx::query(
                "UPDATE offers SET listed_at = $2 WHERE kept AND hides \
                 AND identity IN (SELECT value FROM json_each($1)) AND listed_at < $2")
                .bind(Json(&self.digests)).bind(self.at).execute(c).await.map(|_| ()),
            postgres c => sqlx::query(
                "UPDATE offers SET listed_at = $2 WHERE kept AND hides AND identity = ANY($1) AND listed_at < $2")
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
