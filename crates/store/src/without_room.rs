//! Flows whose files wait at their source, because staging has no room for them.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::flow_rows::{FlowRows, flow_rows};
use crate::row::{path, signed, unsigned};
use crate::tx::Tx;
use crate::waiting_for_room::WaitingForRoom;
use async_trait::async_trait;
use model::{AuditEvent, NodeName, RemotePath, Result, Timestamp};
use sqlx::FromRow;
use std::collections::BTreeSet;

const WAITING: FlowRows = flow_rows!("waiting_for_room");

/// The files of a flow for which a poll found no room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilesWithoutRoom {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The node that polled.
    pub node: NodeName,
    /// When it polled.
    pub at: Timestamp,
    /// How many files wait.
    pub files: u64,
    /// The largest of them.
    pub largest: RemotePath,
    /// The bytes that it needs.
    pub bytes: u64,
}

#[derive(FromRow)]
struct Row {
    flow: String,
    endpoint: String,
    node: String,
    since_at: Timestamp,
    files: i64,
    largest: String,
    bytes: i64,
}

impl Store {
    /// Records which files wait for room. The event is written if none of the flow waited before; the answer is whether
    /// that is so.
    ///
    /// # Errors
    /// The database failed.
    pub async fn files_wait_for_room(&self, waiting: FilesWithoutRoom, event: AuditEvent) -> Result<bool> {
        self.write(Wait { waiting, event }).await
    }

    /// Records that no file of a flow waits for room any more. The event is written if some did; the answer is whether
    /// that is so.
    ///
    /// # Errors
    /// The database failed.
    pub async fn no_file_waits_for_room(&self, flow: &str, event: AuditEvent) -> Result<bool> {
        self.remove_row(WAITING, flow, Some(event)).await
    }

    /// The flows whose files wait for room, by name; the first thousand.
    ///
    /// # Errors
    /// The database failed.
    pub async fn waiting_for_room(&self) -> Result<Vec<WaitingForRoom>> {
        let rows: Vec<Row> = self
            .read("read which flows wait for room in staging", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT flow, endpoint, node, since_at, files, largest, bytes FROM waiting_for_room \
                     ORDER BY flow LIMIT 1000")
                    .fetch_all(c).await)
            })
            .await?;
        let read = |row: Row| {
            Ok(WaitingForRoom {
                flow: row.flow,
                endpoint: row.endpoint,
                node: row.node,
                since: row.since_at,
                files: unsigned(row.files)?,
                largest: path(&row.largest)?,
                bytes: unsigned(row.bytes)?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Forgets the files of flows other than these, which a revision has: they are polled no more. Nothing where a newer
    /// revision is stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_waiting_for_room_but(&self, revision: i64, flows: &BTreeSet<&str>) -> Result<()> {
        self.remove_rows_but(WAITING, revision, flows).await
    }
}

struct Wait {
    waiting: FilesWithoutRoom,
    event: AuditEvent,
}

#[async_trait]
impl Command for Wait {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let FilesWithoutRoom { flow, endpoint, node, at, files, largest, bytes } = &self.waiting;
        let changed = on!(tx, c => sqlx::query(
            "UPDATE waiting_for_room SET endpoint = $2, node = $3, files = $4, largest = $5, bytes = $6 WHERE flow = $1")
            .bind(flow).bind(endpoint).bind(node.to_string()).bind(signed(*files)?).bind(largest.to_text())
            .bind(signed(*bytes)?)
            .execute(c).await.map(|done| done.rows_affected()))?;
        if changed > 0 {
            return Ok(false);
        }
        on!(tx, c => sqlx::query(
            "INSERT INTO waiting_for_room (flow, endpoint, node, since_at, files, largest, bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)")
            .bind(flow).bind(endpoint).bind(node.to_string()).bind(*at).bind(signed(*files)?).bind(largest.to_text())
            .bind(signed(*bytes)?)
            .execute(c).await.map(|_| ()))?;
        tx.events(std::slice::from_ref(&self.event));
        Ok(true)
    }
}
