//! The handlers of requests.

use crate::http::Body;
use ::http::{Request, Response, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use model::{ConnectionId, Error, ErrorKind, Result, Retry, Security};
use std::net::SocketAddr;
use tower::{Service, ServiceExt as _};

/// The peer of an accepted connection. Also in each request's extensions.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The connection's id in the records.
    pub connection: ConnectionId,
    /// The client's address: the peer's, or behind trusted proxies the last address that is not a trusted proxy's.
    /// Its port is 0 if a proxy does not report it.
    pub remote: SocketAddr,
    /// The trusted proxy that made the connection, if it named a client.
    pub proxy: Option<SocketAddr>,
    /// The local address.
    pub local: SocketAddr,
    /// How the connection is protected.
    pub security: Security,
}

impl PeerInfo {
    /// The client's address as text, without a port if it is unknown.
    #[must_use]
    pub fn address(&self) -> String {
        model::address_text(self.remote)
    }

    /// Whether it is protected by TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        matches!(self.security, Security::Tls { .. })
    }
}

/// Answers the requests of a route.
///
/// The body is read as it arrives. To refuse a request because of its head, return without reading the body: a client
/// that sent `Expect: 100-continue` is then refused before it sends the body (RFC 9110, section 10.1.1), because the
/// go-ahead is sent only when the body is first read. The connection is then closed.
///
/// The handler continues if the client disconnects: a completely received message can be recorded, so that a
/// repetition gets the same answer.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Answers one request. A panic gives the client a 500.
    ///
    /// # Errors
    /// No answer may be given (it is unknown whether the message was recorded): the connection is closed without an
    /// answer, and the error is its recorded reason.
    async fn handle(&self, request: Request<Body>, peer: PeerInfo) -> Result<Response<Body>>;

    /// Called for a request at its address that reached no handler, for example to record it. The server answers it.
    async fn unserved(&self, _: Unserved<'_>) {}
}

/// A request that reached no handler.
#[derive(Clone, Copy, Debug)]
pub struct Unserved<'a> {
    /// The status of its answer: 404 if no route has its path; 400 or 431 if its head could not be read.
    pub status: StatusCode,
    /// Its path, made safe; empty if the head could not be read.
    pub path: &'a str,
    /// Who sent it.
    pub peer: &'a PeerInfo,
}

/// Makes a [`Handler`] from a tower service, such as axum's router.
#[derive(Clone, Debug)]
pub struct TowerHandler<S>(S);

impl<S> TowerHandler<S> {
    /// Wraps the service; each request gets a clone of it.
    pub fn new(service: S) -> Self {
        Self(service)
    }
}

#[async_trait]
impl<S, B> Handler for TowerHandler<S>
where
    S: Service<Request<Body>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    async fn handle(&self, request: Request<Body>, _: PeerInfo) -> Result<Response<Body>> {
        match self.0.clone().oneshot(request).await {
            Ok(answer) => Ok(answer.map(Body::wrap)),
            Err(cause) => {
                Err(Error::new(ErrorKind::Internal, Retry::Transient, "answer a request").caused_by(cause))
            }
        }
    }
}
