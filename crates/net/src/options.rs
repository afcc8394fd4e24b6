//! Connection options, declared once for every transport that opens connections.
//!
//! A transport puts [`CONNECTION`] (and [`TLS`], if it does TLS) among its endpoint's fields,
//! reads them with [`ConnectOptions::read`], checks what they name with [`ConnectOptions::check`], and gets from
//! [`ConnectOptions::profile`] what [`crate::DialRequest`] and [`crate::http::HttpProfile`] take, with the
//! proxy, the certificates and the key that the options name.

use crate::tls::{self, OwnCertificate, TlsOptions, Trust};
use model::definition::Definitions;
use model::schema::{Field, FieldPath, Findings, Group, Kind, Section, TEXTS, Values};
use model::{Error, ErrorKind, Proxy, Result, TlsVersion};
use std::sync::Arc;
use std::time::Duration;

/// The options of every endpoint whose transport opens connections.
pub static CONNECTION: Group = Group::of(&[
    Field::optional(
        "proxy",
        Kind::OneOf(&[Kind::Choice(&[NO_PROXY]), Kind::Name(Section::PROXY)]),
        "The name of a [proxy.NAME] for the connections, or \"none\" to connect directly. Left out, the \
        proxy under [network] in waybill.toml, if there is one. The proxy looks up the host's address, so \
        the record of a connection shows the proxy's address and the host's name only.",
    )
    .address(),
    Field::preset(
        "connect_timeout",
        Kind::Duration,
        "30s",
        "The longest time to establish a connection, including name resolution, proxy and TLS. \"0s\" means \
        no limit.",
    ),
    Field::preset(
        "timeout",
        Kind::Duration,
        "60s",
        "The longest wait for the server while it owes an answer and no data moves. \"0s\" means no limit.",
    ),
    Field::preset(
        "keep_alive",
        Kind::Duration,
        "60s",
        "After this time without data, TCP checks whether the other side still answers (keep-alive), so \
        that firewalls do not drop the connection and a dead server is noticed. \"0s\" switches this off.",
    ),
]);

/// The options of every endpoint whose transport keeps connections open ([`crate::PoolLimits::read`]).
pub static POOL: Group = Group::of(&[
    Field::preset(
        "connections",
        Kind::Integer { min: 1, max: 16 },
        "4",
        "Most connections to the server at a time, for polling and for delivering each. Endpoints that differ in nothing \
        but name and directory share their connections, and so this number.",
    ),
    Field::preset(
        "keep_open",
        Kind::Duration,
        "60s",
        "How long a connection that nobody uses stays open for the next poll or delivery.",
    ),
    Field::preset(
        "connect_retries",
        Kind::Integer { min: 0, max: 10 },
        "3",
        "How often a connection that the server refuses because it is busy, or that could not be established, is tried \
        again after a short wait (a second and more, or a quarter of one) before the poll or delivery fails and waits as \
        its flow says. A refused login or an untrusted server is not tried again.",
    ),
]);

/// The options of every endpoint whose transport uses TLS.
pub static TLS: Group = Group::of(&[
    Field::optional("trust", Kind::Table(&TRUST), "Which servers are trusted.").address(),
    Field::optional("tls", Kind::Table(&VERSIONS), "TLS settings."),
]);

static TRUST: Group = Group::of(&[
    Field::optional(
        "authorities",
        Kind::List(&Kind::Name(Section::CERTIFICATE)),
        "Names of [certificate.NAME]: the certificate authorities that are trusted to issue the server's \
        certificate. The server's own certificate is possible, too. Left out, the authorities of this \
        system. Certificates for signing and encrypting messages are set elsewhere.",
    ),
    Field::optional(
        "pins",
        TEXTS,
        "Pins: the server must have one of these certificates or keys. \"sha256:…\" is the SHA-256 of its \
        certificate in hexadecimal, as `openssl x509 -fingerprint -sha256` prints it; \"sha256//…\" is the \
        SHA-256 of its public key in base64, as for curl's --pinnedpubkey. With `authorities`, both must \
        match. Without them, the pin alone is enough, and issuer and host name are not checked.",
    ),
]);

static VERSIONS: Group = Group::of(&[
    Field::optional(
        "client_key",
        Kind::Name(Section::KEY),
        "The name of a [key.NAME] with a certificate, for servers that ask for a client certificate.",
    )
    .login(),
    Field::preset("min", Kind::Choice(TlsVersion::WORDS), "1.2", "The lowest TLS version."),
    Field::preset(
        "max",
        Kind::Choice(TlsVersion::WORDS),
        "1.3",
        "The highest TLS version. Lower it only for a server that fails with 1.3.",
    ),
    Field::optional(
        "ciphers",
        TEXTS,
        "TLS ciphers in the order of preference, by OpenSSL's names or IANA's, such as \
         ECDHE-RSA-AES256-GCM-SHA384 or TLS_AES_256_GCM_SHA384. Names that begin with TLS_AES_ or \
         TLS_CHACHA20_ are ciphers of TLS 1.3. If the list has no cipher of a TLS version, that version \
         keeps its default ciphers.",
    )
    .per_environment(),
]);

/// The value for "no limit" where a limit is required, so that a dead peer does not hold a slot forever.
pub(crate) const NO_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// The name that overrides the process's own proxy.
pub const NO_PROXY: &str = "none";

/// An endpoint's connection options, checked; the names in them are not looked up yet.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// The name of a proxy, or [`NO_PROXY`]; `None` for the process's settings.
    pub proxy: Option<String>,
    /// The names of authorities' certificates; empty for the system's.
    pub authorities: Vec<String>,
    /// Pins, as [`Trust::Pinned`] takes them.
    pub pins: Vec<String>,
    /// The name of our key for TLS.
    pub client_key: Option<String>,
    /// Lowest and highest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Ciphers; empty for the default ones.
    pub ciphers: Vec<String>,
    /// The time until a connection can be used; `None` for no limit.
    pub connect_timeout: Option<Duration>,
    /// The longest silence while an answer is due; `None` for no limit.
    pub timeout: Option<Duration>,
    /// TCP keepalive: after how much silence the peer is probed; `None` for never.
    pub keep_alive: Option<Duration>,
}

/// How to connect, with everything that the options name.
#[derive(Clone, Debug)]
pub struct ConnectProfile {
    /// The way out: direct or through a proxy.
    pub proxy: ProxyChoice,
    /// For connections with TLS.
    pub tls: TlsOptions,
    /// The time for name resolution, socket, proxy and TLS together.
    pub connect_timeout: Duration,
    /// The longest silence while an answer is due. The protocol's own crate enforces it, because only that knows when
    /// an answer is due.
    pub timeout: Duration,
    /// TCP keepalive: after how much silence the peer is probed; `None` for never.
    pub keep_alive: Option<Duration>,
}

/// The way out: direct or through a proxy.
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

fn without_certificate(key: &str) -> String {
    format!("key '{key}' has no 'certificate', which the server is shown; add it to [key.{key}]")
}

impl ConnectOptions {
    /// Reads an endpoint's options, and reports pins and ciphers that cannot be used, and versions in the wrong order.
    /// No I/O.
    pub fn read(options: &Values, findings: &mut Findings<'_>) -> Self {
        let (trust, tls) = (options.table("trust"), options.table("tls"));
        let owned = |values: &Values, name: &str| values.texts(name).map(str::to_owned).collect::<Vec<_>>();
        let version = |name, other| tls.text(name).and_then(TlsVersion::from_word).unwrap_or(other);
        let read = Self {
            proxy: options.text("proxy").map(str::to_owned),
            authorities: owned(trust, "authorities"),
            pins: owned(trust, "pins"),
            client_key: tls.text("client_key").map(str::to_owned),
            versions: (version("min", TlsVersion::V1_2), version("max", TlsVersion::V1_3)),
            ciphers: owned(tls, "ciphers"),
            connect_timeout: options.duration("connect_timeout"),
            timeout: options.duration("timeout"),
            keep_alive: options.duration("keep_alive"),
        };
        for (pin, number) in read.pins.iter().zip(1..) {
            findings.accept(FieldPath::from("trust.pins").item(number), tls::check_pin(pin));
        }
        for (cipher, number) in read.ciphers.iter().zip(1..) {
            findings.accept(FieldPath::from("tls.ciphers").item(number), tls::check_cipher(cipher));
        }
        if read.versions.0 > read.versions.1 {
            findings.error("tls.max", "is lower than tls.min");
        }
        read
    }

    /// Checks what the options name, as far as it is defined.
    pub fn check(&self, definitions: &Definitions, findings: &mut Findings<'_>) {
        let key = self.client_key.as_ref().and_then(|name| definitions.keys.get(name));
        if let Some(key) = key.filter(|key| key.certificate.is_none()) {
            findings.error("tls.client_key", without_certificate(&key.name));
        }
    }

    /// The same with everything that it names.
    ///
    /// # Errors
    /// `ConfigInvalid`: an undefined proxy, certificate or key, or a key without a certificate.
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
                None => Err(undefined("trust.authorities", "certificate", name)),
            })
            .collect::<Result<_>>()?;
        let client_certificate = match &self.client_key {
            None => None,
            Some(name) => {
                let key =
                    definitions.keys.get(name).ok_or_else(|| undefined("tls.client_key", "key", name))?;
                let Some(certificates) = key.certificate.clone() else {
                    return Err(invalid("tls.client_key", without_certificate(name)));
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
