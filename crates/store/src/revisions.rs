//! Revisions of the definitions: what was in force when, by whom, and from where.
//!
//! Definitions are kept one by one: a revision that changes one of a thousand writes one row. This room knows
//! nothing of their meaning. That no secret is in them is the caller's work ([`crate::NewSecrets`]).

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
    /// From 1, without holes.
    pub number: i64,
    /// When it was made.
    pub at: Timestamp,
    /// Who made it.
    pub author: Actor,
    /// How it was made.
    pub kind: RevisionKind,
    /// The directory it came from; `None` for edits and rollbacks.
    pub source: Option<String>,
    /// What it changed, in a line.
    pub summary: String,
    /// SHA-256 over the digest of the revision before and over what this one changed, in hexadecimal.
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

/// A revision to be made.
#[derive(Clone, Debug)]
pub struct NewRevision {
    /// The caller's id: the same request twice makes one revision.
    pub id: Uuid,
    /// The revision that the changes were made against.
    pub base: i64,
    /// Now.
    pub at: Timestamp,
    /// Who makes it.
    pub author: Actor,
    /// How it is made.
    pub kind: RevisionKind,
    /// The directory it comes from.
    pub source: Option<String>,
    /// What it changes, in a line.
    pub summary: String,
    /// Definitions that are added, or that take the place of those of the same name.
    pub put: Vec<StoredDefinition>,
    /// Section and name of those that are removed.
    pub removed: Vec<(String, String)>,
    /// Files whose text is new or changed.
    pub files_put: Vec<StoredFile>,
    /// Origin and name of files that are gone.
    pub files_removed: Vec<(String, String)>,
    /// Secrets that the definitions name.
    pub secrets: NewSecrets,
    /// Written with the revision, in one transaction. `definitions.applied` events get its number, digest and
    /// source.
    pub events: Vec<AuditEvent>,
}

/// What [`Store::apply_revision`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The revision of that number was made, now or by an earlier try of the same request.
    Made(i64),
    /// Nothing happened: the revision in force is not the base, but this one.
    Stale(i64),
}

impl Store {
    /// Makes a revision, unless another was made since its base.
    ///
    /// # Errors
    /// A text holds a NUL, which the database cannot keep; or the database failed.
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
