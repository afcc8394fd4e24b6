//! Walking a directory, and those below it, entry by entry.

use super::{Entry, EntryKind, Folder};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, RemotePath, Result, SkipReason};
use std::sync::Arc;

/// Deepest directory looked into, counted from the polled one. A loop made of links or mounts ends here.
const DEPTH_LIMIT: usize = 64;

/// Most directories waiting to be looked into at a time.
const PENDING_LIMIT: usize = 100_000;

/// A file that a walk found.
pub(super) struct Listed {
    /// Its path below the polled directory.
    pub(super) relative: RemotePath,
    /// Its path as the folder takes it.
    pub(super) path: RemotePath,
    /// What the listing tells of it.
    pub(super) entry: Entry,
}

/// What is told of each entry that a walk passes over.
type Observer<'a> = Box<dyn FnMut(SkipReason, &RemotePath) + Send + 'a>;

/// One walk over a directory. Only files come out, and what may be one.
pub(super) struct Walk<'a> {
    folder: Arc<dyn Folder>,
    base: RemotePath,
    recursive: bool,
    started: bool,
    complete: bool,
    pending: Vec<(RemotePath, usize)>,
    current: Option<(RemotePath, usize, BoxStream<'static, Result<Entry>>)>,
    observer: Option<Observer<'a>>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(folder: Arc<dyn Folder>, base: RemotePath, recursive: bool) -> Self {
        Self {
            folder,
            base,
            recursive,
            started: false,
            complete: true,
            pending: Vec::new(),
            current: None,
            observer: None,
        }
    }

    /// The same, telling what it passes over.
    pub(super) fn observed(mut self, observer: impl FnMut(SkipReason, &RemotePath) + Send + 'a) -> Self {
        self.observer = Some(Box::new(observer));
        self
    }

    /// Tells the observer that an entry is passed over.
    pub(super) fn pass_over(&mut self, why: SkipReason, relative: &RemotePath) {
        if let Some(observer) = &mut self.observer {
            observer(why, relative);
        }
    }

    /// Whether every directory was listed to its end. Asked when [`Walk::next`] said `None`.
    pub(super) fn complete(&self) -> bool {
        self.complete
    }

    /// The next file, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Listed>> {
        if !self.started {
            self.started = true;
            match self.folder.list(&self.base).await {
                Ok(stream) => self.current = Some((RemotePath::default(), 0, stream)),
                // Whoever did not let us in, or did not answer, is not asked again: a wrong password tried
                // twice counts twice.
                Err(error) if never_asked(&error) => return Err(error),
                // The endpoint may name one file instead of a directory.
                Err(error) => {
                    return match self.folder.stat(&self.base).await {
                        Ok(entry) if matches!(entry.kind, EntryKind::File | EntryKind::Unknown) => {
                            Ok(Some(Listed {
                                relative: RemotePath::from_bytes(self.base.file_name()),
                                path: self.base.clone(),
                                entry,
                            }))
                        }
                        _ => Err(error),
                    };
                }
            }
        }
        loop {
            let Some((relative, depth, stream)) = &mut self.current else {
                if !self.descend().await? {
                    return Ok(None);
                }
                continue;
            };
            let Some(entry) = stream.next().await.transpose()? else {
                self.current = None;
                continue;
            };
            if !is_plain_name(&entry.path) {
                tracing::warn!(directory = %self.base, name = %entry.path, "listing holds an invalid file name; skipped");
                self.pass_over(SkipReason::InvalidName, &entry.path);
                continue;
            }
            let (below, depth) = (relative.join(&entry.path), *depth);
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
                    return Ok(Some(Listed { relative: below, path, entry: Entry { kind, ..entry } }));
                }
                EntryKind::Directory if self.recursive => {
                    if depth >= DEPTH_LIMIT || self.pending.len() >= PENDING_LIMIT {
                        tracing::warn!(directory = %self.base.join(&below), "the directory is too deep, or there are too many directories; skipped");
                        self.complete = false;
                    } else {
                        self.pending.push((below, depth + 1));
                    }
                }
                EntryKind::Directory => self.pass_over(SkipReason::Directory, &below),
                EntryKind::Link => self.pass_over(SkipReason::Link, &below),
                EntryKind::Other => self.pass_over(SkipReason::SpecialFile, &below),
            }
        }
    }

    /// Opens the next waiting directory; false when there is none. One that vanished has no files; one
    /// that may not be read must not keep the others from being polled.
    async fn descend(&mut self) -> Result<bool> {
        while let Some((relative, depth)) = self.pending.pop() {
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

/// Whether something of unknown kind is a directory: only then can it be listed. What cannot is tried as a file.
///
/// # Errors
/// The question did not reach the place.
pub(super) async fn is_directory(folder: &dyn Folder, path: &RemotePath) -> Result<bool> {
    match folder.list(path).await {
        Ok(_) => Ok(true),
        Err(error) if never_asked(&error) => Err(error),
        Err(_) => Ok(false),
    }
}

/// Whether a listed name is one name: a hostile server could send a path.
fn is_plain_name(name: &RemotePath) -> bool {
    let bytes = name.as_bytes();
    !bytes.is_empty() && bytes != b"." && !name.escapes() && !bytes.contains(&b'/')
}

/// Whether a failure says nothing about what lies at the path: the question did not get there.
fn never_asked(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unauthenticated
            | ErrorKind::TrustFailed
            | ErrorKind::Unreachable
            | ErrorKind::Timeout
            | ErrorKind::Throttled
            | ErrorKind::ConfigInvalid
    )
}
