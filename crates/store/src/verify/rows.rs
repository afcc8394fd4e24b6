//! Verification of rows: what pages and lists show of connections, transfers, deliveries, attempts, receipts,
//! payloads, evidence, users, definitions, suspensions and known hosts, against the sealed events that made them.
//!
//! The seals prove the events ([`Store::verify_audit`]); this compares each row with its events, and searches for the
//! row of each event that made one. A row whose events were removed with their month is counted separately. If
//! somebody writes an event *and* its row before the next seal, this is not found: an event is proved to be what was
//! sealed, not to be true.
//!
//! Pages by id, a few hundred rows with their events at a time, so memory does not grow with the tables. Each page is
//! read from one snapshot, because the gateway continues to change rows and write events.

mod attachments;
mod connections;
mod evidence;
mod known_hosts;
mod made;
mod revisions;
mod snapshot;
mod suspensions;
mod transfers;
mod users;

use super::records::load_records;
use super::{Finding, VerifyOptions};
use crate::Store;
use crate::audit::{EventColumns, StoredRow, columns};
use crate::either::on;
use crate::seal::Bound;
use crate::search::{Attempted, split};
use model::{EventKind, Result, Timestamp};
use serde_json::Value;
use snapshot::Snapshot;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, FromRow, QueryBuilder};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use uuid::Uuid;

/// Rows of one page.
const PAGE: i64 = 200;

const PAYLOADS: &str = "payloads";

fn micros(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.timestamp_micros().to_string())
}

/// Which rows to verify.
#[derive(Clone, Default)]
pub struct RowOptions {
    /// Rows made at or after this.
    pub from: Option<Timestamp>,
    /// Rows made before this.
    pub to: Option<Timestamp>,
}

/// What the verification of rows did and found.
#[derive(Clone, Default, Debug)]
pub struct RowReport {
    /// Rows compared, by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// Of these, rows of which an event is not sealed yet.
    pub unsealed: u64,
    /// Rows whose events went with their month at the end of retention: nothing to compare them with.
    pub retired: u64,
    /// Tables that were not looked at, as their rows belong to no span of time.
    pub skipped: Vec<&'static str>,
    /// What disagrees; at most [`super::VerifyReport::KEPT`].
    pub findings: Vec<Finding>,
    /// Findings beyond those kept.
    pub more_findings: u64,
}

impl RowReport {
    /// Whether every row agrees with its events.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// All rows compared.
    #[must_use]
    pub fn compared(&self) -> u64 {
        self.rows.values().sum()
    }

    fn find(&mut self, table: &'static str, row: impl ToString, what: impl Into<String>) {
        if self.findings.len() < super::VerifyReport::KEPT {
            self.findings.push(Finding::Row { table, row: row.to_string(), what: what.into() });
        } else {
            self.more_findings += 1;
        }
    }
}

/// One run.
struct Run<'a> {
    store: &'a Store,
    options: &'a RowOptions,
    removed_months: &'a BTreeSet<String>,
    sealed: Bound,
    report: RowReport,
}

impl Store {
    /// Compares rows with the events that made them. `progress` is told the report as it grows, once per
    /// page.
    ///
    /// # Errors
    /// The database failed. A row that disagrees is no error but a finding.
    pub async fn verify_rows(
        &self,
        options: &RowOptions,
        verify: &VerifyOptions,
        mut progress: impl FnMut(&RowReport) + Send,
    ) -> Result<RowReport> {
        loop {
            let records = load_records(self, &verify.trusted).await?;
            let report = self.verify_rows_once(options, &records.removed_months, &mut progress).await?;
            if load_records(self, &verify.trusted).await?.count == records.count {
                return Ok(report);
            }
            // Retention removed a month in the meantime: what seemed missing may be on record.
        }
    }

    async fn verify_rows_once(
        &self,
        options: &RowOptions,
        removed_months: &BTreeSet<String>,
        mut progress: &mut (impl FnMut(&RowReport) + Send),
    ) -> Result<RowReport> {
        let sealed = self.last_seal().await?.map_or(Bound::START, |seal| seal.to);
        let mut run = Run { store: self, options, removed_months, sealed, report: RowReport::default() };
        run.connections(&mut progress).await?;
        run.transfers(&mut progress).await?;
        run.evidence(&mut progress).await?;
        if options.from.is_none() && options.to.is_none() {
            run.users().await?;
            run.revisions().await?;
            run.suspensions().await?;
            run.known_hosts().await?;
            progress(&run.report);
        } else {
            run.report.skipped = vec![users::USERS, users::REVISIONS, users::SUSPENSIONS, users::KNOWN_HOSTS];
        }
        Ok(run.report)
    }
}

/// Columns of a row by name, as text.
type Columns = Vec<(&'static str, Option<String>)>;

/// An event with its place.
#[derive(Clone, Debug)]
struct Placed {
    bound: Bound,
    event: EventColumns,
}

impl Placed {
    fn is(&self, kind: EventKind) -> bool {
        self.event.kind == kind.as_str()
    }

    fn detail(&self, key: &str) -> Option<&Value> {
        self.event.detail.get(key).filter(|value| !value.is_null())
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.detail(key).and_then(Value::as_str)
    }
}

impl Run<'_> {
    fn within(&self, at: Timestamp) -> bool {
        self.options.from.is_none_or(|from| at >= from) && self.options.to.is_none_or(|to| at < to)
    }

    /// Whether what was recorded at a time went with its month.
    fn is_retired(&self, at: Timestamp) -> bool {
        self.removed_months.contains(&at.format("%Y-%m").to_string())
    }

    fn note_sealing<'e>(&mut self, events: impl IntoIterator<Item = &'e Placed>) {
        if events.into_iter().any(|event| event.bound >= self.sealed) {
            self.report.unsealed += 1;
        }
    }

    fn count(&mut self, table: &'static str) {
        *self.report.rows.entry(table).or_default() += 1;
    }

    /// A page of a table's rows in the order of their ids, from the first of all or behind one, and behind
    /// which the next page begins. Rows that cannot be read are findings. `select` ends in conditions.
    async fn page<R>(
        &mut self,
        page: &mut Snapshot,
        table: &'static str,
        (select, id): (&str, &str),
        after: Option<Uuid>,
    ) -> Result<(Vec<R>, Option<Uuid>)>
    where
        R: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin,
    {
        // The nil UUID is the first of all.
        let behind = if after.is_some() { ">" } else { ">=" };
        let sql = format!("{select} AND {id} {behind} $1 ORDER BY {id} LIMIT $2");
        let rows: Vec<Attempted<R>> = self
            .store
            .read("read a page of rows", async {
                on!(page, c => sqlx::query_as(AssertSqlSafe(sql))
                    .bind(after.unwrap_or_default()).bind(PAGE).fetch_all(c).await)
            })
            .await?;
        let more = rows.len() as i64 >= PAGE;
        let next = rows.iter().rev().find_map(Attempted::id).filter(|_| more);
        Ok((self.readable(table, rows), next))
    }

    /// Of these rows those that can be read; the others are findings.
    fn readable<R>(&mut self, table: &'static str, rows: Vec<Attempted<R>>) -> Vec<R> {
        let (rows, unreadable) = split(rows, Ok);
        for row in unreadable {
            let id = row.id.map_or_else(|| "without an id".to_owned(), |id| id.to_string());
            self.report.find(table, id, row.error);
        }
        rows
    }

    /// Compares columns with what the last event says of them. Where more than one may be the last, it is
    /// enough that one of them says all that is stored.
    fn compare_with_last(&mut self, this: (&'static str, &str), stored: &Columns, of_events: &[Columns]) {
        if of_events.contains(stored) {
            return;
        }
        let Some(last) = of_events.last() else { return };
        for ((column, stored), (_, of_event)) in stored.iter().zip(last) {
            self.compare(this, column, stored.clone(), of_event.clone());
        }
    }

    /// Compares a column with what an event says; both absent is equal.
    fn compare(
        &mut self,
        (table, row): (&'static str, &str),
        column: &str,
        stored: Option<String>,
        of_event: Option<String>,
    ) {
        if stored != of_event {
            let shown =
                |value: Option<String>| value.map_or("nothing".to_owned(), |text| format!("{text:?}"));
            self.report.find(
                table,
                row,
                format!("{column} is {}, but its event says {}", shown(stored), shown(of_event)),
            );
        }
    }

    /// The events about these things, by thing, each list in the order of time.
    async fn events_about(
        &self,
        page: &mut Snapshot,
        column: &'static str,
        ids: &[Uuid],
    ) -> Result<HashMap<Uuid, Vec<Placed>>> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let select =
            format!("SELECT {} FROM audit_events WHERE {column} IN (", columns(self.store.backend()));
        let rows: Vec<StoredRow> = self
            .store
            .read("read the events of rows", async {
                on!(page, c => {
                    let mut query = QueryBuilder::<Db>::new(select);
                    let mut list = query.separated(", ");
                    for id in ids {
                        list.push_bind(*id);
                    }
                    query.push(")");
                    query.build_query_as().persistent(false).fetch_all(c).await
                })
            })
            .await?;
        let mut events: HashMap<Uuid, Vec<Placed>> = HashMap::new();
        for row in rows {
            // One that is no event any more is a finding about the events.
            let Some(event) = row.columns else { continue };
            let about = match column {
                "connection_id" => event.connection,
                _ => event.transfer,
            };
            if let Some(about) = about {
                events.entry(about).or_default().push(Placed { bound: row.bound, event });
            }
        }
        for list in events.values_mut() {
            list.sort_by_key(|placed| (placed.event.at, placed.bound));
        }
        Ok(events)
    }

    /// Walks the events of a kind that each made a row, and names those whose row is gone. `made` tells the
    /// rows an event made; `table` holds them.
    async fn find_missing(
        &mut self,
        kind: EventKind,
        table: &'static str,
        made: impl Fn(&EventColumns) -> Vec<Uuid>,
    ) -> Result<()> {
        let end = self.options.to.unwrap_or(crate::row::END_OF_TIME);
        let mut next = (self.options.from.unwrap_or(Timestamp::UNIX_EPOCH), Uuid::nil());
        let mut behind = ">=";
        loop {
            let sql = format!(
                "SELECT {} FROM audit_events WHERE kind = $1 AND at >= $2 AND (at, id) {behind} ($2, $3) \
                 AND at < $4 ORDER BY at, id LIMIT $5",
                columns(self.store.backend())
            );
            behind = ">";
            let mut page = Snapshot::begin(self.store).await?;
            let rows: Vec<StoredRow> = self
                .store
                .read("read the events about rows", async {
                    on!(page, c => sqlx::query_as(AssertSqlSafe(sql))
                        .bind(kind.as_str()).bind(next.0).bind(next.1).bind(end).bind(PAGE)
                        .fetch_all(c).await)
                })
                .await?;
            let at_end = (rows.len() as i64) < PAGE;
            let mut wanted: Vec<(Uuid, Uuid)> = vec![];
            let mut last = None;
            for row in rows {
                let Some(event) = row.columns else { continue };
                last = chrono::DateTime::from_timestamp_micros(event.at).map(|at| (at, event.id));
                wanted.extend(made(&event).into_iter().map(|made| (made, event.id)));
            }
            let ids: Vec<Uuid> = wanted.iter().map(|(id, _)| *id).collect();
            let there = self.existing(&mut page, table, &ids).await?;
            for (id, event) in wanted.iter().filter(|(id, _)| !there.contains(id)) {
                self.report.find(table, id, format!("the row for event {event} is missing"));
            }
            match last {
                Some(last) if !at_end => next = last,
                _ => return Ok(()),
            }
        }
    }

    async fn existing(
        &self,
        page: &mut Snapshot,
        table: &'static str,
        ids: &[Uuid],
    ) -> Result<HashSet<Uuid>> {
        let mut there = HashSet::new();
        for ids in ids.chunks(500) {
            let found: Vec<Uuid> = self
                .store
                .read("look for rows", async {
                    on!(page, c => {
                        let mut query =
                            QueryBuilder::<Db>::new(format!("SELECT id FROM {table} WHERE id IN ("));
                        let mut list = query.separated(", ");
                        for id in ids {
                            list.push_bind(*id);
                        }
                        query.push(")");
                        query.build_query_scalar().persistent(false).fetch_all(c).await
                    })
                })
                .await?;
            there.extend(found);
        }
        Ok(there)
    }
}

#[cfg(test)]
mod tests;
