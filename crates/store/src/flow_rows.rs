//! Tables with a row for each flow of which something is known: whether a flow has one, its removal, and that of the rows of flows
//! that are polled no more.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Result};
use std::collections::BTreeSet;

/// The statements of such a table.
#[derive(Clone, Copy)]
pub(crate) struct FlowRows {
    pub(crate) flows: &'static str,
    pub(crate) find: &'static str,
    pub(crate) remove: &'static str,
    pub(crate) forget: &'static str,
}

/// The [`FlowRows`] of a table.
macro_rules! flow_rows {
    ($table:literal) => {
        $crate::flow_rows::FlowRows {
            flows: concat!(
                "SELECT flow FROM ",
                $table,
                " WHERE NOT EXISTS (SELECT 1 FROM revisions WHERE number > $1)"
            ),
            find: concat!("SELECT flow FROM ", $table, " WHERE flow = $1"),
            remove: concat!("DELETE FROM ", $table, " WHERE flow = $1"),
            forget: concat!(
                "DELETE FROM ",
                $table,
                " WHERE flow = $1 AND NOT EXISTS (SELECT 1 FROM revisions WHERE number > $2)"
            ),
        }
    };
}
pub(crate) use flow_rows;

impl Store {
    /// Removes a flow's row, if it has one; the answer is whether it had. Writes nothing otherwise.
    pub(crate) async fn remove_row(
        &self,
        rows: FlowRows,
        flow: &str,
        event: Option<AuditEvent>,
    ) -> Result<bool> {
        let found: Option<String> = self
            .read("read what is recorded of a flow", async {
                on!(self.pool(), c => sqlx::query_scalar(rows.find).bind(flow).fetch_optional(c).await)
            })
            .await?;
        match found {
            Some(flow) => self.write(Remove { rows, flow, event }).await,
            None => Ok(false),
        }
    }

    /// Removes the rows of all flows but these, which are those of a revision. Where a newer one is stored, whoever asks does
    /// not know its flows: nothing is removed.
    pub(crate) async fn remove_rows_but(
        &self,
        rows: FlowRows,
        revision: i64,
        flows: &BTreeSet<&str>,
    ) -> Result<()> {
        let known: Vec<String> = self
            .read("read what is recorded of flows", async {
                on!(self.pool(), c => sqlx::query_scalar(rows.flows).bind(revision).fetch_all(c).await)
            })
            .await?;
        for flow in known.into_iter().filter(|flow| !flows.contains(flow.as_str())) {
            self.write(Forget { rows, flow, revision }).await?;
        }
        Ok(())
    }
}

/// Removes the row of a flow that a revision does not have, unless a newer revision was stored since.
struct Forget {
    rows: FlowRows,
    flow: String,
    revision: i64,
}

#[async_trait]
impl Command for Forget {
    type Answer = ();

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<(), Fault> {
        on!(tx, c => sqlx::query(self.rows.forget)
            .bind(&self.flow).bind(self.revision).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}

struct Remove {
    rows: FlowRows,
    flow: String,
    event: Option<AuditEvent>,
}

#[async_trait]
impl Command for Remove {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let removed = on!(tx, c => sqlx::query(self.rows.remove)
            .bind(&self.flow).execute(c).await.map(|done| done.rows_affected()))?;
        if removed == 0 {
            return Ok(false);
        }
        tx.events(self.event.as_slice());
        Ok(true)
    }
}
