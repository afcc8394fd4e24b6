//! Judges a receipt that came later, by the rules of those that come in an answer. What differs: an answer comes over our own
//! connection to the partner, but anybody may post a receipt. So one that proves nothing ends no delivery, unless it
//! refuses the message; a refusal loses no file and proves none, and partners that do not know us cannot sign theirs.

use crate::agreement::MdnRequest;
use crate::material::hexadecimal;
use crate::mdn::{ReadMdn, SignatureState};
use crate::mic_mismatch;
use crate::names::{is_ref_num, same_message_id};
use crate::prepared::{Earlier, NOTE, was_answered};
use crate::receipt::{Expected, PartnerResponse, Proof, Verdict, examine};
use crate::related;
use crate::sent_message::{SentMessage, message_ids, was_refused};
use model::{Error, ErrorKind, PeerText, Receipt, ReceiptKind, Timestamp};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;
use transport::{Awaited, Payload};

/// What a receipt is worth.
pub(crate) enum Judged {
    /// The partner has the message.
    Proof(Box<Proof>),
    /// The partner refuses it, or has proved that it has other bytes.
    Refusal {
        error: Error,
        /// Whether it is as well proved as was agreed, and counts although an earlier one proved the delivery.
        may_contradict: bool,
    },
    /// Nothing.
    NoProof(Error),
}

/// Judges a receipt. Without the payload one with another MIC proves nothing, whichever rule its sender follows.
pub(crate) async fn judge(
    read: &ReadMdn,
    response: &PartnerResponse,
    expected: &Expected<'_>,
    payload: Option<Arc<dyn Payload>>,
    content_headers: Vec<u8>,
) -> Judged {
    let disposition = &read.mdn.disposition;
    let is_signed = matches!(read.signature, SignatureState::Proved(_));
    // What was changed after it was signed proves no more than its MIC does.
    let is_changed = matches!(&read.signature, SignatureState::Unproved(unproved) if unproved.contradicts);
    // As well proved as was agreed.
    let is_trusted = is_signed || expected.agreement.mdn != MdnRequest::Signed && !is_changed;
    let had_before = disposition.is_duplicate() && expected.earlier == Earlier::Open;
    let is_refusal = !disposition.is_positive() && !had_before;
    let proved = match examine(read, response, expected) {
        Ok(Verdict::Proved(proof)) => Ok(proof),
        Ok(Verdict::Refused(_, error) | Verdict::Unproved(error)) | Err(error) => Err(error),
        Ok(Verdict::MicMismatch(other)) => {
            let Some(payload) = payload else {
                let why = "not computed: the delivery has ended";
                return Judged::NoProof(other.error.with("the MIC by other rules", why));
            };
            let every = match related::has_related(&content_headers) {
                // What is at hand is one of its files.
                true => Err(Error::permanent(
                    ErrorKind::Unsupported,
                    "compute the MIC of a message with attachments by other rules",
                )),
                false => mic_mismatch::of_payload(payload, content_headers, other.digest()).await,
            };
            other.judge(every)
        }
    };
    let names_this = read.mdn.original_message_id.as_deref();
    let names_this = names_this.is_none_or(|id| same_message_id(id, expected.message_id));
    match proved {
        Ok(proof) => Judged::Proof(Box::new(proof)),
        Err(error) if is_refusal => {
            // That its sender has had the message denies no receipt for it.
            let may_contradict = is_trusted && !disposition.is_duplicate();
            Judged::Refusal { error, may_contradict }
        }
        // It is the partner's, about this message, and says that it has something else.
        Err(error) if is_trusted && names_this && expected.mic.is_some() => {
            Judged::Refusal { error, may_contradict: false }
        }
        Err(error) => Judged::NoProof(error),
    }
}

/// What is known of the attempts whose receipt may have come.
pub(crate) fn earlier(awaited: &Awaited, sent: Option<&SentMessage>, message_id: &str) -> Earlier {
    let Awaited { notes, attempt, .. } = awaited;
    if was_refused(notes, message_id, *attempt) || was_answered(notes.get(NOTE), message_id) {
        return Earlier::Answered;
    }
    match (sent, attempt) {
        (Some(sent), _) => sent.earlier,
        (None, 0 | 1) => Earlier::None,
        (None, _) => Earlier::Open,
    }
}

/// Whether it is certain that a refusal is about what was proved: the message went out under this Message-ID once.
pub(crate) fn was_sent_once(attempt: u32, sent: Option<&SentMessage>) -> bool {
    attempt <= 1 || sent.is_some_and(|sent| sent.earlier == Earlier::None)
}

/// By what a receipt is known when it is posted again. A signed one is the same wherever it comes from; others may have the
/// same bytes each time, so that their own Message-ID tells them apart.
pub(crate) fn digest(read: &ReadMdn, own_message_id: &str, body: &[u8]) -> String {
    let mut hash = openssl::sha::Sha256::new();
    if !matches!(read.signature, SignatureState::Proved(_)) {
        hash.update(own_message_id.as_bytes());
        hash.update(b"\n");
    }
    hash.update(body);
    hexadecimal(&hash.finish())
}

/// The proof as the delivery's receipt, signed with the partner's certificate of this name, with what of our own message
/// was weak.
pub(crate) fn proving(
    mut proof: Proof,
    sent: Option<&SentMessage>,
    signed_with: Option<&str>,
    at: Timestamp,
) -> (Receipt, Vec<String>) {
    for (key, name) in sent.iter().flat_map(|sent| &sent.sent_with) {
        proof.add(key, name.clone());
    }
    if let Some(name) = signed_with {
        proof.add("signed_with", name.to_owned());
    }
    let own = sent.map(|sent| sent.legacy.clone()).unwrap_or_default();
    proof.legacy = [own, proof.legacy].concat();
    let used = proof.legacy.clone();
    (proof.receipt(at), used)
}

/// A receipt that does not prove the delivery. The MDN itself is kept beside it.
pub(crate) fn not_proving(
    read: &ReadMdn,
    response: &PartnerResponse,
    message_id: &str,
    at: Timestamp,
) -> Receipt {
    let disposition = PeerText::from(read.mdn.disposition.to_string().as_str());
    let signed_by = match &read.signature {
        SignatureState::Proved(signature) => Some(signature.certificate.clone()),
        SignatureState::None | SignatureState::Unproved(_) => None,
    };
    let detail: Map<String, Value> = [
        ("message_id".to_owned(), message_id.into()),
        ("disposition".to_owned(), disposition.as_str().into()),
        ("signed".to_owned(), signed_by.is_some().into()),
        ("signed_by".to_owned(), signed_by.into()),
    ]
    .into_iter()
    .collect();
    let summary = disposition.as_str().to_owned();
    let connection = response.connection;
    Receipt { kind: ReceiptKind::Mdn, at, positive: false, summary, connection, mdn: None, detail }
}

/// The key under which a message of ours is known, from a receipt's Original-Message-ID: partners add or drop the
/// angle brackets.
pub(crate) fn correlation(original_message_id: &str) -> String {
    let bare = original_message_id.trim().trim_start_matches('<').trim_end_matches('>');
    format!("<{bare}>")
}

/// The Message-ID of the message of these notes that a receipt names by its RefNum alone: the last one that was drawn, or one
/// that was sent before it under other terms.
pub(crate) fn named_by_number<'a>(notes: &'a BTreeMap<String, Value>, number: &str) -> Option<&'a str> {
    if !is_ref_num(number) {
        return None;
    }
    let last = notes.get(NOTE).and_then(|note| note.get("message_id")?.as_str());
    last.into_iter().chain(message_ids(notes)).find(|message_id| same_message_id(number, message_id))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::agreement::{Agreement, SendSecurity};
    use crate::disposition::Disposition;
    use crate::mdn::{self, Mdn, Trust};
    use crate::names::{names_ref_num, ref_num_of};
    use crate::testing::Key;
    use bytes::Bytes;
    use http::StatusCode;
    use smime::{Digest, Headers, Mic};
    use std::sync::LazyLock;
    use std::time::SystemTime;

    const ID: &str = "<1@acme>";

    static PARTNER: LazyLock<Key> = LazyLock::new(|| Key::new("GLOBEX"));
    static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::new("GLOBEX"));

    fn mic() -> Mic {
        // SHA-256 of what `payload` holds, as an unprotected message has it.
        Mic { algorithm: Digest::Sha256, digest: openssl::sha::sha256(b"an order").to_vec() }
    }

    struct Bytes8(model::PayloadRecord, Map<String, Value>);

    #[async_trait::async_trait]
    impl Payload for Bytes8 {
        fn record(&self) -> &model::PayloadRecord {
            &self.0
        }

        fn sha256(&self) -> Option<model::Sha256> {
            None
        }

        fn metadata(&self) -> &Map<String, Value> {
            &self.1
        }

        fn reader_buffers(&self) -> usize {
            0
        }

        async fn open(&self, _: std::ops::Range<u64>) -> model::Result<transport::PayloadReader> {
            Ok(Box::new(&b"an order"[..]))
        }

        fn open_blocking(&self, _: std::ops::Range<u64>) -> model::Result<Box<dyn std::io::Read + Send>> {
            Ok(Box::new(&b"an order"[..]))
        }
    }

    pub(crate) fn payload() -> Arc<dyn Payload> {
        let record = model::PayloadRecord {
            id: model::PayloadId::new(uuid::Uuid::nil()),
            length: 8,
            content: model::Content::Staged(model::Sha256([0; 32])),
            media_type: None,
            file_name: "po.edi".into(),
            staged_at: Timestamp::UNIX_EPOCH,
        };
        Arc::new(Bytes8(record, Map::new()))
    }

    /// What is judged of a receipt: signed by this key, with this MIC, under this agreement.
    async fn judged(
        disposition: &str,
        key: Option<&Key>,
        theirs: Option<Mic>,
        asked: MdnRequest,
        known: (Earlier, Option<Mic>),
    ) -> Judged {
        judged_with(Some(payload()), disposition, key, theirs, asked, known).await
    }

    async fn judged_with(
        payload: Option<Arc<dyn Payload>>,
        disposition: &str,
        key: Option<&Key>,
        theirs: Option<Mic>,
        asked: MdnRequest,
        (earlier, ours): (Earlier, Option<Mic>),
    ) -> Judged {
        let said = Mdn {
            original_recipient: None,
            final_recipient: "GLOBEX".into(),
            original_message_id: Some(ID.into()),
            disposition: Disposition::parse(disposition).unwrap(),
            mic: theirs.map(|mic| mic.to_string()),
            text: "Words.".into(),
        };
        let message = said.write("b-1", key.map(|key| key.signing("b-2"))).unwrap();
        let add = |headers: Headers, (name, value): &(String, String)| headers.with(name, value).unwrap();
        let headers = message.headers.iter().fold(Headers::new(), add);
        let certificates = std::slice::from_ref(&PARTNER.certificate);
        let now = SystemTime::now();
        let trust = Trust { certificates, pgp: &[], now, accept_expired: false, legacy: false };
        let read = mdn::read(&headers, &message.body, trust).unwrap();
        let agreement = Agreement { send_security: SendSecurity::None, mdn: asked, ..Agreement::default() };
        let expected = Expected {
            endpoint: "globex-as2",
            agreement: &agreement,
            certificates,
            pgp: &[],
            own_fingerprint: "ours",
            recipient_fingerprint: "theirs",
            now: now.into(),
            message_id: ID,
            earlier,
            mic: ours.as_ref(),
        };
        let body = Bytes::from(message.body);
        let response = PartnerResponse { status: StatusCode::OK, headers, body, connection: None };
        judge(&read, &response, &expected, payload, b"Content-Type: x/y\r\n".to_vec()).await
    }

    /// `proof`, `refused` and `refused!`, which contradicts an earlier proof, `fails` and `fails!`, where trying again
    /// cannot help, or `nothing`.
    fn word(judged: &Judged) -> &'static str {
        match judged {
            Judged::Proof(_) => "proof",
            Judged::NoProof(_) => "nothing",
            Judged::Refusal { error, may_contradict } => {
                match (error.retry() == model::Retry::Permanent, may_contradict) {
                    (false, false) => "refused",
                    (false, true) => "refused!",
                    (true, false) => "fails",
                    (true, true) => "fails!",
                }
            }
        }
    }

    #[tokio::test]
    async fn only_what_is_proved_or_refused_ends_a_delivery() {
        use MdnRequest::{Signed, Unsigned};
        let other = || Some(Mic { algorithm: Digest::Sha256, digest: vec![7; 32] });
        let (partner, stranger) = (Some(&*PARTNER), Some(&*STRANGER));
        let first = || (Earlier::None, Some(mic()));
        let processed = "x; processed";
        let refused = "x; processed/error: decryption-failed";
        let later = "x; processed/error: unexpected-processing-error";
        let duplicate = "x; processed/warning: duplicate-document";
        let had = "x; processed/error: duplicate-document";
        for (what, found, expected) in [
            ("signed, right", judged(processed, partner, Some(mic()), Signed, first()).await, "proof"),
            ("unsigned", judged(processed, None, Some(mic()), Signed, first()).await, "nothing"),
            ("a stranger's", judged(processed, stranger, Some(mic()), Signed, first()).await, "nothing"),
            ("unsigned, as agreed", judged(processed, None, Some(mic()), Unsigned, first()).await, "proof"),
            ("another MIC", judged(processed, partner, other(), Signed, first()).await, "fails"),
            ("another MIC, unsigned", judged(processed, None, other(), Signed, first()).await, "nothing"),
            ("refused", judged(refused, partner, None, Signed, first()).await, "fails!"),
            ("refused, unsigned", judged(refused, None, None, Signed, first()).await, "fails"),
            ("refused by a stranger", judged(refused, stranger, None, Signed, first()).await, "fails"),
            ("for now", judged(later, partner, None, Signed, first()).await, "refused!"),
            ("for now, unsigned", judged(later, None, None, Signed, first()).await, "refused"),
            (
                "too early",
                judged(processed, partner, Some(mic()), Signed, (Earlier::None, None)).await,
                "nothing",
            ),
            (
                "too early, refused",
                judged(refused, partner, None, Signed, (Earlier::None, None)).await,
                "fails!",
            ),
            // That it came twice denies nothing.
            ("had already", judged(had, partner, None, Signed, first()).await, "fails"),
            ("again", judged(duplicate, partner, None, Signed, (Earlier::Open, Some(mic()))).await, "proof"),
            (
                "again, unsigned",
                judged(duplicate, None, None, Signed, (Earlier::Open, Some(mic()))).await,
                "nothing",
            ),
            (
                "again, refused before",
                judged(duplicate, partner, None, Signed, (Earlier::Answered, Some(mic()))).await,
                "fails",
            ),
        ] {
            assert_eq!(word(&found), expected, "{what}");
        }
    }

    #[tokio::test]
    async fn of_a_delivery_that_has_ended_the_payload_is_not_read_for_another_mic() {
        let other = || Some(Mic { algorithm: Digest::Sha256, digest: vec![7; 32] });
        for (theirs, expected) in [(Some(mic()), "proof"), (other(), "nothing")] {
            let known = (Earlier::None, Some(mic()));
            let found =
                judged_with(None, "x; processed", Some(&*PARTNER), theirs, MdnRequest::Signed, known).await;
            assert_eq!(word(&found), expected);
        }
    }

    #[test]
    fn a_refusal_contradicts_only_what_went_out_once() {
        assert!(was_sent_once(1, None) && !was_sent_once(2, None));
    }

    #[test]
    fn an_unsigned_receipt_is_told_from_others_by_its_own_message_id_too() {
        let said = Mdn {
            original_recipient: None,
            final_recipient: "GLOBEX".into(),
            original_message_id: Some(ID.into()),
            disposition: Disposition::parse("x; processed/error: decryption-failed").unwrap(),
            mic: None,
            text: "Words.".into(),
        };
        let certificates = std::slice::from_ref(&PARTNER.certificate);
        for (key, differs) in [(None, true), (Some(&*PARTNER), false)] {
            let message = said.write("b-1", key.map(|key: &Key| key.signing("b-2"))).unwrap();
            let add = |headers: Headers, (name, value): &(String, String)| headers.with(name, value).unwrap();
            let headers = message.headers.iter().fold(Headers::new(), add);
            let now = SystemTime::now();
            let trust = Trust { certificates, pgp: &[], now, accept_expired: false, legacy: false };
            let read = mdn::read(&headers, &message.body, trust).unwrap();
            let of = |own: &str| digest(&read, own, &message.body);
            assert_eq!(of("<r1@globex>"), of("<r1@globex>"));
            assert_eq!(of("<r1@globex>") != of("<r2@globex>"), differs);
        }
    }

    #[test]
    fn a_number_names_the_message_whose_number_it_is() {
        let notes = BTreeMap::from([
            (NOTE.to_owned(), serde_json::json!({ "message_id": "<2@acme>" })),
            ("as2_sent:<1@acme>".to_owned(), serde_json::json!({})),
        ]);
        let number = |message_id: &str| correlation(&names_ref_num(&ref_num_of(message_id)));
        for (message_id, expected) in
            [("<2@acme>", Some("<2@acme>")), ("<1@acme>", Some("<1@acme>")), ("<0@acme>", None)]
        {
            assert_eq!(named_by_number(&notes, &number(message_id)), expected);
        }
        // A Message-ID is no number.
        assert_eq!(named_by_number(&notes, "<2@acme>"), None);
    }

    #[test]
    fn a_message_id_is_found_with_and_without_brackets() {
        for id in ["<1@acme>", "1@acme", " <1@acme> "] {
            assert_eq!(correlation(id), ID);
        }
    }
}
