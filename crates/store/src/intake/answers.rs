//! Answers that wait for a payload: the connection that brought a message is kept open, and a delivery to its sender goes into
//! the answer. Which node has the connection does not matter: both sides meet in the row of the message.

use super::Reply;
use super::keys::{ReplyRow, lock_key};
use crate::command::{Command, place_of};
use crate::delivery::{Done, insert_payload, may_write, refer, write_note};
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::{PayloadRow, digest};
use crate::tx::Tx;
use async_trait::async_trait;
use chrono::SecondsFormat;
use model::{Claim, GIVEN_ANSWER, PayloadId, PayloadRecord, Result, Timestamp, TransferId};
use serde_json::{Value, json};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// How the answer to a message stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnswerState {
    /// It waits for nothing: there is the stored reply.
    Plain,
    /// It waits for a payload until this time.
    Waiting(Timestamp),
    /// It has one.
    Given {
        /// The head of the whole answer, as that of [`Reply`].
        head: Value,
        /// Its body, which is staged.
        body: PayloadRecord,
    },
}

/// The message that a payload answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AnsweredBy {
    /// By its key.
    Key(String),
    /// By a transfer that was made of it.
    Transfer(TransferId),
}

/// The answer to [`Store::give_answer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AnswerGiven {
    /// The payload is in the answer.
    Given,
    /// The answer does not wait any more: nothing was written.
    TooLate,
    /// Another node has the delivery: nothing was written.
    ClaimLost,
}

impl Store {
    /// How the answer to a message stands that is given this reply. One that is not the reply of the message's commit answers
    /// another message under its key, and is plain; so is an answer whose body was removed, at the end of its retention.
    ///
    /// # Errors
    /// The database failed.
    pub async fn answer_state(&self, key: &str, reply: &Reply) -> Result<AnswerState> {
        let digest = digest(key);
        let found: Option<AnswerRow> = self
            .read("look up how an answer stands", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT answer_until, answer_head, answer_payload_id, reply_head, reply_body FROM intake_keys \
                     WHERE digest = $1 AND state = 'answered'")
                    .bind(&digest).fetch_optional(c).await)
            })
            .await?;
        let Some(AnswerRow { answer_until, answer_head, answer_payload_id, reply: stored }) = found else {
            return Ok(AnswerState::Plain);
        };
        if stored.reply() != *reply {
            return Ok(AnswerState::Plain);
        }
        let (Some(head), Some(body)) = (answer_head, answer_payload_id) else {
            return Ok(answer_until.map_or(AnswerState::Plain, AnswerState::Waiting));
        };
        let body: Option<PayloadRow> = self
            .read("look up the body of an answer", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM payloads WHERE id = $1 AND removed_at IS NULL")
                    .bind(body).fetch_optional(c).await)
            })
            .await?;
        match body {
            Some(body) => Ok(AnswerState::Given { head: head.0, body: body.payload()? }),
            None => Ok(AnswerState::Plain),
        }
    }

    /// Ends the wait for a payload; from here on none goes into the answer. How it stands then.
    ///
    /// # Errors
    /// The database failed.
    pub async fn close_answer(&self, key: &str, reply: &Reply) -> Result<AnswerState> {
        if matches!(self.answer_state(key, reply).await?, AnswerState::Waiting(_)) {
            self.write(CloseAnswer { key: key.to_owned() }).await?;
        }
        self.answer_state(key, reply).await
    }

    /// The key and the stored reply of a message whose answer waits for a payload; `None` of any other.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting_answer(&self, of: &AnsweredBy, now: Timestamp) -> Result<Option<(String, Reply)>> {
        let found: Option<WaitingRow> = self
            .read("look up an answer that waits", async {
                match of {
                    AnsweredBy::Key(key) => on!(self.pool(), c => sqlx::query_as(
                        "SELECT key, reply_head, reply_body FROM intake_keys WHERE digest = $1 AND state = 'answered' \
                           AND answer_until > $2 AND answer_payload_id IS NULL")
                        .bind(digest(key)).bind(now).fetch_optional(c).await),
                    AnsweredBy::Transfer(transfer) => on!(self.pool(), c => sqlx::query_as(
                        "SELECT key, reply_head, reply_body FROM intake_keys WHERE state = 'answered' \
                           AND answer_until > $2 AND answer_payload_id IS NULL \
                           AND offer_id = (SELECT offer_id FROM transfers WHERE id = $1)")
                        .bind(transfer.uuid()).bind(now).fetch_optional(c).await),
                }
            })
            .await?;
        Ok(found.map(|row| (row.key, row.reply.reply())))
    }

    /// Puts what a delivery sends into the answer to a message that still waits: the head and the staged body of the whole
    /// answer, which is kept as long as the delivery's other payloads. A repetition of the message gets the same. The delivery's
    /// note [`GIVEN_ANSWER`] tells later attempts, should the end of this one not be recorded: the key, the attempt and the time.
    ///
    /// # Errors
    /// The database failed. If `Ambiguous`, call again with the same body.
    pub async fn give_answer(
        &self,
        claim: &Claim,
        key: &str,
        head: Value,
        body: PayloadRecord,
        now: Timestamp,
    ) -> Result<AnswerGiven> {
        self.write(GiveAnswer { claim: claim.clone(), key: key.to_owned(), head, body, now }).await
    }
}

#[derive(FromRow)]
struct AnswerRow {
    answer_until: Option<Timestamp>,
    answer_head: Option<Json<Value>>,
    answer_payload_id: Option<Uuid>,
    #[sqlx(flatten)]
    reply: ReplyRow,
}

#[derive(FromRow)]
struct WaitingRow {
    key: String,
    #[sqlx(flatten)]
    reply: ReplyRow,
}

struct CloseAnswer {
    key: String,
}

#[async_trait]
impl Command for CloseAnswer {
    type Answer = Done;

    fn place(&self) -> u128 {
        place_of(&self.key)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Done, Fault> {
        on!(tx, c => sqlx::query("UPDATE intake_keys SET answer_until = NULL WHERE digest = $1")
            .bind(digest(&self.key)).execute(c).await.map(|_| ()))?;
        Ok(Done::Done)
    }
}

struct GiveAnswer {
    claim: Claim,
    key: String,
    head: Value,
    body: PayloadRecord,
    now: Timestamp,
}

#[async_trait]
impl Command for GiveAnswer {
    type Answer = AnswerGiven;

    fn place(&self) -> u128 {
        self.claim.delivery.uuid().as_u128()
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<AnswerGiven, Fault> {
        if !may_write(tx, &self.claim).await? {
            return Ok(AnswerGiven::ClaimLost);
        }
        let digest = digest(&self.key);
        if lock_key(tx, &digest).await?.is_none() {
            return Ok(AnswerGiven::TooLate);
        }
        let given: Option<Uuid> = on!(tx, c => sqlx::query_scalar(
            "SELECT answer_payload_id FROM intake_keys WHERE digest = $1").bind(&digest).fetch_one(c).await)?;
        if given.map(PayloadId::new) == Some(self.body.id) {
            return Ok(AnswerGiven::Given);
        }
        let waits = on!(tx, c => sqlx::query(
            "UPDATE intake_keys SET answer_head = $2, answer_payload_id = $3 WHERE digest = $1 AND state = 'answered' \
               AND answer_until > $4 AND answer_payload_id IS NULL")
            .bind(&digest).bind(Json(&self.head)).bind(self.body.id.uuid()).bind(self.now)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if waits == 0 {
            return Ok(AnswerGiven::TooLate);
        }
        let transfer: Uuid = on!(tx, c => sqlx::query_scalar("SELECT transfer_id FROM deliveries WHERE id = $1")
            .bind(self.claim.delivery.uuid()).fetch_one(c).await)?;
        insert_payload(tx, &self.body).await?;
        refer(tx, &self.body, TransferId::new(transfer)).await?;
        let at = self.now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let note = json!({ "key": self.key, "attempt": self.claim.attempt, "at": at });
        write_note(tx, self.claim.delivery, GIVEN_ANSWER, &note).await?;
        Ok(AnswerGiven::Given)
    }
}
