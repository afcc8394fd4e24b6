//! Verifying a signature whose content is kept beside it.

use std::cell::RefCell;
use std::io::{BufReader, Read};

use openssl::x509::X509;

use super::attributes;
use super::verify::{Proof, SignatureRequirements, Signers};
use crate::der::Element;
use crate::error::{Error, Result};
use crate::message::options::ReadOptions;
use crate::message::unwrap::{CHUNK, drain};
use crate::mic::{Digests, Finished, Mic, Tapped};

/// What a signature over content that is kept beside it proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// What it proves.
    pub proof: Proof,
    /// The digest of the content in the form that was signed: the MIC.
    pub mic: Mic,
}

/// Verifies a SignedData without content against the content and pinned certificates, any of which may verify. The
/// content is read to its end, in constant memory. Of the options, the limits, the date and what is accepted count.
///
/// Errors: as for [`read_message`](crate::read_message).
pub fn verify_detached(
    content: impl Read,
    signature: &[u8],
    certificates: &[X509],
    options: &ReadOptions,
) -> Result<Detached> {
    if signature.len() as u64 > options.limits.element_bytes {
        return Err(Error::limit("signature in bytes", options.limits.element_bytes));
    }
    let signers = Signers::parse(signature, options.limits.signers)?;
    let algorithms: Vec<_> =
        signers.infos.iter().filter_map(|signer| signer.digest.as_ref().ok().copied()).collect();
    let digests = RefCell::new(Digests::new(&algorithms, true)?);
    drain(&mut BufReader::with_capacity(CHUNK, Tapped { inner: content, digests: &digests }))?;
    let digests = digests.into_inner();
    let first = digests.first_bytes().to_vec();
    let finished = digests.finish()?;
    let demands = SignatureRequirements {
        valid_at: options.valid_at,
        accept_expired: options.accept_expired,
        accept_weak: options.accept_weak,
    };
    let proof = signers.verify(&finished, &first, certificates, demands)?;
    let digest = finished
        .into_iter()
        .find(|digest| digest.algorithm == proof.digest)
        .and_then(|digest| if proof.canonical { digest.canonical } else { Some(digest.exact) })
        .ok_or(Error::DigestUnannounced { digest: proof.digest })?;
    Ok(Detached { mic: Mic { algorithm: proof.digest, digest }, proof })
}

/// The digests that the signers of a SignedData without content state for it (the attribute messageDigest), with the
/// certificate that verifies each signature over the attributes: what is proved where the content itself is gone.
///
/// Errors: as for [`verify_detached`], without [`IntegrityFailed`](Error::IntegrityFailed).
pub fn stated_digest(signature: &[u8], certificates: &[X509], options: &ReadOptions) -> Result<Detached> {
    let signers = Signers::parse(signature, options.limits.signers)?;
    // Such a signature is over the content itself.
    let mut last = Err(Error::Unsupported(
        "a signature without signed attributes states no digest of its content".into(),
    ));
    for signer in &signers.infos {
        let (Ok(algorithm), Some(signed)) = (&signer.digest, &signer.attributes) else { continue };
        let attributes = attributes::read(Element::parse(signed)?.content);
        let Some(exact) = attributes.message_digest else { continue };
        let stated = Finished { algorithm: *algorithm, exact, canonical: None };
        let demands = SignatureRequirements {
            valid_at: options.valid_at,
            accept_expired: options.accept_expired,
            accept_weak: options.accept_weak,
        };
        match signers.verify(std::slice::from_ref(&stated), &[], certificates, demands) {
            Ok(proof) if proof.digest == stated.algorithm => {
                return Ok(Detached { mic: Mic { algorithm: proof.digest, digest: stated.exact }, proof });
            }
            // Another signer's.
            Ok(_) => {}
            Err(error) => last = Err(error),
        }
    }
    last
}
