//! A message that is made while it is sent, and goes on within the same attempt: what was made is kept for as long as the
//! connection may lose it, so that nothing has to be made again.

use super::{CHUNK, IN_FLIGHT, next_size, stream_error};
use bytes::Bytes;
use model::{Error, ErrorKind, Result};
use net::http::Body;
use smime::Measured;
use smime::threads::fill;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Bytes that are kept, for the process's budget: more than what the system has in its buffers for a connection (4 MiB, where
/// nothing else is set).
pub(crate) const KEPT: usize = 6 * 1024 * 1024;

/// What is done before the last bytes of a message leave; its error ends the message there.
pub(crate) type BeforeLast = Box<dyn FnOnce() -> io::Result<()> + Send>;

/// A message that is being made. Its clones give the same bytes: those of a place in it, not the next ones.
#[derive(Clone)]
pub(crate) struct Making {
    state: Arc<Mutex<State>>,
    total: u64,
    /// How many bodies were made of it. The last one is sent; those before it end.
    bodies: Arc<AtomicU64>,
}

struct State {
    reader: Box<dyn Measured + Send>,
    /// Bytes made so far.
    made: u64,
    /// The last of them.
    kept: VecDeque<Bytes>,
    kept_bytes: usize,
    has_failed: bool,
}

impl State {
    /// Makes the next bytes, and gives how many; none at the end.
    fn make_next(&mut self, total: u64) -> io::Result<usize> {
        let size = next_size(Some(total.saturating_sub(self.made)));
        let chunk = match fill(&mut self.reader, Vec::new(), size) {
            Ok(chunk) => Bytes::from(chunk),
            Err(error) => {
                self.has_failed = true;
                return Err(error);
            }
        };
        let count = chunk.len();
        if count == 0 {
            return Ok(0);
        }
        self.made += count as u64;
        self.kept_bytes += count;
        self.kept.push_back(chunk);
        while let Some(first) = self.kept.front()
            && self.kept_bytes - first.len() >= KEPT
        {
            self.kept_bytes -= first.len();
            self.kept.pop_front();
        }
        Ok(count)
    }

    /// The first byte that is kept.
    fn begin(&self) -> u64 {
        self.made.saturating_sub(self.kept_bytes as u64)
    }

    /// Kept bytes from this one on; none where it is not made yet.
    fn kept_from(&self, from: u64) -> Option<Bytes> {
        let mut skipped = usize::try_from(from.checked_sub(self.begin())?).ok()?;
        for chunk in &self.kept {
            if skipped < chunk.len() {
                return Some(chunk.slice(skipped..));
            }
            skipped -= chunk.len();
        }
        None
    }
}

impl Making {
    /// A message of so many bytes, of which nothing was made yet.
    pub(crate) fn new(reader: Box<dyn Measured + Send>, total: u64) -> Self {
        let state = State { reader, made: 0, kept: VecDeque::new(), kept_bytes: 0, has_failed: false };
        Self { state: Arc::new(Mutex::new(state)), total, bodies: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Some bytes from this one on; none at the end. Blocks.
    fn chunk(&self, from: u64) -> io::Result<Option<Bytes>> {
        let mut state = self.state();
        loop {
            if let Some(chunk) = state.kept_from(from) {
                return Ok(Some(chunk));
            }
            if from < state.begin() {
                // Another connection went further meanwhile; the next attempt makes the message again.
                let operation = "send bytes of a message that are not kept any more";
                return Err(io::Error::other(Error::transient(ErrorKind::Internal, operation)));
            }
            if state.make_next(self.total)? == 0 {
                return Ok(None);
            }
        }
    }

    /// Makes it up to this byte, before a connection is made: no server waits for what it does not get. False: it does not
    /// have the bytes from there on any more, and must be made anew. Stops when the caller does not wait any more.
    ///
    /// # Errors
    /// The message's own; `Internal`: it ends before that byte.
    pub(crate) async fn reach(&self, from: u64) -> Result<bool> {
        let making = self.clone();
        let (sender, receiver) = oneshot::channel();
        tokio::task::spawn_blocking(move || {
            let reached = making.make_up_to(from, || sender.is_closed());
            // The caller may be gone.
            drop(sender.send(reached));
        });
        receiver.await.map_err(|error| ended_before(from).caused_by(error))?
    }

    fn make_up_to(&self, from: u64, is_over: impl Fn() -> bool) -> Result<bool> {
        while !is_over() {
            let mut state = self.state();
            if state.has_failed || from < state.begin() {
                return Ok(false);
            }
            if state.made >= from {
                return Ok(true);
            }
            if state.make_next(self.total).map_err(stream_error)? == 0 {
                return Err(ended_before(from));
            }
        }
        Ok(false)
    }

    /// An HTTP body of all bytes from this one on, under Content-Length unless it is sent in chunks. `before_last` is called
    /// before the last of them leave, once all were made; its error ends the body there.
    pub(crate) fn body(&self, from: u64, is_chunked: bool, mut before_last: Option<BeforeLast>) -> Body {
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let length = self.total.saturating_sub(from);
        let (making, mut at) = (self.clone(), from);
        let number = self.bodies.fetch_add(1, Ordering::SeqCst) + 1;
        tokio::task::spawn_blocking(move || {
            loop {
                let is_last = making.bodies.load(Ordering::SeqCst) == number;
                let chunk = if is_last { making.chunk(at) } else { Err(gone_on()) };
                let chunk = match chunk {
                    Ok(Some(chunk)) => chunk,
                    Ok(None) => return,
                    Err(error) => {
                        // A send fails only when the body was dropped.
                        drop(sender.blocking_send(Err(stream_error(error))));
                        return;
                    }
                };
                at += chunk.len() as u64;
                if at >= making.total
                    && let Some(act) = before_last.take()
                    && let Err(error) = act()
                {
                    drop(sender.blocking_send(Err(stream_error(error))));
                    return;
                }
                if sender.blocking_send(Ok(chunk)).is_err() {
                    return;
                }
            }
        });
        let stream = futures::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|item| (item, receiver))
        });
        Body::stream(stream, (!is_chunked).then_some(length))
    }
}

/// The error that ends a connection whose message goes on over another one.
fn gone_on() -> io::Error {
    io::Error::other(Error::transient(
        ErrorKind::Unreachable,
        "send a message that goes on over another connection",
    ))
}

fn ended_before(from: u64) -> Error {
    Error::permanent(ErrorKind::Internal, "make a message up to the byte where it goes on").with("byte", from)
}

// More than the chunks of a body hold.
const _: () = assert!(KEPT > 4 * CHUNK);

#[cfg(test)]
mod tests {
    use super::*;
    use smime::{Digest, MicReader, MicSlot, Payload};
    use std::sync::atomic::AtomicBool;

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    fn making(bytes: &[u8]) -> (Making, MicSlot) {
        let length = bytes.len() as u64;
        let tapped =
            MicReader::new(Payload::new(io::Cursor::new(bytes.to_vec()), length), Digest::Sha256).unwrap();
        let slot = tapped.slot();
        (Making::new(Box::new(tapped), length), slot)
    }

    #[tokio::test]
    async fn it_gives_the_same_bytes_from_every_place_that_is_kept() {
        let all = bytes(3 * CHUNK + 77);
        let (making, mic) = making(&all);
        for from in [0, 1, CHUNK, CHUNK + 9, all.len() - 1] {
            assert!(making.reach(from as u64).await.unwrap());
            let body = making.body(from as u64, false, None);
            assert_eq!(body.length(), Some((all.len() - from) as u64));
            assert!(body.collect(all.len()).await.unwrap() == all[from..], "{from}");
        }
        assert_eq!(mic.get().unwrap().digest, openssl::sha::sha256(&all));
        assert!(making.body(0, true, None).length().is_none());
    }

    #[tokio::test]
    async fn what_was_sent_long_before_is_not_kept() {
        let all = bytes(KEPT + 5 * CHUNK);
        let (making, _) = making(&all);
        let end = all.len() as u64 - 1;
        for (from, expected) in [(end, true), (0, false), (end - KEPT as u64 / 2, true)] {
            assert_eq!(making.reach(from).await.unwrap(), expected, "{from}");
        }
        let kept = making.state().kept_bytes;
        assert!((KEPT..KEPT + 2 * CHUNK).contains(&kept), "{kept}");
        assert!(making.body(0, false, None).next().await.is_err());
        let rest = making.body(end - 10, false, None).collect(100).await.unwrap();
        assert!(rest == all[all.len() - 11..]);
    }

    #[tokio::test]
    async fn the_last_bytes_leave_after_the_act_alone() {
        let all = bytes(CHUNK + 5);
        let (message, mic) = making(&all);
        let done = Arc::new(AtomicBool::new(false));
        let act = {
            let done = Arc::clone(&done);
            move || {
                // By then all of it was made.
                assert!(mic.get().is_some());
                done.store(true, Ordering::SeqCst);
                Ok(())
            }
        };
        let sent = message.body(7, false, Some(Box::new(act))).collect(all.len()).await.unwrap();
        assert!(sent == all[7..] && done.load(Ordering::SeqCst));
        let fails = || Err(io::Error::other(Error::transient(ErrorKind::Unreachable, "note it")));
        let mut body = making(&all).0.body(0, false, Some(Box::new(fails)));
        let mut sent = 0;
        let error = loop {
            match body.next().await {
                Ok(Some(bytes)) => sent += bytes.len(),
                Ok(None) => panic!("it ended as if it were whole"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        assert!(sent < all.len());
    }

    #[tokio::test]
    async fn only_the_last_body_is_sent() {
        let all = bytes(20 * CHUNK);
        let (message, _) = making(&all);
        let mut first = message.body(0, false, None);
        first.next().await.unwrap();
        let last = message.body(5, false, None);
        let ended = async {
            while first.next().await?.is_some() {}
            Ok::<_, Error>(())
        };
        assert!(ended.await.is_err());
        assert!(last.collect(all.len()).await.unwrap() == all[5..]);
    }

    #[tokio::test]
    async fn a_message_that_is_shorter_than_it_should_be_never_ends_well() {
        let reader: Box<dyn Measured + Send> = Box::new(&b"abc"[..]);
        let making = Making::new(reader, 10);
        assert!(making.reach(4).await.is_err());
        assert!(making.body(0, false, None).collect(10).await.is_err());
        let broken = smime::Payload::new(&b"abc"[..], 10);
        let making = Making::new(Box::new(broken), 10);
        // Once it has failed, nothing of it is used any more.
        assert!(making.reach(4).await.is_err() && !making.reach(0).await.unwrap());
    }
}
