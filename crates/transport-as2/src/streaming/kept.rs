//! A body that is kept while it is read: first what is held of it, then what arrives, which is kept before it is read.

use crate::rejection::Rejection;
use bytes::Bytes;
use model::{Error, ErrorKind};
use std::io::{self, Read};
use transport::PartialBytes;

/// A body that arrives.
pub(super) trait Arrives: Read {
    /// Bytes that have arrived and were not read; `None` if there are none now, or at its end, which reading tells.
    ///
    /// # Errors
    /// It has broken off.
    fn at_hand(&mut self) -> io::Result<Option<Bytes>>;
}

/// What is held of a body, and what is added to it.
pub(super) struct KeptBody {
    bytes: Box<dyn PartialBytes>,
    /// Bytes that are held and are read from there: those that were held when reading began, and what has arrived since while
    /// they were read.
    held: u64,
    /// The next byte.
    at: u64,
    /// Bytes of the whole body, where they are known.
    total: Option<u64>,
}

impl KeptBody {
    pub(super) fn new(mut bytes: Box<dyn PartialBytes>, total: Option<u64>) -> Self {
        let held = bytes.length();
        if total == Some(held) {
            bytes.finish();
        }
        Self { bytes, held, at: 0, total }
    }

    /// Reads on. What arrives begins behind what is held.
    pub(super) fn read(&mut self, arriving: &mut impl Arrives, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let left = usize::try_from(self.held - self.at.min(self.held)).unwrap_or(usize::MAX);
        if left > 0 {
            let most = left.min(out.len());
            let count = self.bytes.read_at(&mut out[..most], self.at).map_err(io::Error::other)?;
            if count == 0 {
                return Err(io::Error::other(Error::transient(
                    ErrorKind::IntegrityFailed,
                    "read what is held of a message",
                )));
            }
            self.at += count as u64;
            self.keep_at_hand(arriving)?;
            return Ok(count);
        }
        let count = arriving.read(out).inspect_err(|_| self.bytes.broke_off())?;
        if count == 0 {
            return self.ended();
        }
        self.at = self.at.saturating_add(count as u64);
        if let Some(total) = self.total.filter(|total| self.at > *total) {
            return Err(io::Error::other(Rejection::LongerThanSaid { total }));
        }
        self.bytes.append(&out[..count]).map_err(io::Error::other)?;
        if self.total == Some(self.at) {
            // Its reader may see where it ends, and not ask for more.
            self.bytes.finish();
        }
        Ok(count)
    }

    /// Keeps some of what arrives while what is held is read. That may take minutes, and a sender whose bytes are not taken for as
    /// long gives its connection up: the message would never get further.
    fn keep_at_hand(&mut self, arriving: &mut impl Arrives) -> io::Result<()> {
        let Some(piece) = arriving.at_hand().inspect_err(|_| self.bytes.broke_off())? else { return Ok(()) };
        let held = self.held.saturating_add(piece.len() as u64);
        if let Some(total) = self.total.filter(|total| held > *total) {
            return Err(io::Error::other(Rejection::LongerThanSaid { total }));
        }
        self.bytes.append(&piece).map_err(io::Error::other)?;
        self.held = held;
        if self.total == Some(held) {
            self.bytes.finish();
        }
        Ok(())
    }

    /// The end of what arrives is that of the message only where it is whole.
    fn ended(&mut self) -> io::Result<usize> {
        if let Some(total) = self.total.filter(|total| self.at < *total) {
            self.bytes.broke_off();
            return Err(io::Error::other(
                Error::transient(ErrorKind::Unreachable, "receive the whole message")
                    .with("received", self.at)
                    .with("total", total),
            ));
        }
        self.bytes.finish();
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::{Arc, Mutex};

    /// Bytes that are held in memory.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<(Vec<u8>, bool, bool)>>);

    impl Memory {
        fn holding(bytes: &[u8]) -> Self {
            Self(Arc::new(Mutex::new((bytes.to_vec(), false, false))))
        }

        fn bytes(&self) -> Vec<u8> {
            self.0.lock().unwrap().0.clone()
        }

        fn is_whole(&self) -> bool {
            self.0.lock().unwrap().1
        }

        fn broke(&self) -> bool {
            self.0.lock().unwrap().2
        }
    }

    impl PartialBytes for Memory {
        fn length(&self) -> u64 {
            self.bytes().len() as u64
        }

        fn read_at(&self, into: &mut [u8], offset: u64) -> model::Result<usize> {
            let all = self.bytes();
            let rest = &all[usize::try_from(offset).unwrap().min(all.len())..];
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        }

        fn append(&mut self, bytes: &[u8]) -> model::Result<()> {
            self.0.lock().unwrap().0.extend_from_slice(bytes);
            Ok(())
        }

        fn finish(&mut self) {
            self.0.lock().unwrap().1 = true;
        }

        fn broke_off(&mut self) {
            self.0.lock().unwrap().2 = true;
        }
    }

    impl Arrives for &[u8] {
        fn at_hand(&mut self) -> io::Result<Option<Bytes>> {
            let (piece, rest) = self.split_at(self.len().min(2));
            let piece = Bytes::copy_from_slice(piece);
            *self = rest;
            Ok(Some(piece).filter(|piece| !piece.is_empty()))
        }
    }

    /// It breaks off while what is held is read.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            unreachable!("it has broken off before")
        }
    }

    impl Arrives for Broken {
        fn at_hand(&mut self) -> io::Result<Option<Bytes>> {
            Err(io::Error::other("the connection is gone"))
        }
    }

    struct Whole<R>(KeptBody, R);

    impl<R: Arrives> Read for Whole<R> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut self.1, out)
        }
    }

    fn read(memory: &Memory, total: Option<u64>, arriving: &[u8]) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        Whole(KeptBody::new(Box::new(memory.clone()), total), arriving).read_to_end(&mut all)?;
        Ok(all)
    }

    #[test]
    fn what_is_held_comes_first_and_what_arrives_is_kept() {
        let memory = Memory::holding(b"held ");
        assert_eq!(read(&memory, Some(12), b"arrived").unwrap(), b"held arrived");
        assert!(memory.is_whole() && memory.bytes() == b"held arrived");
        // All of it is held: nothing else is to come.
        let memory = Memory::holding(b"all of it");
        assert_eq!(read(&memory, Some(9), b"").unwrap(), b"all of it");
        assert!(memory.is_whole());
        // Of unknown length the end is where it ends.
        let memory = Memory::default();
        assert_eq!(read(&memory, None, b"some").unwrap(), b"some");
        assert!(memory.is_whole());
    }

    #[test]
    fn what_arrives_is_kept_while_what_is_held_is_read() {
        let memory = Memory::holding(b"held ");
        let mut body = Whole(KeptBody::new(Box::new(memory.clone()), Some(12)), &b"arrived"[..]);
        let mut byte = [0];
        assert_eq!(body.read(&mut byte).unwrap(), 1);
        assert_eq!(memory.bytes(), b"held ar");
        let mut rest = Vec::new();
        body.read_to_end(&mut rest).unwrap();
        assert!(rest == b"eld arrived" && memory.is_whole() && memory.bytes() == b"held arrived");
        // It is not read to its end first.
        let memory = Memory::holding(b"held ");
        let mut body = Whole(KeptBody::new(Box::new(memory.clone()), Some(12)), Broken);
        assert!(body.read(&mut byte).is_err() && memory.broke() && !memory.is_whole());
    }

    #[test]
    fn a_message_that_breaks_off_is_kept_and_is_not_whole() {
        let memory = Memory::holding(b"held ");
        let error = read(&memory, Some(12), b"arr").unwrap_err().downcast::<Error>().unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Unreachable, model::Retry::Transient));
        assert!(!memory.is_whole() && memory.broke() && memory.bytes() == b"held arr");
    }

    #[test]
    fn nothing_is_kept_beyond_the_length_that_was_said() {
        let memory = Memory::holding(b"held ");
        let error = read(&memory, Some(7), b"arrived").unwrap_err().downcast::<Rejection>().unwrap();
        assert_eq!(error, Rejection::LongerThanSaid { total: 7 });
        // What fits was kept while what was held was read.
        assert!(!memory.broke() && memory.bytes() == b"held ar");
    }

    proptest! {
        #[test]
        fn cut_anywhere_and_as_often_as_you_like_it_is_the_same(
            message in prop::collection::vec(any::<u8>(), 1..3000),
            cuts in prop::collection::vec(0_usize..3000, 0..6),
        ) {
            let (memory, total) = (Memory::default(), message.len() as u64);
            for cut in cuts {
                let held = memory.bytes().len();
                let upto = held.max(cut.min(message.len()));
                let is_whole = upto == message.len();
                let came = read(&memory, Some(total), &message[held..upto]);
                prop_assert_eq!(came.is_ok(), is_whole);
                prop_assert_eq!(&memory.bytes()[..], &message[..upto]);
            }
            let held = memory.bytes().len();
            prop_assert_eq!(read(&memory, Some(total), &message[held..]).unwrap(), message);
        }
    }
}
