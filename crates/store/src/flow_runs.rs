//! Runs of flows that people request: a poll at once, on the node that polls the flow's source.

#[cfg(test)]
mod tests;

use crate::Store;
use crate::command::{Command, place_of};
use crate::either::on;
use crate::fault::Fault;
use crate::lease::NodeLease;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use chrono::TimeDelta;
use model::{Actor, AuditEvent, PollReport, Result, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use sqlx::types::Json;
use uuid::Uuid;

/// How long a result is kept.
const KEPT: TimeDelta = TimeDelta::days(1);

/// A request for a run.
#[derive(Clone, Debug)]
pub struct NewFlowRun {
    /// The caller's id, by which it asks for the result.
    pub id: Uuid,
    /// The flow.
    pub flow: String,
    /// Who requests it.
    pub by: Actor,
    /// When.
    pub at: Timestamp,
    /// No node starts it after this time.
    pub begin_by: Timestamp,
    /// The events of the request.
    pub events: Vec<AuditEvent>,
}

/// A run that waits for a node, or was interrupted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OpenFlowRun {
    /// Its id.
    pub id: Uuid,
    /// The flow.
    pub flow: String,
    /// Who requested it.
    pub by: Actor,
}

/// The result of a run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FlowRunResult {
    /// The source was polled.
    Polled(PollReport),
    /// The poll failed, after these counts.
    Failed {
        /// The reason.
        error: String,
        /// The counts of files by result so far.
        report: PollReport,
    },
    /// The source's endpoint is offline after failures; it was not tried.
    EndpointOffline {
        /// Until when.
        until: Timestamp,
    },
}

/// The progress of a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlowRun {
    /// The node that started it.
    pub node: Option<String>,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended, with its result.
    pub ended: Option<(Timestamp, FlowRunResult)>,
}

#[derive(FromRow)]
struct OpenRow {
    id: Uuid,
    flow: String,
    actor: String,
}

#[derive(FromRow)]
struct Row {
    node: Option<String>,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    result: Option<Json<FlowRunResult>>,
}

impl Store {
    /// Requests a run. Results of earlier runs are deleted after a day.
    ///
    /// # Errors
    /// The database failed.
    pub async fn request_flow_run(&self, run: NewFlowRun) -> Result<()> {
        self.write(run).await
    }

    /// The runs that a node may start now.
    ///
    /// # Errors
    /// The database failed.
    pub async fn open_flow_runs(&self, now: Timestamp) -> Result<Vec<OpenFlowRun>> {
        let rows: Vec<OpenRow> = self
            .read("read which flows are to run", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT r.id, r.flow, r.actor FROM flow_runs r WHERE r.ended_at IS NULL AND r.begin_by > $1 \
                     AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.node = r.node AND l.epoch = r.epoch AND l.held) \
                     ORDER BY r.requested_at LIMIT 1000")
                    .bind(now).fetch_all(c).await)
            })
            .await?;
        let run = |row: OpenRow| OpenFlowRun {
            id: row.id,
            flow: row.flow,
            by: Actor::from_text(&row.actor).unwrap_or(Actor::System),
        };
        Ok(rows.into_iter().map(run).collect())
    }

    /// Starts a run under a node's lease; false if another living node has started it, or it is over. A run whose
    /// node died may be started again.
    ///
    /// # Errors
    /// The database failed.
    pub async fn begin_flow_run(&self, id: Uuid, lease: &NodeLease, now: Timestamp) -> Result<bool> {
        self.write(Begin { id, lease: lease.clone(), now }).await
    }

    /// Ends a run that was started under this lease, with its events.
    ///
    /// # Errors
    /// The database failed.
    pub async fn end_flow_run(
        &self,
        id: Uuid,
        lease: &NodeLease,
        result: FlowRunResult,
        now: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<bool> {
        self.write(End { id, lease: lease.clone(), result, now, events }).await
    }

    /// The progress of a run; `None` if it is unknown or was deleted.
    ///
    /// # Errors
    /// The database failed.
    pub async fn flow_run(&self, id: Uuid) -> Result<Option<FlowRun>> {
        let row: Option<Row> = self
            .read("read a run of a flow", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT node, started_at, ended_at, result FROM flow_runs WHERE id = $1")
                    .bind(id).fetch_optional(c).await)
            })
            .await?;
        Ok(row.map(|row| FlowRun {
            node: row.node,
            started_at: row.started_at,
            ended: row.ended_at.zip(row.result.map(|Json(result)| result)),
        }))
    }
}

#[async_trait]
impl Command for NewFlowRun {
    type Answer = ();

    fn place(&self) -> u128 {
        place_of(&self.flow)
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query("DELETE FROM flow_runs WHERE requested_at < $1")
            .bind(self.at - KEPT).execute(c).await.map(|_| ()))?;
        on!(tx, c => sqlx::query(
            "INSERT INTO flow_runs (id, flow, actor, requested_at, begin_by) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (id) DO NOTHING")
            .bind(self.id).bind(&self.flow).bind(self.by.to_text()).bind(self.at).bind(self.begin_by)
            .execute(c).await.map(|_| ()))?;
        tx.events(&self.events);
        // Nodes query for runs when they are woken.
        tx.wake(Topic::Decisions);
        Ok(())
    }
}

struct Begin {
    id: Uuid,
    lease: NodeLease,
    now: Timestamp,
}

#[async_trait]
impl Command for Begin {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        if !tx.holds(&self.lease, self.now).await? {
            return Ok(false);
        }
        let begun = on!(tx, c => sqlx::query(
            "UPDATE flow_runs SET node = $2, epoch = $3, started_at = $4 \
             WHERE id = $1 AND ended_at IS NULL AND begin_by > $4 \
             AND NOT EXISTS (SELECT 1 FROM leases l WHERE l.node = flow_runs.node AND l.epoch = flow_runs.epoch AND l.held)")
            .bind(self.id).bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(self.now)
            .execute(c).await.map(|done| done.rows_affected()))?;
        Ok(begun == 1)
    }
}

struct End {
    id: Uuid,
    lease: NodeLease,
    result: FlowRunResult,
    now: Timestamp,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for End {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let ended = on!(tx, c => sqlx::query(
            "UPDATE flow_runs SET ended_at = $4, result = $5 \
             WHERE id = $1 AND node = $2 AND epoch = $3 AND ended_at IS NULL")
            .bind(self.id).bind(self.lease.node.as_str()).bind(self.lease.epoch).bind(self.now)
            .bind(Json(&self.result)).execute(c).await.map(|done| done.rows_affected()))?;
        if ended == 1 {
            tx.events(&self.events);
            tx.wake(Topic::Decisions);
        }
        Ok(ended == 1)
    }
}
