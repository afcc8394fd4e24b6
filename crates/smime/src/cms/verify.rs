//! Verifying: the digests of the content, the signers of a SignedData, and the pinned certificates
//! that alone are trusted; a certificate inside the message proves nothing.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::{HasPublic, Id, PKeyRef};
use openssl::x509::{X509, X509Ref};

use super::attributes;
use super::certificate::{CertificateId, name_text};
use super::signature::{Covered, verifies};
use super::signer::{SignatureAlgorithm, SignatureScheme, SignerInfo};
use crate::algorithm::{Cipher, Digest, oid};
use crate::der::{self, Element};
use crate::error::{CarriedCertificate, CryptoContext, Error, Result};
use crate::mic::{Finished, SignedDigest};

/// What makes a signature too weak to prove anything against somebody who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// MD5 or SHA-1: two contents with one digest can be made.
    Digest(Digest),
    /// A cipher with blocks of 64 bits: after some gigabytes under one key, blocks repeat and tell of the content.
    Cipher(Cipher),
    /// A key of so many bits: RSA under 2,048, or a curve under 224.
    Key {
        /// Its bits.
        bits: u32,
    },
    /// What another packaging uses, by its name.
    Named(&'static str),
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weakness::Digest(Digest::Md5) => f.write_str("MD5"),
            Weakness::Digest(Digest::Sha1) => f.write_str("SHA-1"),
            Weakness::Digest(digest) => write!(f, "{digest:?}"),
            Weakness::Cipher(Cipher::TripleDesCbc) => f.write_str("triple DES"),
            Weakness::Cipher(cipher) => f.write_str(cipher.name()),
            Weakness::Key { bits } => write!(f, "a key of {bits} bits"),
            Weakness::Named(name) => f.write_str(name),
        }
    }
}

impl Weakness {
    /// That of a digest.
    pub fn of_digest(digest: Digest) -> Option<Weakness> {
        matches!(digest, Digest::Md5 | Digest::Sha1).then_some(Weakness::Digest(digest))
    }

    /// That of a cipher.
    pub fn of_cipher(cipher: Cipher) -> Option<Weakness> {
        cipher.has_short_blocks().then_some(Weakness::Cipher(cipher))
    }

    /// That of a key.
    pub fn of_key<T: HasPublic>(key: &PKeyRef<T>) -> Option<Weakness> {
        let least = match key.id() {
            Id::EC => 224,
            _ => 2048,
        };
        (matches!(key.id(), Id::RSA | Id::RSA_PSS | Id::DSA | Id::EC) && key.bits() < least)
            .then(|| Weakness::Key { bits: key.bits() })
    }
}

/// What is asked of a signature beside that a pinned certificate verifies it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignatureRequirements {
    /// When the certificate must be valid; none does not ask.
    pub(crate) valid_at: Option<SystemTime>,
    /// It may have expired by then.
    pub(crate) accept_expired: bool,
    pub(crate) accept_weak: bool,
}

/// What a verified signature proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Digest of the content, as the signer chose it.
    pub digest: Digest,
    /// Whether the content was signed with every bare LF read as CRLF.
    pub canonical: bool,
    /// How the signature was made.
    pub scheme: SignatureScheme,
    /// SHA-256 of the pinned certificate that verified.
    pub fingerprint: Vec<u8>,
    /// Its place in the list that was handed in.
    pub certificate: usize,
    /// What of it is too weak for today; empty unless that was allowed.
    pub weaknesses: Vec<Weakness>,
}

/// The signers of a SignedData and the type of what they signed.
pub(crate) struct Signers {
    pub(crate) content_type: Vec<u8>,
    pub(crate) infos: Vec<SignerInfo>,
    /// The element with the certificates that came along, as received; empty if there is none.
    pub(crate) carried: Vec<u8>,
}

/// Limit of the certificates of a message that are tried to find the one that made its signature.
const MOST_CARRIED: usize = 10;

impl Signers {
    /// Reads a detached SignedData that is all in memory.
    pub(crate) fn parse(bytes: &[u8], most: usize) -> Result<Signers> {
        let mut info = Element::parse(bytes)?.expect(der::SEQUENCE, "ContentInfo")?.children();
        let kind = info.required("contentType")?.content;
        if kind != oid::SIGNED_DATA {
            return Err(Error::malformed("signature part", "it is not SignedData"));
        }
        let content = info.required("content")?.expect(der::context(0), "content")?;
        let mut fields = content.children().required("SignedData")?.children();
        fields.required("version")?;
        fields.required("digestAlgorithms")?;
        let encapsulated = fields.required("encapContentInfo")?;
        let content_type = encapsulated.children().required("contentType")?.content.to_vec();
        let carried = fields.optional(der::context(0))?.map(|set| set.raw.to_vec()).unwrap_or_default();
        fields.optional(der::context(1))?;
        let set = fields.required("signerInfos")?.expect(der::SET, "signerInfos")?;
        Ok(Signers { content_type, infos: SignerInfo::parse_all(&set, most)?, carried })
    }

    /// Verifies against the pinned certificates; any signer will do, one whose signature is strong
    /// before others. `first` are the first bytes of the content.
    pub(crate) fn verify(
        &self,
        digests: &[Finished],
        first: &[u8],
        pinned: &[X509],
        demands: SignatureRequirements,
    ) -> Result<Proof> {
        let mut result = Err(Error::malformed("SignedData", "it has no signature"));
        // What the message leaves open is taken for SHA-1 only where that is accepted.
        let readings = if demands.accept_weak { usize::MAX } else { 1 };
        let signers = self.infos.iter().flat_map(|signer| {
            signer.algorithms.iter().take(readings).map(move |algorithm| (signer, algorithm))
        });
        for (signer, algorithm) in signers {
            match self.verify_one(signer, algorithm, digests, first, pinned, demands) {
                Ok(proof) if proof.weaknesses.is_empty() => return Ok(proof),
                Ok(proof) => result = Ok(proof),
                // What was proved, if weakly, stays proved.
                Err(error) if result.is_err() => result = Err(error),
                Err(_) => {}
            }
        }
        result
    }

    fn verify_one(
        &self,
        signer: &SignerInfo,
        algorithm: &SignatureAlgorithm,
        digests: &[Finished],
        first: &[u8],
        pinned: &[X509],
        demands: SignatureRequirements,
    ) -> Result<Proof> {
        let digest = signer.digest.clone().map_err(Error::unsupported)?;
        let both = [digest, algorithm.digest.unwrap_or(digest)];
        let mut weak: Vec<Weakness> = both.into_iter().filter_map(Weakness::of_digest).collect();
        weak.dedup();
        if let (false, Some(weakness)) = (demands.accept_weak, weak.first()) {
            return Err(Error::WeakSignature(*weakness));
        }
        let content = digests
            .iter()
            .find(|content| content.algorithm == digest)
            .ok_or(Error::DigestUnannounced { digest })?;
        let candidates = Candidates::new(signer, pinned, demands)?;
        let proof = |certificate: usize, canonical| -> Result<Proof> {
            let trusted = &pinned[certificate];
            check_dates(trusted, demands)?;
            let key = trusted.public_key().during("read a certificate's key")?;
            let weaknesses: Vec<_> = weak.iter().copied().chain(Weakness::of_key(&key)).collect();
            if let (false, Some(weakness)) = (demands.accept_weak, weaknesses.first()) {
                return Err(Error::WeakSignature(*weakness));
            }
            Ok(Proof {
                weaknesses,
                digest,
                canonical,
                // Whatever the message says, such a key signs by nothing else.
                scheme: if key.id() == Id::RSA_PSS { SignatureScheme::RsaPss } else { algorithm.scheme },
                fingerprint: trusted.digest(MessageDigest::sha256()).during("fingerprint")?.to_vec(),
                certificate,
            })
        };

        if let Some(signed) = &signer.attributes {
            let certificate = candidates.find(signer, algorithm, digest, Covered::Attributes(signed))?;
            return proof(certificate, self.check_attributes(signed, content)?);
        }
        // The bytes of signed attributes could be passed off as content that was signed without
        // any; no MIME entity begins like a DER SET.
        if first.first() == Some(&der::SET) && first.get(1).is_some_and(|byte| *byte >= 0x40) {
            return Err(Error::SignatureInvalid);
        }
        let find = |value: &[u8]| candidates.find(signer, algorithm, digest, Covered::Content(digest, value));
        match (find(&content.exact), &content.canonical) {
            (Ok(certificate), _) => proof(certificate, false),
            (Err(error), None) => Err(error),
            (Err(_), Some(canonical)) => proof(find(canonical)?, true),
        }
    }

    /// The same error, or what would have verified: a pinned certificate with what is too weak, or the certificate
    /// inside the message. Then it does not matter whether the message names a pinned one: a new certificate often
    /// has the old one's name.
    pub(crate) fn what_would_verify(
        &self,
        error: Error,
        digests: &[Finished],
        first: &[u8],
        pinned: &[X509],
    ) -> Error {
        if !matches!(error, Error::SignatureInvalid | Error::SignerUnknown { .. }) {
            return error;
        }
        let anything = SignatureRequirements { valid_at: None, accept_expired: true, accept_weak: true };
        let made_it = |certificate: &X509| {
            self.verify(digests, first, std::slice::from_ref(certificate), anything).is_ok()
        };
        if let Ok(proof) = self.verify(digests, first, pinned, anything)
            && let Some(weakness) = proof.weaknesses.first()
        {
            return Error::WeakSignature(*weakness);
        }
        let carried = self.carried_certificates().into_iter().find(made_it);
        let (Some(carried), Some(signer)) = (carried, self.infos.first()) else { return error };
        let Ok(fingerprint) = carried.digest(MessageDigest::sha256()) else { return error };
        let subject = name_text(carried.subject_name());
        let carried = Some(CarriedCertificate { subject, fingerprint: fingerprint.to_vec() });
        Error::SignerUnknown { signer: signer.named.describe(), pinned: pinned.len(), carried }
    }

    fn carried_certificates(&self) -> Vec<X509> {
        let mut certificates = Vec::new();
        let Ok(set) = Element::parse(&self.carried) else { return certificates };
        let mut elements = set.children();
        while let Ok(Some(element)) = elements.next() {
            // Other forms than X.509 have other tags.
            if element.tag == der::SEQUENCE && certificates.len() < MOST_CARRIED {
                certificates.extend(X509::from_der(element.raw));
            }
        }
        certificates
    }

    /// Ties the signed attributes to the content; true when its canonical form was signed.
    fn check_attributes(&self, signed: &[u8], content: &Finished) -> Result<bool> {
        let attributes = attributes::read(Element::parse(signed)?.content);
        if attributes.content_type.is_some_and(|kind| kind != self.content_type) {
            return Err(Error::SignatureInvalid);
        }
        match attributes.message_digest {
            Some(digest) if digest == content.exact => Ok(false),
            Some(digest) if Some(&digest) == content.canonical.as_ref() => Ok(true),
            other => Err(Error::IntegrityFailed {
                algorithm: format!("{:?}", content.algorithm),
                signed: other.map(|digest| Box::new(SignedDigest::new(content.algorithm, digest))),
            }),
        }
    }
}

/// Pinned certificates in the order in which they are tried: those that the signer names first, and of several with one
/// key one that is valid by its dates.
struct Candidates<'a> {
    pinned: &'a [X509],
    order: Vec<usize>,
    named: usize,
}

impl<'a> Candidates<'a> {
    fn new(signer: &SignerInfo, pinned: &'a [X509], demands: SignatureRequirements) -> Result<Self> {
        let mut named = Vec::new();
        let mut others = Vec::new();
        for (at, certificate) in pinned.iter().enumerate() {
            let is_named = CertificateId::of(certificate)?.is_named(&signer.named);
            if is_named { named.push(at) } else { others.push(at) }
        }
        for part in [&mut named, &mut others] {
            part.sort_by_key(|at| check_dates(&pinned[*at], demands).is_err());
        }
        let count = named.len();
        Ok(Candidates { pinned, order: [named, others].concat(), named: count })
    }

    /// The first certificate that verifies the signature. `digest` is that of the content.
    fn find(
        &self,
        signer: &SignerInfo,
        algorithm: &SignatureAlgorithm,
        digest: Digest,
        covered: Covered<'_>,
    ) -> Result<usize> {
        for at in &self.order {
            let Ok(key) = self.pinned[*at].public_key() else { continue };
            if verifies(&key, algorithm, digest, covered, &signer.signature)? {
                return Ok(*at);
            }
        }
        if self.named > 0 {
            return Err(Error::SignatureInvalid);
        }
        let (signer, pinned) = (signer.named.describe(), self.pinned.len());
        Err(Error::SignerUnknown { signer, pinned, carried: None })
    }
}

fn check_dates(certificate: &X509Ref, demands: SignatureRequirements) -> Result<()> {
    let Some(time) = demands.valid_at else { return Ok(()) };
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let now = Asn1Time::from_unix(i64::try_from(seconds).unwrap_or(i64::MAX)).during("compare dates")?;
    if certificate.not_before() > now {
        return Err(Error::CertificateNotYetValid);
    }
    if certificate.not_after() < now && !demands.accept_expired {
        return Err(Error::CertificateExpired);
    }
    Ok(())
}
