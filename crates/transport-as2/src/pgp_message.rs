//! Messages and receipts by PGP/MIME, read beside those by S/MIME.

use crate::agreement::{Agreement, Cipher, Compression, DigestName, Fallback, SignatureForm};
use crate::legacy;
use pgp_mime::{Keys, OwnKey, PartnerKey, ReadOptions, Report};
use smime::{Digest, Headers, PartReceiver};
use std::io::Read;
use std::sync::Arc;

/// The OpenPGP keys that a message is read with.
#[derive(Clone, Default)]
pub(crate) struct PgpReading {
    /// Ours, which decrypt.
    pub(crate) own: Vec<Arc<OwnKey>>,
    /// The partner's, which verify.
    pub(crate) partner: Vec<Arc<PartnerKey>>,
}

impl PgpReading {
    /// Reads a message.
    ///
    /// # Errors
    /// As [`smime::read_message`].
    pub(crate) fn read(
        &self,
        headers: &Headers,
        body: impl Read + Send,
        (keys, options): (smime::Keys<'_>, &smime::ReadOptions),
        receiver: &mut dyn PartReceiver,
    ) -> smime::Result<Report> {
        let own: Vec<&OwnKey> = self.own.iter().map(Arc::as_ref).collect();
        let partner: Vec<&PartnerKey> = self.partner.iter().map(Arc::as_ref).collect();
        let keys = Keys { decrypt: &own, verify: &partner, smime: keys };
        pgp_mime::read_message(headers, body, keys, &with_options(options), receiver)
    }
}

fn with_options(options: &smime::ReadOptions) -> ReadOptions {
    let mut digests = ReadOptions::default().digests;
    if options.accept_weak {
        digests.extend([Digest::Sha1, Digest::Md5]);
    }
    ReadOptions {
        limits: options.limits.clone(),
        digests,
        mic: options.mic.clone(),
        valid_at: options.valid_at,
        accept_expired: options.accept_expired,
        accept_weak: options.accept_weak,
        smime: options.clone(),
    }
}

/// Reads a signed receipt, whose keys are the partner's.
///
/// # Errors
/// As [`smime::read_message`].
pub(crate) fn read_receipt(
    headers: &Headers,
    body: &[u8],
    partner: &[Arc<PartnerKey>],
    (keys, options): (smime::Keys<'_>, &smime::ReadOptions),
    receiver: &mut dyn PartReceiver,
) -> smime::Result<Report> {
    let reading = PgpReading { own: Vec::new(), partner: partner.to_vec() };
    reading.read(headers, body, (keys, options), receiver)
}

/// What is too weak of a message that was read.
pub(crate) fn weak(report: &Report) -> Vec<String> {
    let cipher = report.weak_cipher.map(|weakness| format!("the partner's encryption by {weakness}"));
    let signatures = report.signed.iter().flat_map(|proof| legacy::of_signature(&proof.weaknesses));
    cipher.into_iter().chain(signatures).collect()
}

/// What cannot go with PGP/MIME in an agreement, by its field.
pub(crate) fn mistakes(agreement: &Agreement) -> Vec<(&'static str, bool, &'static str)> {
    let security = agreement.send_security;
    let is_gcm = matches!(agreement.cipher, Cipher::Aes128Gcm | Cipher::Aes192Gcm | Cipher::Aes256Gcm);
    let both = security.signs() && security.encrypts();
    vec![
        (
            "send.cipher",
            is_gcm,
            "GCM is none of OpenPGP's modes: use aes128-cbc, aes192-cbc or aes256-cbc, which name the size of the key",
        ),
        (
            "send.digest",
            security.signs() && matches!(agreement.digest, DigestName::Md5 | DigestName::Sha1),
            "OpenPGP signatures are not made by MD5 and SHA-1 any more (RFC 9580): use sha256",
        ),
        (
            "send.signature_form",
            agreement.signature_form == SignatureForm::Opaque && !both,
            "with PGP/MIME, 'opaque' signs and encrypts in one object: use it with send.security = \"signed_encrypted\"",
        ),
        (
            "send.compress",
            agreement.compress != Compression::No && !security.encrypts(),
            "OpenPGP compresses what it encrypts alone: messages to the partner are not encrypted (send.security)",
        ),
        (
            "send.also_encrypt_for",
            !agreement.also_encrypt_for.is_empty(),
            "has certificates, which PGP/MIME does not encrypt for",
        ),
        (
            "fallback",
            agreement.fallback != Fallback::No,
            "no message by PGP/MIME is sent once more with another key: take this out, and retry the transfer after the change",
        ),
    ]
}
