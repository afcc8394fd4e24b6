//! Walking through a directory and its subdirectories.

mod level;

use super::done_file::Marker;
use super::{Entry, EntryKind, Folder};
use futures::StreamExt;
use futures::stream::BoxStream;
use level::Level;
use model::{Error, ErrorKind, RemotePath, Result, SkipReason};
use std::collections::VecDeque;
use std::sync::Arc;

/// The deepest level of subdirectories, counted from the polled directory. It ends loops of links or mounts.
const DEPTH_LIMIT: usize = 64;

/// The most directories that wait to be listed.
const PENDING_LIMIT: usize = 100_000;

/// The longest name in a listing, in bytes: four times what file systems have, and no more than a server should make this
/// process hold.
const LISTED_NAME_LIMIT: usize = 1_024;

/// The longest path below the polled directory, in bytes.
const LISTED_PATH_LIMIT: usize = 4_096;

/// The most directories of one walk. Two links back to a directory above make more than any walk could end.
const DIRECTORY_LIMIT: usize = 250_000;

/// The most bytes of the paths of directories that wait to be listed.
const PENDING_BYTES_LIMIT: usize = 16 << 20;

/// The most entries of one directory. A listing that goes on beyond has no end.
const ENTRY_LIMIT: u64 = 10_000_000;

/// How many more entries are read of a listing that is not needed to its end: over FTP, giving up a listing gives up its
/// connection, and a login costs more than the rest of most listings.
const REST_LIMIT: usize = 1_000;

/// A file that a walk found.
pub(super) struct Listed {
    /// Its path below the polled directory.
    pub(super) relative: RemotePath,
    /// Its path in the folder.
    pub(super) path: RemotePath,
    /// Its entry in the listing.
    pub(super) entry: Entry,
    /// Its done file, where the flow has done files.
    pub(super) marker: Option<Box<Marker>>,
}

/// The callback for each entry that a walk skips.
type Observer<'a> = Box<dyn FnMut(SkipReason, &RemotePath) + Send + 'a>;

/// A walk through one directory, or through several. It returns files, and entries that may be files.
pub(super) struct Walk<'a> {
    folder: Arc<dyn Folder>,
    base: RemotePath,
    recursive: bool,
    started: bool,
    complete: bool,
    pending: Vec<(RemotePath, usize, Arc<Level>)>,
    pending_bytes: usize,
    /// The directory that is listed now, with those that it lies in.
    level: Arc<Level>,
    /// Whether the server was asked which directory the polled one is.
    is_base_known: bool,
    directories: usize,
    directory_limit: usize,
    /// The entries of the current directory so far, and the most that it may have.
    entries: u64,
    entry_limit: u64,
    invalid: Invalid,
    current: Option<(RemotePath, usize, BoxStream<'static, Result<Entry>>)>,
    observer: Option<Observer<'a>>,
    /// Directories that are walked through after this one; those that are missing are passed over.
    others: VecDeque<RemotePath>,
    /// Where the directories may be missing: the one that they are in, to be looked at if all of them are.
    above: Option<RemotePath>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(folder: Arc<dyn Folder>, base: RemotePath, recursive: bool) -> Self {
        Self {
            others: VecDeque::new(),
            above: None,
            folder,
            base,
            recursive,
            started: false,
            complete: true,
            pending: Vec::new(),
            pending_bytes: 0,
            level: Arc::default(),
            is_base_known: false,
            directories: 0,
            directory_limit: DIRECTORY_LIMIT,
            entries: 0,
            entry_limit: ENTRY_LIMIT,
            invalid: Invalid::default(),
            current: None,
            observer: None,
        }
    }

    /// A walk through several directories, one after the other, of which any may be missing. Paths of files are relative to
    /// the directory that they are in. `above` is the directory that all are in.
    pub(super) fn of_several(
        folder: Arc<dyn Folder>,
        directories: Vec<RemotePath>,
        above: RemotePath,
        recursive: bool,
    ) -> Self {
        let others = directories.into();
        Self {
            started: true,
            others,
            above: Some(above),
            ..Self::new(folder, RemotePath::default(), recursive)
        }
    }

    /// The same, with a callback for each entry that it skips.
    pub(super) fn observed(mut self, observer: impl FnMut(SkipReason, &RemotePath) + Send + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Calls the callback for an entry that is skipped.
    pub(super) fn pass_over(&mut self, why: SkipReason, relative: &RemotePath) {
        if let Some(observer) = &mut self.observer {
            observer(why, relative);
        }
    }

    /// Whether every directory was listed completely. Valid after [`Walk::next`] returned `None`.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// The next file, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Listed>> {
        if !self.started {
            self.started = true;
            match self.folder.list(&self.base).await {
                Ok(stream) => self.current = Some((RemotePath::default(), 0, stream)),
                // If the login failed or the server did not answer, it is not asked again: a wrong password that is
                // tried twice counts twice.
                Err(error) if never_asked(&error) => return Err(error),
                // The endpoint may name a single file.
                Err(error) => {
                    return match self.folder.stat(&self.base).await {
                        Ok(entry) if matches!(entry.kind, EntryKind::File | EntryKind::Unknown) => {
                            Ok(Some(Listed {
                                relative: RemotePath::from_bytes(self.base.file_name()),
                                path: self.base.clone(),
                                entry,
                                marker: None,
                            }))
                        }
                        _ => Err(error),
                    };
                }
            }
        }
        loop {
            let Some((relative, depth, stream)) = &mut self.current else {
                if !self.descend().await? && !self.begin_next().await? {
                    return Ok(None);
                }
                continue;
            };
            let Some(entry) = stream.next().await.transpose()? else {
                let path = self.base.join(relative);
                self.current = None;
                if self.level.end() {
                    return Err(shows_itself(&path));
                }
                continue;
            };
            self.entries += 1;
            if self.entries > self.entry_limit {
                return Err(endless(&self.base.join(relative), self.entry_limit));
            }
            let (below, depth) = (relative.join(&entry.path), *depth);
            if !is_plain_name(&entry.path) || below.as_bytes().len() > LISTED_PATH_LIMIT {
                self.invalid.note(&self.base, &entry.path);
                self.pass_over(SkipReason::InvalidName, &shown(&entry.path));
                continue;
            }
            if self.recursive {
                self.level.note(&entry);
            }
            let mut kind = entry.kind;
            if kind == EntryKind::Unknown && self.recursive {
                let path = self.base.join(&below);
                kind = match is_directory(self.folder.as_ref(), &path).await? {
                    true => EntryKind::Directory,
                    false => EntryKind::File,
                };
            }
            match kind {
                EntryKind::File | EntryKind::Unknown => {
                    let path = self.base.join(&below);
                    return Ok(Some(Listed {
                        relative: below,
                        path,
                        entry: Entry { kind, ..entry },
                        marker: None,
                    }));
                }
                EntryKind::Directory if self.recursive && self.leads_back(&entry).await => {
                    self.pass_over(SkipReason::Link, &below);
                }
                EntryKind::Directory if self.recursive => {
                    let level = Level::below(&self.level, entry.version);
                    let bytes = self.pending_bytes + below.as_bytes().len() + level.bytes();
                    if depth >= DEPTH_LIMIT
                        || self.pending.len() >= PENDING_LIMIT
                        || bytes > PENDING_BYTES_LIMIT
                    {
                        tracing::warn!(directory = %self.base.join(&below), "the directory is too deep, or there are too many directories; skipped");
                        self.complete = false;
                    } else {
                        self.pending_bytes = bytes;
                        self.pending.push((below, depth + 1, Arc::new(level)));
                    }
                }
                EntryKind::Directory => self.pass_over(SkipReason::Directory, &below),
                EntryKind::Link => self.pass_over(SkipReason::Link, &below),
                EntryKind::Other => self.pass_over(SkipReason::SpecialFile, &below),
            }
        }
    }

    /// Whether an entry is a directory that it lies in itself: a link that the server shows as a directory, where the server
    /// states which directory it is.
    async fn leads_back(&mut self, entry: &Entry) -> bool {
        let Some(version) = &entry.version else { return false };
        if !self.is_base_known {
            self.is_base_known = true;
            // A server that refuses it answers the listing all the same: then a link to the polled directory is found one
            // level below.
            if let Ok(Entry { version: Some(version), .. }) = self.folder.stat(&self.base).await {
                self.level.is_directory(version);
            }
        }
        self.level.lies_in(version)
    }

    /// Begins the next one of several directories; false if there is none.
    ///
    /// # Errors
    /// It cannot be listed; or none may be read, or all are missing and the one that they are in as well.
    async fn begin_next(&mut self) -> Result<bool> {
        let mut denied = None;
        while let Some(directory) = self.others.pop_front() {
            match self.folder.list(&directory).await {
                Ok(stream) => {
                    (self.base, self.above) = (directory, None);
                    (self.level, self.is_base_known) = (Arc::default(), false);
                    self.entries = 0;
                    self.current = Some((RemotePath::default(), 0, stream));
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                // One that may not be read must not stop those of the other days from being polled.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    tracing::warn!(directory = %directory, error = %error.chain(), "no permission to read the directory; skipped");
                    self.complete = false;
                    denied.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        let Some(above) = self.above.take() else { return Ok(false) };
        // Not one could be listed: what was kept in them may still be there.
        self.complete = false;
        if let Some(error) = denied {
            return Err(error);
        }
        // That nothing is there says nothing about files if the place itself is missing, as when it is not mounted.
        if !above.is_empty() {
            self.folder.stat(&above).await?;
        }
        Ok(false)
    }

    /// Opens the next directory; false if there is none. A directory that no longer exists has no files. One that may
    /// not be read must not stop the others from being polled.
    async fn descend(&mut self) -> Result<bool> {
        while let Some((relative, depth, level)) = self.pending.pop() {
            self.pending_bytes -= relative.as_bytes().len() + level.bytes();
            self.entries = 0;
            self.level = level;
            self.directories += 1;
            if self.directories > self.directory_limit {
                return Err(too_many(&self.base, self.directory_limit));
            }
            let path = self.base.join(&relative);
            match self.folder.list(&path).await {
                Ok(stream) => {
                    self.current = Some((relative, depth, stream));
                    return Ok(true);
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                    tracing::warn!(directory = %path, error = %error.chain(), "no permission to read the directory; skipped");
                    self.complete = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }
}

/// Whether an entry of unknown kind is a directory: only a directory can be listed. Any other entry is treated as a
/// file.
///
/// # Errors
/// The request did not reach the server.
pub(super) async fn is_directory(folder: &dyn Folder, path: &RemotePath) -> Result<bool> {
    match folder.list(path).await {
        Ok(listing) => {
            end_listing(listing).await;
            Ok(true)
        }
        Err(error) if never_asked(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Ends a listing that is not needed to its end. An error in its rest concerns the connection alone, which the next
/// operation will meet.
pub(super) async fn end_listing(listing: BoxStream<'static, Result<Entry>>) {
    let mut rest = listing.take(REST_LIMIT);
    while let Some(Ok(_)) = rest.next().await {}
}

/// Whether a listed name is a single name: a hostile server could send a path.
fn is_plain_name(name: &RemotePath) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= LISTED_NAME_LIMIT
        && bytes != b"."
        && !name.escapes()
        && !bytes.contains(&b'/')
}

/// A name as it is reported: its beginning, if it is very long.
fn shown(name: &RemotePath) -> RemotePath {
    let bytes = name.as_bytes();
    RemotePath::from_bytes(bytes[..bytes.len().min(LISTED_NAME_LIMIT)].to_vec())
}

fn endless(directory: &RemotePath, limit: u64) -> Error {
    Error::transient(ErrorKind::Protocol, "list a directory")
        .with("directory", directory)
        .with("entries", limit)
        .advice("the listing has more entries than any directory; nothing was read of it. Ask the server's operator what is wrong")
}

fn too_many(base: &RemotePath, limit: usize) -> Error {
    Error::transient(ErrorKind::Protocol, "look into all subdirectories")
        .with("directory", base)
        .with("directories", limit)
        .advice("there are more subdirectories than one poll looks into. Check whether links lead back to a directory above: the \
            server shows them as directories. Poll the subdirectories by flows of their own, or without 'recursive'")
}

fn shows_itself(directory: &RemotePath) -> Error {
    Error::permanent(ErrorKind::Rejected, "look into all subdirectories")
        .with("directory", directory)
        .advice("the directory and two directories that it lies in show the same files, times included: it is a link back to \
            one of them, which the server shows as a directory. Nothing was read, because each file would be read under \
            several paths. Remove the link, or poll without 'recursive'")
}

/// The invalid names of a walk. They are logged once, at its end: a server may have a million of them in each poll.
#[derive(Default)]
struct Invalid {
    first: Option<(RemotePath, RemotePath)>,
    count: u64,
}

impl Invalid {
    fn note(&mut self, directory: &RemotePath, name: &RemotePath) {
        self.count += 1;
        self.first.get_or_insert_with(|| (directory.clone(), shown(name)));
    }
}

impl Drop for Invalid {
    fn drop(&mut self) {
        if let Some((directory, name)) = &self.first {
            tracing::warn!(%directory, %name, count = self.count, "the listing holds invalid file names, of which this is the first; they are skipped");
        }
    }
}

/// Whether an error says nothing about the path, because the request did not reach the server.
fn never_asked(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unauthenticated
            | ErrorKind::TrustFailed
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Throttled
            | ErrorKind::Busy
            | ErrorKind::ConfigInvalid
    )
}

#[cfg(test)]
mod tests;
