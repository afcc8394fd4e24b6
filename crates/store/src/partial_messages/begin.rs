//! Beginning a message that is kept, within the bounds of its listener.

use super::removed::{Why, remove};
use super::{insert_segment, lock_message};
use crate::command::{Command, place_of};
use crate::either::on;
use crate::fault::Fault;
use crate::intake::lease_lost;
use crate::lease::NodeLease;
use crate::row::{digest, signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use chrono::TimeDelta;
use model::{AuditEvent, PayloadId, Result, Timestamp};
use uuid::Uuid;

/// A message of which nothing has come for so long counts as ended, whatever its node is doing.
const SILENT: TimeDelta = TimeDelta::hours(1);

/// The bytes that a message takes, or will take.
macro_rules! size {
    () => {
        "CASE WHEN total IS NULL OR total < durable THEN durable ELSE total END"
    };
}

/// A message that is kept from its first byte on.
#[derive(Clone, Debug)]
pub struct NewPartial {
    /// The node's lease.
    pub lease: NodeLease,
    /// Its key. What was kept under it is removed.
    pub key: String,
    /// Its id.
    pub id: Uuid,
    /// The listener.
    pub listener: String,
    /// The partner that it names.
    pub partner: String,
    /// The key of the message.
    pub message: String,
    /// Bytes of the whole message, where they are known.
    pub total: Option<u64>,
    /// The segment that is written.
    pub segment: PayloadId,
    /// The most messages that the listener keeps.
    pub most_messages: u64,
    /// The most bytes of all messages that the listener keeps.
    pub most_bytes: u64,
    /// Until when it is kept if nothing more comes.
    pub keep_until: Timestamp,
    /// Events.
    pub events: Vec<AuditEvent>,
    /// The time.
    pub now: Timestamp,
}

/// The answer to [`Store::begin_partial`](crate::Store::begin_partial).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartialBegun {
    /// It is kept.
    Begun {
        /// The holder's fence.
        fence: i64,
        /// Segments whose bytes are to be removed: of what was kept under the same key, and of messages that were not used for
        /// the longest time and made room.
        removed: Vec<PayloadId>,
    },
    /// The listener keeps as many messages, or bytes, as it may, or half as many of this partner, and none that may be removed
    /// for this one makes room.
    Full {
        /// Segments whose bytes are to be removed: of what was kept under the same key.
        removed: Vec<PayloadId>,
    },
}

#[async_trait]
impl Command for NewPartial {
    type Answer = PartialBegun;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<PartialBegun, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Err(lease_lost("keep a message"));
        }
        let digest = digest(&self.key);
        let mut removed = Vec::new();
        let mut fence = 1;
        if let Some(earlier) = lock_message(tx, &digest).await? {
            fence = earlier.fence + 1;
            removed.extend(remove(tx, &digest, Why::StartsOver, &self.lease.node, self.now).await?);
        }
        let Some(make_room) = self.fits(tx).await? else { return Ok(PartialBegun::Full { removed }) };
        for oldest in make_room {
            removed.extend(remove(tx, &oldest, Why::MadeRoom, &self.lease.node, self.now).await?);
        }
        on!(tx, c => sqlx::query(
            "INSERT INTO partial_messages (digest, key, id, listener, partner, message, fence, node, epoch, total, durable, \
             answered, began_at, used_at, keep_until) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, false, $11, $11, $12)")
            .bind(&digest).bind(&self.key).bind(self.id).bind(&self.listener).bind(&self.partner).bind(&self.message)
            .bind(fence).bind(self.lease.node.as_str()).bind(self.lease.epoch)
            .bind(self.total.map(signed).transpose()?).bind(self.now).bind(self.keep_until)
            .execute(c).await.map(|_| ()))?;
        insert_segment(tx, &digest, 0, self.segment).await?;
        tx.events(&self.events);
        Ok(PartialBegun::Begun { fence, removed })
    }
}

impl NewPartial {
    /// The messages that have to make room for it, by their digests; `None` if it cannot be kept beside the others.
    ///
    /// Who sends a message is not proved before its last byte: whoever uses the name of one partner must not take the room of
    /// all others. Half of it is the most that the messages of one partner have. As somebody may use several names, a partner
    /// of which nothing is kept gets room from the one that has the most.
    async fn fits(&self, tx: &mut Tx<'_>) -> Result<Option<Vec<String>>, Fault> {
        let (messages, bytes, own_messages, own_bytes): (i64, i64, i64, i64) = on!(tx, c => sqlx::query_as(concat!(
            "SELECT count(*), CAST(COALESCE(SUM(", size!(), "), 0) AS BIGINT), \
             count(CASE WHEN partner = $2 THEN 1 END), \
             CAST(COALESCE(SUM(CASE WHEN partner = $2 THEN ", size!(), " END), 0) AS BIGINT) \
             FROM partial_messages WHERE listener = $1 AND NOT answered"))
            .bind(&self.listener).bind(&self.partner).fetch_one(c).await)?;
        let mut all = self.beside(messages, bytes)?;
        let mut own = self.beside(own_messages, own_bytes)?;
        let most = Room { messages: self.most_messages, bytes: self.most_bytes };
        let fits = |all: Room, own: Room| all.is_within(most) && own.is_within(most.half());
        let mut oldest = Vec::new();
        if fits(all, own) {
            return Ok(Some(oldest));
        }
        let is_new = own_messages == 0;
        if is_new && !own.is_within(most.half()) {
            return Ok(None);
        }
        let partner = match is_new {
            true => self.largest(tx, all.bytes > most.bytes).await?,
            false => Some(self.partner.clone()),
        };
        let Some(partner) = partner else { return Ok(None) };
        // The longest unused one goes first; none that somebody writes.
        let candidates: Vec<(String, i64)> = on!(tx, c => sqlx::query_as(concat!(
            "SELECT digest, ", size!(), " FROM partial_messages WHERE listener = $1 AND partner = $2 AND NOT answered \
             AND (epoch IS NULL OR used_at < $3) ORDER BY used_at, digest LIMIT 1000"))
            .bind(&self.listener).bind(&partner).bind(self.now - SILENT).fetch_all(c).await)?;
        for (digest, size) in candidates {
            let size = unsigned(size)?;
            all = all.without(size);
            if !is_new {
                own = own.without(size);
            }
            oldest.push(digest);
            if fits(all, own) {
                return Ok(Some(oldest));
            }
        }
        Ok(None)
    }

    /// The partner that has the most bytes, or the most messages, of those that have more than this message takes: nobody
    /// loses to one that has as much. `None` if there is none.
    async fn largest(&self, tx: &mut Tx<'_>, by_bytes: bool) -> Result<Option<String>, Fault> {
        let (sql, takes) = if by_bytes {
            let sql = concat!(
                "SELECT partner FROM partial_messages WHERE listener = $1 AND NOT answered GROUP BY partner \
                 HAVING CAST(SUM(",
                size!(),
                ") AS BIGINT) > $2 ORDER BY CAST(SUM(",
                size!(),
                ") AS BIGINT) DESC, MIN(used_at), partner LIMIT 1"
            );
            (sql, signed(self.total.unwrap_or(0))?)
        } else {
            let sql = "SELECT partner FROM partial_messages WHERE listener = $1 AND NOT answered GROUP BY partner \
                       HAVING count(*) > $2 ORDER BY count(*) DESC, MIN(used_at), partner LIMIT 1";
            (sql, 1)
        };
        Ok(on!(tx, c => sqlx::query_scalar(sql).bind(&self.listener).bind(takes).fetch_optional(c).await)?)
    }

    /// What it takes together with so many others.
    fn beside(&self, messages: i64, bytes: i64) -> Result<Room, Fault> {
        let messages = unsigned(messages)?.saturating_add(1);
        let bytes = unsigned(bytes)?.saturating_add(self.total.unwrap_or(0));
        Ok(Room { messages, bytes })
    }
}

/// Messages, and the bytes of all of them.
#[derive(Clone, Copy)]
struct Room {
    messages: u64,
    bytes: u64,
}

impl Room {
    const fn is_within(self, most: Self) -> bool {
        self.messages <= most.messages && self.bytes <= most.bytes
    }

    /// Half of it, rounded up: of a single message the one.
    const fn half(self) -> Self {
        Self { messages: self.messages.div_ceil(2), bytes: self.bytes.div_ceil(2) }
    }

    /// Without one message of this size.
    const fn without(self, size: u64) -> Self {
        Self { messages: self.messages.saturating_sub(1), bytes: self.bytes.saturating_sub(size) }
    }
}
