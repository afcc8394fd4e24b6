use super::*;
use crate::agreement::{Agreement, As2Id};
use crate::choice::Choices;
use crate::material::fingerprint;
use crate::request::RequestHead;
use crate::testing::Key;
use http::HeaderMap;
use model::evidence::MessageFacts;
use smime::{Entity, Keys, Payload, ReadOptions};
use std::io::{self, Read as _, Write};
use std::time::Duration;

const YEAR: Duration = Duration::from_secs(365 * 86_400);

fn partner(agreement: Agreement) -> Partner {
    Partner {
        name: "globex".into(),
        as2_id: As2Id::try_from("GLOBEX".to_owned()).unwrap(),
        certificates: Choices::default(),
        agreement,
    }
}

fn keeping(keep_for: Option<Duration>, keeps_content: bool) -> Partner {
    partner(Agreement { evidence: EvidenceTerms { keep_for, keeps_content }, ..Agreement::default() })
}

fn head() -> RequestHead {
    let mut fields = HeaderMap::new();
    for (name, value) in [
        ("as2-from", "GLOBEX"),
        ("as2-to", "ACME"),
        ("message-id", "<1@globex>"),
        ("date", "Fri, 27 Nov 2026 10:00:00 GMT"),
        ("subject", "Orders"),
        ("authorization", "Basic c2VjcmV0"),
        ("disposition-notification-to", "x"),
    ] {
        fields.insert(http::HeaderName::from_static(name), value.parse().unwrap());
    }
    RequestHead::read(&fields).unwrap()
}

struct Discard;

impl smime::PartReceiver for Discard {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        Ok(Box::new(io::sink()))
    }
}

fn signed_by(key: &Key, content: &[u8]) -> Report {
    let headers = Headers::new().with("Content-Type", "application/octet-stream").unwrap();
    let entity = Entity::new(headers, Payload::new(content, content.len() as u64));
    let (headers, mut body) = entity.sign(key.signing("b-1")).unwrap().into_parts();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    let keys = Keys { decrypt: &[], verify: std::slice::from_ref(&key.certificate) };
    smime::read_message(&headers, &bytes[..], keys, &ReadOptions::default(), &mut Discard).unwrap()
}

fn reply() -> StoredReply {
    let headers = vec![("Content-Type".to_owned(), "multipart/signed; boundary=x".to_owned())];
    StoredReply { status: 200, headers, body: b"--x--".to_vec() }
}

fn received<'a>(
    head: &'a RequestHead,
    partner: &'a Partner,
    report: &'a Report,
    keys: (&'a Key, &'a Key),
    reply: &'a StoredReply,
) -> Received<'a> {
    Received {
        head,
        partner,
        identity: "acme",
        report,
        pgp: None,
        mic: Some("AAAA, sha-256"),
        signer: Some(Signer::Certificate(&keys.0.certificate)),
        receipt_signer: Some(Signer::Certificate(&keys.1.certificate)),
        reply,
        signed_content: None,
    }
}

#[test]
fn evidence_of_a_received_message_holds_what_proves_it_and_no_login() {
    let (globex, acme) = (Key::new("GLOBEX"), Key::new("ACME"));
    let (head, partner, reply) = (head(), keeping(Some(YEAR), true), reply());
    let report = signed_by(&globex, b"orders");
    let evidence =
        of_received(received(&head, &partner, &report, (&globex, &acme), &reply)).unwrap().unwrap();
    assert_eq!((evidence.keep_for, evidence.keeps_content), (YEAR, true));
    assert_eq!(evidence.content, Some(EvidenceContent::Payload));
    let text = |piece: &str| String::from_utf8_lossy(&evidence.pieces[piece]).into_owned();
    assert!(text(MESSAGE_HEADER).contains("message-id: <1@globex>\r\n"), "{}", text(MESSAGE_HEADER));
    assert!(!text(MESSAGE_HEADER).contains("c2VjcmV0"), "{}", text(MESSAGE_HEADER));
    assert_eq!(text(SIGNED_HEAD), "Content-Type: application/octet-stream\r\n\r\n");
    assert_eq!(text(RECEIPT), "Content-Type: multipart/signed; boundary=x\r\n\r\n--x--");
    assert_eq!(evidence.pieces[SIGNER], globex.certificate.to_der().unwrap());
    assert_eq!(evidence.pieces[RECEIPT_SIGNER], acme.certificate.to_der().unwrap());
    // What is kept proves the content.
    let content = [text(SIGNED_HEAD).as_bytes(), b"orders"].concat();
    let certificates = [X509::from_der(&evidence.pieces[SIGNER]).unwrap()];
    let options = ReadOptions::default();
    smime::verify_detached(&content[..], &evidence.pieces[SIGNATURE], &certificates, &options).unwrap();
    let facts = MessageFacts::read(&evidence.about).unwrap();
    assert_eq!((facts.way, facts.covered), (MessageWay::Received, Covered::HeadAndContent));
    assert_eq!(facts.signer, Some(fingerprint(&globex.certificate).unwrap()));
    assert_eq!(facts.subject.as_deref(), Some("Orders"));
}

#[test]
fn none_is_kept_where_that_was_agreed_and_content_only_as_agreed() {
    let (globex, acme) = (Key::new("GLOBEX"), Key::new("ACME"));
    let (head, reply) = (head(), reply());
    let report = signed_by(&globex, b"orders");
    let none = keeping(None, true);
    assert_eq!(of_received(received(&head, &none, &report, (&globex, &acme), &reply)).unwrap(), None);
    let digest_alone = keeping(Some(YEAR), false);
    let evidence = of_received(received(&head, &digest_alone, &report, (&globex, &acme), &reply));
    let evidence = evidence.unwrap().unwrap();
    assert!(!evidence.keeps_content && evidence.content == Some(EvidenceContent::Payload));
}

#[test]
fn evidence_of_a_sent_message_has_all_certificates_that_may_verify_its_receipt() {
    let keys = [Key::new("GLOBEX"), Key::new("GLOBEX 2")];
    let acme = Key::new("ACME");
    let partner = keeping(Some(YEAR), true);
    let headers = [("Message-ID", "<1@acme>"), ("Subject", "EDI"), ("Proxy-Authorization", "Basic c2VjcmV0")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    let certificates = keys.map(|key| key.certificate);
    let sent = SentFacts {
        partner: &partner,
        terms: partner.agreement.evidence,
        identity: "acme",
        as2_from: "ACME",
        as2_to: "GLOBEX",
        message_id: "<1@acme>",
        headers: &headers,
        mic: Some("AAAA, sha-256".into()),
        covers: SentBytes::HeadAndPayload(b"Content-Type: text/plain\r\n\r\n".to_vec()),
        signature: Some(b"0"),
        signer: Some(Signer::Certificate(&acme.certificate)),
        cipher: Some("AES-256-CBC"),
        receipt_signers: &certificates,
        receipt_keys: &[],
    };
    let evidence = of_sent(sent).unwrap().unwrap();
    let header = String::from_utf8_lossy(&evidence.pieces[MESSAGE_HEADER]);
    assert_eq!(header, "Message-ID: <1@acme>\r\nSubject: EDI\r\n");
    assert_eq!(evidence.pieces[RECEIPT_SIGNER], certificates[0].to_der().unwrap());
    assert_eq!(evidence.pieces["receipt-signer-2"], certificates[1].to_der().unwrap());
    let facts = MessageFacts::read(&evidence.about).unwrap();
    assert_eq!((facts.way, facts.subject.as_deref()), (MessageWay::Sent, Some("EDI")));
}
