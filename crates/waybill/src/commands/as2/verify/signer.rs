//! Who signed a message or a receipt: the owner of a certificate, or of an OpenPGP key.

use super::super::file_error;
use model::{Error, ErrorKind, PeerText, Result, Sha256, Timestamp};
use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::x509::{X509, X509NameRef};
use pgp_mime::PartnerKey;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// What verifies a signature.
#[derive(Clone)]
pub(super) enum Signer {
    /// By S/MIME.
    Certificate(X509),
    /// By OpenPGP.
    Key(Arc<PartnerKey>),
}

/// What verified a signature.
#[derive(Clone)]
pub(super) struct Verifier {
    pub(super) signer: Signer,
    /// Of an OpenPGP key: the fingerprint of the one in it that did, the primary key or a subkey.
    pub(super) component: Option<String>,
}

impl Verifier {
    /// Whether somebody who knows a certificate or a key knows this one. An OpenPGP key may have been revoked since, or may not
    /// have that subkey where it comes from its owner.
    pub(super) fn is_known_as(&self, known: &Signer) -> Known {
        let print = self.signer.fingerprint();
        if print.is_none() || known.fingerprint() != print {
            return Known::Not;
        }
        match (known, &self.component) {
            (Signer::Key(key), Some(_)) if key.is_revoked() => Known::Revoked,
            (Signer::Key(key), Some(component)) if key.signing_validity(component).is_none() => {
                Known::WithoutIt
            }
            _ => Known::Yes,
        }
    }

    /// Whether it was valid at a time, and from when to when it is.
    ///
    /// # Errors
    /// In words: it cannot be said.
    pub(super) fn validity(&self, at: Timestamp) -> std::result::Result<(bool, String), String> {
        match &self.signer {
            Signer::Certificate(known) => {
                let then = Asn1Time::from_unix(at.timestamp()).map_err(|error| error.to_string())?;
                let is_valid = known.not_before() <= then && known.not_after() >= then;
                Ok((is_valid, format!("from {} to {}", known.not_before(), known.not_after())))
            }
            Signer::Key(known) => {
                let component = self.component.as_deref().unwrap_or_default();
                let validity = known.signing_validity(component);
                let validity = validity.ok_or("the key does not say when it signs")?;
                let date = |time: SystemTime| Timestamp::from(time).to_rfc3339();
                let until = validity
                    .until
                    .map_or_else(|| "without an end".to_owned(), |end| format!("to {}", date(end)));
                Ok((validity.holds(at.into()), format!("from {} {until}", date(validity.from))))
            }
        }
    }
}

/// How what verified a signature stands to what somebody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Known {
    Not,
    /// The same key, which is revoked there.
    Revoked,
    /// The same key, without the subkey that signed.
    WithoutIt,
    Yes,
}

impl Signer {
    /// A certificate (PEM), or public keys (armour), that whoever checks knows.
    ///
    /// # Errors
    /// The file cannot be read, or is neither.
    pub(super) fn read(path: &Path) -> Result<Vec<Self>> {
        const WHAT: &str = "read a certificate or an OpenPGP public key";
        let bytes = std::fs::read(path).map_err(|error| file_error(WHAT, path, error))?;
        let failed = || Error::permanent(ErrorKind::ConfigInvalid, WHAT).with("path", path.display());
        match std::str::from_utf8(&bytes) {
            Ok(text) if pgp_mime::is_armoured(text) => {
                let keys = PartnerKey::read_all(text).map_err(|error| failed().caused_by(error))?;
                Ok(keys.into_iter().map(|key| Self::Key(Arc::new(key))).collect())
            }
            _ => {
                let certificate = X509::from_pem(&bytes).map_err(|error| failed().caused_by(error))?;
                Ok(vec![Self::Certificate(certificate)])
            }
        }
    }

    /// A public key of a package; none where it is not readable.
    pub(super) fn of_armour(bytes: &[u8]) -> Option<Self> {
        let key = PartnerKey::read(std::str::from_utf8(bytes).ok()?).ok()?;
        Some(Self::Key(Arc::new(key)))
    }

    pub(super) fn certificate(&self) -> Option<&X509> {
        match self {
            Self::Certificate(known) => Some(known),
            Self::Key(_) => None,
        }
    }

    pub(super) fn key(&self) -> Option<&Arc<PartnerKey>> {
        match self {
            Self::Certificate(_) => None,
            Self::Key(known) => Some(known),
        }
    }

    /// SHA-256 of the certificate, or the fingerprint of the key, in hexadecimal.
    pub(super) fn fingerprint(&self) -> Option<String> {
        match self {
            Self::Certificate(known) => {
                let digest = known.digest(MessageDigest::sha256()).ok()?;
                let digest: [u8; 32] = digest.to_vec().try_into().ok()?;
                Some(Sha256(digest).to_string())
            }
            Self::Key(known) => Some(known.fingerprint()),
        }
    }

    /// Its owner, as it says.
    pub(super) fn owner(&self) -> String {
        match self {
            Self::Certificate(known) => subject(known.subject_name()),
            Self::Key(known) => PeerText::from(known.user()).as_str().to_owned(),
        }
    }

    /// It, for people.
    pub(super) fn describe(&self) -> String {
        let print = self.fingerprint().unwrap_or_default();
        match self {
            Self::Certificate(_) => format!("that of {}, SHA-256 {print}", self.owner()),
            Self::Key(_) => format!("the OpenPGP key of {}, fingerprint {print}", self.owner()),
        }
    }
}

/// A name as people read it: its parts with commas between.
fn subject(name: &X509NameRef) -> String {
    let part = |entry: &openssl::x509::X509NameEntryRef| {
        let kind = entry.object().nid().short_name().unwrap_or("?").to_owned();
        let value = entry.data().to_string().unwrap_or_default();
        PeerText::from(format!("{kind}={value}").as_str()).as_str().to_owned()
    };
    name.entries().map(part).collect::<Vec<_>>().join(", ")
}
