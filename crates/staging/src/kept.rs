//! Segments: bytes of messages that have arrived in part. They are files that grow; the database knows how many of their bytes
//! are durable, and nothing beyond counts. A segment has one writer, which ends before another one goes on with it.

use crate::area::{Staging, sync_dir};
use crate::disk::DiskFile;
use crate::fault::fault;
use crate::layout::Layout;
use crate::marks::{read_full, write_all};
use model::{Error, ErrorKind, PayloadId, Result, Timestamp};
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;

/// Bytes written between two questions for free space, and two starts of writing to the medium.
const SPACE_EVERY: u64 = 1024 * 1024;

/// Segments asked about at once.
const BATCH: usize = 500;

/// An open segment. Dropping it removes nothing.
pub struct Segment {
    area: Staging,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl Staging {
    /// Creates a segment. Its name is durable when this returns.
    ///
    /// # Errors
    /// `StorageFull`, `AlreadyExists`, other local errors.
    pub fn begin_segment(&self, id: PayloadId) -> Result<Segment> {
        self.check_room(0)?;
        let path = self.inner.layout.segment(id);
        let file = self.create_file(&path).map_err(|e| self.fault("create a segment", &path, e))?;
        sync_dir(self.disk(), &self.inner.layout.partial)?;
        Ok(Segment { area: self.clone(), path, file })
    }

    /// Opens a segment of which so many bytes are durable. If it is to be written on, bytes beyond these are cut off.
    ///
    /// # Errors
    /// `NotFound` when it is gone, `IntegrityFailed` when it is shorter, other local errors.
    pub fn open_segment(&self, id: PayloadId, length: u64, to_write: bool) -> Result<Segment> {
        let path = self.inner.layout.segment(id);
        let open = |e| fault("open a segment", &path, e);
        let disk = self.disk();
        let file = if to_write { disk.open_write(&path) } else { disk.open_read(&path) }.map_err(open)?;
        let there = file.stat().map_err(open)?.length;
        if there < length {
            return Err(Error::permanent(ErrorKind::IntegrityFailed, "open a segment")
                .with("path", path.display())
                .with("durable_bytes", length)
                .with("file_bytes", there)
                .advice("its file was cut, or the staging directory is not the one that was used before"));
        }
        if to_write && there > length {
            file.truncate(length).map_err(|e| fault("cut a segment", &path, e))?;
        }
        Ok(Segment { area: self.clone(), path, file })
    }

    /// Removes a segment. Removing what is gone is no error.
    ///
    /// # Errors
    /// Local errors.
    pub fn remove_segment(&self, id: PayloadId) -> Result<()> {
        self.unlink(&self.inner.layout.segment(id))
    }

    /// Removes the segments that have not changed since `before` and that no message has: `known` says which of at most 500 it
    /// has. Returns how many were removed.
    ///
    /// # Errors
    /// Those of `known`; local errors. What was not reached is left for the next time.
    pub fn sweep_segments(
        &self,
        before: Timestamp,
        mut known: impl FnMut(&[PayloadId]) -> Result<HashSet<PayloadId>>,
    ) -> Result<u64> {
        let directory = &self.inner.layout.partial;
        let listing = match self.disk().list(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            other => other.map_err(|e| fault("list a staging directory", directory, e))?,
        };
        let (mut batch, mut removed) = (Vec::with_capacity(BATCH), 0);
        for name in listing {
            let name = name.map_err(|e| fault("list a staging directory", directory, e))?;
            let Some(id) = name.to_str().and_then(Layout::segment_of) else { continue };
            let changed = match self.disk().stat(&self.inner.layout.segment(id)) {
                Ok(stat) => stat.changed_micros,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(fault("examine a segment", directory, error)),
            };
            if changed < before.timestamp_micros() {
                batch.push(id);
            }
            if batch.len() == BATCH {
                removed += self.remove_unknown(&mut batch, &mut known)?;
            }
        }
        Ok(removed + self.remove_unknown(&mut batch, &mut known)?)
    }

    fn remove_unknown(
        &self,
        batch: &mut Vec<PayloadId>,
        known: &mut impl FnMut(&[PayloadId]) -> Result<HashSet<PayloadId>>,
    ) -> Result<u64> {
        if batch.is_empty() {
            return Ok(0);
        }
        let has_message = known(batch)?;
        let mut removed = 0;
        for id in batch.drain(..).filter(|id| !has_message.contains(id)) {
            self.remove_segment(id)?;
            removed += 1;
        }
        Ok(removed)
    }
}

impl Segment {
    /// Writes bytes at an offset: behind the last ones.
    ///
    /// # Errors
    /// `StorageFull`, other local errors. How many of these bytes were written is then unknown.
    pub fn write(&self, bytes: &[u8], offset: u64) -> Result<()> {
        let end = offset.saturating_add(bytes.len() as u64);
        if offset / SPACE_EVERY != end / SPACE_EVERY {
            self.area.check_room(0)?;
            let from = offset / SPACE_EVERY * SPACE_EVERY;
            self.file.start_writeback(from, end - from);
        }
        write_all(&*self.file, bytes, offset).map_err(|e| self.area.fault("write to staging", &self.path, e))
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// Local errors.
    pub fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|e| self.area.fault("sync a segment", &self.path, e))
    }

    /// Reads bytes back until the buffer is full or the file ends; returns how many.
    ///
    /// # Errors
    /// Local errors.
    pub fn read(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        read_full(&*self.file, into, offset).map_err(|e| fault("read a segment", &self.path, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RealDisk, Settings};
    use std::sync::Arc;

    fn area() -> (tempfile::TempDir, Staging) {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { min_free: 0, ..Settings::default() };
        let area = Staging::open(&dir.path().join("staging"), Arc::new(RealDisk), settings).unwrap();
        (dir, area)
    }

    fn id() -> PayloadId {
        PayloadId::new(uuid::Uuid::new_v4())
    }

    /// Everything is older than this.
    fn later() -> Timestamp {
        Timestamp::from_timestamp_micros(i64::MAX / 2_000).unwrap()
    }

    #[test]
    fn what_is_durable_is_read_again_and_what_was_written_beyond_is_cut_off() {
        let (_dir, area) = area();
        let id = id();
        let segment = area.begin_segment(id).unwrap();
        segment.write(b"durable", 0).unwrap();
        segment.sync().unwrap();
        segment.write(b" and more", 7).unwrap();
        drop(segment);
        let mut buffer = [0; 32];
        let read = area.open_segment(id, 7, false).unwrap();
        assert_eq!(read.read(&mut buffer[..7], 0).unwrap(), 7);
        assert_eq!(&buffer[..7], b"durable");
        let on = area.open_segment(id, 7, true).unwrap();
        on.write(b"!", 7).unwrap();
        assert_eq!(on.read(&mut buffer, 0).unwrap(), 8);
        assert_eq!(&buffer[..8], b"durable!");
        assert!(area.begin_segment(id).is_err());
    }

    #[test]
    fn a_segment_that_was_cut_or_is_gone_is_not_opened() {
        let (_dir, area) = area();
        let id = id();
        area.begin_segment(id).unwrap().write(b"short", 0).unwrap();
        let error = area.open_segment(id, 6, true).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::IntegrityFailed);
        area.remove_segment(id).unwrap();
        area.remove_segment(id).unwrap();
        assert_eq!(area.open_segment(id, 5, false).err().unwrap().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn segments_of_no_message_are_removed_and_others_stay() {
        let (_dir, area) = area();
        let (kept, orphan) = (id(), id());
        for id in [kept, orphan] {
            area.begin_segment(id).unwrap().write(b"bytes", 0).unwrap();
        }
        let known = |_: &[PayloadId]| Ok(HashSet::from([kept]));
        // What has changed just now may be about to get its message.
        let past = Timestamp::from_timestamp_micros(0).unwrap();
        assert_eq!(area.sweep_segments(past, known).unwrap(), 0);
        assert_eq!(area.sweep_segments(later(), known).unwrap(), 1);
        assert!(area.open_segment(kept, 5, false).is_ok() && area.open_segment(orphan, 5, false).is_err());
        // The sweep of parts neither removes nor reports them.
        let mut finds = Vec::new();
        let rows = |_: &[PayloadId]| Ok(crate::Rows::default());
        area.sweep(later(), rows, |find| finds.push(find)).unwrap();
        assert!(finds.is_empty(), "{finds:?}");
        assert!(area.open_segment(kept, 5, false).is_ok());
    }
}
