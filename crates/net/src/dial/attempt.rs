//! One attempt to connect, from the name to the record: whatever becomes of it is recorded.

use super::{DialRequest, bare};
use crate::connection::ConnectionHandle;
use crate::dialling::Dialling;
use crate::meter::Meter;
use crate::proxy;
use crate::record::{Ending, Opened, Place};
use crate::stream::{Counted, Io, Socket, Stream};
use crate::tls::{self, TlsProfile};
use crate::{Net, socket};
use model::{
    ConnectionFailed, ConnectionId, ConnectionOpened, Direction, Error, ErrorKind, PeerText, Proxy, Result,
    Retry, Security, Step, Timestamp,
};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// An attempt that has no socket yet. If it is dropped (the caller gave up), it is recorded as failed.
pub(super) struct Attempt<'a> {
    net: &'a Net,
    request: &'a DialRequest,
    proxy: Option<Arc<Proxy>>,
    /// The connection that carries this one.
    carrier: Option<ConnectionHandle>,
    /// Whether the egress rules apply to the proxy's own address.
    judge_proxy: bool,
    pub(super) id: ConnectionId,
    at: Timestamp,
    since: Instant,
    tried: Option<SocketAddr>,
    place: Option<Place>,
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.end(PeerText::from("cancelled before the connection was established"));
    }
}

impl<'a> Attempt<'a> {
    pub(super) fn new(net: &'a Net, request: &'a DialRequest, place: Place) -> Self {
        let (proxy, named_by_owner) = net.proxy(&request.proxy).unzip();
        let judge_proxy = !named_by_owner.unwrap_or_default();
        let mut attempt = Self::begin(net, request, place);
        (attempt.proxy, attempt.judge_proxy) = (proxy, judge_proxy);
        attempt
    }

    /// An attempt over another connection, whose other side finds the host's address.
    pub(super) fn over(
        carrier: ConnectionHandle,
        net: &'a Net,
        request: &'a DialRequest,
        place: Place,
    ) -> Self {
        let mut attempt = Self::begin(net, request, place);
        (attempt.tried, attempt.carrier) = (carrier.remote(), Some(carrier));
        attempt
    }

    fn begin(net: &'a Net, request: &'a DialRequest, place: Place) -> Self {
        Self {
            net,
            request,
            proxy: None,
            carrier: None,
            judge_proxy: true,
            id: ConnectionId::new(net.new_id()),
            at: net.now(),
            since: Instant::now(),
            tried: None,
            place: Some(place),
        }
    }

    pub(super) fn fail(&mut self, error: &Error) {
        self.end(PeerText::new(error.chain().as_bytes()));
    }

    fn end(&mut self, error: PeerText) {
        let Some(place) = self.place.take() else { return };
        place.end(Ending::Failed(Box::new(ConnectionFailed {
            id: self.id,
            at: self.at,
            node: self.net.node().clone(),
            protocol: self.request.protocol,
            purpose: self.request.purpose,
            endpoint: self.request.endpoint.clone(),
            host: PeerText::new(self.request.target().as_bytes()),
            remote: self.tried,
            proxy: self.proxy_address(),
            duration: self.since.elapsed(),
            error,
        })));
    }

    fn proxy_address(&self) -> Option<String> {
        let carrier = || self.carrier.as_ref().and_then(ConnectionHandle::host);
        self.proxy.as_ref().map(|proxy| proxy.address()).or_else(carrier)
    }

    fn error(&self, kind: ErrorKind, retry: Retry, act: Dialling) -> Error {
        let error = act.error(kind, retry).with("host", self.request.target());
        match &self.proxy {
            Some(proxy) => error.with("proxy", proxy),
            None => error,
        }
    }

    /// The steps before there is a socket to the host or to its proxy.
    fn connecting(&self) -> Dialling {
        if self.proxy.is_some() { Dialling::ConnectProxy } else { Dialling::Connect }
    }

    /// Connects to the first of the host's addresses (or the proxy's, if there is one) that accepts.
    pub(super) async fn socket(&mut self, deadline: Instant) -> Result<TcpStream> {
        let request = self.request;
        let proxy = self.proxy.clone();
        let (host, port) = match &proxy {
            None => (request.bare_host(), request.port),
            Some(proxy) => {
                self.judge_behind_proxy()?;
                (bare(&proxy.host), proxy.port)
            }
        };
        let mut addresses = self.resolve(host, port, deadline).await?;
        let mut refused = None;
        let judged = proxy.is_none() || self.judge_proxy;
        addresses.retain(|address| match self.judge(*address) {
            _ if !judged => true,
            Ok(()) => true,
            Err(error) => {
                refused = Some((*address, error));
                false
            }
        });
        let mut last = match refused {
            Some((address, error)) if addresses.is_empty() => {
                self.tried = Some(address);
                return Err(error);
            }
            _ => None,
        };
        let count = addresses.len();
        for (place, address) in addresses.into_iter().enumerate() {
            self.tried = Some(address);
            let left = deadline.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(count - place).unwrap_or(1);
            match timeout_at(Instant::now() + share, socket::connect(address, request.keep_alive)).await {
                Ok(Ok(socket)) => return Ok(socket),
                Ok(Err(cause)) => last = Some(self.explain(address, cause)),
                Err(_) => {
                    last = Some(
                        self.error(ErrorKind::Timeout, Retry::Transient, self.connecting())
                            .with("address", address)
                            .with("waited", format!("{:.1} s", share.as_secs_f64()))
                            .advice("no answer: check the address, and firewalls between here and there"),
                    );
                }
            }
        }
        Err(last.unwrap_or_else(|| self.error(ErrorKind::Unreachable, Retry::Transient, self.finding())))
    }

    fn finding(&self) -> Dialling {
        if self.proxy.is_some() { Dialling::FindProxy } else { Dialling::FindHost }
    }

    async fn resolve(&self, host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>> {
        let failed = |kind| self.error(kind, Retry::Transient, self.finding());
        let addresses = match timeout_at(deadline, self.net.resolver().resolve(host, port)).await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(cause)) => {
                // The resolver's error has no code, only text.
                let unanswered = cause.to_string().contains("Temporary failure");
                let error = failed(ErrorKind::Unreachable).caused_by(cause);
                return Err(if unanswered {
                    error.advice("no name server answered: check this machine's resolver and network")
                } else {
                    error.advice("this name does not exist: check the spelling of the host")
                });
            }
            Err(_) => {
                return Err(failed(ErrorKind::Timeout)
                    .advice("no name server answered in time: check this machine's resolver and network"));
            }
        };
        if addresses.is_empty() {
            return Err(failed(ErrorKind::Unreachable).advice("the name has no address"));
        }
        Ok(addresses)
    }

    fn judge(&self, address: SocketAddr) -> Result<()> {
        match self.net.egress().forbids(address.ip()) {
            None => Ok(()),
            Some(why) => Err(self
                .error(ErrorKind::PermissionDenied, Retry::Permanent, Dialling::Connect)
                .with("address", address)
                .with("reason", why)
                .advice("nothing was sent; to allow this address, change [egress] in waybill.toml")),
        }
    }

    /// The proxy, or the jump host, resolves the host. What can be checked here: an address in any text form that resolvers accept
    /// ("2852039166" is 169.254.169.254), and the names of metadata services.
    pub(super) fn judge_behind_proxy(&self) -> Result<()> {
        let host = self.request.bare_host();
        let written = match url::Host::parse(host) {
            Ok(url::Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            _ => host.parse().ok(),
        };
        if let Some(address) = written {
            return self.judge(SocketAddr::new(address, self.request.port));
        }
        match self.net.egress().forbids_name(host) {
            None => Ok(()),
            Some(why) => Err(self
                .error(ErrorKind::PermissionDenied, Retry::Permanent, Dialling::Connect)
                .with("reason", why)
                .advice(
                    "nothing was sent: egress rules refuse this address, and a proxy or jump host is no way around them",
                )),
        }
    }

    fn explain(&self, address: SocketAddr, cause: io::Error) -> Error {
        let error = |kind| self.error(kind, Retry::Transient, self.connecting()).with("address", address);
        match cause.kind() {
            io::ErrorKind::ConnectionRefused if self.proxy.is_some() => error(ErrorKind::Unreachable).advice(
                "the proxy refused the connection: check that it is running and listens on this port",
            ),
            io::ErrorKind::ConnectionRefused => error(ErrorKind::Unreachable).advice(
                "the host refused the connection: check that the server is running and listens on this port",
            ),
            io::ErrorKind::TimedOut => error(ErrorKind::Timeout)
                .advice("no answer: check the address, and firewalls between here and there"),
            io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
                error(ErrorKind::Unreachable)
                    .advice("there is no route to the address: check this machine's network and routes")
            }
            _ => error(ErrorKind::Unreachable),
        }
        .caused_by(cause)
    }

    /// From here on there is a socket, so its opening and end are recorded.
    pub(super) async fn protect(mut self, socket: Socket, deadline: Instant) -> Result<Stream> {
        let request = self.request;
        let meter = Arc::new(Meter::default());
        let record = ConnectionOpened {
            id: self.id,
            at: self.net.now(),
            node: self.net.node().clone(),
            direction: Direction::Outbound,
            protocol: request.protocol,
            purpose: request.purpose,
            endpoint: request.endpoint.clone(),
            host: Some(PeerText::new(request.target().as_bytes())),
            remote: socket.tcp().and_then(|socket| socket.peer_addr().ok()).or(self.tried),
            local: socket.tcp().and_then(|socket| socket.local_addr().ok()),
            proxy: self.proxy_address(),
            security: Security::None,
            control: request.control,
            through: self.carrier.as_ref().map(ConnectionHandle::id),
        };
        let weakened = request.tls.iter().filter_map(TlsProfile::weakened).collect();
        let Some(place) = self.place.take() else {
            return Err(Error::transient(ErrorKind::Internal, "record a connection")
                .with("host", self.request.target()));
        };
        let (handle, ender) = ConnectionHandle::new(
            Opened { record, weakened },
            self.net.clock().clone(),
            self.net.recorder().log().clone(),
            meter.clone(),
            place,
        );
        let result = self.tunnel_and_tls(Counted::new(socket, meter), &handle, deadline).await;
        match result {
            Ok(io) => Ok(Stream::new(io, ender)),
            Err(error) => {
                let error = match handle.remote() {
                    Some(remote) => error.with("address", remote),
                    None => error,
                };
                handle.fail(error.chain());
                Err(error.on_connection(self.id))
            }
        }
    }

    async fn tunnel_and_tls(
        &self,
        mut socket: Counted,
        handle: &ConnectionHandle,
        deadline: Instant,
    ) -> Result<Io> {
        let request = self.request;
        let late = |act, advice| {
            self.error(ErrorKind::Timeout, Retry::Transient, act)
                .with("waited", format!("{:.1} s", request.timeout.as_secs_f64()))
                .advice(advice)
        };
        if let Some(proxy) = &self.proxy {
            let text = request.target();
            let target = proxy::Target { host: request.bare_host(), port: request.port, text: &text };
            timeout_at(deadline, proxy::open_tunnel(proxy, target, &mut socket)).await.unwrap_or_else(|_| {
                let advice = "the proxy accepted the connection but did not answer; perhaps it cannot reach \
                    the host: check the host and the proxy's log";
                Err(late(Dialling::Tunnel, advice))
            })?;
        }
        let Some(profile) = &request.tls else { return Ok(Io::Plain(socket)) };
        let handshake = tls::handshake(profile, request.bare_host(), None, socket);
        let shaken = timeout_at(deadline, handshake).await.unwrap_or_else(|_| {
            let advice =
                "the server accepted the connection but did not answer; check that it uses TLS on this port";
            Err(late(Dialling::Tls, advice))
        });
        let (session, security) = shaken.map_err(|error| error.at_step(Step::Tls))?;
        handle.set_security(security);
        Ok(Io::Tls(session))
    }
}
