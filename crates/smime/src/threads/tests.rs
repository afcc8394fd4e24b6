use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const QUEUES: [Queue; 3] =
    [Queue { chunk: 1000, chunks: 2 }, Queue { chunk: 4096, chunks: 4 }, Queue::OF_A_COMMAND];

impl Sink for Vec<u8> {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        Ok(Some(std::thread::spawn(|| Ok(()))))
    }
}

#[test]
fn bytes_pass_unchanged() {
    for queue in QUEUES {
        let size = queue.chunk;
        for length in [0, 1, size - 1, size, size + 1, 20 * size + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| (n * 31 % 251) as u8).collect();
            let mut ahead = ReadAhead::new(io::Cursor::new(bytes.clone()), queue);
            let mut behind = WriteBehind::new(Vec::new(), queue).unwrap();
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
}

struct Full(usize);

impl Sink for Full {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        Ok(None)
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
    for queue in QUEUES {
        for chunks in [0, 1, 3, 30] {
            let mut behind = WriteBehind::new(Full(chunks * queue.chunk), queue).unwrap();
            let mut written = Ok(());
            for _ in 0..=chunks {
                written = written.and_then(|()| behind.write_all(&vec![7; queue.chunk]));
            }
            let error = written.and_then(|()| behind.finish().map(drop)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{chunks}");
        }
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
    for queue in QUEUES {
        let mut ahead = ReadAhead::new(Broken(2), queue);
        let error = io::copy(&mut ahead, &mut io::sink()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        // Nor when it is read once more.
        assert!(ahead.read(&mut [0; 10]).is_err());
    }
}

struct Panicking;

impl Read for Panicking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        panic!("a reader that fails in the worst way")
    }
}

#[test]
fn a_thread_that_panics_never_looks_like_an_end() {
    let mut ahead = ReadAhead::new(Panicking, QUEUES[0]);
    assert!(ahead.read(&mut [0; 10]).is_err());
}

/// Endless, and says how often it was read and whether it was dropped.
struct Endless(Arc<(AtomicUsize, AtomicBool)>);

impl Read for Endless {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        Ok(into.len())
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        self.0.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn nothing_is_read_before_it_is_wanted_nor_after_it_is_given_up() {
    let seen = Arc::new((AtomicUsize::new(0), AtomicBool::new(false)));
    let (reads, dropped) = (|| seen.0.load(Ordering::SeqCst), || seen.1.load(Ordering::SeqCst));
    let queue = Queue { chunk: 1000, chunks: 4 };
    let mut ahead = ReadAhead::new(Endless(Arc::clone(&seen)), queue);
    assert_eq!(ahead.read(&mut []).unwrap(), 0);
    assert_eq!(reads(), 0);
    ahead.read_exact(&mut [0; 10]).unwrap();
    assert!(!dropped());
    drop(ahead);
    // The thread is gone, and it never had more chunks than it may have.
    assert!(dropped());
    assert!((1..=queue.chunks).contains(&reads()), "{}", reads());
}

/// Says what was written when it is dropped.
struct Told(Arc<AtomicUsize>, Arc<AtomicBool>);

impl Sink for Told {
    fn sync(&self) -> io::Result<Option<JoinHandle<io::Result<()>>>> {
        Ok(None)
    }
}

impl Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        self.1.store(true, Ordering::SeqCst);
    }
}

#[test]
fn what_is_given_up_is_closed_when_the_drop_returns() {
    let (written, dropped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let told = Told(Arc::clone(&written), Arc::clone(&dropped));
    let mut behind = WriteBehind::new(told, Queue { chunk: 1000, chunks: 4 }).unwrap();
    behind.write_all(&[7; 2500]).unwrap();
    drop(behind);
    assert!(dropped.load(Ordering::SeqCst));
    assert_eq!(written.load(Ordering::SeqCst), 2000);
}
