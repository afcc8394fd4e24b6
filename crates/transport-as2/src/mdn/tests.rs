use super::*;
use crate::disposition::DispositionError;
use crate::testing::Key;
use openssl::hash::MessageDigest;
use std::time::{Duration, UNIX_EPOCH};

fn mdn() -> Mdn {
    Mdn {
        final_recipient: "GLOBEX Inc".into(),
        original_message_id: Some("<1@acme>".into()),
        disposition: Disposition::Processed,
        mic: Some("c2hhMjU2LWRpZ2VzdA==, sha-256".into()),
        text: "The message was received.".into(),
    }
}

fn headers(message: &MdnMessage) -> Headers {
    message.headers.iter().fold(Headers::new(), |headers, (name, value)| headers.with(name, value).unwrap())
}

#[test]
fn an_unsigned_receipt_reads_back() {
    let message = mdn().write("b-1", None).unwrap();
    let read = read(&headers(&message), &message.body, &[], None).unwrap();
    assert_eq!(read, ReadMdn { mdn: mdn(), signed: None });
}

#[test]
fn a_signed_receipt_is_proved_by_the_partners_certificate_alone() {
    let (ours, other) = (Key::new("GLOBEX"), Key::new("OTHER"));
    let message = mdn().write("b-1", Some(ours.signing("b-2"))).unwrap();
    let proved =
        read(&headers(&message), &message.body, std::slice::from_ref(&ours.certificate), None).unwrap();
    let certificate = hexadecimal(&ours.certificate.digest(MessageDigest::sha256()).unwrap());
    let signed = Some(Signature { digest: Digest::Sha256, certificate });
    assert_eq!(proved, ReadMdn { mdn: mdn(), signed });
    let error = read(&headers(&message), &message.body, &[other.certificate], None).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent));
    let mut forged = message.body.clone();
    let at = forged.windows(9).position(|w| w == b"processed").unwrap();
    forged[at..at + 9].copy_from_slice(b"processes");
    assert_eq!(
        read(&headers(&message), &forged, &[ours.certificate], None).unwrap_err().kind(),
        ErrorKind::TrustFailed
    );
}

#[test]
fn a_certificate_outside_its_time_proves_nothing_unless_that_was_agreed() {
    let ours = Key::new("GLOBEX");
    let message = mdn().write("b-1", Some(ours.signing("b-2"))).unwrap();
    let at = |time| read(&headers(&message), &message.body, std::slice::from_ref(&ours.certificate), time);
    let years = |years: u64| UNIX_EPOCH + Duration::from_secs(years * 365 * 86_400);
    assert!(at(Some(SystemTime::now() + Duration::from_secs(60))).is_ok());
    assert!(at(None).is_ok());
    for time in [years(10), years(200)] {
        let error = at(Some(time)).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent));
        assert!(error.to_string().contains("accept_expired"), "{error}");
    }
}

#[test]
fn receipts_as_partners_write_them() {
    let body = b"\r\nThis is a preamble\r\n--x\r\n\r\nhello\r\n--x\r\ncontent-type: Message/Disposition-Notification\r\n\r\n\
        Final-Recipient:rfc822;GLOBEX\r\nOriginal-Message-ID: 1@acme\r\ndisposition: automatic-action/MDN-sent-automatically;Processed/Error:decryption-failed\r\n\
        Received-Content-MIC: AAAA,sha1\r\n\r\n--x--\r\nepilogue";
    let headers = Headers::new().with("Content-Type", "multipart/report; boundary=x").unwrap();
    let read = read(&headers, body, &[], None).unwrap();
    assert_eq!(read.mdn.disposition, Disposition::Error(DispositionError::DecryptionFailed));
    assert_eq!((read.mdn.mic, read.mdn.final_recipient.as_str()), (None, "GLOBEX"));
}

#[test]
fn answers_that_are_no_receipt_leave_it_open_whether_the_partner_has_the_message() {
    let ours = Key::new("GLOBEX");
    let html = Headers::new().with("Content-Type", "text/html").unwrap();
    let report = Headers::new().with("Content-Type", "multipart/report; boundary=x").unwrap();
    let signed = mdn().write("b-1", Some(ours.signing("b-2"))).unwrap();
    let cut = |length: usize| &signed.body[..length];
    let closing = signed.body.windows(7).rposition(|w| w == b"--b-2--").unwrap();
    let huge = vec![b'a'; LARGEST_MDN + 1];
    for (headers, body) in [
        (&html, &b"<h1>Welcome</h1>"[..]),
        (&Headers::new(), b""),
        (&report, b"\r\n"),
        (&html, &huge),
        (&report, b"--x\r\nContent-Type: text/plain\r\n\r\nhello\r\n--x--\r\n"),
        (
            &report,
            b"--x\r\nContent-Type: message/disposition-notification\r\n\r\nReporting-UA: y\r\n\r\n--x--\r\n",
        ),
        (&headers(&signed), cut(40)),
        (&headers(&signed), cut(signed.body.len() / 2)),
        (&headers(&signed), cut(closing)),
    ] {
        let error = read(headers, body, std::slice::from_ref(&ours.certificate), None).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Ambiguous), "{error:?}");
    }
    // What was read, and is no word for success, is the partner's answer.
    let body = b"--x\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: x; deleted\r\n\r\n--x--\r\n";
    assert_eq!(read(&report, body, &[], None).unwrap_err().retry(), Retry::Permanent);
}

#[test]
fn texts_cannot_break_out_of_their_line() {
    let mut bad = mdn();
    bad.original_message_id = Some("<1@acme>\r\nDisposition: x; processed".into());
    bad.disposition = Disposition::Error(DispositionError::Other("x\r\n\r\n--b-1".into()));
    let message = bad.write("b-1", None).unwrap();
    let text = String::from_utf8(message.body).unwrap();
    assert_eq!(text.matches("\r\nDisposition:").count(), 1);
    assert_eq!(text.matches("\r\n--b-1").count(), 2);
}

#[test]
fn mics_compare_by_digest_and_by_any_spelling_of_the_name() {
    let mic = Mic { algorithm: Digest::Sha256, digest: vec![1, 2, 3] };
    for (text, same) in [
        ("AQID, sha-256", true),
        ("AQID,SHA256", true),
        ("AQID, sha2_256", true),
        ("AQID", true),
        ("AQID, sha1", false),
        ("aqid, sha-256", false),
        ("", false),
    ] {
        assert_eq!(mic_matches(text, &mic), same, "{text}");
    }
}
