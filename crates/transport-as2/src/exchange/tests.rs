use super::document::Element;
use super::*;
use crate::testing::Key;
use model::{
    CertificateProposal, CertificateUsage, ExchangePolicy, ProposalState, ProposedCertificate, Timestamp,
};
use proptest::prelude::*;
use smime::{Headers, Limits, Multipart};
use uuid::Uuid;

fn now() -> Timestamp {
    let since = std::time::UNIX_EPOCH.elapsed().unwrap();
    Timestamp::from_timestamp(i64::try_from(since.as_secs()).unwrap(), 0).unwrap()
}

fn pem(key: &Key) -> String {
    String::from_utf8(key.certificate.to_pem().unwrap()).unwrap()
}

/// A request of ours for this certificate.
fn asked(pem: &str, usages: &[CertificateUsage]) -> ExchangeContent {
    let asked = ExchangeRequest {
        id: "r1",
        partner: "globex",
        identity: "acme",
        now: now(),
        pem,
        usages,
        respond_by: now() + std::time::Duration::from_secs(86_400),
        response_url: "https://as2.acme.example/as2?a=1&b=2",
    };
    request("ACME & CO", &asked).unwrap()
}

/// The parts of what we write, as they are received.
fn parts(content: &ExchangeContent) -> Vec<ExchangePart> {
    let media = ContentType::parse(content.media_type.as_bytes()).unwrap();
    let mut multipart = Multipart::new(&content.bytes[..], &media.parameter("boundary").unwrap()).unwrap();
    let mut found = Vec::new();
    while let Some(mut part) = multipart.next_part().unwrap() {
        let mut bytes = Vec::new();
        part.read_to_end(&mut bytes).unwrap();
        let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let (headers, _) = Headers::parse(&bytes[..at], &Limits::default()).unwrap();
        let id = String::from_utf8(headers.get("Content-ID").unwrap().to_vec()).unwrap();
        found.push(ExchangePart {
            is_document: headers.content_type().unwrap().essence() == DOCUMENT,
            content_id: bare(&id).to_owned(),
            bytes: bytes[at..].to_vec(),
        });
    }
    found
}

/// The same with its document changed.
fn changed(content: &ExchangeContent, from: &str, to: &str) -> Vec<ExchangePart> {
    let mut found = parts(content);
    let text = String::from_utf8(found[0].bytes.clone()).unwrap();
    assert!(text.contains(from), "{from}\n{text}");
    found[0].bytes = text.replace(from, to).into_bytes();
    found
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let key = Key::new("Acme");
    let both = [CertificateUsage::DigitalSignature, CertificateUsage::KeyEncipherment];
    let content = asked(&pem(&key), &both);
    assert!(content.media_type.len() <= 255 && content.media_type.starts_with("multipart/related; "));
    let Ok(Said::Request { request_id, certificates }) = read(&parts(&content), "ACME & CO", now()) else {
        panic!("{content:?}")
    };
    assert_eq!(request_id, "r1");
    let [one] = &certificates[..] else { panic!("{certificates:?}") };
    assert_eq!(
        (one.pem.as_str(), &one.usages[..], one.serial.as_str()),
        (pem(&key).as_str(), &both[..], "1")
    );
    assert_eq!((one.subject.as_str(), one.issuer.as_str()), ("CN=Acme", "CN=Acme"));
    assert_eq!(one.response_url.as_deref(), Some("https://as2.acme.example/as2?a=1&b=2"));
    assert!(one.respond_by.is_some_and(|until| until > now()));
    assert_eq!(one.fingerprint.len(), 64);
}

#[test]
fn a_response_is_read_as_it_was_written() {
    let proposal = CertificateProposal {
        id: Uuid::nil(),
        transport: "as2".into(),
        partner: "globex".into(),
        identity: "acme".into(),
        request_id: "their <id> & more".into(),
        message_id: "<1@globex>".into(),
        signed_with: "globex".into(),
        received_at: now(),
        policy: ExchangePolicy::Ask,
        certificates: vec![ProposedCertificate {
            usages: vec![CertificateUsage::TlsServer],
            pem: String::new(),
            fingerprint: "ab".into(),
            subject: "CN=Globex".into(),
            issuer: "CN=Globex <root>".into(),
            serial: "77".into(),
            not_before: now(),
            not_after: now(),
            respond_by: None,
            response_url: None,
        }],
        state: ProposalState::Agreed,
        decided_by: None,
        decided_at: None,
        reason: None,
        response: None,
    };
    for (accepted, reason) in [(true, None), (false, Some("wrong & <old>"))] {
        let said = ExchangeResponse { proposal: &proposal, accepted, reason, now: now() };
        let found = read(&parts(&response("ACME", &said)), "ACME", now());
        let Ok(Said::Response { request_id, answers }) = found else { panic!("{found:?}") };
        assert_eq!(request_id, proposal.request_id);
        let [answer] = &answers[..] else { panic!("{answers:?}") };
        assert_eq!(
            (&answer.serials[..], answer.accepted),
            (&["77".to_owned(), "119".to_owned()][..], Some(accepted))
        );
        assert_eq!(answer.reason.as_deref(), reason);
    }
}

#[test]
fn what_does_not_fit_is_refused_and_says_why() {
    let content = asked(&pem(&Key::new("Acme")), &[CertificateUsage::DigitalSignature]);
    let refused =
        |parts: &[ExchangePart], sender: &str| read(parts, sender, now()).expect_err("it is refused").0;
    assert!(refused(&parts(&content), "OTHER").contains("not that of the sender"));
    for (from, to, why) in [
        ("<ds:X509SerialNumber>1<", "<ds:X509SerialNumber>2<", "no certificate with the serial number 2"),
        ("<CertUsage>digitalSignature<", "<CertUsage>everything<", "CertUsage 'everything' is not known"),
        ("certificate.r1@waybill<", "certificate.r2@waybill<", "not that of exactly one part"),
        ("requestId=\"r1\"", "requestId=\" \"", "requestId is missing"),
        (NAMESPACE, "urn:other", "is not of urn:ietf"),
        ("<RespondByDate>", "<RespondByDate>soon ", "is not a date and time"),
        ("EDIINTCertificateExchangeRequest", "EDIINTCertificateExchangeOther", "the first element is"),
        ("<TradingPartnerInfo>", "<Other>", ""),
        ("ACME &amp; CO", "ACME &company; CO", "refers to the entity 'company'"),
        ("?>", "?><!DOCTYPE x [<!ENTITY company 'ACME'>]>", "document type"),
        ("</EDIINTCertificateExchangeRequest>", "", ""),
    ] {
        let text = refused(&changed(&content, from, to), "ACME & CO");
        // The words of the XML reader for elements that do not match or end are its own.
        assert!(text.contains(why) || why.is_empty(), "{why}: {text}");
    }
    let (asks, long) = ("EDIINTCertificateExchangeRequest ", "X".repeat(100_000));
    let text = refused(&changed(&content, &format!("<{asks}"), &format!("<\u{1b}{long} ")), "ACME & CO");
    assert!(text.len() < 5000 && !text.contains(char::is_control), "{text}");
    let mut two = parts(&content);
    two.push(two[0].clone());
    assert!(refused(&two, "ACME & CO").contains("more than one XML document"));
    let mut broken = parts(&content);
    broken[1].bytes = b"no certificate".to_vec();
    assert!(refused(&broken, "ACME & CO").contains("holds no certificates"));
    let late = now() + std::time::Duration::from_secs(40 * 86_400);
    assert!(read(&parts(&content), "ACME & CO", late).expect_err("it is over").0.contains("has expired"));
}

#[test]
fn of_several_certificates_with_the_number_the_issuer_decides() {
    let (own, other) = (Key::new("Acme"), Key::new("Authority"));
    let content = asked(&pem(&own), &[CertificateUsage::DigitalSignature]);
    for both in [pem(&own) + &pem(&other), pem(&other) + &pem(&own)] {
        let mut found = parts(&content);
        found[1].bytes = both.clone().into_bytes();
        let Ok(Said::Request { certificates, .. }) = read(&found, "ACME & CO", now()) else {
            panic!("{found:?}")
        };
        assert_eq!(certificates[0].subject, "CN=Acme");
        let mut unclear = changed(&content, "X509IssuerName>CN=Acme<", "X509IssuerName>CN=Third<");
        unclear[1].bytes = both.into_bytes();
        assert!(read(&unclear, "ACME & CO", now()).is_err());
    }
}

#[test]
fn lists_and_depth_are_bounded() {
    let content = asked(&pem(&Key::new("Acme")), &[CertificateUsage::DigitalSignature]);
    let text = String::from_utf8(parts(&content)[0].bytes.clone()).unwrap();
    let (begin, end) = (text.find("<TrustRequest>").unwrap(), text.find("</TrustRequest>").unwrap() + 15);
    let one = &text[begin..end];
    let refused = |more: &str| {
        let found = changed(&content, one, more);
        read(&found, "ACME & CO", now()).expect_err("it is refused").0
    };
    assert!(refused(&one.repeat(11)).contains("there are 11 of TrustRequest"));
    assert!(refused(&one.repeat(2)).contains("more than once"));
    assert!(refused("").contains("there are 0"));
    assert!(refused(&"<x/>".repeat(5000)).contains("more than 4000 elements"));
    assert!(refused(&"<x>".repeat(1000)).contains("more than 16 levels"));
}

#[test]
fn products_write_dates_and_ids_in_forms_of_their_own() {
    let key = Key::new("Acme");
    let content = asked(&pem(&key), &[CertificateUsage::DigitalSignature]);
    let text = String::from_utf8(parts(&content)[0].bytes.clone()).unwrap();
    let (begin, end) = (text.find("<RespondByDate>").unwrap(), text.find("</RespondByDate>").unwrap());
    for (date, expected) in [
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00.5+01:00", "2027-01-31T11:00:00.500Z"),
        ("2027-01-31T12:00:00-0500", "2027-01-31T17:00:00Z"),
        ("2027-01-31T12:00:00", "2027-01-31T12:00:00Z"),
        ("2027-01-31", "2027-01-31T23:59:59Z"),
    ] {
        let found = changed(&content, &text[begin..end], &format!("<RespondByDate> {date} "));
        let Ok(Said::Request { certificates, .. }) = read(&found, "ACME & CO", now()) else {
            panic!("{date}")
        };
        let expected: Timestamp = expected.parse().unwrap();
        assert_eq!(certificates[0].respond_by, Some(expected), "{date}");
    }
    for (from, to) in [
        ("<ds:X509SerialNumber>1<", "<ds:X509SerialNumber>0x01<"),
        ("<CertificateContentID>", "<CertificateContentID>cid:"),
        ("ds:", "sig:"),
    ] {
        let found = changed(&content, from, to);
        let found: Vec<ExchangePart> = found
            .into_iter()
            .map(|mut part| {
                if part.is_document && to == "sig:" {
                    let text = String::from_utf8(part.bytes).unwrap();
                    part.bytes =
                        text.replace("xmlns:sig:", "xmlns:sig").replace("xmlns:ds", "xmlns:sig").into_bytes();
                }
                part
            })
            .collect();
        assert!(read(&found, "ACME & CO", now()).is_ok(), "{to}");
    }
    // A certificate alone, in DER, PEM or base64.
    let der = key.certificate.to_der().unwrap();
    let base64 = openssl::base64::encode_block(&der).into_bytes();
    for bytes in [der, base64, pem(&key).into_bytes()] {
        let mut found = parts(&content);
        found[1].bytes = bytes;
        assert!(read(&found, "ACME & CO", now()).is_ok());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        drop(Element::read(&bytes));
        let parts = [
            ExchangePart { is_document: true, content_id: "a".into(), bytes: bytes.clone() },
            ExchangePart { is_document: false, content_id: "b".into(), bytes },
        ];
        prop_assert!(read(&parts, "PEER", now()).is_err());
    }

    #[test]
    fn a_document_cut_anywhere_is_refused(cut in 0_usize..300) {
        let text = format!(
            "<EDIINTCertificateExchangeResponse xmlns=\"{NAMESPACE}\" requestId=\"r\"><TradingPartnerInfo><Name>PEER</Name>\
             </TradingPartnerInfo><TrustResponse><CertStatus>Accepted</CertStatus></TrustResponse>\
             </EDIINTCertificateExchangeResponse>"
        );
        prop_assert!(Element::read(&text.as_bytes()[..cut.min(text.len() - 1)]).is_err());
    }
}
