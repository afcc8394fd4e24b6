//! A connection from nothing to a login: dial, TLS, log in; its commands; and what the pool asks of one.

mod data;
mod exchange;
mod login;
mod open;
mod probe;
mod signs_of_life;

pub(crate) use data::Transfer;

use crate::error::{Fault, Target};
use crate::options::{ListBy, Protection, Settings};
use crate::protocol::features::Features;
use crate::protocol::path;
use crate::protocol::reply::Reply;
use async_trait::async_trait;
use exchange::{Control, Exchange};
use model::{Error, Protocol, Purpose, RemotePath, Result, Timestamp};
use net::{ConnectionHandle, Connector, DialRequest, Net, PooledConnection, TlsProfile, TlsSession};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use transport::Services;
use transport::folder::Entry;

/// How long the answer to QUIT, and to a transfer that was broken off, is waited for.
const SHORT: Duration = Duration::from_secs(5);

/// A server, as the endpoints describe it that share its connections: makes connections to it.
pub(crate) struct Remote {
    pub(crate) net: Net,
    pub(crate) settings: Settings,
    pub(crate) services: Services,
}

/// TLS of a control connection, for its data connections.
struct Tls {
    profile: TlsProfile,
    session: TlsSession,
}

/// A connection that is logged in. It carries one operation at a time.
pub(crate) struct Connection {
    control: tokio::sync::Mutex<Option<Control>>,
    record: ConnectionHandle,
    target: Target,
    /// Why no command can be sent any more.
    lost: Mutex<Option<String>>,
    /// Where the login starts; absolute.
    start: RemotePath,
    features: Features,
    /// Whether the server has refused EPSV.
    no_extended: AtomicBool,
    tls: Option<Tls>,
    net: Net,
    settings: Settings,
    services: Services,
    /// How data connections are dialled, but for their port.
    data: DialRequest,
}

impl Remote {
    pub(crate) fn new(net: Net, settings: Settings, services: Services) -> Self {
        Self { net, settings, services }
    }

    /// How the server is dialled, and with what TLS.
    pub(crate) fn request(
        &self,
        purpose: Purpose,
        endpoint: &str,
    ) -> Result<(DialRequest, Option<TlsProfile>)> {
        let settings = &self.settings;
        let definitions = self.services.directory.definitions();
        let connecting =
            settings.connecting.profile(&definitions).map_err(|error| error.with("endpoint", endpoint))?;
        let mut request =
            DialRequest::new(Protocol::Ftp, purpose, &settings.host, settings.port, &connecting);
        request.endpoint = Some(endpoint.to_owned());
        let tls = match settings.protection {
            Protection::None => None,
            Protection::Explicit | Protection::Implicit => Some(self.net.tls_profile(&connecting.tls)?),
        };
        Ok((request, tls))
    }
}

#[async_trait]
impl Connector for Remote {
    type Connection = Connection;

    async fn connect(&self, purpose: Purpose, endpoint: &str) -> Result<Connection> {
        let (request, tls) = self.request(purpose, endpoint)?;
        let stream = self.net.dial_deferred(&request).await?;
        let greeted = self.greet(stream, tls).await?;
        self.log_in(greeted, request).await
    }
}

impl Connection {
    /// Where it leads, for errors.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// Whether directories are listed by MLSD.
    pub(crate) fn lists_facts(&self) -> bool {
        match self.settings.list_by {
            ListBy::Offer => self.features.mlst,
            ListBy::Mlsd => true,
            ListBy::List(_) => false,
        }
    }

    pub(crate) fn list_by(&self) -> ListBy {
        self.settings.list_by
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.services.clock.now()
    }

    /// Counts a file operation for the connection's record.
    pub(crate) fn count(&self) {
        self.record.request();
    }

    /// Where the login starts; absolute.
    pub(crate) const fn login_directory(&self) -> &RemotePath {
        &self.start
    }

    /// A path as a command carries it.
    ///
    /// # Errors
    /// `Unsendable`.
    pub(crate) fn argument(&self, path: &RemotePath) -> Result<Vec<u8>, Fault> {
        Ok(path::argument(&self.start, path, self.settings.names)?)
    }

    /// An entry of a listing, as it is shown; `None` where its name would not lead back to it.
    pub(crate) fn shown(&self, entry: Entry) -> Option<Entry> {
        self.named(&entry).map(|entry| self.typed(entry))
    }

    /// An entry with its name in UTF-8.
    pub(crate) fn named(&self, entry: &Entry) -> Option<Entry> {
        let name = self.settings.names.read(entry.path.as_bytes())?;
        Some(Entry { path: RemotePath::from_bytes(name), ..entry.clone() })
    }

    /// An entry as it counts for the endpoint's type: an ASCII transfer has another number of bytes than the file, which
    /// then only tells the file from its next version.
    pub(crate) fn typed(&self, entry: Entry) -> Entry {
        match entry.size {
            Some(size) if self.settings.is_ascii => {
                Entry { size: None, version: Some(format!("{size} bytes")), ..entry }
            }
            _ => entry,
        }
    }

    /// Whether line ends are converted.
    pub(crate) fn is_ascii(&self) -> bool {
        self.settings.is_ascii
    }

    /// Whether the size of a file is sent to the server before the file.
    pub(crate) fn allocates(&self) -> bool {
        self.settings.allocate
    }

    /// Sends a command and reads its answer, whatever that says.
    ///
    /// # Errors
    /// No answer came; the connection is lost then.
    pub(crate) async fn ask(&self, verb: &str, argument: &[u8]) -> Result<Reply, Fault> {
        let mut exchange = self.exchange().await?;
        exchange.send(verb, argument).await?;
        let reply = exchange.reply().await?;
        exchange.over(&reply);
        Ok(reply)
    }

    /// The same for a path.
    ///
    /// # Errors
    /// As [`Self::ask`]; `Unsendable`.
    pub(crate) async fn ask_of(&self, verb: &str, path: &RemotePath) -> Result<Reply, Fault> {
        let argument = self.argument(path)?;
        self.ask(verb, &argument).await
    }

    /// Does something with a path.
    ///
    /// # Errors
    /// As [`Self::ask_of`]; the server refused it.
    pub(crate) async fn act(&self, verb: &str, path: &RemotePath) -> Result<Reply, Fault> {
        match self.ask_of(verb, path).await? {
            reply if reply.is_done() => Ok(reply),
            reply => Err(Fault::Refused(reply)),
        }
    }

    /// The use of the connection for one command, or for a transfer's command and its first answer.
    async fn exchange(&self) -> Result<Exchange<'_>, Fault> {
        let control = self.control.lock().await;
        if control.is_none() {
            return Err(Fault::Lost(
                self.lost_words().unwrap_or_else(|| "the connection is closed".to_owned()),
            ));
        }
        Ok(Exchange::new(self, control))
    }

    fn lost_words(&self) -> Option<String> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes why no command can be sent any more.
    fn note_lost(&self, why: &str) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
        self.record.fail(why);
    }

    /// Ends it, though nothing failed: it is not used again.
    pub(crate) fn retire(&self, why: &'static str) {
        self.record.closing(why);
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.to_owned());
        if let Ok(mut control) = self.control.try_lock() {
            *control = None;
        }
    }

    fn prefers_stated_address(&self) -> bool {
        self.settings.follow_stated_address || self.no_extended.load(Ordering::Relaxed)
    }

    /// An error of this connection.
    pub(crate) fn on_connection(&self, error: Error) -> Error {
        error.with("host", &self.target.host).on_connection(self.target.connection)
    }
}

#[async_trait]
impl PooledConnection for Connection {
    fn is_lost(&self) -> bool {
        self.lost_words().is_some()
    }

    async fn is_alive(&self) -> bool {
        // A refusal is a sign of life too, but 421 says that the server closes the connection.
        self.ask("NOOP", b"").await.is_ok() && !self.is_lost()
    }

    fn lose(&self, why: &'static str) {
        self.note_lost(why);
        if let Ok(mut control) = self.control.try_lock() {
            *control = None;
        }
    }

    fn closing(&self, reason: &'static str) {
        self.record.closing(reason);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut control) = self.control.get_mut().take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // Good-bye takes a moment; who lets go of a connection does not wait for it.
        runtime.spawn(async move {
            let bye = async {
                if control.send("QUIT", b"").await.is_ok() {
                    let _ = control.read().await;
                }
            };
            let _ = tokio::time::timeout(SHORT, bye).await;
        });
    }
}
