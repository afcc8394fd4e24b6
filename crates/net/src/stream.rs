//! The stream of a connection: a socket, with or without TLS, counted and recorded.

use crate::connection::{ConnectionHandle, Ender};
use crate::meter::Meter;
use model::{ConnectionId, Result, Security};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// A recorded connection. Dropping it closes the socket and hands its end to the record.
pub struct Stream {
    // The order matters: the socket closes first, then the end is handed over.
    io: Io,
    ender: Ender,
}

/// A socket, with or without TLS.
pub(crate) enum Io {
    Plain(Counted),
    Tls(Pin<Box<SslStream<Counted>>>),
}

impl Stream {
    pub(crate) fn new(io: Io, ender: Ender) -> Self {
        Self { io, ender }
    }

    /// The socket, and what ends the record.
    pub(crate) fn into_parts(self) -> (Io, Ender) {
        (self.io, self.ender)
    }

    /// Its own socket, where it has one and no TLS.
    pub(crate) fn socket(&self) -> Option<&TcpStream> {
        match &self.io {
            Io::Plain(counted) => counted.socket.tcp(),
            Io::Tls(_) => None,
        }
    }

    /// The handle of this connection.
    #[must_use]
    pub fn handle(&self) -> ConnectionHandle {
        self.ender.handle().clone()
    }

    /// The connection's id in the records.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.ender.handle().id()
    }

    /// See [`ConnectionHandle::established`].
    ///
    /// # Errors
    /// As there.
    pub async fn established(&self, security: Security) -> Result<()> {
        self.ender.handle().established(security).await
    }
}

/// A socket below TLS that counts all bytes, including handshakes.
pub(crate) struct Counted {
    socket: Socket,
    meter: Arc<Meter>,
    /// Whether the end of TLS leaves the connection as it is.
    stays_open: bool,
}

/// What bytes go through: a socket, or another connection.
pub(crate) enum Socket {
    Tcp(TcpStream),
    /// Never locked: the mutex makes what is behind it shareable.
    Carried(Mutex<Box<dyn Carried>>),
}

/// A stream within another connection.
pub trait Carried: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Carried for S {}

impl From<TcpStream> for Socket {
    fn from(socket: TcpStream) -> Self {
        Self::Tcp(socket)
    }
}

fn within(stream: &mut Mutex<Box<dyn Carried>>) -> &mut Box<dyn Carried> {
    stream.get_mut().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    pub(crate) fn carried(stream: impl Carried + 'static) -> Self {
        Self::Carried(Mutex::new(Box::new(stream)))
    }

    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Carried(_) => None,
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Carried(stream) => Pin::new(within(stream)).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Carried(stream) => Pin::new(within(stream)).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Self::Carried(stream) => Pin::new(within(stream)).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(socket) => socket.is_write_vectored(),
            Self::Carried(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_flush(cx),
            Self::Carried(stream) => Pin::new(within(stream)).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Carried(stream) => Pin::new(within(stream)).poll_shutdown(cx),
        }
    }
}

impl Counted {
    pub(crate) fn new(socket: impl Into<Socket>, meter: Arc<Meter>) -> Self {
        Self { socket: socket.into(), meter, stays_open: false }
    }

    /// From now on a shutdown closes nothing.
    pub(crate) fn stay_open(&mut self) {
        self.stays_open = true;
    }

    /// Takes the socket out; what is left is at its end. `None` if the connection is closed.
    pub(crate) fn take(&mut self) -> Option<Self> {
        if self.meter.is_at_end() {
            return None;
        }
        let nothing = Self::new(Socket::carried(tokio::io::empty()), Arc::default());
        Some(Self { stays_open: false, ..std::mem::replace(self, nothing) })
    }

    fn note_write(&self, result: &Poll<io::Result<usize>>) {
        self.meter.write_blocked(result.is_pending());
        match result {
            Poll::Ready(Ok(bytes)) => self.meter.wrote(*bytes),
            Poll::Ready(Err(error)) => self.meter.broke(error),
            Poll::Pending => {}
        }
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining();
        match ready!(Pin::new(&mut self.socket).poll_read(cx, buf)) {
            Ok(()) => {
                let bytes = buf.filled().len() - before;
                self.meter.read(bytes);
                if bytes == 0 && room > 0 {
                    self.meter.peer_closed();
                }
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                self.meter.broke(&error);
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.note_write(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.note_write(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stays_open {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let mut result = ready!(match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Io::Tls(session) => session.as_mut().poll_read(cx, buf),
        });
        let meter = self.ender.handle().meter();
        // TLS ends with its own close message, after which the library does not read the socket again. If the socket
        // ends without one, anybody may have ended it (RFC 8446, section 6.1), but the library reports it as a normal
        // end.
        let ended = result.is_ok() && room > 0 && buf.filled().len() == before;
        if ended && matches!(self.io, Io::Tls(_)) && meter.is_at_end() {
            result = Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the peer closed the connection without ending TLS: the data may be incomplete",
            ));
        }
        match &result {
            Ok(()) if buf.filled().len() > before => meter.heard(),
            Ok(()) => {}
            // Also for errors that are not the socket's, for example a TLS alert.
            Err(error) => meter.broke(error),
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Io::Tls(session) => session.as_mut().poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_write_vectored(cx, bufs),
            Io::Tls(session) => session.as_mut().poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        matches!(&self.io, Io::Plain(_))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Io::Tls(session) => session.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Before TLS writes its close message.
        self.ender.handle().meter().shut_down();
        match &mut self.io {
            Io::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Io::Tls(session) => session.as_mut().poll_shutdown(cx),
        }
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("id", &self.id()).finish_non_exhaustive()
    }
}
