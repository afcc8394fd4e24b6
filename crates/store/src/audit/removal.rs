//! Removing old months at the end of their retention.
//!
//! A month is removed completely or not at all: every event must be sealed and unchanged since. First the record of
//! the removal is written and signed ([`crate::verify`] accepts no other), then the events are removed, then the
//! member lists of seals without events. After a crash in between there is a record of events that still exist, which
//! is harmless, and the next run continues.
//!
//! Records of earlier removals in the month are carried over first: without them, the events that they name would
//! seem to be missing. The last event of each user and revision is carried over as well ([`super::carry`]).

use super::EventCursor;
use super::partition::{Month, busy, drop_month};
use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::seal::{Bound, Seal, SealKey, TrustedKeys, read_members};
use crate::tx::Tx;
use crate::verify::{RecordRow, Removed, load_records, record_rows};
use async_trait::async_trait;
use model::{AuditEvent, Error, ErrorKind, EventId, EventKind, NodeName, Result, Sha256, Timestamp};
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

/// The most rows deleted in one transaction; of the trail on SQLite only.
const ROWS: i64 = 5000;

/// A month that was removed, or could not be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RemovedMonth {
    /// As `2026-11`.
    pub month: String,
    /// The number of removed events.
    pub events: u64,
    /// Why the month was not removed; `None` if it was.
    pub kept: Option<MonthKept>,
}

/// Why a month could not be removed yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MonthKept {
    /// Some of its events are not sealed.
    Unsealed,
    /// Events were added while it was checked.
    Busy,
}

struct Extent {
    count: i64,
    first: i64,
    last: i64,
}

impl Store {
    /// Removes every month that ends at or before `before`, oldest first, with the rows of connections that were
    /// closed in it. `id` creates the ids of the `audit.removed` events that record it.
    ///
    /// # Errors
    /// An event differs from what was sealed (nothing of its month is removed, because it is evidence), or the
    /// database failed.
    pub async fn remove_audit_before(
        &self,
        before: Timestamp,
        now: Timestamp,
        node: &NodeName,
        key: &SealKey,
        id: impl Fn() -> Uuid + Send + Sync,
    ) -> Result<Vec<RemovedMonth>> {
        let mut removed = load_records(self, &TrustedKeys::of(key)?).await?.removed;
        let mut months = vec![];
        let mut since = None;
        // Rows of connections are removed together with their events, not earlier.
        let mut gone_before = Month::of(before).begin();
        while let Some(oldest) = self.oldest_event(since).await? {
            let month = Month::of(oldest);
            if month.end() > before {
                break;
            }
            since = Some(month.end());
            let done = self.remove_month(month, now, node, key, &id, &mut removed).await?;
            let is_kept = done.kept.is_some();
            months.push(done);
            if is_kept {
                // Later months wait for it, because their connections' events refer to it.
                gone_before = gone_before.min(month.begin());
                break;
            }
        }
        for (first, last) in removed.whole_ranges().collect::<Vec<_>>() {
            self.write(ClearMembers { first, last }).await?;
        }
        // The rows of connections are derived from the trail, and are removed with it.
        while self.write(RemoveConnections { before: gone_before }).await? > 0 {}
        Ok(months)
    }

    async fn remove_month(
        &self,
        month: Month,
        now: Timestamp,
        node: &NodeName,
        key: &SealKey,
        id: &(impl Fn() -> Uuid + Send + Sync),
        removed: &mut Removed,
    ) -> Result<RemovedMonth> {
        let name = month.name();
        let kept = |why| RemovedMonth { month: month.name(), events: 0, kept: Some(why) };
        let extent = self.extent(month).await?;
        let sealed = self.last_seal().await?.map_or(Bound::START, |seal| seal.to);
        if extent.last >= sealed.position {
            return Ok(kept(MonthKept::Unsealed));
        }
        let Some(new) = self.members_of(month, &extent, removed).await? else {
            return Ok(kept(MonthKept::Busy));
        };
        let mut events = vec![];
        let pieces = new.clone().split();
        let parts = pieces.len();
        for (part, piece) in (1..).zip(pieces) {
            let event = id();
            let facts = Map::from_iter([
                ("month".to_owned(), Value::from(name.as_str())),
                ("events".to_owned(), extent.count.into()),
                ("first_position".to_owned(), extent.first.into()),
                ("last_position".to_owned(), extent.last.into()),
                ("part".to_owned(), Value::from(part)),
                ("of_parts".to_owned(), parts.into()),
            ]);
            let record = AuditEvent::new(EventId::new(event), now, node.clone(), EventKind::AuditRemoved);
            events.push(AuditEvent { detail: piece.record(event, facts, key)?, ..record });
        }
        events.extend(self.records_to_carry(month, now, node, id).await?);
        events.extend(self.last_events_to_carry(month.end(), now, node, id).await?);
        self.append_events(events).await?;
        removed.merge(new);
        loop {
            let (count, last) = (extent.count, extent.last);
            match self.write(DropMonth { month, count, last }).await? {
                Dropped::All => break,
                Dropped::Some => {}
                Dropped::Busy => return Ok(kept(MonthKept::Busy)),
            }
        }
        Ok(RemovedMonth { month: name, events: u64::try_from(extent.count).unwrap_or(0), kept: None })
    }

    /// Creates events that carry the records of a month over. Signatures stay as they are: another node's auditor can
    /// check one that this node cannot.
    async fn records_to_carry(
        &self,
        month: Month,
        now: Timestamp,
        node: &NodeName,
        id: &(impl Fn() -> Uuid + Send + Sync),
    ) -> Result<Vec<AuditEvent>> {
        let (mut going, mut staying) = (vec![], HashSet::new());
        for row in record_rows(self).await? {
            let Some(at) = row.at else { continue };
            if at < month.end().timestamp_micros() {
                going.push(row);
            } else {
                staying.insert(row.first_event());
            }
        }
        // An earlier run may have stopped here.
        going.retain(|row| staying.insert(row.first_event()));
        let carry = |row: RecordRow| {
            let event = AuditEvent::new(EventId::new(id()), now, node.clone(), row.kind);
            AuditEvent { detail: row.carried(), ..event }
        };
        Ok(going.into_iter().map(carry).collect())
    }

    /// Finds each event of the month among the members of its seal; `None` if their number differs from the earlier
    /// count.
    async fn members_of(&self, month: Month, extent: &Extent, removed: &Removed) -> Result<Option<Removed>> {
        let span = month.begin().timestamp_micros()..month.end().timestamp_micros();
        let end = Bound::position(extent.last + 1);
        let Some(first) = self.seal_at(extent.first).await? else { return Ok(None) };
        let (mut new, mut found, mut next) = (Removed::default(), 0, first);
        let mut cursor = EventCursor::new(self, Bound::position(extent.first), end);
        loop {
            let Some(seal) = self.seals_from(next, None, 1).await?.pop() else { break };
            if seal.from >= end {
                break;
            }
            next = seal.seq + 1;
            let known = intact_members(&seal)?;
            let mut indexes = vec![];
            while let Some(row) = cursor.peek().await? {
                if row.bound >= seal.to {
                    break;
                }
                let in_month = row.columns.as_ref().is_none_or(|columns| span.contains(&columns.at));
                let hash = row.columns.as_ref().map(|columns| columns.hash());
                if in_month {
                    match known.get(&row.bound.id) {
                        Some((index, sealed)) if hash == Some(*sealed) => indexes.push(*index),
                        _ => return Err(not_as_sealed(month, row.bound.id)),
                    }
                }
                cursor.next().await?;
            }
            indexes.sort_unstable();
            found += indexes.len() as i64;
            let mut gone = indexes.clone();
            gone.extend((0..known.len() as u64).filter(|index| removed.has(seal.seq, *index)));
            gone.sort_unstable();
            gone.dedup();
            if gone.len() == known.len() && seal.members.is_some() {
                new.whole(seal.seq);
            } else {
                indexes.into_iter().for_each(|index| new.member(seal.seq, index));
            }
        }
        Ok((found == extent.count).then_some(new))
    }

    async fn oldest_event(&self, since: Option<Timestamp>) -> Result<Option<Timestamp>> {
        // Two statements: with `$1 IS NULL OR …` the index would not be used.
        let oldest: Option<Timestamp> = match since {
            None => {
                self.read("read the audit trail", async {
                    on!(self.pool(), c => sqlx::query_scalar("SELECT min(at) FROM audit_events").fetch_one(c).await)
                })
                .await?
            }
            Some(since) => {
                self.read("read the audit trail", async {
                    on!(self.pool(), c => sqlx::query_scalar("SELECT min(at) FROM audit_events WHERE at >= $1")
                        .bind(since)
                        .fetch_one(c)
                        .await)
                })
                .await?
            }
        };
        Ok(oldest)
    }

    async fn extent(&self, month: Month) -> Result<Extent> {
        let (count, first, last): (i64, Option<i64>, Option<i64>) = self
            .read("read the audit trail", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT count(*), min(position), max(position) FROM audit_events \
                     WHERE at >= $1 AND at < $2",
                )
                .bind(month.begin())
                .bind(month.end())
                .fetch_one(c)
                .await)
            })
            .await?;
        Ok(Extent { count, first: first.unwrap_or(0), last: last.unwrap_or(0) })
    }

    /// The number of the first seal that can contain events of a position.
    async fn seal_at(&self, position: i64) -> Result<Option<i64>> {
        self.read("read the audit seals", async {
            on!(self.pool(), c => sqlx::query_scalar(
                "SELECT min(seq) FROM audit_seals WHERE to_position >= $1",
            )
            .bind(position)
            .fetch_one(c)
            .await)
        })
        .await
    }
}

fn intact_members(seal: &Seal) -> Result<HashMap<Uuid, (u64, Sha256)>> {
    let members = seal.members.as_deref().unwrap_or_default();
    if seal.members.is_some() && Sha256(openssl::sha::sha256(members)) != seal.members_digest {
        return Err(refused().with("seal", seal.seq));
    }
    Ok(read_members(members).zip(0u64..).map(|((id, hash), index)| (id, (index, hash))).collect())
}

fn not_as_sealed(month: Month, event: Uuid) -> Error {
    refused().with("month", month.name()).with("event", event)
}

fn refused() -> Error {
    Error::permanent(ErrorKind::IntegrityFailed, "remove audit events at the end of their retention")
        .advice("they differ from what was sealed, so they are kept as evidence: run `waybill audit verify`")
}

enum Dropped {
    All,
    Some,
    Busy,
}

struct DropMonth {
    month: Month,
    count: i64,
    last: i64,
}

#[async_trait]
impl Command for DropMonth {
    type Answer = Dropped;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Dropped, Fault> {
        on!(tx, sqlite c => {
            let deleted = sqlx::query(
                "DELETE FROM audit_events WHERE position IN (SELECT position FROM audit_events \
                 WHERE at >= $1 AND at < $2 AND position <= $3 LIMIT $4)",
            )
            .bind(self.month.begin())
            .bind(self.month.end())
            .bind(self.last)
            .bind(ROWS)
            .execute(c)
            .await?;
            Ok(if (deleted.rows_affected() as i64) < ROWS { Dropped::All } else { Dropped::Some })
        }, postgres c => {
            let dropped = drop_month(c, self.month, self.count, self.last).await.map_err(busy)?;
            Ok(if dropped { Dropped::All } else { Dropped::Busy })
        })
    }
}

struct RemoveConnections {
    before: Timestamp,
}

#[async_trait]
impl Command for RemoveConnections {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        Ok(on!(tx, c => sqlx::query(
            "DELETE FROM connections WHERE id IN (SELECT id FROM connections \
             WHERE opened_at < $1 AND coalesce(closed_at, lost_at) < $1 ORDER BY opened_at, id LIMIT $2)",
        )
        .bind(self.before)
        .bind(ROWS)
        .execute(c)
        .await
        .map(|done| done.rows_affected()))?)
    }
}

struct ClearMembers {
    first: i64,
    last: i64,
}

#[async_trait]
impl Command for ClearMembers {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query(
            "UPDATE audit_seals SET members = NULL WHERE seq BETWEEN $1 AND $2 AND members IS NOT NULL",
        )
        .bind(self.first)
        .bind(self.last)
        .execute(c)
        .await
        .map(|_| ()))?;
        Ok(())
    }
}
