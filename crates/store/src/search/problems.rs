//! Problems that the overview shows, in addition to deliveries and offline endpoints.

use super::query::{Bind, Query};
use crate::Store;
use chrono::TimeDelta;
use model::{EventKind, Result, Timestamp};
use serde_json::{Map, Value};
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::BTreeMap;

/// How far back refused messages are looked for.
const REFUSED: TimeDelta = TimeDelta::days(1);
/// Refused messages that are looked at, the latest ones.
const REFUSED_AT_MOST: u64 = 500;

/// Files at a source that share a problem: they are ours and could not be deleted, archived or moved, or they were
/// refused and stay where they are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceFiles {
    /// The flow.
    pub flow: String,
    /// The endpoint.
    pub endpoint: String,
    /// How many files.
    pub files: u64,
    /// When the first of them was found.
    pub since: Timestamp,
    /// The error of one of them.
    pub error: Option<String>,
}

/// Messages that a listener refused for the same reason in the last 24 hours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefusedMessages {
    /// The partner that sent them, as far as it is known.
    pub partner: Option<String>,
    /// The reason.
    pub why: String,
    /// How many, among the latest 500.
    pub count: u64,
    /// The first of these.
    pub since: Timestamp,
    /// The last of these.
    pub last: Timestamp,
    /// From where the last of these came.
    pub peer: Option<String>,
}

/// Transfers of a flow whose steps could not be done and are tried again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FailingSteps {
    /// The flow.
    pub flow: String,
    /// How many transfers.
    pub transfers: u64,
    /// When the first of them was recorded.
    pub since: Timestamp,
    /// When the next attempt comes.
    pub next: Option<Timestamp>,
    /// The error of one of them.
    pub error: Option<String>,
}

#[derive(FromRow)]
struct StepsRow {
    flow: String,
    transfers: i64,
    since: Timestamp,
    next: Option<Timestamp>,
    error: Option<String>,
}

#[derive(FromRow)]
struct SourceRow {
    flow: String,
    endpoint: String,
    files: i64,
    since: Timestamp,
    error: Option<String>,
}

impl From<SourceRow> for SourceFiles {
    fn from(row: SourceRow) -> Self {
        let SourceRow { flow, endpoint, files, since, error } = row;
        Self { flow, endpoint, files: u64::try_from(files).unwrap_or(0), since, error }
    }
}

#[derive(FromRow)]
struct RefusedRow {
    at: Timestamp,
    partner: Option<String>,
    peer: Option<String>,
    detail: Json<Map<String, Value>>,
}

impl Store {
    /// Sources that could not be settled, those with the most files first, at most 50.
    pub(super) async fn unsettled(&self) -> Result<Vec<SourceFiles>> {
        let query = Query::new(
            self,
            // When the next try is stands only there where one has failed.
            "SELECT flow, endpoint, count(*) AS files, min(found_at) AS since, max(error) AS error FROM offers \
             WHERE settle_outcome IS NOT NULL AND next_at IS NOT NULL GROUP BY flow, endpoint \
             ORDER BY count(*) DESC, flow, endpoint LIMIT 50",
        );
        let rows: Vec<SourceRow> = query.fetch(self, "read which sources are not settled").await?;
        Ok(rows.into_iter().map(SourceFiles::from).collect())
    }

    /// Flows whose steps fail, those with the most transfers first, at most 50.
    pub(super) async fn failing_steps(&self) -> Result<Vec<FailingSteps>> {
        let query = Query::new(
            self,
            "SELECT t.flow, count(*) AS transfers, min(t.created_at) AS since, min(p.due_at) AS next, max(p.error) AS error \
             FROM processing p JOIN transfers t ON t.id = p.transfer_id WHERE p.due_at IS NOT NULL AND p.error IS NOT NULL \
             GROUP BY t.flow ORDER BY count(*) DESC, t.flow LIMIT 50",
        );
        let rows: Vec<StepsRow> = query.fetch(self, "read whose steps fail").await?;
        let found = rows.into_iter().map(|row| {
            let StepsRow { flow, transfers, since, next, error } = row;
            FailingSteps { flow, transfers: u64::try_from(transfers).unwrap_or(0), since, next, error }
        });
        Ok(found.collect())
    }

    /// Sources with refused files that stay there, those with the most files first, at most 50.
    pub(super) async fn refused_files(&self) -> Result<Vec<SourceFiles>> {
        let query = Query::new(
            self,
            "SELECT flow, endpoint, count(*) AS files, min(found_at) AS since, max(error) AS error FROM offers \
             WHERE kept AND state = 'refused' GROUP BY flow, endpoint ORDER BY count(*) DESC, flow, endpoint LIMIT 50",
        );
        let rows: Vec<SourceRow> = query.fetch(self, "read which sources hold refused files").await?;
        Ok(rows.into_iter().map(SourceFiles::from).collect())
    }

    /// Messages that listeners refused, by partner and reason, the most frequent first.
    pub(super) async fn refused_messages(&self, now: Timestamp) -> Result<Vec<RefusedMessages>> {
        let mut query = Query::new(self, "SELECT at, partner, peer, detail FROM audit_events WHERE TRUE");
        query.and_text("kind = ?", Some(EventKind::MessageRefused.as_str()));
        query.and("at >= ?", Some(Bind::Time(now - REFUSED)));
        query.sql.push_str(&format!(" ORDER BY at DESC, id DESC LIMIT {REFUSED_AT_MOST}"));
        let mut reasons: BTreeMap<(Option<String>, String), RefusedMessages> = BTreeMap::new();
        for row in query.fetch::<RefusedRow>(self, "read which messages were refused").await? {
            let why = reason(&row.detail.0);
            let found = reasons.entry((row.partner.clone(), why.clone())).or_insert(RefusedMessages {
                partner: row.partner,
                why,
                count: 0,
                since: row.at,
                last: row.at,
                peer: row.peer,
            });
            found.count += 1;
            found.since = row.at;
        }
        let mut reasons: Vec<RefusedMessages> = reasons.into_values().collect();
        reasons.sort_by_key(|reason| std::cmp::Reverse((reason.count, reason.last)));
        Ok(reasons)
    }
}

fn reason(detail: &Map<String, Value>) -> String {
    ["reason", "error"]
        .iter()
        .find_map(|key| detail.get(*key)?.as_str())
        .unwrap_or("no reason is on record")
        .to_owned()
}
