//! A part on its way into staging: written, hashed, committed.

use crate::area::{StagedPayload, Staging, sync_dir};
use crate::disk::DiskFile;
use crate::extents::{Extents, MOST_EXTENTS};
use crate::fault::fault;
use crate::layout::Layout;
use crate::marks::{Marks, hash_range, write_all};
use model::{Error, ErrorKind, PayloadId, Result, Sha256};
use openssl::sha;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes written between two questions for free space.
const SPACE_EVERY: u64 = 1024 * 1024;

/// Bytes after which writing to the medium is started, so that committing has less to wait for.
const WRITEBACK_EVERY: u64 = 8 * 1024 * 1024;

/// Files of this size or more, in bytes, share their blocks with staging, where the file system can. Sharing those of smaller files
/// takes as long as copying them.
pub const SHARED_FROM: u64 = 1024 * 1024;

/// Bytes read at once where a part is read back.
const BLOCK: usize = 1024 * 1024;

/// A part that is being written. Dropped uncommitted, it is removed; a named one is kept to be resumed.
pub struct PartFile {
    area: Staging,
    id: PayloadId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
    content: Content,
    marks: Option<Marks>,
    unasked: u64,
    written_back: u64,
    state: State,
}

/// What is known of the bytes so far.
enum Content {
    /// Written from front to back: hashed so far.
    InOrder(sha::Sha256),
    /// Written here and there: hashed when committed.
    Islands(Extents),
    /// In the file already, with the blocks of another one: hashed so far.
    Shared(sha::Sha256),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// A write failed. What is in the file is not known for sure, and it cannot be committed.
    Failed,
    Committed,
}

impl PartFile {
    pub(crate) fn create(area: &Staging, id: PayloadId) -> Result<Self> {
        area.check_room(0)?;
        let path = area.inner.layout.part(id);
        let file = area.create_file(&path).map_err(|e| area.fault("create a part", &path, e))?;
        // The lock tells the sweep that somebody is writing. Nobody else knows the name.
        if let Err(error) = file.try_lock() {
            area.unlink(&path)?;
            return Err(fault("lock a part", &path, error));
        }
        Ok(Self::new(area, id, path, file))
    }

    pub(crate) fn resume(area: &Staging, id: PayloadId, name: &str) -> Result<Self> {
        area.check_room(0)?;
        let path = area.inner.layout.named_part(name);
        let file = lock_named(area, &path)?;
        let marks_path = Layout::marks_of(&path);
        let marks = area.open_or_create(&marks_path).map_err(|e| fault("open marks", &marks_path, e))?;
        let proved = Marks::prove(&*file, marks).map_err(|e| fault("resume a part", &path, e))?;
        let mut part = Self::new(area, id, path, file);
        part.length = proved.length;
        part.written_back = proved.length;
        part.content = Content::InOrder(proved.hash);
        part.marks = Some(proved.marks);
        Ok(part)
    }

    fn new(area: &Staging, id: PayloadId, path: PathBuf, file: Box<dyn DiskFile>) -> Self {
        Self {
            area: area.clone(),
            id,
            path,
            file,
            length: 0,
            content: Content::InOrder(sha::Sha256::new()),
            marks: None,
            unasked: 0,
            written_back: 0,
            state: State::Open,
        }
    }

    /// The id that the payload will have.
    #[must_use]
    pub fn id(&self) -> PayloadId {
        self.id
    }

    /// Bytes held so far, those of a resumed part included; where some were written out of order,
    /// up to the last of them.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Appends bytes, behind the last.
    ///
    /// # Errors
    /// `StorageFull`, or another local error; the part can then only be dropped.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.write_at(self.length, bytes)
    }

    /// Takes over the content of a local file by sharing its blocks, as they are at one moment, in place of writing them.
    /// `None` where that cannot be done, or would be no gain: nothing was changed then. Otherwise the answer reads this part's own
    /// bytes, to be read to their end and appended: they are hashed, and not written again. No less can be committed.
    ///
    /// # Errors
    /// Local errors; the part can then only be dropped.
    pub fn share_blocks(&mut self, source: &File) -> Result<Option<File>> {
        let length = source.metadata().map_err(|e| Error::local_io("look at a file", e))?.len();
        if length < SHARED_FROM || self.length > 0 || self.marks.is_some() || self.state != State::Open {
            return Ok(None);
        }
        let shared = self.file.reflink(source);
        let shared = shared.map_err(|e| self.area.fault("share the blocks of a file", &self.path, e));
        match &shared {
            Ok(Some(_)) => self.content = Content::Shared(sha::Sha256::new()),
            Ok(None) => {}
            Err(_) => self.state = State::Failed,
        }
        shared
    }

    /// Reads back some of the bytes at an offset; 0 at their end.
    ///
    /// # Errors
    /// Local errors.
    pub fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        loop {
            match self.file.read_at(into, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => return read.map_err(|e| fault("read a part again", &self.path, e)),
            }
        }
    }

    /// Writes bytes at an offset. Anywhere but at the end makes committing read the part back to hash it.
    ///
    /// # Errors
    /// As [`PartFile::append`]; `Rejected` when there are more than 65,536 gaps.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        let written = self.try_write(offset, bytes);
        if written.is_err() {
            self.state = State::Failed;
        }
        written
    }

    fn try_write(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if self.state != State::Open {
            return Err(Error::transient(ErrorKind::Internal, "write to a part that has failed before"));
        }
        if bytes.is_empty() {
            return Ok(());
        }
        if let Content::Shared(hash) = &mut self.content {
            if offset != self.length {
                return Err(Error::transient(
                    ErrorKind::Internal,
                    "write into a part that shares the blocks of a file",
                ));
            }
            hash.update(bytes);
            self.length += bytes.len() as u64;
            return Ok(());
        }
        self.unasked += bytes.len() as u64;
        if self.unasked >= SPACE_EVERY {
            self.unasked = 0;
            self.area.check_room(0)?;
        }
        write_all(&*self.file, bytes, offset)
            .map_err(|e| self.area.fault("write to staging", &self.path, e))?;
        let end = offset.saturating_add(bytes.len() as u64);
        match &mut self.content {
            Content::InOrder(hash) if offset == self.length => {
                hash.update(bytes);
                if let Some(marks) = &mut self.marks {
                    marks.set(end, hash, false).map_err(|e| self.area.fault("mark a part", &self.path, e))?;
                }
                if end - self.written_back >= WRITEBACK_EVERY {
                    self.file.start_writeback(self.written_back, end - self.written_back);
                    self.written_back = end;
                }
            }
            Content::InOrder(_) => {
                let mut extents = Extents::default();
                let fits = extents.add(0..self.length) && extents.add(offset..end);
                debug_assert!(fits);
                self.content = Content::Islands(extents);
            }
            // Handled above: nothing of it is written.
            Content::Shared(_) => {}
            Content::Islands(extents) => {
                if !extents.add(offset..end) {
                    return Err(Error::permanent(ErrorKind::Rejected, "write a part out of order")
                        .with("gaps", MOST_EXTENTS));
                }
            }
        }
        self.length = self.length.max(end);
        Ok(())
    }

    /// Makes the bytes durable and gives them their name: file sync, rename, directory sync. When
    /// this returns, they survive the loss of power.
    ///
    /// # Errors
    /// `IntegrityFailed` when bytes are missing, `AlreadyExists` when the id is taken, `StorageFull`,
    /// other local errors. Nothing is committed then.
    pub fn commit(mut self) -> Result<StagedPayload> {
        if self.state != State::Open {
            return Err(Error::transient(ErrorKind::Internal, "commit a part that could not be written"));
        }
        let sha256 = self.digest()?;
        self.file.sync().map_err(|e| self.area.fault("sync a part", &self.path, e))?;
        self.publish()?;
        self.state = State::Committed;
        if self.marks.take().is_some() {
            // The payload is safe; marks that stay prove nothing, and the sweep removes them.
            let _ = self.area.unlink(&Layout::marks_of(&self.path));
        }
        Ok(StagedPayload { id: self.id, length: self.length, sha256 })
    }

    fn digest(&mut self) -> Result<Sha256> {
        let there = self.file.stat().map_err(|e| fault("read a part", &self.path, e))?.length;
        let gap = match &self.content {
            Content::Islands(extents) => extents.first_gap(self.length),
            Content::InOrder(_) | Content::Shared(_) => None,
        };
        if there != self.length || gap.is_some() {
            let error = Error::transient(ErrorKind::IntegrityFailed, "commit an incomplete part")
                .with("path", self.path.display())
                .with("written_bytes", self.length)
                .with("file_bytes", there);
            return Err(match gap {
                Some(gap) => error.with("missing_from", gap.start).with("missing_to", gap.end),
                None => error,
            });
        }
        let hash = match &self.content {
            Content::InOrder(hash) | Content::Shared(hash) => hash.clone(),
            Content::Islands(_) => {
                let mut hash = sha::Sha256::new();
                hash_range(&*self.file, 0..self.length, &mut vec![0_u8; BLOCK], &mut hash)
                    .map_err(|e| fault("read a part", &self.path, e))?;
                hash
            }
        };
        Ok(Sha256(hash.finish()))
    }

    /// Gives the synced file its name, durably.
    fn publish(&self) -> Result<()> {
        let layout = &self.area.inner.layout;
        let target = layout.payload(self.id);
        let rename = || self.area.disk().rename_new(&self.path, &target);
        let renamed = match rename() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.area.remake_fan(self.id)?;
                rename()
            }
            other => other,
        };
        renamed.map_err(|e| self.area.fault("move a staged payload into place", &target, e))?;
        sync_dir(self.area.disk(), &layout.fan_of(self.id)).inspect_err(|_| {
            // It may or may not survive. Without a row it is an orphan, should this fail as well.
            let _ = self.area.unlink(&target);
        })
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        match (&mut self.marks, &self.content) {
            _ if self.state == State::Committed => {}
            (Some(marks), Content::InOrder(hash)) => {
                // Without this mark the part is resumed from the one before.
                let _ = marks.set(self.length, hash, true);
            }
            (Some(_), Content::Islands(_) | Content::Shared(_)) => {}
            (None, _) => {
                if let Err(error) = self.area.unlink(&self.path) {
                    tracing::warn!(%error, "an unfinished part could not be removed; the sweep removes it");
                }
            }
        }
    }
}

/// Opens or creates a named part and takes its lock.
fn lock_named(area: &Staging, path: &Path) -> Result<Box<dyn DiskFile>> {
    let open = |e| area.fault("open a part", path, e);
    // Again when the name was taken away, or given to another file, between opening and locking.
    for _ in 0..16 {
        let file = area.open_or_create(path).map_err(open)?;
        if !file.try_lock().map_err(open)? {
            break;
        }
        let ours = file.stat().map_err(open)?;
        let named = match area.disk().stat(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(open(error)),
        };
        if (ours.device, ours.inode) != (named.device, named.inode) {
            continue;
        }
        if ours.links > 1 {
            // Its commit was cut short between two names: these bytes are a payload already.
            area.unlink(path)?;
            continue;
        }
        return Ok(file);
    }
    Err(Error::transient(ErrorKind::AlreadyExists, "resume a part that is in use")
        .with("path", path.display())
        .advice("wait until the other transmission of the same file has ended"))
}
