//! Signatures against the keys that alone are trusted.

use std::time::{Duration, SystemTime};

use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureVersionSpecific, Subpacket, SubpacketData};
use pgp::types::{KeyDetails as _, VerifyingKey};
use smime::{Digest, Error, Result, Weakness};

use crate::component::Component;
use crate::error::malformed;
use crate::keys::{PartnerKey, hexadecimal};
use crate::report::Proof;

/// What is asked of a signature beside that a key verifies it.
#[derive(Clone, Copy)]
pub(crate) struct Demands {
    pub(crate) valid_at: Option<SystemTime>,
    pub(crate) accept_expired: bool,
    pub(crate) accept_weak: bool,
}

/// The digest that a signature uses.
pub(crate) fn digest_of(signature: &Signature) -> Result<Digest> {
    let config = signature
        .config()
        .ok_or_else(|| Error::Unsupported("an OpenPGP signature of an unknown version".into()))?;
    digest_by(config.hash_alg)
}

/// A digest of the library's.
pub(crate) fn digest_by(algorithm: HashAlgorithm) -> Result<Digest> {
    match algorithm {
        HashAlgorithm::Md5 => Ok(Digest::Md5),
        HashAlgorithm::Sha1 => Ok(Digest::Sha1),
        HashAlgorithm::Sha224 => Ok(Digest::Sha224),
        HashAlgorithm::Sha256 => Ok(Digest::Sha256),
        HashAlgorithm::Sha384 => Ok(Digest::Sha384),
        HashAlgorithm::Sha512 => Ok(Digest::Sha512),
        other => Err(Error::Unsupported(format!("OpenPGP signatures by {other}"))),
    }
}

/// Verifies a signature over content whose digest, with what the signature adds to it, is `digest`.
pub(crate) fn verify(
    signature: &Signature,
    digest: &[u8],
    keys: &[&PartnerKey],
    demands: Demands,
) -> Result<Proof> {
    let algorithm = digest_of(signature)?;
    let mut weaknesses: Vec<Weakness> = Weakness::of_digest(algorithm).into_iter().collect();
    if let Some(weakness) = weaknesses.first().filter(|_| !demands.accept_weak) {
        return Err(Error::WeakSignature(*weakness));
    }
    if !is_understood(signature) {
        let what = "an OpenPGP signature with a critical subpacket that is not known here";
        return Err(Error::Unsupported(what.into()));
    }
    let named = |component: &Component| {
        signature.issuer_fingerprint().contains(&&component.fingerprint)
            || signature.issuer_key_id().contains(&&component.key_id)
    };
    let all: Vec<(usize, &Component)> = keys
        .iter()
        .enumerate()
        .flat_map(|(place, key)| key.description.components.iter().map(move |component| (place, component)))
        .filter(|(_, component)| component.signs)
        .collect();
    let is_anonymous = signature.issuer_fingerprint().is_empty() && signature.issuer_key_id().is_empty();
    let candidates: Vec<_> = all.into_iter().filter(|(_, one)| is_anonymous || named(one)).collect();
    if candidates.is_empty() {
        return Err(Error::SignerUnknown { signer: signer(signature), pinned: keys.len(), carried: None });
    }
    let Some((place, component)) = candidates
        .into_iter()
        .find(|(place, component)| verifies(signature, digest, keys[*place], component))
    else {
        // The first bytes of the digest stand in the signature: they tell changed content from another key.
        let changed = signature.signed_hash_value().is_some_and(|first| digest.get(..2) != Some(&first[..]));
        return Err(match changed {
            true => Error::IntegrityFailed { algorithm: format!("{algorithm:?}"), signed: None },
            false => Error::SignatureInvalid,
        });
    };
    if let Some(at) = demands.valid_at {
        if at < component.validity.from {
            return Err(Error::CertificateNotYetValid);
        }
        if component.validity.is_over(at) && !demands.accept_expired {
            return Err(Error::CertificateExpired);
        }
        if is_expired(signature, at) {
            return Err(Error::SignatureInvalid);
        }
    }
    if let Some(weakness) = component.weakness {
        if !demands.accept_weak {
            return Err(Error::WeakSignature(weakness));
        }
        weaknesses.push(weakness);
    }
    let (fingerprint, component) = (keys[place].fingerprint(), hexadecimal(component.fingerprint.as_bytes()));
    Ok(Proof { digest: algorithm, fingerprint, component, key: place, weaknesses, signature: Vec::new() })
}

fn verifies(signature: &Signature, digest: &[u8], key: &PartnerKey, component: &Component) -> bool {
    let (Some(config), Some(bytes)) = (signature.config(), signature.signature()) else { return false };
    let primary = &key.key.primary_key;
    if primary.fingerprint() == component.fingerprint {
        return primary.verify(config.hash_alg, digest, bytes).is_ok();
    }
    let mut subkeys = key.key.public_subkeys.iter().map(|subkey| &subkey.key);
    let subkey = subkeys.find(|subkey| subkey.fingerprint() == component.fingerprint);
    subkey.is_some_and(|subkey| subkey.verify(config.hash_alg, digest, bytes).is_ok())
}

/// Whether a signature demands nothing of its reader that is not known here (RFC 9580 section 5.2.3.7).
fn is_understood(signature: &Signature) -> bool {
    let is_unknown = |subpacket: &Subpacket| {
        let unknown = matches!(
            subpacket.data,
            SubpacketData::Notation(..) | SubpacketData::Experimental(..) | SubpacketData::Other(..)
        );
        subpacket.is_critical && unknown
    };
    signature.config().is_none_or(|config| !config.hashed_subpackets.iter().any(is_unknown))
}

/// A signature may say how long it holds (RFC 9580 section 5.2.3.18).
fn is_expired(signature: &Signature, at: SystemTime) -> bool {
    let lasts = signature.signature_expiration_time().map(|lasts| u64::from(lasts.as_secs()));
    let (Some(lasts), Some(made)) = (lasts.filter(|lasts| *lasts > 0), signature.created()) else {
        return false;
    };
    SystemTime::from(made).checked_add(Duration::from_secs(lasts)).is_some_and(|end| end <= at)
}

/// Whom a signature names.
fn signer(signature: &Signature) -> String {
    if let Some(fingerprint) = signature.issuer_fingerprint().first() {
        return format!("the OpenPGP key {}", hexadecimal(fingerprint.as_bytes()));
    }
    match signature.issuer_key_id().first() {
        Some(id) => format!("the OpenPGP key with the id {}", hexadecimal(id.as_ref())),
        None => "an OpenPGP key that it does not name".to_owned(),
    }
}

/// What is digested before the content: a signature of version 6 has such a salt (RFC 9580 section 5.2.4).
pub(crate) fn salt(signature: &Signature) -> Option<&[u8]> {
    match &signature.config()?.version_specific {
        SignatureVersionSpecific::V6 { salt } => Some(salt),
        _ => None,
    }
}

/// What a detached signature adds to the digest of its content (RFC 9580 section 5.2.4), from the body of its packet.
pub(crate) fn trailer(body: &[u8]) -> Result<Vec<u8>> {
    let short = || malformed("OpenPGP signature", "it ends too early");
    match body.first().ok_or_else(short)? {
        // Its type and time of making.
        2 | 3 => Ok(body.get(2..7).ok_or_else(short)?.to_vec()),
        // All of it to the end of the hashed subpackets, and how much that is.
        4 => {
            let [high, low] = body.get(4..6).ok_or_else(short)? else { return Err(short()) };
            let end = 6 + usize::from(u16::from_be_bytes([*high, *low]));
            let hashed = body.get(..end).ok_or_else(short)?;
            let len = u32::try_from(end).map_err(|_| short())?;
            Ok([hashed, &[4, 0xFF], &len.to_be_bytes()].concat())
        }
        // The same with a longer length before them (section 5.2.3).
        6 => {
            let length =
                body.get(4..8).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).ok_or_else(short)?;
            let end =
                usize::try_from(u32::from_be_bytes(length)).ok().and_then(|length| length.checked_add(8));
            let hashed = end.and_then(|end| body.get(..end)).ok_or_else(short)?;
            let len = u32::try_from(hashed.len()).map_err(|_| short())?;
            Ok([hashed, &[6, 0xFF], &len.to_be_bytes()].concat())
        }
        version => Err(Error::Unsupported(format!("a detached OpenPGP signature of version {version}"))),
    }
}
