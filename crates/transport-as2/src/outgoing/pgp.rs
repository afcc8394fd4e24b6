//! The same by PGP/MIME (RFC 3156): signed, encrypted, both one after the other, or both in one object.
//!
//! An OpenPGP message differs each time it is made (its content key, its signature). So it is written to staging whole before its
//! first byte is sent (`spool`), and every attempt sends those bytes.

use super::signed::Covers;
use super::{Envelope, Outgoing, digest, failed, http_headers, payload_headers};
use crate::agreement::{Agreement, Cipher, Compression, Order, SendSecurity, SignatureForm};
use crate::pgp_keys::{PgpNames, system_time};
use crate::pgp_signature::PgpSignature;
use model::{Error, ErrorKind, Result};
use pgp_mime::{
    Body, Encryption, OwnKey, PartnerKey, Signed, Signing, encrypt, encrypted_headers, sign, signed_headers,
};
use smime::{Digest, Entity, Measured, MicSlot, Multipart, Payload};
use std::io::{self, Read};
use std::sync::Arc;

/// What an OpenPGP message is signed with and encrypted for.
pub(crate) struct PgpSides {
    /// None where messages are not signed.
    pub(crate) own: Option<Arc<OwnKey>>,
    /// None where messages are not encrypted.
    pub(crate) partner: Option<Arc<PartnerKey>>,
    /// Both by the names of definitions.
    pub(crate) names: PgpNames,
}

/// Makes a message, and what tells its signature once it was made; none of one that is not signed. The payload is read only
/// when the body is.
///
/// # Errors
/// A media type or name that no header can carry; a key that cannot sign or be encrypted for.
pub(crate) fn build(
    envelope: &Envelope<'_>,
    sides: &PgpSides,
    payload: Box<dyn Read + Send>,
    length: u64,
) -> Result<(Outgoing, Option<PgpSignature>)> {
    let agreement = envelope.agreement;
    let headers = payload_headers(envelope)?;
    let content_headers = headers.raw().to_vec();
    let entity: Entity<Body> = Entity::new(headers, Box::new(Payload::new(payload, length)));
    let in_one = agreement.signature_form == SignatureForm::Opaque;
    let outer = envelope.seed.boundary.as_str();
    // A boundary inside another one must not begin with it.
    let inner = format!("inner{outer}");
    let Signed { entity, mic, signature } = match (agreement.send_security, agreement.order) {
        (SendSecurity::None, _) => {
            return Err(Error::permanent(ErrorKind::Internal, "package a message that is not protected"));
        }
        (SendSecurity::Signed, _) => signed(envelope, sides, entity, outer)?,
        (SendSecurity::Encrypted, _) => encrypted(envelope, sides, entity, outer, false)?,
        (SendSecurity::SignedEncrypted, _) if in_one => encrypted(envelope, sides, entity, outer, true)?,
        (SendSecurity::SignedEncrypted, Order::SignThenEncrypt) => {
            let Signed { entity, mic, signature } = signed(envelope, sides, entity, &inner)?;
            // What is signed gives the MIC (RFC 4130, 7.3.1).
            Signed { mic, signature, ..encrypted(envelope, sides, entity, outer, false)? }
        }
        (SendSecurity::SignedEncrypted, Order::EncryptThenSign) => {
            let encrypted = encrypted(envelope, sides, entity, &inner, false)?;
            signed(envelope, sides, encrypted.entity, outer)?
        }
    };
    let (headers, body) = entity.into_parts();
    let message = Outgoing { headers: http_headers(envelope, &headers)?, body, mic, content_headers };
    let key = sides.own.clone().filter(|_| agreement.send_security.signs());
    Ok((message, key.map(|key| PgpSignature { slot: signature, key })))
}

/// Whether the signature is around the encryption: it covers what is different each time it is made.
pub(crate) fn is_signed_around(agreement: &Agreement) -> bool {
    agreement.send_security == SendSecurity::SignedEncrypted
        && agreement.signature_form != SignatureForm::Opaque
        && agreement.order == Order::EncryptThenSign
}

/// Which bytes the MIC of a message covers, and its signature if it has one.
pub(crate) fn covers(envelope: &Envelope<'_>) -> Covers {
    match is_signed_around(envelope.agreement) || envelope.has_attachments() {
        true => Covers::Layers,
        false => Covers::HeadAndPayload,
    }
}

/// How a message is encrypted; none where it is not.
pub(crate) fn cipher_name(agreement: &Agreement) -> Option<&'static str> {
    agreement.send_security.encrypts().then(|| cipher(agreement.cipher).name())
}

/// By which digest the MIC of a message is made.
pub(crate) fn mic_digest(envelope: &Envelope<'_>) -> Digest {
    digest(envelope.agreement.digest)
}

/// Where all is read from that the signature of a message covers, or its MIC where it is not signed.
pub(crate) enum SignedSource {
    /// The payload, with this header section before it.
    Payload(Vec<u8>),
    /// The body as it was sent, without a content coding: the first part between these boundaries.
    Body(String),
}

impl SignedSource {
    /// Of a message.
    ///
    /// # Errors
    /// A media type or name that no header can carry.
    pub(crate) fn of(envelope: &Envelope<'_>) -> Result<Self> {
        if is_signed_around(envelope.agreement) {
            return Ok(Self::Body(envelope.seed.boundary.clone()));
        }
        Ok(Self::Payload([payload_headers(envelope)?.raw(), b"\r\n"].concat()))
    }

    /// Gives it, out of the payload or the body.
    ///
    /// # Errors
    /// The body is not that of such a message; those of `take`.
    pub(crate) fn read<T>(
        &self,
        source: Box<dyn Read + Send>,
        take: impl FnOnce(&mut dyn Read) -> Result<T>,
    ) -> Result<T> {
        match self {
            Self::Payload(head) => take(&mut head.as_slice().chain(source)),
            Self::Body(boundary) => {
                let mut parts = Multipart::new(source, boundary).map_err(failed)?;
                let missing =
                    || Error::permanent(ErrorKind::Internal, "find the signed part of a message in staging");
                let mut part = parts.next_part().map_err(failed)?.ok_or_else(missing)?;
                take(&mut part)
            }
        }
    }
}

/// A message that is in staging: its header fields. It needs no keys, as those that made it may have been removed since.
///
/// # Errors
/// A media type or name that no header can carry.
pub(crate) fn kept(envelope: &Envelope<'_>) -> Result<Outgoing> {
    let agreement = envelope.agreement;
    let outer = envelope.seed.boundary.as_str();
    let headers = match agreement.send_security == SendSecurity::Signed || is_signed_around(agreement) {
        true => signed_headers(digest(agreement.digest), outer),
        false => encrypted_headers(outer),
    };
    let content_headers = payload_headers(envelope)?.raw().to_vec();
    let headers = http_headers(envelope, &headers.map_err(failed)?)?;
    Ok(Outgoing { headers, body: Box::new(Elsewhere), mic: MicSlot::default(), content_headers })
}

/// The body of a message that is read from staging.
struct Elsewhere;

impl Read for Elsewhere {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the message is in staging, and was to be read from there"))
    }
}

impl Measured for Elsewhere {
    fn total_len(&self) -> Option<u64> {
        None
    }
}

fn signing(envelope: &Envelope<'_>, sides: &PgpSides, boundary: &str) -> Result<Signing> {
    let key = sides.own.clone();
    let key = key
        .ok_or_else(|| Error::permanent(ErrorKind::ConfigInvalid, "sign a message without an OpenPGP key"))?;
    Ok(Signing {
        key,
        digest: digest(envelope.agreement.digest),
        time: system_time(envelope.seed.date),
        boundary: boundary.to_owned(),
    })
}

fn signed(envelope: &Envelope<'_>, sides: &PgpSides, entity: Entity<Body>, boundary: &str) -> Result<Signed> {
    sign(entity, signing(envelope, sides, boundary)?).map_err(failed)
}

fn encrypted(
    envelope: &Envelope<'_>,
    sides: &PgpSides,
    entity: Entity<Body>,
    boundary: &str,
    signs: bool,
) -> Result<Signed> {
    let agreement = envelope.agreement;
    let recipient = sides.partner.clone().ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "encrypt a message without the partner's OpenPGP key")
    })?;
    let signing = if signs { Some(signing(envelope, sides, boundary)?) } else { None };
    let encryption = Encryption {
        recipients: vec![recipient],
        cipher: cipher(agreement.cipher),
        compress: agreement.compress != Compression::No,
        signing,
        mic: digest(agreement.digest),
        boundary: boundary.to_owned(),
        at: system_time(envelope.seed.date),
    };
    encrypt(entity, &encryption).map_err(failed)
}

/// The cipher that an agreement names, in OpenPGP's own mode.
pub(crate) fn cipher(name: Cipher) -> pgp_mime::Cipher {
    match name {
        Cipher::Aes128Cbc | Cipher::Aes128Gcm => pgp_mime::Cipher::Aes128,
        Cipher::Aes192Cbc | Cipher::Aes192Gcm => pgp_mime::Cipher::Aes192,
        Cipher::Aes256Cbc | Cipher::Aes256Gcm => pgp_mime::Cipher::Aes256,
        Cipher::TripleDes => pgp_mime::Cipher::TripleDes,
    }
}
