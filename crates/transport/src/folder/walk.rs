//! Walking a directory, and those below it, entry by entry.

use super::{Entry, EntryKind, Folder};
use futures::StreamExt;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, RemotePath, Result};
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

/// One walk over a directory. Only regular files come out.
pub(super) struct Walk {
    folder: Arc<dyn Folder>,
    base: RemotePath,
    recursive: bool,
    started: bool,
    complete: bool,
    pending: Vec<(RemotePath, usize)>,
    current: Option<(RemotePath, usize, BoxStream<'static, Result<Entry>>)>,
}

impl Walk {
    pub(super) fn new(folder: Arc<dyn Folder>, base: RemotePath, recursive: bool) -> Self {
        Self { folder, base, recursive, started: false, complete: true, pending: Vec::new(), current: None }
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
                        Ok(entry) if entry.kind == EntryKind::File => Ok(Some(Listed {
                            relative: RemotePath::from_bytes(self.base.file_name()),
                            path: self.base.clone(),
                            entry,
                        })),
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
                tracing::warn!(directory = %self.base, name = %entry.path, "listing holds a name that is none; skipped");
                continue;
            }
            let below = relative.join(&entry.path);
            match entry.kind {
                EntryKind::File => {
                    let path = self.base.join(&below);
                    return Ok(Some(Listed { relative: below, path, entry }));
                }
                EntryKind::Directory if self.recursive => {
                    if *depth >= DEPTH_LIMIT || self.pending.len() >= PENDING_LIMIT {
                        tracing::warn!(directory = %self.base.join(&below), "too deep or too many directories; not looked into");
                        self.complete = false;
                    } else {
                        self.pending.push((below, *depth + 1));
                    }
                }
                EntryKind::Directory | EntryKind::Other => {}
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
                    tracing::warn!(directory = %path, error = %error.chain(), "directory may not be read; skipped");
                    self.complete = false;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
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
