//! Keys and certificates of both parties. Each is read once for a revision of the definitions: a passphrase takes long on
//! purpose, and messages may be small and many.

use crate::agreement::{Identity, Partner};
use crate::choice::Dated;
use crate::outgoing::OwnKey;
use crate::pgp_keys::PgpKeys;
use crate::read_once::once;
use chrono::DateTime;
use model::definition::Definitions;
use model::{Error, ErrorKind, Result, Timestamp};
use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey};
use openssl::x509::X509;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A key of ours, read.
pub(crate) struct Own {
    /// The name of its definition.
    pub(crate) name: String,
    pub(crate) key: OwnKey,
    /// Of its certificate: what it is known by in terms and receipts.
    pub(crate) fingerprint: String,
    pub(crate) validity: Validity,
}

/// A certificate of a partner, read.
pub(crate) struct Certificate {
    /// The name of its definition.
    pub(crate) name: String,
    pub(crate) certificate: X509,
    pub(crate) fingerprint: String,
    pub(crate) validity: Validity,
}

/// The dates in a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Validity {
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
}

impl Validity {
    pub(crate) fn of(certificate: &X509) -> Result<Self> {
        Ok(Self { not_before: time(certificate.not_before())?, not_after: time(certificate.not_after())? })
    }

    pub(crate) fn holds(self, now: Timestamp) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Whether it may be used: one that has expired where that was agreed, one that is not valid yet never.
    fn allows(self, now: Timestamp, accept_expired: bool) -> bool {
        self.holds(now) || accept_expired && self.not_before <= now
    }
}

/// What was read of the definitions in force.
#[derive(Default)]
pub(crate) struct Materials(Mutex<Option<Arc<Material>>>);

impl Materials {
    /// Keys and certificates of these definitions. Those of earlier ones are forgotten.
    pub(crate) fn of(&self, definitions: Arc<Definitions>) -> Arc<Material> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(material) = &*kept
            && Arc::ptr_eq(&material.definitions, &definitions)
        {
            return Arc::clone(material);
        }
        let material = Arc::new(Material {
            definitions,
            own: Mutex::default(),
            certificates: Mutex::default(),
            pgp: PgpKeys::default(),
        });
        *kept = Some(Arc::clone(&material));
        material
    }
}

/// Keys and certificates of one revision of the definitions, each read when it is first asked for.
pub(crate) struct Material {
    pub(crate) definitions: Arc<Definitions>,
    own: Mutex<BTreeMap<String, Arc<Own>>>,
    certificates: Mutex<BTreeMap<String, Arc<Certificate>>>,
    /// OpenPGP keys of both parties.
    pub(crate) pgp: PgpKeys,
}

impl Material {
    /// A key of an identity, with its certificate.
    ///
    /// # Errors
    /// `ConfigInvalid`: it is no longer defined, has no certificate, or its PEM or passphrase is wrong.
    pub(crate) fn own(&self, identity: &Identity, name: &str) -> Result<Arc<Own>> {
        once(&self.own, name, || {
            let key = own_key(&self.definitions, identity, name)?;
            let (fingerprint, validity) =
                known_by(&key.certificate).map_err(|error| error.with("key", name))?;
            Ok(Own { name: name.to_owned(), key, fingerprint, validity })
        })
    }

    /// A certificate.
    ///
    /// # Errors
    /// `ConfigInvalid`: it is no longer defined, or its PEM text is wrong.
    pub(crate) fn certificate(&self, name: &str) -> Result<Arc<Certificate>> {
        once(&self.certificates, name, || {
            let certificate = read_certificate(&self.definitions, name)?;
            let (fingerprint, validity) =
                known_by(&certificate).map_err(|error| error.with("certificate", name))?;
            Ok(Certificate { name: name.to_owned(), certificate, fingerprint, validity })
        })
    }

    /// The key that signs now.
    ///
    /// # Errors
    /// `ConfigInvalid`: none does, or one cannot be read.
    pub(crate) fn signing(&self, identity: &Identity, now: Timestamp) -> Result<Arc<Own>> {
        let candidates = self.all_own(identity, identity.keys.sending(now))?;
        let allowed = |own: &&Arc<Own>| own.validity.allows(now, true);
        let best = candidates.iter().find(|own| own.validity.holds(now));
        // An expired key rather than one that no partner can accept yet.
        let best = best.or_else(|| candidates.iter().find(allowed)).or(candidates.first());
        best.cloned().ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the key that signs now")
                .with("identity", &identity.name)
                .with("keys", windows(&identity.keys.all))
                .advice("give the identity a key whose time has begun and is not over (from, until), and that signs (uses)")
        })
    }

    /// The keys that decrypt now.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn decrypting(&self, identity: &Identity, now: Timestamp) -> Result<Vec<Arc<Own>>> {
        self.all_own(identity, identity.keys.reading(now))
    }

    /// The certificate that messages to a partner are encrypted for now; none for a partner to whom nothing is encrypted.
    ///
    /// # Errors
    /// `ConfigInvalid`: there is none, or one cannot be read.
    pub(crate) fn encrypting(&self, partner: &Partner, now: Timestamp) -> Result<Option<Arc<Certificate>>> {
        if !partner.agreement.encrypts_by_smime() {
            return Ok(None);
        }
        let candidates = self.all_certificates(partner, partner.certificates.sending(now))?;
        let expired = partner.agreement.accept_expired;
        let allowed = |found: &&Arc<Certificate>| found.validity.allows(now, expired);
        let best = candidates.iter().find(|found| found.validity.holds(now));
        let best = best.or_else(|| candidates.iter().find(allowed)).or(candidates.first());
        best.cloned().map(Some).ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find the certificate to encrypt for")
                .with("partner", &partner.name)
                .with("certificates", windows(&partner.certificates.all))
                .advice("add the certificate that the partner decrypts with now (from, until, uses)")
        })
    }

    /// The certificates that verify a partner's signatures now; those that are in force first.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn verifying(&self, partner: &Partner, now: Timestamp) -> Result<Vec<Arc<Certificate>>> {
        self.all_certificates(partner, partner.certificates.reading(now))
    }

    /// The certificates that messages to a partner are encrypted for beside its own.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn also_recipients(&self, partner: &Partner) -> Result<Vec<Arc<Certificate>>> {
        match partner.agreement.encrypts_by_smime() {
            true => partner.agreement.also_encrypt_for.iter().map(|name| self.certificate(name)).collect(),
            false => Ok(Vec::new()),
        }
    }

    /// The key to sign with once more after a message signed by `tried` was refused; none where there is no other.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn signing_instead(
        &self,
        identity: &Identity,
        tried: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Own>>> {
        let others = self.all_own(identity, identity.keys.instead_of(tried, now))?;
        Ok(others.into_iter().find(|own| own.validity.holds(now)))
    }

    /// The certificate to encrypt for once more after a message for `tried` was refused; none where there is no other.
    ///
    /// # Errors
    /// `ConfigInvalid`: one cannot be read.
    pub(crate) fn encrypting_instead(
        &self,
        partner: &Partner,
        tried: &str,
        now: Timestamp,
    ) -> Result<Option<Arc<Certificate>>> {
        let mut others = partner.certificates.instead_of(tried, now);
        // One whose time is over may have been given up because its key is known to others.
        others.retain(|dated| dated.until.is_none_or(|until| now < until));
        let others = self.all_certificates(partner, others)?;
        let expired = partner.agreement.accept_expired;
        // Nothing can be encrypted for a key of another kind.
        let is_usable =
            |found: &Arc<Certificate>| found.certificate.public_key().is_ok_and(|key| can_hold(key.id()));
        Ok(others.into_iter().find(|found| found.validity.allows(now, expired) && is_usable(found)))
    }

    fn all_own(&self, identity: &Identity, dated: Vec<&Dated>) -> Result<Vec<Arc<Own>>> {
        dated.into_iter().map(|dated| self.own(identity, &dated.name)).collect()
    }

    fn all_certificates(&self, partner: &Partner, dated: Vec<&Dated>) -> Result<Vec<Arc<Certificate>>> {
        let read = |dated: &Dated| {
            self.certificate(&dated.name).map_err(|error| error.with("partner", &partner.name))
        };
        dated.into_iter().map(read).collect()
    }
}

/// Whether content keys can be encrypted for a key of this kind: RSA, or EC.
pub(crate) fn can_hold(kind: Id) -> bool {
    matches!(kind, Id::RSA | Id::EC)
}

/// The windows of a list, for an error.
fn windows(all: &[Dated]) -> String {
    let shown = all.iter().map(|dated| {
        let edge = |word: &str, time: Option<Timestamp>| {
            time.map(|time| format!(" {word} {}", time.to_rfc3339())).unwrap_or_default()
        };
        format!("{}{}{}", dated.name, edge("from", dated.from), edge("until", dated.until))
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn known_by(certificate: &X509) -> Result<(String, Validity)> {
    Ok((fingerprint(certificate)?, Validity::of(certificate)?))
}

fn own_key(definitions: &Definitions, identity: &Identity, name: &str) -> Result<OwnKey> {
    let invalid = |what: &'static str, advice: &'static str| {
        Error::permanent(ErrorKind::ConfigInvalid, what)
            .with("identity", &identity.name)
            .with("key", name)
            .advice(advice)
    };
    let unreadable = |what: &'static str, error: ErrorStack| {
        invalid(what, "check the key's PEM text and passphrase").caused_by(error)
    };
    let definition = definitions.key(name)?;
    let certificate = definition
        .certificate
        .as_deref()
        .ok_or_else(|| invalid("find the certificate of our key", "define the key with its 'certificate'"))?;
    let pem = definition.private_key.reveal().as_bytes();
    let key = match &definition.passphrase {
        Some(passphrase) => PKey::private_key_from_pem_passphrase(pem, passphrase.reveal().as_bytes()),
        // A callback that gives nothing: without one OpenSSL would ask on the terminal.
        None => PKey::private_key_from_pem_callback(pem, |_| Ok(0)),
    };
    Ok(OwnKey {
        key: key.map_err(|error| unreadable("read our private key", error))?,
        certificate: X509::from_pem(certificate.as_bytes())
            .map_err(|error| unreadable("read our certificate", error))?,
    })
}

fn read_certificate(definitions: &Definitions, name: &str) -> Result<X509> {
    X509::from_pem(definitions.certificate(name)?.pem.as_bytes()).map_err(|error| {
        Error::permanent(ErrorKind::ConfigInvalid, "read a certificate")
            .with("certificate", name)
            .caused_by(error)
    })
}

/// What a certificate is known by in terms and receipts: its SHA-256, in hexadecimal.
///
/// # Errors
/// It cannot be hashed.
pub(crate) fn fingerprint(certificate: &X509) -> Result<String> {
    certificate
        .digest(MessageDigest::sha256())
        .map(|digest| hexadecimal(&digest))
        .map_err(|error| Error::permanent(ErrorKind::Internal, "hash a certificate").caused_by(error))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn time(time: &Asn1TimeRef) -> Result<Timestamp> {
    let unreadable = || Error::permanent(ErrorKind::ConfigInvalid, "read the dates of a certificate");
    let since = Asn1Time::from_unix(0)
        .and_then(|epoch| epoch.diff(time))
        .map_err(|error| unreadable().caused_by(error))?;
    let seconds = i64::from(since.days) * 86_400 + i64::from(since.secs);
    DateTime::from_timestamp(seconds, 0).ok_or_else(unreadable)
}

/// Whether new messages to a partner may be encrypted for a certificate now.
///
/// # Errors
/// `ConfigInvalid`: it is not valid yet, or has expired and the agreement does not take such ones.
pub(crate) fn usable(certificate: &Certificate, partner: &Partner, now: Timestamp) -> Result<()> {
    let Validity { not_before, not_after } = certificate.validity;
    if certificate.validity.allows(now, partner.agreement.accept_expired) {
        return Ok(());
    }
    let (what, advice) = if now < not_before {
        (
            "encrypt for a certificate that is not valid yet",
            "add the certificate that the partner uses now (certificates, send.also_encrypt_for), and check the clock of \
            this machine",
        )
    } else {
        (
            "encrypt for a certificate that has expired",
            "add the certificate that the partner uses now, or allow expired ones (accept_expired = true)",
        )
    };
    Err(Error::permanent(ErrorKind::ConfigInvalid, what)
        .with("partner", &partner.name)
        .with("certificate", &certificate.name)
        .with("from", not_before.to_rfc3339())
        .with("until", not_after.to_rfc3339())
        .with("subject", format!("{:?}", certificate.certificate.subject_name()))
        .advice(advice))
}

#[cfg(test)]
mod tests;
