//! Checking a signature value against one public key.

use openssl::hash::hash;
use openssl::pkey::{HasPublic, Id, PKeyRef};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use openssl::sign::{RsaPssSaltlen, Verifier};

use super::signer::{ANY_SALT, SignatureAlgorithm, SignatureScheme};
use crate::algorithm::Digest;
use crate::error::{CryptoContext, Error, Result};

/// What a signature covers.
#[derive(Clone, Copy)]
pub(crate) enum Covered<'a> {
    /// The signed attributes, as a DER SET.
    Attributes(&'a [u8]),
    /// The content itself, whose digest this is.
    Content(Digest, &'a [u8]),
}

impl Covered<'_> {
    /// Its digest as the signature algorithm takes it. Errors: the content was digested by another algorithm.
    fn digest(self, wanted: Digest) -> Result<Vec<u8>> {
        match self {
            Covered::Attributes(bytes) => Ok(hash(wanted.md(), bytes).during("digest")?.to_vec()),
            Covered::Content(digest, value) if digest == wanted => Ok(value.to_vec()),
            Covered::Content(..) => {
                Err(Error::unsupported("a signature over another digest than that of the content"))
            }
        }
    }
}

/// Whether `signature` is by this key. `digest` is that of the content, for algorithms that name none. Errors: what
/// no key could verify.
pub(crate) fn verifies<T: HasPublic>(
    key: &PKeyRef<T>,
    algorithm: &SignatureAlgorithm,
    digest: Digest,
    covered: Covered<'_>,
    signature: &[u8],
) -> Result<bool> {
    let digest = algorithm.digest.unwrap_or(digest);
    if algorithm.scheme == SignatureScheme::Ed25519 {
        let Covered::Attributes(message) = covered else {
            // It signs its input, not a digest: all the content would have to be in memory.
            return Err(Error::unsupported("an Ed25519 signature without signed attributes"));
        };
        let verified = Verifier::new_without_digest(key)
            .and_then(|mut verifier| verifier.verify_oneshot(signature, message));
        return Ok(key.id() == Id::ED25519 && verified.unwrap_or(false));
    }
    let value = covered.digest(digest)?;
    if key.id() == Id::RSA_PSS && algorithm.scheme == SignatureScheme::RsaPkcs1v15 {
        // OpenSSL 3.0 signs with such a key by RSA-PSS and writes rsaEncryption.
        let pss = SignatureAlgorithm {
            scheme: SignatureScheme::RsaPss,
            digest: Some(digest),
            mask_digest: digest,
            salt_len: ANY_SALT,
        };
        return Ok(verifies_digest(key, &pss, digest, &value, signature).unwrap_or(false));
    }
    let fits = match algorithm.scheme {
        SignatureScheme::RsaPkcs1v15 => key.id() == Id::RSA,
        SignatureScheme::RsaPss => key.id() == Id::RSA || key.id() == Id::RSA_PSS,
        SignatureScheme::Ecdsa => key.id() == Id::EC,
        SignatureScheme::Ed25519 => false,
    };
    // The library answers what it cannot even try with an error: that key did not sign this.
    Ok(fits && verifies_digest(key, algorithm, digest, &value, signature).unwrap_or(false))
}

fn verifies_digest<T: HasPublic>(
    key: &PKeyRef<T>,
    algorithm: &SignatureAlgorithm,
    digest: Digest,
    value: &[u8],
    signature: &[u8],
) -> Result<bool, openssl::error::ErrorStack> {
    let mut context = PkeyCtx::new(key)?;
    context.verify_init()?;
    match algorithm.scheme {
        SignatureScheme::RsaPkcs1v15 => context.set_rsa_padding(Padding::PKCS1)?,
        SignatureScheme::RsaPss => {
            context.set_rsa_padding(Padding::PKCS1_PSS)?;
            context.set_rsa_mgf1_md(algorithm.mask_digest.md_ref())?;
            context.set_rsa_pss_saltlen(RsaPssSaltlen::custom(algorithm.salt_len))?;
        }
        SignatureScheme::Ecdsa | SignatureScheme::Ed25519 => {}
    }
    context.set_signature_md(digest.md_ref())?;
    context.verify(value, signature)
}
