//! Deliveries that are put off to the hours of their destinations, so that no claim meets them before.

use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::open::Store;
use crate::row::hex_list;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{Result, Timestamp};
use sqlx::FromRow;
use uuid::Uuid;

/// The most deliveries of one transaction.
const BATCH: i64 = 1000;

/// A destination outside whose hours it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, FromRow)]
pub struct ClosedDestination {
    /// The flow.
    pub flow: String,
    /// Its destination.
    pub destination: String,
    /// When its hours begin.
    #[sqlx(rename = "opens_at")]
    pub opens: Timestamp,
}

impl Store {
    /// Puts off the due deliveries to a destination until its hours begin. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_off(&self, closed: &ClosedDestination, now: Timestamp) -> Result<u64> {
        let ClosedDestination { flow, destination, opens } = closed;
        let mut all = 0;
        loop {
            let ids: Vec<Uuid> = self
                .read("look up deliveries outside the hours of their destination", async {
                    on!(self.pool(), c => sqlx::query_scalar(
                        "SELECT d.id FROM deliveries d WHERE d.state IN ('pending', 'retrying') AND NOT d.held \
                         AND d.due_at <= $1 AND d.destination = $2 \
                         AND (SELECT t.flow FROM transfers t WHERE t.id = d.transfer_id) = $3 LIMIT $4")
                        .bind(now).bind(destination).bind(flow).bind(BATCH).fetch_all(c).await)
                })
                .await?;
            if ids.is_empty() {
                return Ok(all);
            }
            let put_off = self.write(PutOff { ids, opens: *opens, now }).await?;
            all += put_off;
            if put_off == 0 {
                // Others have claimed them.
                return Ok(all);
            }
        }
    }

    /// The destinations whose deliveries are put off, and until when.
    ///
    /// # Errors
    /// The database failed.
    pub async fn put_off_until(&self) -> Result<Vec<ClosedDestination>> {
        self.read("read which deliveries wait for the hours of their destination", async {
            on!(self.pool(), c => sqlx::query_as(
                "SELECT DISTINCT t.flow, d.destination, d.opens_at FROM deliveries d \
                 JOIN transfers t ON t.id = d.transfer_id WHERE d.opens_at IS NOT NULL")
                .fetch_all(c).await)
        })
        .await
    }

    /// Makes the deliveries due again that were put off until then: the hours were changed. Returns their number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn undo_put_off(&self, closed: &ClosedDestination, now: Timestamp) -> Result<u64> {
        let mut all = 0;
        loop {
            let undone = self.write(Undo { closed: closed.clone(), now }).await?;
            all += undone;
            if undone == 0 {
                return Ok(all);
            }
        }
    }
}

struct PutOff {
    ids: Vec<Uuid>,
    opens: Timestamp,
    now: Timestamp,
}

#[async_trait]
impl Command for PutOff {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        Ok(on!(tx,
            sqlite c => sqlx::query(
                "UPDATE deliveries SET due_at = $2, opens_at = $2 WHERE id IN (SELECT unhex(value) FROM json_each($1)) \
                 AND state IN ('pending', 'retrying') AND due_at <= $3")
                .bind(hex_list(&self.ids)).bind(self.opens).bind(self.now)
                .execute(c).await.map(|done| done.rows_affected()),
            postgres c => sqlx::query(
                "UPDATE deliveries SET due_at = $2, opens_at = $2 WHERE id = ANY($1) \
                 AND state IN ('pending', 'retrying') AND due_at <= $3")
                .bind(&self.ids).bind(self.opens).bind(self.now)
                .execute(c).await.map(|done| done.rows_affected()),
        )?)
    }
}

struct Undo {
    closed: ClosedDestination,
    now: Timestamp,
}

#[async_trait]
impl Command for Undo {
    type Answer = u64;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<u64, Fault> {
        let ClosedDestination { flow, destination, opens } = &self.closed;
        let undone = on!(tx, c => sqlx::query(
            "UPDATE deliveries SET opens_at = NULL, due_at = CASE WHEN due_at > $5 THEN $5 ELSE due_at END \
             WHERE id IN (SELECT d.id FROM deliveries d JOIN transfers t ON t.id = d.transfer_id \
               WHERE d.opens_at = $1 AND d.destination = $2 AND t.flow = $3 LIMIT $4)")
            .bind(*opens).bind(destination).bind(flow).bind(BATCH).bind(self.now)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if undone > 0 {
            tx.wake(Topic::Deliveries);
        }
        Ok(undone)
    }
}
