//! Connection options: what every transport that dials can be told of its connections, declared once.
//!
//! A transport puts [`CONNECT_FIELDS`] (and [`TLS_FIELDS`], if it does TLS) among its endpoint's options,
//! reads them with [`ConnectOptions::read`] when an endpoint is checked, and gets from
//! [`ConnectOptions::profile`] what [`crate::DialRequest`] and [`crate::http::HttpProfile`] take, with the
//! proxy, the certificates and the key that the options name.

use crate::tls::{self, OwnCertificate, TlsOptions, Trust};
use model::definition::Definitions;
use model::{Error, ErrorKind, OptionKind, OptionSpec, Options, Proxy, Result, TlsVersion};
use std::sync::Arc;
use std::time::Duration;

const fn field(
    name: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    doc: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind, default, required: false, doc }
}

/// The options of every transport that dials.
pub const CONNECT_FIELDS: [OptionSpec; 4] = [
    field(
        "proxy",
        OptionKind::Text,
        None,
        "The name of a [proxy.NAME] that connections go through, or \"none\" to connect directly. Left out: the \
         proxy that waybill.toml names under [network], or none. The proxy finds the host's address, so the record \
         of a connection shows the proxy's address and only the name of the host.",
    ),
    field(
        "connect_timeout",
        OptionKind::Duration,
        Some("30s"),
        "Longest time until a connection can be used: the host's address, the connection itself, the proxy and \
         TLS together. \"0s\" sets no limit.",
    ),
    field(
        "timeout",
        OptionKind::Duration,
        Some("60s"),
        "Longest silence: how long to wait while the server owes an answer and no byte moves. \"0s\" sets no limit.",
    ),
    field(
        "keep_alive",
        OptionKind::Duration,
        Some("60s"),
        "After so long a silence TCP asks whether the other side is still there, so that firewalls do not forget \
         the connection and a dead server is noticed. \"0s\" never asks.",
    ),
];

/// The options of every transport that does TLS.
pub const TLS_FIELDS: [OptionSpec; 6] = [
    field(
        "trust_authorities",
        OptionKind::List,
        None,
        "Names of [certificate.NAME]: the authorities that may vouch for the server. A server's own certificate may \
         stand here, too. Left out: the authorities of this system. Apart from the certificates that sign and \
         encrypt messages.",
    ),
    field(
        "trust_pins",
        OptionKind::List,
        None,
        "The server must show one of these. \"sha256:…\" is the SHA-256 of its certificate in hexadecimal, as \
         `openssl x509 -fingerprint -sha256` prints it; \"sha256//…\" is the SHA-256 of its public key in base64, as \
         curl's --pinnedpubkey takes it. With trust_authorities both must be right; alone, a pin is enough, \
         whoever issued the certificate and whatever name it carries.",
    ),
    field(
        "tls_client_key",
        OptionKind::Text,
        None,
        "The name of a [key.NAME] with a certificate: shown to a server that asks for a client certificate.",
    ),
    field("tls_min", OptionKind::Choice(TlsVersion::WORDS), Some("1.2"), "The lowest TLS version."),
    field(
        "tls_max",
        OptionKind::Choice(TlsVersion::WORDS),
        Some("1.3"),
        "The highest TLS version. Lower it only for a server that fails with 1.3.",
    ),
    field(
        "tls_ciphers",
        OptionKind::List,
        None,
        "TLS ciphers in the order of preference, by OpenSSL's names or IANA's, such as \
         ECDHE-RSA-AES256-GCM-SHA384 or TLS_AES_256_GCM_SHA384. Names that begin with TLS_AES_ or TLS_CHACHA20_ are \
         those of TLS 1.3; a version of which none is named keeps its usual ones.",
    ),
];

/// Stands for "no limit" where a limit must be given: it keeps a dead peer from holding a slot for ever.
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The name that overrides the process's own proxy.
pub const NO_PROXY: &str = "none";

/// Connection options as an endpoint gives them: checked, the names in them not looked up yet.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The name of a proxy, or [`NO_PROXY`]; `None` leaves it to the process's settings.
    pub proxy: Option<String>,
    /// Names of certificates of authorities; none for the system's.
    pub authorities: Vec<String>,
    /// Pins, as [`Trust::Pinned`] takes them.
    pub pins: Vec<String>,
    /// The name of the key to show.
    pub client_key: Option<String>,
    /// Lowest and highest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Ciphers; none for the usual ones.
    pub ciphers: Vec<String>,
    /// Until a connection can be used; `None` for no limit.
    pub connect_timeout: Option<Duration>,
    /// Longest silence while an answer is owed; `None` for no limit.
    pub timeout: Option<Duration>,
    /// When TCP asks after a silent peer; `None` for never.
    pub keep_alive: Option<Duration>,
}

/// How to connect, everything that options name looked up.
#[derive(Clone, Debug)]
pub struct ConnectProfile {
    /// How connections leave.
    pub proxy: ProxyChoice,
    /// For connections that do TLS.
    pub tls: TlsOptions,
    /// For name, socket, proxy and TLS together.
    pub connect_timeout: Duration,
    /// Longest silence while an answer is owed. The protocol's own room carries it out, as only it knows when
    /// an answer is owed.
    pub timeout: Duration,
    /// When TCP asks after a silent peer; `None` for never.
    pub keep_alive: Option<Duration>,
}

/// How connections leave.
#[derive(Clone, Debug, Default)]
pub enum ProxyChoice {
    /// Through the process's own proxy ([`crate::NetSettings::proxy`]), if it has one.
    #[default]
    Process,
    /// Directly.
    Disabled,
    /// Through this proxy.
    Through(Arc<Proxy>),
}

impl Default for ConnectProfile {
    fn default() -> Self {
        Self {
            proxy: ProxyChoice::Process,
            tls: TlsOptions::default(),
            connect_timeout: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            keep_alive: Some(crate::socket::KEEP_ALIVE),
        }
    }
}

fn invalid(option: &'static str, advice: impl Into<String>) -> Error {
    Error::permanent(ErrorKind::ConfigInvalid, "read connection options")
        .with("option", option)
        .advice(advice.into())
}

impl ConnectOptions {
    /// Reads an endpoint's options. No I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the option: a pin or cipher that is none, versions in the wrong order.
    pub fn read(options: &Options) -> Result<Self> {
        let text = |name: &str| options.text(name).filter(|text| !text.is_empty()).map(str::to_owned);
        let version = |name, other| text(name).and_then(|word| TlsVersion::from_word(&word)).unwrap_or(other);
        let read = Self {
            proxy: text("proxy"),
            authorities: options.list("trust_authorities").to_vec(),
            pins: options.list("trust_pins").to_vec(),
            client_key: text("tls_client_key"),
            versions: (version("tls_min", TlsVersion::V1_2), version("tls_max", TlsVersion::V1_3)),
            ciphers: options.list("tls_ciphers").to_vec(),
            connect_timeout: options.duration("connect_timeout"),
            timeout: options.duration("timeout"),
            keep_alive: options.duration("keep_alive"),
        };
        tls::check_pins(&read.pins).map_err(|error| error.with("option", "trust_pins"))?;
        tls::check_ciphers(&read.ciphers).map_err(|why| invalid("tls_ciphers", why))?;
        if read.versions.0 > read.versions.1 {
            return Err(invalid("tls_max", "is lower than tls_min"));
        }
        Ok(read)
    }

    /// The same with all that it names.
    ///
    /// # Errors
    /// `ConfigInvalid`: a proxy, certificate or key that is not defined; a key without a certificate.
    pub fn profile(&self, definitions: &Definitions) -> Result<ConnectProfile> {
        let undefined = |option, kind: &str, name: &str| {
            invalid(option, format!("define [{kind}.{name}], or correct the name")).with("name", name)
        };
        let proxy = match self.proxy.as_deref() {
            None => ProxyChoice::Process,
            Some(NO_PROXY) => ProxyChoice::Disabled,
            Some(name) => {
                let found = definitions.proxies.get(name).ok_or_else(|| undefined("proxy", "proxy", name))?;
                ProxyChoice::Through(Arc::clone(&found.proxy))
            }
        };
        let authorities: Vec<String> = self
            .authorities
            .iter()
            .map(|name| match definitions.certificates.get(name) {
                Some(certificate) => Ok(certificate.pem.clone()),
                None => Err(undefined("trust_authorities", "certificate", name)),
            })
            .collect::<Result<_>>()?;
        let client_certificate = match &self.client_key {
            None => None,
            Some(name) => {
                let key =
                    definitions.keys.get(name).ok_or_else(|| undefined("tls_client_key", "key", name))?;
                let Some(certificates) = key.certificate.clone() else {
                    return Err(invalid("tls_client_key", "give the key its certificate").with("key", name));
                };
                let (private_key, passphrase) = (key.private_key.clone(), key.passphrase.clone());
                Some(OwnCertificate { certificates, private_key, passphrase })
            }
        };
        let trust = match (self.pins.is_empty(), authorities.is_empty()) {
            (false, _) => Trust::Pinned { pins: self.pins.clone(), authorities, accept_expired: false },
            (true, false) => Trust::Authorities(authorities),
            (true, true) => Trust::System,
        };
        let tls = TlsOptions {
            trust,
            client_certificate,
            versions: self.versions,
            ciphers: self.ciphers.clone(),
            server_name: None,
        };
        Ok(ConnectProfile {
            proxy,
            tls,
            connect_timeout: self.connect_timeout.unwrap_or(NO_LIMIT),
            timeout: self.timeout.unwrap_or(NO_LIMIT),
            keep_alive: self.keep_alive,
        })
    }
}

#[cfg(test)]
mod tests;
