//! From a socket to a login: greeting, TLS, user and password, and what the server can.

use super::exchange::{Control, within};
use super::{Connection, Remote, Tls};
use crate::error::{Fault, Target};
use crate::options::{ListBy, Protection};
use crate::protocol::features::Features;
use crate::protocol::path;
use crate::protocol::reply::Reply;
use model::{Error, ErrorKind, Purpose, RemotePath, Result, Retry, Security};
use net::{ConnectionHandle, DialRequest, Stream, TlsProfile, TlsSession};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;

/// A server that has greeted us, under TLS if the endpoint asks for it, and does not know who we are.
pub(crate) struct Greeted {
    control: Control,
    pub(crate) record: ConnectionHandle,
    target: Target,
    tls: Option<Tls>,
}

/// The most answers "ready in some minutes" before the greeting itself.
const DELAYS: usize = 8;

/// The dialogue before there is a connection for the pool, which makes one at a time: nobody else's connection to the
/// server is made until this ends.
struct Dialogue<'a> {
    remote: &'a Remote,
    control: Control,
}

impl Dialogue<'_> {
    async fn reply(&mut self) -> Result<Reply, Fault> {
        within(self.remote.settings.connecting.timeout, self.control.read()).await
    }

    async fn ask(&mut self, verb: &str, argument: &[u8]) -> Result<Reply, Fault> {
        within(self.remote.settings.connecting.timeout, self.control.send(verb, argument)).await?;
        self.reply().await
    }

    /// Waits for the greeting, within the endpoint's timeout as a whole: a server could announce it again and again.
    async fn greeting(&mut self) -> Result<(), Fault> {
        let control = &mut self.control;
        let greeting = async {
            for _ in 0..=DELAYS {
                match control.read().await? {
                    // 120: ready in some minutes (RFC 959, 5.4).
                    reply if reply.is_preliminary() => {}
                    reply if reply.is_done() => return Ok(()),
                    reply => return Err(Fault::Refused(reply)),
                }
            }
            Err(Fault::Malformed("the server announces its greeting again and again", Vec::new()))
        };
        within(self.remote.settings.connecting.timeout, greeting).await
    }
}

impl Remote {
    fn target(&self, record: &ConnectionHandle) -> Target {
        Target { host: self.settings.target(), connection: record.id() }
    }

    /// Reads the greeting and begins TLS; the connection is on record then.
    pub(crate) async fn greet(&self, stream: Stream, tls: Option<TlsProfile>) -> Result<Greeted> {
        let record = stream.handle();
        let target = self.target(&record);
        match self.shake(stream, tls, &record, &target).await {
            Ok(greeted) => Ok(greeted),
            Err(error) => {
                record.fail(error.chain());
                Err(error.on_connection(target.connection))
            }
        }
    }

    async fn shake(
        &self,
        stream: Stream,
        profile: Option<TlsProfile>,
        record: &ConnectionHandle,
        target: &Target,
    ) -> Result<Greeted> {
        let session = TlsSession::default();
        let limit = self.settings.connecting.profile(&self.services.directory.definitions())?.connect_timeout;
        let host = &self.settings.host;
        let failed = |fault: Fault| fault.error("begin the FTP dialogue", target, None);
        let unheard = |fault: Fault| match fault {
            Fault::Silent(_) => failed(fault).advice(
                "the server says nothing: if it begins with TLS at once, write ftps:// in the endpoint's url",
            ),
            fault => failed(fault),
        };
        if self.settings.clears_commands {
            record.weaken(Some("commands in the clear after the login (CCC)"));
        }
        let control = match (self.settings.protection, &profile) {
            (Protection::Explicit, Some(profile)) => {
                let mut dialogue = Dialogue { remote: self, control: Control::new(stream) };
                dialogue.greeting().await.map_err(unheard)?;
                let reply = dialogue.ask("AUTH", b"TLS").await.map_err(failed)?;
                if !reply.is_done() {
                    return Err(no_tls(reply, target));
                }
                let stream = dialogue.control.bare().map_err(failed)?;
                let stream = stream.start_tls(profile, host, Some(&session), limit).await?;
                record.established(record.security()).await?;
                Control::new(stream)
            }
            (Protection::Implicit, Some(profile)) => {
                let stream = stream.start_tls(profile, host, Some(&session), limit).await?;
                record.established(record.security()).await?;
                let mut dialogue = Dialogue { remote: self, control: Control::new(stream) };
                dialogue.greeting().await.map_err(failed)?;
                dialogue.control
            }
            _ => {
                record.established(Security::None).await?;
                let mut dialogue = Dialogue { remote: self, control: Control::new(stream) };
                dialogue.greeting().await.map_err(unheard)?;
                dialogue.control
            }
        };
        let tls = profile.map(|profile| Tls { profile, session });
        Ok(Greeted { control, record: record.clone(), target: target.clone(), tls })
    }

    /// Logs in, and asks what the server can. `request` is how the control connection was dialled.
    pub(crate) async fn log_in(&self, greeted: Greeted, request: DialRequest) -> Result<Connection> {
        let Greeted { control, record, target, tls } = greeted;
        let mut dialogue = Dialogue { remote: self, control };
        let entered = match self.enter(&mut dialogue, &target, tls.is_some()).await {
            Ok(entered) if self.settings.clears_commands => {
                self.clear(dialogue, &target).await.map(|control| (entered, control))
            }
            entered => entered.map(|entered| (entered, dialogue.control)),
        };
        match entered {
            Ok(((features, start), control)) => {
                let mut data = request;
                data.purpose = Purpose::Data;
                data.control = Some(target.connection);
                Ok(Connection {
                    control: tokio::sync::Mutex::new(Some(control)),
                    record,
                    target,
                    lost: Mutex::default(),
                    start,
                    features,
                    no_extended: AtomicBool::new(false),
                    tls: tls.filter(|_| self.settings.protect_data),
                    net: self.net.clone(),
                    settings: self.settings.clone(),
                    services: self.services.clone(),
                    data,
                })
            }
            Err(error) => {
                record.fail(error.chain());
                Err(error.on_connection(target.connection))
            }
        }
    }

    /// Ends TLS on the control connection (RFC 4217, 12.3), for firewalls that read the ports of data connections.
    async fn clear(&self, mut dialogue: Dialogue<'_>, target: &Target) -> Result<Control> {
        const OPERATION: &str = "end TLS on the control connection";
        let failed = |fault: Fault| fault.error(OPERATION, target, None);
        let reply = dialogue.ask("CCC", b"").await.map_err(failed)?;
        if !reply.is_done() {
            return Err(failed(Fault::Refused(reply)).retry_as(Retry::Permanent).advice(
                "the server does not let commands go on in the clear; remove the endpoint's option clear_command_channel",
            ));
        }
        let limit = self.settings.connecting.profile(&self.services.directory.definitions())?.connect_timeout;
        let stream = dialogue.control.bare().map_err(failed)?;
        Ok(Control::new(stream.end_tls(limit).await?))
    }

    async fn enter(
        &self,
        dialogue: &mut Dialogue<'_>,
        target: &Target,
        is_protected: bool,
    ) -> Result<(Features, RemotePath)> {
        const LOGIN: &str = "log in";
        const SETTLE: &str = "prepare the connection";
        let definitions = self.services.directory.definitions();
        let (user, password) =
            self.settings.login.resolve(|name| definitions.credentials.get(name).cloned())?;
        let failed = |fault: Fault| fault.error(LOGIN, target, None).with("user", &user);
        let mut reply = dialogue.ask("USER", user.as_bytes()).await.map_err(failed)?;
        if reply.code == 331 {
            let Some(password) = password else {
                return Err(failed(Fault::Refused(reply))
                    .retry_as(Retry::Permanent)
                    .advice("the server asks for a password, and the endpoint has none"));
            };
            let secret = password.reveal().as_bytes();
            let answered = dialogue.ask("PASS", secret).await;
            reply = answered.map_err(|fault| failed(fault.without(secret)))?.without(secret);
        }
        if reply.wants_more() {
            return Err(Error::permanent(ErrorKind::Unsupported, LOGIN)
                .with("host", &target.host)
                .with("user", &user)
                .said(reply.said())
                .advice("the server asks for an account beside user and password, which is not supported"));
        }
        if !reply.is_done() {
            return Err(failed(Fault::Refused(reply)));
        }
        let failed = |fault: Fault| fault.error(SETTLE, target, None);
        let features = Features::read(&dialogue.ask("FEAT", b"").await.map_err(failed)?);
        if is_protected {
            // RFC 4217, 9: PBSZ must come first, and its size is 0.
            dialogue.ask("PBSZ", b"0").await.map_err(failed)?;
            let level: &[u8] = if self.settings.protect_data { b"P" } else { b"C" };
            let reply = dialogue.ask("PROT", level).await.map_err(failed)?;
            if !reply.is_done() {
                return Err(failed(Fault::Refused(reply)).advice(
                    "the server does not allow this protection of data connections; see the endpoint's option data_protection",
                ));
            }
        }
        if features.utf8 && self.settings.names.are_plain() {
            // Many servers need no command for it, and refuse it.
            dialogue.ask("OPTS", b"UTF8 ON").await.map_err(failed)?;
        }
        let kind: &[u8] = if self.settings.is_ascii { b"A" } else { b"I" };
        let reply = dialogue.ask("TYPE", kind).await.map_err(failed)?;
        if !reply.is_done() {
            return Err(failed(Fault::Refused(reply)));
        }
        if features.mlst && !matches!(self.settings.list_by, ListBy::List(_)) {
            // Shorter lines; a server that refuses sends all it knows.
            dialogue.ask("OPTS", b"MLST type;size;modify;unique;").await.map_err(failed)?;
        }
        for command in &self.settings.site_commands {
            let reply = dialogue.ask("SITE", command.as_bytes()).await.map_err(failed)?;
            if !reply.is_done() {
                return Err(failed(Fault::Refused(reply))
                    .with("command", format!("SITE {command}"))
                    .advice("the server refuses a command of the endpoint's option site_commands"));
            }
        }
        let reply = dialogue.ask("PWD", b"").await.map_err(failed)?;
        let start = Some(&reply).filter(|reply| reply.is_done()).and_then(|reply| path::quoted(reply.text()));
        let start =
            start.and_then(|start| self.settings.names.read(start.as_bytes()).map(RemotePath::from_bytes));
        match start.filter(RemotePath::is_absolute) {
            Some(start) => Ok((features, start)),
            None => Err(Error::permanent(ErrorKind::Unsupported, SETTLE)
                .with("host", &target.host)
                .said(reply.said())
                .advice(
                    "the server does not tell the login directory as a path that begins with '/'. IBM i does so after \
                    site_commands = [\"NAMEFMT 1\"]; servers that know no such paths are not supported",
                )),
        }
    }
}

fn no_tls(reply: Reply, target: &Target) -> Error {
    if reply.code == 421 {
        return Fault::Refused(reply).error("begin TLS", target, None);
    }
    // Servers without TLS answer 530 to it too, which is no judgement of a password here.
    let error =
        Error::permanent(ErrorKind::Unsupported, "begin TLS").with("host", &target.host).said(reply.said());
    error.advice(
        "nothing was sent: the server does not offer TLS. Ask its operator for it; or set security = \"none\" on the endpoint, \
        which sends password and files in the clear",
    )
}
