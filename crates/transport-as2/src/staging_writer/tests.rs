use super::*;
use model::{Error, ErrorKind};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use transport::StagedPayload;

const LARGE: usize = BEHIND_FROM as usize;

/// What became of a part.
#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    threads: Vec<ThreadId>,
    dropped: bool,
}

struct Part {
    seen: Arc<Mutex<Seen>>,
    /// Bytes that there is room for.
    room: usize,
}

impl Part {
    fn begin(room: usize) -> (StagingWriter, Arc<Mutex<Seen>>) {
        let seen = Arc::<Mutex<Seen>>::default();
        (StagingWriter::new(Box::new(Self { seen: Arc::clone(&seen), room })), seen)
    }
}

impl PartWriter for Part {
    fn append(&mut self, bytes: &[u8]) -> model::Result<()> {
        let mut seen = self.seen.lock().unwrap();
        if seen.bytes.len() + bytes.len() > self.room {
            return Err(Error::transient(ErrorKind::StorageFull, "write to staging"));
        }
        seen.bytes.extend_from_slice(bytes);
        let thread = std::thread::current().id();
        if seen.threads.last() != Some(&thread) {
            seen.threads.push(thread);
        }
        Ok(())
    }

    fn length(&self) -> u64 {
        self.seen.lock().unwrap().bytes.len() as u64
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> model::Result<usize> {
        let seen = self.seen.lock().unwrap();
        let rest = &seen.bytes[usize::try_from(offset).unwrap()..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn commit(self: Box<Self>) -> model::Result<StagedPayload> {
        panic!("nothing is committed here")
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.seen.lock().unwrap().dropped = true;
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 31 % 251) as u8).collect()
}

#[test]
fn everything_is_in_a_part_that_was_flushed_whoever_wrote_it() {
    for length in [0, 1, LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + 7] {
        for piece in [64 * 1024, 200_001, LARGE + 3] {
            let (mut writer, seen) = Part::begin(usize::MAX);
            let all = bytes(length);
            all.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
            writer.flush().unwrap();
            let mut again = Vec::new();
            writer.read_back().unwrap().read_to_end(&mut again).unwrap();
            assert!(again == all, "{length} in pieces of {piece}");
            assert!(writer.into_part().unwrap().length() == length as u64);
            let seen = seen.lock().unwrap();
            // A small part needs no other thread, and a large one is not written by this one alone.
            let others = seen.threads.iter().filter(|thread| **thread != std::thread::current().id()).count();
            assert_eq!(others, usize::from(length > LARGE), "{length} in pieces of {piece}");
            assert!(seen.bytes == all);
        }
    }
}

#[test]
fn what_is_written_after_a_flush_follows_what_was_before() {
    let (mut writer, seen) = Part::begin(usize::MAX);
    let all = bytes(4 * LARGE);
    for half in all.chunks(2 * LARGE) {
        writer.write_all(half).unwrap();
        writer.flush().unwrap();
    }
    drop(writer.into_part().unwrap());
    assert!(seen.lock().unwrap().bytes == all);
}

#[test]
fn a_full_disk_is_said_with_its_own_error_and_the_part_is_gone() {
    for room in [0, LARGE / 2, LARGE + 1, 2 * LARGE] {
        let (mut writer, seen) = Part::begin(room);
        let all = bytes(3 * LARGE);
        let written = all.chunks(64 * 1024).try_for_each(|piece| writer.write_all(piece));
        let error = written.and_then(|()| writer.flush()).unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::StorageFull, "{room}");
        drop(writer);
        assert!(seen.lock().unwrap().dropped, "{room}");
    }
}

#[test]
fn a_part_that_is_given_up_is_gone_when_the_drop_returns() {
    let (mut writer, seen) = Part::begin(usize::MAX);
    writer.write_all(&bytes(2 * LARGE)).unwrap();
    assert!(writer.read_back().is_err());
    drop(writer);
    assert!(seen.lock().unwrap().dropped);
}
