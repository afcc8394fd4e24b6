//! Messages that name none of our certificates, or one that several of our keys have: the right key is found, and a
//! failure shows nothing of the attempts.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::slice::from_ref;

use smime::{Cipher, Digest, EncryptedContentKey, Error, Headers, KeyTransport};
use support::{OpenSsl, Party, all, content_type, noise, payload_entity, read};

fn key(cipher: Cipher, party: &Party, transport: KeyTransport) -> EncryptedContentKey {
    EncryptedContentKey::generate(cipher, from_ref(&party.certificate), transport).unwrap()
}

fn encrypted(key: EncryptedContentKey, content: &[u8]) -> (Headers, Vec<u8>) {
    let (headers, body) = payload_entity(content).encrypt(key).unwrap().into_parts();
    (headers, all(body))
}

#[test]
fn a_certificate_renewed_under_the_same_key_still_decrypts() {
    let content = noise(70_000);
    let transports =
        [KeyTransport::Pkcs1v15, KeyTransport::Oaep(Digest::Sha1), KeyTransport::Oaep(Digest::Sha256)];
    for old in [Party::rsa("Old"), Party::ec("Old")] {
        let new = old.renewed("New");
        let (rsa, ec) = (Party::rsa("Another"), Party::ec("Another"));
        for cipher in [Cipher::Aes256Cbc, Cipher::TripleDesCbc, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305] {
            for transport in transports {
                let (headers, body) = encrypted(key(cipher, &old, transport), &content);
                for (place, ours) in [(0, vec![&new]), (2, vec![&rsa, &ec, &new]), (0, vec![&new, &ec, &rsa])]
                {
                    let (report, parts) = read(&headers, &body, &ours, &[]).unwrap();
                    assert!(parts[0].1 == content, "{cipher:?} {transport:?}");
                    assert_eq!(report.decrypted_with(), Some(place), "{cipher:?} {transport:?}");
                }
                // If the name is ours, it decides.
                let (report, _) = read(&headers, &body, &[&new, &rsa, &old], &[]).unwrap();
                assert_eq!(report.decrypted_with(), Some(2));
            }
        }
    }
}

#[test]
fn openssl_encrypts_to_the_old_certificate() {
    let content = noise(30_000);
    let plain = all(payload_entity(&content).into_stream().unwrap());
    let headers = content_type("application/pkcs7-mime; smime-type=enveloped-data");
    let (old, other) = (Party::rsa("Old"), Party::rsa("Other"));
    let new = old.renewed("New");
    let folder = OpenSsl::new();
    folder.put("plain", &plain).party("old", &old).party("new", &new);
    for cipher in ["aes-128-cbc", "aes-256-gcm", "des3"] {
        for (name, form) in [("old", ""), ("old", "-stream"), ("new", "")] {
            let message = folder
                .cms(&format!("-encrypt -binary -in plain -outform DER {form} -{cipher} -recip {name}.pem"));
            let (report, parts) = read(&headers, &message, &[&other, &new], &[]).unwrap();
            assert!(parts[0].1 == content, "{cipher} {name} {form}");
            assert_eq!(report.decrypted_with(), Some(1));
        }
    }
}

#[test]
fn two_keys_under_one_issuer_and_serial_number() {
    // Some products give each certificate they sign themselves the same serial number.
    let old = Party::rsa("Ours");
    let serial = old.certificate.serial_number().to_bn().unwrap();
    let new = Party::with_serial("Ours", Party::rsa("Ours").key, &serial);
    let content = noise(1000);
    for (place, party) in [&old, &new].into_iter().enumerate() {
        let (headers, body) = encrypted(key(Cipher::Aes128Cbc, party, KeyTransport::default()), &content);
        let (report, parts) = read(&headers, &body, &[&old, &new], &[]).unwrap();
        assert!(parts[0].1 == content);
        assert_eq!(report.decrypted_with(), Some(place));
    }
}

#[test]
fn one_answer_for_everything_that_no_key_decrypts() {
    let old = Party::rsa("Old");
    let (new, other) = (old.renewed("New"), Party::rsa("Other"));
    let content = noise(10_000);
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
        let (headers, body) = encrypted(key(cipher, &old, KeyTransport::Pkcs1v15), &content);
        let block = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82\x01\x00";
        let block = body.windows(block.len()).position(|window| window == block).unwrap() + block.len();
        let mut texts = Vec::new();
        for ours in [vec![&new], vec![&new, &other], vec![&other]] {
            let mut refuse = |what: String, body: &[u8]| {
                let fault = read(&headers, body, &ours, &[]).expect_err(&what);
                assert!(matches!(fault, Error::NoRecipient { .. }), "{what}: {fault:?}");
                texts.push(fault.to_string());
            };
            // The block, the first and the last bytes of the ciphertext; cut off within it.
            for at in [block + 1, block + 200, body.len() - 1] {
                let mut bad = body.clone();
                bad[at] ^= 0x20;
                refuse(format!("{cipher:?} {at}"), &bad);
            }
            for less in [1, 17, 5000, 10_010, 10_060] {
                refuse(format!("{cipher:?} cut by {less}"), &body[..body.len() - less]);
            }
        }
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        // Good padding over what is no MIME, by the right key and by none.
        let garbage =
            smime::Entity::new(Headers::new(), smime::Payload::new(&content[..], content.len() as u64));
        let (headers, body) =
            garbage.encrypt(key(cipher, &old, KeyTransport::default())).unwrap().into_parts();
        let body = all(body);
        for ours in [[&new, &other], [&other, &other]] {
            let fault = read(&headers, &body, &ours, &[]).unwrap_err();
            assert!(matches!(fault, Error::NoRecipient { .. }), "{fault:?}");
        }
    }
}

fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let len = content.len();
    match len {
        0..0x80 => [&[tag, len as u8], &content[..]].concat(),
        0x80..0x100 => [&[tag, 0x81, len as u8], &content[..]].concat(),
        _ => [&[tag, 0x82, (len >> 8) as u8, len as u8], &content[..]].concat(),
    }
}

/// The contents of an element, and what follows it.
fn open(bytes: &[u8]) -> (&[u8], &[u8]) {
    let (from, len) = match bytes[1] {
        0x81 => (3, usize::from(bytes[2])),
        0x82 => (4, usize::from(bytes[2]) << 8 | usize::from(bytes[3])),
        short => (2, usize::from(short)),
    };
    (&bytes[from..from + len], &bytes[from + len..])
}

/// The fields of a stored content key before its recipients, and those.
fn fields(key: &EncryptedContentKey) -> (Vec<u8>, Vec<u8>) {
    let stored = key.to_bytes();
    let (content, _) = open(&stored);
    let mut rest = content;
    for _ in 0..4 {
        rest = open(rest).1;
    }
    (content[..content.len() - rest.len()].to_vec(), open(rest).0.to_vec())
}

#[test]
fn a_second_recipient_tells_nothing_of_the_first() {
    // Bleichenbacher's attack, with somebody else's block before one whose key the attacker knows: if the answer
    // depended on whether that block is valid, he could ask until he knows what is in it.
    let old = Party::rsa("Old");
    let new = old.renewed("New");
    let known = key(Cipher::Aes256Cbc, &old, KeyTransport::default());
    let (secret, own) = (fields(&key(Cipher::Aes256Cbc, &old, KeyTransport::default())).1, fields(&known));
    let mut invalid = secret.clone();
    let end = invalid.len() - 1;
    invalid[end] ^= 1;
    for ours in [vec![&new], vec![&old]] {
        let answers: Vec<_> = [&secret, &invalid]
            .into_iter()
            .map(|first| {
                let set = element(0x31, &[first, &own.1]);
                let key = EncryptedContentKey::from_bytes(&element(0x30, &[&own.0, &set])).unwrap();
                let (headers, body) = encrypted(key, b"content");
                read(&headers, &body, &ours, &[]).map(|(report, _)| report.decrypted_with()).ok()
            })
            .collect();
        assert_eq!(answers[0], answers[1]);
        // By trying, the second is found; by name, the first decides, and its key is the wrong one.
        assert_eq!(answers[0], if ours[0].certificate == new.certificate { Some(Some(0)) } else { None });
    }
}

#[test]
fn a_crowd_of_recipients_is_named_in_part() {
    let crowd: Vec<_> = (0..40).map(|at| Party::ec(&format!("Somebody {at}")).certificate).collect();
    let key = EncryptedContentKey::generate(Cipher::Aes128Gcm, &crowd, KeyTransport::default()).unwrap();
    let (headers, body) = encrypted(key, b"content");
    for ours in [Party::ec("Ours"), Party::rsa("Ours")] {
        let fault = read(&headers, &body, &[&ours], &[]).unwrap_err();
        let Error::NoRecipient { recipients } = fault else { panic!("{fault:?}") };
        assert_eq!((recipients.len(), recipients[10].as_str()), (11, "30 more"));
        assert!(recipients[0].contains(" of CN=Somebody "), "{recipients:?}");
    }
}
