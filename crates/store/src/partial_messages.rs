//! Messages that have arrived in part, whose senders may go on where a connection broke: how many of their bytes are durable,
//! in which files, and who writes them.
//!
//! One holder at a time writes a message. Taking it over raises its fence; from then on nothing that an earlier holder
//! records is counted, on whichever node that is. What was not recorded before is lost, and is sent again.

mod begin;
mod removed;

pub use begin::{NewPartial, PartialBegun};
pub use removed::AgedPartials;
use removed::remove_silently;

use crate::command::{Command, place_of};
use crate::either::on;
use crate::fault::Fault;
use crate::intake::{IntakeCommit, IntakeCommitted, lease_lost};
use crate::lease::NodeLease;
use crate::open::Store;
use crate::row::{digest, signed, unsigned};
use crate::tx::{Tx, locking};
use async_trait::async_trait;
use model::{AuditEvent, PayloadId, Result, Timestamp};
use sqlx::FromRow;
use std::collections::HashSet;
use uuid::Uuid;

/// The most segments of one message. One whose holders ended without a word more often starts over.
pub(crate) const MOST_SEGMENTS: usize = 1000;

/// As many bytes of a large message are worth keeping.
const ENOUGH: u64 = 64 * 1024;

/// The bytes with which a message that nobody writes any more is kept; of a small one that is half of it. With fewer it would
/// take the room of the whole message, and save its sender next to nothing. One of unknown length takes only what has come.
fn least(total: Option<u64>) -> u64 {
    total.map_or(1, |total| (total / 2).clamp(1, ENOUGH))
}

/// What is known of a message that has arrived in part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartialMessage {
    /// Another one when it starts over.
    pub id: Uuid,
    /// The fence of its present holder.
    pub fence: i64,
    /// The key of the message.
    pub message: String,
    /// Bytes of the whole message, where they are known.
    pub total: Option<u64>,
    /// Bytes that are durable.
    pub durable: u64,
    /// The last of them.
    pub last_byte: Option<u8>,
    /// It was answered: its bytes are removed.
    pub answered: bool,
}

/// The answer to [`Store::take_partial`].
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PartialTaken {
    /// The message; `None` if nothing is kept under the key, or too little to go on with.
    pub message: Option<PartialMessage>,
    /// Segments whose bytes are to be removed: of a message of which too little had come.
    pub removed: Vec<PayloadId>,
}

/// A file with some bytes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartialSegment {
    /// Its name in staging.
    pub id: PayloadId,
    /// Its bytes that are durable.
    pub length: u64,
}

/// To go on with a message.
#[derive(Clone, Debug)]
pub struct ContinuePartial {
    /// The node's lease.
    pub lease: NodeLease,
    /// The message's key.
    pub key: String,
    /// The fence under which the caller took it over ([`Store::take_partial`]).
    pub fence: i64,
    /// The segment that is written, unless the last one can be continued.
    pub segment: PayloadId,
    /// Bytes of the whole message.
    pub total: Option<u64>,
    /// Events, recorded if it goes on.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::continue_partial`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartialContinued {
    /// It goes on.
    Continued {
        /// Which.
        id: Uuid,
        /// Its segments in their order; the last one is written on.
        segments: Vec<PartialSegment>,
        /// Whether the last segment is a new file.
        is_new: bool,
    },
    /// It has too many segments: it has to start over.
    TooManySegments,
    /// Somebody else has taken it over, or it is gone.
    Lost,
}

/// How far a message has come.
#[derive(Clone, Debug)]
pub struct RecordPartial {
    /// The message's key.
    pub key: String,
    /// Which message.
    pub id: Uuid,
    /// The holder's fence.
    pub fence: i64,
    /// The segment that it writes.
    pub segment: PayloadId,
    /// Its bytes that are durable.
    pub length: u64,
    /// The last of them; `None` if nothing has come since the last record.
    pub last_byte: Option<u8>,
    /// Whether the message is whole: its bytes are then all that there are.
    pub is_whole: bool,
    /// Whether the holder has ended: the segment can be continued. A message that is not whole is removed then if too little
    /// of it has come: less than 64 KiB and less than half of it, or nothing where its length is unknown.
    pub ended: bool,
    /// Until when it is kept if nothing more comes.
    pub keep_until: Timestamp,
    /// Events, recorded if the holder still is one and the message stays.
    pub events: Vec<AuditEvent>,
    /// Events, recorded if the message is removed.
    pub removed: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::record_partial`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartialRecorded {
    /// It is recorded.
    Recorded,
    /// Too little of the message has come to go on with: nothing is known of it any more.
    Removed {
        /// Segments whose bytes are to be removed.
        segments: Vec<PayloadId>,
    },
    /// Somebody else has taken it over, or it is gone: nothing was recorded.
    Lost,
}

impl Store {
    /// Bytes of a message that are durable; `None` if nothing is known of it. Nothing is taken over.
    ///
    /// # Errors
    /// The database failed.
    pub async fn partial_length(&self, key: &str) -> Result<Option<u64>> {
        let found: Option<i64> = self
            .read("look up a message that has arrived in part", async {
                on!(self.pool(), c => sqlx::query_scalar("SELECT durable FROM partial_messages WHERE digest = $1")
                    .bind(digest(key)).fetch_optional(c).await)
            })
            .await?;
        found.map(unsigned).transpose()
    }

    /// Takes a message over: nothing that an earlier holder records from now on is counted. If too little of it is durable, it
    /// is removed instead: its earlier holder, which cannot record its end any more, would not remove it.
    ///
    /// # Errors
    /// The node no longer holds its lease; or the database failed.
    pub async fn take_partial(&self, lease: &NodeLease, key: &str, now: Timestamp) -> Result<PartialTaken> {
        self.write(TakePartial { lease: lease.clone(), key: key.to_owned(), now }).await
    }

    /// Begins a message, or starts it over.
    ///
    /// # Errors
    /// As [`Store::take_partial`].
    pub async fn begin_partial(&self, new: NewPartial) -> Result<PartialBegun> {
        self.write(new).await
    }

    /// Goes on with a message.
    ///
    /// # Errors
    /// As [`Store::take_partial`].
    pub async fn continue_partial(&self, partial: ContinuePartial) -> Result<PartialContinued> {
        self.write(partial).await
    }

    /// Records how far a message has come.
    ///
    /// # Errors
    /// The database failed.
    pub async fn record_partial(&self, record: RecordPartial) -> Result<PartialRecorded> {
        self.write(record).await
    }

    /// Whether a message still has this holder.
    ///
    /// # Errors
    /// The database failed.
    pub async fn holds_partial(&self, key: &str, id: Uuid, fence: i64) -> Result<bool> {
        let found: Option<i64> = self
            .read("look up who holds a message", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT fence FROM partial_messages WHERE digest = $1 AND id = $2 AND fence = $3 AND NOT answered")
                    .bind(digest(key)).bind(id).bind(fence).fetch_optional(c).await)
            })
            .await?;
        Ok(found.is_some())
    }

    /// As [`Store::intake_commit`], of a message that was kept under `partial`: if it was kept whole, the key is answered in
    /// the same transaction, and of its bytes only their number and the last one count from then on.
    ///
    /// # Errors
    /// As [`Store::intake_commit`].
    pub async fn intake_commit_of_partial(
        &self,
        commit: IntakeCommit,
        partial: &str,
    ) -> Result<IntakeCommitted> {
        self.write(CommitOfPartial { commit, partial: partial.to_owned() }).await
    }

    /// Which of these segments belong to a message; the others are orphaned.
    ///
    /// # Errors
    /// The database failed.
    pub async fn known_segments(&self, ids: &[PayloadId]) -> Result<HashSet<PayloadId>> {
        let mut known = HashSet::new();
        for id in ids {
            let found: Option<i64> = self
                .read("look up a segment of a message", async {
                    on!(self.pool(), c => sqlx::query_scalar("SELECT length FROM partial_segments WHERE id = $1")
                        .bind(id.uuid()).fetch_optional(c).await)
                })
                .await?;
            if found.is_some() {
                known.insert(*id);
            }
        }
        Ok(known)
    }
}

/// A row of `partial_messages`.
#[derive(FromRow)]
struct Row {
    id: Uuid,
    message: String,
    fence: i64,
    node: Option<String>,
    total: Option<i64>,
    durable: i64,
    last_byte: Option<i64>,
    answered: bool,
}

impl Row {
    fn read(self) -> Result<PartialMessage, Fault> {
        Ok(PartialMessage {
            id: self.id,
            fence: self.fence,
            message: self.message,
            total: self.total.map(unsigned).transpose()?,
            durable: unsigned(self.durable)?,
            last_byte: self.last_byte.and_then(|byte| u8::try_from(byte).ok()),
            answered: self.answered,
        })
    }
}

/// A message's row, locked until the commit.
async fn lock_message(tx: &mut Tx<'_>, digest: &str) -> Result<Option<Row>, Fault> {
    let sql = locking!(
        tx,
        "SELECT id, message, fence, node, total, durable, last_byte, answered FROM partial_messages WHERE digest = $1"
    );
    Ok(on!(tx, c => sqlx::query_as(sql).bind(digest).fetch_optional(c).await)?)
}

/// The segments of a message in their order.
async fn segments(tx: &mut Tx<'_>, digest: &str) -> Result<Vec<PartialSegment>, Fault> {
    let rows: Vec<(Uuid, i64)> = on!(tx, c => sqlx::query_as(
        "SELECT id, length FROM partial_segments WHERE digest = $1 ORDER BY position")
        .bind(digest).fetch_all(c).await)?;
    let segment = |(id, length): (Uuid, i64)| -> Result<PartialSegment, Fault> {
        Ok(PartialSegment { id: PayloadId::new(id), length: unsigned(length)? })
    };
    rows.into_iter().map(segment).collect()
}

async fn insert_segment(
    tx: &mut Tx<'_>,
    digest: &str,
    position: usize,
    segment: PayloadId,
) -> Result<(), Fault> {
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    on!(tx, c => sqlx::query("INSERT INTO partial_segments (id, digest, position, length) VALUES ($1, $2, $3, 0)")
        .bind(segment.uuid()).bind(digest).bind(position).execute(c).await.map(|_| ()))?;
    Ok(())
}

struct TakePartial {
    lease: NodeLease,
    key: String,
    now: Timestamp,
}

#[async_trait]
impl Command for TakePartial {
    type Answer = PartialTaken;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<PartialTaken, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Err(lease_lost("take over a message that has arrived in part"));
        }
        let digest = digest(&self.key);
        let Some(row) = lock_message(tx, &digest).await? else { return Ok(PartialTaken::default()) };
        let mut message = row.read()?;
        if !message.answered && message.durable < least(message.total) {
            let removed = remove_silently(tx, &digest).await?;
            return Ok(PartialTaken { message: None, removed });
        }
        // A writer that has not ended keeps its name: its file is not continued. Without its epoch, the message can make room
        // for others: nothing that this writer adds is counted any more.
        on!(tx, c => sqlx::query(
            "UPDATE partial_messages SET fence = fence + 1, epoch = NULL, used_at = $2 WHERE digest = $1")
            .bind(&digest).bind(self.now).execute(c).await.map(|_| ()))?;
        message.fence += 1;
        Ok(PartialTaken { message: Some(message), removed: Vec::new() })
    }
}

#[async_trait]
impl Command for ContinuePartial {
    type Answer = PartialContinued;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<PartialContinued, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Err(lease_lost("go on with a message that has arrived in part"));
        }
        let digest = digest(&self.key);
        let Some(row) = lock_message(tx, &digest).await? else { return Ok(PartialContinued::Lost) };
        if row.fence != self.fence || row.answered {
            return Ok(PartialContinued::Lost);
        }
        let mut segments = segments(tx, &digest).await?;
        // Only a file whose writer has ended is written on: a writer that has not may still add to it.
        let is_new = row.node.is_some() || segments.is_empty();
        if is_new {
            if segments.len() >= MOST_SEGMENTS {
                return Ok(PartialContinued::TooManySegments);
            }
            insert_segment(tx, &digest, segments.len(), self.segment).await?;
            segments.push(PartialSegment { id: self.segment, length: 0 });
        }
        on!(tx, c => sqlx::query(
            "UPDATE partial_messages SET node = $2, epoch = $3, total = COALESCE($4, total), used_at = $5 WHERE digest = $1")
            .bind(&digest).bind(self.lease.node.as_str()).bind(self.lease.epoch)
            .bind(self.total.map(signed).transpose()?).bind(self.now).execute(c).await.map(|_| ()))?;
        tx.events(&self.events);
        Ok(PartialContinued::Continued { id: row.id, segments, is_new })
    }
}

#[async_trait]
impl Command for RecordPartial {
    type Answer = PartialRecorded;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<PartialRecorded, Fault> {
        let digest = digest(&self.key);
        let Some(row) = lock_message(tx, &digest).await? else { return Ok(PartialRecorded::Lost) };
        if row.id != self.id || row.fence != self.fence || row.answered {
            return Ok(PartialRecorded::Lost);
        }
        on!(tx, c => sqlx::query("UPDATE partial_segments SET length = $2 WHERE id = $1")
            .bind(self.segment.uuid()).bind(signed(self.length)?).execute(c).await.map(|_| ()))?;
        let all = segments(tx, &digest).await?;
        let durable: u64 = all.iter().map(|segment| segment.length).sum();
        if self.ended && !self.is_whole && durable < least(row.total.map(unsigned).transpose()?) {
            let segments = remove_silently(tx, &digest).await?;
            tx.events(&self.removed);
            return Ok(PartialRecorded::Removed { segments });
        }
        let durable = signed(durable)?;
        let total = if self.is_whole { Some(durable) } else { row.total };
        on!(tx, c => sqlx::query(
            "UPDATE partial_messages SET durable = $2, total = $3, last_byte = COALESCE($4, last_byte), used_at = $5, \
             keep_until = $6 WHERE digest = $1")
            .bind(&digest).bind(durable).bind(total).bind(self.last_byte.map(i64::from)).bind(self.now)
            .bind(self.keep_until).execute(c).await.map(|_| ()))?;
        if self.ended {
            on!(tx, c => sqlx::query("UPDATE partial_messages SET node = NULL, epoch = NULL WHERE digest = $1")
                .bind(&digest).execute(c).await.map(|_| ()))?;
        }
        tx.events(&self.events);
        Ok(PartialRecorded::Recorded)
    }
}

struct CommitOfPartial {
    commit: IntakeCommit,
    partial: String,
}

#[async_trait]
impl Command for CommitOfPartial {
    type Answer = IntakeCommitted;

    fn place(&self) -> u128 {
        self.commit.place()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<IntakeCommitted, Fault> {
        let committed = self.commit.apply(tx).await?;
        if committed == IntakeCommitted::Committed {
            // Bytes of another message, or fewer than all, do not count as answered.
            on!(tx, c => sqlx::query(
                "UPDATE partial_messages SET answered = true, node = NULL, epoch = NULL WHERE digest = $1 AND message = $2 \
                 AND total IS NOT NULL AND durable = total")
                .bind(digest(&self.partial)).bind(&self.commit.key).execute(c).await.map(|_| ()))?;
        }
        Ok(committed)
    }
}
