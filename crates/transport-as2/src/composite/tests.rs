use super::*;
use crate::agreement::SendSecurity;
use crate::mdn::Mdn;
use crate::testing::Key;
use proptest::prelude::*;
use smime::{Cipher, EncryptedContentKey, Entity, KeyTransport, Measured, Payload, Wrapping};
use std::sync::{LazyLock, Mutex};
use transport::StagedPayload;

static OURS: LazyLock<Key> = LazyLock::new(|| Key::new("OURS"));
static THEIRS: LazyLock<Key> = LazyLock::new(|| Key::new("THEIRS"));
static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::new("SOMEBODY"));

/// Staging in memory.
#[derive(Clone, Default)]
struct Area(Arc<Mutex<Vec<Vec<u8>>>>);

struct Writer {
    area: Area,
    at: usize,
}

impl StagingArea for Area {
    fn begin(&self) -> Result<Box<dyn PartWriter>> {
        let mut parts = self.0.lock().unwrap();
        parts.push(Vec::new());
        Ok(Box::new(Writer { area: self.clone(), at: parts.len() - 1 }))
    }
}

impl PartWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.area.0.lock().unwrap()[self.at].extend_from_slice(bytes);
        Ok(())
    }

    fn length(&self) -> u64 {
        self.area.0.lock().unwrap()[self.at].len() as u64
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        let parts = self.area.0.lock().unwrap();
        let rest = &parts[self.at][usize::try_from(offset).unwrap()..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn commit(self: Box<Self>) -> Result<StagedPayload> {
        panic!("nothing is committed while it is read")
    }
}

fn reader(security: SendSecurity, largest: u64) -> CompositeReader {
    let key = DecryptionKey { key: OURS.key.clone(), certificate: OURS.certificate.clone() };
    CompositeReader {
        keys: vec![key],
        certificates: vec![THEIRS.certificate.clone()],
        pgp: PgpReading::default(),
        now: SystemTime::now(),
        agreement: Agreement { receive_security: security, largest_message: largest, ..Agreement::default() },
        digest: Digest::Sha256,
        staging: Arc::new(Area::default()),
        message_id: "<1@ours>".into(),
        keeps_signed: true,
    }
}

/// An entity as a part of a multipart: its header section, an empty line, its body.
fn written<B: Measured>(entity: Entity<B>) -> Vec<u8> {
    let mut bytes = Vec::new();
    entity.into_stream().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn file(content: &[u8]) -> Entity<Payload<&[u8]>> {
    let headers = Headers::new()
        .with("Content-Type", "application/edi-x12")
        .unwrap()
        .with("Content-Disposition", "attachment; filename=quote.edi")
        .unwrap()
        .with("Content-Transfer-Encoding", "binary")
        .unwrap();
    Entity::new(headers, Payload::new(content, content.len() as u64))
}

fn encrypted(content: &[u8]) -> Vec<u8> {
    let signed = file(content).sign(THEIRS.signing("s-1")).unwrap();
    let recipients = [OURS.certificate.clone()];
    let key = EncryptedContentKey::generate(Cipher::Aes256Cbc, &recipients, KeyTransport::Pkcs1v15).unwrap();
    written(signed.encrypt(key).unwrap())
}

/// A receipt as a part, signed by this key.
fn receipt(signer: Option<&Key>) -> Vec<u8> {
    let said = Mdn {
        original_recipient: None,
        final_recipient: "OURS".into(),
        original_message_id: Some("<1@ours>".into()),
        disposition: Disposition::parse("x; processed").unwrap(),
        mic: Some("AQID, sha-256".into()),
        text: "Words.".into(),
    };
    let message = said.write("r-1", signer.map(|key| key.signing("r-2"))).unwrap();
    let head: String = message.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    [head.as_bytes(), b"\r\n", &message.body].concat()
}

fn mixed(parts: &[Vec<u8>]) -> (Headers, Vec<u8>) {
    bounded_by("m-1", parts)
}

fn bounded_by(boundary: &str, parts: &[Vec<u8>]) -> (Headers, Vec<u8>) {
    let mut body = Vec::new();
    for part in parts {
        body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        body.extend_from_slice(part);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let media = format!("multipart/mixed; boundary={boundary}");
    (Headers::new().with("Content-Type", media).unwrap(), body)
}

fn bytes_of(payload: &FoundPayload) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(payload.writer.length()).unwrap()];
    payload.writer.read_at(&mut bytes, 0).unwrap();
    bytes
}

fn read(security: SendSecurity, parts: &[Vec<u8>]) -> Composite {
    let (headers, body) = mixed(parts);
    reader(security, 1 << 20).read(&headers, &body[..]).unwrap_or_else(|unread| panic!("{}", told(&unread)))
}

fn told(unread: &Unread) -> String {
    match unread {
        Unread::Message { disposition, cause, .. } => format!("{disposition}: {cause}"),
        Unread::Ours(error) => format!("ours: {error}"),
    }
}

#[test]
fn a_receipt_and_a_payload_each_with_its_own_protection_are_told_apart() {
    let found = read(SendSecurity::SignedEncrypted, &[receipt(Some(&THEIRS)), encrypted(b"a quote")]);
    assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 1, 0));
    let theirs = crate::material::fingerprint(&THEIRS.certificate).unwrap();
    let FoundReceipt { read, headers, body } = &found.receipts[0];
    assert_eq!(read.mdn.original_message_id.as_deref(), Some("<1@ours>"));
    assert!(matches!(&read.signature, SignatureState::Proved(proof) if proof.certificate == theirs));
    // As an entity of its own it proves the same again.
    let certificates = [THEIRS.certificate.clone()];
    let now = SystemTime::now();
    let trust = Trust { certificates: &certificates, pgp: &[], now, accept_expired: false, legacy: false };
    let again = mdn::read(headers, body, trust).unwrap();
    assert!(matches!(again.signature, SignatureState::Proved(_)) && again.mdn == read.mdn);
    let payload = &found.payloads[0];
    assert_eq!((bytes_of(payload), payload.file_name.as_str()), (b"a quote".to_vec(), "quote.edi"));
    assert_eq!(payload.around.cipher, Some(Cipher::Aes256Cbc.name()));
    assert_eq!(payload.around.signature.as_ref().unwrap().certificate, theirs);
    // Of what is signed the MIC is that of the signed part.
    let signed = openssl::sha::sha256(&written(file(b"a quote")));
    assert_eq!(payload.around.mic.as_ref().unwrap().digest, signed);
    assert!(found.report.is_some());
}

#[test]
fn what_proves_payloads_is_around_all_of_them() {
    let signed = |content| written(file(content).sign(THEIRS.signing("s-1")).unwrap());
    let found = read(SendSecurity::Signed, &[receipt(Some(&THEIRS)), signed(b"a quote")]);
    let Proved { report, signed: copy, .. } = found.proved().unwrap();
    assert!(report.signed_content.as_ref().unwrap().is_leaf && copy.is_none());
    // No signature covers both: what is said of them is that they came in one message.
    let found = read(SendSecurity::Signed, &[signed(b"a quote"), signed(b"another")]);
    let Proved { report, signed: copy, .. } = found.proved().unwrap();
    assert_eq!((found.payloads.len(), report.parts.len()), (2, 2));
    assert!(report.signed_content.is_none() && copy.is_none());
    // Nor does one inside other layers say what these cover.
    let (headers, body) = bounded_by("m-2", &[signed(b"a quote")]);
    let inner = Entity::new(headers, Payload::new(&body[..], body.len() as u64));
    let outer = written(inner.sign(THEIRS.signing("s-2")).unwrap());
    let found = read(SendSecurity::Signed, &[outer]);
    let Proved { report, signed: copy, .. } = found.proved().unwrap();
    assert!(!report.signed_content.as_ref().unwrap().is_leaf);
    let copied = copy.unwrap().bytes(1 << 20).unwrap().unwrap();
    assert!(copied.starts_with(b"Content-Type: multipart/mixed"), "{}", String::from_utf8_lossy(&copied));
}

#[test]
fn one_signature_may_cover_both() {
    let (headers, body) = mixed(&[receipt(None), written(file(b"a quote"))]);
    let all = Entity::new(headers, Payload::new(&body[..], body.len() as u64));
    let (headers, mut signed) = all.sign(THEIRS.signing("s-1")).unwrap().into_parts();
    let mut body = Vec::new();
    signed.read_to_end(&mut body).unwrap();
    let found = reader(SendSecurity::Signed, 1 << 20).read(&headers, &body[..]).ok().unwrap();
    assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 1, 0));
    assert!(matches!(found.receipts[0].read.signature, SignatureState::Proved(_)));
    assert!(found.payloads[0].around.signature.is_some());
    let kept = String::from_utf8_lossy(&found.receipts[0].body).into_owned();
    assert!(kept.contains("a quote") && kept.contains("application/pkcs7-signature"), "{kept}");
}

#[test]
fn receipts_inside_other_layers_are_read_and_kept_with_their_signature() {
    let said = receipt(Some(&THEIRS));
    let at = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let (headers, _) = Headers::parse(&said[..at + 4], &Limits::default()).unwrap();
    let entity = || Entity::new(headers.clone(), Payload::new(&said[at + 4..], (said.len() - at - 4) as u64));
    let recipients = [OURS.certificate.clone()];
    let key = EncryptedContentKey::generate(Cipher::Aes128Cbc, &recipients, KeyTransport::Pkcs1v15).unwrap();
    for layered in [written(entity().compress().unwrap()), written(entity().encrypt(key).unwrap())] {
        let (headers, body) = Headers::parse(&layered, &Limits::default()).unwrap();
        // A receipt needs no more protection than its signature.
        let found = reader(SendSecurity::SignedEncrypted, 1 << 20).read(&headers, body).ok().unwrap();
        let [receipt] = &found.receipts[..] else { panic!("{} receipts", found.receipts.len()) };
        assert!(matches!(receipt.read.signature, SignatureState::Proved(_)) && found.payloads.is_empty());
        let certificates = [THEIRS.certificate.clone()];
        let now = SystemTime::now();
        let trust =
            Trust { certificates: &certificates, pgp: &[], now, accept_expired: false, legacy: false };
        let again = mdn::read(&receipt.headers, &receipt.body, trust).unwrap();
        assert!(matches!(again.signature, SignatureState::Proved(_)));
    }
}

#[test]
fn a_payload_that_is_less_protected_than_agreed_is_refused_and_hides_no_receipt() {
    for (security, parts, lacks) in [
        (SendSecurity::SignedEncrypted, written(file(b"plain")), "not encrypted"),
        (SendSecurity::Signed, written(file(b"plain")), "not signed"),
        (
            SendSecurity::SignedEncrypted,
            written(file(b"plain").sign(THEIRS.signing("s-1")).unwrap()),
            "not encrypted",
        ),
        (SendSecurity::Signed, written(file(b"plain").sign(STRANGER.signing("s-1")).unwrap()), "certificate"),
    ] {
        let found = read(security, &[receipt(Some(&THEIRS)), parts]);
        assert_eq!((found.receipts.len(), found.payloads.len()), (1, 0), "{lacks}");
        assert!(found.refused[0].cause.contains(lacks), "{lacks}: {:?}", found.refused);
    }
    let found = read(SendSecurity::None, &[receipt(None), written(file(b"plain"))]);
    assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 1, 0));
}

#[test]
fn an_unsigned_part_does_not_tell_whether_it_could_be_decrypted() {
    let part = |cipher| {
        let recipients = [OURS.certificate.clone()];
        let key = EncryptedContentKey::generate(cipher, &recipients, KeyTransport::Pkcs1v15).unwrap();
        written(file(&[b'x'; 100]).encrypt(key).unwrap())
    };
    let whole = part(Cipher::Aes256Cbc);
    let mut spoilt = whole.clone();
    let at = spoilt.len() - 17;
    spoilt[at] ^= 0x80;
    let [whole, spoilt] = [whole, spoilt].map(|part| {
        let found = read(SendSecurity::SignedEncrypted, &[receipt(Some(&THEIRS)), part]);
        assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 0, 1));
        let Refused { disposition, text, .. } = found.refused.into_iter().next().unwrap();
        (disposition, text)
    });
    assert_eq!(whole, spoilt);
    assert_eq!(whole.0, Disposition::Error(DispositionError::DecryptionFailed));
    // A cipher that proves its content tells nobody more than its maker knows.
    let found = read(SendSecurity::SignedEncrypted, &[receipt(Some(&THEIRS)), part(Cipher::Aes256Gcm)]);
    assert!(found.refused[0].cause.contains("not signed"), "{:?}", found.refused);
}

#[test]
fn behind_a_cipher_that_does_not_prove_its_content_parts_tell_nothing_either() {
    let changed = || {
        let mut part = written(file(b"an order").sign(THEIRS.signing("s-1")).unwrap());
        let at = part.windows(8).position(|found| found == b"an order").unwrap();
        part[at] ^= 1;
        part
    };
    let unsigned = || written(file(b"an order").compress().unwrap());
    for (part, cause) in [(changed as fn() -> Vec<u8>, "digest"), (unsigned, "not signed")] {
        for (cipher, is_told) in [(Cipher::Aes256Cbc, false), (Cipher::Aes256Gcm, true)] {
            let (headers, body) = bounded_by("in", &[part()]);
            let inner = Entity::new(headers, Payload::new(&body[..], body.len() as u64));
            let recipients = [OURS.certificate.clone()];
            let key = EncryptedContentKey::generate(cipher, &recipients, KeyTransport::Pkcs1v15).unwrap();
            let found = read(SendSecurity::SignedEncrypted, &[written(inner.encrypt(key).unwrap())]);
            let refused = &found.refused[0];
            let decryption = Disposition::Error(DispositionError::DecryptionFailed);
            assert_eq!(refused.disposition != decryption, is_told, "{cipher:?}: {refused:?}");
            assert!(refused.cause.contains(cause), "{refused:?}");
        }
    }
}

#[test]
fn nothing_is_staged_of_a_payload_that_is_less_protected_than_agreed() {
    let area = Area::default();
    let reader =
        CompositeReader { staging: Arc::new(area.clone()), ..reader(SendSecurity::SignedEncrypted, 1 << 20) };
    let compressed = written(file(&[0; 200_000]).compress().unwrap());
    let (headers, body) = mixed(&[receipt(Some(&THEIRS)), compressed]);
    let found = reader.read(&headers, &body[..]).ok().unwrap();
    assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 0, 1));
    assert!(found.refused[0].cause.contains("not encrypted"), "{:?}", found.refused);
    // The protected parts alone, as they were sent.
    let staged: usize = area.0.lock().unwrap().iter().map(Vec::len).sum();
    assert!(staged < 50_000, "{staged}");
}

#[test]
fn the_protected_parts_of_a_message_share_its_room() {
    let reader = reader(SendSecurity::None, 1500);
    let outer = read(SendSecurity::None, &[written(file(b"x"))]).report.unwrap();
    let signed = written(file(&[7; 1000]).sign(THEIRS.signing("s-1")).unwrap());
    let (headers, body) = Headers::parse(&signed, &Limits::default()).unwrap();
    let (mut found, outer) = (Composite::default(), reader.around(&outer, None));
    reader.read_within(&headers, body, &outer, &mut found).ok().unwrap();
    let unread = reader.read_within(&headers, body, &outer, &mut found).err().unwrap();
    assert!(told(&unread).contains("larger than 1500 bytes"), "{}", told(&unread));
    assert_eq!(found.payloads.len(), 1);
}

#[test]
fn openpgp_around_a_message_protects_its_parts() {
    let reader = reader(SendSecurity::SignedEncrypted, 1 << 20);
    let plain = smime::Report::default();
    let proof = pgp_mime::Proof {
        digest: Digest::Sha512,
        fingerprint: "ab12".into(),
        component: "cd34".into(),
        key: 0,
        weaknesses: Vec::new(),
        signature: Vec::new(),
    };
    let report = |signed: Option<pgp_mime::Proof>| {
        let mut report = pgp_mime::Report::default();
        report.wrappings.push(Wrapping::Encrypted);
        report.wrappings.extend(signed.is_some().then_some(Wrapping::Signed));
        report.cipher = Some("pgp-aes256");
        report.signed = signed;
        report
    };
    let signed = written(file(b"a quote").sign(THEIRS.signing("s-1")).unwrap());
    let (headers, body) = Headers::parse(&signed, &Limits::default()).unwrap();
    let read = |pgp: Option<&pgp_mime::Report>| {
        let mut found = Composite::default();
        reader.read_within(&headers, body, &reader.around(&plain, pgp), &mut found).ok().unwrap();
        found
    };
    let found = read(Some(&report(Some(proof))));
    assert_eq!((found.payloads.len(), found.refused.len()), (1, 0), "{:?}", found.refused);
    let Around { cipher, signature, .. } = &found.payloads[0].around;
    assert_eq!(*cipher, Some("pgp-aes256"));
    assert_eq!(signature.as_ref().map(|of| of.certificate.as_str()), Some("ab12"));
    // Only encrypted there: the part is signed by itself.
    assert_eq!(read(Some(&report(None))).payloads.len(), 1);
    // Nothing around it: it is not encrypted.
    let found = read(None);
    assert!(found.payloads.is_empty() && found.refused[0].cause.contains("not encrypted"));
}

#[test]
fn what_a_receipt_says_is_read_though_its_signature_proves_nothing() {
    let found = read(SendSecurity::None, &[receipt(Some(&STRANGER)), written(file(b"plain"))]);
    assert!(matches!(found.receipts[0].read.signature, SignatureState::Unproved(_)));
    assert_eq!(found.payloads.len(), 1);
}

#[test]
fn what_a_receipt_without_a_report_says_to_people_is_no_payload() {
    let said =
        "Original-Message-ID: <1@ours>\r\nFinal-Recipient: rfc822; OURS\r\nDisposition: x; processed\r\n";
    let encoded = openssl::base64::encode_block(said.as_bytes());
    let notification = |encoding: &str, body: &str| {
        format!("Content-Type: message/disposition-notification\r\n{encoding}\r\n{body}").into_bytes()
    };
    let words = b"Content-Type: text/plain\r\n\r\nThe message was read.".to_vec();
    for told in [notification("", said), notification("Content-Transfer-Encoding: base64\r\n", &encoded)] {
        for security in [SendSecurity::None, SendSecurity::SignedEncrypted] {
            let found = read(security, &[words.clone(), told.clone()]);
            assert_eq!((found.receipts.len(), found.payloads.len(), found.refused.len()), (1, 0, 0));
            assert_eq!(found.receipts[0].read.mdn.original_message_id.as_deref(), Some("<1@ours>"));
        }
    }
    // A file is one also there, and text without any receipt.
    let found = read(SendSecurity::None, &[notification("", said), written(file(b"a quote"))]);
    assert_eq!((found.receipts.len(), found.payloads.len()), (1, 1));
    assert_eq!(read(SendSecurity::None, &[words]).payloads.len(), 1);
}

#[test]
fn sizes_and_depths_are_bounded() {
    let (headers, body) = mixed(&[receipt(None), written(file(&[7; 5000]))]);
    let unread = reader(SendSecurity::None, 4999).read(&headers, &body[..]).err().unwrap();
    assert!(told(&unread).contains("larger than 4999 bytes"), "{}", told(&unread));
    // Protected parts inside each other.
    let mut part = written(file(b"deep"));
    for n in 0..=DEEPEST {
        let (headers, body) = bounded_by(&format!("inner-{n}"), &[part]);
        let entity = Entity::new(headers, Payload::new(&body[..], body.len() as u64));
        part = written(entity.sign(THEIRS.signing(&format!("s-{n}"))).unwrap());
    }
    let found = read(SendSecurity::None, &[part]);
    assert!(found.payloads.is_empty() && found.refused[0].cause.contains("inside each other"));
    // Parts without end.
    let many: Vec<Vec<u8>> = (0..=MOST_PARTS).map(|_| written(file(b"x"))).collect();
    let (headers, body) = mixed(&many);
    let unread = reader(SendSecurity::None, 1 << 20).read(&headers, &body[..]).err().unwrap();
    assert!(told(&unread).contains("more than 50 parts"), "{}", told(&unread));
}

proptest! {
    #[test]
    fn any_payload_comes_back_byte_for_byte(content in proptest::collection::vec(any::<u8>(), 0..2000)) {
        // Not one of the delimiters.
        prop_assume!(!content.windows(3).any(|three| three == b"--m"));
        let found = read(SendSecurity::Signed, &[
            receipt(Some(&THEIRS)),
            written(file(&content).sign(THEIRS.signing("s-1")).unwrap()),
        ]);
        prop_assert_eq!(bytes_of(&found.payloads[0]), content);
    }
}
