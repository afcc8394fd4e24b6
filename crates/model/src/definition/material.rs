//! Certificates, keys, credentials and proxies: what others refer to by name.

use crate::{Proxy, Secret};
use serde::Serialize;
use std::sync::Arc;

/// A certificate that a partner uses.
#[derive(Clone, PartialEq, Debug)]
pub struct CertificateDefinition {
    /// Its name.
    pub name: String,
    /// The certificate, PEM.
    pub pem: String,
}

/// A private key of ours with its certificate.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyDefinition {
    /// Its name.
    pub name: String,
    /// The private key, PEM (PKCS #8, PKCS #1 or SEC 1), or in OpenSSH's own form.
    pub private_key: Secret<String>,
    /// The passphrase of the private key, when it is encrypted.
    pub passphrase: Option<Secret<String>>,
    /// The certificate, PEM; none for a key that needs none (SSH).
    pub certificate: Option<String>,
}

/// The public half of a key, as it is given to partners.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct PublicKey {
    /// Such as `ssh-ed25519`.
    pub algorithm: String,
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    pub fingerprint: String,
    /// The key in OpenSSH's form without a comment, such as `ssh-ed25519 AAAA…`.
    pub openssh: String,
}

impl PublicKey {
    /// The line of an `authorized_keys` file; the comment says whose it is.
    #[must_use]
    pub fn authorized_keys_line(&self, comment: &str) -> String {
        format!("{} {comment}", self.openssh)
    }

    /// The line of a `known_hosts` file; `hosts` are names and addresses, separated by commas.
    #[must_use]
    pub fn known_hosts_line(&self, hosts: &str) -> String {
        format!("{hosts} {}", self.openssh)
    }
}

/// A user name with its password, used by any number of endpoints.
#[derive(Clone, PartialEq, Debug)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// A proxy that endpoints name.
#[derive(Clone, PartialEq, Debug)]
pub struct ProxyDefinition {
    /// Its name.
    pub name: String,
    /// Where it is and who logs in to it.
    pub proxy: Arc<Proxy>,
}
