//! Reading a file: many requests on their way, handed on in order.
//!
//! A task asks ahead and the reader takes what came, so that the server is never waited for while there
//! is room. Room grows with the file and as the process's buffer budget allows.

use crate::client::{self, Awaited, FileHandle};
use crate::error::{Fault, code};
use crate::packet::{self, DATA, Malformed};
use crate::pool::Lease;
use bytes::{Buf, Bytes};
use futures::FutureExt;
use model::{Error, ErrorKind, RemotePath, Result};
use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::mpsc;
use transport::{BufferBudget, BufferLease};

/// Most requests on their way for one file.
const REQUESTS: usize = 64;

/// Data asked for in one request, where the server gives as much.
const CHUNK: u32 = 64 * 1024;

/// Bytes on their way that every file may have, without asking the budget: enough for small files.
const COMMON_ROOM: u64 = 256 * 1024;

/// Pieces that came and were not taken yet. With what is on its way they are all that is in memory.
const READY: usize = 16;

/// What the task hands to the reader.
enum Piece {
    Bytes(Bytes),
    End,
    Failed(Error),
}

/// Opens a file and reads it from an offset to its end.
///
/// # Errors
/// By the server's codes; what lies there is no regular file.
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
    let (sender, incoming) = mpsc::channel(READY);
    let chunk = CHUNK.min(lease.client().abilities().read_size);
    let pump = Pump {
        path: path.clone(),
        chunk,
        next: offset,
        position: offset,
        end: None,
        asked: VecDeque::new(),
        outstanding: 0,
        room: u64::from(chunk) * 2,
        grown: None,
        budget,
        lease,
        handle,
    };
    tokio::spawn(pump.run(sender));
    Ok(Box::new(Reader { incoming, current: Bytes::new(), last: None }))
}

struct Asked {
    offset: u64,
    length: u32,
    answer: Awaited,
}

struct Pump {
    lease: Lease,
    handle: FileHandle,
    path: RemotePath,
    chunk: u32,
    /// What is asked for next.
    next: u64,
    /// What was handed on.
    position: u64,
    /// The file's size when it was opened; none where the server does not tell, or tells nothing (files
    /// that are made as they are read have size 0).
    end: Option<u64>,
    asked: VecDeque<Asked>,
    /// Bytes asked for.
    outstanding: u64,
    /// Bytes that may be asked for.
    room: u64,
    grown: Option<BufferLease>,
    budget: BufferBudget,
}

impl Pump {
    async fn run(mut self, sender: mpsc::Sender<Piece>) {
        let last = match self.copy(&sender).await {
            Ok(true) => Piece::End,
            // The reader is gone.
            Ok(false) => return,
            Err(fault) => Piece::Failed(match fault {
                Stop::Fault(fault) => fault.error("read a file", self.lease.target(), Some(&self.path)),
                Stop::Error(error) => error,
            }),
        };
        let _ = sender.send(last).await;
    }

    /// Whether the end was reached; otherwise nobody wants the rest.
    async fn copy(&mut self, sender: &mpsc::Sender<Piece>) -> std::result::Result<bool, Stop> {
        // The first bytes are asked for together with the size: one round trip for a small file.
        let stat = self.lease.client().stat_open(&self.handle).await?;
        self.ask().await?;
        self.learn_size(stat).await?;
        loop {
            if self.end.is_some_and(|end| self.position >= end) {
                return Ok(true);
            }
            self.ask_ahead().await?;
            let Some(asked) = self.asked.pop_front() else {
                return Err(Fault::from(Malformed("nothing was asked for")).into());
            };
            let answer = asked.answer.await?;
            self.outstanding -= u64::from(asked.length);
            if answer.kind != DATA {
                match client::unexpected(answer) {
                    fault if fault.is(code::EOF) => return Ok(true),
                    fault => return Err(fault.into()),
                }
            }
            let came = answer.len() as u64;
            if came == 0 || came > u64::from(asked.length) {
                return Err(Fault::from(Malformed("more or less data than asked for")).into());
            }
            self.position = asked.offset + came;
            let rest = asked.length - u32::try_from(came).unwrap_or(asked.length);
            if rest > 0 {
                self.fill_gap(rest).await?;
            } else {
                self.grow();
            }
            for bytes in answer.body {
                if sender.send(Piece::Bytes(bytes)).await.is_err() {
                    return Ok(false);
                }
            }
        }
    }

    async fn learn_size(&mut self, stat: Awaited) -> std::result::Result<(), Stop> {
        let attributes = match client::attributes(stat.await?) {
            Ok(attributes) => attributes,
            // Then it is read until the server says that it ends.
            Err(Fault::Refused(_)) => return Ok(()),
            Err(fault) => return Err(fault.into()),
        };
        let format = attributes.permissions.map_or(0, |mode| mode & 0o170_000);
        if !matches!(format, 0 | 0o100_000) {
            return Err(Stop::Error(
                Error::permanent(ErrorKind::Rejected, "read a file")
                    .with("host", self.lease.target())
                    .with("path", &self.path)
                    .advice("it is no regular file"),
            ));
        }
        self.end = attributes.size.filter(|size| *size > 0);
        Ok(())
    }

    /// Asks for as much as there is room for.
    async fn ask_ahead(&mut self) -> std::result::Result<(), Fault> {
        while self.asked.len() < REQUESTS
            && (self.asked.is_empty() || self.outstanding + u64::from(self.chunk) <= self.room)
            && self.end.is_none_or(|end| self.next < end)
        {
            self.ask().await?;
        }
        Ok(())
    }

    async fn ask(&mut self) -> std::result::Result<(), Fault> {
        let left = self.end.map_or(u64::MAX, |end| end.saturating_sub(self.next));
        let length = u32::try_from(left).unwrap_or(u32::MAX).min(self.chunk);
        let answer = self.lease.client().read(&self.handle, self.next, length).await?;
        self.asked.push_back(Asked { offset: self.next, length, answer });
        self.outstanding += u64::from(length);
        self.next += u64::from(length);
        Ok(())
    }

    /// A server may give less than was asked for; what is missing comes before what follows.
    async fn fill_gap(&mut self, rest: u32) -> std::result::Result<(), Fault> {
        if self.end.is_some_and(|end| self.position >= end) {
            return Ok(());
        }
        let answer = self.lease.client().read(&self.handle, self.position, rest).await?;
        self.asked.push_front(Asked { offset: self.position, length: rest, answer });
        self.outstanding += u64::from(rest);
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
    incoming: mpsc::Receiver<Piece>,
    current: Bytes,
    /// How it ended: told again to whoever reads on.
    last: Option<std::result::Result<(), Option<Error>>>,
}

impl AsyncRead for Reader {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        while buf.remaining() > 0 {
            if !this.current.is_empty() {
                let count = this.current.len().min(buf.remaining());
                buf.put_slice(&this.current[..count]);
                this.current.advance(count);
                continue;
            }
            let filled = buf.filled().len() > before;
            match &mut this.last {
                // What was filled in must be told before an error is.
                Some(_) if filled => break,
                Some(Ok(())) => break,
                Some(Err(error)) => {
                    let error = error.take().unwrap_or_else(unended);
                    return Poll::Ready(Err(io::Error::other(error)));
                }
                None => {}
            }
            match this.incoming.poll_recv(cx) {
                Poll::Ready(Some(Piece::Bytes(bytes))) => this.current = bytes,
                Poll::Ready(Some(Piece::End)) => this.last = Some(Ok(())),
                Poll::Ready(Some(Piece::Failed(error))) => this.last = Some(Err(Some(error))),
                // Only an end that was said is one: this must not pass for a shorter file.
                Poll::Ready(None) => this.last = Some(Err(None)),
                Poll::Pending if filled => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn unended() -> Error {
    Error::transient(ErrorKind::Internal, "read a file to its end").advice("reading it stopped before")
}
