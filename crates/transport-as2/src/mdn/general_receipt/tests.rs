use super::*;
use crate::mdn::{self, SignatureState, Trust};
use crate::reply::mic_of;
use crate::report_types::{GISB_ACKNOWLEDGEMENT, GISB_ERROR};
use crate::testing::Key;
use proptest::prelude::*;
use std::time::SystemTime;
use transport::StoredReply;

const MIC: &str = "w7AguNJEmhF/qIjJw6LnnA==, rsa-md5";

fn receipt<'a>(
    kind: &'a ReportType,
    disposition: &'a Disposition,
    original: &'a [(String, String)],
) -> GeneralReceipt<'a> {
    GeneralReceipt {
        kind,
        disposition,
        mic: disposition.is_positive().then_some(MIC),
        message_id: Some("<1@acme>"),
        original,
        at: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        transaction: "42",
        text: "Words & more.\nSubject: <b>",
    }
}

fn read_whole(
    headers: &[(String, String)],
    body: &[u8],
    types: &[ReportType],
    key: Option<&Key>,
) -> mdn::ReadMdn {
    let headers =
        headers.iter().fold(Headers::new(), |headers, (name, value)| headers.with(name, value).unwrap());
    let certificates: Vec<_> = key.iter().map(|key| key.certificate.clone()).collect();
    let trust = Trust {
        certificates: &certificates,
        pgp: &[],
        now: SystemTime::now(),
        accept_expired: false,
        legacy: false,
    };
    mdn::read_of_types(&headers, body, trust, types, None).unwrap()
}

#[test]
fn what_is_written_is_read_in_every_syntax_signed_and_not() {
    let key = Key::new("GLOBEX");
    for syntax in ReportSyntax::ALL {
        let kind = ReportType {
            syntax: *syntax,
            success: vec!["taken".into()],
            ..ReportType::named("ACME-Receipt")
        };
        let original = [("Transaction-set".to_owned(), "850".to_owned())];
        let processed = Disposition::Processed;
        let receipt = receipt(&kind, &processed, &original);
        for signer in [None, Some(&key)] {
            let (essence, body) = receipt.report("b-1");
            let message = mdn::message(essence, body, signer.map(|key| key.signing("b-2"))).unwrap();
            let types = std::slice::from_ref(&kind);
            let read = read_whole(&message.headers, &message.body, types, signer);
            assert_eq!(read.mdn.disposition, Disposition::Processed, "{syntax}");
            assert_eq!(read.mdn.mic.as_deref(), Some(MIC), "{syntax}");
            assert_eq!(read.mdn.original_message_id.as_deref(), Some("<1@acme>"), "{syntax}");
            assert!(read.mdn.text.contains("Words & more."), "{}", read.mdn.text);
            assert_eq!(signer.is_some(), matches!(read.signature, SignatureState::Proved(_)), "{syntax}");
        }
        // The same MIC is found again for a repeated message.
        let (_, body) = receipt.report("b-1");
        let reply = StoredReply { status: 200, headers: Vec::new(), body };
        assert_eq!(mic_of(&reply).as_deref(), Some(MIC), "{syntax}");
        let refused = Disposition::Error(DispositionError::DecryptionFailed);
        let receipt = GeneralReceipt { disposition: &refused, mic: None, ..receipt };
        let (essence, body) = receipt.report("b-1");
        let read = read_whole(&[("Content-Type".into(), essence)], &body, std::slice::from_ref(&kind), None);
        assert!(
            !read.mdn.disposition.is_positive()
                && read.mdn.disposition.to_string().contains("decryption-failed")
        );
    }
}

/// The acknowledgement of appendix B: an HTML part and a part for programs. What the print has lost is filled in.
#[test]
fn the_acknowledgement_of_appendix_b_is_read_as_printed() {
    let body = "--GISB7867\r\nContent-type: text/html\r\n\r\n\
        <HTML><HEAD><TITLE>Acknowledgement Receipt Success</TITLE></HEAD>\r\n</P> </BODY></HTML>\r\n\
        --GISB7867\r\nContent-type: text/plain\r\n\r\nSTATUS\r\n--GISB7867--\r\n";
    let headers = [(
        "Content-Type".to_owned(),
        "multipart/report; report-type=\"GISB-Acknowledgement-Receipt\"; boundary=\"GISB7867\"".to_owned(),
    )];
    let ok = "time-c=20000511112321*\r\nrequest-status=ok*\r\nserver-id=coyote*\r\ntrans-id=234234897*";
    for (status, positive) in [
        ("", true),
        (ok, true),
        ("request-status=EEDM105: no such partner*", false),
        ("request-status=OK*", true),
    ] {
        let read = read_whole(&headers, body.replace("STATUS", status).as_bytes(), &[], None);
        assert_eq!(read.mdn.disposition.is_positive(), positive, "{status}");
        assert_eq!((read.mdn.original_message_id, read.mdn.mic), (None, None));
    }
    let failed = body.replace("Success", "Error").replace("STATUS", "");
    assert!(!read_whole(&headers, failed.as_bytes(), &[], None).mdn.disposition.is_positive());
}

#[test]
fn gisb_receipts_have_an_html_part_and_assignments() {
    let kind = report_type(&[], GISB_ACKNOWLEDGEMENT).unwrap();
    let original = [("RefNum".to_owned(), "42".to_owned())];
    let processed = Disposition::Processed;
    let (essence, body) = receipt(&kind, &processed, &original).report("b");
    assert_eq!(essence, "multipart/report; report-type=\"GISB-Acknowledgement-Receipt\"; boundary=\"b\"");
    let text = String::from_utf8(body).unwrap();
    let (html, plain) = text.split_once("Content-Type: text/plain").unwrap();
    assert!(
        html.contains("Content-Type: text/html")
            && html.contains("<TITLE>Acknowledgement Receipt Success</TITLE>")
    );
    assert!(html.contains("Words &amp; more.") && html.contains("&lt;b&gt;"), "{html}");
    for said in ["\r\nrequest-status=ok*\r\n", "\r\ntrans-id=42*\r\n", "\r\nOriginal-RefNum: 42\r\n"] {
        assert!(plain.contains(said), "{plain}");
    }
    let kind = report_type(&[], GISB_ERROR).unwrap();
    let (essence, body) = receipt(&kind, &processed, &original).report("b");
    let read = read_whole(&[("Content-Type".into(), essence)], &body, &[], None);
    assert!(!read.mdn.disposition.is_positive() && read.mdn.mic.is_none());
}

#[test]
fn a_report_of_a_type_that_is_not_known_acknowledges_nothing() {
    let body = b"--b\r\nContent-Type: text/plain\r\n\r\nThe message could not be delivered.\r\n--b\r\n\
        Content-Type: message/delivery-status\r\n\r\nAction: failed\r\n--b--\r\n";
    let headers = Headers::new()
        .with("Content-Type", "multipart/report; report-type=delivery-status; boundary=b")
        .unwrap();
    let trust =
        Trust { certificates: &[], pgp: &[], now: SystemTime::now(), accept_expired: false, legacy: false };
    let error = mdn::read_of_types(&headers, body, trust, &[], None).unwrap_err();
    assert_eq!(error.retry(), model::Retry::Ambiguous, "{}", error.chain());
    // Where it is not known what was agreed, it is read, and its type is named.
    let read = mdn::read(&headers, body, trust).unwrap();
    assert_eq!(read.unknown_type.as_deref(), Some("delivery-status"));
    // Posted as a notification of an error, it is one.
    let read = mdn::read_of_types(&headers, body, trust, &[], Some(GISB_ERROR)).unwrap();
    assert!(!read.mdn.disposition.is_positive());
}

#[test]
fn a_mic_is_read_in_both_forms_of_the_document() {
    for said in [
        "Received-Content-MIC: w7AguNJEmhF/qIjJw6LnnA==, rsa-md5",
        "x-received-content-mic: w7AguNJEmhF/qIjJw6LnnA==, rsa-md5",
        "<Receipt><ReceivedContentMic algid=rsa-md5 encode=base64 >\r\nw7AguNJEmhF/qIjJw6LnnA==</ReceivedContentMic></Receipt>",
        "<ReceivedContentMic encode=\"base64\" algid='rsa-md5'>w7AguNJEmhF/qIjJw6LnnA==</ReceivedContentMic>",
    ] {
        let parts =
            [("text/html".to_owned(), b"ok".to_vec()), ("text/plain".to_owned(), said.as_bytes().to_vec())];
        let mdn = read("ACME", &parts, &[]).unwrap();
        assert_eq!(mdn.mic.as_deref(), Some(MIC), "{said}");
    }
    let parts = [
        ("text/html".to_owned(), b"ok".to_vec()),
        ("text/plain".to_owned(), b"Original-RefNum: 0042".to_vec()),
    ];
    assert_eq!(read("ACME", &parts, &[]).unwrap().original_message_id.as_deref(), Some("refnum:42"));
    assert!(read("ACME", &[], &[]).is_err());
}

proptest! {
    #[test]
    fn no_part_panics(first in ".{0,200}", second in "([a-z<>=:\"*/ \r\n]|<title>|algid=|request-status){0,60}") {
        let parts = [
            ("text/html".to_owned(), first.into_bytes()), ("text/plain".to_owned(), second.into_bytes()),
        ];
        for kind in ["ACME", GISB_ACKNOWLEDGEMENT, GISB_ERROR] {
            let _ = read(kind, &parts, &[]).unwrap();
        }
    }
}
