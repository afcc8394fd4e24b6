//! Streams that are read ahead or written behind, each on a thread of its own: a digest or a cipher needs a whole
//! processor, and what it waits for is made or written on another one meanwhile.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// What two threads have between them.
#[derive(Clone, Copy, Debug)]
pub struct Queue {
    /// Bytes of a chunk.
    pub chunk: usize,
    /// Chunks in all: those that wait, and one with each thread.
    pub chunks: usize,
}

impl Queue {
    /// For a command that does one thing alone.
    pub const OF_A_COMMAND: Self = Self { chunk: 256 * 1024, chunks: 8 };
}

/// A reader that reads ahead in its own thread, from the first `read` on.
pub struct ReadAhead {
    source: Source,
    queue: Queue,
    chunk: Vec<u8>,
    at: usize,
    at_end: bool,
}

enum Source {
    Unread(Box<dyn Read + Send>),
    Read(Reading),
    /// Its thread could not be started.
    Lost,
}

impl ReadAhead {
    /// Nothing is read yet.
    pub fn new(from: impl Read + Send + 'static, queue: Queue) -> Self {
        Self { source: Source::Unread(Box::new(from)), queue, chunk: Vec::new(), at: 0, at_end: false }
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        if let Source::Unread(_) = &self.source
            && let Source::Unread(from) = std::mem::replace(&mut self.source, Source::Lost)
        {
            self.source = Source::Read(Reading::start(from, self.queue)?);
        }
        let Source::Read(reading) = &self.source else {
            return Err(io::Error::other("the reading thread was not started"));
        };
        let next = reading.next()?;
        self.at_end = next.is_empty();
        self.at = 0;
        reading.give_back(std::mem::replace(&mut self.chunk, next));
        Ok(())
    }
}

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() && !self.at_end && !into.is_empty() {
            self.next_chunk()?;
        }
        let count = into.len().min(self.chunk.len() - self.at);
        into[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// The thread that reads ahead.
struct Reading {
    full: Option<Receiver<io::Result<Vec<u8>>>>,
    empty: Option<SyncSender<Vec<u8>>>,
    thread: Option<JoinHandle<()>>,
}

impl Reading {
    fn start(mut from: Box<dyn Read + Send>, queue: Queue) -> io::Result<Self> {
        let (full_in, full) = sync_channel(queue.chunks);
        let (empty, empty_out) = sync_channel::<Vec<u8>>(queue.chunks);
        let read = move || {
            let mut made = 0;
            loop {
                let chunk = if made < queue.chunks {
                    made += 1;
                    Vec::new()
                } else {
                    match empty_out.recv() {
                        Ok(chunk) => chunk,
                        Err(_) => return,
                    }
                };
                let filled = fill(&mut from, chunk, queue.chunk);
                let is_last = filled.as_ref().map_or(true, Vec::is_empty);
                if full_in.send(filled).is_err() || is_last {
                    return;
                }
            }
        };
        let thread = Builder::new().name("read ahead".into()).spawn(read)?;
        Ok(Self { full: Some(full), empty: Some(empty), thread: Some(thread) })
    }

    /// The next chunk; an empty one is the end. A thread that is gone without one is not: it must not pass for it.
    fn next(&self) -> io::Result<Vec<u8>> {
        let next = self.full.as_ref().and_then(|full| full.recv().ok());
        next.ok_or_else(|| io::Error::other("the reading thread has ended"))?
    }

    fn give_back(&self, used: Vec<u8>) {
        if let Some(empty) = &self.empty
            && used.capacity() > 0
        {
            // When the thread is at its end, nobody needs the chunk.
            drop(empty.try_send(used));
        }
    }
}

impl Drop for Reading {
    /// Waits for the thread: what it reads is then closed.
    fn drop(&mut self) {
        // It ends as soon as nobody takes what it reads.
        (self.full, self.empty) = (None, None);
        if let Some(thread) = self.thread.take() {
            // A panic of it was an error of the reader's before.
            drop(thread.join());
        }
    }
}

/// The chunk with as many bytes of `from` as there are, up to `size`; empty at the end.
///
/// # Errors
/// The first error of `from`.
pub fn fill(from: &mut impl Read, mut chunk: Vec<u8>, size: usize) -> io::Result<Vec<u8>> {
    chunk.resize(size, 0);
    let mut count = 0;
    while count < size {
        match from.read(&mut chunk[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    chunk.truncate(count);
    Ok(chunk)
}

/// Bytes after which what was written goes to the disk. So the disk works while the rest is computed, and the
/// sync at the end has little left to wait for.
const SYNC_EVERY: usize = 32 << 20;

/// Where bytes are written, and how they reach the disk.
pub trait Sink: Write + Send + 'static {
    /// Has what was written so far put on the disk, on a thread of its own: writing goes on meanwhile. `None` where
    /// that is not needed.
    ///
    /// # Errors
    /// No thread could be started.
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>>;
}

impl Sink for File {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        let file = self.try_clone()?;
        Builder::new().name("sync".into()).spawn(move || file.sync_data()).map(Some)
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a writing thread failed")))
}

/// Writes behind whoever writes to it. What was written is in the file only after [`WriteBehind::finish`].
pub struct WriteBehind<W> {
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    queue: Queue,
    chunk: Vec<u8>,
    made: usize,
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Sink> WriteBehind<W> {
    /// Begins to write to `to`.
    ///
    /// # Errors
    /// No thread could be started; `to` is dropped.
    pub fn new(mut to: W, queue: Queue) -> io::Result<Self> {
        let (full, full_out) = sync_channel::<Vec<u8>>(queue.chunks);
        let (empty_in, empty) = sync_channel(queue.chunks);
        let thread = Builder::new().name("write behind".into()).spawn(move || {
            let mut unsynced = 0;
            let mut syncing = None;
            for mut chunk in full_out {
                to.write_all(&chunk)?;
                unsynced += chunk.len();
                if unsynced >= SYNC_EVERY {
                    unsynced = 0;
                    // Two at once would be no faster; a disk that is slower than the processor is waited for here.
                    if let Some(before) = std::mem::replace(&mut syncing, to.sync()?) {
                        joined(before)?;
                    }
                }
                chunk.clear();
                // Nobody needs the chunk when all is written.
                drop(empty_in.try_send(chunk));
            }
            syncing.map_or(Ok(()), joined)?;
            to.flush()?;
            Ok(to)
        })?;
        let chunk = Vec::with_capacity(queue.chunk);
        Ok(Self { full: Some(full), empty, queue, chunk, made: 1, thread: Some(thread) })
    }

    /// Waits until everything is written, and gives back what it was written to.
    ///
    /// # Errors
    /// The first write that failed.
    pub fn finish(&mut self) -> io::Result<W> {
        if !self.chunk.is_empty() {
            self.hand_over()?;
        }
        self.end()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        let next = self.next_chunk();
        let chunk = std::mem::replace(&mut self.chunk, next);
        let handed = self.full.as_ref().is_some_and(|full| full.send(chunk).is_ok());
        if handed { Ok(()) } else { self.end().and_then(|_| Err(io::Error::other("nothing can be written"))) }
    }

    fn next_chunk(&mut self) -> Vec<u8> {
        if self.made < self.queue.chunks {
            self.made += 1;
            return Vec::with_capacity(self.queue.chunk);
        }
        self.empty.recv().unwrap_or_default()
    }

    fn end(&mut self) -> io::Result<W> {
        self.full = None;
        let thread = self.thread.take().ok_or_else(|| io::Error::other("writing has ended"))?;
        joined(thread)
    }
}

impl<W: Sink> Write for WriteBehind<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.queue.chunk;
        if self.chunk.len() == size {
            self.hand_over()?;
        }
        let count = bytes.len().min(size - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Hands over what there is; it is written when [`WriteBehind::finish`] says so.
    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() { Ok(()) } else { self.hand_over() }
    }
}

impl<W> Drop for WriteBehind<W> {
    /// Waits for the thread, so that nothing is written after the file's name is gone.
    fn drop(&mut self) {
        self.full = None;
        if let Some(thread) = self.thread.take() {
            // Whoever drops it unfinished does not want the file, nor its error.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests;
