//! A file being written.

use super::blocking;
use super::ownership::Wanted;
use super::place::{Spot, os, stat_at};
use crate::error::failed;
use async_trait::async_trait;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::sync::Arc;
use transport::folder::{Upload, Written};

/// A file, open for writing. Dropped before it is finished, as when its node has lost its lease, it goes: the attempt
/// that follows may have looked for it already. Where another file has the name by then, that one stays.
pub(super) struct LocalUpload {
    spot: Arc<Spot>,
    /// Device and inode of the file.
    id: (u64, u64),
    path: RemotePath,
    /// What the file is given when it is complete.
    wanted: Arc<Wanted>,
    /// `None` only while a write is under way, or after one was cut off.
    file: Option<File>,
    /// Whether the file is whole, or gone already.
    is_done: bool,
    /// Whether bytes are added to a file that may have been there before: it is never removed.
    is_appended: bool,
}

impl LocalUpload {
    /// Makes the file anew: what has the name goes first, so that nothing is written through a link or
    /// into a file that somebody else holds open.
    pub(super) fn begin(spot: Spot, path: RemotePath, wanted: Arc<Wanted>) -> Result<Self> {
        match rustix::fs::unlinkat(&spot.directory, os(&spot.name), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(failed("replace a temporary file", &path, error)),
        }
        Self::open(spot, &path, wanted).map_err(|e| failed("write a file", &path, e))
    }

    /// Makes the file; `None` when something has the name.
    pub(super) fn begin_new(spot: Spot, path: RemotePath, wanted: Arc<Wanted>) -> Result<Option<Self>> {
        match Self::open(spot, &path, wanted) {
            Ok(upload) => Ok(Some(upload)),
            Err(Errno::EXIST) => Ok(None),
            Err(error) => Err(failed("write a file", &path, error)),
        }
    }

    fn open(spot: Spot, path: &RemotePath, wanted: Arc<Wanted>) -> std::result::Result<Self, Errno> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&spot.directory, os(&spot.name), flags, wanted.mode())?;
        let id = file_id(&rustix::fs::fstat(&opened)?);
        Ok(Self {
            spot: Arc::new(spot),
            id,
            path: path.clone(),
            wanted,
            file: Some(opened.into()),
            is_done: false,
            is_appended: false,
        })
    }

    /// Goes on with a file that is there, and cuts off what it has behind the offset.
    pub(super) fn resume(spot: Spot, path: RemotePath, wanted: Arc<Wanted>, offset: u64) -> Result<Self> {
        let wrong = |e| failed("go on with a file", &path, e);
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&spot.directory, os(&spot.name), flags, Mode::empty()).map_err(wrong)?;
        let stat = rustix::fs::fstat(&opened).map_err(wrong)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(wrong(Errno::LOOP));
        }
        let mut file = File::from(opened);
        let local = |e| Error::local_io("go on with a file", e).with("path", &path);
        file.set_len(offset).and_then(|()| file.seek(SeekFrom::Start(offset))).map_err(local)?;
        Ok(Self {
            spot: Arc::new(spot),
            id: file_id(&stat),
            path,
            wanted,
            file: Some(file),
            is_done: false,
            is_appended: false,
        })
    }

    /// Adds to the end of a file, which is created if it is missing.
    pub(super) fn append(spot: Spot, path: RemotePath, wanted: Arc<Wanted>) -> Result<Self> {
        let wrong = |e| failed("append to a file", &path, e);
        let flags = OFlags::WRONLY
            | OFlags::APPEND
            | OFlags::CREATE
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::NOCTTY
            | OFlags::CLOEXEC;
        let opened =
            rustix::fs::openat(&spot.directory, os(&spot.name), flags, wanted.mode()).map_err(wrong)?;
        let stat = rustix::fs::fstat(&opened).map_err(wrong)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(wrong(Errno::LOOP));
        }
        // The name of a new file must be durable before bytes of it count as written.
        super::place::sync_directory(&spot.directory).map_err(wrong)?;
        let id = file_id(&stat);
        let file = Some(opened.into());
        // What the file had before keeps its permissions and its owner.
        let wanted = Arc::default();
        Ok(Self { spot: Arc::new(spot), id, path, wanted, file, is_done: true, is_appended: true })
    }

    fn take(&mut self) -> Result<File> {
        self.file.take().ok_or_else(|| {
            Error::transient(ErrorKind::Internal, "continue a write that was cut off")
                .with("path", &self.path)
        })
    }
}

fn file_id(stat: &rustix::fs::Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Removes an unfinished file as far as possible; the next attempt removes what is left.
fn remove(spot: &Spot, id: (u64, u64)) {
    if stat_at(spot).is_ok_and(|stat| file_id(&stat) == id) {
        let _ = rustix::fs::unlinkat(&spot.directory, os(&spot.name), AtFlags::empty());
    }
}

#[async_trait]
impl Upload for LocalUpload {
    fn connection(&self) -> Option<ConnectionId> {
        None
    }

    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()> {
        let mut file = self.take()?;
        let path = self.path.clone();
        let file = blocking(move || match file.write_all(&bytes) {
            Ok(()) => Ok(file),
            Err(error) => Err(Error::local_io("write a file", error).with("path", path)),
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let file = self.take()?;
        let path = self.path.clone();
        let file = blocking(move || match file.sync_all() {
            Ok(()) => Ok(file),
            Err(error) => Err(Error::local_io("sync a file to disk", error).with("path", path)),
        })
        .await?;
        self.file = Some(file);
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Written> {
        let file = self.take()?;
        let (path, wanted) = (self.path.clone(), Arc::clone(&self.wanted));
        let (length, not_set) = blocking(move || {
            let wrong = |e| Error::local_io("sync a file to disk", e).with("path", &path);
            let not_set = wanted.give(&file, &path);
            file.sync_all().map_err(wrong)?;
            Ok((file.metadata().map_err(wrong)?.len(), not_set))
        })
        .await?;
        self.is_done = true;
        Ok(Written { not_set, ..Written::there(length) })
    }

    async fn abort(mut self: Box<Self>) {
        drop(self.file.take());
        if self.is_appended {
            return;
        }
        self.is_done = true;
        let (spot, id) = (Arc::clone(&self.spot), self.id);
        let _ = blocking(move || {
            remove(&spot, id);
            Ok(())
        })
        .await;
    }

    async fn suspend(mut self: Box<Self>) -> bool {
        self.is_done = true;
        true
    }
}

impl Drop for LocalUpload {
    fn drop(&mut self) {
        if self.is_done {
            return;
        }
        let (spot, id) = (Arc::clone(&self.spot), self.id);
        let remove = move || remove(&spot, id);
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}
