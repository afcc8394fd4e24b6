//! The HTTP client: one connection pool for each profile, without the library's own retries.

use super::connector::{Carrier, Connector};
use super::outcome::{CarriedBy, Progress, Tracked, carrier, explain, is_unsent};
use super::shown::ShownUrl;
use crate::connection::lock;
use crate::{ConnectProfile, Net, ProxyChoice, TlsProfile};
use ::http::header::CONTENT_LENGTH;
use ::http::{HeaderValue, Method, Request, Response, Version};
use futures::future::Either;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{CaptureConnection, capture_connection};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use model::{DeliveryId, Error, ErrorKind, Protocol, Purpose, Result, Retry};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::Body;
pub use super::connector::ConnectionInfo;

/// The most bytes of an answer that a connection buffers; also the largest head of an answer.
const CONNECTION_BUFFER: usize = 192 * 1024;

/// The properties that connections share if they can carry each other's requests.
#[derive(Clone, Debug)]
pub struct HttpProfile {
    /// The endpoint that the connections belong to.
    pub endpoint: Option<String>,
    /// The protocol over HTTP.
    pub protocol: Protocol,
    /// The purpose.
    pub purpose: Purpose,
    /// TLS for `https` URLs; without it they are refused.
    pub tls: Option<TlsProfile>,
    /// The way out: direct or through a proxy.
    pub proxy: ProxyChoice,
    /// The time for name resolution, socket, proxy and TLS together. Default 30 s.
    pub connect_timeout: Duration,
    /// TCP keepalive: after how much silence the peer is probed; `None` for never. Default 60 s.
    pub keep_alive: Option<Duration>,
    /// The number of idle connections kept for each host. Default 8.
    pub max_idle: usize,
    /// How long an idle connection is kept. Default 60 s.
    pub idle_timeout: Duration,
}

impl HttpProfile {
    /// A profile with the defaults: without TLS, through the process's proxy if it has one.
    #[must_use]
    pub fn new(endpoint: Option<String>, protocol: Protocol, purpose: Purpose) -> Self {
        Self {
            endpoint,
            protocol,
            purpose,
            tls: None,
            proxy: ProxyChoice::Process,
            connect_timeout: Duration::from_secs(30),
            keep_alive: Some(crate::socket::KEEP_ALIVE),
            max_idle: 8,
            idle_timeout: Duration::from_secs(60),
        }
    }

    /// The same with an endpoint's connection options. TLS is set separately, because not every URL needs it.
    #[must_use]
    pub fn connecting(mut self, options: &ConnectProfile) -> Self {
        self.proxy = options.proxy.clone();
        self.connect_timeout = options.connect_timeout;
        self.keep_alive = options.keep_alive;
        self
    }

    /// The key of its pool.
    fn key(&self, net: &Net) -> Key {
        let proxy = net.proxy(&self.proxy).map(|(proxy, _)| {
            let credentials = proxy
                .credentials
                .as_ref()
                .map(|(user, password)| (user.clone(), openssl::sha::sha256(password.reveal().as_bytes())));
            (proxy.address(), credentials)
        });
        Key {
            endpoint: self.endpoint.clone(),
            protocol: self.protocol,
            purpose: self.purpose,
            tls: self.tls.as_ref().map(TlsProfile::identity),
            proxy,
            limits: (self.connect_timeout, self.keep_alive, self.max_idle, self.idle_timeout),
        }
    }
}

/// The proxy's address, and user with the digest of the password.
type ProxyKey = (String, Option<(String, [u8; 32])>);

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    endpoint: Option<String>,
    protocol: Protocol,
    purpose: Purpose,
    tls: Option<[u8; 32]>,
    proxy: Option<ProxyKey>,
    limits: (Duration, Option<Duration>, usize, Duration),
}

/// The purpose and time limits of a request.
#[derive(Clone, Debug)]
pub struct RequestMeta {
    /// The flow.
    pub flow: Option<String>,
    /// The delivery.
    pub delivery: Option<DeliveryId>,
    /// The longest time without progress while the request is sent or the answer's body is read. Default 60 s.
    pub idle_timeout: Duration,
    /// The longest time from the request's last byte to the answer's head. Default 300 s.
    pub answer_timeout: Duration,
    /// The longest time from the beginning to the answer's head, even with progress. Default: none.
    pub whole_timeout: Option<Duration>,
}

impl Default for RequestMeta {
    fn default() -> Self {
        Self {
            flow: None,
            delivery: None,
            idle_timeout: Duration::from_secs(60),
            answer_timeout: Duration::from_secs(300),
            whole_timeout: None,
        }
    }
}

/// Sends requests over one pool. Cheap to clone.
#[derive(Clone)]
pub struct HttpClient {
    pool: Arc<Pool>,
}

struct Pool {
    client: Client<Connector, Tracked>,
    connect_timeout: Duration,
}

impl Net {
    /// The client for a profile. The same profile returns the same pool while it is in use, and for some time after
    /// that.
    #[must_use]
    pub fn http_client(&self, profile: &HttpProfile) -> HttpClient {
        self.clients().get(profile.key(self), || Pool::new(self, profile))
    }
}

impl Pool {
    fn new(net: &Net, profile: &HttpProfile) -> Self {
        let connector = Connector {
            net: net.clone(),
            endpoint: profile.endpoint.clone(),
            protocol: profile.protocol,
            purpose: profile.purpose,
            tls: profile.tls.clone(),
            proxy: profile.proxy.clone(),
            timeout: profile.connect_timeout,
            keep_alive: profile.keep_alive,
        };
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_idle_timeout(profile.idle_timeout)
            .pool_max_idle_per_host(profile.max_idle)
            .retry_canceled_requests(false)
            .http1_max_buf_size(CONNECTION_BUFFER)
            // RFC 9112, section 5.2: a user agent unfolds header lines, which old servers may still fold.
            .http1_allow_obsolete_multiline_headers_in_responses(true)
            // The readable part of an answer's head is used: a partner's receipt must not be lost because a proxy
            // garbled one header line.
            .http1_allow_spaces_after_header_name_in_responses(true)
            .http1_ignore_invalid_headers_in_responses(true)
            .build(connector);
        Self { client, connect_timeout: profile.connect_timeout }
    }
}

/// The pools of a [`Net`], by profile.
#[derive(Default)]
pub(crate) struct Clients {
    pools: Mutex<HashMap<Key, (Arc<Pool>, Instant)>>,
}

/// A pool that is not in use is dropped after this time, with its idle connections.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

impl Clients {
    fn get(&self, key: Key, make: impl FnOnce() -> Pool) -> HttpClient {
        let now = Instant::now();
        let mut pools = lock(&self.pools);
        pools.retain(|_, (pool, used)| Arc::strong_count(pool) > 1 || now - *used < FORGOTTEN_AFTER);
        let (pool, used) = pools.entry(key).or_insert_with(|| (Arc::new(make()), now));
        *used = now;
        HttpClient { pool: pool.clone() }
    }

    pub(crate) fn clear(&self) {
        lock(&self.pools).clear();
    }
}

impl HttpClient {
    /// Sends a request with an absolute URL. Returns when the answer's head has arrived; the answer's body is read
    /// afterwards. [`ConnectionInfo`] is in the answer's extensions.
    ///
    /// [`CarriedBy`] in the request's extensions tells the connection as soon as it is chosen.
    ///
    /// Redirects are not followed, and nothing is retried: any status is an answer. A body with a known length is
    /// sent with Content-Length, otherwise chunked.
    ///
    /// # Errors
    /// As [`Net::dial`] if no connection could be made; the body's own if it could not be read; otherwise it depends
    /// on how much of the request was sent. `Transient` if nothing or not all of it was written, or if its method is
    /// safe (RFC 9110, section 9.2.1): the server cannot have acted. `Ambiguous` if it was completely written and no
    /// answer came.
    ///
    /// That nothing was written is known in two ways: the library returns a request that it had not begun, and the
    /// socket's count of bytes is compared with the count before the request. So a pooled connection that the server
    /// closed in the meantime counts as not written even if the library had begun. (For a request without a body,
    /// only the former is known.)
    pub async fn request(&self, request: Request<Body>, meta: &RequestMeta) -> Result<Response<Body>> {
        let (mut parts, body) = request.into_parts();
        let url = parts.uri.clone();
        let method = parts.method.clone();
        // The library sends no Content-Length for an empty body; some servers answer that with 411.
        if body.length() == Some(0) && matches!(method, Method::POST | Method::PUT | Method::PATCH) {
            parts.headers.entry(CONTENT_LENGTH).or_insert(HeaderValue::from_static("0"));
        }
        let progress = Arc::new(Progress::new(method.is_safe()));
        let carried_by = parts.extensions.remove::<CarriedBy>();
        let mut request = Request::from_parts(parts, Tracked::new(body, progress.clone(), carried_by));
        *request.version_mut() = Version::HTTP_11;
        let captured = capture_connection(&mut request);
        request.body_mut().capture(captured.clone());
        let answer = std::pin::pin!(self.pool.client.request(request));
        let stalled = std::pin::pin!(self.stalled(meta, &captured, &progress));
        let mut unsent = false;
        let result = match futures::future::select(answer, stalled).await {
            Either::Left((Ok(answer), _)) => Ok(answer),
            Either::Left((Err(error), _)) => {
                let carrier = carrier(&captured);
                unsent = is_unsent(&error, &progress, carrier.as_ref());
                Err(explain(error, &progress, carrier.as_ref()))
            }
            Either::Right((error, _)) => Err(error),
        };
        let carrier = carrier(&captured);
        match (result, carrier) {
            (Ok(mut answer), Some(carrier)) => {
                // Keeping the extensions must not keep the connection's record open.
                answer.extensions_mut().remove::<Carrier>();
                carrier.handle.answer_began(progress.finished_at().is_some());
                tracing::debug!(
                    connection = %carrier.info.id, %method, url = %ShownUrl(&url), status = answer.status().as_u16(),
                    flow = meta.flow, delivery = meta.delivery.map(tracing::field::display), "http answer"
                );
                let idle = meta.idle_timeout;
                Ok(answer.map(|body| super::outcome::answer_body(body, idle, carrier.handle)))
            }
            (Ok(_), None) => Err(Error::new(ErrorKind::Internal, Retry::Ambiguous, "send an HTTP request")
                .with("url", ShownUrl(&url))),
            (Err(error), carrier) => {
                let mut error = error.with("method", &method).with("url", ShownUrl(&url));
                if let Some(carrier) = carrier {
                    // A connection that ended while it was idle has not failed because of this request.
                    if !unsent || carrier.handle.requests() == 0 {
                        carrier.handle.fail(error.chain());
                    }
                    error = error.on_connection(carrier.info.id);
                    if let Some(remote) = carrier.info.remote {
                        error = error.with("address", remote);
                    }
                }
                Err(error)
            }
        }
    }

    /// Resolves when the exchange has taken too long.
    async fn stalled(&self, meta: &RequestMeta, captured: &CaptureConnection, progress: &Progress) -> Error {
        let begun = Instant::now();
        let tick = (meta.idle_timeout.min(meta.answer_timeout) / 8)
            .clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut moved = (0, begun);
        loop {
            sleep(tick).await;
            let now = Instant::now();
            if meta.whole_timeout.is_some_and(|whole| now - begun > whole) {
                return progress.late("the whole request", now - begun);
            }
            let Some(carrier) = carrier(captured) else {
                // Dialling has its own deadline; this one is for other work of the pool.
                if now - begun > self.pool.connect_timeout * 2 {
                    return progress.late("a connection", now - begun);
                }
                moved.1 = now;
                continue;
            };
            let bytes = carrier.handle.meter().bytes_out();
            if bytes != moved.0 {
                moved = (bytes, now);
            }
            match progress.finished_at() {
                Some(at) if now.saturating_duration_since(at.max(moved.1)) > meta.answer_timeout => {
                    return progress.late("an answer", meta.answer_timeout);
                }
                None if now - moved.1 > meta.idle_timeout => {
                    return progress.late("the server to receive the request", meta.idle_timeout);
                }
                _ => {}
            }
        }
    }
}
