//! The HTTP servers of `[listen.http.NAME]`, and the certificates that they show of their own.
//!
//! A certificate lies in files, which somebody else renews. They are looked at every few seconds; what fits together
//! and is valid is shown from the next handshake on, and connections that are open go on.

use crate::process::ClockAndRandom;
use async_trait::async_trait;
use config::Settings;
use config::settings::{HttpTls, TlsFiles};
use engine::Maintenance;
use model::{ClientCertificates, Error, ErrorKind, Result, Secret};
use net::http::ListenSpec;
use net::{OwnCertificate, ServerCertificate, ServerTls, ServerTlsOptions};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Time between two looks at the files of certificates.
const LOOK: Duration = Duration::from_secs(2);

/// Largest file of certificates or of a key that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Every HTTP server's addresses, ready to listen, and what looks after their certificates.
pub(crate) struct Servers {
    pub(crate) listen: Vec<ListenSpec>,
    pub(crate) certificates: Arc<Certificates>,
}

impl Servers {
    /// # Errors
    /// `ConfigInvalid`: the authorities of a server's clients cannot be read. A server's own certificate that cannot be
    /// used keeps its addresses from being bound, and says so then.
    pub(crate) fn new(settings: &Settings, ambient: &ClockAndRandom) -> Result<Self> {
        let (mut listen, mut all) = (Vec::new(), Vec::new());
        for (name, server) in &settings.listen.http {
            let tls = server.tls.as_ref().map(|tls| server_tls(name, tls)).transpose()?;
            if let (Some(tls), Some(files)) = (&tls, server.tls.as_ref().and_then(|tls| tls.files.clone())) {
                let certificate =
                    Certificate { server: name.clone(), tls: tls.clone(), files, seen: Mutex::default() };
                if let Err(error) = certificate.look(ambient) {
                    tls.certificate_failed(&error);
                }
                all.push(certificate);
            }
            listen.extend(server.addresses.iter().map(|address| ListenSpec {
                tls: tls.clone(),
                proxy_protocol: server.proxy_protocol,
                ..ListenSpec::plain(name, *address)
            }));
        }
        Ok(Self { listen, certificates: Arc::new(Certificates { all, ambient: ambient.clone() }) })
    }
}

fn server_tls(name: &str, tls: &HttpTls) -> Result<ServerTls> {
    let client_authorities = match (&tls.client_authorities, tls.client_certificates) {
        (_, ClientCertificates::Off) | (None, _) => Vec::new(),
        (Some(path), _) => vec![read(path)?],
    };
    let options =
        ServerTlsOptions { min: tls.min, client_certificates: tls.client_certificates, client_authorities };
    ServerTls::new(&options).map_err(|error| error.with("server", name))
}

fn read(path: &Path) -> Result<String> {
    let failed = |error| Error::local_io("read a file for TLS", error).with("path", path.display());
    let length = std::fs::metadata(path).map_err(failed)?.len();
    if length > LARGEST {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "read a file for TLS")
            .with("path", path.display())
            .with("bytes", length)
            .advice("it is too large for certificates or a key in PEM form"));
    }
    std::fs::read_to_string(path).map_err(failed)
}

/// The certificates that servers have of their own.
pub(crate) struct Certificates {
    all: Vec<Certificate>,
    ambient: ClockAndRandom,
}

struct Certificate {
    /// The server's name in the settings.
    server: String,
    tls: ServerTls,
    files: TlsFiles,
    /// What was seen last.
    seen: Mutex<Option<Seen>>,
}

/// What both files held.
#[derive(Clone, Copy)]
struct Seen {
    digests: ([u8; 32], [u8; 32]),
    in_force: bool,
}

impl Certificate {
    /// Puts what the files hold in force, if it is new.
    ///
    /// # Errors
    /// It cannot be used; what was in force stays so. The same content is tried again, for its time may come, but is
    /// no error a second time.
    fn look(&self, ambient: &ClockAndRandom) -> Result<Option<ServerCertificate>> {
        let certificates = read(&self.files.certificate)?;
        let private_key = Secret::new(read(&self.files.private_key)?);
        let digests = (digest(&certificates), digest(private_key.reveal()));
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.filter(|seen| seen.digests == digests);
        if known.is_some_and(|seen| seen.in_force) {
            return Ok(None);
        }
        let own = OwnCertificate { certificates, private_key, passphrase: self.files.passphrase.clone() };
        let checked = ServerCertificate::new(&own, ambient.clock.now());
        let put =
            checked.and_then(|certificate| self.tls.set_certificate(&certificate).map(|()| certificate));
        *seen = Some(Seen { digests, in_force: put.is_ok() });
        match put {
            Ok(certificate) => Ok(Some(certificate)),
            Err(_) if known.is_some() => Ok(None),
            Err(error) => {
                Err(error.with("server", &self.server).with("file", self.files.certificate.display()))
            }
        }
    }
}

fn digest(text: &str) -> [u8; 32] {
    openssl::sha::sha256(text.as_bytes())
}

#[async_trait]
impl Maintenance for Certificates {
    fn name(&self) -> &'static str {
        "certificates of HTTP servers"
    }

    fn every(&self) -> Duration {
        LOOK
    }

    async fn run(&self) -> Result<()> {
        for certificate in &self.all {
            match certificate.look(&self.ambient) {
                Ok(None) => {}
                Ok(Some(new)) => tracing::info!(
                    server = %certificate.server, sha256 = %new.sha256(), until = %new.not_after(),
                    names = new.names().join(", "), "a server's certificate was replaced"
                ),
                Err(error) => {
                    certificate.tls.certificate_failed(&error);
                    tracing::warn!(
                        server = %certificate.server, error = %error.chain(),
                        "a server's new certificate cannot be used; the previous one stays in use"
                    );
                }
            }
        }
        Ok(())
    }
}
