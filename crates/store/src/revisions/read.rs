//! Reading revisions and the definitions at each.

use super::{DefinitionState, Revision};
use crate::Store;
use crate::either::on;
use model::{Actor, Error, ErrorKind, Result, RevisionKind, StoredDefinition, StoredFile, Timestamp};
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use std::collections::BTreeMap;

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

impl RevisionRow {
    fn revision(self) -> Result<Revision> {
        let wrong = |field: &'static str, value: &str| {
            Error::permanent(ErrorKind::Internal, "read a revision of the definitions").with(field, value)
        };
        Ok(Revision {
            number: self.number,
            at: self.applied_at,
            author: Actor::from_text(&self.author).ok_or_else(|| wrong("author", &self.author))?,
            kind: RevisionKind::parse(&self.kind).ok_or_else(|| wrong("kind", &self.kind))?,
            source: self.source,
            summary: self.summary,
            digest: self.digest,
        })
    }
}

#[derive(FromRow)]
struct DefinitionRow {
    section: String,
    name: String,
    origin: String,
    file: String,
    position: i64,
    document: Json<Value>,
}

impl From<DefinitionRow> for StoredDefinition {
    fn from(row: DefinitionRow) -> Self {
        let DefinitionRow { section, name, origin, file, position, document } = row;
        Self { section, name, origin, file, position, document: document.0 }
    }
}

impl Store {
    /// The number of the newest revision; 0 before the first. Cheap: nodes poll it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn current_revision_number(&self) -> Result<i64> {
        self.read("read the number of the newest revision", async {
            on!(self.pool(), c => sqlx::query_scalar("SELECT coalesce(max(number), 0) FROM revisions")
                .fetch_one(c)
                .await)
        })
        .await
    }

    /// The definitions of the newest revision; before the first, revision 0 without definitions.
    ///
    /// # Errors
    /// The database failed.
    pub async fn current_definitions(&self) -> Result<DefinitionState> {
        let number = self.current_revision_number().await?;
        self.definitions_at(number).await
    }

    /// The definitions of a revision; empty if there is no such revision.
    ///
    /// # Errors
    /// The database failed.
    pub async fn definitions_at(&self, number: i64) -> Result<DefinitionState> {
        let rows: Vec<DefinitionRow> = self
            .read("read the definitions", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT section, name, origin, file, position, document FROM definitions \
                     WHERE since_revision <= $1 AND (until_revision IS NULL OR until_revision > $1) \
                     ORDER BY section, name",
                )
                .bind(number)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(DefinitionState { number, definitions: rows.into_iter().map(StoredDefinition::from).collect() })
    }

    /// The definitions of one kind at a revision, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn definitions_of(&self, number: i64, section: &str) -> Result<Vec<StoredDefinition>> {
        let rows: Vec<DefinitionRow> = self
            .read("read the definitions of one kind", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT section, name, origin, file, position, document FROM definitions \
                     WHERE section = $2 AND since_revision <= $1 \
                       AND (until_revision IS NULL OR until_revision > $1) ORDER BY name",
                )
                .bind(number)
                .bind(section)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(rows.into_iter().map(StoredDefinition::from).collect())
    }

    /// One definition as it was at a revision; `None` when that revision did not have it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn definition_at(
        &self,
        number: i64,
        section: &str,
        name: &str,
    ) -> Result<Option<StoredDefinition>> {
        let row: Option<DefinitionRow> = self
            .read("read a definition of a revision", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT section, name, origin, file, position, document FROM definitions \
                     WHERE section = $2 AND name = $3 AND since_revision <= $1 \
                       AND (until_revision IS NULL OR until_revision > $1)",
                )
                .bind(number)
                .bind(section)
                .bind(name)
                .fetch_optional(c)
                .await)
            })
            .await?;
        Ok(row.map(StoredDefinition::from))
    }

    /// Since which revision each definition of one kind has been unchanged, by name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn unchanged_since(&self, number: i64, section: &str) -> Result<BTreeMap<String, i64>> {
        let rows: Vec<(String, i64)> = self
            .read("read since when definitions are in force", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT name, since_revision FROM definitions WHERE section = $2 AND since_revision <= $1 \
                       AND (until_revision IS NULL OR until_revision > $1)",
                )
                .bind(number)
                .bind(section)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// The files of a revision, by origin and name.
    ///
    /// # Errors
    /// The database failed.
    pub async fn definition_files_at(&self, number: i64) -> Result<Vec<StoredFile>> {
        let rows: Vec<(String, String, String)> = self
            .read("read the files of the definitions", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT origin, file, text FROM definition_files \
                     WHERE since_revision <= $1 AND (until_revision IS NULL OR until_revision > $1) \
                     ORDER BY origin, file",
                )
                .bind(number)
                .fetch_all(c)
                .await)
            })
            .await?;
        Ok(rows.into_iter().map(|(origin, file, text)| StoredFile { origin, file, text }).collect())
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
    pub async fn revisions(&self, before: Option<i64>, limit: u32) -> Result<Vec<Revision>> {
        let rows: Vec<RevisionRow> = self
            .read("read the revisions of the definitions", async {
                on!(self.pool(), c => sqlx::query_as(
                    "SELECT * FROM revisions WHERE number < $1 ORDER BY number DESC LIMIT $2",
                )
                .bind(before.unwrap_or(i64::MAX))
                .bind(i64::from(limit))
                .fetch_all(c)
                .await)
            })
            .await?;
        rows.into_iter().map(RevisionRow::revision).collect()
    }
}
