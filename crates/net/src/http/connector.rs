//! Dials connections for the HTTP client's pool.

use super::shown::ShownUrl;
use crate::{DialRequest, Net, ProxyChoice, Stream, TlsProfile};
use ::http::Uri;
use futures::future::BoxFuture;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use model::{ConnectionId, Error, ErrorKind, Protocol, Purpose, Result, Security};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

/// The connection that carried an exchange; in the extensions of each answer.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The connection's id in the records.
    pub id: ConnectionId,
    /// The address at the other end of the socket (the proxy's, if there is one).
    pub remote: Option<SocketAddr>,
    /// The local address.
    pub local: Option<SocketAddr>,
    /// How it is protected.
    pub security: Security,
}

/// What the client stores with each pooled connection.
#[derive(Clone)]
pub(super) struct Carrier {
    pub(super) info: ConnectionInfo,
    pub(super) handle: crate::ConnectionHandle,
}

/// Dials for one pool.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) net: Net,
    pub(super) endpoint: Option<String>,
    pub(super) protocol: Protocol,
    pub(super) purpose: Purpose,
    pub(super) tls: Option<TlsProfile>,
    pub(super) proxy: ProxyChoice,
    pub(super) timeout: Duration,
    pub(super) keep_alive: Option<Duration>,
}

impl Connector {
    async fn dial(self, uri: Uri) -> Result<PooledStream> {
        let (host, port, tls) = target(&uri, self.tls)?;
        let request = DialRequest {
            endpoint: self.endpoint,
            protocol: self.protocol,
            purpose: self.purpose,
            host,
            port,
            tls,
            proxy: self.proxy,
            timeout: self.timeout,
            keep_alive: self.keep_alive,
            control: None,
        };
        let stream = self.net.dial(&request).await?;
        stream.handle().meter().carries_exchanges();
        Ok(PooledStream(TokioIo::new(stream)))
    }
}

/// The host, port and TLS of a URL.
fn target(uri: &Uri, tls: Option<TlsProfile>) -> Result<(String, u16, Option<TlsProfile>)> {
    let wrong = |advice: &'static str| {
        Error::permanent(ErrorKind::ConfigInvalid, "send an HTTP request")
            .with("url", ShownUrl(uri))
            .advice(advice)
    };
    let host = uri.host().ok_or_else(|| wrong("the URL has no host"))?;
    let (port, tls) = match uri.scheme_str() {
        Some("http") => (80, None),
        Some("https") => (443, Some(tls.ok_or_else(|| wrong("https is not set up for this connection"))?)),
        _ => return Err(wrong("the URL must begin with http:// or https://")),
    };
    Ok((host.to_owned(), uri.port_u16().unwrap_or(port), tls))
}

impl tower::Service<Uri> for Connector {
    type Response = PooledStream;
    type Error = DialError;
    type Future = BoxFuture<'static, Result<PooledStream, DialError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.clone();
        Box::pin(async move { connector.dial(uri).await.map_err(DialError::new) })
    }
}

/// Carries an [`Error`] of Waybill through the HTTP library, which shows causes but does not return them.
#[derive(Clone, Debug)]
pub(super) struct DialError {
    text: String,
    error: Arc<Mutex<Option<Error>>>,
}

impl DialError {
    fn new(error: Error) -> Self {
        Self { text: error.to_string(), error: Arc::new(Mutex::new(Some(error))) }
    }

    pub(super) fn take(&self) -> Option<Error> {
        crate::connection::lock(&self.error).take()
    }
}

impl std::fmt::Display for DialError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DialError {}

/// A connection as the pool holds it.
pub(super) struct PooledStream(TokioIo<Stream>);

impl Connection for PooledStream {
    fn connected(&self) -> Connected {
        let handle = self.0.inner().handle();
        let info = ConnectionInfo {
            id: handle.id(),
            remote: handle.remote(),
            local: handle.local(),
            security: handle.security(),
        };
        // The proxy's tunnel is transparent: requests keep their origin form.
        Connected::new().extra(info.clone()).extra(Carrier { info, handle })
    }
}

impl Read for PooledStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for PooledStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
