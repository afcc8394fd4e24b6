//! Hostile and broken messages: each is refused with the right kind, none costs memory.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::slice::from_ref;

use proptest::prelude::*;
use smime::{
    Cipher, EncryptedContentKey, Error, Headers, KeyTransport, Limits, PartReceiver, ReadOptions, Wrapping,
};
use support::{Party, all, content_type, noise, payload_entity, read, read_with, unmeasured_entity};

struct Sample {
    ours: Party,
    /// Our key under another certificate.
    renewed: Party,
    partner: Party,
}

impl Sample {
    fn new() -> Sample {
        let ours = Party::rsa("Ours");
        Sample { renewed: ours.renewed("Renewed"), ours, partner: Party::rsa("Partner") }
    }

    fn key(&self, cipher: Cipher) -> EncryptedContentKey {
        let recipient = from_ref(&self.ours.certificate);
        EncryptedContentKey::generate(cipher, recipient, KeyTransport::default()).unwrap()
    }

    fn encrypted(&self, cipher: Cipher, content: &[u8]) -> (Headers, Vec<u8>) {
        let (headers, body) = payload_entity(content).encrypt(self.key(cipher)).unwrap().into_parts();
        (headers, all(body))
    }

    fn signed(&self, content: &[u8]) -> (Headers, Vec<u8>) {
        let (headers, body) = payload_entity(content).sign(self.partner.signing()).unwrap().into_parts();
        (headers, all(body))
    }

    fn fault(&self, headers: &Headers, body: &[u8]) -> Error {
        read(headers, body, &[&self.ours], &[&self.partner]).unwrap_err()
    }
}

fn message<B: smime::Measured>(entity: smime::Entity<B>) -> (Headers, Vec<u8>) {
    let (headers, body) = entity.into_parts();
    (headers, all(body))
}

fn find(haystack: &[u8], needle: &[u8]) -> usize {
    haystack.windows(needle.len()).position(|window| window == needle).unwrap()
}

#[test]
fn one_answer_for_every_failed_decryption() {
    let sample = Sample::new();
    for cipher in [
        Cipher::Aes256Cbc,
        Cipher::TripleDesCbc,
        Cipher::Aes256Gcm,
        Cipher::ChaCha20Poly1305,
        Cipher::Rc2Cbc128,
    ] {
        let content = noise(40_000);
        let (headers, body) = sample.encrypted(cipher, &content);
        let text = Error::DecryptionFailed.to_string();
        // Cut off anywhere within the ciphertext.
        for cut in [body.len() - 1, body.len() - 17, body.len() - 5000, body.len() - 39_900] {
            let fault = sample.fault(&headers, &body[..cut]);
            assert!(matches!(fault, Error::DecryptionFailed), "{cipher:?} {cut} {fault:?}");
            assert_eq!(fault.to_string(), text);
        }
        // A bad RSA block: the encrypted key follows the rsaEncryption identifier.
        let rsa = find(&body, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82\x01\x00");
        for at in [rsa + 16, rsa + 100, rsa + 270] {
            let mut bad = body.clone();
            bad[at] ^= 0x20;
            assert!(matches!(sample.fault(&headers, &bad), Error::DecryptionFailed), "{at}");
        }
        // The last block, where padding or tag are.
        let mut bad = body.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert!(matches!(sample.fault(&headers, &bad), Error::DecryptionFailed));
    }
}

#[test]
fn a_flipped_byte_under_gcm_or_a_signature_is_found() {
    let sample = Sample::new();
    let content = noise(20_000);
    let (headers, body) = sample.encrypted(Cipher::Aes128Gcm, &content);
    for at in (body.len() - 19_000..body.len()).step_by(997) {
        let mut bad = body.clone();
        bad[at] ^= 4;
        assert!(matches!(sample.fault(&headers, &bad), Error::DecryptionFailed));
    }
    let signed = payload_entity(&content).sign(sample.partner.signing()).unwrap();
    let (headers, body) = signed.encrypt(sample.key(Cipher::Aes256Cbc)).unwrap().into_parts();
    let mut bad = all(body);
    let middle = bad.len() / 2;
    bad[middle] ^= 4;
    assert!(matches!(sample.fault(&headers, &bad), Error::IntegrityFailed { .. }));
}

#[test]
fn wrong_key_and_wrong_signer() {
    let sample = Sample::new();
    let stranger = Party::rsa("Stranger");
    let (headers, body) = sample.encrypted(Cipher::default(), b"secret");
    let fault = read(&headers, &body, &[&stranger], &[]).unwrap_err();
    let Error::NoRecipient { recipients } = &fault else { panic!("{fault:?}") };
    let mut serial = sample.ours.certificate.serial_number().to_bn().unwrap().to_vec();
    if serial[0] >= 0x80 {
        serial.insert(0, 0);
    }
    let serial: String = serial.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*recipients, [format!("serial {serial} of CN=Ours")]);
    assert!(fault.to_string().contains(&recipients[0]));
    // Our certificate, another key: the random key takes its place.
    let impostor = Party { key: stranger.key.clone(), certificate: sample.ours.certificate.clone() };
    let fault = read(&headers, &body, &[&impostor], &[]).unwrap_err();
    assert!(matches!(fault, Error::DecryptionFailed));

    let (headers, body) = sample.signed(b"content");
    let fault = read(&headers, &body, &[], &[&stranger]).unwrap_err();
    let Error::SignerUnknown { carried: Some(carried), .. } = &fault else { panic!("{fault:?}") };
    let fingerprint = sample.partner.certificate.digest(openssl::hash::MessageDigest::sha256()).unwrap();
    assert_eq!((carried.subject.as_str(), &carried.fingerprint[..]), ("CN=Partner", &fingerprint[..]));
    assert!(fault.to_string().contains("CN=Partner, SHA-256 "), "{fault}");
    // The embedded certificate is the signer's own: it is never trusted.
    assert!(matches!(read(&headers, &body, &[], &[]).unwrap_err(), Error::SignerUnknown { .. }));
    // Any of the pinned may match, in any order.
    assert!(read(&headers, &body, &[], &[&stranger, &sample.partner]).is_ok());
}

#[test]
fn authenticated_attributes_are_refused_by_name() {
    let sample = Sample::new();
    let key = sample.key(Cipher::Aes256Gcm);
    // Around content of an unknown length, every level is of indefinite length and easy to add to.
    let (headers, body) = unmeasured_entity(b"x").encrypt(key).unwrap().into_parts();
    let mut body = all(body);
    let mac = body.len() - 6 - 18;
    body.splice(mac..mac, [0xa1, 0x02, 0x30, 0x00]);
    let fault = sample.fault(&headers, &body).to_string();
    assert_eq!(fault, "not supported: authenticated attributes");
}

#[test]
fn an_unreadable_recipient_does_not_hide_ours() {
    let sample = Sample::new();
    let stored = sample.key(Cipher::Aes256Cbc).to_bytes();
    let set = stored.windows(3).rposition(|window| window == [0x31, 0x82, 0x01]).unwrap();
    // A key agreement that makes no sense comes first.
    let mut infos = vec![0xa1, 0x02, 0x02, 0x00];
    infos.extend_from_slice(&stored[set + 4..]);
    let len = (infos.len() as u16).to_be_bytes();
    let head = &stored[4..set];
    let inner = [head, &[0x31, 0x82], &len, &infos].concat();
    let outer = (inner.len() as u16).to_be_bytes();
    let key = EncryptedContentKey::from_bytes(&[&[0x30, 0x82], &outer[..], &inner].concat()).unwrap();
    let (headers, body) = payload_entity(b"x").encrypt(key).unwrap().into_parts();
    assert_eq!(read(&headers, &all(body), &[&sample.ours], &[]).unwrap().1[0].1, b"x");
}

/// What a plaintext that was tampered with is answered, its padding good.
fn padded_well(sample: &Sample, headers: &Headers, body: &[u8]) -> Result<(), Error> {
    let entity = smime::Entity::new(headers.clone(), smime::Payload::new(body, body.len() as u64));
    let (headers, body) = message(entity.encrypt(sample.key(Cipher::Aes256Cbc)).unwrap());
    read(&headers, &body, &[&sample.ours], &[&sample.partner]).map(drop)
}

#[test]
fn good_padding_before_spoilt_content_looks_like_bad_padding() {
    let sample = Sample::new();
    let content = b"orders that are worth reading\r\n".repeat(8);
    let signed = || payload_entity(&content).sign(sample.partner.signing()).unwrap();
    let opaque = || payload_entity(&content).sign_opaque(sample.partner.signing()).unwrap();
    let (base64_headers, bytes) = message(opaque());
    let base64 = openssl::base64::encode_block(&bytes).into_bytes();
    let garbage = noise(32);
    let same = |what: &str, result: Result<(), Error>| {
        let fault = result.expect_err(what);
        let hidden = matches!(fault, Error::DecryptionFailed | Error::Undecipherable { .. });
        assert!(hidden && fault.to_string() == Error::DecryptionFailed.to_string(), "{what}: {fault:?}");
    };
    let part = || {
        let (headers, body) = message(signed());
        [&b"--b\r\n"[..], headers.raw(), b"\r\n", &body, b"\r\n"].concat()
    };
    let mixed = [part(), part(), b"--b--\r\n".to_vec()].concat();
    let mixed = (content_type("multipart/mixed; boundary=b"), mixed);
    for (form, (headers, body)) in [
        ("multipart", message(signed())),
        ("parts that are signed", mixed),
        ("opaque", message(opaque())),
        ("base64", (base64_headers, base64)),
        ("compressed multipart", message(signed().compress().unwrap())),
        ("compressed opaque", message(opaque().compress().unwrap())),
    ] {
        padded_well(&sample, &headers, &body).unwrap();
        // Cut off where the last block of another message took its place.
        for cut in (1..48).chain((48..body.len()).step_by(61)).map(|less| body.len() - less) {
            // The last line end alone is no loss, nor is base64's padding.
            if !body[cut..].iter().all(|byte| matches!(byte, b'\r' | b'\n' | b'=')) {
                same(&format!("{form} cut to {cut}"), padded_well(&sample, &headers, &body[..cut]));
            }
        }
        // Whole, and blocks of another message behind it.
        let more = [&body[..], &garbage].concat();
        same(&format!("{form} and more"), padded_well(&sample, &headers, &more));
        // The same behind content whose signature would fail.
        let mut spoilt = more.clone();
        let middle = body.len() / 3;
        spoilt[middle] ^= 4;
        same(&format!("{form} spoilt, and more"), padded_well(&sample, &headers, &spoilt));
        let blank = [&body[..], b"\r\n \t\r\n"].concat();
        padded_well(&sample, &headers, &blank).unwrap();
    }
    // The value of an opaque signature is at the end: with other bytes there its structure is as whole.
    let (headers, mut body) = message(opaque());
    *body.last_mut().unwrap() ^= 4;
    same("an opaque signature that was changed", padded_well(&sample, &headers, &body));
    // Where a tag proves the content, or nothing is encrypted, an epilogue is nobody's secret.
    let (headers, mut body) = message(signed());
    body.extend_from_slice(b"epilogue");
    assert!(read(&headers, &body, &[], &[&sample.partner]).is_ok());
    let entity = smime::Entity::new(headers, smime::Payload::new(&body[..], body.len() as u64));
    let (headers, body) = message(entity.encrypt(sample.key(Cipher::Aes256Gcm)).unwrap());
    assert!(read(&headers, &body, &[&sample.ours], &[&sample.partner]).is_ok());
}

#[test]
fn content_and_signature_flips() {
    let sample = Sample::new();
    let (headers, body) = sample.signed(b"the content that counts");
    let mut bad = body.clone();
    let at = find(&bad, b"counts");
    bad[at] ^= 1;
    assert!(matches!(sample.fault(&headers, &bad), Error::IntegrityFailed { .. }));

    let mut signing = sample.partner.signing();
    signing.base64 = false;
    let (headers, body) = payload_entity(b"x").sign(signing).unwrap().into_parts();
    let body = all(body);
    // The signature value ends before "\r\n--boundary--\r\n".
    let end = body.len() - b"\r\n--=_waybill_0001--\r\n".len();
    let mut bad = body.clone();
    bad[end - 5] ^= 1;
    assert!(matches!(sample.fault(&headers, &bad), Error::SignatureInvalid));
    // A signed attribute: the digest inside it.
    let mut bad = body.clone();
    let at = find(&bad, b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04") + 15;
    bad[at] ^= 1;
    assert!(matches!(sample.fault(&headers, &bad), Error::SignatureInvalid));
}

#[test]
fn cut_anywhere_is_never_accepted() {
    let sample = Sample::new();
    let content = b"Content".repeat(30);
    let (headers, body) = sample.signed(&content);
    // Short of the two dashes of its last boundary alone the message is whole.
    for cut in 0..body.len() - b"--\r\n".len() {
        assert!(read(&headers, &body[..cut], &[], &[&sample.partner]).is_err(), "{cut}");
    }
    let (headers, body) = sample.encrypted(Cipher::default(), &content);
    for cut in 0..body.len() {
        assert!(read(&headers, &body[..cut], &[&sample.ours], &[]).is_err(), "{cut}");
    }
    let (headers, body) = payload_entity(&content).compress().unwrap().into_parts();
    let body = all(body);
    for cut in 0..body.len() {
        assert!(read(&headers, &body[..cut], &[], &[]).is_err(), "{cut}");
    }
}

#[test]
fn signed_attributes_cannot_be_passed_off_as_content() {
    let sample = Sample::new();
    let mut signing = sample.partner.signing();
    signing.base64 = false;
    let (_, body) = payload_entity(b"x").sign(signing).unwrap().into_parts();
    let body = all(body);
    // Take the attributes out of the SignerInfo and make them the content.
    let start = find(&body, b"\x30\x18\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03");
    let len = usize::from(body[start - 1]);
    let attributes = [&[0x31, len as u8][..], &body[start..start + len]].concat();
    let block_at = find(&body, b"Content-Disposition: attachment; filename=smime.p7s\r\n\r\n");
    let block = &body[block_at + 55..body.len() - b"\r\n--=_waybill_0001--\r\n".len()];
    let at = find(block, &body[start - 2..start + len]);
    let without = remove_element(block, at, len + 2);
    let forged = [
        b"--b\r\n",
        attributes.as_slice(),
        b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n\r\n",
        &without,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let headers = content_type("multipart/signed; micalg=sha-256; boundary=b");
    assert!(matches!(sample.fault(&headers, &forged), Error::SignatureInvalid));
}

/// Cuts an element out of DER and shortens every length around it (all of two bytes here).
fn remove_element(der: &[u8], at: usize, len: usize) -> Vec<u8> {
    let mut out = der.to_vec();
    let mut position = 0;
    while position < at {
        if out[position + 1] == 0x82 {
            let own = usize::from(out[position + 2]) << 8 | usize::from(out[position + 3]);
            if position + 4 + own > at {
                let own = own - len;
                out[position + 2] = (own >> 8) as u8;
                out[position + 3] = own as u8;
                position += 4;
            } else {
                position += 4 + own;
            }
        } else {
            position += 2 + usize::from(out[position + 1]);
        }
    }
    out.drain(at..at + len);
    out
}

#[test]
fn caps_meet_giants() {
    let sample = Sample::new();
    let mime = content_type("application/pkcs7-mime");
    let enveloped = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80\x02\x01\x00";
    // A recipient of four gigabytes, claimed and sent.
    let giant = [&enveloped[..], b"\x31\x80\x30\x84\xff\xff\xff\xff", &[0; 3_000_000]].concat();
    assert!(matches!(sample.fault(&mime, &giant), Error::LimitExceeded { .. }));
    // Too many recipients.
    let many = [&enveloped[..], b"\x31\x80", &[0x30, 0].repeat(1000)].concat();
    assert!(matches!(sample.fault(&mime, &many), Error::LimitExceeded { .. }));
    // Nested without end.
    let deep =
        [&b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80"[..], &[0x30, 0x80].repeat(500_000)]
            .concat();
    assert!(read(&mime, &deep, &[], &[]).is_err());
    // A header without end, a signature without end, parts without end.
    let signed = content_type("multipart/signed; boundary=b");
    let header = [b"--b\r\nA: ".to_vec(), vec![b'a'; 200_000], b"\r\n--b--".to_vec()].concat();
    assert!(matches!(sample.fault(&signed, &header), Error::LimitExceeded { .. }));
    let signature =
        [b"--b\r\n\r\nx\r\n--b\r\n\r\n".to_vec(), vec![b'0'; 2_000_000], b"\r\n--b--".to_vec()].concat();
    assert!(matches!(sample.fault(&signed, &signature), Error::LimitExceeded { .. }));
    let mixed = content_type("multipart/mixed; boundary=b");
    let parts = [b"--b\r\n\r\nx\r\n".repeat(2000), b"--b--".to_vec()].concat();
    assert!(matches!(sample.fault(&mixed, &parts), Error::LimitExceeded { .. }));
    let nested: Vec<u8> = (0..50)
        .flat_map(|at| {
            let outer = if at == 0 { "b".to_owned() } else { format!("b{at}x") };
            format!("--{outer}\r\nContent-Type: multipart/mixed; boundary=b{}x\r\n\r\n", at + 1).into_bytes()
        })
        .collect();
    assert!(matches!(sample.fault(&mixed, &nested), Error::LimitExceeded { .. }));
}

#[test]
fn a_bomb_is_stopped() {
    let content = vec![0; 5_000_000];
    let (headers, body) = payload_entity(&content).compress().unwrap().into_parts();
    let body = all(body);
    assert!(body.len() < 10_000);
    let limits = Limits { expanded_bytes: 1_000_000, ..Limits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    let fault = read_with(&headers, &body[..], &[], &[], &options).unwrap_err();
    assert!(matches!(fault, Error::LimitExceeded { .. }));
}

/// Takes nothing, and tells what was around the content.
struct Refusing(Vec<Wrapping>);

impl PartReceiver for Refusing {
    fn unwrapped(&mut self, wrappings: &[Wrapping]) -> std::io::Result<()> {
        self.0 = wrappings.to_vec();
        Err(std::io::ErrorKind::PermissionDenied.into())
    }

    fn begin(&mut self, _: &smime::Part) -> std::io::Result<Box<dyn std::io::Write + '_>> {
        panic!("a leaf began after the refusal");
    }
}

#[test]
fn wrappings_are_known_before_the_first_leaf() {
    use Wrapping::{Compressed, Encrypted, Signed};
    let sample = Sample::new();
    let cbc = || sample.key(Cipher::Aes256Cbc);
    let plain = || payload_entity(b"x");
    let signed = || plain().sign(sample.partner.signing()).unwrap();
    let opaque = || plain().sign_opaque(sample.partner.signing()).unwrap();
    for ((headers, body), expected) in [
        (message(plain()), vec![]),
        (message(signed()), vec![Signed]),
        (message(opaque()), vec![Signed]),
        (message(signed().encrypt(cbc()).unwrap()), vec![Encrypted, Signed]),
        (message(plain().compress().unwrap().compress().unwrap()), vec![Compressed, Compressed]),
        (message(opaque().compress().unwrap().encrypt(cbc()).unwrap()), vec![Encrypted, Compressed, Signed]),
    ] {
        let decrypt = [sample.ours.decryption()];
        let keys = smime::Keys { decrypt: &decrypt, verify: &[] };
        let mut receiver = Refusing(Vec::new());
        let fault = smime::read_message(&headers, &body[..], keys, &ReadOptions::default(), &mut receiver);
        let fault = fault.unwrap_err();
        assert!(
            matches!(&fault, Error::Io(e) if e.kind() == std::io::ErrorKind::PermissionDenied),
            "{fault:?}"
        );
        assert_eq!(receiver.0, expected);
    }
}

#[test]
fn what_is_not_supported_says_its_name() {
    let sample = Sample::new();
    let (headers, body) = sample.encrypted(Cipher::Aes128Cbc, b"x");
    let mut other = body.clone();
    let at = find(&other, b"\x60\x86\x48\x01\x65\x03\x04\x01\x02");
    other[at + 8] = 0x63;
    let fault = sample.fault(&headers, &other);
    assert_eq!(fault.to_string(), "not supported: content encryption 2.16.840.1.101.3.4.1.99");
}

#[test]
fn a_disk_that_is_full_is_no_fault_of_the_peer() {
    struct Full;
    impl smime::PartReceiver for Full {
        fn begin(&mut self, _: &smime::Part) -> std::io::Result<Box<dyn std::io::Write + '_>> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
    }
    let sample = Sample::new();
    let (headers, body) = sample.encrypted(Cipher::default(), b"x");
    let decrypt = [sample.ours.decryption()];
    let keys = smime::Keys { decrypt: &decrypt, verify: &[] };
    let fault =
        smime::read_message(&headers, &body[..], keys, &ReadOptions::default(), &mut Full).unwrap_err();
    assert!(matches!(fault, Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn mutated_messages_neither_panic_nor_pass(
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
        kind in 0usize..3,
    ) {
        thread_local!(static SAMPLE: Sample = Sample::new());
        SAMPLE.with(|sample| {
            let content = b"some content\r\n".repeat(20);
            let (headers, mut body) = match kind {
                0 => sample.encrypted(Cipher::Aes256Gcm, &content),
                1 => sample.encrypted(Cipher::Aes256Cbc, &content),
                _ => sample.signed(&content),
            };
            let at = at.index(body.len());
            body[at] ^= 1 << bit;
            // Found by name, and by trying.
            for ours in [vec![&sample.ours], vec![&sample.partner, &sample.renewed]] {
                if let Ok((report, parts)) = read(&headers, &body, &ours, &[&sample.partner])
                    && (kind == 2 || kind == 0)
                {
                    // A flip may fall on what nobody protects, never on the content.
                    assert_eq!(parts[0].1, content);
                    assert_eq!(report.signed().is_some(), kind == 2);
                }
            }
        });
    }

    #[test]
    fn garbage_bodies_never_panic(body in proptest::collection::vec(any::<u8>(), 0..500)) {
        for kind in ["application/pkcs7-mime", "multipart/signed; boundary=\"-\"", "multipart/mixed; boundary=\"\u{1}\""] {
            if let Ok(headers) = Headers::new().with("Content-Type", kind) {
                let _ = read(&headers, &body, &[], &[]);
            }
        }
    }
}
