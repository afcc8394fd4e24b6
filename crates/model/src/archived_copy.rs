//! The copy of a file in an archive, as the metadata of its transfer tells it.

use crate::{RemotePath, Sha256};
use serde_json::{Map, Value};

/// In a transfer's metadata: the path that its file has in the archive of its flow, once it is settled at its source.
pub const ARCHIVE_PATH: &str = "archive_path";

/// In a transfer's metadata: the SHA-256 of that copy.
pub const ARCHIVE_SHA256: &str = "archive_sha256";

/// The copy of a file in an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchivedCopy {
    path: RemotePath,
    /// In hexadecimal digits.
    pub(crate) sha256: String,
}

impl ArchivedCopy {
    /// A copy at a path.
    #[must_use]
    pub fn new(path: RemotePath, sha256: Sha256) -> Self {
        Self { path, sha256: sha256.to_string() }
    }

    /// Writes it into the metadata of its transfer.
    pub fn note(&self, metadata: &mut Map<String, Value>) {
        metadata.insert(ARCHIVE_PATH.to_owned(), Value::from(self.path.to_text()));
        metadata.insert(ARCHIVE_SHA256.to_owned(), Value::from(self.sha256.as_str()));
    }

    /// The copy that a transfer's metadata tells of, if there is one.
    #[must_use]
    pub fn noted(metadata: &Map<String, Value>) -> Option<Self> {
        let text = |key| metadata.get(key).and_then(Value::as_str);
        let path = RemotePath::from_text(text(ARCHIVE_PATH)?).ok()?;
        Some(Self { path, sha256: text(ARCHIVE_SHA256)?.to_owned() })
    }

    /// The last part of its path.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        self.path.file_name()
    }
}
