//! What is too weak for today: MD5, SHA-1, keys under 2,048 bits. Used only with a partner whose
//! `legacy` allows it, and each use is an event.

use crate::agreement::{Agreement, Identity, Partner};
use crate::outgoing::{OwnKey, digest};
use model::{AuditEvent, Error, ErrorKind, EventKind, Result};
use openssl::x509::X509;
use smime::{Digest, Proof, Weakness};
use transport::{AuditLog, Services};

/// What a person can do about it.
pub(crate) const ADVICE: &str =
    "agree on SHA-256 and keys of 2048 bits or more, or allow it for this partner (legacy = true)";

/// What is weak of our own key.
///
/// # Errors
/// `ConfigInvalid`: the agreement does not allow it.
pub(crate) fn of_own_key(own: &OwnKey, identity: &Identity, partner: &Partner) -> Result<Option<String>> {
    let Some(weakness) = Weakness::of_key(&own.key) else { return Ok(None) };
    if partner.agreement.legacy {
        return Ok(Some(format!("our key {}: {weakness}", identity.key())));
    }
    Err(Error::permanent(ErrorKind::ConfigInvalid, "use our own key, because it is too weak")
        .with("identity", &identity.name)
        .with("key", identity.key())
        .with("found", weakness)
        .with("partner", &partner.name)
        .advice("give the identity a key of 2048 bits or more, or allow it for this partner (legacy = true)"))
}

/// What is weak of a message to the partner, besides our key: its digest, and the key it is encrypted for.
///
/// # Errors
/// `ConfigInvalid`: the agreement does not allow it.
pub(crate) fn of_message(partner: &Partner, recipient: Option<&X509>) -> Result<Vec<String>> {
    let agreement = &partner.agreement;
    let mut found = Vec::new();
    if let (true, Some(weakness)) =
        (agreement.send_security.signs(), Weakness::of_digest(digest(agreement.digest)))
    {
        found.push(format!("our signature by {weakness}"));
    }
    if agreement.send_security.encrypts()
        && let Some(weakness) =
            recipient.and_then(|recipient| recipient.public_key().ok()).as_deref().and_then(Weakness::of_key)
    {
        found.push(format!("the partner's certificate: {weakness}"));
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

/// The same of all signatures of a message.
pub(crate) fn of_proof(proof: Option<&Proof>) -> Vec<String> {
    proof.map(|proof| of_signature(&proof.weaknesses)).unwrap_or_default()
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

/// Records the event of a delivery that is proved. A proved delivery stays one when its event cannot be
/// recorded, or the message would be sent twice: its receipt says the same.
pub(crate) async fn record(audit: &dyn AuditLog, event: AuditEvent) {
    let used = event.detail.get("used").cloned().unwrap_or_default();
    if let Err(error) = audit.record(vec![event]).await {
        tracing::error!(
            %used,
            error = %error.chain(),
            "the event about weak algorithms or keys could not be recorded; the delivery's receipt lists them"
        );
    }
}
