mod other_form;
mod tampered;

use super::*;
use crate::agreement::{Agreement, As2Id, SendSecurity};
use crate::testing::Key;
use bytes::Bytes;
use smime::{EncryptedContentKey, Entity, KeyTransport, Measured, Payload, Signing};
use std::sync::Mutex;
use transport::StagedPayload;

/// What was begun in staging, and how many bytes of each part came.
#[derive(Clone, Default)]
struct Area(Arc<Mutex<Vec<Vec<u8>>>>);

impl Area {
    fn parts(&self) -> Vec<u64> {
        self.0.lock().unwrap().iter().map(|part| part.len() as u64).collect()
    }
}

struct Writer {
    area: Area,
    at: usize,
}

impl StagingArea for Area {
    fn begin(&self) -> model::Result<Box<dyn PartWriter>> {
        let mut parts = self.0.lock().unwrap();
        parts.push(Vec::new());
        Ok(Box::new(Writer { area: self.clone(), at: parts.len() - 1 }))
    }
}

impl PartWriter for Writer {
    fn append(&mut self, bytes: &[u8]) -> model::Result<()> {
        self.area.0.lock().unwrap()[self.at].extend_from_slice(bytes);
        Ok(())
    }

    fn length(&self) -> u64 {
        self.area.0.lock().unwrap()[self.at].len() as u64
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> model::Result<usize> {
        let parts = self.area.0.lock().unwrap();
        let rest = &parts[self.at][usize::try_from(offset).unwrap()..];
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn commit(self: Box<Self>) -> model::Result<StagedPayload> {
        panic!("nothing is committed while a message is read")
    }
}

struct Scene {
    ours: Key,
    theirs: Key,
    agreement: Agreement,
    coding: Coding,
    now: SystemTime,
    area: Area,
    more_parts: Arc<Semaphore>,
    keeps_signed: bool,
    diagnosis: Arc<Diagnosis>,
}

impl Scene {
    fn new(receive_security: SendSecurity, largest_message: u64) -> Self {
        Self {
            ours: Key::new("OURS"),
            theirs: Key::new("THEIRS"),
            agreement: Agreement { receive_security, largest_message, ..Agreement::default() },
            coding: Coding::Identity,
            now: SystemTime::now(),
            area: Area::default(),
            more_parts: Arc::new(Semaphore::new(MORE_PARTS)),
            keeps_signed: false,
            diagnosis: Arc::default(),
        }
    }

    fn read(&self, headers: Headers, body: &[u8]) -> Result<ReadMessage, Unread> {
        let (sender, reader) = BodyReader::channel();
        sender.try_send(Ok(Bytes::copy_from_slice(body))).unwrap();
        sender.try_send(Ok(Bytes::new())).unwrap();
        read(Reading {
            headers,
            body: reader,
            coding: self.coding,
            keys: vec![DecryptionKey {
                key: self.ours.key.clone(),
                certificate: self.ours.certificate.clone(),
            }],
            certificates: vec![self.theirs.certificate.clone()],
            pgp: crate::pgp_message::PgpReading::default(),
            partner: Arc::new(Partner {
                name: "theirs".into(),
                as2_id: As2Id::try_from("THEIRS".to_owned()).unwrap(),
                certificates: crate::choice::Choices::default(),
                agreement: self.agreement.clone(),
            }),
            digests: Vec::new(),
            now: self.now,
            staging: Arc::new(self.area.clone()),
            message_id: "<1@theirs>".into(),
            keeps_signed: self.keeps_signed,
            diagnosis: Arc::clone(&self.diagnosis),
            more_parts: Arc::clone(&self.more_parts),
        })
    }

    /// The disposition, and what the operator is told.
    fn refused(&self, headers: Headers, body: &[u8]) -> (String, String) {
        match self.read(headers, body) {
            Err(Unread::Message { disposition, cause, .. }) => (disposition.to_string(), cause),
            Err(Unread::Ours(error)) => panic!("it counts as our fault: {error}"),
            Ok(_) => panic!("it was taken"),
        }
    }
}

fn binary(content: &[u8]) -> Entity<Payload<&[u8]>> {
    let headers = Headers::new().with("Content-Type", "application/octet-stream").unwrap();
    Entity::new(headers, Payload::new(content, content.len() as u64))
}

fn parts_of<B: Measured>(entity: Entity<B>) -> (Headers, Vec<u8>) {
    let (headers, mut body) = entity.into_parts();
    let mut bytes = Vec::new();
    body.read_to_end(&mut bytes).unwrap();
    (headers, bytes)
}

fn error(name: &str) -> String {
    format!("automatic-action/MDN-sent-automatically; processed/error: {name}")
}

const MIB: u64 = 1024 * 1024;

#[test]
fn what_is_less_protected_than_agreed_never_reaches_staging() {
    let zeros = vec![0; 8 << 20];
    for (agreed, lacks) in [
        (SendSecurity::SignedEncrypted, "encrypted"),
        (SendSecurity::Encrypted, "encrypted"),
        (SendSecurity::Signed, "signed"),
    ] {
        let scene = Scene::new(agreed, MIB);
        let (headers, body) = parts_of(binary(&zeros).compress().unwrap().compress().unwrap());
        assert!(body.len() < 2000, "{}", body.len());
        let (disposition, cause) = scene.refused(headers, &body);
        assert_eq!(disposition, error("insufficient-message-security"));
        assert!(cause.starts_with(&format!("the message is not {lacks}")), "{cause}");
        assert_eq!(scene.area.parts(), [0; 0], "{agreed}");
    }
}

#[test]
fn no_more_is_staged_than_the_largest_message_may_hold() {
    let scene = Scene::new(SendSecurity::None, MIB);
    let (headers, body) = parts_of(binary(&vec![0; 8 << 20]).compress().unwrap().compress().unwrap());
    let (disposition, cause) = scene.refused(headers, &body);
    assert_eq!(disposition, error("unexpected-processing-error"));
    assert!(cause.contains("larger than 1048576 bytes"), "{cause}");
    assert!(scene.area.parts().iter().sum::<u64>() <= MIB);

    // The same in parts, each of which would be small enough.
    let scene = Scene::new(SendSecurity::None, MIB);
    let part = [b"--b\r\n\r\n".as_slice(), &[0; 400 << 10], b"\r\n"].concat();
    let parts = [part.repeat(8), b"--b--\r\n".to_vec()].concat();
    let headers = Headers::new().with("Content-Type", "multipart/mixed; boundary=b").unwrap();
    let entity = Entity::new(headers, Payload::new(&parts[..], parts.len() as u64));
    let (headers, body) = parts_of(entity.compress().unwrap());
    assert!(scene.refused(headers, &body).1.contains("receive.largest"));
    let staged = scene.area.parts();
    assert!(staged.iter().sum::<u64>() <= MIB && staged.len() == 3, "{staged:?}");

    // What goes into the bound goes in.
    let scene = Scene::new(SendSecurity::None, MIB);
    let (headers, body) = parts_of(binary(&vec![0; 1 << 20]).compress().unwrap());
    assert!(scene.read(headers, &body).is_ok());
    assert_eq!(scene.area.parts(), [MIB]);
}

#[test]
fn spoilt_plaintext_is_answered_like_a_wrong_key_and_explained_to_the_operator() {
    let scene = Scene::new(SendSecurity::SignedEncrypted, MIB);
    let key = || {
        let recipient = std::slice::from_ref(&scene.ours.certificate);
        EncryptedContentKey::generate(smime::Cipher::Aes256Cbc, recipient, KeyTransport::default()).unwrap()
    };
    let (signed, mut body) = parts_of(binary(b"orders").sign(scene.theirs.signing("b-1")).unwrap());
    body.truncate(body.len() / 2);
    let half = Entity::new(signed, Payload::new(&body[..], body.len() as u64));
    let (headers, body) = parts_of(half.encrypt(key()).unwrap());
    let (disposition, cause) = scene.refused(headers, &body);
    assert_eq!(disposition, error("decryption-failed"));
    assert!(cause.contains("it ends too early"), "{cause}");
}

fn mixed(parts: usize, part: &str) -> (Headers, Vec<u8>) {
    let headers = Headers::new().with("Content-Type", "multipart/mixed; boundary=b").unwrap();
    (headers, format!("{}--b--\r\n", format!("--b\r\n{part}\r\n").repeat(parts)).into_bytes())
}

#[test]
fn no_message_opens_files_without_end() {
    let scene = Scene::new(SendSecurity::None, MIB);
    let (headers, body) = mixed(1000, "\r\nx");
    let (disposition, cause) = scene.refused(headers, &body);
    assert_eq!(disposition, error("unexpected-processing-error"));
    assert_eq!(cause, "the message has more than 50 parts");
    assert_eq!(scene.area.parts().len(), 50);
    // Nor keep headers without end.
    let scene = Scene::new(SendSecurity::None, MIB);
    let (headers, body) = mixed(1, &format!("X: {}\r\n\r\nx", "x".repeat(20_000)));
    assert!(scene.refused(headers, &body).1.contains("MIME header"));
    // As many as are taken are taken, and no place is left taken.
    let (headers, body) = mixed(50, "\r\nx");
    assert_eq!(scene.read(headers, &body).map_err(|_| ()).unwrap().parts.len(), 50);
    assert_eq!(scene.more_parts.available_permits(), MORE_PARTS);
}

#[test]
fn many_messages_of_many_parts_are_not_taken_at_once() {
    let scene = Scene::new(SendSecurity::None, MIB);
    let (headers, body) = mixed(50, "\r\nx");
    let held: Vec<ReadMessage> =
        std::iter::from_fn(|| scene.read(headers.clone(), &body).ok()).take(100).collect();
    assert_eq!(held.len(), MORE_PARTS / 49);
    // It is our fault, so that the sender comes again.
    assert!(
        matches!(scene.read(headers.clone(), &body), Err(Unread::Ours(e)) if e.kind() == ErrorKind::Throttled)
    );
    // A message of one part is.
    let (one, single) = parts_of(binary(b"one"));
    assert!(scene.read(one, &single).is_ok());
    drop(held);
    assert!(scene.read(headers, &body).is_ok());
}

#[test]
fn the_signers_digest_counts_and_not_the_announced_one() {
    let mut scene = Scene::new(SendSecurity::Signed, 4 * MIB);
    scene.agreement.legacy = true;
    let content = vec![7; 1_500_000];
    for (announced, used) in
        [("sha-256", Digest::Sha1), ("sha1", Digest::Sha512), ("sha1", Digest::Sha256), ("x", Digest::Sha384)]
    {
        let mut signing = scene.theirs.signing("b-1");
        signing.digest = used;
        let (_, body) = parts_of(binary(&content).sign(signing).unwrap());
        let media = format!("multipart/signed; boundary=b-1; micalg={announced}");
        let read = scene.read(Headers::new().with("Content-Type", media).unwrap(), &body);
        let Ok(message) = read else { panic!("{announced} {used:?}") };
        assert_eq!(message.report.signed().unwrap().digest, used);
        assert!(message.report.mic(used).is_some());
    }
}

#[test]
fn a_signature_counts_by_its_own_digest_however_long_the_message_is() {
    for (micalg, used) in [
        ("sha-256", Digest::Sha512),
        ("sha-256", Digest::Sha384),
        ("sha-512", Digest::Sha384),
        ("sha256", Digest::Sha256),
        ("sha1", Digest::Sha512),
    ] {
        let scene = Scene::new(SendSecurity::Signed, 10 * MIB);
        let content: Vec<u8> = (0..3 * MIB).map(|n| (n * 31 % 251) as u8).collect();
        let signing = Signing { digest: used, ..scene.theirs.signing("b-1") };
        let (_, body) = parts_of(binary(&content).sign(signing).unwrap());
        let headers = Headers::new()
            .with("Content-Type", format!("multipart/signed; boundary=\"b-1\"; micalg={micalg}"))
            .unwrap();
        let message = scene.read(headers.clone(), &body).unwrap_or_else(|_| panic!("{micalg} {used:?}"));
        assert_eq!(message.report.signed().unwrap().digest, used);
        assert!(message.report.mic(used).is_some());
        // One changed byte is still found out.
        let mut changed = body.clone();
        changed[2_000_000] ^= 1;
        assert_eq!(scene.refused(headers, &changed).0, error("integrity-check-failed"), "{micalg} {used:?}");
    }
}

#[test]
fn weak_signatures_are_refused_unless_the_partner_is_a_legacy_one() {
    let short = Key::with_bits("THEIRS", 1024);
    for (digest, key, weakness) in [
        (Digest::Md5, None, "MD5"),
        (Digest::Sha1, None, "SHA-1"),
        (Digest::Sha256, Some(short), "1024 bits"),
    ] {
        let mut scene = Scene::new(SendSecurity::Signed, MIB);
        if let Some(key) = key {
            scene.theirs = key;
        }
        let signing = Signing { digest, ..scene.theirs.signing("b-1") };
        let (headers, body) = parts_of(binary(b"an order").sign(signing).unwrap());
        let (disposition, cause) = scene.refused(headers.clone(), &body);
        assert_eq!(disposition, error("insufficient-message-security"), "{weakness}");
        assert!(cause.contains(weakness) && cause.contains("legacy = true"), "{cause}");
        scene.agreement.legacy = true;
        let message = scene.read(headers, &body).unwrap_or_else(|_| panic!("{weakness}"));
        let uses = legacy::of_report(&message.report);
        assert!(uses.len() == 1 && uses[0].contains(weakness), "{uses:?}");
    }
}

#[test]
fn triple_des_is_refused_unless_the_partner_is_a_legacy_one() {
    let mut scene = Scene::new(SendSecurity::Encrypted, MIB);
    let recipients = [scene.ours.certificate.clone()];
    let key = |cipher| EncryptedContentKey::generate(cipher, &recipients, KeyTransport::Pkcs1v15).unwrap();
    let (headers, body) = parts_of(binary(b"an order").encrypt(key(smime::Cipher::TripleDesCbc)).unwrap());
    let (disposition, cause) = scene.refused(headers.clone(), &body);
    assert_eq!(disposition, error("insufficient-message-security"));
    assert!(cause.contains("triple DES") && cause.contains("legacy = true"), "{cause}");
    assert!(scene.area.parts().is_empty(), "nothing was decrypted");
    let (gcm_headers, gcm) = parts_of(binary(b"an order").encrypt(key(smime::Cipher::Aes256Gcm)).unwrap());
    let message = scene.read(gcm_headers, &gcm).unwrap_or_else(|_| panic!("GCM"));
    assert_eq!(legacy::of_report(&message.report), [""; 0]);
    scene.agreement.legacy = true;
    let message = scene.read(headers, &body).unwrap_or_else(|_| panic!("legacy"));
    assert_eq!(legacy::of_report(&message.report), ["the partner's encryption by triple DES"]);
}

#[test]
fn a_certificate_that_is_not_valid_yet_is_never_taken_for_an_expired_one() {
    let mut scene = Scene::new(SendSecurity::Signed, MIB);
    let (headers, body) = parts_of(binary(b"an order").sign(scene.theirs.signing("b-1")).unwrap());
    let days = |days: i64| {
        let day = std::time::Duration::from_secs(86_400 * days.unsigned_abs());
        if days < 0 { SystemTime::now() - day } else { SystemTime::now() + day }
    };
    for (now, accept_expired, taken) in [
        (days(1), false, true),
        (days(60), false, false),
        (days(60), true, true),
        (days(-60), false, false),
        (days(-60), true, false),
    ] {
        scene.now = now;
        scene.agreement.accept_expired = accept_expired;
        match scene.read(headers.clone(), &body) {
            Ok(_) => assert!(taken),
            Err(Unread::Message { disposition, .. }) => {
                assert!(!taken);
                assert_eq!(disposition.to_string(), error("authentication-failed"));
            }
            Err(Unread::Ours(error)) => panic!("{error}"),
        }
    }
}

#[test]
fn a_content_coding_is_taken_off_before_anything_is_read() {
    use std::io::Write as _;
    let mut scene = Scene::new(SendSecurity::SignedEncrypted, MIB);
    let order = b"an order\n".repeat(50_000);
    let signed = binary(&order).sign(scene.theirs.signing("b-1")).unwrap();
    let key = EncryptedContentKey::generate(
        smime::Cipher::Aes256Cbc,
        std::slice::from_ref(&scene.ours.certificate),
        KeyTransport::Pkcs1v15,
    );
    let (headers, body) = parts_of(signed.encrypt(key.unwrap()).unwrap());
    let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    coded.write_all(&body).unwrap();
    let coded = coded.finish().unwrap();
    scene.coding = Coding::Gzip;
    let message = scene.read(headers.clone(), &coded).unwrap_or_else(|_| panic!("not taken"));
    assert!(message.report.signed().is_some() && scene.area.parts() == [450_000]);
    for (what, bytes) in [("not gzip", &body[..]), ("cut", &coded[..coded.len() / 2])] {
        assert_eq!(scene.refused(headers.clone(), bytes).0, error("decompression-failed"), "{what}");
    }
    // Within the bound, whatever it unfolds to.
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![0; 20_000_000]).unwrap();
    let scene = Scene { coding: Coding::Gzip, ..Scene::new(SendSecurity::None, MIB) };
    let plain = Headers::new().with("Content-Type", "application/octet-stream").unwrap();
    let (disposition, cause) = scene.refused(plain, &bomb.finish().unwrap());
    assert_eq!(disposition, error("unexpected-processing-error"));
    assert!(cause.contains("receive.largest") && scene.area.parts()[0] <= MIB, "{cause}");
}

#[test]
fn what_was_signed_is_copied_where_it_is_not_the_head_and_the_payload() {
    let scene = |keeps_signed| Scene { keeps_signed, ..Scene::new(SendSecurity::Signed, MIB) };
    let plain = scene(true);
    let (headers, body) = parts_of(binary(b"orders").sign(plain.theirs.signing("b-1")).unwrap());
    let read = plain.read(headers, &body).map_err(|_| ()).unwrap();
    assert!(read.signed_content.is_none() && read.report.signed_content.unwrap().is_leaf);
    assert_eq!(plain.area.parts(), [6]);

    let (inner, parts) = mixed(2, "\r\nx");
    let signed = [inner.raw(), b"\r\n", &parts].concat();
    for keeps_signed in [true, false] {
        let scene = scene(keeps_signed);
        let entity = Entity::new(inner.clone(), Payload::new(&parts[..], parts.len() as u64));
        let (headers, body) = parts_of(entity.sign(scene.theirs.signing("b-1")).unwrap());
        let read = scene.read(headers, &body).map_err(|_| ()).unwrap();
        assert_eq!((read.parts.len(), read.signed_content.is_some()), (2, keeps_signed));
        if keeps_signed {
            assert_eq!(scene.area.parts(), [signed.len() as u64, 1, 1]);
            assert_eq!(scene.area.0.lock().unwrap()[0], signed);
        } else {
            assert_eq!(scene.area.parts(), [1, 1]);
        }
        // Each open file but the first part's has its place until it is committed.
        let taken = if keeps_signed { 2 } else { 1 };
        assert_eq!(scene.more_parts.available_permits(), MORE_PARTS - taken);
        drop(read);
        assert_eq!(scene.more_parts.available_permits(), MORE_PARTS);
    }

    // Without a place for the copy the message is taken all the same.
    let scene = Scene { more_parts: Arc::new(Semaphore::new(0)), ..scene(true) };
    let (inner, parts) = mixed(1, "\r\nx");
    let entity = Entity::new(inner, Payload::new(&parts[..], parts.len() as u64));
    let (headers, body) = parts_of(entity.sign(scene.theirs.signing("b-1")).unwrap());
    let read = scene.read(headers, &body).map_err(|_| ()).unwrap();
    assert_eq!((read.parts.len(), read.signed_content.is_some()), (1, false));
    assert!(!read.report.signed_content.unwrap().is_leaf);
}

#[test]
fn of_several_files_the_root_is_first_and_each_has_a_name_of_its_own() {
    let scene = Scene::new(SendSecurity::None, MIB);
    let media = "multipart/related; boundary=b; type=\"application/xml\"; start=\"<po@theirs>\"";
    let headers = Headers::new().with("Content-Type", media).unwrap();
    let body = b"--b\r\nContent-Type: text/plain; charset=\"iso-8859-2\"; name=terms.txt\r\nContent-ID: <terms@theirs>\r\n\r\nterms\r\n\
        --b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=terms.txt\r\n\r\n%PDF\r\n\
        --b\r\nContent-Type: application/xml\r\nContent-ID: <po@theirs>\r\nContent-Disposition: attachment; filename*=UTF-8''..%2Fbestellung%C3%A9.xml\r\n\r\n<po/>\r\n\
        --b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c\r\n\r\ntwo\r\n--c--\r\n--b--\r\n";
    let Ok(message) = scene.read(headers, body) else { panic!("it was refused") };
    let names: Vec<&str> = message.parts.iter().map(|part| part.file_name.as_str()).collect();
    assert_eq!(
        names,
        ["bestellungé.xml", "terms.txt", "terms-2.txt", "message-1@theirs", "message-1@theirs-2"]
    );
    let lengths: Vec<u64> = message.parts.iter().map(|part| part.writer.length()).collect();
    assert_eq!(lengths, [5, 5, 4, 3, 3]);
    let told = |place: usize, key: &str| message.parts[place].metadata.get(key).and_then(Value::as_str);
    assert_eq!(told(0, "as2_file_name"), Some("../bestellungé.xml"));
    assert_eq!(told(0, "as2_content_id"), Some("<po@theirs>"));
    assert_eq!(told(0, "as2_content_type"), Some("application/xml"));
    assert_eq!(told(1, "as2_content_id"), Some("<terms@theirs>"));
    assert_eq!(told(1, "as2_content_type"), Some("text/plain; charset=iso-8859-2; name=terms.txt"));
    assert_eq!((told(3, "as2_file_name"), told(3, "as2_content_id")), (None, None));
}
