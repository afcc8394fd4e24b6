//! What a partner's answer to a message proves: that it has the bytes that were sent, or not.

use crate::agreement::{Agreement, MdnRequest, SendSecurity};
use crate::disposition::Disposition;
use crate::legacy;
use crate::mdn::{self, Mdn, ReadMdn, SignatureState, Trust, mic_matches};
use crate::mic_mismatch::MicMismatch;
use crate::names::same_message_id;
use crate::prepared::Earlier;
use crate::refusal::{negative, refused};
use crate::tell;
use bytes::Bytes;
use http::StatusCode;
use model::{
    ConnectionId, Error, ErrorKind, MdnEntity, PeerText, Receipt, ReceiptKind, Result, Retry, Step, Timestamp,
};
use openssl::x509::X509;
use pgp_mime::PartnerKey;
use serde_json::{Map, Value};
use smime::{Headers, Mic, RuledMic};
use std::sync::Arc;
use std::time::SystemTime;

/// The HTTP answer to a message.
pub(crate) struct PartnerResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: Headers,
    pub(crate) body: Bytes,
    pub(crate) connection: Option<ConnectionId>,
}

impl PartnerResponse {
    /// Adds the connection the answer came by, so that the audit trail can name it.
    pub(crate) fn on_connection(&self, error: Error) -> Error {
        error.on_connection(self.connection)
    }
}

/// What the answer is held against.
pub(crate) struct Expected<'a> {
    pub(crate) endpoint: &'a str,
    pub(crate) agreement: &'a Agreement,
    pub(crate) certificates: &'a [X509],
    /// The partner's OpenPGP keys, which verify receipts by PGP/MIME.
    pub(crate) pgp: &'a [Arc<PartnerKey>],
    pub(crate) own_fingerprint: &'a str,
    pub(crate) recipient_fingerprint: &'a str,
    /// When the partner's certificates must be valid.
    pub(crate) now: Timestamp,
    pub(crate) message_id: &'a str,
    pub(crate) earlier: Earlier,
    /// There once the whole message was sent.
    pub(crate) mic: Option<&'a Mic>,
}

/// The proof that the partner has the message.
#[derive(Debug)]
pub(crate) struct Proof {
    kind: ReceiptKind,
    summary: String,
    connection: Option<ConnectionId>,
    mdn: Option<MdnEntity>,
    detail: Map<String, Value>,
    /// What of it is too weak for today, as the agreement allows.
    pub(crate) legacy: Vec<String>,
}

/// The summary of a receipt without a MIC.
const WITHOUT_MIC: &str =
    "the partner sent no MIC: it confirms that it received the message, but not which bytes";

/// The key of the detail that has the disposition of a receipt that was not asked for.
const UNSOLICITED: &str = "unsolicited_receipt";

impl Proof {
    fn new(kind: ReceiptKind, summary: &str, answer: &PartnerResponse, expected: &Expected<'_>) -> Self {
        let mut detail = Map::new();
        detail.insert("message_id".into(), expected.message_id.into());
        detail.insert("status".into(), answer.status.as_u16().into());
        if expected.agreement.send_security.signs() {
            detail.insert("sent_signed_by".into(), expected.own_fingerprint.into());
        }
        if expected.agreement.send_security.encrypts() {
            detail.insert("sent_encrypted_for".into(), expected.recipient_fingerprint.into());
        }
        let summary = PeerText::from(summary).as_str().to_owned();
        Self { kind, summary, connection: answer.connection, mdn: None, detail, legacy: Vec::new() }
    }

    /// Says one more thing in the receipt's detail.
    pub(crate) fn add(&mut self, key: &str, value: String) {
        self.detail.insert(key.to_owned(), value.into());
    }

    /// What a receipt says that came although none was asked for.
    pub(crate) fn unsolicited(&self) -> Option<&str> {
        self.detail.get(UNSOLICITED).and_then(Value::as_str)
    }

    /// The fingerprint of the certificate that proved the receipt's signature.
    pub(crate) fn signed_by(&self) -> Option<&str> {
        self.detail.get("signed_by").and_then(Value::as_str)
    }

    /// That the MIC matches by a rule that is not the first choice.
    pub(crate) fn by_rule(mut self, found: &RuledMic) -> Self {
        self.detail.insert("mic".into(), found.mic.to_string().into());
        self.detail.insert("mic_rule".into(), found.rule.describe().into());
        self
    }

    /// As the delivery's receipt.
    pub(crate) fn receipt(self, at: Timestamp) -> Receipt {
        let Self { kind, summary, connection, mdn, mut detail, legacy } = self;
        if !legacy.is_empty() {
            detail.insert("legacy_used".into(), legacy.join("; ").into());
        }
        Receipt { kind, at, positive: true, summary, connection, mdn, detail }
    }
}

/// The result of examining an answer.
pub(crate) enum Verdict {
    /// The partner has what we sent, and has proved it.
    Proved(Proof),
    /// The partner's receipt refuses the message, with this disposition.
    Refused(Disposition, Error),
    /// The receipt proves nothing.
    Unproved(Error),
    /// Everything is right except the MIC: compare with the MIC by other rules.
    MicMismatch(Box<MicMismatch>),
}

#[cfg(test)]
fn assess(answer: &PartnerResponse, expected: &Expected<'_>) -> Result<Verdict> {
    assess_found(answer, None, expected)
}

/// Examines whether the answer says and proves that the partner has what we sent. A receipt that came as one part of several
/// was found and read before.
///
/// # Errors
/// There is no receipt; the error's class says whether to try again.
pub(crate) fn assess_found(
    answer: &PartnerResponse,
    found: Option<&ReadMdn>,
    expected: &Expected<'_>,
) -> Result<Verdict> {
    if !answer.status.is_success() {
        return Err(refused(answer, expected.endpoint, expected.mic.is_some()));
    }
    let read = || {
        if let Some(found) = found {
            return Ok(found.clone());
        }
        let trust = Trust {
            certificates: expected.certificates,
            pgp: expected.pgp,
            now: SystemTime::from(expected.now),
            accept_expired: expected.agreement.accept_expired,
            legacy: expected.agreement.legacy,
        };
        let types = &expected.agreement.form.reports;
        mdn::read_of_types(&answer.headers, &answer.body, trust, types, None).map_err(|error| {
            let step = error.failed_step().unwrap_or(Step::Receipt);
            error.with("message_id", expected.message_id).at_step(step)
        })
    };
    if expected.agreement.mdn == MdnRequest::None {
        // None was asked for. One that comes all the same is recorded, and counts for nothing, whatever it says ("HTTP
        // Transport for Secure EDI", 2.5): anything else would make the sender depend on what it did not ask for.
        let status = answer.status.to_string();
        let mut proof = Proof::new(ReceiptKind::HttpStatus, &status, answer, expected);
        if let Ok(ReadMdn { mdn, .. }) = read() {
            proof.add(UNSOLICITED, PeerText::from(mdn.disposition.to_string().as_str()).as_str().to_owned());
        }
        return Ok(Verdict::Proved(proof));
    }
    if answer.body.is_empty() {
        // RFC 4130, 7.6: no receipt is no success. The same bytes go out again; a partner that has
        // them answers with the receipt it should have given.
        return Err(Error::ambiguous(ErrorKind::Protocol, "get the receipt (MDN) for a message")
            .with("status", answer.status)
            .with("message_id", expected.message_id)
            .said("an empty answer")
            .advice("ask the partner whether it sends synchronous receipts")
            .at_step(Step::Receipt)
            .tell_partner(tell::no_receipt(expected.message_id)));
    }
    Ok(examine(&read()?, answer, expected).unwrap_or_else(Verdict::Unproved))
}

/// The error for a negative receipt.
fn refusal(mdn: &Mdn, expected: &Expected<'_>) -> Error {
    let error = negative(&mdn.disposition, expected.message_id);
    let error = error.said(format!("{} {}", mdn.disposition, mdn.text));
    let message = tell::Refused {
        message_id: expected.message_id,
        security: expected.agreement.send_security,
        own_fingerprint: expected.own_fingerprint,
        recipient_fingerprint: expected.recipient_fingerprint,
        mic: expected.mic,
    };
    match tell::refused(&mdn.disposition, &message) {
        Some(words) => error.tell_partner(words),
        None => error,
    }
}

/// Examines a receipt that was read.
///
/// # Errors
/// It is negative, or proves nothing.
pub(crate) fn examine(read: &ReadMdn, answer: &PartnerResponse, expected: &Expected<'_>) -> Result<Verdict> {
    let mdn = &read.mdn;
    let disposition = mdn.disposition.to_string();
    // After an attempt whose answer was lost, this is the answer: the partner has the message. Some read
    // no further than the Message-ID then, so that their receipt has no MIC, or is an error.
    let had_before = mdn.disposition.is_duplicate() && expected.earlier == Earlier::Open;
    // The disposition first: an error carries no MIC, often no signature, and often one by a certificate
    // that is not known here; none of that may hide what the partner says.
    if !mdn.disposition.is_positive() && !had_before {
        let error = refusal(mdn, expected);
        let error = match &read.signature {
            SignatureState::Unproved(unproved) => error.with("the receipt's signature", &unproved.reason),
            _ => error,
        };
        let other = mdn.original_message_id.as_ref().filter(|id| !same_message_id(id, expected.message_id));
        return Ok(match other {
            // It ends this attempt, and leads to nothing more.
            Some(named) => Verdict::Unproved(error.with("the receipt names", named)),
            None => Verdict::Refused(mdn.disposition.clone(), error),
        });
    }
    let wrong = |what: &'static str| {
        Error::permanent(ErrorKind::IntegrityFailed, what)
            .with("disposition", &disposition)
            .with("message_id", expected.message_id)
            .at_step(Step::Mic)
    };
    let asked_signed = expected.agreement.mdn == MdnRequest::Signed;
    match &read.signature {
        SignatureState::Proved(_) => {}
        SignatureState::None if asked_signed => {
            return Err(wrong("accept an unsigned receipt (MDN) where a signed one was asked for")
                .advice(
                    "ask the partner to sign its receipts, or agree on unsigned ones (mdn = \"unsigned\")",
                )
                .at_step(Step::Signature)
                .tell_partner(tell::unsigned(expected.message_id)));
        }
        SignatureState::None => {}
        SignatureState::Unproved(unproved) if asked_signed => {
            return Err(unproved
                .error()
                .with("disposition", &disposition)
                .with("message_id", expected.message_id)
                .tell_partner(tell::unproved(&unproved.reason, expected.message_id)));
        }
        // Asked for was an unsigned one, which is proved by its MIC alone. Changed on the way, one without a MIC says nothing;
        // the partner may have the message, and answers once more when it is sent again.
        SignatureState::Unproved(unproved) if unproved.contradicts && mdn.mic.is_none() => {
            return Err(unproved
                .error()
                .retry_as(Retry::Ambiguous)
                .with("disposition", &disposition)
                .with("message_id", expected.message_id)
                .tell_partner(tell::unproved(&unproved.reason, expected.message_id)));
        }
        // A signature that proves nothing is worth as much as none.
        SignatureState::Unproved(_) => {}
    }
    if let Some(id) = &mdn.original_message_id
        && !same_message_id(id, expected.message_id)
    {
        return Err(wrong("accept a receipt (MDN) that names another message")
            .said(id)
            .at_step(Step::Receipt));
    }
    match (&mdn.mic, expected.mic) {
        (Some(theirs), Some(ours)) if mic_matches(theirs, ours) => {}
        (None, _) if had_before => {}
        (_, None) => {
            return Err(wrong("accept a receipt (MDN) that came before the whole message was sent"));
        }
        (None, Some(_)) if mdn.disposition.is_duplicate() => {
            return Err(wrong("accept a duplicate notice without a MIC").said(&mdn.text).advice(
                "nothing proves that the partner has this message; ask it what it received under this \
                Message-ID",
            ));
        }
        // RFC 4130, 7.4.3 asks for a MIC in signed receipts for signed content only; the receipt says that
        // none was given.
        (None, Some(_)) if !expected.agreement.send_security.signs() || !asked_signed => {}
        (None, Some(ours)) => {
            return Err(wrong("find a MIC in the receipt (MDN) for a signed message")
                .with("our MIC", ours)
                .advice("ask the partner for receipts with a Received-content-MIC (RFC 4130, 7.4.3)")
                .tell_partner(tell::no_mic(expected.message_id)));
        }
        (Some(theirs), Some(ours)) => {
            return Ok(Verdict::MicMismatch(Box::new(MicMismatch {
                theirs: theirs.clone(),
                ours: ours.clone(),
                message_id: expected.message_id.to_owned(),
                unprotected: expected.agreement.send_security == SendSecurity::None,
                legacy: expected.agreement.legacy,
                proof: proof(read, &disposition, answer, expected),
                error: wrong(
                    "verify the receipt's MIC: it differs from the MIC of the message that was sent",
                )
                .with("our MIC", ours)
                .with("their MIC", PeerText::from(theirs.as_str())),
            })));
        }
    }
    Ok(Verdict::Proved(proof(read, &disposition, answer, expected)))
}

fn proof(read: &ReadMdn, disposition: &str, answer: &PartnerResponse, expected: &Expected<'_>) -> Proof {
    let summary = match read.mdn.mic {
        Some(_) => disposition.to_owned(),
        None => format!("{disposition} ({WITHOUT_MIC})"),
    };
    let mut proof = Proof::new(ReceiptKind::Mdn, &summary, answer, expected);
    let signed = match &read.signature {
        SignatureState::Proved(signature) => Some(signature),
        SignatureState::Unproved(unproved) => {
            proof.detail.insert("signature_unproved".to_owned(), unproved.reason.as_str().into());
            None
        }
        SignatureState::None => None,
    };
    if read.mdn.mic.is_none() {
        proof.detail.insert("mic_absent".to_owned(), WITHOUT_MIC.into());
    }
    proof.legacy = signed.map(|signature| legacy::of_signature(&signature.weaknesses)).unwrap_or_default();
    let media_type = answer.headers.get("Content-Type").map(|v| PeerText::new(v).as_str().to_owned());
    let features = answer.headers.get("EDIINT-Features").map(|v| PeerText::new(v).as_str().to_owned());
    if let Some(features) = features {
        proof.detail.insert("partner_features".to_owned(), features.into());
    }
    proof.detail.extend([
        ("disposition".to_owned(), PeerText::from(disposition).as_str().into()),
        ("mic".to_owned(), expected.mic.map(ToString::to_string).into()),
        ("mic_matched".to_owned(), read.mdn.mic.is_some().into()),
        ("signed".to_owned(), signed.is_some().into()),
        ("signed_by".to_owned(), signed.map(|signature| signature.certificate.clone()).into()),
        ("mdn_content_type".to_owned(), media_type.unwrap_or_default().into()),
    ]);
    // The evidence itself: with the partner's certificate the signature can be checked again years
    // later, offline.
    proof.mdn = Some(answer.entity());
    proof
}

#[cfg(test)]
mod tests;
