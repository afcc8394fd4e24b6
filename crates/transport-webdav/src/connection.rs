//! One request and its answer: over `net`'s pool of connections, logged in, within the number of connections that the
//! endpoint allows. A request is made once; it is repeated only when the server asks for digest or leads to another path
//! of itself.

mod ask;
mod locks;
mod probe;

pub(crate) use ask::Ask;
use ask::Content;
use locks::Locks;

use crate::error::{self, shown};
use crate::options::Settings;
use crate::protocol::answer::{Answer, Slot};
use crate::protocol::href;
use http::header::{ACCEPT_ENCODING, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri};
use model::definition::{Access, Endpoint};
use model::{Error, ErrorKind, Protocol, Purpose, RemotePath, Result, Retry};
use net::http::{
    Body, CarriedBy, ConnectionInfo, HttpProfile, LoginMethod, RequestMeta, ResolvedLogin, ServerLogin,
};
use net::{ConnectProfile, Net, Shareable, Shared};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use transport::Services;

/// How often a request follows the server to another of its paths.
const REDIRECTS: usize = 3;

/// Directories that are known to be there.
const KNOWN_LIMIT: usize = 256;

/// Nothing panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A server that nobody uses is forgotten after this time; its connections end by themselves.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// The servers of one transport, by what leads to them and purpose.
pub(crate) struct Remotes(Shared<Remote>);

impl Remotes {
    /// Over a network.
    pub(crate) fn of(net: &Net) -> Self {
        Self(Shared::of(net))
    }

    /// The server of an endpoint for a purpose; endpoints with the same way to it share its connections.
    ///
    /// # Errors
    /// `ConfigInvalid`: the endpoint cannot be used as it is written.
    pub(crate) fn get(
        &self,
        endpoint: &Endpoint,
        purpose: Purpose,
        net: &Net,
        services: &Services,
    ) -> Result<Arc<Remote>> {
        let access = Access::of(endpoint, &services.directory.definitions());
        self.0.get(access, purpose, |_| {
            let settings = Arc::new(Settings::of(endpoint)?);
            Ok(Arc::new(Remote::new(net.clone(), settings, services.clone(), purpose)))
        })
    }
}

impl Shareable for Remote {
    fn is_kept(&self, unused_for: Duration) -> bool {
        unused_for < FORGOTTEN_AFTER
    }
}

/// A server, as the endpoints describe it that share its connections.
pub(crate) struct Remote {
    net: Net,
    pub(crate) settings: Arc<Settings>,
    pub(crate) services: Services,
    purpose: Purpose,
    /// As many as connections are allowed.
    slots: Arc<Semaphore>,
    /// For downloads and listings of polls, which may go on while files are written or looked at: with a share of their
    /// own neither waits for the other.
    downloads: Arc<Semaphore>,
    login: ServerLogin,
    known: Mutex<HashSet<RemotePath>>,
    /// The tokens of the locks that are held.
    locks: Mutex<Locks>,
    /// Held by a request that takes a lock or gives one back.
    locking: tokio::sync::Mutex<()>,
}

impl Remote {
    pub(crate) fn new(net: Net, settings: Arc<Settings>, services: Services, purpose: Purpose) -> Self {
        let all = settings.limits.connections;
        let (slots, downloads) = match purpose {
            Purpose::Poll => {
                let downloads = Arc::new(Semaphore::new((all / 2).max(1)));
                (Arc::new(Semaphore::new(all.div_ceil(2).max(1))), downloads)
            }
            _ => {
                let slots = Arc::new(Semaphore::new(all.max(1)));
                (Arc::clone(&slots), slots)
            }
        };
        Self {
            net,
            settings,
            services,
            purpose,
            slots,
            downloads,
            login: ServerLogin::default(),
            known: Mutex::default(),
            locks: Mutex::default(),
            locking: tokio::sync::Mutex::default(),
        }
    }

    /// The same server for a test of the endpoint, over connections of its own.
    fn for_test(&self) -> Self {
        Self::new(self.net.clone(), Arc::clone(&self.settings), self.services.clone(), Purpose::Test)
    }

    /// Waits until a connection may be used.
    ///
    /// # Errors
    /// `Busy`: none was free in time. It ends deadlocks of operations that use one connection and wait for a
    /// second.
    pub(crate) async fn slot(&self) -> Result<Slot> {
        self.free(&self.slots).await
    }

    /// The same for a download or listing, which uses its connection for as long as it is read.
    ///
    /// # Errors
    /// As [`Self::slot`].
    pub(crate) async fn download_slot(&self) -> Result<Slot> {
        self.free(&self.downloads).await
    }

    /// A connection that is free now.
    pub(crate) fn free_slot(&self) -> Option<Slot> {
        Arc::clone(&self.slots).try_acquire_owned().ok()
    }

    async fn free(&self, slots: &Arc<Semaphore>) -> Result<Slot> {
        let limits = self.settings.limits;
        match tokio::time::timeout(limits.longest_wait, Arc::clone(slots).acquire_owned()).await {
            Ok(Ok(slot)) => {
                // The connection of the answer that was read last may be on its way back to the pool.
                tokio::task::yield_now().await;
                Ok(slot)
            }
            Ok(Err(_)) | Err(_) => Err(Error::transient(ErrorKind::Busy, "get a connection")
                .with("endpoint", &self.settings.endpoint)
                .with("connections", limits.connections)
                .advice(
                    "all are in use; allow the endpoint more with 'connections', if its server takes more",
                )),
        }
    }

    /// The absolute URL of a path, as in `Destination` headers.
    pub(crate) fn url(&self, path: &RemotePath, is_directory: bool) -> String {
        let scheme = if self.settings.is_secure { "https" } else { "http" };
        let usual = if self.settings.is_secure { 443 } else { 80 };
        let (host, port) = (&self.settings.host, self.settings.port);
        let path = href::encode(path, is_directory);
        if port == usual {
            format!("{scheme}://{host}{path}")
        } else {
            format!("{scheme}://{host}:{port}{path}")
        }
    }

    /// Makes a request, waiting for a connection first.
    ///
    /// # Errors
    /// As [`net::http::HttpClient::request`], naming host and path. Every status is an answer, but for redirects.
    pub(crate) async fn ask(&self, operation: &'static str, ask: Ask) -> Result<Answer> {
        let slot = self.slot().await?;
        self.ask_with(operation, ask, slot, CarriedBy::default()).await
    }

    /// Makes a request that can be made again whether or not it was carried out, so that a lost answer is transient.
    ///
    /// # Errors
    /// As [`Self::ask`], never ambiguous.
    pub(crate) async fn ask_again(&self, operation: &'static str, ask: Ask, slot: Slot) -> Result<Answer> {
        self.ask_with(operation, ask, slot, CarriedBy::default()).await.map_err(|error| match error.retry() {
            Retry::Ambiguous => error.retry_as(Retry::Transient),
            _ => error,
        })
    }

    /// Makes a request with the right to use a connection.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub(crate) async fn ask_with(
        &self,
        operation: &'static str,
        ask: Ask,
        mut slot: Slot,
        carried_by: CarriedBy,
    ) -> Result<Answer> {
        let Ask { method, path, is_directory, headers, invalid, body } = ask;
        if let Some(header) = invalid {
            return Err(Error::permanent(ErrorKind::Protocol, operation)
                .with("host", self.settings.target())
                .with("path", shown(&path))
                .with("header", header)
                .advice("nothing was sent: the server stated an ETag, a lock or a name that no HTTP header can carry"));
        }
        let mut url = self.url(&path, is_directory);
        let (repeatable, mut stream) = match body {
            Content::Bytes(bytes) => (Some(bytes), None),
            Content::Stream(body) => (None, Some(body)),
        };
        let (mut redirected, mut challenged) = (0, false);
        loop {
            let body = match (&repeatable, stream.take()) {
                (Some(bytes), _) if bytes.is_empty() => Body::empty(),
                (Some(bytes), _) => Body::bytes(bytes.clone()),
                (None, Some(body)) => body,
                (None, None) => Body::empty(),
            };
            let (request, login) = self.request(&method, &url, &headers, body, &carried_by)?;
            let placed = |error: Error| error.with("while", operation).with("path", shown(&path));
            let answer = self.send(request, slot).await.map_err(placed)?;
            if answer.status == StatusCode::UNAUTHORIZED && login == LoginMethod::Digest {
                let is_digest = self.login.take(login, &answer.headers);
                if is_digest && !challenged && repeatable.is_some() {
                    challenged = true;
                    slot = error::discard(answer).await;
                    continue;
                }
                if is_digest && repeatable.is_none() {
                    let error = error::refused(operation, &self.settings.target(), &path, answer).await;
                    return Err(error
                        .retry_as(Retry::Transient)
                        .advice("the server asks for a new answer by digest; the next attempt gives it"));
                }
            }
            if answer.status.is_redirection() {
                let next = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
                let next = next.map(str::to_owned);
                let allowed = next.as_deref().and_then(|next| self.within(&url, next));
                match allowed {
                    Some(next) if redirected < REDIRECTS && repeatable.is_some() => {
                        redirected += 1;
                        url = next;
                        slot = error::discard(answer).await;
                        continue;
                    }
                    _ => {
                        return Err(error::redirected(
                            operation,
                            &self.settings.target(),
                            &path,
                            &answer,
                            next,
                        ));
                    }
                }
            }
            return Ok(answer);
        }
    }

    fn request(
        &self,
        method: &Method,
        url: &str,
        headers: &HeaderMap,
        body: Body,
        carried_by: &CarriedBy,
    ) -> Result<(Request<Body>, LoginMethod)> {
        let wrong = |cause: http::Error| {
            Error::permanent(ErrorKind::Rejected, "write a request").with("url", url).caused_by(cause)
        };
        let uri: Uri = url.parse().map_err(|cause: http::uri::InvalidUri| wrong(cause.into()))?;
        let mut request = Request::builder().method(method.clone()).uri(uri).body(body).map_err(wrong)?;
        let login = self.resolved_login()?;
        request.headers_mut().extend(headers.clone());
        let fixed = [(USER_AGENT, "Waybill"), (ACCEPT_ENCODING, "identity")];
        for (name, value) in fixed {
            request.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
        }
        self.login.authorize(&login, &mut request, |bytes| self.services.random.fill(bytes));
        request.extensions_mut().insert(carried_by.clone());
        Ok((request, login.method))
    }

    fn resolved_login(&self) -> Result<ResolvedLogin> {
        let definitions = self.services.directory.definitions();
        let login = self.settings.login.resolve(|name| definitions.credentials.get(name).cloned());
        login.map_err(|error| error.with("endpoint", &self.settings.endpoint))
    }

    async fn send(&self, request: Request<Body>, slot: Slot) -> Result<Answer> {
        let connecting = self.connecting()?;
        let meta = RequestMeta {
            idle_timeout: connecting.timeout,
            answer_timeout: connecting.timeout,
            ..RequestMeta::default()
        };
        let client = self.net.http_client(&self.profile(&connecting)?);
        let (head, body) = client.request(request, &meta).await?.into_parts();
        let connection = head.extensions.get::<ConnectionInfo>().map(|info| info.id);
        Ok(Answer { status: head.status, headers: head.headers, body, connection, slot })
    }

    /// How to connect, as the definitions in force say.
    fn connecting(&self) -> Result<ConnectProfile> {
        let profile = self.settings.connecting.profile(&self.services.directory.definitions());
        profile.map_err(|error| error.with("endpoint", &self.settings.endpoint))
    }

    fn profile(&self, connecting: &ConnectProfile) -> Result<HttpProfile> {
        let settings = &self.settings;
        let mut profile = HttpProfile::new(Some(settings.endpoint.clone()), Protocol::Webdav, self.purpose);
        if settings.is_secure {
            profile.tls = Some(self.net.tls_profile(&connecting.tls)?);
        }
        profile.max_idle = settings.limits.connections;
        profile.idle_timeout = settings.limits.idle;
        Ok(profile.connecting(connecting))
    }

    /// The URL that a redirect leads to, if it is one of this server.
    fn within(&self, from: &str, location: &str) -> Option<String> {
        let from: url::Url = from.parse().ok()?;
        let next = from.join(location).ok()?;
        let is_ours = next.origin() == from.origin() && next.query().is_none();
        is_ours.then(|| String::from(next))
    }

    /// Whether the login has to be asked for before a body is sent that can be sent once.
    /// For digest always: what the server asked for may have expired.
    pub(crate) fn must_ask_first(&self) -> bool {
        self.settings.login.method == LoginMethod::Digest
    }

    pub(crate) fn keep_lock(&self, path: &RemotePath, token: &str) {
        lock(&self.locks).keep(path, token);
    }

    pub(crate) fn take_lock(&self, path: &RemotePath) -> Option<String> {
        lock(&self.locks).take(path)
    }

    /// Drops the token of a lock that the server does not know any more.
    pub(crate) fn forget_lock(&self, path: &RemotePath, token: &str) {
        lock(&self.locks).forget(path, token);
    }

    /// The right to take or give back a lock: one request at a time. Apache's processes write its database of locks without
    /// regard to each other, and locks of the same moment are lost (the file's PUT is then answered 412).
    pub(crate) async fn locking(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.locking.lock().await
    }

    /// The same, if nobody has it now.
    pub(crate) fn locking_now(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        self.locking.try_lock().ok()
    }

    /// The token of the lock that is held on a path.
    pub(crate) fn lock_of(&self, path: &RemotePath) -> Option<String> {
        lock(&self.locks).of(path)
    }

    pub(crate) fn is_known(&self, directory: &RemotePath) -> bool {
        lock(&self.known).contains(directory)
    }

    pub(crate) fn know(&self, directory: &RemotePath) {
        let mut known = lock(&self.known);
        if known.len() >= KNOWN_LIMIT {
            known.clear();
        }
        known.insert(directory.clone());
    }

    pub(crate) fn forget(&self) {
        lock(&self.known).clear();
    }
}
