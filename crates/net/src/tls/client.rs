//! TLS to servers: TLS 1.2 or newer; chain and name are verified unless a profile says otherwise.

use super::certificate::OwnCertificate;
use super::ciphers::{check_cipher, of_library, set_ciphers};
use super::pin::{PeerPin, public_key};
use super::session::{self, TlsSession};
use super::shown::{certificate_record, hex, security};
use super::unusable;
use crate::connection::lock;
use crate::stream::Counted;
use model::{Certificate, Error, ErrorKind, Result, Security, TlsVersion};
use openssl::error::ErrorStack;
use openssl::sha::Sha256;
use openssl::ssl::{SslConnector, SslMethod, SslRef, SslVerifyMode};
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509VerifyFlags;
use openssl::x509::{X509, X509StoreContextRef, X509VerifyResult};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use tokio_openssl::SslStream;

/// Which servers are trusted.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Servers with a chain to one of the system's authorities and the requested name.
    System,
    /// Servers with a chain to one of these certificates (PEM; any number in each text) and the requested name. They
    /// may include an intermediate or the server's own certificate.
    Authorities(Vec<String>),
    /// Servers with one of these certificates or public keys.
    Pinned {
        /// `sha256:HEX` for the certificate (colons and spaces allowed), `sha256//BASE64` for the public key.
        pins: Vec<String>,
        /// Certificates (PEM) to which the chain must also lead, for the requested name. Empty: a pin is enough,
        /// whatever the certificate's issuer and name.
        authorities: Vec<String>,
        /// Whether a pinned certificate is accepted after it has expired.
        accept_expired: bool,
    },
    /// Any server. Recorded as a weakness with each connection.
    Unverified,
}

/// The TLS settings for a server.
#[derive(Clone, Debug)]
pub struct TlsOptions {
    /// Which servers are trusted.
    pub trust: Trust,
    /// Our certificate, if the server asks for one.
    pub client_certificate: Option<OwnCertificate>,
    /// Lowest and highest version.
    pub versions: (TlsVersion, TlsVersion),
    /// Ciphers in the order of preference; empty for the default ones.
    pub ciphers: Vec<String>,
    /// The name to request and verify, if it is not the host that is dialled.
    pub server_name: Option<String>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            trust: Trust::System,
            client_certificate: None,
            versions: (TlsVersion::V1_2, TlsVersion::V1_3),
            ciphers: Vec::new(),
            server_name: None,
        }
    }
}

/// Checked TLS settings for a server. Cheap to clone; two profiles with the same options are equal.
#[derive(Clone)]
pub struct TlsProfile(Arc<Profile>);

struct Profile {
    connector: SslConnector,
    check: Check,
    server_name: Option<String>,
    identity: [u8; 32],
}

#[derive(Clone)]
enum Check {
    Chain,
    Pins {
        pins: Arc<Vec<PeerPin>>,
        accept_expired: bool,
        /// Whether the chain is also verified.
        chain: bool,
    },
    Nothing,
}

impl Check {
    /// Whether the chain must lead to an authority and the name must match.
    fn wants_chain(&self) -> bool {
        matches!(self, Self::Chain | Self::Pins { chain: true, .. })
    }

    /// The pins, as they are written in definitions: beside what the server shows, they tell what changed.
    fn pinned(&self) -> String {
        let Self::Pins { pins, .. } = self else { return String::new() };
        pins.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

/// The certificate that the peer sent, noted during verification: after a failure OpenSSL no longer has it.
#[derive(Default)]
struct Shown {
    chain: Vec<Certificate>,
    fault: Option<(X509VerifyResult, u32)>,
    pin_differs: bool,
}

impl TlsProfile {
    /// Checks options and prepares them.
    ///
    /// # Errors
    /// `ConfigInvalid`: a certificate, key or pin cannot be read, or key and certificate do not match.
    pub fn new(options: &TlsOptions) -> Result<Self> {
        let broken = unusable("prepare TLS");
        let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(&broken)?;
        let (lowest, highest) = options.versions;
        builder.set_min_proto_version(Some(of_library(lowest))).map_err(&broken)?;
        builder.set_max_proto_version(Some(of_library(highest))).map_err(&broken)?;
        let invalid = |why: String| Error::permanent(ErrorKind::ConfigInvalid, "prepare TLS").advice(why);
        options.ciphers.iter().try_for_each(|name| check_cipher(name)).map_err(invalid)?;
        set_ciphers(&mut builder, &options.ciphers).map_err(&broken)?;
        let check = match &options.trust {
            Trust::System => Check::Chain,
            Trust::Authorities(texts) => {
                builder.set_cert_store(authorities(texts)?);
                Check::Chain
            }
            Trust::Pinned { pins, authorities: texts, accept_expired } => {
                let pins = pins.iter().map(|text| PeerPin::read(text).map_err(invalid));
                let pins = pins.collect::<Result<Vec<_>>>()?;
                if pins.is_empty() {
                    return Err(Error::permanent(ErrorKind::ConfigInvalid, "prepare TLS")
                        .advice("give at least one certificate to pin"));
                }
                let chain = !texts.is_empty();
                if chain {
                    builder.set_cert_store(authorities(texts)?);
                }
                Check::Pins { pins: Arc::new(pins), accept_expired: *accept_expired, chain }
            }
            Trust::Unverified => Check::Nothing,
        };
        if let Some(own) = &options.client_certificate {
            own.read()?.put_into(&mut builder).map_err(&broken)?;
        }
        session::keep_newest(&mut builder).map_err(&broken)?;
        Ok(Self(Arc::new(Profile {
            connector: builder.build(),
            check,
            server_name: options.server_name.clone(),
            identity: identity(options),
        })))
    }

    /// The protections that the profile switches off.
    pub(crate) fn weakened(&self) -> Option<&'static str> {
        matches!(self.0.check, Check::Nothing).then_some("the server's certificate is not verified")
    }

    /// Identifies a profile without showing its content.
    pub(crate) fn identity(&self) -> [u8; 32] {
        self.0.identity
    }
}

impl PartialEq for TlsProfile {
    fn eq(&self, other: &Self) -> bool {
        self.0.identity == other.0.identity
    }
}

impl Eq for TlsProfile {}

impl std::fmt::Debug for TlsProfile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TlsProfile").field(&hex(&self.0.identity[..4])).finish()
    }
}

/// Does the handshake over a connected socket. The caller's deadline limits it. With `resumed`, the newest session kept
/// there is offered to the server, and the connection's own sessions are kept there.
///
/// # Errors
/// `TrustFailed`, `Permanent`: the server could not prove its identity; the error contains its certificate.
/// `Protocol`, `Permanent`: there is no common TLS version or cipher. `Unreachable`, `Transient`: it closed the
/// connection.
pub(crate) async fn handshake(
    profile: &TlsProfile,
    host: &str,
    resumed: Option<&TlsSession>,
    socket: Counted,
) -> Result<(Pin<Box<SslStream<Counted>>>, Security)> {
    let profile = &*profile.0;
    let name = profile.server_name.as_deref().unwrap_or(host);
    let shown = Arc::new(Mutex::new(Shown::default()));
    let broken = unusable("begin TLS");
    let mut ssl = profile
        .connector
        .configure()
        .and_then(|configured| configured.verify_hostname(profile.check.wants_chain()).into_ssl(name))
        .map_err(&broken)?;
    ssl.set_verify_callback(SslVerifyMode::PEER, {
        let (check, shown) = (profile.check.clone(), shown.clone());
        move |good, context| verify(&check, &shown, good, context)
    });
    if let Some(resumed) = resumed {
        resumed.offer(&mut ssl).map_err(&broken)?;
    }
    let mut session = Box::pin(SslStream::new(ssl, socket).map_err(&broken)?);
    let result = session.as_mut().connect().await;
    let shown = std::mem::take(&mut *lock(&shown));
    match result {
        Ok(()) => {
            // The callback has already verified this; it is checked again because everything depends on it.
            check_pin(&profile.check, session.ssl(), name)?;
            let security = security(session.ssl());
            Ok((session, security))
        }
        Err(error) => Err(explain(error, &shown, &profile.check, name)),
    }
}

/// Called by OpenSSL for each certificate of the chain, and for each error in it.
fn verify(check: &Check, shown: &Mutex<Shown>, good: bool, context: &mut X509StoreContextRef) -> bool {
    let mut shown = lock(shown);
    if shown.chain.is_empty() {
        let chain = context.chain().into_iter().flatten();
        shown.chain = chain.take(10).map(certificate_record).collect();
    }
    let accepted = match check {
        Check::Chain => good,
        Check::Nothing => return true,
        Check::Pins { pins, accept_expired, chain } => {
            let leaf = context.error_depth() == 0;
            let pinned =
                || context.current_cert().is_some_and(|shown| pins.iter().any(|pin| pin.fits(shown)));
            if leaf && !pinned() {
                shown.pin_differs = true;
                false
            } else if *chain {
                good
            } else {
                // Its issuer does not matter, but its validity period does.
                !leaf || !is_date_fault(context.error(), *accept_expired)
            }
        }
    };
    if !accepted && shown.fault.is_none() {
        shown.fault = Some((context.error(), context.error_depth()));
    }
    accepted
}

/// X509_V_ERR_CERT_NOT_YET_VALID and, unless that is accepted, X509_V_ERR_CERT_HAS_EXPIRED.
fn is_date_fault(result: X509VerifyResult, accept_expired: bool) -> bool {
    match result.as_raw() {
        9 => true,
        10 => !accept_expired,
        _ => false,
    }
}

fn check_pin(check: &Check, ssl: &SslRef, name: &str) -> Result<()> {
    let Check::Pins { pins, .. } = check else { return Ok(()) };
    let shown = ssl.peer_certificate();
    if shown.as_ref().is_some_and(|shown| pins.iter().any(|pin| pin.fits(shown))) {
        return Ok(());
    }
    let key = shown.as_ref().and_then(|shown| public_key(shown));
    let error = Error::permanent(ErrorKind::TrustFailed, "trust the server").with("name", name);
    Err(error.with("pinned", check.pinned()).with(
        "shown",
        key.map_or_else(|| "no certificate".to_owned(), |key| format!("the key {}", hex(&key))),
    ))
}

/// Builds the error of a failed handshake.
fn explain(error: openssl::ssl::Error, shown: &Shown, check: &Check, name: &str) -> Error {
    let described = |error: Error| match shown.chain.first() {
        None => error,
        Some(leaf) => error
            .with("shown", format!("{} (SHA-256 {})", leaf.subject, leaf.sha256))
            .with("issued by", &leaf.issuer)
            .with("valid", format!("{} to {}", leaf.not_before.date_naive(), leaf.not_after.date_naive()))
            .with("chain", shown.chain.iter().map(|c| c.subject.as_str()).collect::<Vec<_>>().join(" < ")),
    };
    if shown.pin_differs {
        let error = Error::permanent(ErrorKind::TrustFailed, "trust the server").with("name", name);
        return described(error.with("pinned", check.pinned())).advice(
            "its certificate is not one of the pinned ones: ask the partner whether it replaced its \
                certificate, and pin the new one only after that",
        );
    }
    if let Some((fault, depth)) = shown.fault {
        let advice = match fault.as_raw() {
            9 | 10 => {
                "the certificate has expired or is not valid yet: ask the partner to renew it, and check the clock of this machine"
            }
            // X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH.
            62 | 64 => "the certificate is for another host name: check the host in the url",
            _ => {
                "if this is the right server, add its authority to trust.authorities of the endpoint, or pin its certificate"
            }
        };
        return described(
            Error::permanent(ErrorKind::TrustFailed, "trust the server")
                .with("name", name)
                .with("reason", format!("{} at depth {depth}", fault.error_string())),
        )
        .advice(advice);
    }
    let failed = |kind, retry| Error::new(kind, retry, "agree on TLS").with("name", name);
    match error.into_io_error() {
        Ok(cause) => failed(ErrorKind::Unreachable, model::Retry::Transient)
            .advice(
                "the server closed the connection during the TLS handshake; check that it uses TLS on this \
                port",
            )
            .caused_by(cause),
        Err(error) => match error.ssl_error().and_then(|stack| stack.errors().first()) {
            // There is no library error: the peer closed the connection.
            None => failed(ErrorKind::Unreachable, model::Retry::Transient).advice(
                "the server closed the connection during the TLS handshake; check that it uses TLS on this \
                port",
            ),
            Some(first) => {
                let said = first.reason().unwrap_or("no reason given").to_owned();
                let advice = if said.contains("alert") {
                    "the server refused the handshake (TLS alert): it may need a client certificate, \
                    another host name or another TLS version"
                } else if said.contains("wrong version number") || said.contains("packet length too long") {
                    "the server answered without TLS: check the port, and whether the url's scheme should be the one without TLS"
                } else {
                    "the server and Waybill have no common TLS settings (1.2 or newer); check that the \
                    server uses TLS on this port"
                };
                let kind = if said.contains("alert") && said.contains("certificate") {
                    ErrorKind::Unauthenticated
                } else {
                    ErrorKind::Protocol
                };
                failed(kind, model::Retry::Permanent).said(said).advice(advice).caused_by(error)
            }
        },
    }
}

fn authorities(texts: &[String]) -> Result<X509Store> {
    store_of(&trusted(texts)?).map_err(unusable("prepare TLS"))
}

/// A store of trusted certificates. They may include an intermediate or the peer's own certificate.
pub(super) fn store_of(certificates: &[X509]) -> std::result::Result<X509Store, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    store.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
    for certificate in certificates {
        store.add_cert(certificate.clone())?;
    }
    Ok(store.build())
}

/// The certificates of PEM texts, at least one.
pub(super) fn trusted(texts: &[String]) -> Result<Vec<X509>> {
    let mut all = Vec::new();
    for text in texts {
        let found = X509::stack_from_pem(text.as_bytes()).map_err(unusable("read a certificate"))?;
        all.extend(found);
    }
    if all.is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "read a certificate")
            .advice("give at least one certificate in PEM form"));
    }
    Ok(all)
}

/// A digest over everything that distinguishes profiles, each part with its length.
pub(super) fn identity(options: &TlsOptions) -> [u8; 32] {
    let mut parts: Vec<(u8, &[u8])> = Vec::new();
    match &options.trust {
        Trust::System => parts.push((0, b"")),
        Trust::Authorities(texts) => parts.extend(texts.iter().map(|text| (1, text.as_bytes()))),
        Trust::Pinned { pins, authorities, accept_expired } => {
            parts.push((2, if *accept_expired { b"1" } else { b"0" }));
            parts.extend(pins.iter().map(|text| (3, text.as_bytes())));
            parts.extend(authorities.iter().map(|text| (1, text.as_bytes())));
        }
        Trust::Unverified => parts.push((4, b"")),
    }
    if let Some(own) = &options.client_certificate {
        parts.push((5, own.certificates.as_bytes()));
        parts.push((6, own.private_key.reveal().as_bytes()));
    }
    if let Some(name) = &options.server_name {
        parts.push((7, name.as_bytes()));
    }
    let word = |version: TlsVersion| if version == TlsVersion::V1_2 { b"2" } else { b"3" };
    parts.extend([(8, &word(options.versions.0)[..]), (9, &word(options.versions.1)[..])]);
    parts.extend(options.ciphers.iter().map(|name| (10, name.as_bytes())));
    let mut hasher = Sha256::new();
    for (tag, part) in parts {
        hasher.update(&[tag]);
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part);
    }
    hasher.finish()
}
