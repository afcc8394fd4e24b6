//! What is too weak for today: MD5, SHA-1, triple DES, keys under 2,048 bits. Used only with a partner whose
//! `legacy` allows it, and each use is an event.

use crate::agreement::{Agreement, Identity, Partner};
use crate::material::Own;
use crate::outgoing::{cipher, digest};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result};
use openssl::x509::X509;
use smime::{Digest, Proof, Report, Weakness};
use transport::Services;

/// What a person can do about it.
pub(crate) const ADVICE: &str =
    "agree on SHA-256, AES and keys of 2048 bits or more, or allow it for this partner (legacy = true)";

/// What is weak of our own key.
///
/// # Errors
/// `ConfigInvalid`: the agreement does not allow it.
pub(crate) fn of_own_key(own: &Own, identity: &Identity, partner: &Partner) -> Result<Option<String>> {
    let Some(weakness) = Weakness::of_key(&own.key.key) else { return Ok(None) };
    if partner.agreement.legacy {
        return Ok(Some(format!("our key {}: {weakness}", own.name)));
    }
    Err(Error::permanent(ErrorKind::ConfigInvalid, "use our own key, because it is too weak")
        .with("identity", &identity.name)
        .with("key", &own.name)
        .with("found", weakness)
        .with("partner", &partner.name)
        .advice("give the identity a key of 2048 bits or more, or allow it for this partner (legacy = true)"))
}

/// What is weak of a message to the partner, besides our key: its digest, its cipher, and the keys it is encrypted for.
///
/// # Errors
/// `ConfigInvalid`: the agreement does not allow it.
pub(crate) fn of_message(partner: &Partner, recipients: &[&X509]) -> Result<Vec<String>> {
    let agreement = &partner.agreement;
    let mut found = Vec::new();
    if let (true, Some(weakness)) =
        (agreement.signs_by_smime(), Weakness::of_digest(digest(agreement.digest)))
    {
        found.push(format!("our signature by {weakness}"));
    }
    if agreement.encrypts_by_smime() {
        let weak_cipher = Weakness::of_cipher(cipher(agreement.cipher));
        found.extend(weak_cipher.map(|weakness| format!("our encryption by {weakness}")));
        let keys = recipients.iter().filter_map(|recipient| recipient.public_key().ok());
        let weak_keys = keys.filter_map(|key| Weakness::of_key(&key));
        found.extend(weak_keys.map(|weakness| format!("a certificate that it is encrypted for: {weakness}")));
    }
    match found.first() {
        Some(first) if !agreement.legacy => {
            Err(Error::permanent(ErrorKind::ConfigInvalid, "protect a message well enough")
                .with("partner", &partner.name)
                .with("found", first)
                .advice(ADVICE))
        }
        _ => Ok(found),
    }
}

/// What is weak of a signature of the partner's that counted.
pub(crate) fn of_signature(weaknesses: &[Weakness]) -> Vec<String> {
    weaknesses.iter().map(|weakness| format!("the partner's signature by {weakness}")).collect()
}

/// What is weak of a message from the partner that was read.
pub(crate) fn of_report(report: &Report) -> Vec<String> {
    let cipher = report.encrypted().and_then(Weakness::of_cipher);
    let cipher = cipher.map(|weakness| format!("the partner's encryption by {weakness}"));
    let signatures = report.signed().map(|proof: &Proof| of_signature(&proof.weaknesses)).unwrap_or_default();
    cipher.into_iter().chain(signatures).collect()
}

/// The digest by which a receipt of ours is signed: the first that the sender asked for and the agreement
/// allows. What it asks for alone and is not allowed gives way to SHA-256.
pub(crate) fn receipt_digest(asked: &[Digest], agreement: &Agreement) -> Digest {
    let allowed = |digest: &&Digest| agreement.legacy || Weakness::of_digest(**digest).is_none();
    asked.iter().find(allowed).copied().unwrap_or(Digest::Sha256)
}

/// The event of such uses; none when there was none.
pub(crate) fn event(services: &Services, partner: &Partner, uses: &[String]) -> Option<AuditEvent> {
    (!uses.is_empty()).then(|| {
        tracing::warn!(partner = %partner.name, used = uses.join("; "), "weak algorithms or keys were used, as legacy = true allows");
        services
            .event(EventKind::LegacyUsed)
            .partner(&partner.name)
            .detail("used", uses.join("; "))
            .detail("allowed_by", "the partner's legacy = true")
    })
}

/// What the log says where such an event cannot be recorded.
pub(crate) const LOST: &str =
    "the event about weak algorithms or keys could not be recorded; the delivery's receipt lists them";
