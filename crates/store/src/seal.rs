//! Seals: they make removal and change of audit events evident.
//!
//! A seal covers all events in a range of positions below the horizon, where nothing can be added any more, so no
//! writer waits for it and no event is changed. It contains each event's id and hash, the digest of the previous
//! seal, and a signature by a key that is not in the database.
//!
//! A seal has at most [`EVENTS`] events; a longer range becomes several seals, split between any two events, even
//! within one transaction: below the horizon the order (position, id) is final. A range without events is sealed only
//! when the last seal is a day old, so that the trail of a quiet gateway shows every day that there were no events.

mod history;
mod key;
mod mark;
mod peers;
mod record;
mod sealer;
mod timestamp;

pub use history::SealHistory;
pub use key::{SealKey, TrustedKeys};
pub use mark::{AlarmCause, MarkFile, NotedKey, NotedSeal, SealAlarm, SealMark, SealingBlocked};
pub use record::{Bound, Seal};
pub(crate) use record::{push_member, read_members};
pub use sealer::{SealState, Sealer};
pub use timestamp::Timestamped;

use crate::Store;
use crate::audit::EventCursor;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::search::Attempted;
use crate::tx::Tx;
use async_trait::async_trait;
use chrono::{SubsecRound as _, TimeDelta};
use model::{Error, ErrorKind, Result, Sha256, Timestamp};
use std::time::Duration;
use uuid::Uuid;

/// The most events of one seal.
pub const EVENTS: usize = 10_000;

/// The age of the last seal at which an empty one is created.
const QUIET: TimeDelta = TimeDelta::days(1);

/// Unsealed events are counted up to here.
const COUNTED: i64 = 100_000;

/// The result of a sealing run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sealed {
    /// Seals made.
    pub seals: u64,
    /// Events in them.
    pub events: u64,
}

impl Sealed {
    pub(crate) fn count(&mut self, seal: &Seal) {
        self.seals += 1;
        self.events += u64::try_from(seal.count).unwrap_or(0);
    }
}

/// The backlog of sealing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SealLag {
    /// Events that no seal covers yet, counted up to 100,000.
    pub events: u64,
    /// When the oldest of them happened.
    pub oldest: Option<Timestamp>,
    /// How long ago that is.
    pub lag: Duration,
    /// Number and time of the newest seal.
    pub last: Option<(i64, Timestamp)>,
}

impl Store {
    /// Seals everything below the horizon without reading any note, for tests of the seals themselves.
    #[cfg(test)]
    pub(crate) async fn seal(&self, now: Timestamp, key: &SealKey) -> Result<Sealed> {
        let mut done = Sealed::default();
        let mut last = self.last_seal().await?;
        let mut maker = self.seal_maker(last.as_ref()).await?;
        while let Some(seal) = maker.next(last.as_ref(), now, key).await? {
            if !self.insert_seal(&seal).await? {
                break;
            }
            done.count(&seal);
            last = Some(seal);
        }
        Ok(done)
    }

    /// Prepares the seals after `last`, up to the present horizon.
    pub(crate) async fn seal_maker(&self, last: Option<&Seal>) -> Result<SealMaker<'_>> {
        let from = last.map_or(Bound::START, |seal| seal.to);
        let mut horizon = self.audit_horizon().await?;
        if horizon < from.position {
            // The database was restored into a server that counts transactions from the beginning.
            self.raise_positions().await?;
            horizon = self.audit_horizon().await?;
        }
        let end = Bound::position(horizon);
        Ok(SealMaker { cursor: EventCursor::new(self, from, end), end, at_end: end < from, made: 0 })
    }

    /// Stores a seal; false if another node has created the one with its number, or the seal before it is gone: the
    /// next run tells which.
    pub(crate) async fn insert_seal(&self, seal: &Seal) -> Result<bool> {
        let made = self.write(InsertSeal(seal.clone())).await?;
        if !made {
            tracing::debug!(
                seal = seal.seq,
                "a seal was not stored: another node has sealed the same events, or the seal before is gone"
            );
        }
        Ok(made)
    }

    /// The members from the stored events of a seal's range; `None` if they do not match its digest.
    pub(crate) async fn members_of_range(&self, seal: &Seal) -> Result<Option<Vec<u8>>> {
        let mut cursor = EventCursor::new(self, seal.from, seal.to);
        let (mut members, mut count) = (vec![], 0);
        while let Some(row) = cursor.next().await? {
            count += 1;
            match row.hash() {
                Some(hash) if count <= seal.count => push_member(&mut members, row.bound.id, hash),
                _ => return Ok(None),
            }
        }
        let fits = Sha256(openssl::sha::sha256(&members)) == seal.members_digest;
        Ok((count == seal.count && fits).then_some(members))
    }

    /// Whether the stored events of a seal's range match its digest.
    pub(crate) async fn members_make(&self, seal: &Seal) -> Result<bool> {
        Ok(self.members_of_range(seal).await?.is_some())
    }

    /// The backlog of sealing.
    ///
    /// # Errors
    /// The database failed.
    pub async fn seal_lag(&self, now: Timestamp) -> Result<SealLag> {
        let last = self.last_seal().await?;
        let from = last.as_ref().map_or(Bound::START, |seal| seal.to);
        let oldest: Option<Attempted<(Timestamp,)>> = self
            .read("read the seal lag", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT at FROM audit_events WHERE position >= $1 AND (position, id) >= ($1, $2) \
                     ORDER BY position, id LIMIT 1",
                )
                .bind(from.position)
                .bind(from.id)
                .fetch_optional(c)
                .await)
            })
            .await?;
        // Verification reports a time that cannot be read; here it is ignored.
        let oldest = oldest.and_then(|row| row.view(Ok).ok()).map(|(at,)| at);
        let events = self.unsealed_events(from, COUNTED).await?;
        let lag = oldest.and_then(|oldest| (now - oldest).to_std().ok()).unwrap_or_default();
        Ok(SealLag { events, oldest, lag, last: last.map(|seal| (seal.seq, seal.sealed_at)) })
    }

    /// The first event that no seal covers, in the trail's order.
    pub(crate) async fn first_unsealed(&self, from: Bound) -> Result<Option<Bound>> {
        let first: Option<(i64, Uuid)> = self
            .read("read the first unsealed event", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT position, id FROM audit_events \
                     WHERE position >= $1 AND (position, id) >= ($1, $2) ORDER BY position, id LIMIT 1",
                )
                .bind(from.position)
                .bind(from.id)
                .fetch_optional(c)
                .await)
            })
            .await?;
        Ok(first.map(|(position, id)| Bound { position, id }))
    }

    /// The keys that signed the seals of some numbers, at most so many.
    pub(crate) async fn keys_of_seals(&self, first: i64, last: i64, at_most: usize) -> Result<Vec<String>> {
        self.read("read the keys of the audit seals", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT DISTINCT key_id FROM audit_seals WHERE seq >= $1 AND seq <= $2 ORDER BY key_id LIMIT $3",
            )
            .bind(first)
            .bind(last)
            .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
            .fetch_all(c)
            .await)
        })
        .await
    }

    pub(crate) async fn unsealed_events(&self, from: Bound, at_most: i64) -> Result<u64> {
        let count: i64 = self
            .read("count unsealed events", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT count(*) FROM (SELECT 1 FROM audit_events \
                     WHERE position >= $1 AND (position, id) >= ($1, $2) LIMIT $3) AS unsealed",
                )
                .bind(from.position)
                .bind(from.id)
                .bind(at_most)
                .fetch_one(c)
                .await)
            })
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// The newest seal, without its members.
    pub(crate) async fn last_seal(&self) -> Result<Option<Seal>> {
        let row: Option<SealRow> = self
            .read("read the newest audit seal", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT seq, from_position, from_id, to_position, to_id, event_count, members_digest, \
                     previous, sealed_at, key_id, digest, signature, NULL AS members \
                     FROM audit_seals ORDER BY seq DESC LIMIT 1",
                )
                .fetch_optional(c)
                .await)
            })
            .await?;
        Ok(row.map(SealRow::into_seal))
    }

    /// Seals by number, without their members.
    pub(crate) async fn seal_headers(&self, from: i64, at_most: i64) -> Result<Vec<Seal>> {
        let rows: Vec<SealRow> = self
            .read("read the audit seals", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT seq, from_position, from_id, to_position, to_id, event_count, members_digest, \
                     previous, sealed_at, key_id, digest, signature, NULL AS members \
                     FROM audit_seals WHERE seq >= $1 ORDER BY seq LIMIT $2",
                )
                .bind(from)
                .bind(at_most)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(rows.into_iter().map(SealRow::into_seal).collect())
    }

    /// Seals by number, with all members: a seal may have half a megabyte of them.
    pub(crate) async fn seals_from(&self, from: i64, to: Option<i64>, at_most: i64) -> Result<Vec<Seal>> {
        let rows: Vec<SealRow> = self
            .read("read the audit seals", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT seq, from_position, from_id, to_position, to_id, event_count, members_digest, \
                     previous, sealed_at, key_id, digest, signature, members \
                     FROM audit_seals WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT $3",
                )
                .bind(from)
                .bind(to.unwrap_or(i64::MAX))
                .bind(at_most)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(rows.into_iter().map(SealRow::into_seal).collect())
    }

    /// Seals from one number to another as number, digest and line of JSON ([`Seal::export`]), at most so many.
    ///
    /// # Errors
    /// The database failed.
    pub async fn exported_seals(
        &self,
        from: i64,
        to: i64,
        at_most: usize,
    ) -> Result<Vec<(i64, Sha256, String)>> {
        let seals = self.seal_headers(from, i64::try_from(at_most).unwrap_or(i64::MAX)).await?;
        let wanted = seals.iter().take_while(|seal| seal.seq <= to);
        Ok(wanted.map(|seal| (seal.seq, seal.digest, seal.export())).collect())
    }

    /// The digest of the seal of a number; `None` when there is no such seal.
    ///
    /// # Errors
    /// The database failed.
    pub async fn seal_digest(&self, number: i64) -> Result<Option<Sha256>> {
        let seal = self.seal_headers(number, 1).await?.into_iter().find(|seal| seal.seq == number);
        Ok(seal.map(|seal| seal.digest))
    }

    /// Passes each seal from number `from` on as a line of JSON, for a copy elsewhere ([`Seal::export`]), with its
    /// time stamp as `timestamp` (DER in hexadecimal) if it has one. Returns their number.
    ///
    /// # Errors
    /// The database failed, or `each` did.
    pub async fn export_seals(
        &self,
        from: i64,
        mut each: impl FnMut(String) -> Result<()> + Send,
    ) -> Result<u64> {
        let (mut next, mut count) = (from, 0);
        loop {
            let seals = self.seals_from(next, None, 8).await?;
            let Some(last) = seals.last() else { return Ok(count) };
            let stamps = self.timestamps_from(next, 8).await?;
            next = last.seq + 1;
            for seal in &seals {
                let stamp = stamps.iter().find(|stamp| stamp.seal == seal.seq);
                each(seal.export_with(stamp.map(|stamp| stamp.token.as_slice())))?;
                count += 1;
            }
        }
    }
}

/// Creates seals over the events that a run found below the horizon, one after the other.
pub(crate) struct SealMaker<'a> {
    cursor: EventCursor<'a>,
    end: Bound,
    at_end: bool,
    made: u64,
}

impl SealMaker<'_> {
    /// The seal that follows `last`; `None` if there is nothing more to seal. It is not stored yet.
    pub(crate) async fn next(
        &mut self,
        last: Option<&Seal>,
        now: Timestamp,
        key: &SealKey,
    ) -> Result<Option<Seal>> {
        if self.at_end {
            return Ok(None);
        }
        let now = now.trunc_subsecs(6);
        let from = last.map_or(Bound::START, |seal| seal.to);
        let mut members = vec![];
        let mut count = 0;
        while count < EVENTS
            && let Some(row) = self.cursor.next().await?
        {
            let Some(columns) = row.columns else {
                return Err(unreadable(row.bound));
            };
            push_member(&mut members, row.bound.id, columns.hash());
            count += 1;
        }
        let quiet = last.is_none_or(|seal| now - seal.sealed_at < QUIET);
        if count == 0 && (quiet || self.made > 0) {
            self.at_end = true;
            return Ok(None);
        }
        let to = self.cursor.peek().await?.map_or(self.end, |next| next.bound);
        self.at_end = to == self.end;
        self.made += 1;
        Seal::make(last, (from, to), members, now, key).map(Some)
    }
}

fn unreadable(bound: Bound) -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "seal the audit trail")
        .with("event", bound.id)
        .with("position", bound.position)
        .advice("this row of audit_events was not written by Waybill: look at it, and remove it by hand")
}

/// A seal as it is stored.
#[derive(sqlx::FromRow)]
struct SealRow {
    seq: i64,
    from_position: i64,
    from_id: Uuid,
    to_position: i64,
    to_id: Uuid,
    event_count: i64,
    members_digest: Vec<u8>,
    previous: Vec<u8>,
    sealed_at: Timestamp,
    key_id: String,
    digest: Vec<u8>,
    signature: Vec<u8>,
    members: Option<Vec<u8>>,
}

impl SealRow {
    fn into_seal(self) -> Seal {
        Seal {
            seq: self.seq,
            from: Bound { position: self.from_position, id: self.from_id },
            to: Bound { position: self.to_position, id: self.to_id },
            count: self.event_count,
            members_digest: sha256(&self.members_digest),
            previous: sha256(&self.previous),
            sealed_at: self.sealed_at,
            key_id: self.key_id,
            digest: sha256(&self.digest),
            signature: self.signature,
            members: self.members,
        }
    }
}

/// A digest of the wrong length was changed by somebody: zeros match nothing.
fn sha256(bytes: &[u8]) -> Sha256 {
    Sha256(bytes.try_into().unwrap_or([0; 32]))
}

/// Returns whether this seal is now the one with its number. It is stored only behind the seal that it follows: if that
/// one was removed since the run looked, the next run must find the end of the trail as it was left.
struct InsertSeal(Seal);

#[async_trait]
impl Command for InsertSeal {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let seal = &self.0;
        // The node notes what it has sealed: if a crash of the server undid a seal, an alarm would be raised.
        on!(tx,
            sqlite _c => (),
            postgres c => sqlx::query("SET LOCAL synchronous_commit = on").execute(c).await.map(|_| ())?,
        );
        let inserted = on!(tx, c => sqlx::query(
            "INSERT INTO audit_seals (seq, from_position, from_id, to_position, to_id, event_count, \
             members_digest, previous, sealed_at, key_id, digest, signature, members) \
             SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 \
             WHERE $1 = 1 OR EXISTS (SELECT 1 FROM audit_seals WHERE seq = $1 - 1 AND digest = $8) \
             ON CONFLICT (seq) DO NOTHING",
        )
        .bind(seal.seq)
        .bind(seal.from.position)
        .bind(seal.from.id)
        .bind(seal.to.position)
        .bind(seal.to.id)
        .bind(seal.count)
        .bind(&seal.members_digest.0[..])
        .bind(&seal.previous.0[..])
        .bind(seal.sealed_at)
        .bind(&seal.key_id)
        .bind(&seal.digest.0[..])
        .bind(&seal.signature)
        .bind(&seal.members)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?;
        Ok(inserted == 1)
    }
}

#[cfg(test)]
mod tests;
