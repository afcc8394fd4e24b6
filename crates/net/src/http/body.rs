//! The body of a request or an answer, as a stream.

use crate::connection::lock;
use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use model::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

/// A body in either direction. If its length is known, it is sent with Content-Length, otherwise chunked.
pub struct Body {
    /// The lock makes it `Sync`, so that a handler can keep a reference to its request while it waits. There is never
    /// contention.
    inner: Mutex<UnsyncBoxBody<Bytes, Error>>,
}

/// The number of bytes read from a reader at once.
const READ_SIZE: usize = 64 * 1024;

impl Body {
    fn new(body: impl HttpBody<Data = Bytes, Error = Error> + Send + 'static) -> Self {
        Self { inner: Mutex::new(body.boxed_unsync()) }
    }

    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::new(Empty::new().map_err(|never| match never {}))
    }

    /// Some bytes in memory.
    #[must_use]
    pub fn bytes(bytes: impl Into<Bytes>) -> Self {
        Self::new(Full::new(bytes.into()).map_err(|never| match never {}))
    }

    /// A stream. With a length it is sent with Content-Length; a stream that is shorter or longer breaks the
    /// exchange, so that it is never accepted as complete.
    #[must_use]
    pub fn stream(stream: impl Stream<Item = Result<Bytes>> + Send + 'static, length: Option<u64>) -> Self {
        let body = StreamBody::new(stream.map_ok(Frame::data));
        match length {
            None => Self::new(body),
            Some(length) => Self::new(Exact { body: body.boxed_unsync(), left: length }),
        }
    }

    /// A reader, in pieces of 64 KiB; see [`Body::stream`] for the length.
    #[must_use]
    pub fn reader(reader: impl AsyncRead + Send + 'static, length: Option<u64>) -> Self {
        let pieces = ReaderStream::with_capacity(reader, READ_SIZE)
            .map(|piece| piece.map_err(|cause| Error::local_io("read the data to send", cause)));
        Self::stream(pieces, length)
    }

    /// Any other body; its errors count as the peer's.
    pub fn wrap<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Self::new(body.map_err(into_error))
    }

    /// The length, if it is known.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        lock(&self.inner).size_hint().exact()
    }

    /// The next bytes; `None` at the end. Trailers are ignored.
    ///
    /// # Errors
    /// `Timeout`, `Unreachable`: the peer stopped sending before the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            match self.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                Some(Err(error)) => return Err(error),
            }
        }
    }

    /// The whole body, up to a bound in bytes.
    ///
    /// # Errors
    /// As [`Body::next`]; `Rejected`, `Permanent` if it is longer than the bound.
    pub async fn collect(mut self, bound: usize) -> Result<Bytes> {
        let mut all = BytesMut::new();
        while let Some(bytes) = self.next().await? {
            if all.len() + bytes.len() > bound {
                return Err(Error::permanent(ErrorKind::Rejected, "read the body of a message")
                    .with("bound", format!("{bound} bytes"))
                    .advice("the peer sent more than is allowed here"));
            }
            all.extend_from_slice(&bytes);
        }
        Ok(all.freeze())
    }

    /// The body as a reader, for copying and parsing.
    #[must_use]
    pub fn into_reader(self) -> impl AsyncRead + Send {
        let pieces = futures::stream::try_unfold(self, |mut body| async move {
            Ok::<_, std::io::Error>(
                body.next().await.map_err(std::io::Error::other)?.map(|bytes| (bytes, body)),
            )
        });
        tokio_util::io::StreamReader::new(Box::pin(pieces))
    }
}

/// Keeps an [`Error`] of Waybill as it is; wraps any other.
fn into_error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    match error.into().downcast::<Error>() {
        Ok(ours) => *ours,
        Err(other) => Error::transient(ErrorKind::Unreachable, "read the body of a message").caused_by(other),
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        Pin::new(inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.inner).size_hint()
    }
}

impl Default for Body {
    fn default() -> Self {
        Self::empty()
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("length", &self.length()).finish_non_exhaustive()
    }
}

/// Checks that a body has its declared length.
struct Exact {
    body: UnsyncBoxBody<Bytes, Error>,
    left: u64,
}

impl HttpBody for Exact {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let wrong = |what: &'static str| {
            Err(Error::transient(ErrorKind::IntegrityFailed, "send a body of known length")
                .with("difference", what)
                .advice("the file changed while it was sent"))
        };
        match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
                if bytes > self.left {
                    return Poll::Ready(Some(wrong("it is longer than announced")));
                }
                self.left -= bytes;
                Poll::Ready(Some(Ok(frame)))
            }
            None if self.left > 0 => {
                self.left = 0;
                Poll::Ready(Some(wrong("it is shorter than announced")))
            }
            other => Poll::Ready(other),
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not before the stream itself ends: a stream that is too long must be noticed.
        self.left == 0 && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
