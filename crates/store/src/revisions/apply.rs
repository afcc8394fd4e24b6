//! Writing a revision.

use super::digest::{ChangedRows, document_digest, text_digest};
use super::{Applied, NewRevision};
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::secrets;
use crate::tx::Tx;
use crate::wake::Topic;
use async_trait::async_trait;
use model::{AuditEvent, EventKind, canonical_json};
use sqlx::QueryBuilder;

/// Rows of one statement: SQLite binds 32,766 values at most.
const ROWS: usize = 1000;

pub(super) struct ApplyRevision(pub(super) NewRevision);

#[async_trait]
impl Command for ApplyRevision {
    type Answer = Applied;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Applied, Fault> {
        let new = &self.0;
        if let Some(number) = made_before(tx, new).await? {
            return Ok(Applied::Made(number));
        }
        let (in_force, previous) = newest(tx).await?;
        if in_force != new.base {
            return Ok(Applied::Stale(in_force));
        }
        let number = in_force + 1;
        let digest = changed(new).digest(&previous);
        if !insert(tx, new, number, &digest).await? {
            // Another node was faster, with the same request or with its own.
            return Ok(match made_before(tx, new).await? {
                Some(number) => Applied::Made(number),
                None => Applied::Stale(newest(tx).await?.0),
            });
        }
        let ended = new.removed.iter().cloned();
        let ended = ended.chain(new.put.iter().map(|d| (d.section.clone(), d.name.clone()))).collect();
        end(tx, number, "definitions", "section, name", ended).await?;
        let ended = new.files_removed.iter().cloned();
        let ended = ended.chain(new.files_put.iter().map(|f| (f.origin.clone(), f.file.clone()))).collect();
        end(tx, number, "definition_files", "origin, file", ended).await?;
        secrets::insert(tx, &new.secrets).await?;
        put_definitions(tx, new, number).await?;
        put_files(tx, new, number).await?;
        for event in &new.events {
            let event = event.clone();
            tx.event(match event.kind {
                EventKind::DefinitionsApplied => AuditEvent { at: new.at, ..event }
                    .by(new.author.clone())
                    .detail("revision", number)
                    .detail("how", new.kind.as_str())
                    .detail("changes", new.summary.as_str())
                    .detail("digest", digest.as_str())
                    .detail("source", new.source.clone()),
                _ => event,
            });
        }
        // Nodes query for a new revision when they are woken.
        tx.wake(Topic::Decisions);
        Ok(Applied::Made(number))
    }
}

async fn made_before(tx: &mut Tx<'_>, new: &NewRevision) -> Result<Option<i64>, Fault> {
    Ok(on!(tx, c => sqlx::query_scalar("SELECT number FROM revisions WHERE id = $1")
        .bind(new.id).fetch_optional(c).await)?)
}

/// Number and digest of the newest revision.
async fn newest(tx: &mut Tx<'_>) -> Result<(i64, String), Fault> {
    let newest: Option<(i64, String)> = on!(tx, c => sqlx::query_as(
        "SELECT number, digest FROM revisions ORDER BY number DESC LIMIT 1").fetch_optional(c).await)?;
    Ok(newest.unwrap_or_default())
}

fn changed(new: &NewRevision) -> ChangedRows {
    let put = new.put.iter().map(|d| {
        let digest = document_digest(&d.document);
        (d.section.clone(), d.name.clone(), d.origin.clone(), d.file.clone(), d.position, digest)
    });
    let files = new.files_put.iter().map(|f| (f.origin.clone(), f.file.clone(), text_digest(&f.text)));
    ChangedRows {
        put: put.collect(),
        removed: new.removed.clone(),
        files: files.collect(),
        files_removed: new.files_removed.clone(),
    }
}

/// Whether the revision was written: false if its number was used in the meantime.
async fn insert(tx: &mut Tx<'_>, new: &NewRevision, number: i64, digest: &str) -> Result<bool, Fault> {
    let made = on!(tx, c => sqlx::query(
        "INSERT INTO revisions (number, id, applied_at, author, kind, source, summary, digest) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
    )
    .bind(number)
    .bind(new.id)
    .bind(new.at)
    .bind(new.author.to_text())
    .bind(new.kind.as_str())
    .bind(&new.source)
    .bind(&new.summary)
    .bind(digest)
    .execute(c)
    .await
    .map(|done| done.rows_affected()))?;
    Ok(made == 1)
}

/// Ends the rows in force that two columns identify.
async fn end(
    tx: &mut Tx<'_>,
    number: i64,
    table: &str,
    columns: &str,
    rows: Vec<(String, String)>,
) -> Result<(), Fault> {
    for rows in rows.chunks(ROWS) {
        on!(tx, c => {
            let mut update = QueryBuilder::<Db>::new("UPDATE ");
            update.push(table).push(" SET until_revision = ").push_bind(number);
            update.push(" WHERE until_revision IS NULL AND (").push(columns).push(") IN (");
            update.push_values(rows, |mut row, (first, second)| {
                row.push_bind(first).push_bind(second);
            });
            update.push(")");
            update.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

async fn put_definitions(tx: &mut Tx<'_>, new: &NewRevision, number: i64) -> Result<(), Fault> {
    let json = tx.pick(" AS TEXT)", " AS JSONB)");
    for rows in new.put.chunks(ROWS) {
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO definitions \
                 (section, name, since_revision, origin, file, position, digest, document) ",
            );
            insert.push_values(rows, |mut row, definition| {
                row.push_bind(&definition.section)
                    .push_bind(&definition.name)
                    .push_bind(number)
                    .push_bind(&definition.origin)
                    .push_bind(&definition.file)
                    .push_bind(definition.position)
                    .push_bind(document_digest(&definition.document))
                    .push("CAST(")
                    .push_bind_unseparated(canonical_json(&definition.document))
                    .push_unseparated(json);
            });
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}

async fn put_files(tx: &mut Tx<'_>, new: &NewRevision, number: i64) -> Result<(), Fault> {
    for rows in new.files_put.chunks(ROWS) {
        on!(tx, c => {
            let mut insert = QueryBuilder::<Db>::new(
                "INSERT INTO definition_files (origin, file, since_revision, text, digest) ",
            );
            insert.push_values(rows, |mut row, file| {
                row.push_bind(&file.origin)
                    .push_bind(&file.file)
                    .push_bind(number)
                    .push_bind(&file.text)
                    .push_bind(text_digest(&file.text));
            });
            insert.build().persistent(false).execute(c).await.map(|_| ())
        })?;
    }
    Ok(())
}
