//! Removing files from archives when their time is over.

use super::{EntryKind, Folder};
use crate::{ArchivedFile, ArchivedRemoval};
use model::{ErrorKind, Result, Timestamp};

/// Removes a file from an archive, if it is still as it was archived: its size and, to the second, its time. A file of
/// which one of both is not known stays. Idempotent.
///
/// # Errors
/// By the folder's codes.
pub async fn remove_unchanged(folder: &dyn Folder, file: &ArchivedFile) -> Result<ArchivedRemoval> {
    let entry = match folder.stat(&file.path).await {
        Ok(entry) => entry,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ArchivedRemoval::Gone),
        Err(error) => return Err(error),
    };
    let is_file = matches!(entry.kind, EntryKind::File | EntryKind::Unknown);
    // What cannot be compared may be another file.
    let has_its_size = file.size.is_some() && file.size == entry.size;
    let second = |at: Option<Timestamp>| at.map(|at| at.timestamp());
    let has_its_time = file.modified.is_some() && second(file.modified) == second(entry.modified);
    if !is_file || !has_its_size || !has_its_time {
        return Ok(ArchivedRemoval::Changed);
    }
    match folder.remove(&file.path).await {
        Ok(()) => Ok(ArchivedRemoval::Removed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(ArchivedRemoval::Gone),
        Err(error) => Err(error),
    }
}
