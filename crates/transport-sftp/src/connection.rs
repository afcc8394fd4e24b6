//! Making an SFTP connection: dialling, verifying the host key, logging in; and the pool's operations on it.

mod command;
mod jump;
mod login;
mod probe;
mod scan;
mod trusted;
pub(crate) mod way;

pub(crate) use jump::JumpHost;

use crate::error::Target;
use crate::options::Settings;
use crate::protocol::algorithms::Algorithms;
use crate::protocol::client::Client;
use crate::protocol::fault::Fault;
use crate::protocol::handshake::{Ended, Guard, Seen};
use crate::protocol::host_key::{HostTrust, Place};
use crate::protocol::identification::NoIdentification;
use crate::protocol::stream::{Cut, CutStream};
use async_trait::async_trait;
use model::{Error, ErrorKind, PeerText, Protocol, Purpose, RemotePath, Result, Retry, Secret};
use net::{ConnectionHandle, Connector, DialRequest, Net, Pool, PooledConnection, Stream};
use russh::client::{Config, Handle};
use russh::keys::{Algorithm, PrivateKey};
use russh::{ChannelMsg, Disconnect, SshId};
use std::borrow::Cow;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::OnceCell;
use transport::Services;
use trusted::Trusted;

/// The most bytes that a server may send before we acknowledge them. On a long line, less would be slow.
const WINDOW: u32 = 16 * 1024 * 1024;

/// The largest SSH packet that we accept. Every implementation supports 32 KiB and its framing.
const PACKET: u32 = 64 * 1024 - 1;

/// A silent server is asked this often whether it is alive, and then given up.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVES: usize = 4;

/// A write that the server does not accept for this time ends the session.
const STUCK: Duration = Duration::from_secs(180);

/// A server, as the endpoints describe it that share its connections: makes connections to it.
pub(crate) struct Remote {
    pub(crate) net: Net,
    pub(crate) settings: Settings,
    pub(crate) services: Services,
    /// The host through which the server is reached.
    jump: Option<Pool<JumpHost>>,
    /// The socket of the SSH agent that endpoints may log in with.
    agent: Option<Arc<Path>>,
    /// The parsed private key, with the text that it was parsed from: parsing takes long on purpose.
    pub(crate) key: Mutex<Option<(Secret<String>, Arc<PrivateKey>)>>,
}

/// A server whose key is trusted, before the login.
pub(crate) struct Greeted {
    ssh: Handle<Guard>,
    ending: Ending,
    pub(crate) host_key: String,
}

/// What ends a session in any case.
pub(crate) struct Ending {
    cut: Arc<Cut>,
    pub(crate) seen: Arc<Seen>,
    record: ConnectionHandle,
    target: Target,
    /// By what the list of all nodes said, if that counted.
    trusted: Option<Trusted>,
    armed: bool,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // The SSH library's task may wait for a silent server; it must not wait alone.
        if self.armed {
            self.cut.cut();
        }
    }
}

/// A logged-in SSH session. Dropped, it ends in order.
struct Session {
    ssh: Option<Handle<Guard>>,
    ending: Ending,
}

/// A logged-in SFTP session.
pub(crate) struct Connection {
    client: Client,
    /// Where the login starts, once it was asked for; `None` if the server does not tell.
    start: OnceCell<Option<RemotePath>>,
    session: Session,
}

impl Remote {
    pub(crate) fn new(
        net: Net,
        settings: Settings,
        services: Services,
        jump: Option<Pool<JumpHost>>,
    ) -> Self {
        for line in settings.trust.passed_over() {
            tracing::warn!(endpoint = %settings.endpoint, %line, "known_hosts: a line that cannot be read is ignored");
        }
        Self { net, settings, services, jump, agent: None, key: Mutex::new(None) }
    }

    /// The same, which may log in with the keys of the SSH agent at this socket.
    pub(crate) fn with_agent(self, agent: Option<Arc<Path>>) -> Self {
        Self { agent, ..self }
    }

    /// How the server is dialled for an endpoint.
    pub(crate) fn request(&self, purpose: Purpose, endpoint: &str) -> Result<DialRequest> {
        let settings = &self.settings;
        let definitions = self.services.directory.definitions();
        let connecting =
            settings.connecting.profile(&definitions).map_err(|error| error.with("endpoint", endpoint))?;
        let mut request =
            DialRequest::new(Protocol::Sftp, purpose, &settings.host, settings.port, &connecting);
        request.endpoint = Some(endpoint.to_owned());
        Ok(request)
    }

    /// The key exchange and the server's key. A server that is not trusted is sent nothing after it.
    pub(crate) async fn greet(&self, stream: Stream) -> Result<Greeted> {
        let record = stream.handle();
        // Where another host connects for us, the address at the other end is that host's.
        let own = record.proxy().is_none();
        let address = record.remote().filter(|_| own).map(|remote| remote.ip());
        let (trust, trusted) = self.trust(address);
        let (mut ending, shaken) = self.shake_hands(stream, (trust, address), None).await;
        ending.trusted = trusted;
        let shaken = match shaken {
            Ok(shaken) => shaken.map_err(|ended| self.not_completed(ended, &ending)),
            Err(waited) => Err(self.took_too_long(waited, &ending)),
        };
        match shaken {
            Ok(ssh) => {
                ending.record.established(ending.record.security()).await?;
                let host_key = ending.seen.host_key().unwrap_or_default();
                Ok(Greeted { ssh, ending, host_key })
            }
            Err(error) => {
                ending.record.fail(error.chain());
                self.note_refused_key(&ending).await;
                Err(ending.target.on_connection(error))
            }
        }
    }

    /// The key exchange, asking for the usual host keys or for these alone: what ends the session, and how it went.
    async fn shake_hands(
        &self,
        stream: Stream,
        (trust, address): (HostTrust, Option<IpAddr>),
        keys: Option<&[Algorithm]>,
    ) -> (Ending, std::result::Result<std::result::Result<Handle<Guard>, Ended>, Duration>) {
        let settings = &self.settings;
        let record = stream.handle();
        let place = Place { host: &settings.host, port: settings.port, address };
        let mut config = config(&settings.algorithms, &trust, &place);
        if let Some(keys) = keys {
            config.preferred = settings.algorithms.preferred(keys.to_vec(), Vec::new());
        }
        let seen = Arc::new(Seen::default());
        let (stream, cut) = CutStream::new(stream);
        let guard = Guard {
            trust,
            algorithms: settings.algorithms.clone(),
            now: u64::try_from(self.services.clock.now().timestamp()).unwrap_or_default(),
            host: settings.host.clone(),
            port: settings.port,
            address,
            seen: Arc::clone(&seen),
            cut: Arc::clone(&cut),
            record: record.clone(),
        };
        let target = Target { host: settings.target(), connection: record.id() };
        let ending = Ending { cut, seen, record, target, trusted: None, armed: true };
        let shaken = self.within(russh::client::connect_stream(Arc::new(config), stream, guard)).await;
        ending.record.set_security(ending.seen.security(&ending.cut.first_words()));
        (ending, shaken)
    }

    fn took_too_long(&self, waited: Duration, ending: &Ending) -> Error {
        self.error(ErrorKind::Timeout, "complete the SSH handshake", ending)
            .with("waited", format!("{:.1} s", waited.as_secs_f64()))
            .advice("the server accepted the connection but did not finish the key exchange")
    }

    /// The login and the SFTP session.
    pub(crate) async fn log_in(&self, greeted: Greeted) -> Result<Connection> {
        let Greeted { mut ssh, ending, .. } = greeted;
        let result = self.within(self.open_session(&mut ssh, &ending)).await;
        let (client, session) = self.logged_in(ssh, ending, result).await?;
        Ok(Connection { client, start: OnceCell::new(), session })
    }

    /// The login alone.
    async fn authenticated(&self, greeted: Greeted) -> Result<Session> {
        let Greeted { mut ssh, ending, .. } = greeted;
        let result = self.within(self.authenticate(&mut ssh, &ending)).await;
        Ok(self.logged_in(ssh, ending, result).await?.1)
    }

    async fn logged_in<T>(
        &self,
        ssh: Handle<Guard>,
        ending: Ending,
        result: std::result::Result<Result<T>, Duration>,
    ) -> Result<(T, Session)> {
        let result = match result {
            Ok(result) => result,
            Err(waited) => Err(self
                .error(ErrorKind::Timeout, "log in", &ending)
                .with("waited", format!("{:.1} s", waited.as_secs_f64()))
                .advice("the server did not finish the login; see the endpoint's option timeout")),
        };
        match result {
            Ok(done) => Ok((done, Session { ssh: Some(ssh), ending })),
            Err(error) => {
                ending.record.fail(error.chain());
                // In order, so that the server's log does not show a lost client.
                let _ = ssh.disconnect(Disconnect::ByApplication, "", "").await;
                let _ = tokio::time::timeout(Duration::from_millis(200), ssh).await;
                Err(ending.target.on_connection(error))
            }
        }
    }

    async fn within<T>(&self, act: impl Future<Output = T>) -> std::result::Result<T, Duration> {
        match self.settings.connecting.timeout {
            None => Ok(act.await),
            Some(timeout) => tokio::time::timeout(timeout, act).await.map_err(|_| timeout),
        }
    }

    async fn open_session(&self, ssh: &mut Handle<Guard>, ending: &Ending) -> Result<Client> {
        self.authenticate(ssh, ending).await?;
        let refused = |error: russh::Error| {
            let error = match (&error, ending.seen.farewell()) {
                (_, Some(farewell)) => {
                    farewell.tell(self.error(ErrorKind::Unreachable, "open an SFTP session", ending))
                }
                (russh::Error::ChannelOpenFailure(_), None) => {
                    // RFC 4254, 5.1: resource shortage, or an administrator's limit.
                    self.error(ErrorKind::Throttled, "open an SFTP session", ending)
                }
                _ => self.error(ErrorKind::Unreachable, "open an SFTP session", ending),
            };
            error.advice("the login succeeded, but the server opened no session")
        };
        let mut channel = ssh.channel_open_session().await.map_err(&refused)?;
        channel.request_subsystem(true, "sftp").await.map_err(&refused)?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => break,
                Some(ChannelMsg::Failure) => {
                    return Err(Error::permanent(ErrorKind::Unsupported, "open an SFTP session")
                        .with("host", self.settings.target())
                        .advice("the login succeeded, but the server has no SFTP subsystem for this user; ask its operator to enable SFTP"));
                }
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => {
                    return Err(refused(russh::Error::Disconnect));
                }
                Some(_) => {}
            }
        }
        let seen = Arc::clone(&ending.seen);
        let ended = move || match seen.farewell() {
            Some(farewell) => farewell.words,
            None => "the connection is closed".into(),
        };
        Client::start(channel, self.settings.connecting.timeout, ending.seen.is_openssh(), ended)
            .await
            .map_err(|fault: Fault| fault.error("open an SFTP session", &ending.target, None))
    }

    /// A transient error of this server, with its address.
    pub(crate) fn error(&self, kind: ErrorKind, operation: &'static str, ending: &Ending) -> Error {
        let error = Error::transient(kind, operation).with("host", self.settings.target());
        match ending.record.remote() {
            Some(remote) => error.with("address", remote),
            None => error,
        }
    }

    fn not_completed(&self, ended: Ended, ending: &Ending) -> Error {
        let operation = "complete the SSH handshake";
        let error = match ended {
            Ended::Untrusted => {
                return ending.seen.verdict().unwrap_or_else(|| {
                    Error::permanent(ErrorKind::TrustFailed, operation).with("host", self.settings.target())
                });
            }
            Ended::Ssh(error) => error,
        };
        let words = ending.cut.first_words();
        if let Some(fault) = ending.cut.no_identification() {
            let error = self.error(ErrorKind::Protocol, operation, ending).advice(fault.describe());
            let error =
                if fault == NoIdentification::TooMuch { error } else { error.retry_as(Retry::Permanent) };
            return error.said(&words);
        }
        match &error {
            russh::Error::NoCommonAlgo { kind, ours, theirs } => {
                return Error::permanent(ErrorKind::Unsupported, "agree on SSH algorithms with the server")
                    .with("host", self.settings.target())
                    .with("for", format_args!("{kind:?}"))
                    .with("ours", ours.join(", "))
                    .with("server's", PeerText::new(theirs.join(", ").as_bytes()))
                    .advice(if self.settings.algorithms.policy.fips {
                        "the server offers no algorithm of the approved list (fips = true); ask its operator to enable one"
                    } else {
                        "the server offers only algorithms that are no longer safe, or others than the endpoint's options name; \
                        ask its operator to enable newer ones, or see the options ciphers, macs, key_exchange, \
                        host_key_algorithms and legacy"
                    });
            }
            russh::Error::WrongServerSig => {
                return Error::permanent(
                    ErrorKind::TrustFailed,
                    "trust the server: its host key's signature is wrong",
                )
                .with("host", self.settings.target())
                .advice("nothing was sent; the server does not have the private half of the host key that it shows");
            }
            _ => {}
        }
        let busy = ["Not allowed at this time", "Exceeded MaxStartups", "Too many"];
        let says = String::from_utf8_lossy(&words).into_owned();
        let error = match &error {
            _ if busy.iter().any(|text| says.contains(text)) => {
                self.error(ErrorKind::Throttled, operation, ending)
            }
            russh::Error::Disconnect | russh::Error::HUP | russh::Error::IO(_) => self
                .error(ErrorKind::Unreachable, operation, ending)
                .advice("did not complete: the server ended the connection during the key exchange"),
            russh::Error::Version => self
                .error(ErrorKind::Protocol, operation, ending)
                .advice("did not complete: the server on this port is not an SSH server"),
            _ => self.error(ErrorKind::Protocol, operation, ending).advice("did not complete"),
        }
        .caused_by(error);
        if words.is_empty() || words.starts_with(b"SSH-") { error } else { error.said(&words) }
    }
}

#[async_trait]
impl Connector for Remote {
    type Connection = Connection;

    async fn connect(&self, purpose: Purpose, endpoint: &str) -> Result<Connection> {
        let greeted = self.greet(self.reach(purpose, endpoint).await?).await?;
        self.log_in(greeted).await
    }
}

#[async_trait]
impl PooledConnection for Connection {
    fn is_lost(&self) -> bool {
        self.client.lost().is_some() || !self.session.ending.is_still_trusted()
    }

    async fn is_alive(&self) -> bool {
        // A refusal to answer also shows that the server is alive.
        self.client.absolute(&RemotePath::default()).await.is_ok() || !self.is_lost()
    }

    fn lose(&self, why: &'static str) {
        self.client.lose(why);
    }

    fn closing(&self, reason: &'static str) {
        self.session.ending.record.closing(reason);
    }
}

/// The SSH library's settings for one connection.
fn config(algorithms: &Algorithms, trust: &HostTrust, place: &Place<'_>) -> Config {
    let host_keys = algorithms.host_keys(trust.on_file(place));
    // Asked for, a server shows its certificate instead of its plain key.
    let certificates = if trust.has_authorities(place) { host_keys.clone() } else { Vec::new() };
    Config {
        client_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-Waybill_", env!("CARGO_PKG_VERSION")))),
        window_size: WINDOW,
        maximum_packet_size: PACKET,
        preferred: algorithms.preferred(host_keys, certificates),
        keepalive_interval: Some(KEEPALIVE),
        keepalive_max: KEEPALIVES,
        inactivity_timeout: Some(STUCK),
        nodelay: true,
        ..Config::default()
    }
}

impl Connection {
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The absolute path of where the login starts; `None` if the server does not tell.
    ///
    /// # Errors
    /// It did not answer.
    pub(crate) async fn start(&self) -> Result<Option<RemotePath>> {
        let asked =
            self.start.get_or_try_init(async || match self.client.absolute(&RemotePath::default()).await {
                Ok(start) => Ok(Some(start)),
                Err(Fault::Refused(_) | Fault::Malformed(_)) => Ok(None),
                Err(fault) => Err(fault.error("find where the login starts", self.target(), None)),
            });
        asked.await.cloned()
    }

    /// The server's address, for errors.
    pub(crate) fn target(&self) -> &Target {
        &self.session.ending.target
    }

    /// Counts a file operation for the connection's record.
    pub(crate) fn count(&self) {
        self.session.ending.record.request();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(why) = self.client.lost() {
            self.session.ending.record.fail(why.as_bytes());
        }
    }
}

impl Session {
    fn ssh(&self) -> Option<&Handle<Guard>> {
        self.ssh.as_ref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(ssh), Ok(runtime)) = (self.ssh.take(), tokio::runtime::Handle::try_current()) else {
            return;
        };
        // Closing takes a moment; the code that drops a connection does not wait for it.
        self.ending.armed = false;
        let cut = Arc::clone(&self.ending.cut);
        runtime.spawn(async move {
            let bye = async {
                let _ = ssh.disconnect(Disconnect::ByApplication, "", "").await;
                let _ = ssh.await;
            };
            let _ = tokio::time::timeout(Duration::from_secs(1), bye).await;
            cut.cut();
        });
    }
}
