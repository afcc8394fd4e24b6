//! What proves a message, collected from what was received or sent.
//!
//! The bytes that a signature covers are usually the signed part's header section and the payload, which is in staging
//! anyway. Of other messages (several parts, a layer inside the signature) they are copied to staging for the evidence alone.

use crate::agreement::{EvidenceTerms, Partner};
use crate::later_reply::{entity, is_receipt};
use crate::request::RequestHead;
use crate::signer::Signer;
use model::evidence::{
    Covered, MESSAGE_HEADER, MessageFacts, MessageWay, PGP_RECEIPT_SIGNER, PGP_SIGNATURE, PGP_SIGNER,
    RECEIPT, RECEIPT_SIGNER, SIGNATURE, SIGNED_HEAD, SIGNER,
};
use model::{Error, ErrorKind, PeerText, Result};
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use smime::{Headers, MicRule, Part, Report, SignedContent, TransferEncoding};
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::{Evidence, EvidenceContent, LARGEST_EVIDENCE, StagedPayload, StoredReply};

/// Header fields that log somebody in: secrets are not kept.
const SECRET: [&str; 4] = ["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie"];

/// A message that was received, and its answer.
pub(crate) struct Received<'a> {
    pub(crate) head: &'a RequestHead,
    pub(crate) partner: &'a Partner,
    /// The name of our identity.
    pub(crate) identity: &'a str,
    pub(crate) report: &'a Report,
    /// What OpenPGP protected around that.
    pub(crate) pgp: Option<&'a pgp_mime::Report>,
    /// The MIC as the answer has it.
    pub(crate) mic: Option<&'a str>,
    /// Whose certificate or key verified the signature.
    pub(crate) signer: Option<Signer<'a>>,
    /// Ours, if it signed the answer.
    pub(crate) receipt_signer: Option<Signer<'a>>,
    pub(crate) reply: &'a StoredReply,
    /// What was signed, where that is not the head and the payload.
    pub(crate) signed_content: Option<StagedPayload>,
}

/// The evidence of a received message; `None` where none is kept.
///
/// # Errors
/// A certificate cannot be encoded; there is too much of it.
pub(crate) fn of_received(received: Received<'_>) -> Result<Option<Evidence>> {
    let Received { head, partner, report, pgp, signed_content, .. } = received;
    let EvidenceTerms { keep_for: Some(keep_for), keeps_content } = partner.agreement.evidence else {
        return Ok(None);
    };
    let mut pieces = BTreeMap::from([(MESSAGE_HEADER.to_owned(), header_lines(&head.headers))]);
    let signed_by_pgp = pgp.and_then(|pgp| pgp.signed_content.as_ref());
    let signed = signed_by_pgp.or(report.signed_content.as_ref());
    let rule = pgp.map_or_else(|| report.rule(), pgp_mime::Report::rule);
    let (covered, signed_head, content) = covered((signed, rule), report, signed_content);
    pieces.extend(signed_head.map(|head| (SIGNED_HEAD.to_owned(), head)));
    let signature = if signed_by_pgp.is_some() { PGP_SIGNATURE } else { SIGNATURE };
    pieces.extend(signed.map(|signed| (signature.to_owned(), signed.signature.clone())));
    // The same bytes, whether they go out in the answer or later.
    let receipt = is_receipt(received.reply).then(|| entity(received.reply));
    pieces.extend(receipt.map(|entity| (RECEIPT.to_owned(), entity)));
    let mut signer = |names: (&str, &str), signer: Option<Signer<'_>>| -> Result<Option<String>> {
        let Some(signer) = signer else { return Ok(None) };
        let (name, bytes) = signer.piece(names)?;
        pieces.insert(name.to_owned(), bytes);
        signer.fingerprint().map(Some)
    };
    let safe = |text: &str| PeerText::from(text).as_str().to_owned();
    let cipher = pgp.and_then(|pgp| pgp.cipher).or_else(|| report.encrypted().map(|cipher| cipher.name()));
    let facts = MessageFacts {
        way: MessageWay::Received,
        partner: partner.name.clone(),
        identity: received.identity.to_owned(),
        as2_from: safe(&head.from),
        as2_to: safe(&head.to),
        message_id: safe(&head.message_id),
        date: head.headers.get("Date").map(|date| PeerText::new(date).as_str().to_owned()),
        subject: head.subject.as_deref().map(safe),
        mic: received.mic.map(safe),
        mic_rule: Some(rule.describe().to_owned()),
        covered,
        canonical: rule != exact(rule),
        signer: signer((SIGNER, PGP_SIGNER), received.signer)?,
        cipher: cipher.map(str::to_owned),
        receipt_signer: signer((RECEIPT_SIGNER, PGP_RECEIPT_SIGNER), received.receipt_signer)?,
    };
    bounded(Evidence { keep_for, about: facts.to_map(), pieces, content, keeps_content }).map(Some)
}

/// Which of the bytes that are kept a received message's signature or MIC covers: the header section, and the content.
fn covered(
    (signed, rule): (Option<&SignedContent>, MicRule),
    report: &Report,
    signed_content: Option<StagedPayload>,
) -> (Covered, Option<Vec<u8>>, Option<EvidenceContent>) {
    let only = match report.parts.as_slice() {
        [(part, _)] => Some(part),
        _ => None,
    };
    let payload = only.map(|_| EvidenceContent::Payload);
    match (signed, signed_content) {
        (Some(signed), _) if signed.is_leaf => (Covered::HeadAndContent, Some(signed.head.clone()), payload),
        (Some(_), Some(staged)) => (Covered::Content, None, Some(EvidenceContent::Staged(staged))),
        (Some(_), None) => (Covered::NotKept, None, payload),
        // Not signed: the MIC covers the innermost entity, or its body (RFC 4130, 7.3.1).
        (None, _) => match only.filter(|part| is_plain(part)) {
            Some(_) if exact(rule) == MicRule::Content => (Covered::Content, None, payload),
            Some(part) => {
                let head = [part.headers.raw(), part.headers.end()].concat();
                (Covered::HeadAndContent, Some(head), payload)
            }
            None => (Covered::NotKept, None, payload),
        },
    }
}

/// Whether a part is the whole entity, and its bytes are handed out as they are.
fn is_plain(part: &Part) -> bool {
    let encoding = part.headers.transfer_encoding();
    let is_plain = matches!(
        encoding,
        Ok(None | Some(TransferEncoding::Binary | TransferEncoding::SevenBit | TransferEncoding::EightBit))
    );
    part.path.is_empty() && is_plain
}

/// The rule without the line ends that it reads otherwise.
fn exact(rule: MicRule) -> MicRule {
    match rule {
        MicRule::SignedCanonical => MicRule::Signed,
        MicRule::EntityCanonical => MicRule::Entity,
        MicRule::ContentCanonical => MicRule::Content,
        other => other,
    }
}

/// A message that was sent. Its receipt is recorded by itself.
pub(crate) struct SentFacts<'a> {
    pub(crate) partner: &'a Partner,
    /// What was agreed on its evidence when it was sent.
    pub(crate) terms: EvidenceTerms,
    /// The name of our identity.
    pub(crate) identity: &'a str,
    pub(crate) as2_from: &'a str,
    pub(crate) as2_to: &'a str,
    pub(crate) message_id: &'a str,
    /// The header fields that went with it.
    pub(crate) headers: &'a [(String, String)],
    pub(crate) mic: Option<String>,
    /// Which bytes the MIC covers, and the signature: the header section that was signed, and the content.
    pub(crate) covers: SentBytes,
    /// The signature, if it was signed.
    pub(crate) signature: Option<&'a [u8]>,
    /// Ours, if it was signed.
    pub(crate) signer: Option<Signer<'a>>,
    /// How it was encrypted.
    pub(crate) cipher: Option<&'a str>,
    /// The partner's certificates, one of which verifies the receipt.
    pub(crate) receipt_signers: &'a [X509],
    /// Its OpenPGP keys, which may verify it as well.
    pub(crate) receipt_keys: &'a [Arc<PartnerKey>],
}

/// Which bytes the MIC and the signature of a sent message cover.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum SentBytes {
    /// This header section with the empty line behind it, and the payload.
    HeadAndPayload(Vec<u8>),
    /// The payload alone; with its header section, which some partners take in.
    Payload(Vec<u8>),
    /// Other bytes, which were copied to staging.
    Copied(StagedPayload),
    /// Other bytes, which were not kept.
    NotKept,
}

/// The evidence of a sent message; `None` where none is kept.
///
/// # Errors
/// A certificate cannot be encoded; there is too much of it.
pub(crate) fn of_sent(sent: SentFacts<'_>) -> Result<Option<Evidence>> {
    let EvidenceTerms { keep_for: Some(keep_for), keeps_content } = sent.terms else {
        return Ok(None);
    };
    let field = |name: &str| {
        let found = sent.headers.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.clone())
    };
    let lines = sent.headers.iter().filter(|(name, _)| !is_secret(name));
    let lines: String = lines.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut pieces = BTreeMap::from([(MESSAGE_HEADER.to_owned(), lines.into_bytes())]);
    let (covered, content) = match sent.covers {
        SentBytes::HeadAndPayload(head) => {
            pieces.insert(SIGNED_HEAD.to_owned(), head);
            (Covered::HeadAndContent, EvidenceContent::Payload)
        }
        SentBytes::Payload(head) => {
            pieces.insert(SIGNED_HEAD.to_owned(), head);
            (Covered::Content, EvidenceContent::Payload)
        }
        SentBytes::Copied(staged) => (Covered::Content, EvidenceContent::Staged(staged)),
        SentBytes::NotKept => (Covered::NotKept, EvidenceContent::Payload),
    };
    let is_by_pgp = matches!(sent.signer, Some(Signer::Pgp(_)));
    let signature = if is_by_pgp { PGP_SIGNATURE } else { SIGNATURE };
    pieces.extend(sent.signature.map(|bytes| (signature.to_owned(), bytes.to_vec())));
    if let Some(signer) = &sent.signer {
        let (name, bytes) = signer.piece((SIGNER, PGP_SIGNER))?;
        pieces.insert(name.to_owned(), bytes);
    }
    let certificates = (1..).zip(sent.receipt_signers.iter().map(Signer::Certificate));
    let keys = (1..).zip(sent.receipt_keys.iter().map(|key| Signer::Pgp(key)));
    for (number, signer) in certificates.chain(keys) {
        let (name, bytes) = signer.piece((RECEIPT_SIGNER, PGP_RECEIPT_SIGNER))?;
        let name = if number == 1 { name.to_owned() } else { format!("{name}-{number}") };
        pieces.insert(name, bytes);
    }
    let facts = MessageFacts {
        way: MessageWay::Sent,
        partner: sent.partner.name.clone(),
        identity: sent.identity.to_owned(),
        as2_from: sent.as2_from.to_owned(),
        as2_to: sent.as2_to.to_owned(),
        message_id: sent.message_id.to_owned(),
        date: field("Date"),
        subject: field("Subject"),
        mic: sent.mic,
        mic_rule: None,
        covered,
        canonical: false,
        signer: sent.signer.as_ref().map(Signer::fingerprint).transpose()?,
        cipher: sent.cipher.map(str::to_owned),
        receipt_signer: None,
    };
    let content = Some(content);
    bounded(Evidence { keep_for, about: facts.to_map(), pieces, content, keeps_content }).map(Some)
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| secret.eq_ignore_ascii_case(name))
}

/// Header fields as they came, one a line.
fn header_lines(headers: &Headers) -> Vec<u8> {
    let mut lines = Vec::new();
    for field in headers.fields().iter().filter(|field| !is_secret(&field.name)) {
        for part in [field.name.as_bytes(), b": ", &field.value, b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

fn bounded(evidence: Evidence) -> Result<Evidence> {
    if evidence.size() <= LARGEST_EVIDENCE {
        return Ok(evidence);
    }
    Err(Error::permanent(ErrorKind::Unsupported, "keep the evidence of a message")
        .with("bytes", evidence.size())
        .with("at most", LARGEST_EVIDENCE))
}

#[cfg(test)]
mod tests;
