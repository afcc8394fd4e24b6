//! The connection journal: every connection is recorded, even while the database is unreachable.
//!
//! `net` reports connections. Their records are first appended to a file of this node ([`Journal::append`] returns
//! when the operating system has the bytes), then written to the database in batches ([`Journal::ship`]), as rows of
//! `connections` and as audit events. The events' ids are derived from the connection's id, so repeated shipping
//! creates no duplicates. If a process dies, its entries stay in the file; the next process ships them, and then
//! closes the connections of the dead one as 'process ended'. Another node knows only that a lease lapsed, not what
//! happened to the sockets: it marks them as lost, and their own node later closes them, or reports that they are
//! alive.
//!
//! An entry for which `append` returned `Ok` survives a crash of the process at any moment. After a power failure up
//! to the last 100 ms may be missing, unless [`Journal::flush`] was called.

mod connections;
mod entry;
mod segment;
mod ship;
mod writer;

pub use connections::{PROCESS_ENDED, connection_event_id};
pub use entry::JournalEntry;

use entry::{Header, LONGEST, Line};
use model::{Error, ErrorKind, NodeName, Result, Timestamp};
use segment::Place;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};
use writer::{Request, Writer};

/// The most entries waiting for the writing thread; with more, callers wait.
const QUEUE: usize = 1024;

/// The journal's directory and limits.
#[derive(Clone, Debug)]
pub struct JournalSettings {
    /// A directory that only this node uses.
    pub directory: PathBuf,
    /// The size at which a new segment begins, in bytes.
    pub segment_bytes: u64,
    /// The most bytes kept while the database is unreachable; then entries are refused.
    pub cap_bytes: u64,
}

impl JournalSettings {
    /// The defaults: segments of 16 MiB, 1 GiB in total.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), segment_bytes: 16 << 20, cap_bytes: 1 << 30 }
    }
}

/// The journal's counters since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct JournalStats {
    /// Entries written.
    pub appended: u64,
    /// The number of entries that were refused because the disk or the journal was full. The callers got an
    /// error.
    pub refused: u64,
    /// Entries in the database.
    pub shipped: u64,
    /// Lines that could not be read; they are in the file `damaged`.
    pub damaged: u64,
    /// Entries that the database refused permanently; they are in the file `unshippable`.
    pub unshippable: u64,
    /// How often the disk did not confirm a sync.
    pub sync_failures: u64,
    /// Bytes that are not in the database yet.
    pub backlog_bytes: u64,
}

#[derive(Default)]
pub(crate) struct Counts {
    appended: AtomicU64,
    refused: AtomicU64,
    shipped: AtomicU64,
    damaged: AtomicU64,
    unshippable: AtomicU64,
    sync_failures: AtomicU64,
    backlog: AtomicU64,
}

pub(crate) struct Shared {
    counts: Counts,
    /// The bytes up to here are written and may be read.
    end: Mutex<Place>,
    /// Notified when there is more to ship.
    more: Notify,
}

impl Shared {
    fn written(&self, end: Place, bytes: u64) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = end;
        self.counts.backlog.fetch_add(bytes, Ordering::Relaxed);
        self.more.notify_one();
    }

    fn end(&self) -> Place {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The journal of one node, opened by one process.
pub struct Journal {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Request>,
    settings: JournalSettings,
    process: Header,
    shipping: tokio::sync::Mutex<ship::Shipping>,
    /// Held as long as the journal is open, and by the thread until its last write: two processes must not write to
    /// one journal.
    _lock: Arc<File>,
}

impl Journal {
    /// Opens the journal of a node; creates it if it is missing. An incomplete last line from a crash is removed; all
    /// complete entries are kept for shipping. `started` is when this process began: it distinguishes its connections
    /// from those of an earlier process of the same node.
    ///
    /// # Errors
    /// The directory cannot be written, or another process has it open.
    pub fn open(settings: JournalSettings, node: NodeName, started: Timestamp) -> Result<Self> {
        let directory = settings.directory.clone();
        let failed = |operation: &'static str| {
            let directory = directory.clone();
            move |error| Error::local_io(operation, error).with("directory", directory.display())
        };
        std::fs::create_dir_all(&directory).map_err(failed("create the connection journal's directory"))?;
        let lock = File::create(directory.join("lock")).map_err(failed("open the connection journal"))?;
        let lock = Arc::new(lock);
        if lock.try_lock().is_err() {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "open the connection journal")
                .with("directory", directory.display())
                .advice("another process has it open; each node needs a directory of its own"));
        }
        let segments = segment::list(&directory).map_err(failed("read the connection journal"))?;
        let last = segments.last().map_or(0, |(number, _)| *number);
        if last > 0 {
            let torn = segment::cut_torn_end(&segment::path(&directory, last))
                .map_err(failed("repair the connection journal"))?;
            if torn > 0 {
                tracing::warn!(bytes = torn, "remove an unfinished entry from the connection journal");
            }
        }
        let shipping = ship::Shipping::resume(&directory).map_err(failed("read the connection journal"))?;
        let segments = segment::list(&directory).map_err(failed("read the connection journal"))?;
        let backlog = shipping.backlog(&segments);
        let shared = Arc::new(Shared {
            counts: Counts { backlog: AtomicU64::new(backlog), ..Counts::default() },
            end: Mutex::new(Place::default()),
            more: Notify::new(),
        });
        let process = Header { version: 1, node, process: started };
        let writer = Writer::begin(shared.clone(), process.clone(), settings.clone(), last + 1)?;
        let (queue, requests) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("connection-journal".into())
            .spawn({
                let lock = lock.clone();
                move || {
                    writer.run(requests);
                    drop(lock);
                }
            })
            .map_err(failed("start the connection journal's thread"))?;
        Ok(Self {
            shared,
            queue,
            settings,
            process,
            shipping: tokio::sync::Mutex::new(shipping),
            _lock: lock,
        })
    }

    /// Writes an entry. When this returns `Ok`, the entry survives the process.
    ///
    /// # Errors
    /// The disk is full or broken, or the entries that wait for the database have reached the limit: the entry is not
    /// kept, and [`JournalStats::refused`] counts it.
    pub async fn append(&self, entry: JournalEntry) -> Result<()> {
        let line = self.line(entry).inspect_err(|_| {
            self.shared.counts.refused.fetch_add(1, Ordering::Relaxed);
        })?;
        let (done, answer) = oneshot::channel();
        self.queue.send(Request::Append(line, done)).await.map_err(|_| writer::ended())?;
        answer.await.map_err(|_| writer::ended())?
    }

    fn line(&self, entry: JournalEntry) -> Result<Vec<u8>> {
        let entry = match entry {
            JournalEntry::Event(event) => JournalEntry::Event(crate::audit::clean(&event)),
            other => other,
        };
        let operation = "write the connection journal";
        let line = entry::encode(&Line::Entry(Box::new(entry)))
            .map_err(|e| Error::permanent(ErrorKind::Internal, operation).caused_by(e))?;
        if line.len() > LONGEST {
            return Err(Error::permanent(ErrorKind::Rejected, operation)
                .with("bytes", line.len())
                .advice("an entry must not be larger than 1 MiB"));
        }
        let backlog = self.shared.counts.backlog.load(Ordering::Relaxed);
        if backlog + line.len() as u64 > self.settings.cap_bytes {
            return Err(Error::transient(ErrorKind::StorageFull, operation)
                .with("bytes waiting", backlog)
                .advice("the journal is full, because the database has been unreachable for too long: make the database reachable again"));
        }
        Ok(line)
    }

    /// Syncs everything that was written to the disk.
    ///
    /// # Errors
    /// The disk did not confirm it.
    pub async fn flush(&self) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.queue.send(Request::Flush(done)).await.map_err(|_| writer::ended())?;
        answer.await.map_err(|_| writer::ended())?
    }

    /// The counters so far.
    #[must_use]
    pub fn stats(&self) -> JournalStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &self.shared.counts;
        JournalStats {
            appended: read(&counts.appended),
            refused: read(&counts.refused),
            shipped: read(&counts.shipped),
            damaged: read(&counts.damaged),
            unshippable: read(&counts.unshippable),
            sync_failures: read(&counts.sync_failures),
            backlog_bytes: read(&counts.backlog),
        }
    }
}

#[cfg(test)]
mod tests;
