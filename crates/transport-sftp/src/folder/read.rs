//! Reading a file with many requests in flight, returned in order.
//!
//! The reader requests data ahead: while received data is used, more is on its way. The number of requested bytes
//! grows with the file and as the process's buffer budget allows, and limits the memory.
//!
//! A file ends where the server reports its end, not at its reported size: servers report sizes that are too small,
//! too large, or 0. The size only decides how far to request ahead; one more request goes beyond it. An answer
//! without data does not mean the end: before the reported size it is requested once more, and then fails.

use super::Lease;
use crate::protocol::client::{self, FileHandle};
use crate::protocol::exchange::Awaited;
use crate::protocol::fault::{Fault, code};
use crate::protocol::packet::{self, DATA, Malformed};
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};
use model::{Error, ErrorKind, RemotePath, Result};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use transport::{BufferBudget, BufferLease};

/// The most requests in flight for one file.
const REQUESTS: usize = 64;

/// The number of bytes requested at a time, if the server returns as many.
const CHUNK: u32 = 64 * 1024;

/// A shorter answer at the reported size may be the end of a small file.
const SMALL: u64 = 32 * 1024;

/// The bytes in flight that every file may have without the budget: enough for small files.
const COMMON_ROOM: u64 = transport::folder::READER_BUFFERS as u64;

/// What came in one answer.
type Pieces = Vec<Bytes>;

/// Opens a file and closes it without reading.
///
/// # Errors
/// By the server's codes.
pub(crate) async fn try_open(lease: Lease, path: &RemotePath) -> Result<()> {
    lease.count();
    let failed = |fault: Fault| fault.error("open a file to read it", lease.target(), Some(path));
    let handle = lease.client().open(path, packet::OPEN_READ, None).await.map_err(failed)?;
    let closed = lease.client().close(handle).await.map_err(failed)?;
    closed.await.and_then(client::ok).map_err(failed)
}

/// Opens a file and reads it from an offset to its end.
///
/// # Errors
/// By the server's codes; the path is not a regular file.
pub(crate) async fn open(
    lease: Lease,
    path: &RemotePath,
    offset: u64,
    budget: BufferBudget,
) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
    lease.count();
    let handle = lease
        .client()
        .open(path, packet::OPEN_READ, None)
        .await
        .map_err(|fault| fault.error("open a file to read it", lease.target(), Some(path)))?;
    let failed = |fault: Fault| fault.error("read a file", lease.target(), Some(path));
    let chunk = CHUNK.min(lease.client().abilities().read_size);
    // The first bytes are requested together with the size and with what may follow: one round trip for a small file.
    let stat = lease.client().stat_open(&handle).await.map_err(failed)?;
    let mut asked = VecDeque::new();
    for offset in [offset, offset + u64::from(chunk)] {
        let answer = lease.client().read(&handle, offset, chunk).await.map_err(failed)?;
        asked.push_back(Asked { offset, length: chunk, answer, again: false });
    }
    let pump = Pump {
        path: path.clone(),
        chunk,
        next: offset + 2 * u64::from(chunk),
        position: offset,
        size: Size::Asked(stat),
        stated: None,
        ended: false,
        asked,
        outstanding: 2 * u64::from(chunk),
        room: u64::from(chunk) * 2,
        grown: None,
        budget,
        handle,
        lease,
    };
    let pieces = stream::try_unfold(pump, |mut pump| async move {
        match pump.next().await {
            Ok(Some(pieces)) => Ok(Some((pieces, pump))),
            Ok(None) => Ok(None),
            Err(Stop::Fault(fault)) => Err(fault.error("read a file", pump.lease.target(), Some(&pump.path))),
            Err(Stop::Error(error)) => Err(error),
        }
    });
    Ok(Box::new(Reader { pieces: pieces.boxed(), current: VecDeque::new(), last: None }))
}

struct Asked {
    offset: u64,
    length: u32,
    answer: Awaited,
    /// Whether it was asked for before, and answered with no data.
    again: bool,
}

/// The size that the server reports for the open file.
enum Size {
    /// The answer is on its way.
    Asked(Awaited),
    /// So many bytes.
    Stated(u64),
    /// The server reports no size, or 0, as for generated files, or less than the file has.
    Unknown,
}

struct Pump {
    // Closed before the connection is given back.
    handle: FileHandle,
    lease: Lease,
    path: RemotePath,
    chunk: u32,
    /// What is asked for next.
    next: u64,
    /// What was handed on.
    position: u64,
    size: Size,
    /// The size that was stated, also where there is more.
    stated: Option<u64>,
    /// Whether the last bytes were handed on.
    ended: bool,
    asked: VecDeque<Asked>,
    /// Bytes requested.
    outstanding: u64,
    /// Bytes that may be requested.
    room: u64,
    grown: Option<BufferLease>,
    budget: BufferBudget,
}

impl Pump {
    /// The next bytes; `None` at the end.
    async fn next(&mut self) -> std::result::Result<Option<Pieces>, Stop> {
        if self.ended {
            return Ok(None);
        }
        self.learn_size().await?;
        self.ask_ahead().await?;
        let Some(asked) = self.asked.pop_front() else {
            return Err(Fault::from(Malformed("nothing was requested")).into());
        };
        let answer = asked.answer.await?;
        self.outstanding -= u64::from(asked.length);
        let at_stated_end = self.stated_end().is_some_and(|end| asked.offset >= end);
        if answer.kind != DATA {
            return match client::unexpected(answer) {
                fault if fault.is(code::EOF) => Ok(None),
                // Beyond the end, not every server answers as the draft says.
                Fault::Refused(_) if at_stated_end => Ok(None),
                fault => Err(fault.into()),
            };
        }
        let came = answer.len() as u64;
        if came > u64::from(asked.length) {
            return Err(Fault::from(Malformed("more data than requested")).into());
        }
        if came == 0 {
            // Neither data nor an end: accepted as the end only at the reported size.
            if self.stated.is_some_and(|stated| asked.offset >= stated) {
                return Ok(None);
            }
            if asked.again {
                return Err(Stop::Error(self.no_end(asked.offset)));
            }
            let (offset, length) = (asked.offset, asked.length);
            self.ask_first(offset, length, true).await?;
            return Ok(Some(Pieces::new()));
        }
        self.position = asked.offset + came;
        if self.stated_end().is_some_and(|end| self.position > end) {
            // The file is longer than reported.
            self.size = Size::Unknown;
        }
        match asked.length - u32::try_from(came).unwrap_or(asked.length) {
            0 => self.grow(),
            rest => {
                self.ended = self.is_small_end(came).await?;
                if self.ended {
                    return Ok(Some(answer.body));
                }
                self.ask_first(self.position, rest, false).await?;
            }
        }
        // The next bytes are requested before these are used.
        self.ask_ahead().await?;
        Ok(Some(answer.body))
    }

    /// Whether a short answer was the end of a small file: it ended at the reported size, and the server reported the
    /// end of the file for what was requested with it. Up to the size that every server must return at once
    /// (draft-ietf-secsh-filexfer-02, 3), so that a server which returns less at a time is asked for the rest.
    async fn is_small_end(&mut self, came: u64) -> std::result::Result<bool, Stop> {
        if came >= SMALL || self.stated != Some(self.position) {
            return Ok(false);
        }
        let Some(following) = self.asked.pop_front() else { return Ok(false) };
        self.outstanding -= u64::from(following.length);
        let answer = following.answer.await?;
        if answer.kind != DATA && client::unexpected(answer).is(code::EOF) {
            return Ok(true);
        }
        self.ask_first(following.offset, following.length, false).await?;
        Ok(false)
    }

    /// The error if the server answers twice in a row with neither data nor an end.
    fn no_end(&self, offset: u64) -> Error {
        let error = Error::transient(ErrorKind::Protocol, "read a file to its end")
            .with("host", &self.lease.target().host)
            .with("path", &self.path)
            .with("offset", offset);
        let error = match self.stated {
            Some(size) => error.with("stated bytes", size),
            None => error,
        };
        error.on_connection(self.lease.target().connection).advice(
            "the server answered twice without data and without reporting the end of the file; ask its \
            operator why it cannot read the file",
        )
    }

    fn stated_end(&self) -> Option<u64> {
        match self.size {
            Size::Stated(size) => Some(size),
            Size::Asked(_) | Size::Unknown => None,
        }
    }

    async fn learn_size(&mut self) -> std::result::Result<(), Stop> {
        let Size::Asked(stat) = &mut self.size else { return Ok(()) };
        let answer = stat.await;
        self.size = Size::Unknown;
        let attributes = match client::attributes(answer?) {
            Ok(attributes) => attributes,
            // Then it is read until the server reports the end.
            Err(Fault::Refused(_)) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        let format = attributes.permissions.map_or(0, |mode| mode & 0o170_000);
        if !matches!(format, 0 | 0o100_000) {
            return Err(Stop::Error(
                Error::permanent(ErrorKind::Rejected, "read a file")
                    .with("host", &self.lease.target().host)
                    .on_connection(self.lease.target().connection)
                    .with("path", &self.path)
                    .advice("it is not a regular file"),
            ));
        }
        self.stated = attributes.size;
        if let Some(size) = attributes.size.filter(|size| *size > 0) {
            self.size = Size::Stated(size);
        }
        Ok(())
    }

    /// Requests as much as the room allows, up to one request beyond the reported end.
    async fn ask_ahead(&mut self) -> std::result::Result<(), Fault> {
        while self.asked.len() < REQUESTS
            && (self.asked.is_empty() || self.outstanding + u64::from(self.chunk) <= self.room)
            && self.stated_end().is_none_or(|end| self.next <= end)
        {
            self.ask().await?;
        }
        Ok(())
    }

    async fn ask(&mut self) -> std::result::Result<(), Fault> {
        let left = match self.stated_end() {
            Some(end) if self.next < end => end - self.next,
            _ => u64::MAX,
        };
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk);
        let answer = self.lease.client().read(&self.handle, self.next, length).await?;
        self.asked.push_back(Asked { offset: self.next, length, answer, again: false });
        self.outstanding += u64::from(length);
        self.next += u64::from(length);
        Ok(())
    }

    /// Asks for what must come before all that was asked for: a server may give less than that, or nothing at first.
    async fn ask_first(&mut self, offset: u64, length: u32, again: bool) -> std::result::Result<(), Fault> {
        let answer = self.lease.client().read(&self.handle, offset, length).await?;
        self.asked.push_front(Asked { offset, length, answer, again });
        self.outstanding += u64::from(length);
        Ok(())
    }

    /// Doubles the room while the server keeps up. Beyond the common room it comes out of the
    /// budget: never waited for, as the reader's own copy waits for room of its own, and never from the
    /// budget's last half.
    fn grow(&mut self) {
        let most = u64::from(self.chunk) * REQUESTS as u64;
        let wanted = (self.room * 2).min(most);
        if wanted > COMMON_ROOM && self.grown.is_none() {
            if self.budget.free() < self.budget.total() / 2 + most {
                return;
            }
            self.grown = self.budget.take(usize::try_from(most).unwrap_or(usize::MAX)).now_or_never();
            if self.grown.is_none() {
                return;
            }
        }
        self.room = wanted;
    }
}

/// Why reading stopped.
enum Stop {
    Fault(Fault),
    Error(Error),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// A file's bytes in order. Its errors carry a [`model::Error`].
struct Reader {
    pieces: BoxStream<'static, Result<Pieces>>,
    current: VecDeque<Bytes>,
    /// How it ended: at its end, or with the error until that is returned.
    last: Option<std::result::Result<(), Option<Error>>>,
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if let Some(piece) = this.current.front_mut() {
                let count = piece.len().min(buf.remaining());
                buf.put_slice(&piece[..count]);
                piece.advance(count);
                if piece.is_empty() {
                    this.current.pop_front();
                }
                continue;
            }
            let filled = buf.filled().len() > before;
            match &mut this.last {
                // The bytes are returned first, and an error by the next call.
                Some(_) if filled => break,
                Some(Ok(())) => break,
                Some(Err(error)) => {
                    let error = error.take().unwrap_or_else(already_told);
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                None => {}
            }
            match this.pieces.as_mut().poll_next(cx) {
                Poll::Ready(Some(Ok(pieces))) => this.current = pieces.into(),
                Poll::Ready(Some(Err(error))) => this.last = Some(Err(Some(error))),
                Poll::Ready(None) => this.last = Some(Ok(())),
                Poll::Pending if filled => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn already_told() -> Error {
    Error::transient(ErrorKind::Internal, "read on after an error")
}
