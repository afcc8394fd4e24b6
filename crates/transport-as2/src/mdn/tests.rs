use super::{read as read_trusting, *};
use crate::disposition::DispositionError;
use crate::testing::Key;
use model::Retry;
use openssl::hash::MessageDigest;
use std::time::{Duration, UNIX_EPOCH};

fn mdn() -> Mdn {
    Mdn {
        original_recipient: Some("orders@globex.example".into()),
        final_recipient: "GLOBEX Inc".into(),
        original_message_id: Some("<1@acme>".into()),
        disposition: Disposition::Processed,
        mic: Some("c2hhMjU2LWRpZ2VzdA==, sha-256".into()),
        text: "The message was received.".into(),
    }
}

/// Held against these certificates, now.
fn trust(certificates: &[X509]) -> Trust<'_> {
    Trust {
        certificates,
        pgp: &[],
        now: SystemTime::now() + Duration::from_secs(60),
        accept_expired: false,
        legacy: false,
    }
}

fn read(headers: &Headers, body: &[u8], certificates: &[X509]) -> Result<ReadMdn> {
    read_trusting(headers, body, trust(certificates))
}

fn headers(message: &MdnMessage) -> Headers {
    message.headers.iter().fold(Headers::new(), |headers, (name, value)| headers.with(name, value).unwrap())
}

#[test]
fn an_unsigned_receipt_reads_back() {
    let message = mdn().write("b-1", None).unwrap();
    let read = read(&headers(&message), &message.body, &[]).unwrap();
    assert_eq!(read, ReadMdn { mdn: mdn(), signature: SignatureState::None, unknown_type: None });
}

#[test]
fn a_signed_receipt_is_proved_by_the_partners_certificate_alone() {
    let (ours, other) = (Key::new("GLOBEX"), Key::new("OTHER"));
    let message = mdn().write("b-1", Some(ours.signing("b-2"))).unwrap();
    let proved = read(&headers(&message), &message.body, std::slice::from_ref(&ours.certificate)).unwrap();
    let certificate = hexadecimal(&ours.certificate.digest(MessageDigest::sha256()).unwrap());
    let signed = Signature { digest: Digest::Sha256, certificate, component: None, weaknesses: Vec::new() };
    let signature = SignatureState::Proved(signed);
    assert_eq!(proved, ReadMdn { mdn: mdn(), signature, unknown_type: None });
    // What it says is read all the same, and why it proves nothing.
    let unproved = |body: &[u8], certificate: &X509| {
        let read = read(&headers(&message), body, std::slice::from_ref(certificate)).unwrap();
        match read.signature {
            SignatureState::Unproved(unproved) => (read.mdn.disposition, unproved),
            other => panic!("{other:?}"),
        }
    };
    let (disposition, by_another) = unproved(&message.body, &other.certificate);
    assert!(disposition == Disposition::Processed && !by_another.contradicts);
    assert!(by_another.advice.contains("add it to the partner's certificates"), "{by_another:?}");
    let error = by_another.error();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent));
    // Changed on its way: no other certificate would help.
    let mut forged = message.body.clone();
    let at = forged.windows(12).position(|w| w == b"was received").unwrap();
    forged[at..at + 12].copy_from_slice(b"was REceived");
    let (_, changed) = unproved(&forged, &ours.certificate);
    assert!(
        changed.contradicts && changed.advice.contains("another certificate does not help"),
        "{changed:?}"
    );
}

#[test]
fn a_certificate_outside_its_time_proves_nothing_unless_that_was_agreed() {
    let ours = Key::new("GLOBEX");
    let message = mdn().write("b-1", Some(ours.signing("b-2"))).unwrap();
    let at = |now, accept_expired| {
        let trust = Trust { now, accept_expired, ..trust(std::slice::from_ref(&ours.certificate)) };
        read_trusting(&headers(&message), &message.body, trust).unwrap().signature
    };
    let years = |years: u64| UNIX_EPOCH + Duration::from_secs(years * 365 * 86_400);
    let soon = SystemTime::now() + Duration::from_secs(60);
    assert!(matches!(at(soon, false), SignatureState::Proved(_)));
    assert!(matches!(at(years(200), true), SignatureState::Proved(_)));
    let unproved = |now, accept_expired| match at(now, accept_expired) {
        SignatureState::Unproved(unproved) => unproved.error(),
        other => panic!("{other:?}"),
    };
    let error = unproved(years(200), false);
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, Retry::Permanent));
    assert!(error.to_string().contains("accept_expired"), "{error}");
    // What is not valid yet is no old certificate.
    for accept_expired in [false, true] {
        let error = unproved(years(10), accept_expired).to_string();
        assert!(error.contains("not valid yet") && !error.contains("accept_expired"), "{error}");
    }
}

#[test]
fn a_weak_signature_counts_where_that_was_agreed() {
    let ours = Key::new("GLOBEX");
    let short = Key::with_bits("GLOBEX", 1024);
    for (key, digest, weakness) in
        [(&ours, Digest::Sha1, "SHA-1"), (&ours, Digest::Md5, "MD5"), (&short, Digest::Sha256, "1024 bits")]
    {
        let message = mdn().write("b-1", Some(Signing { digest, ..key.signing("b-2") })).unwrap();
        let signature = |legacy| {
            let trust = Trust { legacy, ..trust(std::slice::from_ref(&key.certificate)) };
            read_trusting(&headers(&message), &message.body, trust).unwrap().signature
        };
        match signature(false) {
            SignatureState::Unproved(unproved) => {
                assert!(unproved.reason.contains(weakness) && unproved.advice.contains("legacy = true"));
            }
            other => panic!("{other:?}"),
        }
        match signature(true) {
            SignatureState::Proved(signature) => {
                assert!(signature.weaknesses[0].to_string().contains(weakness), "{signature:?}");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_words_of_an_error_may_stand_in_a_field_of_their_own() {
    let report = Headers::new().with("Content-Type", "multipart/report; boundary=x").unwrap();
    for (fields, expected) in [
        ("Disposition: x; processed/error\r\nError: decryption-failed", DispositionError::DecryptionFailed),
        ("Disposition: x; processed/Error:\r\nError: decryption-failed", DispositionError::DecryptionFailed),
        (
            "Disposition: x; processed/error: decryption-failed\r\nError: other",
            DispositionError::DecryptionFailed,
        ),
    ] {
        let body =
            format!("--x\r\nContent-Type: message/disposition-notification\r\n\r\n{fields}\r\n\r\n--x--\r\n");
        let read = read(&report, body.as_bytes(), &[]).unwrap();
        assert_eq!(read.mdn.disposition, Disposition::Error(expected), "{fields}");
    }
}

#[test]
fn receipts_as_partners_write_them() {
    let body = b"\r\nThis is a preamble\r\n--x\r\n\r\nhello\r\n--x\r\ncontent-type: Message/Disposition-Notification\r\n\r\n\
        Final-Recipient:rfc822;GLOBEX\r\nOriginal-Message-ID: 1@acme\r\ndisposition: automatic-action/MDN-sent-automatically;Processed/Error:decryption-failed\r\n\
        Received-Content-MIC: AAAA,sha1\r\n\r\n--x--\r\nepilogue";
    let headers = Headers::new().with("Content-Type", "multipart/report; boundary=x").unwrap();
    let read = read(&headers, body, &[]).unwrap();
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
        let error = read(headers, body, std::slice::from_ref(&ours.certificate)).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Protocol, Retry::Ambiguous), "{error:?}");
    }
    // What was read, and is no word for success, is the partner's answer.
    let body = b"--x\r\nContent-Type: message/disposition-notification\r\n\r\nDisposition: x; deleted\r\n\r\n--x--\r\n";
    assert_eq!(read(&report, body, &[]).unwrap_err().retry(), Retry::Permanent);
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

/// The receipt of "HTTP Transport for Secure EDI", appendix C.2, with its header fields as they are printed: no report-type, no
/// protocol, no `;` in the disposition. The signature that the print leaves out is made here.
#[test]
fn the_receipt_of_appendix_c_2_is_read_as_printed() {
    let key = Key::new("zzzcompany2");
    let body = b"--boundary2\r\nContent-type: text/plain\r\n\r\nMessage <20011106@company1.com> was authenticated;\r\n\
        EDI processing was initiated.\r\n\r\n--boundary2\r\nContent-type: message/disposition-notification\r\n\r\n\
        Reporting-UA: Company2UA\r\nFinal-Recipient: rfc822; tp2@company2.com\r\n\
        Original-Message-Id: <20011106@company1.com>\r\nReceived-Content-MIC: w7AguNJEmhF/qIjJw6LnnA==, rsa-md5\r\n\
        Disposition: MDN-sent-automatically/processed\r\n\r\n--boundary2--\r\n";
    let essence = "multipart/report; boundary=\"boundary2\"".to_owned();
    let signed = message(essence, body.to_vec(), Some(key.signing("boundary1"))).unwrap();
    let printed = Headers::new()
        .with("AS2-To", "zzzcompany1")
        .and_then(|headers| headers.with("AS2-From", "zzzcompany2"))
        .and_then(|headers| headers.with("Content-type", "multipart/signed; boundary=\"boundary1\""))
        .unwrap();
    let read = read(&printed, &signed.body, std::slice::from_ref(&key.certificate)).unwrap();
    assert!(matches!(read.signature, SignatureState::Proved(_)), "{:?}", read.signature);
    assert_eq!(read.mdn.disposition, Disposition::Processed);
    assert_eq!(read.mdn.original_message_id.as_deref(), Some("<20011106@company1.com>"));
    assert_eq!(read.mdn.mic.as_deref(), Some("w7AguNJEmhF/qIjJw6LnnA==, rsa-md5"));
    assert_eq!(read.mdn.final_recipient, "tp2@company2.com");
    assert!(read.mdn.text.starts_with("Message <20011106@company1.com> was authenticated;"));
}
