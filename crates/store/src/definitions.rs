//! Revisions of the definitions: what was in force when, by whom, and from where.
//!
//! Documents are kept as they were written, in clear, their references unresolved; this room knows nothing of
//! their meaning. That no secret is in them is `config`'s work: it refuses those that are no reference, unless
//! the host's owner allows them (`secrets.allow_inline`).

use crate::Store;
use crate::command::Command;
use crate::either::on;
use crate::fault::Fault;
use crate::tx::Tx;
use async_trait::async_trait;
use model::{Actor, AuditEvent, Error, ErrorKind, EventKind, Result, Sha256, Timestamp, canonical_json};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;

/// One revision, without its documents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RevisionSummary {
    /// From 1, growing.
    pub number: i64,
    /// When it came into force.
    pub at: Timestamp,
    /// Who made it.
    pub author: Actor,
    /// The directory it came from; `None` for the console's.
    pub source: Option<String>,
    /// SHA-256 over the canonical JSON of the documents, in hexadecimal.
    pub digest: String,
}

/// One revision, whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// What it is.
    pub summary: RevisionSummary,
    /// What it says.
    pub documents: Value,
}

/// What [`Store::apply_revision`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Applied {
    /// The revision that is in force now.
    pub number: i64,
    /// Whether it is new; false when the documents were in force already.
    pub new: bool,
}

#[derive(FromRow)]
struct SummaryRow {
    number: i64,
    applied_at: Timestamp,
    author: String,
    source: Option<String>,
    digest: String,
}

impl SummaryRow {
    fn summary(self) -> Result<RevisionSummary> {
        let author = Actor::from_text(&self.author).ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "read a revision of the definitions")
                .with("author", &self.author)
        })?;
        Ok(RevisionSummary {
            number: self.number,
            at: self.applied_at,
            author,
            source: self.source,
            digest: self.digest,
        })
    }
}

#[derive(FromRow)]
struct RevisionRow {
    #[sqlx(flatten)]
    summary: SummaryRow,
    documents: Json<Value>,
}

impl RevisionRow {
    fn revision(self) -> Result<Revision> {
        Ok(Revision { summary: self.summary.summary()?, documents: self.documents.0 })
    }
}

impl Store {
    /// Puts documents into force as a new revision, unless the newest revision says the same. The
    /// number, the digest, the source and the time are given to the `definitions.applied` events among
    /// `events`, which are written only with a new revision.
    ///
    /// # Errors
    /// The documents hold a NUL, which the database cannot keep; or the database failed.
    pub async fn apply_revision(
        &self,
        documents: Value,
        author: Actor,
        source: Option<String>,
        at: Timestamp,
        events: Vec<AuditEvent>,
    ) -> Result<Applied> {
        let canonical = canonical_json(&documents);
        if has_nul(&documents) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "keep a revision of the definitions")
                .advice("a text in them holds a NUL character; take it out"));
        }
        let digest = Sha256(openssl::sha::sha256(canonical.as_bytes())).to_string();
        self.write(ApplyRevision { documents, digest, author, source, at, events }).await
    }

    /// The revision in force; `None` before the first.
    ///
    /// # Errors
    /// The database failed.
    pub async fn current_revision(&self) -> Result<Option<Revision>> {
        let row: Option<RevisionRow> = self
            .read("read the definitions in force", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM revisions ORDER BY number DESC LIMIT 1")
                    .fetch_optional(c)
                    .await)
            })
            .await?;
        row.map(RevisionRow::revision).transpose()
    }

    /// The number of the revision in force; 0 before the first. Cheap: nodes look for a new one by it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn current_revision_number(&self) -> Result<i64> {
        self.read("read the definitions in force", async {
            on!(self.pool(), c => sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM revisions")
                .fetch_one(c)
                .await)
        })
        .await
    }

    /// One revision by its number.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revision(&self, number: i64) -> Result<Option<Revision>> {
        let row: Option<RevisionRow> = self
            .read("read a revision of the definitions", async {
                on!(self.pool(), c => sqlx::query_as("SELECT * FROM revisions WHERE number = $1")
                    .bind(number)
                    .fetch_optional(c)
                    .await)
            })
            .await?;
        row.map(RevisionRow::revision).transpose()
    }

    /// Revisions, newest first, those before number `before` when given.
    ///
    /// # Errors
    /// The database failed.
    pub async fn revisions(&self, before: Option<i64>, limit: u32) -> Result<Vec<RevisionSummary>> {
        let rows: Vec<SummaryRow> = self
            .read("read the revisions of the definitions", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT number, applied_at, author, source, digest FROM revisions \
                     WHERE number < $1 ORDER BY number DESC LIMIT $2",
                )
                .bind(before.unwrap_or(i64::MAX))
                .bind(i64::from(limit))
                .fetch_all(c)
                .await)
            })
            .await?;
        rows.into_iter().map(SummaryRow::summary).collect()
    }
}

fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

struct ApplyRevision {
    documents: Value,
    digest: String,
    author: Actor,
    source: Option<String>,
    at: Timestamp,
    events: Vec<AuditEvent>,
}

#[async_trait]
impl Command for ApplyRevision {
    type Answer = Applied;

    async fn apply(&self, tx: &mut Tx<'_>) -> Result<Applied, Fault> {
        loop {
            let last: Option<(i64, String)> = on!(tx, c => sqlx::query_as(
                "SELECT number, digest FROM revisions ORDER BY number DESC LIMIT 1",
            )
            .fetch_optional(c)
            .await)?;
            let number = match last {
                Some((number, digest)) if digest == self.digest => return Ok(Applied { number, new: false }),
                last => last.map_or(1, |(number, _)| number + 1),
            };
            let made = on!(tx, c => sqlx::query(
                "INSERT INTO revisions (number, applied_at, author, source, digest, documents) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (number) DO NOTHING",
            )
            .bind(number)
            .bind(self.at)
            .bind(self.author.to_text())
            .bind(&self.source)
            .bind(&self.digest)
            .bind(Json(&self.documents))
            .execute(c)
            .await
            .map(|done| done.rows_affected()))?;
            if made == 0 {
                // Another node was faster, perhaps with the same documents.
                continue;
            }
            for event in &self.events {
                let event = event.clone();
                tx.event(match event.kind {
                    EventKind::DefinitionsApplied => AuditEvent { at: self.at, ..event }
                        .detail("revision", number)
                        .detail("digest", self.digest.as_str())
                        .detail("source", self.source.clone()),
                    _ => event,
                });
            }
            return Ok(Applied { number, new: true });
        }
    }
}

#[cfg(test)]
mod tests;
