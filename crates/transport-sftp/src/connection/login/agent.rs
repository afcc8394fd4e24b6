//! Logging in with keys of this machine's SSH agent: it signs, and its private keys stay where they are.
//!
//! The agent is asked anew at each login, so keys that were added or removed count at once. It is bound to the session first
//! (`session-bind@openssh.com`), so that keys which an agent may use for some hosts only (`ssh-add -h`) work, and only there.

use super::Tried;
use crate::connection::{Ending, Remote};
use crate::options::ResolvedLogin;
use crate::options::agent::{AgentKeys, OFFERED};
use crate::protocol::handshake::Guard;
use model::{Error, ErrorKind, EventKind, PeerText, Result};
use russh::client::Handle;
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::ssh_key::Fingerprint;
use russh::keys::{Algorithm, Error as KeysError, HashAlg};
use russh::{MethodKind, Signer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;

/// The longest that an agent may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The agent, for one login.
struct Agent {
    client: AgentClient<UnixStream>,
    socket: Arc<Path>,
    patience: Duration,
}

/// Why nothing was signed.
enum NotSigned {
    /// The session with the server ended.
    SessionEnded,
    /// The agent did not sign.
    ByAgent(Error),
}

impl From<russh::SendError> for NotSigned {
    fn from(_: russh::SendError) -> Self {
        Self::SessionEnded
    }
}

impl Signer for Agent {
    type Error = NotSigned;

    async fn auth_sign(
        &mut self,
        key: &AgentIdentity,
        hash: Option<HashAlg>,
        data: Vec<u8>,
    ) -> std::result::Result<Vec<u8>, NotSigned> {
        let signing = tokio::time::timeout(self.patience, self.client.sign_request(key, hash, data)).await;
        let error = match signing {
            Ok(Ok(signed)) => return Ok(signed),
            Ok(Err(KeysError::AgentFailure)) => self
                .error(ErrorKind::Unreachable, "the agent refused to sign")
                .advice("the agent is locked (ssh-add -X), somebody did not confirm, or the key may not be used for this host"),
            Ok(Err(error)) => self.unreadable(error),
            Err(_) => self.silent(),
        };
        Err(NotSigned::ByAgent(error.with("key", fingerprint(key))))
    }
}

impl Agent {
    /// What the agent says that it has, those that are wanted.
    async fn identities(&mut self, wanted: &AgentKeys) -> Result<Vec<AgentIdentity>> {
        let asked = tokio::time::timeout(self.patience, self.client.request_identities()).await;
        let all = asked.map_err(|_| self.silent())?.map_err(|error| self.unreadable(error))?;
        let held = all.iter().map(fingerprint).map(|key| key.to_string()).collect::<Vec<_>>();
        let chosen = choose(all, wanted);
        if chosen.is_empty() {
            let held = if held.is_empty() { "no key".to_owned() } else { held.join(", ") };
            let error =
                self.error(ErrorKind::Unreachable, "the agent does not have the key").with("it has", held);
            let error = match wanted {
                AgentKeys::Any => error,
                AgentKeys::Named(names) => {
                    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
                    error.with("wanted", names.join(", "))
                }
            };
            return Err(
                error.advice("add the key to the agent (ssh-add), or correct the endpoint's option agent")
            );
        }
        Ok(chosen)
    }

    /// An error of the agent: another attempt may find it well.
    fn error(&self, kind: ErrorKind, what: &'static str) -> Error {
        failed(&self.socket, kind).with("reason", what)
    }

    fn silent(&self) -> Error {
        self.error(ErrorKind::Timeout, "the agent did not answer")
            .with("waited", format!("{:.1} s", self.patience.as_secs_f64()))
            .advice(
                "see whether it waits for somebody to confirm, or hangs (SSH_AUTH_SOCK=SOCKET ssh-add -l)",
            )
    }

    fn unreadable(&self, error: KeysError) -> Error {
        self.error(ErrorKind::Unreachable, "the agent's answer cannot be used").caused_by(error)
    }
}

fn failed(socket: &Path, kind: ErrorKind) -> Error {
    Error::transient(kind, "log in with the SSH agent").with("agent", socket.display())
}

/// Of what an agent has, what is offered to a server, in this order. A certificate comes before the key that it is of, as
/// servers that know an authority do not know the key.
fn choose(all: Vec<AgentIdentity>, wanted: &AgentKeys) -> Vec<AgentIdentity> {
    let place = |identity: &AgentIdentity| match wanted {
        AgentKeys::Any => Some(0),
        AgentKeys::Named(names) => names.iter().position(|name| *name == fingerprint(identity)),
    };
    let is_for_users = |identity: &AgentIdentity| match identity {
        AgentIdentity::PublicKey { .. } => true,
        AgentIdentity::Certificate { certificate, .. } => certificate.cert_type().is_user(),
    };
    let mut chosen: Vec<_> = all
        .into_iter()
        .filter(is_for_users)
        .filter_map(|identity| {
            let is_key = matches!(identity, AgentIdentity::PublicKey { .. });
            place(&identity).map(|place| ((place, is_key), identity))
        })
        .collect();
    chosen.sort_by_key(|(order, _)| *order);
    chosen.into_iter().map(|(_, identity)| identity).collect()
}

/// The fingerprint of the key, also where it comes with a certificate: as `ssh-add -l` shows it.
fn fingerprint(identity: &AgentIdentity) -> Fingerprint {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.fingerprint(HashAlg::Sha256),
        AgentIdentity::Certificate { certificate, .. } => {
            certificate.public_key().fingerprint(HashAlg::Sha256)
        }
    }
}

fn algorithm(identity: &AgentIdentity) -> Algorithm {
    match identity {
        AgentIdentity::PublicKey { key, .. } => key.algorithm(),
        AgentIdentity::Certificate { certificate, .. } => certificate.algorithm(),
    }
}

/// The id of the certificate, for people.
fn certificate_id(identity: &AgentIdentity) -> Option<PeerText> {
    match identity {
        AgentIdentity::PublicKey { .. } => None,
        AgentIdentity::Certificate { certificate, .. } => Some(PeerText::from(certificate.key_id())),
    }
}

fn describe(identity: &AgentIdentity) -> String {
    let key = format!("agent's key {}", fingerprint(identity));
    certificate_id(identity).map_or(key.clone(), |id| format!("{key} with certificate {id}"))
}

impl Remote {
    /// Offers keys of the agent, one after the other.
    pub(super) async fn try_agent(
        &self,
        login: &ResolvedLogin,
        ssh: &mut Handle<Guard>,
        ending: &Ending,
        tried: &mut Vec<String>,
    ) -> Result<Tried> {
        let Some(wanted) = &login.agent else { return Ok(Tried::Nothing) };
        let mut agent = self.agent(ssh).await?;
        let identities = agent.identities(wanted).await?;
        let left = identities.len().saturating_sub(OFFERED);
        let mut ended = Tried::Nothing;
        let mut unsupported = None;
        for identity in identities.into_iter().take(OFFERED) {
            let hash = match self.rsa_hash(ssh, &algorithm(&identity)).await {
                Ok(hash) => hash,
                // The next one may be of another type.
                Err(error) => {
                    unsupported = Some(error);
                    continue;
                }
            };
            tried.push(describe(&identity));
            ended = self.offer(&mut agent, &identity, hash, (login, ssh, ending)).await?;
            match &ended {
                Tried::LoggedIn | Tried::More { accepted: true, .. } => {
                    self.record_agent_key(&identity, login, ending).await?;
                    return Ok(ended);
                }
                Tried::More { offered, .. } if !offered.contains(&MethodKind::PublicKey) => return Ok(ended),
                Tried::More { .. } | Tried::Nothing => {}
            }
        }
        if left > 0 {
            tried.push(format!("and {left} more of the agent's keys were not offered: name the right one"));
        }
        match (ended, unsupported) {
            (Tried::Nothing, Some(error)) => Err(error),
            (ended, _) => Ok(ended),
        }
    }

    /// Connects to the agent, and binds it to the session with the server.
    async fn agent(&self, ssh: &Handle<Guard>) -> Result<Agent> {
        let Some(socket) = self.agent.clone() else {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "log in with the SSH agent")
                .with("host", self.settings.target())
                .advice(
                    "set ssh_agent in [roots] of waybill.toml, or give the endpoint private_key or key",
                ));
        };
        // Shorter than the login may take, so that it is known who kept it waiting.
        let most = self.settings.connecting.timeout.map_or(PATIENCE, |timeout| timeout / 2);
        let patience = PATIENCE.min(most);
        let connected = tokio::time::timeout(patience, net::connect_ssh_agent(&socket)).await;
        let connected = connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
        let stream = connected.map_err(|error| {
            failed(&socket, ErrorKind::Unreachable).with("reason", "the agent cannot be reached").caused_by(error).advice(
                "start the agent, or correct ssh_agent in [roots] of waybill.toml; Waybill's user must be allowed to use the \
                socket",
            )
        })?;
        let mut agent = Agent { client: AgentClient::connect(stream), socket, patience };
        if let Some(session) = ssh.agent_session_binding() {
            let bound = tokio::time::timeout(patience, agent.client.bind_session(session, false)).await;
            match bound.map_err(|_| agent.silent())? {
                // Agents without it have no keys that need it.
                Ok(()) | Err(KeysError::AgentFailure) => {}
                Err(error) => return Err(agent.unreadable(error)),
            }
        }
        Ok(agent)
    }

    async fn offer(
        &self,
        agent: &mut Agent,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        (login, ssh, ending): (&ResolvedLogin, &mut Handle<Guard>, &Ending),
    ) -> Result<Tried> {
        let user = &login.username;
        let result = match identity.clone() {
            AgentIdentity::PublicKey { key, .. } => {
                ssh.authenticate_publickey_with(user, key, hash, agent).await
            }
            AgentIdentity::Certificate { certificate, .. } => {
                ssh.authenticate_certificate_with(user, certificate, hash, agent).await
            }
        };
        result.map(Tried::from).map_err(|not_signed| match not_signed {
            NotSigned::SessionEnded => self.login_lost(ending),
            NotSigned::ByAgent(error) => error.with("host", self.settings.target()),
        })
    }

    /// Puts on record which key was accepted: the definitions do not say it.
    async fn record_agent_key(
        &self,
        identity: &AgentIdentity,
        login: &ResolvedLogin,
        ending: &Ending,
    ) -> Result<()> {
        let record = &ending.record;
        let mut event = self
            .services
            .event(EventKind::AgentKeyUsed)
            .connection(record.id())
            .detail("host", self.settings.target())
            .detail("login", login.username.as_str())
            .detail("fingerprint", fingerprint(identity).to_string());
        if let Some(id) = certificate_id(identity) {
            event = event.detail("certificate", id.as_str());
        }
        event.endpoint = record.endpoint();
        event.peer = record.remote().map(model::address_text);
        self.services.audit.record(vec![event]).await
    }
}
