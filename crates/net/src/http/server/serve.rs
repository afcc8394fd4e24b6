//! One accepted connection from its handshake to its end.

use super::handler::PeerInfo;
use super::limits::ServerLimits;
use super::routes::{Registered, Routes, asked_host, without_port};
use super::unfold::Unfold;
use crate::connection::ConnectionHandle;
use crate::http::Body;
use crate::http::outcome::{Watched, find};
use crate::http::pace::Pace;
use crate::http::shown::shown_path;
use crate::meter::Meter;
use crate::record::{Opened, Place};
use crate::stream::{Counted, Io, Stream};
use crate::{Net, ServerTls, socket, tls};
use ::http::header::{CONNECTION, CONTENT_TYPE};
use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use model::{ConnectionId, ConnectionOpened, Direction, Error, PeerText, Result, Security};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// A socket that was just accepted, with all it needs.
pub(super) struct Accepted {
    pub(super) net: Net,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) tls: Option<ServerTls>,
    pub(super) routes: Arc<Routes>,
    pub(super) stopping: CancellationToken,
    pub(super) socket: TcpStream,
    pub(super) remote: SocketAddr,
    pub(super) place: Place,
}

/// Serves the connection until it ends or is cut.
pub(super) async fn serve(accepted: Accepted, cutting: CancellationToken) {
    let Accepted { net, limits, tls, routes, stopping, socket, remote, place } = accepted;
    let (protocol, purpose) = routes.default_use();
    let local = socket.local_addr().ok().map(plain_address);
    let remote = plain_address(remote);
    let meter = Arc::new(Meter::default());
    let record = ConnectionOpened {
        id: ConnectionId::new(net.new_id()),
        at: net.now(),
        node: net.node().clone(),
        direction: Direction::Inbound,
        protocol,
        purpose,
        endpoint: None,
        host: None,
        remote: Some(remote),
        local,
        proxy: None,
        security: Security::None,
    };
    let opened = Opened { record, weakened: Vec::new() };
    let (handle, ender) = ConnectionHandle::new(
        opened,
        net.clock().clone(),
        net.recorder().log().clone(),
        meter.clone(),
        place,
    );
    if let Err(error) = socket::prepare(&socket) {
        handle.fail(format!("the socket's options cannot be set: {error}"));
        return;
    }
    let Some(local) = local else {
        handle.fail("the socket has no address");
        return;
    };
    let counted = Counted::new(socket, meter);
    let io = match protect(tls.as_ref(), counted, &handle, limits.handshake_timeout).await {
        Ok(io) => io,
        Err(error) => {
            handle.fail(error);
            return;
        }
    };
    let peer = PeerInfo { connection: handle.id(), remote, local, security: handle.security() };
    let exchange = Arc::new(Exchange { handle, peer, routes, limits, state: Activity::default() });
    run(Stream::new(io, ender), exchange, stopping, cutting).await;
}

/// IPv4 in its own form, also when it came in on an IPv6 address.
fn plain_address(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn protect(
    tls: Option<&ServerTls>,
    socket: Counted,
    handle: &ConnectionHandle,
    time: Duration,
) -> std::result::Result<Io, String> {
    let Some(tls) = tls else { return Ok(Io::Plain(socket)) };
    match timeout(time, tls::accept(tls, socket)).await {
        Ok(Ok((session, security, name))) => {
            handle.set_security(security);
            if let Some(name) = name {
                handle.asked_for(name.as_bytes());
            }
            Ok(Io::Tls(session))
        }
        Ok(Err(error)) => Err(error.chain()),
        Err(_) => Err(format!("no TLS handshake within {} s", time.as_secs_f64())),
    }
}

async fn run(
    stream: Stream,
    exchange: Arc<Exchange>,
    stopping: CancellationToken,
    cutting: CancellationToken,
) {
    let limits = exchange.limits.clone();
    let handle = exchange.handle.clone();
    let stream = Unfold::new(stream, limits.header_bytes);
    let folded = stream.folded();
    let service = {
        let exchange = exchange.clone();
        service_fn(move |request| {
            let (exchange, folded) = (exchange.clone(), folded.clone());
            async move { exchange.answer(request, &folded).await }
        })
    };
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // Both times are watched below, each by its own rule; this one counts them together.
        .header_read_timeout(limits.header_timeout + limits.idle_timeout)
        .max_header_size(limits.header_bytes)
        .max_buf_size(limits.header_bytes.max(128 * 1024))
        .max_headers(limits.header_count)
        // See `Handler`: who has sent a whole request and closed its side still gets its answer.
        .half_close(true)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    let mut watch = pin!(exchange.watch());
    let mut stopped = pin!(stopping.cancelled_owned());
    let mut cut = pin!(cutting.cancelled_owned());
    let mut ending = false;
    loop {
        tokio::select! {
            result = &mut connection => {
                if let Err(error) = result {
                    exchange.unread(&error);
                    if exchange.is_idle() && find::<std::io::Error>(&error).is_some() {
                        // All its requests had been answered, however rudely the client leaves.
                        handle.closing(format!("ended by the peer while idle: {}", describe(&error)));
                    } else {
                        handle.fail(describe(&error));
                    }
                }
                return;
            }
            late = &mut watch => {
                match late {
                    Late::Idle => handle.closing("idle for too long"),
                    Late::Failed(why) => handle.fail(why),
                }
                return;
            }
            () = &mut stopped, if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
                handle.closing("the server stopped");
            }
            () = &mut cut => {
                handle.fail("cut at the end of the server's time to stop");
                return;
            }
        }
    }
}

fn describe(error: &hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// What a connection is at, for the one who watches its times.
#[derive(Default)]
struct Activity {
    /// Requests whose answer is not written yet: 0 or 1.
    under_way: AtomicUsize,
    /// Counts requests, so that the watcher sees that one came and went between two looks.
    served: AtomicUsize,
    recorded: AtomicBool,
}

enum Late {
    Idle,
    Failed(&'static str),
}

struct Exchange {
    handle: ConnectionHandle,
    peer: PeerInfo,
    routes: Arc<Routes>,
    limits: Arc<ServerLimits>,
    state: Activity,
}

impl Exchange {
    /// Answers one request. An error closes the connection without an answer.
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        folded: &AtomicBool,
    ) -> Result<Response<UnderWay>, NoAnswer> {
        let under_way = Guard::new(self.clone());
        let host = asked_host(request.uri(), request.headers());
        let found = self.routes.find(host.map(without_port), request.uri().path());
        if !self.state.recorded.swap(true, Ordering::Relaxed) {
            if let Some(host) = host {
                self.handle.asked_for(host.as_bytes());
            }
            if let Some(found) = &found {
                let route = &found.route;
                self.handle.belongs_to(route.protocol, route.purpose, route.endpoint.clone());
            }
            self.handle.record_opened().await.map_err(|error| self.no_answer(&error))?;
        }
        self.handle.request();
        let path = PeerText::from(shown_path(request.uri().path()).as_str());
        let mut answer = match found {
            Some(found) => self.handled(&found, request).await?,
            None => plain(StatusCode::NOT_FOUND, "There is nothing at this address.\n"),
        };
        if answer.status().is_client_error() || answer.status().is_server_error() {
            self.refused(answer.status(), path.as_str());
        }
        if folded.swap(false, Ordering::Relaxed) {
            // Only a connection's first head is unfolded: whoever folds gets a new one each time.
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(answer.map(|body| UnderWay { body, _guard: under_way }))
    }

    async fn handled(
        &self,
        found: &Registered,
        request: Request<Incoming>,
    ) -> Result<Response<Body>, NoAnswer> {
        let idle = self.limits.body_idle_timeout;
        let pace = Pace::new(self.limits.body_grace, self.limits.body_bytes_per_second);
        let mut request = request.map(|body| {
            let watched = Watched::new(body, idle, "receive a request's body", self.handle.clone());
            Body::wrap(watched.at(pace))
        });
        request.extensions_mut().insert(self.peer.clone());
        let handling = found.handler.handle(request, self.peer.clone());
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.no_answer(&error)),
            Err(_) => {
                tracing::error!(connection = %self.peer.connection, "a handler panicked");
                let mut answer = plain(StatusCode::INTERNAL_SERVER_ERROR, "Something went wrong here.\n");
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                Ok(answer)
            }
        }
    }

    /// A request was refused: on record with the connection, and for whoever reads the log.
    fn refused(&self, status: StatusCode, path: &str) {
        self.handle.meter().refused(status.as_u16());
        let (connection, remote) = (self.peer.connection, self.peer.remote);
        tracing::info!(%connection, %remote, status = status.as_u16(), path, "a request was refused");
    }

    /// The same of a request whose head the library could not read, and answered by itself.
    fn unread(&self, error: &hyper::Error) {
        if error.is_parse_too_large() {
            self.refused(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "");
        } else if error.is_parse() {
            self.refused(StatusCode::BAD_REQUEST, "");
        }
    }

    /// Whether it has answered whatever was asked, at least one request.
    fn is_idle(&self) -> bool {
        let (asked, under_way) = (&self.state.served, &self.state.under_way);
        asked.load(Ordering::Relaxed) > 0 && under_way.load(Ordering::Relaxed) == 0
    }

    fn no_answer(&self, error: &Error) -> NoAnswer {
        self.handle.fail(error.chain());
        NoAnswer
    }

    /// Resolves when the client is late with what it owes.
    async fn watch(&self) -> Late {
        let limits = &self.limits;
        let meter = self.handle.meter();
        let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.write_timeout);
        let tick = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        // A new connection owes its first head.
        let mut head_since = Some(Instant::now());
        let mut quiet_since = Instant::now();
        let mut heard = meter.bytes_in();
        let mut served = 0;
        let mut written = (meter.bytes_out(), Instant::now());
        loop {
            tokio::time::sleep(tick).await;
            let now = Instant::now();
            if meter.bytes_out() != written.0 || !meter.is_write_blocked() {
                written = (meter.bytes_out(), now);
            } else if now - written.1 > limits.write_timeout {
                return Late::Failed("the client does not take its answer");
            }
            let count = self.state.served.load(Ordering::Relaxed);
            if self.state.under_way.load(Ordering::Relaxed) > 0 || count != served {
                (head_since, quiet_since, heard, served) = (None, now, meter.bytes_in(), count);
                continue;
            }
            if meter.bytes_in() != heard && head_since.is_none() {
                head_since = Some(now);
            }
            match head_since {
                Some(since) if now - since > limits.header_timeout => {
                    return Late::Failed("the request's head did not come in time");
                }
                None if now - quiet_since > limits.idle_timeout => return Late::Idle,
                _ => {}
            }
        }
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut answer = Response::new(Body::bytes(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// Closes a connection without an answer; the reason is noted already.
#[derive(Debug)]
struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer may be given")
    }
}

impl std::error::Error for NoAnswer {}

/// Counts a request as under way until its answer's body is gone.
struct Guard(Arc<Exchange>);

impl Guard {
    fn new(exchange: Arc<Exchange>) -> Self {
        exchange.state.under_way.fetch_add(1, Ordering::Relaxed);
        exchange.state.served.fetch_add(1, Ordering::Relaxed);
        Self(exchange)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body that keeps its request under way.
struct UnderWay {
    body: Body,
    _guard: Guard,
}

impl HttpBody for UnderWay {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
