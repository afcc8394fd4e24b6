//! The keys of messages: which are being received, and which were answered.

use super::{Answered, Reply, cancel_refusal};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::row::digest;
use crate::tx::{Tx, locking};
use model::{NodeName, Result, Sha256, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

#[derive(FromRow)]
pub(crate) struct KeyRow {
    pub(super) state: String,
    pub(super) node: String,
    pub(super) epoch: i64,
    pub(super) offer_id: Option<Uuid>,
    pub(super) content_digest: Option<Vec<u8>>,
    pub(super) refusal_id: Option<Uuid>,
    pub(super) from_answer: bool,
    #[sqlx(flatten)]
    pub(super) reply: ReplyRow,
}

impl KeyRow {
    /// Whether this lease's node is receiving the message.
    pub(crate) fn is_held_by(&self, lease: &NodeLease) -> bool {
        self.state == "in_progress" && self.node == lease.node.as_str() && self.epoch == lease.epoch
    }

    /// Cancels the receipt of an earlier refusal that is still on its way.
    pub(crate) async fn cancel_refusal(
        &self,
        tx: &mut Tx<'_>,
        lease: &NodeLease,
        now: Timestamp,
    ) -> Result<(), Fault> {
        cancel_refusal(tx, self.refusal_id, &lease.node, now).await
    }

    /// Whether the message was answered so: the same commit, repeated.
    pub(crate) fn is_answered_with(&self, reply: &Reply) -> bool {
        self.state == "answered"
            && self.reply.reply_head.as_ref().is_some_and(|head| head.0 == reply.head)
            && self.reply.reply_body.as_ref() == Some(&reply.body)
    }

    /// The digest of its content.
    pub(super) fn content(&self) -> Option<Sha256> {
        // One of the wrong length was changed by somebody: zeros match nothing.
        let digest = self.content_digest.as_deref();
        digest.map(|digest| Sha256(digest.try_into().unwrap_or([0; 32])))
    }

    pub(super) fn answered(self) -> Answered {
        Answered { content: self.content(), from_answer: self.from_answer, reply: self.reply.reply() }
    }
}

#[derive(FromRow)]
pub(super) struct ReplyRow {
    pub(super) reply_head: Option<Json<Value>>,
    pub(super) reply_body: Option<Vec<u8>>,
}

impl ReplyRow {
    pub(super) fn reply(self) -> Reply {
        Reply {
            head: self.reply_head.map_or(Value::Null, |head| head.0),
            body: self.reply_body.unwrap_or_default(),
        }
    }
}

pub(crate) async fn lock_key(tx: &mut Tx<'_>, digest: &str) -> Result<Option<KeyRow>, Fault> {
    let sql = locking!(
        tx,
        "SELECT state, node, epoch, offer_id, content_digest, refusal_id, from_answer, reply_head, reply_body \
         FROM intake_keys WHERE digest = $1"
    );
    Ok(on!(tx, c => sqlx::query_as(sql).bind(digest).fetch_optional(c).await)?)
}

/// What an attempt to reserve a key has found.
pub(super) enum Reserved {
    /// It was not known, and is reserved now.
    New,
    /// It is known, and locked.
    Known(KeyRow),
    /// Others reserved and freed it again and again meanwhile.
    Not,
}

/// Reserves a key for a node, unless it is known. If a copy of the message is being recorded at this moment, this waits for its
/// commit.
pub(super) async fn reserve(
    tx: &mut Tx<'_>,
    key: &str,
    (node, epoch): (&NodeName, i64),
    now: Timestamp,
) -> Result<Reserved, Fault> {
    let key_digest = digest(key);
    // The row may be deleted when it is read; then the next iteration inserts it.
    for _ in 0..3 {
        let new = on!(tx, c => sqlx::query(
            "INSERT INTO intake_keys (digest, key, state, node, epoch, began_at) \
             VALUES ($1, $2, 'in_progress', $3, $4, $5) ON CONFLICT (digest) DO NOTHING")
            .bind(&key_digest).bind(key).bind(node.as_str()).bind(epoch).bind(now)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if new == 1 {
            return Ok(Reserved::New);
        }
        if let Some(row) = lock_key(tx, &key_digest).await? {
            return Ok(Reserved::Known(row));
        }
    }
    Ok(Reserved::Not)
}
