//! What is around a part of a message: its layers by S/MIME and by OpenPGP, and what they prove.

use crate::agreement::Agreement;
use crate::legacy;
use crate::mdn::Signature;
use crate::pgp_message;
use crate::rejection::Rejection;
use crate::signed_copy::SignedCopy;
use pgp_mime::PartnerKey;
use smime::{Digest, Mic, Report, SignatureScheme, Wrapping};
use std::sync::Arc;

/// What is around a part.
#[derive(Clone, Default, Debug)]
pub(crate) struct Around {
    /// The cipher of the outermost encryption.
    pub(crate) cipher: Option<&'static str>,
    /// What the outermost signature proves.
    pub(crate) signature: Option<Signature>,
    /// The MIC of the outermost layer; of what has none, that of the content.
    pub(crate) mic: Option<Mic>,
    /// Whether that signature is by PSS.
    pub(crate) by_pss: bool,
    /// What is too weak for today, as the agreement allows.
    pub(crate) legacy: Vec<String>,
    /// What proves it, where its layers do not stand inside others that were read before.
    pub(crate) proved: Option<Proved>,
    /// Whether somebody may have put other content in the place of what is inside: it is encrypted by what does not prove its
    /// content, and nothing of it is signed.
    pub(crate) is_open_to_change: bool,
    /// Whether a layer has given the MIC.
    pub(super) has_layer: bool,
}

/// What proves a part: the account of the outermost entity around it that has layers, or of the innermost one where none has.
#[derive(Clone, Debug)]
pub(crate) struct Proved {
    pub(crate) report: Arc<Report>,
    /// What OpenPGP protected around that.
    pub(crate) pgp: Option<ByPgp>,
    /// What its signature covers, where that is not a head and a payload.
    pub(crate) signed: Option<SignedCopy>,
}

/// What OpenPGP has put around an entity.
#[derive(Clone, Debug)]
pub(crate) struct ByPgp {
    pub(crate) report: Arc<pgp_mime::Report>,
    /// The key of the partner that verified its signature, if it has one.
    pub(crate) key: Option<Arc<PartnerKey>>,
}

impl ByPgp {
    /// With the key among those that the entity was read with.
    pub(super) fn new(report: pgp_mime::Report, keys: &[Arc<PartnerKey>]) -> Self {
        let key = report.signed.as_ref().and_then(|proof| keys.get(proof.key)).cloned();
        Self { report: Arc::new(report), key }
    }
}

impl Around {
    /// With the layers of one more entity, of which this was signed: those of OpenPGP are the outer ones.
    pub(super) fn with(
        &self,
        (report, pgp): (&Report, Option<&ByPgp>),
        digest: Digest,
        signed: Option<SignedCopy>,
    ) -> Self {
        let by_pgp = pgp.map(|pgp| self.with_pgp(&pgp.report, digest));
        let outside = by_pgp.as_ref().unwrap_or(self);
        let signature = report.signed().map(Signature::of_smime);
        let mic = report.mic(report.signed().map_or(digest, |proof| proof.digest)).cloned();
        let by_pss = report.signed().is_some_and(|proof| proof.scheme == SignatureScheme::RsaPss);
        let mut legacy = outside.legacy.clone();
        legacy.extend(legacy::of_report(report));
        let is_unproved = report.encrypted().is_some_and(|cipher| !cipher.is_authenticated());
        let is_signed = signature.is_some() || outside.signature.is_some();
        Self {
            is_open_to_change: (outside.is_open_to_change || is_unproved) && !is_signed,
            cipher: outside.cipher.or_else(|| report.encrypted().map(|cipher| cipher.name())),
            by_pss: if outside.signature.is_some() { outside.by_pss } else { by_pss },
            signature: outside.signature.clone().or(signature),
            mic: if outside.has_layer { outside.mic.clone() } else { mic },
            legacy,
            proved: match self.has_layer {
                true => self.proved.clone(),
                false => Some(Proved { report: Arc::new(report.clone()), pgp: pgp.cloned(), signed }),
            },
            has_layer: outside.has_layer || !report.layers.is_empty(),
        }
    }

    /// With what OpenPGP has put around an entity.
    fn with_pgp(&self, report: &pgp_mime::Report, asked: Digest) -> Self {
        let proof = report.signed.as_ref();
        let inner = || report.inner.signed().map(|proof| proof.digest);
        let digest = proof.map(|proof| proof.digest).or_else(inner).unwrap_or(asked);
        let is_encrypted = report.wrappings.contains(&Wrapping::Encrypted);
        let cipher = || is_encrypted.then(|| report.cipher.unwrap_or("pgp-unknown"));
        // Inside an object that is encrypted as well, another digest than the one asked for may not have been computed.
        let mic = || report.mic(digest).or_else(|| report.mic(asked)).cloned();
        let mut legacy = self.legacy.clone();
        legacy.extend(pgp_message::weak(report));
        let is_signed = proof.is_some() || self.signature.is_some();
        Self {
            is_open_to_change: (self.is_open_to_change || report.weak_cipher.is_some()) && !is_signed,
            cipher: self.cipher.or_else(cipher),
            signature: self.signature.clone().or_else(|| proof.map(Signature::of_pgp)),
            mic: if self.has_layer { self.mic.clone() } else { mic() },
            by_pss: self.by_pss,
            legacy,
            proved: self.proved.clone(),
            has_layer: self.has_layer || !report.wrappings.is_empty(),
        }
    }

    /// What of the agreed protection is missing.
    pub(super) fn lacks(&self, agreement: &Agreement) -> Option<Rejection> {
        Rejection::unprotected(agreement.receive_security, self.cipher.is_some(), self.signature.is_some())
    }
}
