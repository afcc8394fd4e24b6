//! SignerInfo as received (RFC 5652 section 5.3).

use super::certificate::Named;
use super::recipient::{digest_of, mask_digest_of};
use crate::algorithm::{Digest, oid};
use crate::der::{self, Element};
use crate::error::{Error, Result};

/// How the signature was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignatureScheme {
    /// RSA with PKCS #1 v1.5 padding.
    RsaPkcs1v15,
    /// RSA-PSS.
    RsaPss,
    /// ECDSA.
    Ecdsa,
    /// Ed25519 (RFC 8419).
    Ed25519,
}

impl SignatureScheme {
    /// The name that people use.
    pub fn name(self) -> &'static str {
        match self {
            SignatureScheme::RsaPkcs1v15 => "RSA PKCS #1 v1.5",
            SignatureScheme::RsaPss => "RSA-PSS",
            SignatureScheme::Ecdsa => "ECDSA",
            SignatureScheme::Ed25519 => "Ed25519",
        }
    }

    /// Whether signing the same content again gives the same bytes. Where it does not, a retry repeats the
    /// signature of the first attempt: [`Signing::made`](crate::Signing::made).
    pub fn repeats(self) -> bool {
        matches!(self, SignatureScheme::RsaPkcs1v15 | SignatureScheme::Ed25519)
    }
}

pub(crate) struct SignerInfo {
    pub(crate) named: Named,
    /// The digest algorithm, or the identifier that is not known.
    pub(crate) digest: Result<Digest, String>,
    /// Signed attributes as they are signed: the received bytes under the tag of a SET.
    pub(crate) attributes: Option<Vec<u8>>,
    /// The algorithm; several where the message does not say enough, the likeliest first.
    pub(crate) algorithms: Vec<SignatureAlgorithm>,
    pub(crate) signature: Vec<u8>,
}

/// The salt's length is found from the signature itself (the library's own number for that).
pub(crate) const ANY_SALT: i32 = -2;

#[derive(Debug, Clone, Copy)]
pub(crate) struct SignatureAlgorithm {
    pub(crate) scheme: SignatureScheme,
    /// The digest that the signature algorithm itself names.
    pub(crate) digest: Option<Digest>,
    pub(crate) mask_digest: Digest,
    pub(crate) salt_len: i32,
}

impl SignerInfo {
    /// Reads the SET OF SignerInfo.
    pub(crate) fn parse_all(set: &Element<'_>, most: usize) -> Result<Vec<SignerInfo>> {
        let mut signers = Vec::new();
        let mut elements = set.children();
        while let Some(element) = elements.next()? {
            if signers.len() >= most {
                return Err(Error::limit("signers", most as u64));
            }
            signers.push(SignerInfo::parse(&element)?);
        }
        Ok(signers)
    }

    fn parse(element: &Element<'_>) -> Result<SignerInfo> {
        let mut fields = element.expect(der::SEQUENCE, "SignerInfo")?.children();
        fields.required("version")?;
        let named = Named::parse(&fields.required("signer identifier")?)?;
        let digest = fields.required("digestAlgorithm")?;
        let digest = digest_of(&digest).map_err(|error| error.to_string());
        let attributes = fields.optional(der::context(0))?.map(|attributes| {
            if attributes.raw.get(1) == Some(&0x80) {
                // Of indefinite length: what is signed is DER, so the length at least is known.
                return der::element(der::SET, &[attributes.content]);
            }
            let mut raw = attributes.raw.to_vec();
            if let Some(tag) = raw.first_mut() {
                *tag = der::SET;
            }
            raw
        });
        let algorithms = SignatureAlgorithm::parse(
            &fields.required("signatureAlgorithm")?,
            digest.as_ref().ok().copied(),
        )?;
        let signature = fields.required("signature")?.octets()?.into_owned();
        Ok(SignerInfo { named, digest, attributes, algorithms, signature })
    }
}

impl SignatureAlgorithm {
    /// `content` is the digest of the content.
    fn parse(algorithm: &Element<'_>, content: Option<Digest>) -> Result<Vec<SignatureAlgorithm>> {
        let mut fields = algorithm.children();
        let kind = fields.required("algorithm")?.content;
        let mut found = SignatureAlgorithm {
            scheme: SignatureScheme::RsaPkcs1v15,
            digest: Digest::from_signature_oid(kind),
            mask_digest: Digest::Sha1,
            salt_len: 20,
        };
        if kind == oid::RSA_PSS {
            found.scheme = SignatureScheme::RsaPss;
            found.digest = Some(Digest::Sha1);
            let Some(parameters) = fields.next()?.filter(|element| element.tag == der::SEQUENCE) else {
                // RFC 4056 section 3 wants them. Those who leave them out (pyas2lib among them) use the digest of the
                // content, and the library's choice of salt; that SHA-1 is meant comes second.
                let likely = content.map(|digest| SignatureAlgorithm {
                    digest: Some(digest),
                    mask_digest: digest,
                    salt_len: ANY_SALT,
                    ..found
                });
                return Ok(likely.into_iter().chain([found]).collect());
            };
            let mut parameters = parameters.children();
            if let Some(hash) = parameters.optional(der::context(0))? {
                found.digest = Some(digest_of(&hash.children().required("hashAlgorithm")?)?);
            }
            if let Some(mask) = parameters.optional(der::context(1))? {
                found.mask_digest = mask_digest_of(&mask.children().required("maskGenAlgorithm")?)?;
            }
            if let Some(salt) = parameters.optional(der::context(2))? {
                let len = salt.children().required("saltLength")?.small_integer()?;
                found.salt_len = i32::try_from(len)
                    .ok()
                    .filter(|len| *len <= 512)
                    .ok_or_else(|| Error::malformed("RSA-PSS parameters", "saltLength out of range"))?;
            }
        } else if kind == oid::ED25519 {
            found.scheme = SignatureScheme::Ed25519;
        } else if kind.starts_with(oid::ECDSA_SHA2) || kind == oid::ECDSA_SHA1 || kind == oid::EC_PUBLIC_KEY {
            found.scheme = SignatureScheme::Ecdsa;
        } else if !(kind == oid::RSA || found.digest.is_some()) {
            return Err(Error::unsupported(format!("signature algorithm {}", der::dotted(kind))));
        }
        Ok(vec![found])
    }
}
