//! Revisions of the definitions as plain data: what is stored of each definition, and by what a revision was made.

use crate::connection::words;
use serde::{Deserialize, Serialize};
use serde_json::Value;

words! {
    /// How a revision was made.
    RevisionKind {
        /// A directory of documents was applied.
        Apply = "apply",
        /// Definitions were changed one by one.
        Edit = "edit",
        /// The definitions of an earlier revision were put in force again.
        Rollback = "rollback",
    }
}

/// The origin of definitions that came from no directory.
pub const EDITED: &str = "console";

/// One definition as the database keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredDefinition {
    /// The kind of definition, such as `flow`.
    pub section: String,
    /// Its name; with the section it is unique.
    pub name: String,
    /// Where it came from: a directory, or [`EDITED`].
    pub origin: String,
    /// The file of that directory; empty when there is none.
    pub file: String,
    /// Its place among the definitions of the file, from 0.
    pub position: i64,
    /// What was written, references unresolved. A literal secret is replaced by `{"kept": "ID"}`.
    pub document: Value,
}

impl StoredDefinition {
    /// Section and name: `flow.orders`.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }
}

/// A file that definitions came from, as it was written but for literal secrets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StoredFile {
    /// The directory.
    pub origin: String,
    /// The file's name within it.
    pub file: String,
    /// Its text. Each literal secret is replaced by `{ kept = true }`.
    pub text: String,
}
