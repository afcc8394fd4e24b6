//! Receipts of ours that OpenPGP signs, where the sender asked for that (`pgp-signature`).

use crate::mdn::{MdnMessage, cannot_write, fields};
use model::Result;
use pgp_mime::{Body, OwnKey, Signed, Signing};
use smime::{Digest, Entity, Headers};
use std::io::{Cursor, Read};
use std::sync::Arc;
use std::time::SystemTime;

/// How a receipt of ours is signed: by the digest that was asked for and the agreement allows, where an OpenPGP key can sign by it.
pub(crate) fn receipt_signing(
    key: &Arc<OwnKey>,
    digest: Digest,
    time: SystemTime,
    boundary: String,
) -> Signing {
    // OpenPGP of today makes no signatures by MD5 and SHA-1 (RFC 9580, 9.5).
    let digest = if matches!(digest, Digest::Md5 | Digest::Sha1) { Digest::Sha256 } else { digest };
    Signing { key: Arc::clone(key), digest, time, boundary }
}

/// A receipt, signed.
///
/// # Errors
/// A key that cannot sign.
pub(crate) fn signed_receipt(message: MdnMessage, signing: Signing) -> Result<MdnMessage> {
    let failed = |error: smime::Error| cannot_write(&error);
    let headers = message
        .headers
        .iter()
        .try_fold(Headers::new(), |headers, (name, value)| headers.with(name, value))
        .map_err(failed)?;
    let entity: Entity<Body> = Entity::new(headers, Box::new(Cursor::new(message.body)));
    let Signed { entity, .. } = pgp_mime::sign(entity, signing).map_err(failed)?;
    let (headers, mut signed) = entity.into_parts();
    let mut body = Vec::new();
    signed.read_to_end(&mut body).map_err(|error| failed(error.into()))?;
    Ok(MdnMessage { headers: fields(&headers), body })
}
