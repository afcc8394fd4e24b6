//! Verifying: the digests of the content, the signers of a SignedData, and the pinned certificates
//! that alone are trusted; a certificate inside the message proves nothing.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::hash::{MessageDigest, hash};
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::sign::RsaPssSaltlen;
use openssl::x509::{X509, X509Ref};

use super::attributes;
use super::certificate::CertificateId;
use super::signer::{SignatureScheme, SignerInfo};
use crate::algorithm::{Digest, oid};
use crate::der::{self, Element};
use crate::error::{CryptoContext, Error, Result};
use crate::mic::Finished;

/// What makes a signature too weak to prove anything against somebody who tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weakness {
    /// MD5 or SHA-1: two contents with one digest can be made.
    Digest(Digest),
    /// A key of so many bits: RSA under 2,048, or a curve under 224.
    Key {
        /// Its bits.
        bits: u32,
    },
}

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weakness::Digest(Digest::Md5) => f.write_str("MD5"),
            Weakness::Digest(Digest::Sha1) => f.write_str("SHA-1"),
            Weakness::Digest(digest) => write!(f, "{digest:?}"),
            Weakness::Key { bits } => write!(f, "a key of {bits} bits"),
        }
    }
}

impl Weakness {
    /// That of a digest.
    pub fn of_digest(digest: Digest) -> Option<Weakness> {
        matches!(digest, Digest::Md5 | Digest::Sha1).then_some(Weakness::Digest(digest))
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
}

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
        fields.optional(der::context(0))?;
        fields.optional(der::context(1))?;
        let set = fields.required("signerInfos")?.expect(der::SET, "signerInfos")?;
        Ok(Signers { content_type, infos: SignerInfo::parse_all(&set, most)? })
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
        for signer in &self.infos {
            match self.verify_one(signer, digests, first, pinned, demands) {
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
        digests: &[Finished],
        first: &[u8],
        pinned: &[X509],
        demands: SignatureRequirements,
    ) -> Result<Proof> {
        let digest = signer.digest.clone().map_err(Error::unsupported)?;
        let both = [digest, signer.algorithm.digest.unwrap_or(digest)];
        let mut weak: Vec<Weakness> = both.into_iter().filter_map(Weakness::of_digest).collect();
        weak.dedup();
        if let (false, Some(weakness)) = (demands.accept_weak, weak.first()) {
            return Err(Error::WeakSignature(*weakness));
        }
        let content = digests
            .iter()
            .find(|content| content.algorithm == digest)
            .ok_or(Error::DigestUnannounced { digest })?;
        let candidates = Candidates::new(signer, pinned)?;
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
                scheme: signer.algorithm.scheme,
                fingerprint: trusted.digest(MessageDigest::sha256()).during("fingerprint")?.to_vec(),
                certificate,
            })
        };

        if let Some(signed) = &signer.attributes {
            let certificate = candidates.find(signer, digest, signed, None)?;
            return proof(certificate, self.check_attributes(signed, content)?);
        }
        // The bytes of signed attributes could be passed off as content that was signed without
        // any; no MIME entity begins like a DER SET.
        if first.first() == Some(&der::SET) && first.get(1).is_some_and(|byte| *byte >= 0x40) {
            return Err(Error::SignatureInvalid);
        }
        match (candidates.find(signer, digest, &[], Some(&content.exact)), &content.canonical) {
            (Ok(certificate), _) => proof(certificate, false),
            (Err(error), None) => Err(error),
            (Err(_), Some(canonical)) => proof(candidates.find(signer, digest, &[], Some(canonical))?, true),
        }
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
            _ => Err(Error::IntegrityFailed { algorithm: format!("{:?}", content.algorithm) }),
        }
    }
}

/// Pinned certificates in the order in which they are tried: those that the signer names first.
struct Candidates<'a> {
    pinned: &'a [X509],
    order: Vec<usize>,
    named: usize,
}

impl<'a> Candidates<'a> {
    fn new(signer: &SignerInfo, pinned: &'a [X509]) -> Result<Self> {
        let mut named = Vec::new();
        let mut others = Vec::new();
        for (at, certificate) in pinned.iter().enumerate() {
            let is_named = CertificateId::of(certificate)?.is_named(&signer.named);
            if is_named { named.push(at) } else { others.push(at) }
        }
        let count = named.len();
        Ok(Candidates { pinned, order: [named, others].concat(), named: count })
    }

    /// The first certificate that verifies the signature over `message`, or over a digest made
    /// already.
    fn find(
        &self,
        signer: &SignerInfo,
        digest: Digest,
        message: &[u8],
        made: Option<&[u8]>,
    ) -> Result<usize> {
        let algorithm = signer.algorithm.digest.unwrap_or(digest);
        let computed;
        let value = match made {
            Some(_) if algorithm != digest => {
                return Err(Error::unsupported("a signature over another digest than that of the content"));
            }
            Some(made) => made,
            None => {
                computed = hash(algorithm.md(), message).during("digest")?;
                &computed
            }
        };
        for at in &self.order {
            let Ok(key) = self.pinned[*at].public_key() else { continue };
            if verifies(&key, signer, algorithm, value).unwrap_or(false) {
                return Ok(*at);
            }
        }
        if self.named > 0 {
            Err(Error::SignatureInvalid)
        } else {
            Err(Error::SignerUnknown { signer: signer.named.describe(), pinned: self.pinned.len() })
        }
    }
}

fn verifies(
    key: &PKey<Public>,
    signer: &SignerInfo,
    digest: Digest,
    value: &[u8],
) -> Result<bool, openssl::error::ErrorStack> {
    let algorithm = &signer.algorithm;
    let fits = match algorithm.scheme {
        SignatureScheme::Ecdsa => key.id() == Id::EC,
        SignatureScheme::RsaPss => key.id() == Id::RSA || key.id() == Id::RSA_PSS,
        SignatureScheme::RsaPkcs1v15 => key.id() == Id::RSA,
    };
    if !fits {
        return Ok(false);
    }
    let mut context = PkeyCtx::new(key)?;
    context.verify_init()?;
    match algorithm.scheme {
        SignatureScheme::RsaPkcs1v15 => context.set_rsa_padding(Padding::PKCS1)?,
        SignatureScheme::RsaPss => {
            context.set_rsa_padding(Padding::PKCS1_PSS)?;
            context.set_rsa_mgf1_md(algorithm.mask_digest.md_ref())?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(algorithm.salt_len))?;
        }
        SignatureScheme::Ecdsa => {}
    }
    context.set_signature_md(digest.md_ref())?;
    context.verify(value, &signer.signature)
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
