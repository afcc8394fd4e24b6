//! The only thread that writes the journal.

use super::entry::{Header, Line, encode};
use super::segment::{Place, path};
use super::{JournalSettings, Shared};
use model::{Error, ErrorKind, Result};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// The most entries written with one call.
const TOGETHER: usize = 256;
/// How often written bytes are synced to the disk.
const SYNC_EVERY: Duration = Duration::from_millis(100);

/// Requests to the thread.
pub(crate) enum Request {
    /// Write a line; answer when write(2) has accepted it.
    Append(Vec<u8>, oneshot::Sender<Result<()>>),
    /// Sync what was written; answer when it is on the disk.
    Flush(oneshot::Sender<Result<()>>),
}

/// The thread's state.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    header: Header,
    settings: JournalSettings,
    file: File,
    place: Place,
    /// When the oldest byte was written that may not be on the disk.
    dirty_since: Option<Instant>,
}

impl Writer {
    /// Begins a new segment: a segment has one process's entries.
    pub(crate) fn begin(
        shared: Arc<Shared>,
        header: Header,
        settings: JournalSettings,
        segment: u64,
    ) -> Result<Self> {
        let (file, offset) =
            create(&settings.directory, segment, &header).map_err(|e| failed(&settings.directory, e))?;
        let place = Place { segment, offset };
        shared.written(place, offset);
        Ok(Self { shared, header, settings, file, place, dirty_since: None })
    }

    /// Serves until every sender is dropped; then syncs the last bytes to the disk.
    pub(crate) fn run(mut self, mut requests: mpsc::Receiver<Request>) {
        // This thread's own runtime: only its timer is needed, to wait for a request or the next sync.
        let timer = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(timer) => timer,
            Err(error) => {
                tracing::error!(%error, "the connection journal's thread could not start");
                return;
            }
        };
        loop {
            let received = match self.dirty_since {
                None => Some(timer.block_on(requests.recv())),
                Some(since) => {
                    let left = SYNC_EVERY.saturating_sub(since.elapsed());
                    timer.block_on(async { tokio::time::timeout(left, requests.recv()).await.ok() })
                }
            };
            match received {
                Some(None) => break,
                Some(Some(first)) => self.serve(first, &mut requests),
                None => {}
            }
            if self.dirty_since.is_some_and(|since| since.elapsed() >= SYNC_EVERY) {
                let _ = self.sync(); // counted and logged; the bytes are in the page cache all the same
            }
        }
        let _ = self.sync();
    }

    /// Writes the waiting lines with one call.
    fn serve(&mut self, first: Request, requests: &mut mpsc::Receiver<Request>) {
        let mut bytes = vec![];
        let mut callers = vec![];
        let mut flushes = vec![];
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Append(line, done) => {
                    bytes.extend_from_slice(&line);
                    callers.push(done);
                }
                Request::Flush(done) => flushes.push(done),
            }
            let room = callers.len() < TOGETHER && bytes.len() < (1 << 20);
            next = if room { requests.try_recv().ok() } else { None };
        }
        if !callers.is_empty() {
            let written = self.write(&bytes);
            let entries = callers.len() as u64;
            match &written {
                Ok(()) => self.shared.counts.appended.fetch_add(entries, Ordering::Relaxed),
                Err(_) => self.shared.counts.refused.fetch_add(entries, Ordering::Relaxed),
            };
            for caller in callers {
                let answer = match &written {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.error(error)),
                };
                let _ = caller.send(answer); // a caller who went away does not want to know
            }
        }
        if !flushes.is_empty() {
            let synced = self.sync();
            for flush in flushes {
                let answer = match &synced {
                    Ok(()) => Ok(()),
                    Err(error) => Err(self.error(error)),
                };
                let _ = flush.send(answer);
            }
        }
    }

    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if self.place.offset + bytes.len() as u64 > self.settings.segment_bytes
            && self.place.offset > self.header_bytes()
        {
            self.next_segment()?;
        }
        if let Err(error) = self.file.write_all(bytes) {
            // A part of the bytes may have been written. Complete lines of it would be entries that their callers
            // believe refused: cut them off, or leave the segment.
            if self.file.set_len(self.place.offset).is_err() {
                let _ = self.next_segment();
            }
            return Err(error);
        }
        self.place.offset += bytes.len() as u64;
        self.dirty_since.get_or_insert_with(Instant::now);
        self.shared.written(self.place, bytes.len() as u64);
        Ok(())
    }

    fn header_bytes(&self) -> u64 {
        encode(&Line::Segment(self.header.clone())).map_or(0, |line| line.len() as u64)
    }

    fn next_segment(&mut self) -> std::io::Result<()> {
        let _ = self.sync();
        let segment = self.place.segment + 1;
        let (file, offset) = create(&self.settings.directory, segment, &self.header)?;
        self.file = file;
        self.place = Place { segment, offset };
        self.shared.written(self.place, offset);
        Ok(())
    }

    fn sync(&mut self) -> std::io::Result<()> {
        if self.dirty_since.take().is_none() {
            return Ok(());
        }
        let synced = self.file.sync_data();
        if let Err(error) = &synced {
            // The kernel may have dropped the bytes, and reports it only once (fsync(2)). They are shipped from the
            // page cache while it has them; the failure is recorded.
            self.shared.counts.sync_failures.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "the connection journal could not be synced to disk");
        }
        synced
    }

    fn error(&self, error: &std::io::Error) -> Error {
        failed(&self.settings.directory, std::io::Error::new(error.kind(), error.to_string()))
    }
}

/// Creates a segment with its header; both are on the disk when this returns.
fn create(directory: &Path, segment: u64, header: &Header) -> std::io::Result<(File, u64)> {
    let line = encode(&Line::Segment(header.clone())).map_err(std::io::Error::other)?;
    let path = path(directory, segment);
    // An attempt that failed half-way may have left the file; it has no entries.
    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
    file.set_len(0)?;
    let made =
        file.write_all(&line).and_then(|()| file.sync_all()).and_then(|()| File::open(directory)?.sync_all());
    if let Err(error) = made {
        let _ = std::fs::remove_file(&path);
        return Err(error);
    }
    Ok((file, line.len() as u64))
}

fn failed(directory: &Path, error: std::io::Error) -> Error {
    Error::local_io("write the connection journal", error).with("directory", directory.display())
}

/// The queue is closed: the thread ended.
pub(crate) fn ended() -> Error {
    Error::transient(ErrorKind::Internal, "write the connection journal").advice("its thread has ended")
}
