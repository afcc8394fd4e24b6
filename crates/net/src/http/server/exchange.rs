//! The requests of one accepted connection, and their answers.

use super::forwarded::{Client, TrustedProxies};
use super::handler::{PeerInfo, Unserved};
use super::limits::ServerLimits;
use super::malformed::malformed;
use super::obs_fold::Folded;
use super::open_connections::Slot;
use super::routes::{Registered, Routes, asked_host, without_port};
use super::standby::Standby;
use super::unread_body::{Lender, lend};
use super::watch::Activity;
use crate::connection::ConnectionHandle;
use crate::http::Body;
use crate::http::outcome::Watched;
use crate::http::pace::Pace;
use crate::http::shown::shown_path;
use ::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderValue, Request, Response, StatusCode};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use model::{Error, PeerText, Result};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

/// A connection's requests, one after the other.
pub(super) struct Exchange {
    pub(super) handle: ConnectionHandle,
    /// The address at the other end of the socket.
    pub(super) peer: PeerInfo,
    pub(super) routes: Arc<Routes>,
    pub(super) limits: Arc<ServerLimits>,
    pub(super) proxies: Arc<TrustedProxies>,
    pub(super) slot: Slot,
    pub(super) state: Activity,
}

impl Exchange {
    /// Answers one request. An error closes the connection without an answer.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        folded: &Folded,
    ) -> Result<Response<UnderWay>, NoAnswer> {
        let under_way = Guard::new(self.clone());
        let folded = folded.take();
        let first = !self.state.recorded.swap(true, Ordering::Relaxed);
        let (peer, refusal) = self.sender(&request, first);
        let host = asked_host(request.uri(), request.headers());
        let malformed = malformed(&request);
        let found = self.routes.find(host.map(without_port), request.uri().path());
        if first {
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
        self.slot.counts().requests.fetch_add(1, Ordering::Relaxed);
        let path = PeerText::from(shown_path(request.uri().path()).as_str());
        let mut answer = if let Some(why) = malformed {
            // It is uncertain where requests begin and end, so nothing that follows on the connection is read.
            closing(plain(StatusCode::BAD_REQUEST, why))
        } else if let Some(refusal) = refusal {
            let answer = refusal.answer();
            self.unserved(answer.status(), path.as_str(), &peer).await;
            answer
        } else {
            let (mut request, lender) = lend(request.map(|body| self.watched(body)));
            if let Some(folded) = &folded {
                request.extensions_mut().insert(folded.clone());
            }
            let answer = match found {
                Some(found) => self.handled(&found, request, peer.clone()).await?,
                None => {
                    drop(request);
                    self.unserved(StatusCode::NOT_FOUND, path.as_str(), &peer).await;
                    plain(StatusCode::NOT_FOUND, "There is no page at this address.\n")
                }
            };
            self.drain(lender).await;
            answer
        };
        if answer.status().is_client_error() || answer.status().is_server_error() {
            self.refused(&peer, answer.status(), path.as_str());
        }
        if folded.is_some() {
            // Only a connection's first head is unfolded, so a client that folds lines gets a new connection for each
            // request.
            answer = closing(answer);
        }
        Ok(answer.map(|body| UnderWay { body, _guard: under_way }))
    }

    /// The client of a request: the peer, or a client behind it; or why the request is refused.
    fn sender(&self, request: &Request<Incoming>, first: bool) -> (PeerInfo, Option<Refusal>) {
        let mut peer = self.peer.clone();
        match self.proxies.client(peer.remote, request.headers()) {
            Client::Peer => (peer, None),
            Client::Behind(client) => {
                let proxy = peer.proxy.unwrap_or(peer.remote);
                (peer.remote, peer.proxy) = (client, Some(proxy));
                if first {
                    self.handle.came_through(proxy, client);
                }
                // If a proxy names no client, its clients are unknown.
                let full = !self.proxies.trusts(client.ip()) && self.slot.counts_for(client).is_err();
                (peer, full.then_some(Refusal::TooMany))
            }
            Client::Unclear(why) => {
                if self.slot.counts().may_warn(self.limits.report_every) {
                    tracing::warn!(
                        connection = %peer.connection, proxy = %peer.remote, why,
                        "a trusted proxy sent two headers that name different clients, so the request is \
                        refused: set listen.proxy_header to the header that the proxy writes, and configure \
                        the proxy to remove the other one"
                    );
                }
                (peer, Some(Refusal::Unclear(why)))
            }
        }
    }

    fn watched(&self, body: Incoming) -> Watched {
        let limits = &self.limits;
        Watched::new(body, limits.body_idle_timeout, "receive a request's body", self.handle.clone())
            .at(Pace::new(limits.body_grace, limits.body_bytes_per_second))
    }

    async fn handled(
        self: &Arc<Self>,
        found: &Registered,
        mut request: Request<Body>,
        peer: PeerInfo,
    ) -> Result<Response<Body>, NoAnswer> {
        request.extensions_mut().insert(peer.clone());
        request.extensions_mut().insert(Standby(Arc::clone(self)));
        let handling = found.handler.handle(request, peer);
        match AssertUnwindSafe(handling).catch_unwind().await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.no_answer(&error)),
            Err(_) => {
                tracing::error!(connection = %self.peer.connection, "a request handler panicked");
                Ok(closing(plain(StatusCode::INTERNAL_SERVER_ERROR, "An internal error occurred.\n")))
            }
        }
    }

    /// Reads what the handler left of the body. In the meantime the connection may be closed to make room.
    async fn drain(self: &Arc<Self>, lender: Lender) {
        if let Some(left) = lender.unread() {
            let _waits = Standby(Arc::clone(self)).waits();
            left.drain().await;
        }
    }

    /// Records and logs a refused request.
    fn refused(&self, peer: &PeerInfo, status: StatusCode, path: &str) {
        self.handle.meter().refused(status.as_u16());
        self.slot.counts().requests_refused.fetch_add(1, Ordering::Relaxed);
        let (connection, remote) = (peer.connection, peer.address());
        tracing::info!(%connection, remote, status = status.as_u16(), path, "a request was refused");
    }

    /// The same for a request whose head the library could not read and has answered itself.
    pub(super) async fn unread(&self, error: &hyper::Error) {
        let status = if error.is_parse_too_large() {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
        } else if error.is_parse() {
            StatusCode::BAD_REQUEST
        } else {
            return;
        };
        self.refused(&self.peer, status, "");
        self.unserved(status, "", &self.peer).await;
    }

    /// Tells this address's handlers about a request that reached none of them.
    async fn unserved(&self, status: StatusCode, path: &str, peer: &PeerInfo) {
        for handler in self.routes.handlers() {
            handler.unserved(Unserved { status, path, peer }).await;
        }
    }

    /// Whether it has answered every request, at least one.
    pub(super) fn is_idle(&self) -> bool {
        self.state.served.load(Ordering::Relaxed) > 0 && !self.is_at_work()
    }

    /// Whether a request is being answered.
    pub(super) fn is_at_work(&self) -> bool {
        self.state.under_way.load(Ordering::Relaxed) > 0
    }

    /// Whether its request waits for others, or its rest is only being read.
    pub(super) fn is_waiting(&self) -> bool {
        self.state.waiting.load(Ordering::Relaxed) > 0
    }

    fn no_answer(&self, error: &Error) -> NoAnswer {
        self.handle.fail(error.chain());
        NoAnswer
    }
}

/// Why a request is refused because of its client.
enum Refusal {
    /// The client cannot be determined.
    Unclear(&'static str),
    /// Its client has as many running requests as allowed.
    TooMany,
}

impl Refusal {
    fn answer(self) -> Response<Body> {
        match self {
            Self::Unclear(why) => closing(plain(StatusCode::BAD_REQUEST, format!("{why}.\n"))),
            Self::TooMany => {
                let text = "Too many requests from this client are running: try again later.\n";
                let mut answer = closing(plain(StatusCode::TOO_MANY_REQUESTS, text));
                answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
                answer
            }
        }
    }
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::bytes(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn closing(mut answer: Response<Body>) -> Response<Body> {
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// Closes a connection without an answer; the reason is already noted.
#[derive(Debug)]
pub(super) struct NoAnswer;

impl std::fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no answer may be given")
    }
}

impl std::error::Error for NoAnswer {}

/// Counts a request as running until its answer's body is dropped.
struct Guard(Arc<Exchange>);

impl Guard {
    fn new(exchange: Arc<Exchange>) -> Self {
        exchange.state.under_way.fetch_add(1, Ordering::Relaxed);
        exchange.state.served.fetch_add(1, Ordering::Relaxed);
        exchange.slot.at_work(true);
        Self(exchange)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.state.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.slot.at_work(false);
        self.0.slot.returned();
    }
}

/// An answer's body that keeps its request counted.
pub(super) struct UnderWay {
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
