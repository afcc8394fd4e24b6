//! Files read ahead and written behind, each on a thread of its own: digests and ciphers, which need a
//! whole processor, then never wait for the file system.

use std::fs::File;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;

/// Chunks between the two threads: so many are in memory, at most, and one more on either side.
const CHUNKS: usize = 8;

/// A reader that reads ahead in its own thread.
pub(crate) struct ReadAhead {
    full: Receiver<io::Result<Vec<u8>>>,
    empty: SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    at_end: bool,
}

impl ReadAhead {
    pub(crate) fn new(mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let (full_in, full) = sync_channel(CHUNKS);
        let (empty, empty_out) = sync_channel::<Vec<u8>>(CHUNKS + 1);
        std::thread::Builder::new().name("read ahead".into()).spawn(move || {
            let mut made = 0;
            loop {
                let chunk = if made < CHUNKS {
                    made += 1;
                    vec![0; CHUNK]
                } else {
                    match empty_out.recv() {
                        Ok(chunk) => chunk,
                        Err(_) => return,
                    }
                };
                let filled = fill(&mut from, chunk);
                let is_last = filled.as_ref().map_or(true, Vec::is_empty);
                if full_in.send(filled).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { full, empty, chunk: Vec::new(), at: 0, at_end: false })
    }
}

/// The chunk with as much as there is; empty at the end.
fn fill(from: &mut impl Read, mut chunk: Vec<u8>) -> io::Result<Vec<u8>> {
    chunk.resize(CHUNK, 0);
    let mut count = 0;
    while count < CHUNK {
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

impl Read for ReadAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() && !self.at_end {
            // An empty chunk is the end. A thread that is gone without one is not: it must not pass for it.
            let next = self.full.recv().map_err(|_| io::Error::other("the reading thread has ended"))??;
            self.at_end = next.is_empty();
            let used = std::mem::replace(&mut self.chunk, next);
            self.at = 0;
            if used.capacity() > 0 {
                // When the thread is at its end, nobody needs the chunk.
                drop(self.empty.try_send(used));
            }
        }
        let count = into.len().min(self.chunk.len() - self.at);
        into[..count].copy_from_slice(&self.chunk[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Bytes after which what was written goes to the disk. So the disk works while the rest is computed, and the
/// sync at the end has little left to wait for.
const SYNC_EVERY: usize = 32 << 20;

/// Where bytes are written, and how they reach the disk.
pub(crate) trait Sink: Write + Send + 'static {
    /// Has what was written so far put on the disk, on a thread of its own: writing goes on meanwhile.
    fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>>;
}

impl Sink for File {
    fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
        let file = self.try_clone()?;
        std::thread::Builder::new().name("sync".into()).spawn(move || file.sync_data())
    }
}

fn joined<T>(thread: JoinHandle<io::Result<T>>) -> io::Result<T> {
    thread.join().unwrap_or_else(|_| Err(io::Error::other("a writing thread failed")))
}

/// Writes behind whoever writes to it. What was written is in the file only after [`WriteBehind::finish`].
pub(crate) struct WriteBehind<W> {
    full: Option<SyncSender<Vec<u8>>>,
    empty: Receiver<Vec<u8>>,
    chunk: Vec<u8>,
    made: usize,
    thread: Option<JoinHandle<io::Result<W>>>,
}

impl<W: Sink> WriteBehind<W> {
    pub(crate) fn new(mut to: W) -> io::Result<Self> {
        let (full, full_out) = sync_channel::<Vec<u8>>(CHUNKS);
        let (empty_in, empty) = sync_channel(CHUNKS + 2);
        let thread = std::thread::Builder::new().name("write behind".into()).spawn(move || {
            let mut unsynced = 0;
            let mut syncing = None;
            for mut chunk in full_out {
                to.write_all(&chunk)?;
                unsynced += chunk.len();
                if unsynced >= SYNC_EVERY {
                    unsynced = 0;
                    // Two at once would be no faster; a disk that is slower than the processor is waited for here.
                    if let Some(before) = syncing.replace(to.sync()?) {
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
        Ok(Self { full: Some(full), empty, chunk: Vec::with_capacity(CHUNK), made: 1, thread: Some(thread) })
    }

    /// Waits until everything is written, and gives back what it was written to.
    ///
    /// # Errors
    /// The first write that failed.
    pub(crate) fn finish(&mut self) -> io::Result<W> {
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
        if self.made <= CHUNKS {
            self.made += 1;
            return Vec::with_capacity(CHUNK);
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
        if self.chunk.len() == CHUNK {
            self.hand_over()?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
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
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_unchanged_and_errors_arrive() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 20 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
            let mut ahead = ReadAhead::new(io::Cursor::new(bytes.clone())).unwrap();
            let mut behind = WriteBehind::new(Vec::new()).unwrap();
            let mut piece = vec![0; 70_001];
            loop {
                let count = ahead.read(&mut piece).unwrap();
                if count == 0 {
                    break;
                }
                behind.write_all(&piece[..count]).unwrap();
            }
            assert_eq!(ahead.read(&mut piece).unwrap(), 0);
            assert!(behind.finish().unwrap() == bytes, "{length}");
        }
    }

    impl Sink for Vec<u8> {
        fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
            Ok(std::thread::spawn(|| Ok(())))
        }
    }

    struct Full(usize);

    impl Sink for Full {
        fn sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
            Ok(std::thread::spawn(|| Ok(())))
        }
    }

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_said_by_write_or_at_the_end() {
        for chunks in [0, 1, 3, 30] {
            let mut behind = WriteBehind::new(Full(chunks * CHUNK)).unwrap();
            let mut written = Ok(());
            for _ in 0..=chunks {
                written = written.and_then(|()| behind.write_all(&[7; CHUNK]));
            }
            let error = written.and_then(|()| behind.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{chunks}");
        }
    }

    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
            Ok(into.len())
        }
    }

    #[test]
    fn a_reader_that_fails_never_looks_like_an_end() {
        let mut ahead = ReadAhead::new(Broken(2)).unwrap();
        let error = io::copy(&mut ahead, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
