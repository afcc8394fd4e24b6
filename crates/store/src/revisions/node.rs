//! Which revision each node has in force.

use crate::Store;
use crate::command::{Command, place_of};
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, NodeName, Result, Timestamp};
use sqlx::FromRow;

/// A node and its revision.
#[derive(Clone, PartialEq, Eq, Debug, FromRow)]
pub struct NodeRevision {
    /// The node's name.
    pub node: String,
    /// The revision in force on it.
    pub revision: i64,
    /// Since when it is in force there.
    #[sqlx(rename = "since_at")]
    pub since: Timestamp,
    /// When the node last reported it.
    #[sqlx(rename = "reported_at")]
    pub at: Timestamp,
    /// Why a newer revision is not in force on it.
    pub problem: Option<String>,
    /// Whether the node holds its lease now.
    pub lives: bool,
}

impl Store {
    /// Records which revision a node has in force, and why it is not the newest, with the events.
    ///
    /// # Errors
    /// The database failed.
    pub async fn report_revision(
        &self,
        node: &NodeName,
        revision: i64,
        problem: Option<String>,
        at: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<()> {
        self.write(Report { node: node.clone(), revision, problem, at, events }).await
    }

    /// Which revision each node reported, by name. Nodes that have stopped stay listed, as not living.
    ///
    /// # Errors
    /// The database failed.
    pub async fn node_revisions(&self, now: Timestamp) -> Result<Vec<NodeRevision>> {
        self.read("read which revision each node has in force", async {
            on!(self.pool(), c => sqlx::query_as(
                "SELECT n.node, n.revision, n.since_at, n.reported_at, n.problem, \
                 coalesce(l.held AND l.until_at > $1, false) AS lives \
                 FROM node_revisions n LEFT JOIN leases l ON l.node = n.node ORDER BY n.node",
            )
            .bind(now)
            .fetch_all(c)
            .await)
        })
        .await
    }
}

struct Report {
    node: NodeName,
    revision: i64,
    problem: Option<String>,
    at: Timestamp,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Report {
    type Answer = ();

    fn place(&self) -> u128 {
        place_of(self.node.as_str())
    }

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query(
            "INSERT INTO node_revisions (node, revision, since_at, reported_at, problem) VALUES ($1, $2, $3, $3, $4) \
             ON CONFLICT (node) DO UPDATE SET since_at = CASE WHEN node_revisions.revision = excluded.revision \
               THEN node_revisions.since_at ELSE excluded.since_at END, revision = excluded.revision, \
             reported_at = excluded.reported_at, problem = excluded.problem",
        )
        .bind(self.node.as_str())
        .bind(self.revision)
        .bind(self.at)
        .bind(&self.problem)
        .execute(c)
        .await
        .map(|_| ()))?;
        tx.events(&self.events);
        Ok(())
    }
}
