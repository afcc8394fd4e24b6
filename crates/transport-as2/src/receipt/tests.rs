use super::*;
use crate::agreement::SendSecurity;
use crate::disposition::Disposition;
use crate::mdn::Mdn;
use crate::testing::Key;
use model::Retry;
use smime::{Digest, MicRule};
use std::sync::LazyLock;

const ID: &str = "<1@acme>";

static PARTNER: LazyLock<Key> = LazyLock::new(|| Key::new("GLOBEX"));

fn mic() -> Mic {
    Mic { algorithm: Digest::Sha256, digest: vec![7; 32] }
}

/// A receipt with these words, signed by the partner unless told otherwise.
struct Told<'a> {
    disposition: &'a str,
    mic: Option<String>,
    signed: bool,
}

impl<'a> Told<'a> {
    fn new(disposition: &'a str) -> Self {
        Self { disposition, mic: None, signed: true }
    }

    fn answer(&self) -> (Headers, Vec<u8>) {
        let mdn = Mdn {
            original_recipient: None,
            final_recipient: "GLOBEX".into(),
            original_message_id: Some(ID.into()),
            disposition: Disposition::parse(self.disposition).unwrap(),
            mic: self.mic.clone(),
            text: "Words.".into(),
        };
        let message = mdn.write("b-1", self.signed.then(|| PARTNER.signing("b-2"))).unwrap();
        let add = |headers: Headers, (name, value): &(String, String)| headers.with(name, value).unwrap();
        (message.headers.iter().fold(Headers::new(), add), message.body)
    }
}

/// What comes of an answer to a message that was sent under these terms.
fn verdict(headers: Headers, body: &[u8], security: SendSecurity, earlier: Earlier) -> Result<Verdict> {
    under(&Agreement { send_security: security, ..Agreement::default() }, headers, body, earlier)
}

fn under(agreement: &Agreement, headers: Headers, body: &[u8], earlier: Earlier) -> Result<Verdict> {
    let mic = mic();
    let body = Bytes::copy_from_slice(body);
    let answer = PartnerResponse { status: StatusCode::OK, headers, body, connection: None };
    let expected = Expected {
        endpoint: "globex-as2",
        agreement,
        certificates: std::slice::from_ref(&PARTNER.certificate),
        pgp: &[],
        own_fingerprint: "ours",
        recipient_fingerprint: "theirs",
        now: SystemTime::now().into(),
        message_id: ID,
        earlier,
        mic: Some(&mic),
    };
    assess(&answer, &expected)
}

/// No other rule gives another MIC, unless told so.
fn of(told: &Told<'_>, security: SendSecurity, earlier: Earlier) -> Result<Proof, Error> {
    by_rules(told, security, earlier, Ok(Vec::new()))
}

fn by_rules(
    told: &Told<'_>,
    security: SendSecurity,
    earlier: Earlier,
    every: Result<Vec<RuledMic>>,
) -> Result<Proof, Error> {
    let (headers, body) = told.answer();
    match verdict(headers, &body, security, earlier).unwrap() {
        Verdict::Proved(proof) => Ok(proof),
        Verdict::Unproved(error) | Verdict::Refused(_, error) => Err(error),
        Verdict::MicMismatch(other) => other.judge(every),
    }
}

#[test]
fn word_of_a_duplicate_answers_an_attempt_whose_own_answer_was_lost_and_no_other() {
    for disposition in [
        "x; processed/warning: duplicate-document",
        "x; processed/error: duplicate-document",
        "x; failed/failure: duplicate document",
    ] {
        for security in [SendSecurity::SignedEncrypted, SendSecurity::None] {
            let told = Told::new(disposition);
            let proof = of(&told, security, Earlier::Open).unwrap();
            assert_eq!(proof.detail["mic_matched"], false, "{disposition}");
            assert!(proof.summary.contains("duplicate"), "{}", proof.summary);
            // Never sent before: of which message does it speak? Answered before: not taken then.
            for earlier in [Earlier::None, Earlier::Answered] {
                let error = of(&told, security, earlier).unwrap_err();
                assert_eq!(error.retry(), Retry::Permanent, "{disposition} {earlier:?}: {error}");
            }
            // Anyone could have written it.
            let unsigned = Told { signed: false, ..told };
            assert_eq!(of(&unsigned, security, Earlier::Open).unwrap_err().retry(), Retry::Permanent);
        }
    }
}

#[test]
fn a_duplicate_with_a_mic_is_held_to_it() {
    let with =
        |mic: &str| Told { mic: Some(mic.into()), ..Told::new("x; processed/warning: duplicate-document") };
    for earlier in [Earlier::None, Earlier::Open, Earlier::Answered] {
        let proof = of(&with(&mic().to_string()), SendSecurity::Signed, earlier).unwrap();
        assert_eq!(proof.detail["mic_matched"], true);
        let error = of(&with("AQID, sha-256"), SendSecurity::Signed, earlier).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityFailed, "{earlier:?}");
    }
}

#[test]
fn no_other_disposition_passes_for_a_duplicate() {
    for disposition in ["x; processed/error: decryption-failed", "x; processed/warning: odd", "x; processed"]
    {
        assert!(of(&Told::new(disposition), SendSecurity::Signed, Earlier::Open).is_err(), "{disposition}");
    }
}

#[test]
fn a_mic_with_the_headers_taken_in_proves_an_unprotected_message_and_no_other() {
    let ruled = |rule, mic: &Mic| RuledMic { rule, mic: mic.clone() };
    let other = Mic { algorithm: Digest::Sha256, digest: vec![8; 32] };
    let by_sha512 = Mic { algorithm: Digest::Sha512, digest: vec![6; 64] };
    let by_sha1 = Mic { algorithm: Digest::Sha1, digest: vec![9; 20] };
    let told = |mic: &Mic| Told { mic: Some(mic.to_string()), ..Told::new("x; processed") };
    for security in SendSecurity::ALL {
        let unprotected = *security == SendSecurity::None;
        for rule in [
            MicRule::Entity,
            MicRule::EntityCanonical,
            MicRule::Content,
            MicRule::ContentCanonical,
            MicRule::EntityAllLf,
            MicRule::ContentAllLf,
        ] {
            let with_headers = matches!(rule, MicRule::Entity | MicRule::EntityCanonical);
            // Of what is protected the entity with its headers is the first choice itself.
            let every = Ok(vec![ruled(rule, &other)]);
            if !unprotected && rule == MicRule::Entity || unprotected && rule == MicRule::Content {
                continue;
            }
            match by_rules(&told(&other), *security, Earlier::None, every) {
                Ok(proof) => {
                    assert!(unprotected && with_headers, "{security} {rule:?}");
                    assert_eq!(proof.detail["mic_rule"], rule.describe());
                    assert_eq!(proof.detail["mic"], other.to_string());
                    assert_eq!(proof.detail["mic_matched"], true);
                }
                Err(error) => {
                    assert!(!(unprotected && with_headers), "{security} {rule:?}: {error}");
                    let text = error.to_string();
                    assert!(text.contains(&format!("the partner's rule {}", rule.describe())), "{text}");
                }
            }
        }
        // Another digest than was asked for: named, and not taken.
        let every = Ok(vec![ruled(MicRule::Entity, &by_sha1)]);
        let error = by_rules(&told(&by_sha1), *security, Earlier::None, every).unwrap_err().to_string();
        assert!(error.contains("too weak") && error.contains("legacy = true"), "{error}");
        // A stronger one than was asked for proves as much.
        let every = Ok(vec![ruled(MicRule::Entity, &by_sha512)]);
        let proof = by_rules(&told(&by_sha512), *security, Earlier::None, every).unwrap();
        assert_eq!(proof.detail["mic"], by_sha512.to_string());
    }
}

#[test]
fn a_mic_by_no_rule_is_shown_beside_all_of_them() {
    let ruled =
        |rule, byte| RuledMic { rule, mic: Mic { algorithm: Digest::Sha256, digest: vec![byte; 32] } };
    let every = vec![ruled(MicRule::Entity, 1), ruled(MicRule::Content, 2)];
    let told = Told { mic: Some("AQID, sha-256".into()), ..Told::new("x; processed") };
    let error = by_rules(&told, SendSecurity::Signed, Earlier::None, Ok(every.clone())).unwrap_err();
    let text = error.to_string();
    for ruled in &every {
        assert!(text.contains(&format!("{} {}", ruled.rule.describe(), ruled.mic)), "{text}");
    }
    assert!(
        text.contains("either the partner received other bytes than were sent, or")
            && error.retry() == Retry::Permanent,
        "{text}"
    );
    // What cannot be computed does not hide that the MIC is wrong.
    let failed = Err(Error::transient(ErrorKind::Internal, "open a payload"));
    let error = by_rules(&told, SendSecurity::Signed, Earlier::None, failed).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::IntegrityFailed, Retry::Permanent));
}

#[test]
fn a_receipt_signed_by_an_expired_certificate_counts_where_that_was_agreed() {
    let (headers, body) = Told { mic: Some(mic().to_string()), ..Told::new("x; processed") }.answer();
    let answer = PartnerResponse { status: StatusCode::OK, headers, body: body.into(), connection: None };
    let mic = mic();
    for accept_expired in [false, true] {
        let agreement = Agreement { accept_expired, ..Agreement::default() };
        let expected = Expected {
            endpoint: "globex-as2",
            agreement: &agreement,
            certificates: std::slice::from_ref(&PARTNER.certificate),
            pgp: &[],
            own_fingerprint: "ours",
            recipient_fingerprint: "theirs",
            now: Timestamp::from_timestamp(7_000_000_000, 0).unwrap(),
            message_id: ID,
            earlier: Earlier::None,
            mic: Some(&mic),
        };
        match assess(&answer, &expected) {
            Ok(Verdict::Proved(_)) => assert!(accept_expired),
            Ok(Verdict::MicMismatch(_)) => panic!("the MIC is right"),
            Ok(Verdict::Unproved(error) | Verdict::Refused(_, error)) | Err(error) => {
                assert!(!accept_expired && error.kind() == ErrorKind::TrustFailed, "{error}")
            }
        }
    }
}

#[test]
fn a_receipt_names_every_certificate_that_was_used() {
    let told = Told { mic: Some(mic().to_string()), ..Told::new("x; processed") };
    for security in SendSecurity::ALL {
        let detail = of(&told, *security, Earlier::None).unwrap().detail;
        let text = |key: &str| detail.get(key).and_then(Value::as_str);
        assert_eq!(text("sent_signed_by"), security.signs().then_some("ours"), "{security}");
        assert_eq!(text("sent_encrypted_for"), security.encrypts().then_some("theirs"), "{security}");
        let theirs = crate::material::fingerprint(&PARTNER.certificate).unwrap();
        assert_eq!(text("signed_by"), Some(theirs.as_str()), "{security}");
    }
}

/// What is proved by a receipt of a partner with which this was agreed.
fn agreed(agreement: &Agreement, told: &Told<'_>) -> Result<Proof, Error> {
    let (headers, body) = told.answer();
    match under(agreement, headers, &body, Earlier::None)? {
        Verdict::Proved(proof) => Ok(proof),
        Verdict::Unproved(error) | Verdict::Refused(_, error) => Err(error),
        Verdict::MicMismatch(other) => other.judge(Ok(Vec::new())),
    }
}

#[test]
fn an_unsigned_receipt_may_leave_the_mic_out_and_says_so() {
    for security in SendSecurity::ALL {
        for mdn in MdnRequest::ALL {
            let agreement = Agreement { send_security: *security, mdn: *mdn, ..Agreement::default() };
            for signed in [false, true] {
                let told = Told { signed, ..Told::new("x; processed") };
                let taken = match mdn {
                    MdnRequest::None | MdnRequest::Unsigned => true,
                    MdnRequest::Signed => signed && !security.signs(),
                };
                match agreed(&agreement, &told) {
                    Ok(proof) if *mdn == MdnRequest::None => {
                        assert!(taken && proof.kind == ReceiptKind::HttpStatus)
                    }
                    Ok(proof) => {
                        assert!(taken, "{security} {mdn} {signed}");
                        assert!(proof.summary.contains("the partner sent no MIC"), "{}", proof.summary);
                        assert!(proof.detail["mic_absent"].as_str().unwrap().contains("no MIC"));
                        assert_eq!(proof.detail["mic_matched"], false);
                        assert_eq!(proof.detail["signed"], signed);
                    }
                    Err(error) => assert!(!taken, "{security} {mdn} {signed}: {error}"),
                }
                if *mdn == MdnRequest::None {
                    continue;
                }
                // One that is given counts, asked for or not.
                let right =
                    Told { mic: Some(mic().to_string()), ..Told { signed, ..Told::new("x; processed") } };
                let proof = agreed(&agreement, &right);
                assert_eq!(
                    proof.is_ok(),
                    signed || *mdn == MdnRequest::Unsigned,
                    "{security} {mdn} {signed}"
                );
                assert!(proof.is_err() || !proof.unwrap().detail.contains_key("mic_absent"));
                let wrong = Told {
                    mic: Some("AQID, sha-256".into()),
                    ..Told { signed, ..Told::new("x; processed") }
                };
                assert!(agreed(&agreement, &wrong).is_err(), "{security} {mdn} {signed}");
            }
        }
    }
}

#[test]
fn a_signature_by_nobody_known_hides_no_refusal_and_is_worth_an_unsigned_receipt() {
    let stranger = Key::new("SOMEBODY");
    let answer = |disposition: &str, change: bool| {
        let mdn = Mdn {
            original_recipient: None,
            final_recipient: "GLOBEX".into(),
            original_message_id: Some(ID.into()),
            disposition: Disposition::parse(disposition).unwrap(),
            mic: Some(mic().to_string()),
            text: "Words.".into(),
        };
        let key = if change { &*PARTNER } else { &stranger };
        let mut message = mdn.write("b-1", Some(key.signing("b-2"))).unwrap();
        if change {
            let at = message.body.windows(6).position(|six| six == b"Words.").unwrap();
            message.body[at] = b'w';
        }
        let add = |headers: Headers, (name, value): &(String, String)| headers.with(name, value).unwrap();
        (message.headers.iter().fold(Headers::new(), add), message.body)
    };
    let verdict = |mdn, (headers, body): (Headers, Vec<u8>)| {
        let agreement = Agreement { mdn, ..Agreement::default() };
        match under(&agreement, headers, &body, Earlier::None).unwrap() {
            Verdict::Proved(proof) => Ok(proof),
            Verdict::Unproved(error) | Verdict::Refused(_, error) => Err(error),
            Verdict::MicMismatch(_) => panic!("the MIC is right"),
        }
    };
    for mdn in [MdnRequest::Signed, MdnRequest::Unsigned] {
        let error =
            verdict(mdn, answer("x; processed/error: decryption-failed", false)).unwrap_err().to_string();
        assert!(
            error.contains("decryption-failed") && error.contains("its current certificate"),
            "{mdn}: {error}"
        );
        assert!(error.contains("not one of the 1 known certificate(s)"), "{error}");
    }
    // One that was not asked for is told, and counts for nothing.
    let proof = verdict(MdnRequest::None, answer("x; processed/error: decryption-failed", false)).unwrap();
    assert_eq!(proof.kind, ReceiptKind::HttpStatus);
    assert!(proof.unsolicited().unwrap().contains("decryption-failed"));
    let error = verdict(MdnRequest::Signed, answer("x; processed", false)).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent));
    let proof = verdict(MdnRequest::Unsigned, answer("x; processed", false)).unwrap();
    assert_eq!(proof.detail["signed"], false);
    assert!(proof.detail["signature_unproved"].as_str().unwrap().contains("known certificate"));
    // What was changed after it was signed is no signed receipt. Where an unsigned one was agreed, its MIC proves as much as
    // that of an unsigned one; without a MIC nothing is left.
    let error = verdict(MdnRequest::Signed, answer("x; processed", true)).unwrap_err().to_string();
    assert!(error.contains("changed after it was signed") && !error.contains("add it"), "{error}");
    let proof = verdict(MdnRequest::Unsigned, answer("x; processed", true)).unwrap();
    assert!(proof.detail["signature_unproved"].as_str().is_some() && proof.detail["mic_matched"] == true);
    let (headers, body) = answer("x; processed", true);
    let without = String::from_utf8(body).unwrap().replace("Received-content-MIC", "X-Nothing");
    let error = verdict(MdnRequest::Unsigned, (headers, without.into_bytes())).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Ambiguous));
}

#[test]
fn ids_stand_behind_the_cause() {
    let error = of(&Told::new("x; processed/error: decryption-failed"), SendSecurity::Signed, Earlier::None);
    let text = error.unwrap_err().to_string();
    let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part}: {text}"));
    assert!(at("decryption-failed") < at(ID), "{text}");
}

#[test]
fn the_receipt_itself_says_what_was_too_weak() {
    let told = Told { mic: Some(mic().to_string()), ..Told::new("x; processed") };
    let mut proof = of(&told, SendSecurity::Signed, Earlier::None).unwrap();
    assert!(proof.legacy.is_empty());
    let now = SystemTime::now().into();
    proof.legacy = vec!["a signature of ours by SHA-1".to_owned(), "a key of 1024 bits".to_owned()];
    let receipt = proof.receipt(now);
    assert_eq!(receipt.detail["legacy_used"], "a signature of ours by SHA-1; a key of 1024 bits");
    let plain = of(&told, SendSecurity::Signed, Earlier::None).unwrap().receipt(now);
    assert!(!plain.detail.contains_key("legacy_used"));
}

/// An audit trail whose database is away.
struct Away;

#[async_trait::async_trait]
impl transport::AuditLog for Away {
    async fn record(&self, _: Vec<model::AuditEvent>) -> Result<()> {
        Err(Error::transient(ErrorKind::Unreachable, "write to the database"))
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_recorded_loses_no_receipt() {
    let node = model::NodeName::try_from("node".to_owned()).unwrap();
    let id = model::EventId::new(Default::default());
    let event = model::AuditEvent::new(id, SystemTime::now().into(), node, model::EventKind::LegacyUsed);
    // It answers nothing that could end the delivery.
    let () = crate::recorded::record(&Away, event.detail("used", "SHA-1"), legacy::LOST).await;
}
