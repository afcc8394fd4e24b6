//! Detached signatures over content that is a stream, such as what is kept of a message as evidence.

use std::io::{ErrorKind, Read};

use pgp::packet::Signature;
use pgp::ser::Serialize as _;
use smime::{Digest, Mic, Result};

use crate::digests::Digests;
use crate::error::OpenPgpContext as _;
use crate::keys::PartnerKey;
use crate::read::{CHUNK, ReadOptions, is_text, prove, signatures};
use crate::report::Proof;
use crate::verify::{digest_of, salt, trailer};

/// A detached signature that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detached {
    /// What it proves.
    pub proof: Proof,
    /// The digests of the exact content by the signature's algorithm and by those of [`ReadOptions::mic`].
    pub mics: Vec<Mic>,
}

/// A salt before content, the digest of both, and whether it is one of text.
type Salted = (Vec<u8>, Digest, bool);

/// Verifies a detached signature, in armour or as packets. The content is read once, to its end; in constant memory. One over
/// text holds for the content with every bare LF read as CRLF. Errors: as for [`read_message`](crate::read_message); the content
/// cannot be read.
pub fn verify_detached(
    mut content: impl Read,
    signature: &[u8],
    keys: &[&PartnerKey],
    options: &ReadOptions,
) -> Result<Detached> {
    let signatures = signatures(signature, options)?;
    let mut algorithms: Vec<Digest> = Vec::new();
    let mut has_text = false;
    // A salt of its own makes digests of its own.
    let mut salted: Vec<(Salted, Digests)> = Vec::new();
    for one in signatures.iter().flatten() {
        // One that is not supported proves nothing; another one may.
        let (Ok(algorithm), Ok(is_text)) = (digest_of(one), is_text(one)) else { continue };
        algorithms.push(algorithm);
        has_text |= is_text;
        if let Some(salt) = salt(one) {
            let mut digests = Digests::new(&[algorithm], is_text)?;
            digests.salt(salt)?;
            salted.push(((salt.to_vec(), algorithm, is_text), digests));
        }
    }
    algorithms.extend(&options.mic);
    let mut plain = Digests::new(&algorithms, has_text)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let bytes = match content.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => &chunk[..count],
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        plain.update(bytes)?;
        salted.iter_mut().try_for_each(|(_, digests)| digests.update(bytes))?;
    }
    let digest = |one: &Signature, algorithm, is_text| {
        let trailer = trailer(&one.to_bytes().within("OpenPGP signature")?)?;
        let digests = match salt(one) {
            Some(salt) => {
                let of = (salt.to_vec(), algorithm, is_text);
                salted.iter().find(|(known, _)| *known == of).map(|(_, digests)| digests)
            }
            None => Some(&plain),
        };
        digests.map_or(Ok(None), |digests| digests.with(algorithm, is_text, &trailer))
    };
    let proof = prove((signature, signatures), digest, keys, options)?;
    Ok(Detached { proof, mics: plain.mics()? })
}
