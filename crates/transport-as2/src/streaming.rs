//! Between async HTTP bodies and the blocking streams of `smime`: small bounded channels.

mod again;
mod kept;
mod making;
mod peek;

pub(crate) use again::Compared;
pub(crate) use making::{BeforeLast, KEPT, Making};

use crate::rejection::Rejection;
use crate::streaming::kept::{Arrives, KeptBody};
use bytes::Bytes;
use model::{Error, ErrorKind};
use net::http::{Body, Standby, Waits};
use smime::Measured;
use smime::threads::{Queue, ReadAhead, fill};
use std::io::{self, Read};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use transport::{KeptState, PartialBytes};

/// Bytes handed over at once.
pub(crate) const CHUNK: usize = 128 * 1024;
/// Chunks on their way between the two sides.
const IN_FLIGHT: usize = 2;
/// Between two threads that make or read one message: in flight, being filled, being written.
pub(crate) const BETWEEN_THREADS: Queue = Queue { chunk: CHUNK, chunks: IN_FLIGHT + 2 };
/// Buffers of one stream, in bytes, for the process's budget: those between HTTP and the first thread, those between two
/// threads, and those of the digests of what is received, or between another two threads that make what is sent.
pub(crate) const STREAM_BUFFERS: usize = 2 * (IN_FLIGHT + 2) * CHUNK + smime::DIGEST_BUFFERS;

/// The same bytes, made on a thread of their own: while what is around them is computed, the next ones are.
pub(crate) fn made_ahead(body: Box<dyn Measured + Send>) -> Box<dyn Measured + Send> {
    let length = body.total_len();
    Box::new(MadeAhead { length, bytes: ReadAhead::new(body, BETWEEN_THREADS) })
}

struct MadeAhead {
    length: Option<u64>,
    bytes: ReadAhead,
}

impl Read for MadeAhead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.bytes.read(into)
    }
}

impl Measured for MadeAhead {
    fn total_len(&self) -> Option<u64> {
        self.length
    }
}

/// An HTTP body of what a blocking reader yields. The reader runs on a blocking thread and stops when
/// the body is dropped.
pub(crate) fn body_of(mut reader: Box<dyn Measured + Send>, length: Option<u64>) -> Body {
    let (sender, receiver) = mpsc::channel(IN_FLIGHT);
    let mut left = length;
    tokio::task::spawn_blocking(move || {
        loop {
            match fill(&mut reader, Vec::new(), next_size(left)) {
                Ok(chunk) if chunk.is_empty() => return,
                Ok(chunk) => {
                    left = left.map(|left| left.saturating_sub(chunk.len() as u64));
                    if sender.blocking_send(Ok(Bytes::from(chunk))).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    // A send fails only when nobody wants the body any more.
                    drop(sender.blocking_send(Err(stream_error(error))));
                    return;
                }
            }
        }
    });
    let stream = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|item| (item, receiver))
    });
    Body::stream(stream, length)
}

/// Bytes of the next chunk, when so many are left. The last one has room for a byte more: the end is then seen before the
/// last byte is sent, and with it what is known only there, such as the MIC.
fn next_size(left: Option<u64>) -> usize {
    let last = left.and_then(|left| usize::try_from(left).ok()).filter(|left| *left <= CHUNK);
    last.map_or(CHUNK, |left| left + 1)
}

/// The error inside a stream's error: ours as it is, `smime`'s and the system's wrapped.
pub(crate) fn stream_error(error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::local_io("read a staged payload", error),
    }
}

/// A piece of a body; an empty one is its end.
type Piece = io::Result<Bytes>;

/// The blocking end of a body that is being received.
pub(crate) struct BodyReader {
    pieces: Pieces,
    /// What is held of it, and keeps what arrives.
    kept: Option<KeptBody>,
}

impl BodyReader {
    /// A channel whose async end is filled by [`pump`].
    pub(crate) fn channel() -> (mpsc::Sender<Piece>, Self) {
        let (sender, receiver) = mpsc::channel(IN_FLIGHT);
        let pieces = Pieces { receiver, current: Bytes::new(), ended: false };
        (sender, Self { pieces, kept: None })
    }

    /// The same body, kept while it is read: first what is held of it is read, then what arrives. It has so many bytes in all,
    /// where that is known.
    pub(crate) fn kept(self, bytes: Box<dyn PartialBytes>, total: Option<u64>) -> Self {
        Self { kept: Some(KeptBody::new(bytes, total)), ..self }
    }
}

impl Read for BodyReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match &mut self.kept {
            Some(kept) => kept.read(&mut self.pieces, out),
            None => self.pieces.read(out),
        }
    }
}

/// The pieces of a body as they arrive.
struct Pieces {
    receiver: mpsc::Receiver<Piece>,
    current: Bytes,
    ended: bool,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() && !self.ended {
            match self.receiver.blocking_recv() {
                Some(Ok(bytes)) => self.current = bytes,
                Some(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                // The pump was dropped before it said that the body ended: the body is not whole.
                None => {
                    self.ended = true;
                    return Err(io::Error::other(Error::transient(
                        ErrorKind::Unreachable,
                        "receive the whole message",
                    )));
                }
            }
            // An empty chunk is the pump's word for the end.
            self.ended |= self.current.is_empty();
        }
        let count = self.current.len().min(out.len());
        out[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

impl Arrives for Pieces {
    fn at_hand(&mut self) -> io::Result<Option<Bytes>> {
        if self.current.is_empty() && !self.ended {
            match self.receiver.try_recv() {
                Ok(Ok(bytes)) => {
                    self.ended = bytes.is_empty();
                    self.current = bytes;
                }
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(error);
                }
                // Nothing yet, or the pump was dropped: reading tells that.
                Err(_) => {}
            }
        }
        Ok(Some(std::mem::take(&mut self.current)).filter(|bytes| !bytes.is_empty()))
    }
}

/// A body's error as a reader sees it: one whose cause is a rejection is that rejection, which the sender gets as an answer.
fn rejected(error: Error) -> io::Error {
    match rejection_of(&error) {
        Some(rejection) => io::Error::other(rejection),
        None => io::Error::other(error),
    }
}

/// The rejection that is the cause of a body's error.
fn rejection_of(error: &Error) -> Option<Rejection> {
    std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<Rejection>()).copied()
}

/// Bytes of a message that are read although nobody wants them; of a partner's, as many on top of the
/// largest it may send.
const UNWANTED: u64 = 64 * 1024 * 1024;

/// Longest silence while they are.
const SILENCE: Duration = Duration::from_secs(5);

/// A message's body on its way in.
pub(crate) struct Arriving {
    body: Body,
    /// Its length before anything of it was read, when the sender said it.
    length: Option<u64>,
    /// The sender waits for a word before it sends anything (`Expect: 100-continue`).
    held_back: bool,
    /// Bytes that may still be passed over.
    patience: u64,
    /// Its first bytes, come before a place was taken for them; an empty piece is its end.
    first: Option<Bytes>,
    /// Its connection's place among the others.
    standby: Option<Standby>,
    /// How it is kept while it is read.
    pub(crate) going: Option<Going>,
    /// By what it is known while it is kept, and what becomes of it.
    kept: Option<(String, KeptState)>,
    /// Bytes before the first one that arrives.
    before: u64,
    /// Since when its place is held, where bytes came again before those that are read.
    begun: Option<Instant>,
}

impl Arriving {
    pub(crate) fn new(body: Body, held_back: bool) -> Self {
        let (first, standby, going, kept) = (None, None, None, None);
        let length = body.length();
        let (patience, before, begun) = (UNWANTED, 0, None);
        Self { body, length, held_back, patience, first, standby, going, kept, before, begun }
    }

    /// Its connection has this place among the others.
    pub(crate) fn beside(mut self, standby: Option<Standby>) -> Self {
        self.standby = standby;
        self
    }

    /// Says that the message only waits, until this is dropped.
    pub(crate) fn waits(&self) -> Option<Waits> {
        self.standby.as_ref().map(Standby::waits)
    }

    /// The whole length, when the sender said it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// It is a partner's, which may send so many bytes.
    pub(crate) fn set_limit(&mut self, most: u64) {
        self.patience = most.saturating_add(UNWANTED);
    }

    /// It is refused before it is read: no more of it is passed over than of anybody's.
    pub(crate) fn is_unwanted(&mut self) {
        self.patience = UNWANTED;
    }

    /// It is kept under this key while it is read, and so many of its bytes are held already.
    pub(crate) fn is_kept(&mut self, key: String, state: KeptState, before: u64) {
        (self.kept, self.before) = (Some((key, state)), before);
    }

    /// By what it is known while it is kept, and what becomes of it.
    pub(crate) fn kept(&mut self) -> Option<(&str, &mut KeptState)> {
        self.kept.as_mut().map(|(key, state)| (key.as_str(), state))
    }

    /// Its next bytes, which nobody else reads then; `None` at its end.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub(crate) async fn next(&mut self) -> model::Result<Option<Bytes>> {
        self.begin().await?;
        match self.first.take() {
            // Its end is seen again.
            Some(end) if end.is_empty() => {
                self.first = Some(end);
                Ok(None)
            }
            next => Ok(next),
        }
    }

    /// These bytes are still to be read.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        // An empty piece would be its end.
        self.first = Some(bytes).filter(|bytes| !bytes.is_empty());
    }

    /// Waits for its first bytes: until they come, nothing is held for a message.
    ///
    /// # Errors
    /// As [`Body::next`].
    pub(crate) async fn begin(&mut self) -> model::Result<()> {
        self.held_back = false;
        while self.first.is_none() {
            match self.body.next().await? {
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => self.first = Some(bytes),
                None => self.first = Some(Bytes::new()),
            }
        }
        Ok(())
    }

    /// Moves the body into the channel, up to `most` bytes, and says when it ended. Stops as soon as the
    /// reader is gone. While `crowded` says that others wait for its place, a body that stalls is given up
    /// before the time that any body may take is over, and the longer one has its place, the faster it must be.
    pub(crate) async fn pump(&mut self, sender: mpsc::Sender<Piece>, most: u64, crowded: impl Fn() -> bool) {
        self.held_back = false;
        let begun = self.begun.unwrap_or_else(Instant::now);
        // What is held counts: it is read again meanwhile.
        let mut received = self.before;
        loop {
            let next = match self.first.take() {
                Some(first) if first.is_empty() => Ok(None),
                Some(first) => Ok(Some(first)),
                None => tokio::select! {
                    biased;
                    () = sender.closed() => return,
                    next = self.body.next() => next,
                    error = stalled(&crowded, begun, received) => Err(error),
                    () = taken_over(&mut self.kept) => Err(goes_on_elsewhere()),
                },
            };
            let piece = match next {
                Ok(Some(bytes)) if bytes.is_empty() => continue,
                Ok(Some(bytes)) => {
                    received += bytes.len() as u64;
                    let slow = too_slow(begun.elapsed(), Duration::ZERO, received).filter(|_| crowded());
                    if let Some(slow) = slow {
                        Err(io::Error::other(slow))
                    } else if received > most {
                        Err(io::Error::other(Rejection::TooLarge { most }))
                    } else {
                        Ok(bytes)
                    }
                }
                Ok(None) => Ok(Bytes::new()),
                Err(error) => Err(rejected(error)),
            };
            let ended = piece.as_ref().map_or(true, Bytes::is_empty);
            if sender.send(piece).await.is_err() || ended {
                return;
            }
        }
    }

    /// Reads what is left of the body, within bounds, and gives it away. Many senders look for the answer
    /// only when their whole message is sent; a connection that is closed before is a broken pipe to them,
    /// and they send the same message again and again.
    pub(crate) async fn drain(mut self) {
        let _waits = self.waits();
        // What is known to be too much is not worth beginning with.
        while !self.held_back && self.body.length().is_none_or(|length| length <= self.patience) {
            match tokio::time::timeout(SILENCE, self.body.next()).await {
                Ok(Ok(Some(bytes))) => match self.patience.checked_sub(bytes.len() as u64) {
                    Some(less) => self.patience = less,
                    None => return,
                },
                // A sender that is gone gets no answer, and the connection's record says why. One that
                // is silent may be waiting for ours.
                Ok(Ok(None) | Err(_)) | Err(_) => return,
            }
        }
    }
}

/// How a message is kept while it is read.
pub(crate) struct Going {
    /// By what it is known.
    pub(crate) key: String,
    /// Its transfer id.
    pub(crate) etag: String,
    /// Bytes of the whole message, where they are known.
    pub(crate) total: Option<u64>,
    /// Where it goes on; `None` where it begins.
    pub(crate) on: Option<GoesOn>,
}

/// Where a message goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct GoesOn {
    /// The number of its holder.
    pub(crate) holder: i64,
    /// The first byte that comes.
    pub(crate) first: u64,
    /// Bytes that are held: those from the first one on come again.
    pub(crate) held: u64,
}

/// Resolves when somebody else takes over a message that is kept.
async fn taken_over(kept: &mut Option<(String, KeptState)>) {
    match kept {
        Some((_, state)) => state.taken_over().await,
        None => std::future::pending().await,
    }
}

fn goes_on_elsewhere() -> Error {
    Error::transient(ErrorKind::Throttled, "receive a message")
        .advice("this connection is given up: the sender goes on over another one")
}

/// While others wait: longest silence of a body that is behind the least pace, and how often that is looked at.
const STALLED: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(250);
/// The least pace, in bytes a second, and what it grows to.
const LEAST_PACE: u64 = 4096;
const MOST_OWED: u64 = 64 * 1024;
/// After so long the least pace doubles, and does so again each time; from then on silence is not waited for.
const PATIENT: Duration = Duration::from_secs(60);

/// The least pace of a body that has its place for so long while others wait for one.
fn pace(held: Duration) -> u64 {
    let doublings = u32::try_from(held.as_secs() / PATIENT.as_secs()).unwrap_or(u32::MAX).min(16);
    (LEAST_PACE << doublings).min(MOST_OWED)
}

/// Bytes that it should have brought by then.
fn owed(held: Duration) -> u64 {
    pace(held).saturating_mul(held.as_secs())
}

/// Whether a body must make room that has its place for so long, is silent for so long and brought so much.
fn too_slow(held: Duration, silent: Duration, received: u64) -> Option<Error> {
    let waited_enough = held >= PATIENT || silent >= STALLED;
    (waited_enough && received < owed(held)).then(|| {
        Error::transient(ErrorKind::Timeout, "receive a message")
            .with("received", format!("{received} bytes"))
            .with("least", format!("{} bytes/s", pace(held)))
            .advice("the sender was too slow while other messages were waiting")
    })
}

/// Resolves when a body that got so far since `begun` has to make room.
async fn stalled(crowded: &impl Fn() -> bool, begun: Instant, received: u64) -> Error {
    let silent = Instant::now();
    loop {
        tokio::time::sleep(LOOK).await;
        let slow = too_slow(begun.elapsed(), silent.elapsed(), received).filter(|_| crowded());
        if let Some(slow) = slow {
            return slow;
        }
    }
}

#[cfg(test)]
mod tests;
