//! Outbound connections: name resolution, egress rules, socket, proxy, TLS, record.

mod attempt;

use crate::Net;
use crate::connection::ConnectionHandle;
use crate::dialling::Dialling;
use crate::options::{ConnectProfile, ProxyChoice};
use crate::record::Place;
use crate::stream::{Carried, Socket, Stream};
use crate::tls::TlsProfile;
use attempt::Attempt;
use model::{ConnectionId, Error, ErrorKind, Protocol, Purpose, Result, Retry};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The target and purpose of a connection.
#[derive(Clone, Debug)]
pub struct DialRequest {
    /// The endpoint that the connection belongs to.
    pub endpoint: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The purpose.
    pub purpose: Purpose,
    /// A host name or an address; IPv6 with or without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS from the first byte; `None` for no TLS.
    pub tls: Option<TlsProfile>,
    /// The way out: direct or through a proxy.
    pub proxy: ProxyChoice,
    /// The time for everything together: name resolution, socket, proxy, TLS.
    pub timeout: Duration,
    /// TCP keepalive: after how much silence the peer is probed; `None` for never.
    pub keep_alive: Option<Duration>,
    /// For a data connection: the connection over which it was agreed on.
    pub control: Option<ConnectionId>,
}

impl DialRequest {
    /// A connection without TLS, from an endpoint's options.
    #[must_use]
    pub fn new(
        protocol: Protocol,
        purpose: Purpose,
        host: &str,
        port: u16,
        options: &ConnectProfile,
    ) -> Self {
        Self {
            endpoint: None,
            protocol,
            purpose,
            host: host.to_owned(),
            port,
            tls: None,
            proxy: options.proxy.clone(),
            timeout: options.connect_timeout,
            keep_alive: options.keep_alive,
            control: None,
        }
    }

    /// The host without brackets.
    fn bare_host(&self) -> &str {
        bare(&self.host)
    }

    /// The requested `host:port`, with brackets around an IPv6 address.
    pub(crate) fn target(&self) -> String {
        match self.bare_host() {
            host if host.contains(':') => format!("[{host}]:{}", self.port),
            host => format!("{host}:{}", self.port),
        }
    }
}

fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl Net {
    /// Connects. The returned stream is recorded as opened, with its TLS if any.
    ///
    /// Names are resolved here. Each address is checked by the egress rules; those that are allowed are tried one
    /// after the other, each with its share of the remaining time.
    ///
    /// # Errors
    /// `Unreachable` (unknown name, refused, no route, reset), `Timeout`, `PermissionDenied` (egress rules),
    /// `TrustFailed` and `Protocol` (TLS), `Busy` (too many connections), `Internal` (it could not be recorded).
    /// Each attempt is recorded.
    pub async fn dial(&self, request: &DialRequest) -> Result<Stream> {
        let stream = self.dial_deferred(request).await?;
        stream.handle().record_opened().await?;
        Ok(stream)
    }

    /// Connects for a protocol with its own protecting handshake (SSH). The caller does the handshake and then awaits
    /// [`ConnectionHandle::established`] before it uses the connection. If the stream is dropped before that, the
    /// connection is recorded as opened and failed.
    ///
    /// # Errors
    /// As [`Net::dial`].
    pub async fn dial_deferred(&self, request: &DialRequest) -> Result<Stream> {
        let deadline = Instant::now() + request.timeout;
        let mut attempt = Attempt::new(self, request, self.place_for(request, deadline).await?);
        match attempt.socket(deadline).await {
            Ok(socket) => attempt.protect(Socket::Tcp(socket), deadline).await,
            Err(error) => {
                attempt.fail(&error);
                Err(error.on_connection(attempt.id))
            }
        }
    }

    /// Connects over another connection: `open` has its other side, an SSH jump host, connect to the host, and returns the
    /// stream that leads there. Egress rules apply to the host as it is written. The connection has a record of its own,
    /// which names the other one and is completed as by [`Net::dial_deferred`]; the request's proxy plays no part.
    ///
    /// # Errors
    /// As [`Net::dial`], and those of `open`.
    pub async fn dial_over<S: Carried + 'static>(
        &self,
        carrier: &ConnectionHandle,
        request: &DialRequest,
        open: impl Future<Output = Result<S>>,
    ) -> Result<Stream> {
        let deadline = Instant::now() + request.timeout;
        let place = self.place_for(request, deadline).await?;
        let mut attempt = Attempt::over(carrier.clone(), self, request, place);
        let opened = match attempt.judge_behind_proxy() {
            Ok(()) => timeout_at(deadline, open).await.unwrap_or_else(|_| {
                Err(Dialling::Jump
                    .error(ErrorKind::Timeout, Retry::Transient)
                    .with("host", request.target())
                    .with("waited", format!("{:.1} s", request.timeout.as_secs_f64()))
                    .advice(
                        "the jump host did not say whether it reaches the host: check firewalls between both",
                    ))
            }),
            Err(error) => Err(error),
        };
        match opened {
            Ok(stream) => attempt.protect(Socket::carried(stream), deadline).await,
            Err(error) => {
                attempt.fail(&error);
                Err(error.on_connection(attempt.id))
            }
        }
    }

    async fn place_for(&self, request: &DialRequest, deadline: Instant) -> Result<Place> {
        match timeout_at(deadline, self.recorder().place()).await {
            Ok(Some(place)) => Ok(place.taken()),
            Ok(None) | Err(_) => Err(Error::transient(ErrorKind::Busy, "connect")
                .with("host", request.target())
                .advice("the process has reached its limit of connections, or cannot record connections")),
        }
    }
}
