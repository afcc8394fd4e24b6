//! Time stamps over seals. This module stores the tokens; they are verified elsewhere.

use super::{Seal, sha256};
use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Result, Sha256};

/// A seal's time stamp.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timestamped {
    /// The seal's number.
    pub seal: i64,
    /// The digest of the seal of that number as it is stored; `None` when there is no such seal.
    pub digest: Option<Sha256>,
    /// DER of the `TimeStampToken`.
    pub token: Vec<u8>,
}

impl Store {
    /// Stores a token for its seal; false if the seal has one.
    ///
    /// # Errors
    /// The database failed.
    pub async fn keep_timestamp(&self, seal: i64, token: Vec<u8>) -> Result<bool> {
        self.write(KeepTimestamp { seal, token }).await
    }

    /// Time stamps of the seals from a number on, by number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn timestamps_from(&self, seal: i64, at_most: i64) -> Result<Vec<Timestamped>> {
        let rows: Vec<(i64, Option<Vec<u8>>, Vec<u8>)> = self
            .read("read the time stamps of seals", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT t.seal, s.digest, t.token FROM audit_timestamps t \
                     LEFT JOIN audit_seals s ON s.seq = t.seal WHERE t.seal >= $1 ORDER BY t.seal LIMIT $2",
                )
                .bind(seal)
                .bind(at_most)
                .fetch_all(c)
                .await)
            })
            .await?;
        let stamped = |(seal, digest, token): (i64, Option<Vec<u8>>, Vec<u8>)| Timestamped {
            seal,
            digest: digest.as_deref().map(sha256),
            token,
        };
        Ok(rows.into_iter().map(stamped).collect())
    }

    /// The seal to stamp next: the newest up to `newest`, by number and digest. `None` if it is stamped, or if the
    /// only events since the newest stamped seal are those of connections that sent or stamped seals: otherwise each
    /// stamp would cause the next one without end. An empty seal, which is created on a quiet day, is stamped.
    ///
    /// # Errors
    /// The database failed.
    pub async fn seal_to_stamp(&self, newest: i64) -> Result<Option<(i64, Sha256)>> {
        let stamped: Option<i64> = self
            .read("read the newest time stamp", async {
                on!(self.pool(), c => sqlx::query_scalar("SELECT max(seal) FROM audit_timestamps WHERE seal <= $1")
                    .bind(newest)
                    .fetch_one(c)
                    .await)
            })
            .await?;
        let Some(seal) = self.seal_headers(newest, 1).await?.into_iter().find(|seal| seal.seq == newest)
        else {
            return Ok(None);
        };
        let before = match stamped {
            Some(stamped) if stamped == newest => return Ok(None),
            Some(stamped) => self.seal_headers(stamped, 1).await?.into_iter().next(),
            None => None,
        };
        let due = match &before {
            Some(before) => seal.count == 0 || self.has_news(before, &seal).await?,
            None => true,
        };
        Ok(due.then_some((seal.seq, seal.digest)))
    }

    /// Whether the events since the seal `sent`, up to the seal `newest`, are a reason for a connection: as in
    /// [`Store::seal_to_stamp`], events of such connections are not.
    ///
    /// # Errors
    /// The database failed.
    pub async fn seals_have_news(&self, sent: i64, newest: i64) -> Result<bool> {
        let of = async |number: i64| {
            let found = self.seal_headers(number, 1).await?;
            Result::Ok(found.into_iter().find(|seal| seal.seq == number))
        };
        match (of(sent).await?, of(newest).await?) {
            (Some(sent), Some(newest)) => Ok(newest.count == 0 || self.has_news(&sent, &newest).await?),
            _ => Ok(true),
        }
    }

    /// Whether an event that is not of an audit connection lies after one seal, up to another.
    async fn has_news(&self, after: &Seal, to: &Seal) -> Result<bool> {
        let found: Option<i64> = self
            .read("look for events to stamp", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT e.position FROM audit_events e \
                     LEFT JOIN connections c ON c.id = e.connection_id AND c.purpose = 'audit' \
                     WHERE e.position >= $1 AND (e.position, e.id) >= ($1, $2) \
                     AND e.position <= $3 AND (e.position, e.id) < ($3, $4) AND c.id IS NULL \
                     AND e.kind NOT IN ('audit.timestamp_failed', 'audit.timestamp_recovered') LIMIT 1",
                )
                .bind(after.to.position)
                .bind(after.to.id)
                .bind(to.to.position)
                .bind(to.to.id)
                .fetch_optional(c)
                .await)
            })
            .await?;
        Ok(found.is_some())
    }
}

struct KeepTimestamp {
    seal: i64,
    token: Vec<u8>,
}

#[async_trait]
impl Command for KeepTimestamp {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let inserted = on!(tx, c => sqlx::query(
            "INSERT INTO audit_timestamps (seal, token) VALUES ($1, $2) ON CONFLICT (seal) DO NOTHING",
        )
        .bind(self.seal)
        .bind(&self.token)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(inserted == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SealKey;
    use crate::testing::{at, both, event};

    both! {
        a_token_is_kept_exported_and_asks_for_no_other(store) {
            let key = SealKey::load_or_create(&store.dir.path().join("key")).unwrap();
            assert_eq!(store.seal_to_stamp(1).await.unwrap(), None, "there is no seal");
            store.append_events(vec![event(1)]).await.unwrap();
            store.seal_all(at(10), &key).await;
            let first = store.last_seal().await.unwrap().unwrap();
            assert_eq!(store.seal_to_stamp(1).await.unwrap(), Some((1, first.digest)));
            assert!(store.keep_timestamp(1, vec![0x30, 0x00, 0xff]).await.unwrap());
            assert!(!store.keep_timestamp(1, vec![1]).await.unwrap(), "the first one stays");
            assert_eq!(store.seal_to_stamp(1).await.unwrap(), None);

            let stamps = store.timestamps_from(0, 10).await.unwrap();
            let kept = Timestamped { seal: 1, digest: Some(first.digest), token: vec![0x30, 0x00, 0xff] };
            assert_eq!(stamps, [kept]);
            assert_eq!(store.timestamps_from(2, 10).await.unwrap(), []);
            let mut lines = vec![];
            store.export_seals(1, |line| { lines.push(line); Ok(()) }).await.unwrap();
            assert!(lines[0].contains("\"timestamp\":\"3000ff\""), "{}", lines[0]);

            // The event that tells of a failure is no reason to stamp, another one is.
            let mut own = event(2);
            own.kind = model::EventKind::TimestampFailed;
            store.append_events(vec![own]).await.unwrap();
            store.seal_all(at(20), &key).await;
            assert_eq!(store.seal_to_stamp(2).await.unwrap(), None);
            store.append_events(vec![event(3)]).await.unwrap();
            store.seal_all(at(30), &key).await;
            assert_eq!(store.seal_to_stamp(3).await.unwrap().map(|(seal, _)| seal), Some(3));
            assert_eq!(store.seal_to_stamp(9).await.unwrap(), None, "no such seal");

            // A quiet day's seal is stamped.
            assert!(store.keep_timestamp(3, vec![2]).await.unwrap());
            store.seal_all(at(30 + 86_400_000_000), &key).await;
            assert_eq!(store.seal_to_stamp(4).await.unwrap().map(|(seal, _)| seal), Some(4));

            // If a stamped seal is removed, its stamp remains.
            store.tamper("DELETE FROM audit_seals WHERE seq = 3").await;
            assert_eq!(store.timestamps_from(3, 10).await.unwrap()[0].digest, None);
        }
    }
}
