//! Claims of files that were left behind at the sources of flows, as the last poll of each found them.

use crate::Store;
use crate::claims_left::ClaimsLeft;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::flow_rows::{FlowRows, flow_rows};
use crate::row::{path, signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Result, Timestamp};
use sqlx::FromRow;
use std::collections::BTreeSet;

const LEFT: FlowRows = flow_rows!("claims_left");

#[derive(FromRow)]
struct Row {
    flow: String,
    node: String,
    since_at: Timestamp,
    released_at: Timestamp,
    files: i64,
    path: String,
}

impl Store {
    /// Records which claims a poll of a flow found left behind.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claims_are_left(&self, left: ClaimsLeft) -> Result<()> {
        self.write(Left(left)).await
    }

    /// Records that a poll of a flow found none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn no_claim_is_left(&self, flow: &str) -> Result<()> {
        self.remove_row(LEFT, flow, None).await.map(drop)
    }

    /// The flows with claims that were left behind, by name; the first thousand.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claims_left(&self) -> Result<Vec<ClaimsLeft>> {
        let rows: Vec<Row> = self
            .read("read which claims were left behind", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT flow, node, since_at, released_at, files, path FROM claims_left ORDER BY flow LIMIT 1000")
                    .fetch_all(c).await)
            })
            .await?;
        let read = |row: Row| {
            Ok(ClaimsLeft {
                flow: row.flow,
                node: row.node,
                since: row.since_at,
                released: row.released_at,
                files: unsigned(row.files)?,
                path: path(&row.path)?,
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Forgets the claims of flows other than these, which a revision has: they are polled no more. Nothing where a newer
    /// revision is stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_claims_left_but(&self, revision: i64, flows: &BTreeSet<&str>) -> Result<()> {
        self.remove_rows_but(LEFT, revision, flows).await
    }
}

struct Left(ClaimsLeft);

#[async_trait]
impl Command for Left {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        let ClaimsLeft { flow, node, since, released, files, path } = &self.0;
        on!(tx, c => sqlx::query(
            "INSERT INTO claims_left (flow, node, since_at, released_at, files, path) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (flow) DO UPDATE SET node = excluded.node, since_at = excluded.since_at, \
               released_at = excluded.released_at, files = excluded.files, path = excluded.path")
            .bind(flow).bind(node).bind(*since).bind(*released).bind(signed(*files)?).bind(path.to_text())
            .execute(c).await.map(|_| ()))?;
        Ok(())
    }
}
