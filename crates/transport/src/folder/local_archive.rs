//! Archives: copies of payloads in a directory of this machine, and removing files from archives.

use super::destination::copy;
use super::source::NUMBER_LIMIT;
use super::{Entry, EntryKind, Folder, Published, READER_BUFFERS, names, sum};
use crate::{ArchivedFile, BufferBudget, Payload};
use model::{Error, ErrorKind, OfferId, RemotePath, Result, Timestamp};

/// The buffers of a copy, besides the payload's own: two chunks, or what reading a file of the archive needs.
const BUFFERS: usize = 2 * READER_BUFFERS;

/// A payload that is to be archived.
pub struct ToArchive<'a> {
    /// The offer that it came from.
    pub offer: OfferId,
    /// The bytes.
    pub payload: &'a dyn Payload,
    /// The directory of the archive.
    pub directory: RemotePath,
    /// The time that is added to its name.
    pub timestamp: Option<Timestamp>,
    /// Whether an earlier call may have written it. Only then a file with its name and content counts as the copy:
    /// otherwise it is another offer's, which may be removed sooner.
    pub again: bool,
}

/// The path of a received file's copy in an archive, where that is free: in its directories, with a time added to its name.
#[must_use]
pub fn path_in_archive(
    directory: &RemotePath,
    received: &RemotePath,
    timestamp: Option<Timestamp>,
) -> RemotePath {
    let relative = if received.escapes() || received.is_absolute() || received.is_empty() {
        RemotePath::from_bytes(received.file_name())
    } else {
        received.clone()
    };
    directory.join(&match timestamp {
        Some(at) => relative.with_file_name(&names::timestamped(relative.file_name(), at, names::NAME_LIMIT)),
        None => relative,
    })
}

/// Writes a copy of a payload to an archive and returns where it is; durable when it returns. Idempotent with `again`: if
/// the archive has a file with that name and content, nothing is written. Another file with the name stays, and the copy
/// gets a number.
///
/// # Errors
/// The payload cannot be read, or the archive cannot be written.
pub async fn archive_payload(
    folder: &dyn Folder,
    budget: &BufferBudget,
    archive: ToArchive<'_>,
) -> Result<ArchivedFile> {
    let ToArchive { offer, payload, directory, timestamp, again } = archive;
    let target = path_in_archive(&directory, payload.file_name(), timestamp);
    let _lease = budget.take(BUFFERS + payload.reader_buffers()).await;
    folder.make_directory(&target.parent().unwrap_or_default()).await?;
    let id = offer.uuid().simple().to_string();
    let suffix = format!(".{}.archiving{}", &id[id.len() - 12..], names::TEMPORARY);
    let temporary = target.with_file_name(&names::wrapped(b".", target.file_name(), suffix.as_bytes()));
    let mut is_written = false;
    for number in 1..=NUMBER_LIMIT {
        let name = names::numbered(target.file_name(), number, names::NAME_LIMIT);
        let path = target.with_file_name(&name);
        match folder.stat(&path).await {
            Ok(entry) if (again || is_written) && is_same(folder, &entry, &path, payload).await? => {
                folder.sync_directory(&path.parent().unwrap_or_default()).await?;
                if is_written {
                    folder.remove(&temporary).await?;
                }
                return Ok(ArchivedFile { path, size: entry.size, modified: entry.modified });
            }
            Ok(_) => continue,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if !is_written {
            let mut upload = folder.begin_write(&temporary, Some(payload.length())).await?;
            copy(payload.open(0..payload.length()).await?, upload.as_mut()).await?;
            upload.finish().await?;
            is_written = true;
        }
        match folder.publish(&temporary, &path, false).await? {
            Published::Published => {
                let entry = folder.stat(&path).await?;
                return Ok(ArchivedFile { path, size: entry.size, modified: entry.modified });
            }
            Published::Exists => {}
            Published::Unknown => {
                return Err(Error::ambiguous(ErrorKind::Unreachable, "give a file its name in an archive")
                    .with("path", path));
            }
        }
    }
    Err(Error::transient(ErrorKind::AlreadyExists, "find a free name in an archive")
        .with("path", target)
        .advice("remove files with the same name from the archive"))
}

/// Whether the file at a path has the content of the payload.
async fn is_same(
    folder: &dyn Folder,
    entry: &Entry,
    path: &RemotePath,
    payload: &dyn Payload,
) -> Result<bool> {
    if entry.kind != EntryKind::File || entry.size != Some(payload.length()) {
        return Ok(false);
    }
    let (bytes, sha256) = sum(folder.read(path, 0).await?).await?;
    Ok(bytes == payload.length() && Some(sha256) == payload.sha256())
}
