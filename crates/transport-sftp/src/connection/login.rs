//! Logging in to a trusted server: with a private key, its certificate, a key of the SSH agent, a password, or an answer to
//! the server's question. Each is tried once.

mod agent;
mod signing;

use crate::connection::{Ending, Remote};
use crate::options::{Method, ResolvedLogin};
use crate::protocol::certificate;
use crate::protocol::handshake::{Guard, Speaker};
use crate::protocol::key;
use model::{Error, ErrorKind, PeerText, Result, Secret};
use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};
use signing::OurKey;
use std::sync::{Arc, PoisonError};

/// Most questions that a server may ask in one login.
const QUESTIONS: usize = 8;

/// How a method ended.
enum Tried {
    LoggedIn,
    /// Refused, or one of several that the server asks for.
    More {
        offered: MethodSet,
        /// The server accepted it and asks for another one too.
        accepted: bool,
    },
    /// There is nothing to log in with by it.
    Nothing,
}

impl From<AuthResult> for Tried {
    fn from(result: AuthResult) -> Self {
        match result {
            AuthResult::Success => Self::LoggedIn,
            AuthResult::Failure { remaining_methods, partial_success } => {
                Self::More { offered: remaining_methods, accepted: partial_success }
            }
        }
    }
}

const fn kind(method: Method) -> MethodKind {
    match method {
        Method::PublicKey => MethodKind::PublicKey,
        Method::Password => MethodKind::Password,
        Method::KeyboardInteractive => MethodKind::KeyboardInteractive,
    }
}

impl Remote {
    /// Logs in.
    ///
    /// # Errors
    /// `Unauthenticated`, permanent, naming user, host and what the server offers; `ConfigInvalid` for a key that
    /// cannot be read; a transient error if the login was not completed.
    pub(crate) async fn authenticate(&self, ssh: &mut Handle<Guard>, ending: &Ending) -> Result<()> {
        let definitions = self.services.directory.definitions();
        let login = self.settings.login.resolve(
            |name| definitions.credentials.get(name).cloned(),
            |name| definitions.keys.get(name).cloned(),
        )?;
        let mut tried = Vec::new();
        let mut offered: Option<MethodSet> = None;
        let mut left = login.methods.clone();
        let mut at = 0;
        while let Some(method) = left.get(at).copied() {
            at += 1;
            if offered.as_ref().is_some_and(|offered| !offered.contains(&kind(method))) {
                continue;
            }
            match self.try_method(method, &login, ssh, ending, &mut tried).await? {
                Tried::LoggedIn => return Ok(()),
                Tried::Nothing => {}
                Tried::More { offered: now, accepted } => {
                    let was_offered = now.contains(&kind(method));
                    offered = Some(now);
                    if accepted {
                        left.retain(|other| *other != method);
                        // Those that were not offered before may be asked for now.
                        at = 0;
                    } else if was_offered {
                        // Refused: many servers lock accounts after a few failed logins, so the same password is not
                        // given again by the other method that carries it.
                        let with_password = [Method::Password, Method::KeyboardInteractive];
                        let carries = with_password.contains(&method);
                        left.retain(|other| *other != method && !(carries && with_password.contains(other)));
                        at = 0;
                    }
                }
            }
        }
        let methods = offered.unwrap_or_else(MethodSet::empty);
        // A closed connection looks like a refusal without any method.
        if methods.is_empty() && (ssh.is_closed() || ending.seen.farewell().is_some()) {
            return Err(self.login_lost(ending));
        }
        Err(self.refused(&login, &tried, &methods))
    }

    async fn try_method(
        &self,
        method: Method,
        login: &ResolvedLogin,
        ssh: &mut Handle<Guard>,
        ending: &Ending,
        tried: &mut Vec<String>,
    ) -> Result<Tried> {
        let lost = |_| self.login_lost(ending);
        match method {
            Method::PublicKey if login.agent.is_some() => self.try_agent(login, ssh, ending, tried).await,
            Method::PublicKey => {
                let Some(key) = self.private_key(login).await? else { return Ok(Tried::Nothing) };
                let hash = self.rsa_hash(ssh, &key.algorithm()).await?;
                let fingerprint = key.fingerprint(HashAlg::Sha256);
                if let Some(shown) = &login.certificate {
                    let id = PeerText::from(shown.key_id());
                    tried.push(format!("private key {fingerprint} with certificate {id}"));
                    let mut signer = OurKey(Arc::clone(&key));
                    let shown = russh::keys::Certificate::clone(shown);
                    let result = ssh.authenticate_certificate_with(&login.username, shown, hash, &mut signer);
                    return Ok(result.await.map_err(|_| self.login_lost(ending))?.into());
                }
                tried.push(format!("private key {fingerprint}"));
                let key = PrivateKeyWithHashAlg::new(key, hash);
                Ok(ssh.authenticate_publickey(&login.username, key).await.map_err(lost)?.into())
            }
            Method::Password => {
                let Some(password) = &login.password else { return Ok(Tried::Nothing) };
                tried.push("password".to_owned());
                let result = ssh.authenticate_password(&login.username, password.reveal()).await;
                Ok(result.map_err(lost)?.into())
            }
            Method::KeyboardInteractive => {
                let Some(password) = &login.password else { return Ok(Tried::Nothing) };
                tried.push("keyboard-interactive".to_owned());
                self.answer_questions(login, password, ssh, ending).await
            }
        }
    }

    /// Answers what the server asks (RFC 4256): a hidden question with the password, once; a shown one with the user name.
    async fn answer_questions(
        &self,
        login: &ResolvedLogin,
        password: &Secret<String>,
        ssh: &mut Handle<Guard>,
        ending: &Ending,
    ) -> Result<Tried> {
        let lost = |_| self.login_lost(ending);
        let mut answered = false;
        let start = ssh.authenticate_keyboard_interactive_start(&login.username, None::<String>);
        let mut response = start.await.map_err(lost)?;
        for _ in 0..QUESTIONS {
            let prompts = match response {
                KeyboardInteractiveAuthResponse::Success => return Ok(Tried::LoggedIn),
                KeyboardInteractiveAuthResponse::Failure { remaining_methods, partial_success } => {
                    return Ok(Tried::More { offered: remaining_methods, accepted: partial_success });
                }
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => prompts,
            };
            let mut answers = Vec::with_capacity(prompts.len());
            for prompt in prompts {
                match prompt.echo {
                    true => answers.push(login.username.clone()),
                    false if !answered => {
                        answered = true;
                        answers.push(password.reveal().clone());
                    }
                    false => return Err(self.asks_more(login, &prompt.prompt)),
                }
            }
            let respond = ssh.authenticate_keyboard_interactive_respond(answers);
            response = respond.await.map_err(|_| self.login_lost(ending))?;
        }
        Err(self.asks_more(login, "one question after the other"))
    }

    fn asks_more(&self, login: &ResolvedLogin, question: &str) -> Error {
        Error::permanent(ErrorKind::Unauthenticated, "log in: the server asks for more than a password")
            .with("host", self.settings.target())
            .with("user", &login.username)
            .said(question)
            .advice(
                "a question was answered with the password, and the server asks another one (a wrong password, or a one-time \
                code, which nobody can give here); ask its operator for key authentication",
            )
    }

    fn refused(&self, login: &ResolvedLogin, tried: &[String], methods: &MethodSet) -> Error {
        let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
        let offers = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let error = Error::permanent(ErrorKind::Unauthenticated, "log in: authentication failed")
            .with("host", self.settings.target())
            .with("user", &login.username)
            .with("tried", tried.join(", "))
            .with("server offers", offers);
        let now = u64::try_from(self.services.clock.now().timestamp()).unwrap_or_default();
        let unfit =
            login.certificate.as_ref().and_then(|shown| certificate::unfit(shown, &login.username, now));
        if let Some(why) = unfit {
            return error.with("certificate", why).advice(
                "the certificate does not fit; have its authority sign a new one, then change the endpoint's certificate",
            );
        }
        error.advice(
            "check user name, password and key; the endpoint is tried again only after a while, because many servers \
            lock accounts after failed logins",
        )
    }

    fn login_lost(&self, ending: &Ending) -> Error {
        match ending.seen.farewell() {
            Some(farewell) if farewell.too_many_connections => {
                farewell.tell(self.error(ErrorKind::Throttled, "log in", ending))
            }
            // OpenSSH answers so when a user's attempts are used up; waiting does not help.
            Some(farewell) if farewell.words.contains("Too many authentication failures") => {
                Error::permanent(ErrorKind::Unauthenticated, "log in: authentication failed")
                    .with("host", self.settings.target())
                    .said(farewell.words)
                    .advice(
                        "the server ended the login after failed attempts; check user name, password and key (a key of an agent \
                        is best named by its fingerprint)",
                    )
            }
            Some(farewell) if farewell.speaker == Speaker::HereOfText => {
                farewell.tell(self.error(ErrorKind::Unsupported, "complete the login", ending))
            }
            Some(farewell) => farewell.tell(self.error(ErrorKind::Unreachable, "complete the login", ending)),
            None => self.error(ErrorKind::Unreachable, "complete the login", ending),
        }
    }

    async fn private_key(&self, login: &ResolvedLogin) -> Result<Option<Arc<PrivateKey>>> {
        let Some((text, passphrase)) = login.private_key.clone() else { return Ok(None) };
        let cached = self.key.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((from, key)) = cached
            && from.reveal() == text.reveal()
        {
            return Ok(Some(key));
        }
        let source = text.clone();
        let reading = tokio::task::spawn_blocking(move || key::read(&source, passphrase.as_ref()));
        let key = reading
            .await
            .map_err(|e| Error::transient(ErrorKind::Internal, "read the private key").caused_by(e))?
            .map_err(|error| error.with("host", self.settings.target()))?;
        *self.key.lock().unwrap_or_else(PoisonError::into_inner) = Some((text, Arc::clone(&key)));
        Ok(Some(key))
    }

    /// The hash that an RSA key signs with; SHA-1 (`None`) only where the endpoint allows it and the server has no better.
    async fn rsa_hash(&self, ssh: &Handle<Guard>, key: &Algorithm) -> Result<Option<HashAlg>> {
        if !matches!(key, Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        let legacy = self.settings.algorithms.policy.legacy;
        match ssh.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => Ok(Some(hash)),
            Ok(Some(None)) if legacy => Ok(None),
            Ok(Some(None)) => Err(Error::permanent(ErrorKind::Unsupported, "log in with an RSA key")
                .with("host", self.settings.target())
                .advice("the server accepts RSA signatures with SHA-1 only, which is broken; use an ed25519 or ECDSA key, or set legacy = true")),
            // It does not say what it accepts. RFC 8332 recommends trying SHA-2; servers from before it have SHA-1 alone.
            Ok(None) | Err(_) => Ok((!legacy).then_some(HashAlg::Sha512)),
        }
    }
}
