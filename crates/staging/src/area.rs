//! The staging area: opening it, its room, and what can be done to committed payloads by id.

use crate::disk::{Disk, DiskFile, Space};
use crate::fault::{fault, too_full};
use crate::layout::{FANS, Layout};
use crate::part::PartFile;
use crate::read::PayloadFile;
use crate::stream::PayloadStream;
use model::{Error, ErrorKind, PayloadId, Result, Sha256};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How an area is kept.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Bytes of the file system that staging leaves free: below, nothing new is taken in.
    pub min_free: u64,
    /// Permissions of files.
    pub file_mode: u32,
    /// Permissions of directories.
    pub dir_mode: u32,
}

impl Default for Settings {
    /// 512 MiB kept free; files and directories for this user only.
    fn default() -> Self {
        Self { min_free: 512 * 1024 * 1024, file_mode: 0o600, dir_mode: 0o700 }
    }
}

/// Bytes that are durable in staging.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StagedPayload {
    /// Their name.
    pub id: PayloadId,
    /// Their number.
    pub length: u64,
    /// Their hash.
    pub sha256: Sha256,
}

/// An area, open. Cheap to clone; used from any number of threads, and by any number of processes at
/// once: parts carry locks, and a committed payload never changes.
#[derive(Clone)]
pub struct Staging {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) layout: Layout,
    pub(crate) settings: Settings,
}

impl Staging {
    /// Opens an area, and makes it first where it does not exist.
    ///
    /// # Errors
    /// `PermissionDenied` when the directory cannot be written, `ConfigInvalid` when it is not one
    /// directory on one file system, other local errors.
    pub fn open(root: &Path, disk: Arc<dyn Disk>, settings: Settings) -> Result<Self> {
        let layout = Layout::new(root);
        let mode = settings.dir_mode;
        make_root(&*disk, root, mode)?;
        for directory in [&layout.partial, &layout.payloads, &layout.quarantine] {
            make_dir(&*disk, directory, mode)?;
        }
        // Names are synced also when they were there: who made them may have died before it did so.
        sync_dir(&*disk, root)?;
        for fan in 0..FANS {
            make_dir(&*disk, &layout.fan(fan), mode)?;
        }
        sync_dir(&*disk, &layout.payloads)?;
        let staging = Self { inner: Arc::new(Inner { disk, layout, settings }) };
        staging.check_one_file_system()?;
        staging.check_writable()?;
        Ok(staging)
    }

    /// Whether there is an area that an earlier [`Staging::open`] made. When there is none and the database
    /// knows payloads, the disk which holds them is not mounted.
    ///
    /// # Errors
    /// Local errors.
    pub fn is_made(root: &Path, disk: &dyn Disk) -> Result<bool> {
        let payloads = Layout::new(root).payloads;
        match disk.stat(&payloads) {
            Ok(found) => Ok(found.is_dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fault("open the staging directory", &payloads, error)),
        }
    }

    /// The area's directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.inner.layout.root
    }

    /// Whether the area is still where it was opened: its disk may have been unmounted since.
    ///
    /// # Errors
    /// Local errors; `NotFound` above all.
    pub fn check_there(&self) -> Result<()> {
        let layout = &self.inner.layout;
        for path in [&layout.partial, &layout.payloads, &layout.quarantine] {
            self.disk().stat(path).map_err(|e| {
                fault("find the staging directory again", path, e)
                    .advice("mount its disk, or restore the directory")
            })?;
        }
        Ok(())
    }

    /// Room on the area's file system.
    ///
    /// # Errors
    /// Local errors.
    pub fn space(&self) -> Result<Space> {
        let root = self.root();
        self.disk().space(root).map_err(|e| fault("get the free space of staging", root, e))
    }

    /// The bytes that can be taken in now; `None` if less is free than is to be left free.
    ///
    /// # Errors
    /// Local errors.
    pub fn room(&self) -> Result<Option<u64>> {
        Ok(self.space()?.free.checked_sub(self.inner.settings.min_free))
    }

    /// The most bytes that the area can ever hold, if nothing else were on its file system.
    ///
    /// # Errors
    /// Local errors.
    pub fn most(&self) -> Result<u64> {
        Ok(self.space()?.total.saturating_sub(self.inner.settings.min_free))
    }

    /// Whether a payload of this length (bytes; 0 when it is not known) can be taken in now.
    ///
    /// # Errors
    /// `StorageFull`.
    pub fn check_room(&self, length: u64) -> Result<()> {
        let space = self.space()?;
        let min_free = self.inner.settings.min_free;
        if space.free < min_free.saturating_add(length) {
            return Err(too_full(self.root(), space, min_free, length));
        }
        Ok(())
    }

    /// Begins a part that is gone when it is dropped uncommitted.
    ///
    /// # Errors
    /// `StorageFull`; `AlreadyExists` when the id was used before; other local errors.
    pub fn begin(&self, id: PayloadId) -> Result<PartFile> {
        PartFile::create(self, id)
    }

    /// Begins a part that can be resumed by name, or resumes it: [`PartFile::length`] says from where.
    /// What is resumed is proved by its hash; bytes that a power loss took or tore are cut off.
    ///
    /// # Errors
    /// `AlreadyExists`, transient, while another writer holds the name; `StorageFull`; other local errors.
    pub fn begin_named(&self, id: PayloadId, name: &str) -> Result<PartFile> {
        PartFile::resume(self, id, name)
    }

    /// Removes what was kept of a part that will not be resumed. Removing nothing is no error.
    ///
    /// # Errors
    /// Local errors.
    pub fn forget_named(&self, name: &str) -> Result<()> {
        let path = self.inner.layout.named_part(name);
        self.unlink(&path)?;
        self.unlink(&Layout::marks_of(&path))
    }

    /// Opens a committed payload; the range's end is cut to the payload's.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `IntegrityFailed` when it has not the length that it should have.
    pub fn read(&self, payload: &StagedPayload, range: Range<u64>) -> Result<PayloadFile> {
        let path = self.inner.layout.payload(payload.id);
        let file = self.disk().open_read(&path).map_err(|e| lost(&path, e))?;
        PayloadFile::new(file, *payload, range)
    }

    /// As [`Staging::read`], the whole payload; the last read fails with `IntegrityFailed` when the
    /// bytes have not the hash that they should have.
    ///
    /// # Errors
    /// As [`Staging::read`].
    pub fn read_verified(&self, payload: &StagedPayload) -> Result<PayloadFile> {
        self.read(payload, 0..payload.length).map(PayloadFile::verified)
    }

    /// As [`Staging::read`], for async code: reads ahead on blocking threads.
    ///
    /// # Errors
    /// As [`Staging::read`].
    pub async fn stream(&self, payload: &StagedPayload, range: Range<u64>) -> Result<PayloadStream> {
        let (area, payload) = (self.clone(), *payload);
        PayloadStream::open(move || area.read(&payload, range)).await
    }

    /// As [`Staging::read_verified`], for async code.
    ///
    /// # Errors
    /// As [`Staging::read`].
    pub async fn stream_verified(&self, payload: &StagedPayload) -> Result<PayloadStream> {
        let (area, payload) = (self.clone(), *payload);
        PayloadStream::open(move || area.read_verified(&payload)).await
    }

    /// Whether a committed payload is there.
    ///
    /// # Errors
    /// Local errors other than that it is not.
    pub fn holds(&self, id: PayloadId) -> Result<bool> {
        let path = self.inner.layout.payload(id);
        match self.disk().stat(&path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(fault("check for a staged payload", &path, error)),
        }
    }

    /// Removes a committed payload. Removing what is gone is no error. Not synced: a payload that comes
    /// back with a power loss has a row that says so, and the sweep removes it again; or none, and it ends
    /// in quarantine.
    ///
    /// # Errors
    /// Local errors.
    pub fn remove(&self, id: PayloadId) -> Result<()> {
        self.unlink(&self.inner.layout.payload(id))
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.inner.disk
    }

    /// An error of the file layer; where it is for want of room, with how much there is.
    pub(crate) fn fault(&self, operation: &'static str, path: &Path, source: io::Error) -> Error {
        let error = fault(operation, path, source);
        match self.space() {
            Ok(space) if error.kind() == ErrorKind::StorageFull => error.with("free_bytes", space.free),
            _ => error,
        }
    }

    pub(crate) fn unlink(&self, path: &Path) -> Result<()> {
        match self.disk().unlink(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(fault("remove a file from staging", path, error))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn create_file(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.disk().create(path, self.inner.settings.file_mode)
    }

    pub(crate) fn open_or_create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        match self.disk().open_write(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => match self.create_file(path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.disk().open_write(path),
                other => other,
            },
            other => other,
        }
    }

    /// Makes the subdirectory for a payload, which somebody has removed since the area was opened.
    pub(crate) fn remake_fan(&self, id: PayloadId) -> Result<()> {
        let layout = &self.inner.layout;
        make_dir(self.disk(), &layout.fan_of(id), self.inner.settings.dir_mode)?;
        sync_dir(self.disk(), &layout.payloads)
    }

    /// Renaming from one file system to another is a copy, and could be seen half.
    fn check_one_file_system(&self) -> Result<()> {
        let layout = &self.inner.layout;
        let mut device = None;
        let fans = (0..FANS).map(|fan| layout.fan(fan));
        for path in [layout.partial.clone(), layout.quarantine.clone()].into_iter().chain(fans) {
            let found = self.disk().stat(&path).map_err(|e| fault("open staging", &path, e))?;
            if !found.is_dir || *device.get_or_insert(found.device) != found.device {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "open staging")
                    .with("path", path.display())
                    .advice(
                        "staging must be one directory on one file system, without mounts or links inside",
                    ));
            }
        }
        Ok(())
    }

    fn check_writable(&self) -> Result<()> {
        let path = self.inner.layout.probe();
        match self.create_file(&path) {
            Ok(_) => self.unlink(&path),
            // No room to create a file is for `begin` to report, when there may be room again.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(()),
            Err(error) => Err(fault("write to staging", &path, error)
                .advice("give the user that runs waybill write permission for the staging directory")),
        }
    }
}

/// Says of a payload that cannot be opened what that means.
fn lost(path: &Path, error: io::Error) -> Error {
    let gone = error.kind() == io::ErrorKind::NotFound;
    let error = fault("open a staged payload", path, error);
    if gone {
        error.advice("its retention has ended, or the staging directory is not the one that was used before; look in its quarantine/ directory as well")
    } else {
        error
    }
}

/// Makes the root and whatever is missing above it, each name synced.
fn make_root(disk: &dyn Disk, root: &Path, mode: u32) -> Result<()> {
    let mut missing: Vec<PathBuf> = Vec::new();
    let mut at = root;
    while let Err(error) = disk.stat(at) {
        if error.kind() != io::ErrorKind::NotFound {
            return Err(fault("open staging", at, error));
        }
        missing.push(at.to_owned());
        at = parent_of(at);
    }
    while let Some(directory) = missing.pop() {
        make_dir(disk, &directory, mode)?;
        sync_dir(disk, parent_of(&directory))?;
    }
    // Whoever made these before may have died before the sync. Those that cannot be synced (of another
    // user, or read-only) are not ours to worry about.
    for directory in root.ancestors().skip(1).filter(|above| *above != Path::new("")) {
        let _ = disk.sync_dir(directory);
    }
    Ok(())
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
}

/// Creates a directory if it does not exist.
fn make_dir(disk: &dyn Disk, path: &Path, mode: u32) -> Result<()> {
    match disk.create_dir(path, mode) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(fault("create a staging directory", path, error)),
    }
}

pub(crate) fn sync_dir(disk: &dyn Disk, path: &Path) -> Result<()> {
    disk.sync_dir(path).map_err(|e| fault("sync a staging directory", path, e))
}
