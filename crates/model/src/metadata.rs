//! Keys of the metadata of transfers that have a meaning.

use crate::{ARCHIVE_PATH, ARCHIVE_SHA256};

/// A file's name in the destination directory, or with [`IS_FILE_PATH`] its absolute path.
pub const FILE_NAME: &str = "file_name";

/// Whether [`FILE_NAME`] is an absolute path. Left out, it is a name.
pub const IS_FILE_PATH: &str = "is_file_path";

/// The beginning of the keys that sources write.
const OF_SOURCES: &str = "source_";

/// The key of a failure route.
const FAILURE: &str = "failure";

/// Whether Waybill itself writes a key, so that a flow must not.
#[must_use]
pub fn is_reserved(key: &str) -> bool {
    key.starts_with(OF_SOURCES) || [FAILURE, ARCHIVE_PATH, ARCHIVE_SHA256].contains(&key)
}
