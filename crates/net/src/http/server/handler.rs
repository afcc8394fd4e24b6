//! Who answers requests.

use crate::http::Body;
use ::http::{Request, Response, StatusCode};
use async_trait::async_trait;
use bytes::Bytes;
use model::{ConnectionId, Error, ErrorKind, Result, Retry, Security};
use std::net::SocketAddr;
use tower::{Service, ServiceExt as _};

/// The other side of an accepted connection. Also in each request's extensions.
#[derive(Clone, Debug)]
pub struct PeerInfo {
    /// The connection, as it is recorded.
    pub connection: ConnectionId,
    /// The client's address: the other side of the connection, or behind trusted proxies the last address
    /// that is none of theirs. Its port is 0 where a proxy does not tell it.
    pub remote: SocketAddr,
    /// The proxy that the connection comes from, if it is one that is trusted and named a client.
    pub proxy: Option<SocketAddr>,
    /// Our address.
    pub local: SocketAddr,
    /// How the connection is protected.
    pub security: Security,
}

impl PeerInfo {
    /// The client's address in text, without a port where none is known.
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
/// The body comes as it is read. To refuse by the head alone, return without reading it: a client
/// that sent `Expect: 100-continue` is told so before it sends anything (RFC 9110, section 10.1.1),
/// as the go-ahead is sent only when the body is first asked for. The connection is then closed.
///
/// A client that goes away while the request is handled does not stop the handler: what was received
/// whole can be recorded, and a repetition be given the same answer.
#[async_trait]
pub trait Handler: Send + Sync {
    /// Answers one request. A panic gives the client a 500.
    ///
    /// # Errors
    /// No answer may be given (it is not known whether the message was recorded): the connection is
    /// closed without one, and the error is its recorded reason.
    async fn handle(&self, request: Request<Body>, peer: PeerInfo) -> Result<Response<Body>>;

    /// Hears of a request at its address that came to no handler. For those who keep a record of what was
    /// refused; the answer is the server's.
    async fn unserved(&self, _: Unserved<'_>) {}
}

/// A request that came to no handler.
#[derive(Clone, Copy, Debug)]
pub struct Unserved<'a> {
    /// What it was answered: 404 where no route has its path; 400 or 431 where its head could not be read.
    pub status: StatusCode,
    /// Its path, made safe; empty where the head could not be read.
    pub path: &'a str,
    /// Who sent it.
    pub peer: &'a PeerInfo,
}

/// Makes a [`Handler`] of a tower service, such as axum's router.
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
