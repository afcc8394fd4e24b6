//! TLS for clients that connect to us: one [`ServerTls`] for each HTTP server, with the certificates of all its
//! names.
//!
//! The certificate for a client is chosen by the name that it requests (SNI, RFC 6066, section 3): that of the route
//! with this host; otherwise one that contains the name; otherwise one with a matching wildcard; otherwise the
//! server's own, which is also for clients that request no name; if the server has none, the first route's.
//! Certificates can be replaced at any time: later handshakes use the new one, open connections continue.

use super::certificate::ServerCertificate;
use super::ciphers::of_library;
use super::client::trusted;
use super::shown::{certificate_record, security};
use super::unusable;
use crate::connection::lock;
use crate::stream::Counted;
use model::{Certificate, ClientCertificates, Error, ErrorKind, Result, Retry, Security, TlsVersion};
use openssl::ssl::{
    NameType, Ssl, SslAcceptor, SslContext, SslMethod, SslOptions, SslSessionCacheMode, SslVerifyMode,
};
use openssl::x509::{X509, X509VerifyResult};
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use tokio_openssl::SslStream;

/// The TLS settings of a server.
#[derive(Clone, Debug)]
pub struct ServerTlsOptions {
    /// The lowest version; 1.3 is the highest.
    pub min: TlsVersion,
    /// Whether clients are asked for a certificate.
    pub client_certificates: ClientCertificates,
    /// Certificates (PEM) to which a client's chain must lead. They may include a client's own certificate.
    pub client_authorities: Vec<String>,
}

impl Default for ServerTlsOptions {
    fn default() -> Self {
        Self {
            min: TlsVersion::V1_2,
            client_certificates: ClientCertificates::Off,
            client_authorities: Vec::new(),
        }
    }
}

/// The TLS of one server with its certificates. Cheap to clone; only clones of the same server's are equal.
#[derive(Clone)]
pub struct ServerTls(Arc<Server>);

struct Server {
    min: TlsVersion,
    clients: ClientCertificates,
    authorities: Vec<X509>,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// The server's own certificate, or why there is none.
    own: Option<std::result::Result<SslContext, String>>,
    /// In the order of registration.
    entries: Vec<Entry>,
}

struct Entry {
    id: u64,
    /// The route's host, in lower case.
    host: Option<String>,
    /// The names in the certificate, in lower case.
    names: Vec<String>,
    context: SslContext,
}

/// A route's certificate in its server's table. It is removed when this is dropped.
pub(crate) struct Registered {
    server: Weak<Server>,
    id: u64,
}

impl ServerTls {
    /// Checks options and prepares them. Certificates are added with [`ServerTls::set_certificate`] and with routes.
    ///
    /// # Errors
    /// `ConfigInvalid`: an authority's certificate cannot be read, or client certificates are required and there is
    /// no authority.
    pub fn new(options: &ServerTlsOptions) -> Result<Self> {
        let clients = options.client_certificates;
        let authorities = match (clients, options.client_authorities.as_slice()) {
            (ClientCertificates::Off, _) => Vec::new(),
            (_, []) => {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "set up TLS for a server")
                    .advice("the server asks for client certificates: set the authorities that issue them"));
            }
            (_, texts) => trusted(texts)?,
        };
        Ok(Self(Arc::new(Server { min: options.min, clients, authorities, table: Mutex::default() })))
    }

    /// Sets or replaces the server's own certificate. The next handshake uses it.
    ///
    /// # Errors
    /// `ConfigInvalid`: the TLS library refuses it. The one before stays in force.
    pub fn set_certificate(&self, certificate: &ServerCertificate) -> Result<()> {
        let context = self.0.context(&Arc::downgrade(&self.0), certificate)?;
        lock(&self.0.table).own = Some(Ok(context));
        Ok(())
    }

    /// Notes why the server's own certificate cannot be used, for the error of a route without one. A certificate in
    /// force stays in force.
    pub fn certificate_failed(&self, error: &Error) {
        let mut table = lock(&self.0.table);
        if !matches!(table.own, Some(Ok(_))) {
            table.own = Some(Err(error.chain()));
        }
    }

    /// Checks that the server has its own certificate.
    ///
    /// # Errors
    /// `ConfigInvalid`: it has none, with the reason.
    pub(crate) fn check_own(&self) -> Result<()> {
        let missing = |advice: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "listen with TLS").advice(advice)
        };
        match &lock(&self.0.table).own {
            Some(Ok(_)) => Ok(()),
            Some(Err(why)) => Err(missing("correct the server's certificate").with("reason", why)),
            None => Err(missing("give the listener a certificate, or the server one in waybill.toml")),
        }
    }

    /// Adds a route's certificate.
    ///
    /// # Errors
    /// `ConfigInvalid`: the TLS library refuses it.
    pub(crate) fn add(&self, host: Option<&str>, certificate: &ServerCertificate) -> Result<Registered> {
        let context = self.0.context(&Arc::downgrade(&self.0), certificate)?;
        let mut table = lock(&self.0.table);
        let id = table.next;
        table.next += 1;
        let host = host.map(normal);
        table.entries.push(Entry { id, host, names: certificate.names().to_vec(), context });
        Ok(Registered { server: Arc::downgrade(&self.0), id })
    }
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ServerTls {}

impl std::fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTls").field("min", &self.0.min).field("clients", &self.0.clients).finish()
    }
}

impl Registered {
    /// Replaces the certificate. The next handshake uses it.
    ///
    /// # Errors
    /// `ConfigInvalid`: the TLS library refuses it. The one before stays in force.
    pub(crate) fn replace(&self, certificate: &ServerCertificate) -> Result<()> {
        let Some(server) = self.server.upgrade() else { return Ok(()) };
        let context = server.context(&self.server, certificate)?;
        let mut table = lock(&server.table);
        if let Some(entry) = table.entries.iter_mut().find(|entry| entry.id == self.id) {
            entry.context = context;
            entry.names = certificate.names().to_vec();
        }
        Ok(())
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(server) = self.server.upgrade() {
            lock(&server.table).entries.retain(|entry| entry.id != self.id);
        }
    }
}

/// Normalises a name for comparison.
fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}

impl Table {
    fn named(&self, name: &str) -> Option<&SslContext> {
        let name = normal(name);
        let wildcard = name.split_once('.').map(|(_, domain)| format!("*.{domain}"));
        let carries = |entry: &&Entry, wanted: &str| entry.names.iter().any(|carried| carried == wanted);
        let all = &self.entries;
        all.iter()
            .find(|entry| entry.host.as_deref() == Some(&name))
            .or_else(|| all.iter().find(|entry| carries(entry, &name)))
            .or_else(|| all.iter().find(|entry| wildcard.as_ref().is_some_and(|w| carries(entry, w))))
            .map(|entry| &entry.context)
    }

    fn unnamed(&self) -> Option<&SslContext> {
        let own = self.own.as_ref().and_then(|own| own.as_ref().ok());
        own.or_else(|| self.entries.first().map(|entry| &entry.context))
    }
}

impl Server {
    fn context(&self, weak: &Weak<Self>, certificate: &ServerCertificate) -> Result<SslContext> {
        let broken = unusable("set up TLS for a server");
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(&broken)?;
        builder.set_min_proto_version(Some(of_library(self.min))).map_err(&broken)?;
        certificate.put_into(&mut builder).map_err(&broken)?;
        builder.set_session_id_context(b"waybill").map_err(&broken)?;
        if self.clients != ClientCertificates::Off {
            // A resumed session would bring a certificate that was not verified again.
            builder.set_options(SslOptions::NO_TICKET);
            builder.set_num_tickets(0).map_err(&broken)?;
            builder.set_session_cache_mode(SslSessionCacheMode::OFF);
            let store = super::client::store_of(&self.authorities).map_err(&broken)?;
            builder.set_cert_store(store);
            for authority in &self.authorities {
                builder.add_client_ca(authority).map_err(&broken)?;
            }
        }
        let server = Weak::clone(weak);
        builder.set_servername_callback(move |ssl, _| {
            let Some(server) = server.upgrade() else { return Ok(()) };
            let named =
                ssl.servername(NameType::HOST_NAME).and_then(|name| lock(&server.table).named(name).cloned());
            match named {
                // Fails only without memory; then the default certificate is used.
                Some(context) => ssl.set_ssl_context(&context).or(Ok(())),
                None => Ok(()),
            }
        });
        Ok(builder.build().into_context())
    }
}

/// The result of a handshake: the session, its protection, and the name that the client requested.
pub(crate) type Accepted = (Pin<Box<SslStream<Counted>>>, Security, Option<String>);

/// The certificate that a client sent, noted while it was verified.
#[derive(Default)]
struct Shown {
    leaf: Option<Certificate>,
    fault: Option<X509VerifyResult>,
}

/// Does the handshake with a client. The caller's deadline limits it.
///
/// # Errors
/// `TrustFailed`: its certificate does not lead to an authority, or is not valid. `Unauthenticated`: it sent none,
/// although one is required. `Protocol`: there is no common TLS version or cipher. `Unreachable`: it closed the
/// connection.
pub(crate) async fn accept(tls: &ServerTls, socket: Counted) -> Result<Accepted> {
    let broken = unusable("begin TLS");
    let context = lock(&tls.0.table).unnamed().cloned();
    let context = context.ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "begin TLS").advice("the server has no certificate")
    })?;
    let mut ssl = Ssl::new(&context).map_err(&broken)?;
    let shown = Arc::new(Mutex::new(Shown::default()));
    let mode = match tls.0.clients {
        ClientCertificates::Off => SslVerifyMode::NONE,
        ClientCertificates::Optional => SslVerifyMode::PEER,
        ClientCertificates::Required => SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT,
    };
    if mode != SslVerifyMode::NONE {
        let shown = Arc::clone(&shown);
        ssl.set_verify_callback(mode, move |good, context| {
            if !good {
                let mut shown = lock(&shown);
                let leaf = context.chain().and_then(|chain| chain.get(0).map(certificate_record));
                shown.leaf = leaf.or_else(|| context.current_cert().map(certificate_record));
                shown.fault.get_or_insert(context.error());
            }
            good
        });
    }
    let mut session = Box::pin(SslStream::new(ssl, socket).map_err(&broken)?);
    match session.as_mut().accept().await {
        Ok(()) => {
            let security = security(session.ssl());
            let name = session.ssl().servername(NameType::HOST_NAME).map(str::to_owned);
            Ok((session, security, name))
        }
        Err(error) => Err(explain(error, &std::mem::take(&mut *lock(&shown)))),
    }
}

/// Builds the error of a failed handshake, for the connection's record.
fn explain(error: openssl::ssl::Error, shown: &Shown) -> Error {
    if let Some(fault) = shown.fault {
        let untrusted = Error::permanent(ErrorKind::TrustFailed, "trust the client's certificate")
            .with("reason", fault.error_string());
        return match &shown.leaf {
            None => untrusted,
            Some(leaf) => untrusted
                .with("shown", format!("{} (SHA-256 {})", leaf.subject, leaf.sha256))
                .with("issued by", &leaf.issuer)
                .with(
                    "valid",
                    format!("{} to {}", leaf.not_before.date_naive(), leaf.not_after.date_naive()),
                ),
        };
    }
    let first = error.ssl_error().and_then(|stack| stack.errors().first());
    let reason = first.and_then(openssl::error::Error::reason).map(str::to_owned);
    match reason.as_deref() {
        Some("peer did not return a certificate") => {
            Error::permanent(ErrorKind::Unauthenticated, "get the client's certificate")
                .advice("this server requires a client certificate")
        }
        Some("http request") => Error::permanent(ErrorKind::Protocol, "agree on TLS with the client")
            .advice("the client uses plain HTTP: its URL must begin with https://"),
        Some(reason) => {
            Error::new(ErrorKind::Protocol, Retry::Permanent, "agree on TLS with the client").said(reason)
        }
        None => Error::new(ErrorKind::Unreachable, Retry::Transient, "agree on TLS with the client"),
    }
    .caused_by(error)
}
