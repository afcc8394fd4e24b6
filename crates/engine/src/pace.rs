//! Bandwidth limits of endpoints: readers that wait for their turn.
//!
//! All files that this node reads from an endpoint and writes to it share one limit. Each read reserves the next piece
//! of time; whoever comes first is served first. The limit is looked up for each read, so that a revision or a window
//! that begins takes effect on transfers that are running.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use transport::{Clock, Directory};

/// How much time one read may take, so that the flow of bytes is smooth. At 1 KiB/s a read takes half a second.
const PIECE: Duration = Duration::from_millis(50);
const SMALLEST_PIECE: u64 = 512;
/// How much unused time may be caught up, since sleeps end late.
const CREDIT: Duration = Duration::from_millis(100);
/// Above this a limit is none: no reader of this node is so quick.
const LARGEST_PIECE: u64 = 1 << 30;

/// The limits of all endpoints of this node.
pub(crate) struct Paces {
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
    meters: Mutex<HashMap<String, Arc<Mutex<Meter>>>>,
}

/// The time that an endpoint's readers have reserved.
#[derive(Default)]
struct Meter {
    /// The end of the last reservation, by the monotonic clock.
    reserved: Duration,
    /// The bandwidth by which it was made, in bytes per second.
    bandwidth: u64,
}

impl Meter {
    /// Reserves the time that this many bytes take, and returns when it begins.
    fn reserve(&mut self, bytes: u64, bandwidth: u64, now: Duration) -> Duration {
        if self.bandwidth != bandwidth {
            // What is reserved are bytes: at the new bandwidth they take another time.
            let rest = self.reserved.saturating_sub(now);
            #[allow(clippy::cast_precision_loss, reason = "a share of a second")]
            let scale = self.bandwidth as f64 / bandwidth as f64;
            self.reserved = now + rest.mul_f64(scale).min(Duration::from_secs(3600));
            self.bandwidth = bandwidth;
        }
        let begin = self.reserved.max(now.saturating_sub(CREDIT));
        self.reserved = begin + time_of(bytes, bandwidth);
        begin
    }

    /// Gives back the time of bytes that were not read.
    fn give_back(&mut self, bytes: u64) {
        if self.bandwidth > 0 {
            self.reserved = self.reserved.saturating_sub(time_of(bytes, self.bandwidth));
        }
    }
}

/// How long bytes take. Both are far below 2^53.
#[allow(clippy::cast_precision_loss, reason = "a read is small, and a bandwidth no astronomical number")]
fn time_of(bytes: u64, bandwidth: u64) -> Duration {
    Duration::from_secs_f64(bytes as f64 / bandwidth as f64)
}

impl Paces {
    pub(crate) fn new(clock: Arc<dyn Clock>, directory: Arc<dyn Directory>) -> Self {
        Self { clock, directory, meters: Mutex::default() }
    }

    /// The pace of an endpoint's readers.
    pub(crate) fn of(&self, endpoint: &str) -> Pace {
        let mut meters = self.meters.lock().unwrap_or_else(PoisonError::into_inner);
        let meter = Arc::clone(meters.entry(endpoint.to_owned()).or_default());
        drop(meters);
        let (clock, directory) = (Arc::clone(&self.clock), Arc::clone(&self.directory));
        Pace { endpoint: endpoint.to_owned(), clock, directory, meter }
    }
}

/// How quickly an endpoint's files may be read or written.
#[derive(Clone)]
pub(crate) struct Pace {
    endpoint: String,
    clock: Arc<dyn Clock>,
    directory: Arc<dyn Directory>,
    meter: Arc<Mutex<Meter>>,
}

/// What a read may take, and when.
struct Turn {
    bytes: usize,
    wait: Duration,
}

impl Pace {
    /// A reader that keeps to it.
    pub(crate) fn reader<R>(&self, reader: R) -> PacedReader<R> {
        PacedReader { reader, pace: self.clone(), turn: None }
    }

    /// The same for a blocking thread.
    pub(crate) fn blocking<R>(&self, reader: R, runtime: tokio::runtime::Handle) -> PacedRead<R> {
        PacedRead { reader, pace: self.clone(), runtime }
    }

    fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reserves the next read of up to so many bytes; `None` while there is no limit.
    fn turn(&self, most: usize) -> Option<Turn> {
        let definitions = self.directory.definitions();
        let throttle = &definitions.endpoints.get(&self.endpoint)?.throttle;
        let bandwidth = throttle.bandwidth_at(self.clock.now())?.max(1);
        let piece = (bandwidth / (1000 / PIECE.as_millis() as u64)).clamp(SMALLEST_PIECE, LARGEST_PIECE);
        let bytes = usize::try_from(piece).unwrap_or(usize::MAX).min(most);
        let now = self.clock.monotonic();
        let begin = self.meter().reserve(bytes as u64, bandwidth, now);
        Some(Turn { bytes, wait: begin.saturating_sub(now) })
    }

    /// A read is done, of fewer bytes than were reserved.
    fn unused(&self, bytes: usize) {
        if bytes > 0 {
            self.meter().give_back(bytes as u64);
        }
    }
}

type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A reader that waits for its turn before each read.
pub(crate) struct PacedReader<R> {
    reader: R,
    pace: Pace,
    /// The bytes that it may read, and the wait before that.
    turn: Option<(usize, Option<Sleep>)>,
}

impl<R: AsyncRead + Unpin> AsyncRead for PacedReader<R> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.turn.is_none() && buffer.remaining() > 0 {
            this.turn = this.pace.turn(buffer.remaining()).map(|turn| {
                let clock = Arc::clone(&this.pace.clock);
                let sleep = (!turn.wait.is_zero())
                    .then(|| Box::pin(async move { clock.sleep(turn.wait).await }) as Sleep);
                (turn.bytes, sleep)
            });
        }
        let Some((bytes, sleep)) = &mut this.turn else {
            return Pin::new(&mut this.reader).poll_read(cx, buffer);
        };
        if let Some(waiting) = sleep {
            ready!(waiting.as_mut().poll(cx));
            *sleep = None;
        }
        // The buffer may be a smaller one by now.
        let reserved = *bytes;
        let most = reserved.min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(most));
        let result = ready!(Pin::new(&mut this.reader).poll_read(cx, &mut part));
        let read = part.filled().len();
        this.turn = None;
        this.pace.unused(reserved - read);
        result?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

impl<R> Drop for PacedReader<R> {
    fn drop(&mut self) {
        if let Some((bytes, _)) = self.turn.take() {
            self.pace.unused(bytes);
        }
    }
}

/// The same on a blocking thread.
pub(crate) struct PacedRead<R> {
    reader: R,
    pace: Pace,
    runtime: tokio::runtime::Handle,
}

impl<R: io::Read> io::Read for PacedRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(turn) = self.pace.turn(buffer.len()).filter(|_| !buffer.is_empty()) else {
            return self.reader.read(buffer);
        };
        if !turn.wait.is_zero() {
            self.runtime.block_on(self.pace.clock.sleep(turn.wait));
        }
        let read = self.reader.read(&mut buffer[..turn.bytes]);
        self.pace.unused(turn.bytes - read.as_ref().map_or(0, |read| *read));
        read
    }
}

#[cfg(test)]
mod tests;
