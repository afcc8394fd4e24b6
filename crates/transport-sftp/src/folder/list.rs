//! Listing a directory as the server sends it, and reading an entry's metadata.

use super::Lease;
use crate::protocol::client::{self, FileHandle};
use crate::protocol::exchange::Awaited;
use crate::protocol::fault::Fault;
use crate::protocol::packet::{Attributes, Named};
use chrono::DateTime;
use futures::future::try_join_all;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use model::{ErrorKind, RemotePath, Result};
use std::collections::VecDeque;
use transport::folder::{Entry, EntryKind};

/// The number of pages requested ahead. OpenSSH sends a hundred names in each.
const PAGES: usize = 4;

/// The most pages of a listing that hold no file, such as those of `.` alone. Without it a listing of nothing else would
/// never end.
const IDLE_PAGES: u64 = 10_000;

/// The most files and directories of a listing. It is no listing of a directory then, and not all who list count.
const ENTRIES: u64 = 10_000_000;

const OPERATION: &str = "list a directory";

/// Lists a directory, without `.` and `..`.
///
/// # Errors
/// By the server's codes.
pub(crate) async fn list(lease: Lease, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
    lease.count();
    let failed = |lease: &Lease, fault: Fault| {
        let error = fault.error(OPERATION, lease.target(), Some(directory));
        if error.kind() == ErrorKind::NotFound && !directory.is_absolute() {
            error.advice("the path is relative to the login directory; write two slashes after the host for an absolute path")
        } else {
            error
        }
    };
    let opened = lease.client().open_directory(directory).await;
    let handle = opened.map_err(|fault| failed(&lease, fault))?;
    let mut listing = Listing {
        directory: directory.clone(),
        lease,
        handle,
        asked: VecDeque::new(),
        pages: 1,
        idle_pages: 0,
        entries: 0,
    };
    // asyncssh opens any path, and says only when it is read that it is no directory.
    let first = match listing.page().await {
        Ok(first) => first,
        Err(fault) => return Err(failed(&listing.lease, fault)),
    };
    let Some(first) = first else { return Ok(stream::empty().boxed()) };
    let pages = stream::try_unfold(listing, |mut listing| async move {
        match listing.page().await {
            Ok(Some(entries)) => Ok(Some((stream::iter(entries.into_iter().map(Ok)), listing))),
            Ok(None) => Ok(None),
            Err(fault) => Err(fault.error(OPERATION, listing.lease.target(), Some(&listing.directory))),
        }
    });
    let first = stream::iter(first.into_iter().map(Ok));
    Ok(first.chain(pages.try_flatten()).boxed())
}

struct Listing {
    // Closed before the connection is given back.
    handle: FileHandle,
    lease: Lease,
    directory: RemotePath,
    asked: VecDeque<Awaited>,
    /// The number of pages requested at a time; it grows as pages arrive, so that a small directory causes no useless
    /// requests.
    pages: usize,
    idle_pages: u64,
    entries: u64,
}

impl Listing {
    /// The next entries; `None` at the end.
    async fn page(&mut self) -> std::result::Result<Option<Vec<Entry>>, Fault> {
        while self.asked.len() < self.pages {
            self.asked.push_back(self.lease.client().read_directory(&self.handle).await?);
        }
        let Some(asked) = self.asked.pop_front() else { return Ok(None) };
        let Some(names) = client::page(asked.await?)? else { return Ok(None) };
        self.pages = PAGES.min(self.pages + 1);
        let names = names.into_iter().filter(|named| !matches!(&named.name[..], b"." | b".."));
        let entries = try_join_all(names.map(|named| self.entry(named))).await?;
        let entries: Vec<_> = entries.into_iter().flatten().collect();
        self.idle_pages += u64::from(entries.is_empty());
        self.entries += entries.len() as u64;
        if self.idle_pages > IDLE_PAGES || self.entries > ENTRIES {
            return Err(Fault::Endless);
        }
        Ok(Some(entries))
    }

    /// An entry. Metadata that the listing does not have is requested from the server; if the server refuses, the
    /// listing's is used.
    async fn entry(&self, named: Named) -> std::result::Result<Option<Entry>, Fault> {
        let path = RemotePath::from_bytes(named.name.to_vec());
        let mut told = named.attributes;
        if told.size.is_some() && told.modified.is_some() && kind(&told, &named.line).is_some() {
            return Ok(Some(entry(path, &told, &named.line)));
        }
        match self.lease.client().stat(&self.directory.join(&path)).await {
            Ok(more) => {
                told.size = told.size.or(more.size);
                told.modified = told.modified.or(more.modified);
                let has_type = told.permissions.is_some_and(|mode| mode & TYPE != 0);
                told.permissions =
                    if has_type { told.permissions } else { more.permissions.or(told.permissions) };
                Ok(Some(entry(path, &told, &named.line)))
            }
            // It no longer exists.
            Err(fault) if fault.says_missing() => Ok(None),
            // It may not be queried, or this server does not support it: the listing's metadata is used.
            Err(Fault::Refused(_)) => Ok(Some(entry(path, &told, &named.line))),
            Err(fault) => Err(fault),
        }
    }
}

/// The file type among the bits of permissions.
const TYPE: u32 = 0o170_000;

/// The entry of a path. `line` is the listing's line for it, if there is one.
pub(crate) fn entry(path: RemotePath, told: &Attributes, line: &[u8]) -> Entry {
    let kind = kind(told, line).unwrap_or(EntryKind::Unknown);
    Entry {
        path,
        kind,
        size: told.size,
        modified: told.modified.and_then(|seconds| DateTime::from_timestamp(i64::from(seconds), 0)),
        // Version 3 has no value that changes when another file gets the name.
        version: None,
        changed: None,
    }
}

/// The kind of an entry, as far as it is reported: links are neither file nor directory.
pub(crate) fn kind(told: &Attributes, line: &[u8]) -> Option<EntryKind> {
    match told.permissions.map(|mode| mode & TYPE) {
        Some(0o100_000) => Some(EntryKind::File),
        Some(0o040_000) => Some(EntryKind::Directory),
        Some(0o120_000) => Some(EntryKind::Link),
        // Permissions without a type: the first letter of the line has it, as in ls -l.
        None | Some(0) => match line.first() {
            Some(b'-') => Some(EntryKind::File),
            Some(b'd') => Some(EntryKind::Directory),
            Some(b'l') => Some(EntryKind::Link),
            Some(b'p' | b's' | b'b' | b'c') => Some(EntryKind::Other),
            _ => None,
        },
        Some(_) => Some(EntryKind::Other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_is_told_by_the_type_or_the_line() {
        let told = |mode| Attributes { permissions: mode, ..Attributes::default() };
        for (mode, line, expected) in [
            (Some(0o100_644), "", Some(EntryKind::File)),
            (Some(0o040_755), "-", Some(EntryKind::Directory)),
            (Some(0o120_777), "-", Some(EntryKind::Link)),
            (Some(0o010_644), "-", Some(EntryKind::Other)),
            (Some(0o644), "-rw-r--r--", Some(EntryKind::File)),
            (None, "drwxr-xr-x", Some(EntryKind::Directory)),
            (None, "lrwxrwxrwx", Some(EntryKind::Link)),
            (None, "01-02-26 10:00 a.txt", None),
            (None, "", None),
        ] {
            assert_eq!(kind(&told(mode), line.as_bytes()), expected, "{mode:?} {line}");
        }
        let at = entry("a".into(), &Attributes { modified: Some(u32::MAX), ..told(None) }, b"");
        assert_eq!(at.modified.unwrap().timestamp(), i64::from(u32::MAX));
        assert_eq!(at.kind, EntryKind::Unknown, "neither surely a file nor surely none");
    }
}
