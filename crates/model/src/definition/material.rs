//! Certificates, keys, credentials and proxies: what others refer to by name.

use crate::{Proxy, Secret};
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
    /// The private key, PEM (PKCS #8, PKCS #1 or SEC 1).
    pub private_key: Secret<String>,
    /// The passphrase of the private key, when it is encrypted.
    pub passphrase: Option<Secret<String>>,
    /// The certificate, PEM; none for a key that needs none (SSH).
    pub certificate: Option<String>,
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
