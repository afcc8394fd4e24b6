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
    let seed = MessageSeed {
        message_id: "<1@acme>".into(),
        boundary: "boundary-1".into(),
        date: chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap(),
        content_key: Some(
            EncryptedContentKey::generate(
                cipher(agreement.cipher),
                std::slice::from_ref(&globex.certificate),
                KeyTransport::default(),
            )
            .unwrap(),
        ),
    };
    let own = OwnKey { key: acme.key.clone(), certificate: acme.certificate.clone() };
    let envelope = Envelope {
        from: &As2Id::try_from("ACME".to_owned()).unwrap(),
        to: &As2Id::try_from("GLOBEX Inc".to_owned()).unwrap(),
        agreement: &agreement,
        own: Some(&own),
        seed: &seed,
        media_type: "application/edi-x12",
        file_name: &RemotePath::from_bytes(name),
    };
    let out = build(&envelope, Box::new(Cursor::new(payload.to_vec())), payload.len() as u64).unwrap();
    (out, acme, globex)
}

fn receive(out: Outgoing, acme: &Key, globex: &Key) -> (Report, Vec<u8>, Option<String>, MicSlot) {
    let headers = out.headers.iter().fold(Headers::new(), |h, (name, value)| h.with(name, value).unwrap());
    let length = out.length().unwrap();
    let mut bytes = Vec::new();
    let mut body = out.body;
    body.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, length);
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
fn names_that_are_no_text_go_out_as_latin_1() {
    assert_eq!(file_name_parameter(b"caf\xe9.txt"), "filename*=ISO-8859-1''caf%E9.txt");
    assert_eq!(file_name_parameter(b"a\"b.txt"), "filename=\"a\\\"b.txt\"");
}
