//! Flows whose polls fail, from the first failure until a poll succeeds.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::failing_poll::FailingPoll;
use crate::fault::Fault;
use crate::flow_rows::{FlowRows, flow_rows};
use crate::row::{signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, NodeName, Result, Timestamp};
use sqlx::FromRow;
use std::collections::BTreeSet;

const FAILING: FlowRows = flow_rows!("failing_polls");

/// A poll that failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailedPoll {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The node that polled.
    pub node: NodeName,
    /// When it failed.
    pub at: Timestamp,
    /// Why, as people read it; text from a peer is made safe.
    pub error: String,
}

#[derive(FromRow)]
struct Row {
    flow: String,
    endpoint: String,
    node: String,
    since_at: Timestamp,
    last_at: Timestamp,
    failures: i64,
    error: String,
}

impl Store {
    /// Records that a poll failed, with its event.
    ///
    /// # Errors
    /// The database failed.
    pub async fn poll_failed(&self, failed: FailedPoll, event: AuditEvent) -> Result<()> {
        self.write(Failed { failed, event }).await
    }

    /// Records that a poll succeeded. Writes nothing if the one before did, too.
    ///
    /// # Errors
    /// The database failed.
    pub async fn poll_succeeded(&self, flow: &str) -> Result<()> {
        self.remove_row(FAILING, flow, None).await.map(drop)
    }

    /// The flows whose polls fail, by name; the first thousand.
    ///
    /// # Errors
    /// The database failed.
    pub async fn failing_polls(&self) -> Result<Vec<FailingPoll>> {
        let rows: Vec<Row> = self
            .read("read which flows cannot be polled", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT flow, endpoint, node, since_at, last_at, failures, error FROM failing_polls \
                     ORDER BY flow LIMIT 1000")
                    .fetch_all(c).await)
            })
            .await?;
        let read = |row: Row| {
            Ok(FailingPoll {
                flow: row.flow,
                endpoint: row.endpoint,
                node: row.node,
                since: row.since_at,
                last: row.last_at,
                failures: unsigned(row.failures)?,
                error: row.error,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Forgets the failures of flows other than these, which a revision has: they are polled no more. Nothing where a newer
    /// revision is stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_failing_polls_but(&self, revision: i64, flows: &BTreeSet<&str>) -> Result<()> {
        self.remove_rows_but(FAILING, revision, flows).await
    }
}

struct Failed {
    failed: FailedPoll,
    event: AuditEvent,
}

#[async_trait]
impl Command for Failed {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let failed = &self.failed;
        on!(tx, c => sqlx::query(
            "INSERT INTO failing_polls (flow, endpoint, node, since_at, last_at, failures, error) \
             VALUES ($1, $2, $3, $4, $4, $5, $6) \
             ON CONFLICT (flow) DO UPDATE SET endpoint = excluded.endpoint, node = excluded.node, \
               last_at = excluded.last_at, failures = failing_polls.failures + 1, error = excluded.error")
            .bind(&failed.flow).bind(&failed.endpoint).bind(failed.node.to_string()).bind(failed.at)
            .bind(signed(1)?).bind(&failed.error)
            .execute(c).await.map(|_| ()))?;
        tx.events(std::slice::from_ref(&self.event));
        Ok(())
    }
}
