//! What the steps of a transfer made, and how far they are.

use super::apart;
use crate::Store;
use crate::row::{sha256, small, unsigned};
use crate::search::query::{Bind, Query, split};
use crate::search::unreadable::{Attempted, UnreadableRow};
use model::{PayloadId, Result, Sha256, Timestamp, TransferId};
use sqlx::FromRow;
use uuid::Uuid;

/// A payload that a step made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MadeView {
    /// Its bytes.
    pub payload: PayloadId,
    /// What the step did, in one line.
    pub made_by: String,
    /// Their number.
    pub length: u64,
    /// Their hash.
    pub sha256: Sha256,
    /// Their media type.
    pub media_type: Option<String>,
    /// What the step read, with its number of bytes and their hash.
    pub parent: PayloadId,
    /// The number of bytes that the step read.
    pub parent_length: u64,
    /// Their hash.
    pub parent_sha256: Sha256,
    /// When it was made.
    pub made_at: Timestamp,
    /// When its bytes were removed, at the end of their retention.
    pub removed_at: Option<Timestamp>,
}

/// How far the steps of a transfer are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProcessingView {
    /// When they may be begun; `None` when there is nothing left to do.
    pub due_at: Option<Timestamp>,
    /// The node that does them now.
    pub node: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    /// Why the last attempt failed, where they are tried again.
    pub error: Option<String>,
    /// When this last changed.
    pub updated_at: Timestamp,
}

#[derive(FromRow)]
struct MadeRow {
    id: Uuid,
    made_by: Option<String>,
    length: i64,
    sha256: Vec<u8>,
    media_type: Option<String>,
    staged_at: Timestamp,
    removed_at: Option<Timestamp>,
    parent_id: Uuid,
    parent_length: i64,
    parent_sha256: Vec<u8>,
}

impl MadeRow {
    fn view(self) -> Result<MadeView> {
        Ok(MadeView {
            payload: PayloadId::new(self.id),
            made_by: self.made_by.unwrap_or_default(),
            length: unsigned(self.length)?,
            sha256: sha256(self.sha256)?,
            media_type: self.media_type,
            parent: PayloadId::new(self.parent_id),
            parent_length: unsigned(self.parent_length)?,
            parent_sha256: sha256(self.parent_sha256)?,
            made_at: self.staged_at,
            removed_at: self.removed_at,
        })
    }
}

/// What was made of another one behind it: several may have been staged at the same moment.
fn parents_first(mut made: Vec<MadeView>) -> Vec<MadeView> {
    let mut sorted = Vec::with_capacity(made.len());
    while !made.is_empty() {
        let first = made.iter().position(|one| made.iter().all(|other| other.payload != one.parent));
        sorted.push(made.remove(first.unwrap_or_default()));
    }
    sorted
}

#[derive(FromRow)]
struct ProcessingRow {
    due_at: Option<Timestamp>,
    node: Option<String>,
    attempt: i64,
    error: Option<String>,
    updated_at: Timestamp,
}

impl ProcessingRow {
    fn view(self) -> ProcessingView {
        let Self { due_at, node, attempt, error, updated_at } = self;
        ProcessingView { due_at, node, attempts: small(attempt), error, updated_at }
    }
}

impl Store {
    pub(super) async fn made_of(
        &self,
        transfer: TransferId,
        unreadable: &mut Vec<UnreadableRow>,
    ) -> Result<Vec<MadeView>> {
        let mut query = Query::new(
            self,
            "SELECT p.id, p.made_by, p.length, p.sha256, p.media_type, p.staged_at, p.removed_at, p.parent_id, \
             f.length AS parent_length, f.sha256 AS parent_sha256 FROM payload_references r \
             JOIN payloads p ON p.id = r.payload_id JOIN payloads f ON f.id = p.parent_id WHERE TRUE",
        );
        query.and("r.transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        query.sql.push_str(" ORDER BY p.staged_at, p.id");
        let rows: Vec<Attempted<MadeRow>> = query.fetch(self, "read what steps made of a payload").await?;
        Ok(parents_first(apart(split(rows, MadeRow::view), unreadable)))
    }

    pub(super) async fn processing_of(&self, transfer: TransferId) -> Result<Option<ProcessingView>> {
        let mut query =
            Query::new(self, "SELECT due_at, node, attempt, error, updated_at FROM processing WHERE TRUE");
        query.and("transfer_id = ?", Some(Bind::Id(transfer.uuid())));
        let mut rows: Vec<ProcessingRow> = query.fetch(self, "read how far the steps are").await?;
        Ok(rows.pop().map(ProcessingRow::view))
    }
}
