mod offsets;
mod recipe;

use super::*;
use crate::agreement::SendSecurity;
use crate::testing::Key;
use proptest::prelude::*;
use smime::{DecryptionKey, KeyTransport, Keys, MicRule, Part, PartReceiver, ReadOptions, Report};
use std::io::{self, Cursor, Write};
use std::sync::LazyLock;

struct Only<'a>(&'a mut Vec<u8>, &'a mut Option<String>);

impl PartReceiver for Only<'_> {
    fn begin(&mut self, part: &Part) -> io::Result<Box<dyn Write + '_>> {
        *self.1 = part.file_name();
        Ok(Box::new(&mut *self.0))
    }
}

/// Made once: making a key takes longer than any of these tests.
static KEYS: LazyLock<(Key, Key)> = LazyLock::new(|| (Key::new("ACME"), Key::new("GLOBEX")));

fn send(security: SendSecurity, payload: &[u8], name: &[u8]) -> (Outgoing, Key, Key) {
    let (acme, globex) = KEYS.clone();
    let agreement = Agreement { send_security: security, ..Agreement::default() };
    let out = send_as(&agreement, &acme, payload, name, MadeOnce::default()).unwrap();
    (out, acme, globex)
}

/// From ACME, with this key, to GLOBEX.
fn send_as(
    agreement: &Agreement,
    acme: &Key,
    payload: &[u8],
    name: &[u8],
    made_once: MadeOnce,
) -> Result<Outgoing> {
    let content_key = EncryptedContentKey::generate(
        cipher(agreement.cipher),
        std::slice::from_ref(&KEYS.1.certificate),
        KeyTransport::default(),
    );
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "boundary-1".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: Some(content_key.unwrap()),
    };
    let own = OwnKey { key: acme.key.clone(), certificate: acme.certificate.clone() };
    let envelope = Envelope {
        from: &As2Id::try_from("ACME".to_owned()).unwrap(),
        to: &As2Id::try_from("GLOBEX Inc".to_owned()).unwrap(),
        agreement,
        own: Some(&own),
        seed: &seed,
        made_once,
        media_type: "application/edi-x12",
        file_name: &RemotePath::from_bytes(name),
    };
    build(&envelope, Box::new(Cursor::new(payload.to_vec())), payload.len() as u64)
}

fn receive(out: Outgoing, acme: &Key, globex: &Key) -> (Report, Vec<u8>, Option<String>, MicSlot) {
    let headers = out.headers.iter().fold(Headers::new(), |h, (name, value)| h.with(name, value).unwrap());
    let length = out.length();
    let mut bytes = Vec::new();
    let mut body = out.body;
    body.read_to_end(&mut bytes).unwrap();
    assert!(length.is_none_or(|length| bytes.len() as u64 == length));
    let decrypt = [DecryptionKey { key: globex.key.clone(), certificate: globex.certificate.clone() }];
    let keys = Keys { decrypt: &decrypt, verify: std::slice::from_ref(&acme.certificate) };
    let (mut payload, mut name) = (Vec::new(), None);
    let report = smime::read_message(
        &headers,
        &bytes[..],
        keys,
        &ReadOptions::default(),
        &mut Only(&mut payload, &mut name),
    )
    .unwrap();
    (report, payload, name, out.mic)
}

#[test]
fn every_security_reads_back_with_its_mic() {
    let payload = b"ISA*00*\nST*850\n\r\0binary\xff";
    for security in SendSecurity::ALL {
        let (out, acme, globex) = send(*security, payload, b"po 850.edi");
        let (report, bytes, name, mic) = receive(out, &acme, &globex);
        assert_eq!(bytes, payload, "{security}");
        assert_eq!(name.as_deref(), Some("po 850.edi"), "{security}");
        assert_eq!(report.encrypted().is_some(), security.encrypts(), "{security}");
        assert_eq!(report.signed().is_some(), security.signs(), "{security}");
        assert_eq!(report.mic(Digest::Sha256), mic.get(), "{security}");
    }
}

#[test]
fn the_rules_are_computed_from_what_was_sent() {
    let payload = b"ISA*00*\r\nST*850\r\n";
    for security in SendSecurity::ALL {
        let (mut out, ..) = send(*security, payload, b"po 850.edi");
        let every = smime::every_mic(&out.content_headers, &payload[..], Digest::Sha256).unwrap();
        io::copy(&mut out.body, &mut io::sink()).unwrap();
        let rule = if *security == SendSecurity::None { MicRule::Content } else { MicRule::Entity };
        let found = every.iter().find(|ruled| ruled.rule == rule).unwrap();
        assert_eq!(Some(&found.mic), out.mic.get(), "{security}");
        // With the headers that the partner sees.
        let encoding = out.content_headers.windows(25).any(|w| w == b"Content-Transfer-Encoding");
        assert_eq!(encoding, *security != SendSecurity::None, "{security}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let (acme, globex) = (Key::new("ACME"), Key::new("GLOBEX"));
    let agreement = Agreement::default();
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "b".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: Some(
            EncryptedContentKey::generate(
                cipher(agreement.cipher),
                &[globex.certificate],
                KeyTransport::default(),
            )
            .unwrap(),
        ),
    };
    let kept = EncryptedContentKey::from_bytes(&seed.content_key.as_ref().unwrap().to_bytes()).unwrap();
    let again = MessageSeed { content_key: Some(kept), ..seed.clone() };
    let own = OwnKey { key: acme.key, certificate: acme.certificate };
    let id = As2Id::try_from("ACME".to_owned()).unwrap();
    let name = RemotePath::from("a.edi");
    let bytes = |seed: &MessageSeed| {
        let envelope = Envelope {
            from: &id,
            to: &id,
            agreement: &agreement,
            own: Some(&own),
            seed,
            made_once: MadeOnce::default(),
            media_type: "text/plain",
            file_name: &name,
        };
        let mut out = build(&envelope, Box::new(Cursor::new(b"abc".to_vec())), 3).unwrap();
        let mut body = Vec::new();
        out.body.read_to_end(&mut body).unwrap();
        (out.headers, body)
    };
    assert_eq!(bytes(&seed), bytes(&again));
}

#[test]
fn headers_carry_no_transfer_encoding_and_ask_for_the_receipt() {
    let (out, ..) = send(SendSecurity::None, b"x", b"a.txt");
    let get = |name: &str| out.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    assert_eq!(get("Content-Transfer-Encoding"), None);
    assert_eq!(get("AS2-To"), Some("\"GLOBEX Inc\""));
    assert_eq!(get("Message-ID"), Some("<1@acme>"));
    assert_eq!(get("Date"), Some("Tue, 14 Nov 2023 22:13:20 GMT"));
    assert!(get("Disposition-Notification-Options").unwrap().contains("sha-256"));
    assert!(get("Disposition-Notification-To").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn file_names_survive(name in "[^/\0]{1,60}") {
        let (out, acme, globex) = send(SendSecurity::None, b"x", name.as_bytes());
        let (_, _, back, _) = receive(out, &acme, &globex);
        prop_assert_eq!(back.unwrap_or_default(), name);
    }
}

#[test]
fn a_name_that_begins_with_a_byte_order_mark_keeps_it() {
    let (out, acme, globex) = send(SendSecurity::None, b"x", "\u{feff}order.edi".as_bytes());
    let (_, _, back, _) = receive(out, &acme, &globex);
    assert_eq!(back.as_deref(), Some("\u{feff}order.edi"));
}

#[test]
fn every_order_of_layers_is_read_back_and_has_the_mic_of_its_receipt() {
    let (acme, globex) = KEYS.clone();
    let large: Vec<u8> = (0..=THREADS_FROM).map(|n| (n * 31 % 251) as u8).collect();
    let mut seen = std::collections::BTreeSet::new();
    for send_security in SendSecurity::ALL.iter().copied() {
        for compress in Compression::ALL.iter().copied() {
            for order in Order::ALL.iter().copied() {
                for signature_form in SignatureForm::ALL.iter().copied() {
                    let agreement =
                        Agreement { send_security, compress, order, signature_form, ..Agreement::default() };
                    let wrapped = layers(&agreement);
                    let text = format!("{wrapped:?} {signature_form}");
                    // The second one is made by several threads.
                    for sent in [&b"ISA*00*"[..], &large[..]] {
                        let out = send_as(&agreement, &acme, sent, b"a.edi", MadeOnce::default()).unwrap();
                        assert_eq!(out.length().is_none(), compress != Compression::No, "{text}");
                        let (report, payload, name, mic) = receive(out, &acme, &globex);
                        assert!(payload == sent && name.as_deref() == Some("a.edi"), "{text}");
                        assert_eq!(report.signed().is_some(), send_security.signs(), "{text}");
                        assert_eq!(report.encrypted().is_some(), send_security.encrypts(), "{text}");
                        if !wrapped.is_empty() {
                            assert_eq!(report.mic(Digest::Sha256), mic.get(), "{text}");
                        }
                    }
                    seen.insert(text);
                }
            }
        }
    }
    // Of signing and encrypting: 2 without compression, 4 with; of each alone: 1 and 2, 1 and 1; and none, and compressed.
    let orders: std::collections::BTreeSet<_> = seen.iter().map(|text| text.split(']').next()).collect();
    assert_eq!(orders.len(), 6 + 3 + 2 + 2, "{orders:#?}");
}

#[test]
fn a_signature_is_noted_before_it_leaves_and_repeated_with_every_key() {
    let globex = &KEYS.1;
    let pss = Agreement { rsa_signature: RsaSignature::Pss, ..Agreement::default() };
    for (acme, agreement, notes) in [
        (Key::new("ACME"), Agreement::default(), 0),
        (Key::new("ACME"), pss, 1),
        (Key::ec("ACME"), Agreement::default(), 1),
        (Key::ed25519("ACME"), Agreement::default(), 0),
    ] {
        for signature_form in SignatureForm::ALL.iter().copied() {
            let agreement =
                Agreement { send_security: SendSecurity::Signed, signature_form, ..agreement.clone() };
            let noted = Arc::new(std::sync::Mutex::new(Vec::new()));
            let note: OnSignature = {
                let noted = Arc::clone(&noted);
                Arc::new(move |signature: &Signature| {
                    noted.lock().unwrap().push(signature.clone());
                    Ok(())
                })
            };
            let bytes = |made_once: &MadeOnce| {
                let mut out = send_as(&agreement, &acme, b"abc", b"a.edi", made_once.clone()).unwrap();
                let (mut bytes, length) = (Vec::new(), out.length());
                out.body.read_to_end(&mut bytes).unwrap();
                assert_eq!(length, Some(bytes.len() as u64), "{:?}", acme.key.id());
                bytes
            };
            let made_once = MadeOnce::new(None, Arc::clone(&note));
            let first = bytes(&made_once);
            assert_eq!(bytes(&made_once), first);
            // Another attempt knows the note alone.
            let earlier = noted.lock().unwrap().last().cloned();
            assert_eq!(bytes(&MadeOnce::new(earlier, note)), first);
            assert_eq!(noted.lock().unwrap().len(), notes, "{:?}", acme.key.id());
            let out = send_as(&agreement, &acme, b"abc", b"a.edi", MadeOnce::default()).unwrap();
            let (report, payload, ..) = receive(out, &acme, globex);
            assert!(report.signed().is_some() && payload == b"abc", "{:?}", acme.key.id());

            // What could not be noted does not leave.
            let fails: OnSignature = Arc::new(|_: &Signature| Err(io::Error::other("the database is away")));
            let mut out = send_as(&agreement, &acme, b"abc", b"a.edi", MadeOnce::new(None, fails)).unwrap();
            let mut sent = Vec::new();
            let result = out.body.read_to_end(&mut sent);
            assert_eq!(result.is_err(), notes > 0, "{:?}", acme.key.id());
            if let Err(error) = result {
                assert!(error.to_string().contains("away") && sent.len() < first.len(), "{error}");
            }
        }
    }
}

#[test]
fn a_large_payload_that_cannot_be_read_is_never_sent_as_a_whole_message() {
    struct Broken(u64);
    impl io::Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = into.len().min(usize::try_from(self.0).unwrap());
            self.0 -= count as u64;
            let error = || io::Error::other(Error::transient(ErrorKind::Unreachable, "read it"));
            if count > 0 { Ok(count) } else { Err(error()) }
        }
    }
    let (acme, _) = KEYS.clone();
    let own = OwnKey { key: acme.key, certificate: acme.certificate };
    for security in SendSecurity::ALL.iter().copied() {
        let agreement = Agreement { send_security: security, ..Agreement::default() };
        let id = As2Id::try_from("ACME".to_owned()).unwrap();
        let content_key = EncryptedContentKey::generate(
            cipher(agreement.cipher),
            std::slice::from_ref(&KEYS.1.certificate),
            KeyTransport::default(),
        );
        let seed = MessageSeed {
            message_id: "<1@acme>".into(),
            boundary: "boundary-1".into(),
            date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
            content_key: Some(content_key.unwrap()),
        };
        let envelope = Envelope {
            from: &id,
            to: &id,
            agreement: &agreement,
            own: Some(&own),
            seed: &seed,
            made_once: MadeOnce::default(),
            media_type: "text/plain",
            file_name: &RemotePath::from("a.edi"),
        };
        let length = 3 * THREADS_FROM;
        let mut out = build(&envelope, Box::new(Broken(length - 1)), length).unwrap();
        let mut sent = Vec::new();
        let error = out.body.read_to_end(&mut sent).unwrap_err().downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{security}");
        assert!((sent.len() as u64) < length, "{security}");
    }
}
