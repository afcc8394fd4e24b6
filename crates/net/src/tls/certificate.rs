//! Our own certificates with their keys, for servers and clients.

use super::shown::{fingerprint, hex, time};
use super::{private_key, unusable};
use model::{Error, ErrorKind, Result, Secret, Timestamp};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::SslContextBuilder;
use openssl::x509::X509;
use std::sync::Arc;

/// A certificate of ours with its key, as configured.
#[derive(Clone, Debug)]
pub struct OwnCertificate {
    /// Our certificate and its chain, PEM.
    pub certificates: String,
    /// Its private key, PEM.
    pub private_key: Secret<String>,
    /// The key's passphrase, when it is encrypted.
    pub passphrase: Option<Secret<String>>,
}

impl OwnCertificate {
    /// # Errors
    /// `ConfigInvalid`: certificate or key cannot be read, or they do not match.
    pub(super) fn read(&self) -> Result<Parts> {
        let chain =
            X509::stack_from_pem(self.certificates.as_bytes()).map_err(unusable("read a certificate"))?;
        let mut chain = chain.into_iter();
        let Some(leaf) = chain.next() else {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "read a certificate")
                .advice("give it in PEM form, -----BEGIN CERTIFICATE-----"));
        };
        let key = private_key(&self.private_key, self.passphrase.as_ref())?;
        if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a certificate with its key")
                .with("certificate", shown(&leaf))
                .advice(
                    "the certificate does not belong to the private key: give the key's own certificate",
                ));
        }
        Ok(Parts { leaf, above: chain.collect(), key })
    }
}

/// A certificate, its chain, and the matching key.
pub(super) struct Parts {
    pub(super) leaf: X509,
    pub(super) above: Vec<X509>,
    key: PKey<Private>,
}

impl Parts {
    pub(super) fn put_into(&self, builder: &mut SslContextBuilder) -> std::result::Result<(), ErrorStack> {
        builder.set_certificate(&self.leaf)?;
        for certificate in &self.above {
            builder.add_extra_chain_cert(certificate.clone())?;
        }
        builder.set_private_key(&self.key)?;
        builder.check_private_key()
    }
}

/// A server's certificate, checked: its key matches, and it is valid now. Cheap to clone.
#[derive(Clone)]
pub struct ServerCertificate(Arc<Served>);

struct Served {
    parts: Parts,
    names: Vec<String>,
}

impl ServerCertificate {
    /// Checks a certificate before it is used.
    ///
    /// # Errors
    /// `ConfigInvalid`: certificate or key cannot be read, they do not match, or the certificate has expired or is
    /// not valid yet.
    pub fn new(own: &OwnCertificate, now: Timestamp) -> Result<Self> {
        let parts = own.read()?;
        let (from, until) = (time(parts.leaf.not_before()), time(parts.leaf.not_after()));
        let undated = |advice: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a server's certificate")
                .with("certificate", shown(&parts.leaf))
                .with("valid", format!("{} to {}", from.to_rfc3339(), until.to_rfc3339()))
                .advice(advice)
        };
        if now > until {
            return Err(undated("it has expired: renew it"));
        }
        if now < from {
            return Err(undated("it is not valid yet: check the clock of this machine"));
        }
        let names = names(&parts.leaf);
        Ok(Self(Arc::new(Served { parts, names })))
    }

    /// Its host names, in lower case; wildcards begin with `*.`.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.0.names
    }

    /// SHA-256 of its DER, in hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> String {
        fingerprint(&self.0.parts.leaf).map(|print| hex(&print)).unwrap_or_default()
    }

    /// The end of its validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        time(self.0.parts.leaf.not_after())
    }

    pub(super) fn put_into(&self, builder: &mut SslContextBuilder) -> std::result::Result<(), ErrorStack> {
        self.0.parts.put_into(builder)
    }
}

impl std::fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerCertificate")
            .field("names", &self.0.names)
            .field("sha256", &self.sha256())
            .finish()
    }
}

impl PartialEq for ServerCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.sha256() == other.sha256()
    }
}

impl Eq for ServerCertificate {}

/// The DNS names of the subject's alternative names; if there are none, the common name (RFC 6125, section 6.4.4).
fn names(certificate: &X509) -> Vec<String> {
    let alternatives: Vec<String> = certificate
        .subject_alt_names()
        .into_iter()
        .flatten()
        .filter_map(|name| name.dnsname().map(str::to_ascii_lowercase))
        .collect();
    if !alternatives.is_empty() {
        return alternatives;
    }
    let common = certificate.subject_name().entries_by_nid(Nid::COMMONNAME);
    common.filter_map(|entry| Some(entry.data().to_string().ok()?.to_ascii_lowercase())).collect()
}

/// The subject, for display.
fn shown(certificate: &X509) -> model::PeerText {
    super::shown::certificate_record(certificate).subject
}
