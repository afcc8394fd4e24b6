//! What of a message was signed, and the signature, once more: the evidence of a message that was sent. The same inputs give
//! the same bytes, so nothing of it has to be kept while it is sent.

use super::{
    Envelope, Layer, MadeOnce, binary, content_key, failed, layers, message_digest, payload_headers, signing,
};
use model::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use smime::{Digest, Entity, Measured, Mic, Payload, Signing};
use std::io::{Cursor, Read};

/// Which bytes the MIC of a message covers, and its signature if it has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Covers {
    /// The payload alone: nothing is wrapped around it.
    Payload,
    /// The payload's header section and the payload.
    HeadAndPayload,
    /// The payload compressed, encrypted or both, or several files in one payload: [`signed_content`].
    Layers,
}

/// Which bytes the MIC of a message covers.
pub(crate) fn covers(envelope: &Envelope<'_>) -> Covers {
    if envelope.has_attachments() {
        return Covers::Layers;
    }
    let layers = layers(envelope.agreement);
    match layers.iter().position(|layer| *layer == Layer::Sign) {
        None if layers.is_empty() => Covers::Payload,
        None | Some(0) => Covers::HeadAndPayload,
        Some(_) => Covers::Layers,
    }
}

/// The signature of a message that was sent with this MIC, without what it signs; `None` of a message that is not signed.
///
/// # Errors
/// A key that cannot sign; `Internal`: the signature that was sent is not known, and another one would have other bytes.
pub(crate) fn signature(envelope: &Envelope<'_>, mic: &Mic) -> Result<Option<Vec<u8>>> {
    signature_of(envelope)?.map(|signature| signature.over(mic)).transpose()
}

/// The signature of a message that is still to be made.
pub(crate) struct SignatureOf {
    signing: Signing,
    /// There once the message was made, where making it anew would give other bytes.
    made: MadeOnce,
}

/// The signature that a message will have; `None` of a message that is not signed.
///
/// # Errors
/// A key that cannot sign.
pub(crate) fn signature_of(envelope: &Envelope<'_>) -> Result<Option<SignatureOf>> {
    if !envelope.agreement.signs_by_smime() {
        return Ok(None);
    }
    let signing = signing(envelope, message_digest(envelope))?;
    Ok(Some(SignatureOf { signing, made: envelope.made_once.clone() }))
}

impl SignatureOf {
    /// The signature once the message was made, with this MIC.
    ///
    /// # Errors
    /// As [`signature`].
    pub(crate) fn over(self, mic: &Mic) -> Result<Vec<u8>> {
        let Self { mut signing, made } = self;
        if signing.on_signature.is_some() {
            signing.made = made.noted_signature();
            if signing.made.is_none() {
                let operation = "find the signature of a message that was sent";
                return Err(Error::permanent(ErrorKind::Internal, operation));
            }
        }
        signing.signature_block(&mic.digest).map_err(failed)
    }
}

/// By which digest the MIC of a message is made.
pub(crate) fn mic_digest(envelope: &Envelope<'_>) -> Digest {
    message_digest(envelope)
}

/// All that the signature of a message covers, or its MIC where it is not signed, its header section first where that is
/// covered too; made of the same payload once more.
///
/// # Errors
/// As [`build`](super::build).
pub(crate) fn signed_content(
    envelope: &Envelope<'_>,
    payload: Box<dyn Read + Send>,
    length: u64,
) -> Result<Box<dyn Read + Send>> {
    let content: Box<dyn Measured + Send> = Box::new(Payload::new(payload, length));
    let mut entity = Entity::new(payload_headers(envelope)?, content);
    let layers = layers(envelope.agreement);
    // Without a signature it is what the MIC covers: the innermost entity.
    let inside = layers.iter().position(|layer| *layer == Layer::Sign).unwrap_or_default();
    for layer in layers.iter().take(inside) {
        entity = match layer {
            Layer::Compress => binary(entity.compress().map_err(failed)?)?,
            Layer::Encrypt | Layer::Sign => binary(entity.encrypt(content_key(envelope)?).map_err(failed)?)?,
        };
    }
    let (headers, body) = entity.into_parts();
    if layers.is_empty() {
        return Ok(Box::new(body));
    }
    let head = [headers.raw(), b"\r\n"].concat();
    Ok(Box::new(Cursor::new(head).chain(body)))
}

#[cfg(test)]
mod tests;
