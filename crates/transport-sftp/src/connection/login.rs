//! Logging in to a trusted server: with a private key or password, each tried once.

use crate::connection::{Ending, Remote};
use crate::options::ResolvedLogin;
use crate::protocol::handshake::{Guard, Speaker};
use crate::protocol::key;
use model::{Error, ErrorKind, Result};
use russh::client::{AuthResult, Handle};
use russh::keys::{Algorithm, HashAlg, PrivateKey, PrivateKeyWithHashAlg};
use russh::{MethodKind, MethodSet};
use std::sync::{Arc, PoisonError};

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
        let lost = |_| self.login_lost(ending);
        let mut tried = Vec::new();
        let mut offered = None;
        if let Some(key) = self.private_key(&login).await? {
            let hash = self.rsa_hash(ssh, &key).await?;
            tried.push(format!("private key {}", key.fingerprint(HashAlg::Sha256)));
            let key = PrivateKeyWithHashAlg::new(key, hash);
            match ssh.authenticate_publickey(&login.username, key).await.map_err(lost)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        let password_helps =
            offered.as_ref().is_none_or(|methods: &MethodSet| methods.contains(&MethodKind::Password));
        if let Some(password) = login.password.as_ref().filter(|_| password_helps) {
            tried.push("password".to_owned());
            match ssh.authenticate_password(&login.username, password.reveal()).await.map_err(lost)? {
                AuthResult::Success => return Ok(()),
                AuthResult::Failure { remaining_methods, .. } => offered = Some(remaining_methods),
            }
        }
        let methods = offered.unwrap_or_else(MethodSet::empty);
        // A closed connection looks like a refusal without any method.
        if methods.is_empty() && (ssh.is_closed() || ending.seen.farewell().is_some()) {
            return Err(self.login_lost(ending));
        }
        Err(self.refused(&login, &tried, &methods))
    }

    fn refused(&self, login: &ResolvedLogin, tried: &[String], methods: &MethodSet) -> Error {
        let names: Vec<&str> = methods.iter().map(<&str>::from).collect();
        let offers = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        let error = Error::permanent(ErrorKind::Unauthenticated, "log in: authentication failed")
            .with("host", self.settings.target())
            .with("user", &login.username)
            .with("tried", tried.join(", "))
            .with("server offers", offers);
        let only_prompts =
            methods.contains(&MethodKind::KeyboardInteractive) && !methods.contains(&MethodKind::Password);
        error.advice(if only_prompts && login.password.is_some() {
            "the server accepts passwords by the keyboard-interactive method only, which is not supported \
            yet; ask its operator for password or key authentication"
        } else {
            "check user name, password and key; Waybill does not try again by itself, because many servers \
            lock accounts after failed logins"
        })
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
                        "the server ended the login after failed attempts; check user name, password and key",
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

    /// The hash that an RSA key signs with; never SHA-1.
    async fn rsa_hash(&self, ssh: &Handle<Guard>, key: &PrivateKey) -> Result<Option<HashAlg>> {
        if !matches!(key.algorithm(), Algorithm::Rsa { .. }) {
            return Ok(None);
        }
        match ssh.best_supported_rsa_hash().await {
            Ok(Some(Some(hash))) => Ok(Some(hash)),
            Ok(Some(None)) => Err(Error::permanent(ErrorKind::Unsupported, "log in with an RSA key")
                .with("host", self.settings.target())
                .advice("the server accepts RSA signatures with SHA-1 only, which is broken; use an ed25519 or ECDSA key")),
            // It does not say what it accepts: RFC 8332 recommends trying SHA-2.
            Ok(None) | Err(_) => Ok(Some(HashAlg::Sha512)),
        }
    }
}
