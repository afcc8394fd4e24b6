//! Messages that are no longer kept: their age, their listener's bounds, or their end.

use super::lock_message;
use crate::command::{Command, place_of};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::digest;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{EventKind, NodeName, PayloadId, PeerText, Result, Timestamp};
use uuid::Uuid;

/// The most messages removed in one transaction.
const AGED: i64 = 100;

/// Messages whose senders did not go on with them in time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct AgedPartials {
    /// How many there were.
    pub messages: u64,
    /// The segments whose bytes are to be removed.
    pub segments: Vec<PayloadId>,
}

impl Store {
    /// Removes the bytes of a message that was answered or refused. What is left of an answered one is their number and the
    /// last one; nothing is left of another one. Returns the segments whose bytes are to be removed.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_partial(&self, key: &str) -> Result<Vec<PayloadId>> {
        self.write(ForgetPartial { key: key.to_owned() }).await
    }

    /// Removes messages whose senders did not go on with them in time; at most a hundred. `by` is the node that does it, for the record.
    ///
    /// # Errors
    /// The database failed.
    pub async fn remove_aged_partials(&self, by: &NodeName, now: Timestamp) -> Result<AgedPartials> {
        self.write(RemoveAged { by: by.clone(), now }).await
    }
}

/// Why the bytes of a message are removed before it is whole.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its sender starts over.
    StartsOver,
    /// Its sender did not go on with it in time.
    Aged,
    /// Another message needs the room.
    MadeRoom,
}

impl Why {
    const fn words(self) -> &'static str {
        match self {
            Self::StartsOver => "its sender starts over",
            Self::Aged => "its sender did not go on with it in time",
            Self::MadeRoom => "the listener's bounds for partial messages were reached",
        }
    }
}

/// Removes a message with its segments, and returns these. Its row must be locked, or be removed by the caller alone.
pub(super) async fn remove(
    tx: &mut Tx<'_>,
    digest: &str,
    why: Why,
    by: &NodeName,
    now: Timestamp,
) -> Result<Vec<PayloadId>, Fault> {
    let row: Option<(String, String, String, i64, bool)> = on!(tx, c => sqlx::query_as(
        "DELETE FROM partial_messages WHERE digest = $1 RETURNING key, listener, partner, durable, answered")
        .bind(digest).fetch_optional(c).await)?;
    if let Some((key, listener, partner, durable, false)) = row
        && why != Why::StartsOver
    {
        let event = tx.derived(now, by, EventKind::MessagePartialRemoved).partner(&partner);
        let key = PeerText::from(key.as_str());
        tx.event(
            event
                .detail("listener", listener)
                .detail("key", key.as_str())
                .detail("received", durable)
                .detail("reason", why.words()),
        );
    }
    remove_segments(tx, digest).await
}

/// As [`remove`]; nothing is put on record.
pub(super) async fn remove_silently(tx: &mut Tx<'_>, digest: &str) -> Result<Vec<PayloadId>, Fault> {
    on!(tx, c => sqlx::query("DELETE FROM partial_messages WHERE digest = $1")
        .bind(digest).execute(c).await.map(|_| ()))?;
    remove_segments(tx, digest).await
}

async fn remove_segments(tx: &mut Tx<'_>, digest: &str) -> Result<Vec<PayloadId>, Fault> {
    let ids: Vec<Uuid> = on!(tx, c => sqlx::query_scalar(
        "DELETE FROM partial_segments WHERE digest = $1 RETURNING id")
        .bind(digest).fetch_all(c).await)?;
    Ok(ids.into_iter().map(PayloadId::new).collect())
}

struct ForgetPartial {
    key: String,
}

#[async_trait]
impl Command for ForgetPartial {
    type Answer = Vec<PayloadId>;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Vec<PayloadId>, Fault> {
        let digest = digest(&self.key);
        match lock_message(tx, &digest).await? {
            Some(row) if row.answered => remove_segments(tx, &digest).await,
            _ => remove_silently(tx, &digest).await,
        }
    }
}

struct RemoveAged {
    by: NodeName,
    now: Timestamp,
}

#[async_trait]
impl Command for RemoveAged {
    type Answer = AgedPartials;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<AgedPartials, Fault> {
        let sql = tx.pick(
            "SELECT digest FROM partial_messages WHERE keep_until <= $1 ORDER BY keep_until, digest LIMIT $2",
            "SELECT digest FROM partial_messages WHERE keep_until <= $1 ORDER BY keep_until, digest LIMIT $2 \
             FOR UPDATE SKIP LOCKED",
        );
        let aged: Vec<String> =
            on!(tx, c => sqlx::query_scalar(sql).bind(self.now).bind(AGED).fetch_all(c).await)?;
        let mut removed = AgedPartials::default();
        for digest in aged {
            removed.messages += 1;
            removed.segments.extend(remove(tx, &digest, Why::Aged, &self.by, self.now).await?);
        }
        Ok(removed)
    }
}
