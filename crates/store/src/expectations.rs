//! Files that flows expect by a time of the day: whether they had come on the last day.

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::flow_rows::{FlowRows, flow_rows};
use crate::missing_files::MissingFiles;
use crate::row::{signed, unsigned};
use crate::tx::Tx;
use async_trait::async_trait;
use model::{AuditEvent, Result, Timestamp};
use sqlx::FromRow;
use std::collections::BTreeSet;

const EXPECTATIONS: FlowRows = flow_rows!("expectations");

/// What was found when the time of a day had come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JudgedDay {
    /// The flow.
    pub flow: String,
    /// The day, as `2026-12-24`.
    pub day: String,
    /// By when the files were expected.
    pub by: Timestamp,
    /// How many were expected at least.
    pub at_least: u64,
    /// How many had come, counted up to `at_least`.
    pub found: u64,
}

impl JudgedDay {
    /// Whether files were missing.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        self.found < self.at_least
    }
}

/// The last day of a flow that was judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastJudged {
    /// The day.
    pub day: String,
    /// Whether its files are still missing.
    pub is_missing: bool,
}

#[derive(FromRow)]
struct Row {
    flow: String,
    day: String,
    due_at: Timestamp,
    at_least: i64,
    found: i64,
}

impl Store {
    /// The last day of a flow that was judged; `None` if there is none.
    ///
    /// # Errors
    /// The database failed.
    pub async fn last_judged(&self, flow: &str) -> Result<Option<LastJudged>> {
        let row: Option<(String, bool)> = self
            .read("read whether expected files came", async {
                on!(self.pool(), c => sqlx::query_as("SELECT day, missing FROM expectations WHERE flow = $1")
                    .bind(flow).fetch_optional(c).await)
            })
            .await?;
        Ok(row.map(|(day, is_missing)| LastJudged { day, is_missing }))
    }

    /// How many files a flow took from a moment on and before another one; counted up to `most`.
    ///
    /// # Errors
    /// The database failed.
    pub async fn files_taken(
        &self,
        flow: &str,
        from: Timestamp,
        before: Timestamp,
        most: u64,
    ) -> Result<u64> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let count: i64 = self
            .read("count the files that a flow took", async {
                on!(self.pool(), c => sqlx::query_scalar(
                    "SELECT count(*) FROM (SELECT id FROM transfers WHERE flow = $1 AND created_at >= $2 \
                     AND created_at < $3 AND kind = 'payload' AND parent_id IS NULL LIMIT $4) AS counted")
                    .bind(flow).bind(from).bind(before).bind(most).fetch_one(c).await)
            })
            .await?;
        unsigned(count)
    }

    /// Records what was found when the time of a day had come, with its events; false if that day or a later one was
    /// judged already: then nothing was written.
    ///
    /// # Errors
    /// The database failed.
    pub async fn judge_day(&self, judged: JudgedDay, events: Vec<AuditEvent>) -> Result<bool> {
        self.write(Judge { judged, events }).await
    }

    /// Records that the files of a day came after their time, with its events; false if that is recorded already, or
    /// another day was judged since.
    ///
    /// # Errors
    /// The database failed.
    pub async fn files_arrived(&self, flow: &str, day: &str, events: Vec<AuditEvent>) -> Result<bool> {
        self.write(Arrived { flow: flow.to_owned(), day: day.to_owned(), events }).await
    }

    /// The flows whose files are missing, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn missing_files(&self) -> Result<Vec<MissingFiles>> {
        let rows: Vec<Row> = self
            .read("read which files are missing", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT flow, day, due_at, at_least, found FROM expectations WHERE missing ORDER BY flow LIMIT 1000")
                    .fetch_all(c).await)
            })
            .await?;
        let read = |row: Row| {
            let (at_least, found) = (unsigned(row.at_least)?, unsigned(row.found)?);
            Ok(MissingFiles { flow: row.flow, day: row.day, by: row.due_at, at_least, found })
        };
        rows.into_iter().map(read).collect()
    }

    /// Forgets the days of flows other than these, which a revision has: they expect files no more. Nothing where a newer
    /// revision is stored.
    ///
    /// # Errors
    /// The database failed.
    pub async fn forget_expectations_but(&self, revision: i64, flows: &BTreeSet<&str>) -> Result<()> {
        self.remove_rows_but(EXPECTATIONS, revision, flows).await
    }
}

struct Judge {
    judged: JudgedDay,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Judge {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let judged = &self.judged;
        let written = on!(tx, c => sqlx::query(
            "INSERT INTO expectations (flow, day, due_at, at_least, found, missing) VALUES ($1, $2, $3, $4, $5, $6) \
             ON CONFLICT (flow) DO UPDATE SET day = excluded.day, due_at = excluded.due_at, \
               at_least = excluded.at_least, found = excluded.found, missing = excluded.missing \
             WHERE expectations.day < excluded.day")
            .bind(&judged.flow).bind(&judged.day).bind(judged.by).bind(signed(judged.at_least)?)
            .bind(signed(judged.found)?).bind(judged.is_missing())
            .execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(false);
        }
        tx.events(&self.events);
        Ok(true)
    }
}

struct Arrived {
    flow: String,
    day: String,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for Arrived {
    type Answer = bool;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<bool, Fault> {
        let written = on!(tx, c => sqlx::query(
            "UPDATE expectations SET missing = false WHERE flow = $1 AND day = $2 AND missing")
            .bind(&self.flow).bind(&self.day).execute(c).await.map(|done| done.rows_affected()))?;
        if written == 0 {
            return Ok(false);
        }
        tx.events(&self.events);
        Ok(true)
    }
}
