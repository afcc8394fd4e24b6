//! What the SSH library asks us during a session: whether the server is trusted, and what may come from it.

use super::algorithms::{Algorithms, Kind, legacy_of};
use super::certificate;
use super::fingerprint::fingerprint;
use super::host_key::{HostTrust, Place};
use super::stream::Cut;
use model::{Error, HostKeyStanding, PeerText, Security};
use net::ConnectionHandle;
use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::PublicKeyOrCertificate;
use russh::keys::ssh_encoding;
use russh::{Channel, Disconnect, Names, cipher};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What was seen of a session, kept apart from it: it is asked after the session ended, too.
#[derive(Default)]
pub(crate) struct Seen {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    host_key: Option<(String, String)>,
    agreed: Option<Agreed>,
    verdict: Option<Error>,
    shown: Option<ShownKey>,
    farewell: Option<Farewell>,
}

/// A plain key that a server showed and that was not accepted.
#[derive(Clone)]
pub(crate) struct ShownKey {
    pub(crate) key_type: String,
    /// As it goes over the wire.
    pub(crate) key: Vec<u8>,
    /// How it stands in the list of all nodes, where that counts.
    pub(crate) standing: Option<HostKeyStanding>,
}

#[derive(Clone)]
struct Agreed {
    kex: String,
    cipher: String,
    mac: String,
    server: PeerText,
}

/// How the server, or the SSH library, ended the session.
#[derive(Clone)]
pub(crate) struct Farewell {
    /// Whether the server said that it has too many.
    pub(crate) too_many_connections: bool,
    pub(crate) words: String,
    pub(crate) speaker: Speaker,
}

/// Whose words a [`Farewell`]'s are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speaker {
    /// The server's.
    Server,
    /// Ours, or the SSH library's.
    Here,
    /// The SSH library's, which could not read a text of the server's.
    HereOfText,
}

impl Farewell {
    /// Puts the words into an error, as whose they are.
    pub(crate) fn tell(self, error: Error) -> Error {
        match self.speaker {
            Speaker::Server => error.said(self.words),
            Speaker::Here => error.caused_by(self.words),
            // A banner comes at every login, words of good-bye (too many connections, say) perhaps at this one
            // alone, and nothing tells which of them it was: so it is tried again.
            Speaker::HereOfText => error.caused_by(self.words).advice(
                "the server sent a text that is not UTF-8, which Waybill's SSH library cannot read. If this \
                happens at every login, the text is most likely the login banner: ask the server's operator \
                to remove it or to write it in UTF-8 (RFC 4252, 5.4). If it happens only sometimes, the \
                text is the server's reason for closing the connection: see the server's log",
            ),
        }
    }
}

impl Seen {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the server is not trusted, when that is how it ended. Told once.
    pub(crate) fn verdict(&self) -> Option<Error> {
        self.state().verdict.take()
    }

    /// The plain key that was not accepted.
    pub(crate) fn refused(&self) -> Option<ShownKey> {
        self.state().shown.clone()
    }

    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.state().farewell.clone()
    }

    /// For the connection's record, as far as it came. `first_words` stand for the server's
    /// identification when the key exchange did not end.
    pub(crate) fn security(&self, first_words: &[u8]) -> Security {
        let state = self.state();
        let Some((host_key_type, host_key)) = state.host_key.clone() else { return Security::None };
        let agreed = state.agreed.clone().unwrap_or_else(|| Agreed {
            kex: String::new(),
            cipher: String::new(),
            mac: String::new(),
            server: PeerText::new(first_words),
        });
        Security::Ssh {
            host_key_type,
            host_key,
            kex: agreed.kex,
            cipher: agreed.cipher,
            mac: agreed.mac,
            server: agreed.server,
        }
    }

    /// Whether the server calls itself OpenSSH, and not the one for Windows.
    pub(crate) fn is_openssh(&self) -> bool {
        let server = self.state().agreed.as_ref().map(|agreed| agreed.server.to_string());
        let version = server.as_deref().and_then(|server| server.strip_prefix("SSH-2.0-OpenSSH_"));
        version.is_some_and(|version| version.starts_with(|first: char| first.is_ascii_digit()))
    }

    /// What the host key is, for a test of the endpoint.
    pub(crate) fn host_key(&self) -> Option<String> {
        self.state().host_key.as_ref().map(|(key_type, fingerprint)| format!("{key_type} {fingerprint}"))
    }
}

/// Our side of the SSH library's questions.
pub(crate) struct Guard {
    pub(crate) trust: HostTrust,
    pub(crate) algorithms: Algorithms,
    /// Seconds since 1970, for certificates.
    pub(crate) now: u64,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) address: Option<IpAddr>,
    pub(crate) seen: Arc<Seen>,
    pub(crate) cut: Arc<Cut>,
    pub(crate) record: ConnectionHandle,
}

/// Why a session ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The server is not trusted; why is in [`Seen::verdict`].
    Untrusted,
    /// By the SSH library's error.
    Ssh(russh::Error),
}

impl From<russh::Error> for Ended {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

/// A server that opens channels to us gets none: nothing here forwards anything.
macro_rules! refuse {
    ($($name:ident($($argument:ident: $kind:ty),*)),* $(,)?) => {
        $(async fn $name(
            &mut self,
            _: Channel<Msg>,
            $($argument: $kind,)*
            reply: ChannelOpenHandle,
            _: &mut Session,
        ) -> Result<(), Ended> {
            $(let _ = $argument;)*
            // Dropped unanswered, it refuses.
            drop(reply);
            Ok(())
        })*
    };
}

impl Handler for Guard {
    type Error = Ended;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Ended> {
        let place = Place { host: &self.host, port: self.port, address: self.address };
        let public_key = key.public_key();
        let wire = public_key.to_bytes().map_err(|e| Ended::Ssh(russh::Error::SshKey(e)))?;
        let (key_type, verdict) = match key.certificate() {
            None => {
                let key_type = public_key.algorithm().as_str().to_owned();
                let verdict = self.trust.judge(&place, &key_type, &wire);
                (key_type, verdict)
            }
            Some(shown) => (
                shown.algorithm().to_certificate_type(),
                certificate::judge(&self.trust, &place, shown, &self.algorithms, self.now),
            ),
        };
        let standing = self.trust.standing(&place, &key_type, &wire);
        let mut state = self.seen.state();
        state.host_key = Some((key_type.clone(), fingerprint(&wire)));
        if verdict.is_err() && key.certificate().is_none() {
            state.shown = Some(ShownKey { key_type, key: wire, standing });
        }
        match verdict {
            Ok(()) => Ok(true),
            Err(_) if matches!(self.trust, HostTrust::Nobody) => {
                self.record.closing("the host key was asked for, and nothing else");
                Err(Ended::Untrusted)
            }
            Err(error) => {
                // Said here: the library closes the socket, and with it the record, before we hear of it.
                self.record.fail(error.chain());
                state.verdict = Some(error);
                drop(state);
                self.record.set_security(self.seen.security(&self.cut.first_words()));
                Err(Ended::Untrusted)
            }
        }
    }

    async fn kex_done(
        &mut self,
        _: Option<&[u8]>,
        names: &Names,
        session: &mut Session,
    ) -> Result<(), Ended> {
        let authenticates_itself = [cipher::AES_256_GCM, cipher::AES_128_GCM, cipher::CHACHA20_POLY1305];
        let (cipher, mac_name) = (names.cipher.as_ref(), names.client_mac.as_ref());
        let mut used = vec![(Kind::KeyExchange, names.kex.as_ref()), (Kind::Cipher, cipher)];
        if !authenticates_itself.contains(&names.cipher) {
            used.push((Kind::Mac, mac_name));
        }
        let host_key = names.key.to_string();
        used.push((Kind::HostKey, &host_key));
        self.record.weaken(legacy_of(&used));
        let mac = if authenticates_itself.contains(&names.cipher) { "" } else { names.client_mac.as_ref() };
        self.seen.state().agreed = Some(Agreed {
            kex: names.kex.as_ref().to_owned(),
            cipher: names.cipher.as_ref().to_owned(),
            mac: mac.to_owned(),
            server: PeerText::new(session.remote_sshid()),
        });
        Ok(())
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Ended>) -> Result<(), Ended> {
        let (farewell, result) = match reason {
            DisconnectReason::ReceivedDisconnect(info) => (
                Farewell {
                    too_many_connections: matches!(info.reason_code, Disconnect::TooManyConnections),
                    words: info.message,
                    speaker: Speaker::Server,
                },
                Ok(()),
            ),
            DisconnectReason::Error(Ended::Ssh(error)) => {
                let words = match &error {
                    russh::Error::Disconnect | russh::Error::HUP => "the server closed the connection".into(),
                    other => other.to_string(),
                };
                let speaker = match &error {
                    russh::Error::SshEncoding(ssh_encoding::Error::CharacterEncoding) => Speaker::HereOfText,
                    _ => Speaker::Here,
                };
                (Farewell { too_many_connections: false, words, speaker }, Err(Ended::Ssh(error)))
            }
            DisconnectReason::Error(Ended::Untrusted) => (
                Farewell {
                    too_many_connections: false,
                    words: "host key not trusted".into(),
                    speaker: Speaker::Here,
                },
                Err(Ended::Untrusted),
            ),
        };
        self.seen.state().farewell.get_or_insert(farewell);
        result
    }

    refuse! {
        server_channel_open_forwarded_tcpip(_a: &str, _b: u32, _c: &str, _d: u32),
        server_channel_open_forwarded_streamlocal(_a: &str),
        server_channel_open_agent_forward(),
        server_channel_open_session(),
        server_channel_open_direct_tcpip(_a: &str, _b: u32, _c: &str, _d: u32),
        server_channel_open_direct_streamlocal(_a: &str),
        server_channel_open_x11(_a: &str, _b: u32),
    }
}
