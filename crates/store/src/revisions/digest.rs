//! The digest of a revision. It covers the previous one, so that a change of any row of any revision is found.

use model::{Sha256, canonical_json};
use serde_json::{Value, json};

/// The changes of a revision that its digest covers. `put` contains section, name, origin, file, position and the
/// document's digest; `files` origin, file and the text's digest.
#[derive(Default)]
pub(crate) struct ChangedRows {
    pub(crate) put: Vec<(String, String, String, String, i64, String)>,
    pub(crate) removed: Vec<(String, String)>,
    pub(crate) files: Vec<(String, String, String)>,
    pub(crate) files_removed: Vec<(String, String)>,
}

impl ChangedRows {
    /// The digest of the revision, in hexadecimal.
    pub(crate) fn digest(mut self, previous: &str) -> String {
        self.put.sort();
        self.removed.sort();
        self.files.sort();
        self.files_removed.sort();
        text_digest(&canonical_json(&json!({
            "previous": previous,
            "put": self.put,
            "removed": self.removed,
            "files": self.files,
            "files_removed": self.files_removed,
        })))
    }
}

/// SHA-256 over a document's canonical JSON, in hexadecimal.
pub(crate) fn document_digest(document: &Value) -> String {
    text_digest(&canonical_json(document))
}

/// SHA-256 over a text, in hexadecimal.
pub(crate) fn text_digest(text: &str) -> String {
    Sha256(openssl::sha::sha256(text.as_bytes())).to_string()
}
