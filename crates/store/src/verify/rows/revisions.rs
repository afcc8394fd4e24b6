//! Revisions of the definitions, and the definitions themselves, against `definitions.applied`.

use super::users::REVISIONS;
use super::{Columns, Placed, Run, Snapshot};
use crate::either::on;
use crate::revisions::{ChangedRows, document_digest, text_digest};
use model::{EventKind, Result, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::{BTreeMap, BTreeSet};

/// Revisions of one page.
const PAGE: i64 = 10;

#[derive(FromRow)]
struct RevisionRow {
    number: i64,
    applied_at: Timestamp,
    author: String,
    kind: String,
    source: Option<String>,
    summary: String,
    digest: String,
}

#[derive(FromRow)]
struct DefinitionRow {
    section: String,
    name: String,
    since_revision: i64,
    until_revision: Option<i64>,
    origin: String,
    file: String,
    position: i64,
    document: Json<Value>,
    digest: String,
}

#[derive(FromRow)]
struct FileRow {
    origin: String,
    file: String,
    since_revision: i64,
    until_revision: Option<i64>,
    text: String,
    digest: String,
}

/// Rows that some revisions of a page began or ended.
struct Changes {
    definitions: Vec<DefinitionRow>,
    files: Vec<FileRow>,
}

impl Changes {
    /// What one revision changed; and whether a row's own digest is wrong.
    fn of(&self, number: i64) -> (ChangedRows, bool) {
        let mut changed = ChangedRows::default();
        let mut wrong = false;
        let mut begun = BTreeSet::new();
        for row in self.definitions.iter().filter(|row| row.since_revision == number) {
            let digest = document_digest(&row.document.0);
            wrong |= digest != row.digest;
            begun.insert((&row.section, &row.name));
            changed.put.push((
                row.section.clone(),
                row.name.clone(),
                row.origin.clone(),
                row.file.clone(),
                row.position,
                digest,
            ));
        }
        let ended = self.definitions.iter().filter(|row| row.until_revision == Some(number));
        let ended = ended.filter(|row| !begun.contains(&(&row.section, &row.name)));
        changed.removed.extend(ended.map(|row| (row.section.clone(), row.name.clone())));
        let mut begun = BTreeSet::new();
        for row in self.files.iter().filter(|row| row.since_revision == number) {
            let digest = text_digest(&row.text);
            wrong |= digest != row.digest;
            begun.insert((&row.origin, &row.file));
            changed.files.push((row.origin.clone(), row.file.clone(), digest));
        }
        let ended = self.files.iter().filter(|row| row.until_revision == Some(number));
        let ended = ended.filter(|row| !begun.contains(&(&row.origin, &row.file)));
        changed.files_removed.extend(ended.map(|row| (row.origin.clone(), row.file.clone())));
        (changed, wrong)
    }
}

impl Run<'_> {
    pub(super) async fn revisions(&mut self) -> Result<()> {
        let mut page = Snapshot::begin(self.store).await?;
        let numbered = |event: &Placed| event.detail("revision").and_then(Value::as_i64);
        let mut told = self.last_of_each(&mut page, &[EventKind::DefinitionsApplied], numbered).await?;
        let mut from = i64::MIN;
        let mut previous = String::new();
        loop {
            let rows: Vec<RevisionRow> = self
                .store
                .read("read the revisions of the definitions", async {
                    on!(page, c => sqlx::query_as(
                        "SELECT * FROM revisions WHERE number >= $1 ORDER BY number LIMIT $2")
                        .bind(from).bind(PAGE).fetch_all(c).await)
                })
                .await?;
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { break };
            let (first, last) = (first.number, last.number);
            let changes = self.changes(&mut page, first, last).await?;
            for row in rows {
                let digest = row.digest.clone();
                self.revision(row, &previous, &changes, &mut told);
                previous = digest;
            }
            match last.checked_add(1) {
                Some(next) => from = next,
                None => break,
            }
        }
        self.unknown_revisions(&mut page).await?;
        self.overlaps(&mut page).await?;
        for (number, events) in told {
            self.find_row_missing(REVISIONS, number, &events);
        }
        Ok(())
    }

    async fn changes(&self, page: &mut Snapshot, first: i64, last: i64) -> Result<Changes> {
        let definitions = self
            .store
            .read("read the definitions", async {
                on!(page, c => sqlx::query_as(
                    "SELECT * FROM definitions WHERE since_revision BETWEEN $1 AND $2 \
                     OR until_revision BETWEEN $1 AND $2")
                    .bind(first).bind(last).fetch_all(c).await)
            })
            .await?;
        let files = self
            .store
            .read("read the files of the definitions", async {
                on!(page, c => sqlx::query_as(
                    "SELECT * FROM definition_files WHERE since_revision BETWEEN $1 AND $2 \
                     OR until_revision BETWEEN $1 AND $2")
                    .bind(first).bind(last).fetch_all(c).await)
            })
            .await?;
        Ok(Changes { definitions, files })
    }

    fn revision(
        &mut self,
        row: RevisionRow,
        previous: &str,
        changes: &Changes,
        told: &mut BTreeMap<i64, Vec<Placed>>,
    ) {
        self.count(REVISIONS);
        let name = row.number.to_string();
        let this = (REVISIONS, name.as_str());
        let (changed, wrong) = changes.of(row.number);
        if wrong || changed.digest(previous) != row.digest {
            self.report.find(REVISIONS, row.number, "its definitions do not match its digest");
        }
        let Some(events) = told.remove(&row.number) else {
            self.report.find(REVISIONS, row.number, "the event about applying it is missing");
            return;
        };
        self.note_sealing(&events);
        let applied: Vec<Columns> = events.iter().map(revision_told).collect();
        let stored = vec![
            ("digest", Some(row.digest)),
            ("author", Some(row.author)),
            ("kind", Some(row.kind)),
            ("source", row.source),
            ("summary", Some(row.summary)),
            ("applied_at", Some(row.applied_at.timestamp_micros().to_string())),
        ];
        self.compare_with_last(this, &stored, &applied);
    }

    /// Definitions that no revision made or ended would be in force all the same.
    async fn unknown_revisions(&mut self, page: &mut Snapshot) -> Result<()> {
        let rows: Vec<(i64, i64)> = self
            .store
            .read("read the definitions", async {
                on!(page, c => sqlx::query_as(
                    "SELECT n.number, count(*) FROM (\
                       SELECT since_revision AS number FROM definitions UNION ALL \
                       SELECT until_revision FROM definitions WHERE until_revision IS NOT NULL UNION ALL \
                       SELECT since_revision FROM definition_files UNION ALL \
                       SELECT until_revision FROM definition_files WHERE until_revision IS NOT NULL) n \
                     WHERE NOT EXISTS (SELECT 1 FROM revisions r WHERE r.number = n.number) \
                     GROUP BY n.number ORDER BY n.number LIMIT 100")
                    .fetch_all(c).await)
            })
            .await?;
        for (number, count) in rows {
            let what = format!("the revision is missing, but {count} rows of definitions belong to it");
            self.report.find(REVISIONS, number, what);
        }
        Ok(())
    }
    /// Of each definition and file one version at most is in force at any revision.
    async fn overlaps(&mut self, page: &mut Snapshot) -> Result<()> {
        let rows: Vec<(i64, String)> = self
            .store
            .read("read the definitions", async {
                on!(page, c => sqlx::query_as(
                    "SELECT a.since_revision, a.section || '.' || a.name FROM definitions a \
                     WHERE a.until_revision <= a.since_revision OR EXISTS (SELECT 1 FROM definitions b \
                       WHERE b.section = a.section AND b.name = a.name AND b.since_revision > a.since_revision \
                       AND (a.until_revision IS NULL OR a.until_revision > b.since_revision)) \
                     UNION ALL SELECT a.since_revision, a.file FROM definition_files a \
                     WHERE a.until_revision <= a.since_revision OR EXISTS (SELECT 1 FROM definition_files b \
                       WHERE b.origin = a.origin AND b.file = a.file AND b.since_revision > a.since_revision \
                       AND (a.until_revision IS NULL OR a.until_revision > b.since_revision)) \
                     ORDER BY 1, 2 LIMIT 100")
                    .fetch_all(c).await)
            })
            .await?;
        for (number, name) in rows {
            let what = format!("the end of its version of {name} does not match the later revisions");
            self.report.find(REVISIONS, number, what);
        }
        Ok(())
    }
}

fn revision_told(placed: &Placed) -> Columns {
    let says = |key: &str| placed.text(key).map(str::to_owned);
    vec![
        ("digest", says("digest")),
        ("author", Some(placed.event.done_by().to_owned())),
        ("kind", says("how")),
        ("source", says("source")),
        ("summary", says("changes")),
        ("applied_at", Some(placed.event.happened_at().to_string())),
    ]
}
