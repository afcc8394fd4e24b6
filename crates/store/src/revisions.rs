//! Revisions of the definitions: which definitions were in force when, by whom, and from where.
//!
//! Definitions are stored one by one: a revision that changes one of a thousand writes one row. This module does not
//! know their meaning. The caller makes sure that they contain no secret ([`crate::NewSecrets`]).

mod apply;
mod digest;
mod node;
mod read;

pub(crate) use digest::{ChangedRows, document_digest, text_digest};
pub use node::NodeRevision;

use crate::Store;
use crate::secrets::NewSecrets;
use apply::ApplyRevision;
use model::{
    Actor, AuditEvent, Error, ErrorKind, Result, RevisionKind, StoredDefinition, StoredFile, Timestamp,
};
use serde_json::Value;
use uuid::Uuid;

/// One revision, without its definitions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revision {
    /// The number, from 1, without gaps.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub author: Actor,
    /// How it was made.
    pub kind: RevisionKind,
    /// The directory that it came from; `None` for edits and rollbacks.
    pub source: Option<String>,
    /// A one-line summary of its changes.
    pub summary: String,
    /// SHA-256 over the digest of the previous revision and this one's changes, in hexadecimal.
    pub digest: String,
}

/// Definitions at a revision.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DefinitionState {
    /// The revision; 0 before the first.
    pub number: i64,
    /// Every definition, by section and name.
    pub definitions: Vec<StoredDefinition>,
}

/// A new revision.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// The caller's id: a repeated request creates no second revision.
    pub id: Uuid,
    /// The revision on which the changes are based.
    pub base: i64,
    /// Now.
    pub at: Timestamp,
    /// Who creates it.
    pub author: Actor,
    /// How it is created.
    pub kind: RevisionKind,
    /// The directory that it comes from.
    pub source: Option<String>,
    /// A one-line summary of its changes.
    pub summary: String,
    /// Definitions that are added or replace those with the same name.
    pub put: Vec<StoredDefinition>,
    /// Section and name of the removed definitions.
    pub removed: Vec<(String, String)>,
    /// Files whose text is new or changed.
    pub files_put: Vec<StoredFile>,
    /// Origin and name of the removed files.
    pub files_removed: Vec<(String, String)>,
    /// Secrets to which the definitions refer.
    pub secrets: NewSecrets,
    /// Events written in the same transaction. `definitions.applied` events get its number, digest and source.
    pub events: Vec<AuditEvent>,
}

/// The result of [`Store::apply_revision`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The revision with this number was created, now or by an earlier attempt of the same request.
    Made(i64),
    /// Nothing was changed: the revision in force is not the base, but this one.
    Stale(i64),
}

impl Store {
    /// Creates a revision, unless another was created since its base.
    ///
    /// # Errors
    /// A text contains a NUL, which the database cannot store; or the database failed.
    pub async fn apply_revision(&self, revision: NewRevision) -> Result<Applied> {
        let nul =
            revision.put.iter().find(|definition| has_nul(&definition.document)).map(StoredDefinition::key);
        let nul =
            nul.or_else(|| revision.files_put.iter().find(|f| f.text.contains('\0')).map(|f| f.file.clone()));
        if let Some(place) = nul {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "store the definitions")
                .with("in", place)
                .advice("a text contains a NUL character; remove it"));
        }
        self.write(ApplyRevision(revision)).await
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

#[cfg(test)]
mod tests;
