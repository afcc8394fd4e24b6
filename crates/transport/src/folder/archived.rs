//! Removing files from archives when their time is over.

use super::{EntryKind, Folder};
use crate::{ArchivedFile, ArchivedRemoval};
use model::{ErrorKind, Result, Timestamp};

/// Removes a file from an archive, if it is still as it was archived: its size and, to the second, its time; by the day alone
/// where its listing has no more. A file of which one of both is not known stays. Idempotent.
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
    let times = file.modified.zip(entry.modified);
    let has_its_time = times.is_some_and(|(archived, now)| is_same_time(archived, now));
    if !is_file || !has_its_size || !has_its_time {
        return Ok(ArchivedRemoval::Changed);
    }
    match folder.remove(&file.path).await {
        Ok(()) => Ok(ArchivedRemoval::Removed),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(ArchivedRemoval::Gone),
        Err(error) => Err(error),
    }
}

/// Whether a time of a listing is that of a file when it was archived. Listings as of `ls -l` (FTP without MLSD) have the minute
/// of young files, and of those older than half a year the day alone, which is read as its first second.
fn is_same_time(archived: Timestamp, now: Timestamp) -> bool {
    let is_day = now.timestamp() % DAY == 0;
    archived.timestamp() == now.timestamp() || is_day && archived.date_naive() == now.date_naive()
}

/// Seconds.
const DAY: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_became_a_day_in_the_listing_is_the_same() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let archived = at("2026-03-01T12:34:00.7Z");
        for (now, is_same) in [
            ("2026-03-01T12:34:00Z", true),
            ("2026-03-01T00:00:00Z", true),
            ("2026-03-01T12:00:00Z", false),
            ("2026-03-01T00:01:00Z", false),
            ("2026-03-02T00:00:00Z", false),
            ("2026-02-28T00:00:00Z", false),
        ] {
            assert_eq!(is_same_time(archived, at(now)), is_same, "{now}");
        }
    }
}
