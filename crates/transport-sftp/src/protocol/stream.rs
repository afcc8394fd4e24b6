//! The bytes under an SSH session: buffered, begun with the server's identification, and cut on demand.
//!
//! What a server sends before its identification is kept as its first words and taken off, as the SSH library takes less
//! of it than servers send.
//!
//! Cutting is the last resort against a server that takes nothing any more: the SSH library waits in a
//! write then and hears nobody, and only an error from below makes it end and close the socket.

use super::identification::{Finder, NoIdentification};
use bytes::Bytes;
use futures::task::AtomicWaker;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The SSH library reads a packet's length and then the packet: without a buffer two system calls for
/// each.
const READ_BUFFER: usize = 128 * 1024;

/// The server's first bytes that are kept.
const WORDS_LIMIT: usize = 1024;

/// A stream that can be cut from outside.
pub(crate) struct CutStream<S> {
    inner: BufReader<S>,
    cut: Arc<Cut>,
    /// Until the identification came.
    finder: Option<Finder>,
    /// The identification, as far as it was not handed on.
    identification: Bytes,
}

/// Cuts a [`CutStream`], and knows what the server said first.
#[derive(Default)]
pub(crate) struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    heard: Mutex<Heard>,
}

/// What came before the key exchange.
#[derive(Default)]
struct Heard {
    words: Vec<u8>,
    identification: Option<Vec<u8>>,
    fault: Option<NoIdentification>,
}

impl<S: AsyncRead> CutStream<S> {
    pub(crate) fn new(inner: S) -> (Self, Arc<Cut>) {
        let cut = Arc::new(Cut::default());
        let stream = Self {
            inner: BufReader::with_capacity(READ_BUFFER, inner),
            cut: Arc::clone(&cut),
            finder: Some(Finder::default()),
            identification: Bytes::new(),
        };
        (stream, cut)
    }
}

impl Cut {
    /// Ends the stream: what is read or written from now on fails.
    pub(crate) fn cut(&self) {
        self.done.store(true, Ordering::Release);
        self.reader.wake();
        self.writer.wake();
    }

    /// The server's identification line, or else whatever it said first.
    pub(crate) fn first_words(&self) -> Vec<u8> {
        let heard = self.heard();
        heard.identification.as_ref().unwrap_or(&heard.words).trim_ascii().to_vec()
    }

    /// Why the server was given up before the key exchange, when it was.
    pub(crate) fn no_identification(&self) -> Option<NoIdentification> {
        self.heard().fault
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, waker: &AtomicWaker, cx: &Context<'_>) -> Option<io::Error> {
        // Registered before the look, so that no cut falls in between.
        waker.register(cx.waker());
        self.done
            .load(Ordering::Acquire)
            .then(|| io::Error::new(io::ErrorKind::ConnectionAborted, "closed by Waybill"))
    }
}

impl<S: AsyncRead + Unpin> CutStream<S> {
    /// Reads until the identification came, or the end.
    fn poll_identification(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(finder) = &mut self.finder {
            let bytes = ready!(Pin::new(&mut self.inner).poll_fill_buf(cx))?;
            if bytes.is_empty() {
                break;
            }
            let (used, found) = finder.take(bytes);
            let mut heard = self.cut.heard.lock().unwrap_or_else(PoisonError::into_inner);
            let room = WORDS_LIMIT.saturating_sub(heard.words.len());
            heard.words.extend_from_slice(&bytes[..used.min(room)]);
            match found {
                Ok(None) => {}
                Ok(Some(identification)) => {
                    heard.identification = Some(identification.clone());
                    self.identification = identification.into();
                    self.finder = None;
                }
                Err(fault) => {
                    heard.fault = Some(fault);
                    return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault.describe())));
                }
            }
            drop(heard);
            Pin::new(&mut self.inner).consume(used);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for CutStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(error) = self.cut.failed(&self.cut.reader, cx) {
            return Poll::Ready(Err(error));
        }
        ready!(self.poll_identification(cx))?;
        if !self.identification.is_empty() {
            let count = self.identification.len().min(buf.remaining());
            buf.put_slice(&self.identification.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CutStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(error) = self.cut.failed(&self.cut.writer, cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.cut.failed(&self.cut.writer, cx) {
            return Poll::Ready(Err(error));
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
