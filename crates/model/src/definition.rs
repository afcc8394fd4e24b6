//! What a person defines: endpoints, partners, identities, keys and flows (design, section 6).
//!
//! These are the checked forms. Documents are read, and references resolved, by the `config` room.

mod flow;
mod partner;

pub use flow::{
    After, ClaimBy, Destination, Flow, FlowSource, Order, PollSource, ReceiveSource, RetryPolicy, SettleWhen,
};
pub use partner::{
    Agreement, As2Id, Cipher, DigestName, DuplicatePolicy, Identity, MdnRequest, Partner, SendSecurity,
};

use crate::{Options, Proxy, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;
use url::Url;

/// A configured remote or local place.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Its name.
    pub name: String,
    /// The transport that speaks to it, such as `sftp`.
    pub transport: String,
    /// Where it is, without user or password.
    pub url: Option<Url>,
    /// The user to log in as.
    pub username: Option<String>,
    /// The partner on the other side, for AS2.
    pub partner: Option<String>,
    /// Our own side, for AS2.
    pub identity: Option<String>,
    /// The node that may use it, for a folder that is not shared.
    pub node: Option<String>,
    /// The transport's own options, defaults filled in.
    pub options: Options,
}

/// A certificate that a partner uses.
#[derive(Clone, Debug)]
pub struct CertificateDefinition {
    /// Its name.
    pub name: String,
    /// The certificate, PEM.
    pub pem: String,
}

/// A private key of ours with its certificate.
#[derive(Clone, Debug)]
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
#[derive(Clone, Debug)]
pub struct Credential {
    /// Its name.
    pub name: String,
    /// The user.
    pub username: String,
    /// The password.
    pub password: Secret<String>,
}

/// A proxy that endpoints name.
#[derive(Clone, Debug)]
pub struct ProxyDefinition {
    /// Its name.
    pub name: String,
    /// Where it is and who logs in to it.
    pub proxy: Arc<Proxy>,
}

/// All definitions in force, as one immutable revision.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    /// The revision's number; 0 before the first.
    pub revision: i64,
    /// Own identities by name.
    pub identities: BTreeMap<String, Arc<Identity>>,
    /// Partners by name.
    pub partners: BTreeMap<String, Arc<Partner>>,
    /// Partner certificates by name.
    pub certificates: BTreeMap<String, Arc<CertificateDefinition>>,
    /// Own keys by name.
    pub keys: BTreeMap<String, Arc<KeyDefinition>>,
    /// Credentials by name.
    pub credentials: BTreeMap<String, Arc<Credential>>,
    /// Proxies by name.
    pub proxies: BTreeMap<String, Arc<ProxyDefinition>>,
    /// Endpoints by name.
    pub endpoints: BTreeMap<String, Arc<Endpoint>>,
    /// Flows by name.
    pub flows: BTreeMap<String, Arc<Flow>>,
}
