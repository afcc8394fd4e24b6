//! The bytes under an SSH session: buffered, with the server's first words kept, and cut on demand.
//!
//! Cutting is the last resort against a server that takes nothing any more: the SSH library waits in a
//! write then and hears nobody, and only an error from below makes it end and close the socket.

use futures::task::AtomicWaker;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};

/// The SSH library reads a packet's length and then the packet: without a buffer two system calls for
/// each.
const READ_BUFFER: usize = 128 * 1024;

/// The server's first bytes that are kept: its identification line (255 at most) and lines before it.
const WORDS_LIMIT: usize = 1024;

/// A stream that can be cut from outside.
pub(crate) struct CutStream<S> {
    inner: BufReader<S>,
    cut: Arc<Cut>,
    listening: bool,
}

/// Cuts a [`CutStream`], and knows what the server said first.
#[derive(Default)]
pub(crate) struct Cut {
    done: AtomicBool,
    reader: AtomicWaker,
    writer: AtomicWaker,
    words: Mutex<Vec<u8>>,
}

impl<S: AsyncRead> CutStream<S> {
    pub(crate) fn new(inner: S) -> (Self, Arc<Cut>) {
        let cut = Arc::new(Cut::default());
        let stream = Self {
            inner: BufReader::with_capacity(READ_BUFFER, inner),
            cut: Arc::clone(&cut),
            listening: true,
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
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = words.split(|b| *b == b'\n');
        let line = lines.find(|line| line.starts_with(b"SSH-")).unwrap_or(&words);
        line.trim_ascii().to_vec()
    }

    fn failed(&self, waker: &AtomicWaker, cx: &Context<'_>) -> Option<io::Error> {
        // Registered before the look, so that no cut falls in between.
        waker.register(cx.waker());
        self.done
            .load(Ordering::Acquire)
            .then(|| io::Error::new(io::ErrorKind::ConnectionAborted, "given up by Waybill"))
    }

    /// Whether more of the first words is wanted.
    fn hear(&self, bytes: &[u8]) -> bool {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = WORDS_LIMIT - words.len();
        words.extend_from_slice(&bytes[..bytes.len().min(room)]);
        let identified = words
            .split_inclusive(|b| *b == b'\n')
            .any(|line| line.starts_with(b"SSH-") && line.ends_with(b"\n"));
        !identified && words.len() < WORDS_LIMIT
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
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if self.listening {
            self.listening = self.cut.hear(&buf.filled()[before..]);
        }
        Poll::Ready(Ok(()))
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
