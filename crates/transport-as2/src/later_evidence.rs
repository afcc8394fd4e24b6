//! The evidence of a message that is proved by a receipt that came later: put together of what was noted before its last byte
//! left, at whichever node the receipt arrives.

use crate::agreement::{Identity, Partner};
use crate::evidence::{SentBytes, SentFacts, of_sent};
use crate::outgoing::signed::Covers;
use crate::pgp_signature::NotedPgpSignature;
use crate::sent_message::SentMessage;
use crate::sent_proof::copy_of;
use crate::signer::Signer;
use model::Result;
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::Evidence;

/// The evidence of a message, whose receipt one of these certificates and OpenPGP keys may verify; `None` where none is kept. A
/// delivery that is proved stays one where it cannot be put together: then the log says why.
pub(crate) fn of_awaited(
    sent: &SentMessage,
    notes: &BTreeMap<String, Value>,
    message_id: &str,
    parties: (&Identity, &Partner),
    signers: (&[X509], &[Arc<PartnerKey>]),
) -> Option<Evidence> {
    evidence(sent, notes, message_id, parties, signers).unwrap_or_else(|error| {
        tracing::error!(message_id, error = %error.chain(), "the evidence of a message that a receipt proves could not be kept");
        None
    })
}

fn evidence(
    sent: &SentMessage,
    notes: &BTreeMap<String, Value>,
    message_id: &str,
    (identity, partner): (&Identity, &Partner),
    (certificates, keys): (&[X509], &[Arc<PartnerKey>]),
) -> Result<Option<Evidence>> {
    let Some(proof) = &sent.proof else { return Ok(None) };
    let (mic, certificate) = (sent.mic(), proof.signer()?);
    let by_pgp = proof.pgp().map(NotedPgpSignature::read).transpose()?;
    let (signature, signer) = match &by_pgp {
        Some((signature, key)) => (Some(signature.clone()), Some(Signer::Pgp(key))),
        None => (proof.signature()?, certificate.as_ref().map(Signer::Certificate)),
    };
    let head = [sent.content_headers().as_slice(), b"\r\n"].concat();
    let covers = match proof.covers {
        Covers::Payload => SentBytes::Payload(head),
        Covers::HeadAndPayload => SentBytes::HeadAndPayload(head),
        Covers::Layers => match copy_of(notes, message_id, mic.as_ref())? {
            Some(copy) => SentBytes::Copied(copy),
            None => SentBytes::NotKept,
        },
    };
    of_sent(SentFacts {
        partner,
        terms: proof.terms(),
        identity: &identity.name,
        as2_from: &sent.from,
        as2_to: &sent.to,
        message_id,
        headers: &proof.headers,
        mic: mic.as_ref().map(ToString::to_string),
        covers,
        signature: signature.as_deref(),
        signer,
        cipher: proof.cipher.as_deref(),
        receipt_signers: certificates,
        receipt_keys: keys,
    })
}
