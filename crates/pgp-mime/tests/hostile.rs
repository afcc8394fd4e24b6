//! Malformed objects: cut off, without end, signed as something else.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use flate2::Compression;
use flate2::read::ZlibEncoder;
use pgp::composed::{Deserializable as _, SignedPublicKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{
    OnePassSignature, PacketTrait as _, PublicKeyEncryptedSessionKey, Signature, SignatureConfig,
    SignatureType, Subpacket, SubpacketData,
};
use pgp::types::{KeyDetails as _, Password, SigningKey as _, Timestamp};
use pgp_mime::{Cipher, Encryption, encrypt};
use rand::rngs::OsRng;
use smime::{Error, Headers};
use std::io::{Cursor, Read};
use std::sync::Arc;
use support::*;

const LITERAL: u8 = 11;
const COMPRESSED: u8 = 8;
const PADDING: u8 = 21;
const SIGNATURE: u8 = 2;

/// A packet with a length of five bytes.
fn packet(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[0xC0 | tag, 0xFF][..], &length, body].concat()
}

fn literal(content: &[u8]) -> Vec<u8> {
    packet(LITERAL, &[&[b'b', 0, 0, 0, 0, 0][..], content].concat())
}

/// The encrypted key and the encrypted body of an object for a user, made of any packets.
fn encrypted(gpg: &Gpg, user: &str, plaintext: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (key, _) = SignedPublicKey::from_string(&gpg.public(user)).unwrap();
    let cipher = SymmetricKeyAlgorithm::AES256;
    let session = cipher.new_session_key(OsRng);
    let subkey = &key.public_subkeys[0].key;
    let for_key = PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, &session, cipher, subkey).unwrap();
    let (mut head, mut body) = (Vec::new(), vec![1]);
    for_key.to_writer_with_header(&mut head).unwrap();
    let mut stream = cipher.stream_encryptor(OsRng, session.as_ref(), plaintext).unwrap();
    stream.read_to_end(&mut body).unwrap();
    (head, body)
}

fn protected(gpg: &Gpg, user: &str, plaintext: &[u8]) -> (Headers, Vec<u8>) {
    let (head, body) = encrypted(gpg, user, plaintext);
    encrypted_as(&[head, packet(18, &body)].concat())
}

fn refused(message: &(Headers, Vec<u8>), pair: &Pair) -> Error {
    match read(&message.0, &message.1, &[&pair.own], &[&pair.public], &options()) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

/// The error that stays with us, behind the one that the sender learns.
fn cause(error: Error) -> Error {
    assert_eq!(error.to_string(), Error::DecryptionFailed.to_string(), "{error:?}");
    match error {
        Error::Undecipherable { cause } => *cause,
        other => other,
    }
}

fn us(gpg: &Gpg) -> Pair {
    gpg.generate("us@acme.example", ("ed25519", "cv25519"), "");
    pair(gpg, "us@acme.example", "")
}

#[test]
fn what_is_only_encrypted_and_changed_is_refused_with_one_text() {
    let gpg = Gpg::new();
    let us = us(&gpg);
    for compress in [false, true] {
        let encryption = Encryption {
            recipients: vec![Arc::clone(&us.public)],
            cipher: Cipher::Aes256,
            compress,
            signing: None,
            mic: digest(),
            boundary: "outer".to_owned(),
            at: tomorrow(),
        };
        let (headers, body) = written(encrypt(entity(CONTENT), &encryption).unwrap().entity);
        let text = String::from_utf8(body.clone()).unwrap();
        let start = text.find("MESSAGE-----\r\n\r\n").unwrap() + 14;
        // Bits of the last group that stand for nothing are not looked at.
        let end = text.find("\r\n=").unwrap() - 4;
        for at in (start + 150..end).step_by(3) {
            let mut changed = body.clone();
            changed[at] = match changed[at] {
                b'\r' | b'\n' => continue,
                b'A' => b'B',
                _ => b'A',
            };
            if changed != body {
                let read = read(&headers, &changed, &[&us.own], &[&us.public], &options());
                cause(read.err().unwrap_or_else(|| panic!("accepted with another byte {at}: {text}")));
            }
        }
    }
}

#[test]
fn an_object_that_is_cut_off_before_its_detection_code_is_refused() {
    let gpg = Gpg::new();
    let us = us(&gpg);
    // A literal that ends with the first bytes that are decrypted at a time, all but those of a detection code: 8,192 less 22.
    let head = [HEAD, &[b'x'; 8170 - 9 - HEAD.len()]].concat();
    let body = [&[b'b', 0, 0, 0, 0, 0][..], &head].concat();
    let rest = u16::try_from(body.len() - 192).unwrap().to_be_bytes();
    let literal = [&[0xC0 | LITERAL, rest[0] + 192, rest[1]][..], &body].concat();
    assert_eq!(literal.len(), 8170);
    let (key, encrypted) = encrypted(&gpg, "us@acme.example", &literal);
    assert!(encrypted.len() >= 8211);
    // In parts of 8,192, 16, 2 and 1 bytes, after which no length comes.
    let mut parts = vec![0xC0 | 18];
    let mut at = 0;
    for exponent in [13_u8, 4, 1, 0] {
        let len = 1_usize << exponent;
        parts.push(0xE0 | exponent);
        parts.extend_from_slice(&encrypted[at..at + len]);
        at += len;
    }
    assert_eq!(at, 1 + 18 + 8192);
    cause(refused(&encrypted_as(&[key.clone(), parts].concat()), &us));
    // The whole of it is accepted.
    let whole = encrypted_as(&[key, packet(18, &encrypted)].concat());
    let (report, kept) = read(&whole.0, &whole.1, &[&us.own], &[&us.public], &options()).unwrap();
    assert_eq!((kept.content.len(), report.is_signed()), (8161 - HEAD.len(), false));
}

#[test]
fn packets_around_the_content_are_bounded() {
    let gpg = Gpg::new();
    let us = us(&gpg);
    let user = "us@acme.example";
    let is_limit = |error: Error| {
        let cause = cause(error);
        assert!(matches!(cause, Error::LimitExceeded { .. }), "{cause:?}");
    };
    // Padding behind the content.
    let small = protected(&gpg, user, &[literal(HEAD), packet(PADDING, &[0; 1000])].concat());
    assert!(read(&small.0, &small.1, &[&us.own], &[], &options()).is_ok());
    let large = protected(&gpg, user, &[literal(HEAD), packet(PADDING, &[0; 3_000_000])].concat());
    is_limit(refused(&large, &us));
    // Before it, in some bytes that expand to many: a signature of a version that nobody knows, which is kept whole.
    let unknown = packet(SIGNATURE, &[99; 5_000_000]);
    let mut expanding = vec![2];
    let content = [unknown, literal(HEAD)].concat();
    ZlibEncoder::new(content.as_slice(), Compression::best()).read_to_end(&mut expanding).unwrap();
    assert!(expanding.len() < 100_000);
    is_limit(refused(&protected(&gpg, user, &packet(COMPRESSED, &expanding)), &us));
    // More signatures than anybody makes: each would hash all of the content.
    let (key, _) = SignedSecretKey::from_string(&gpg.private(user, "")).unwrap();
    let mut announcement = Vec::new();
    let primary = &key.primary_key;
    OnePassSignature::v3(
        SignatureType::Binary,
        HashAlgorithm::Sha256,
        primary.algorithm(),
        primary.legacy_key_id(),
    )
    .to_writer_with_header(&mut announcement)
    .unwrap();
    let many = [announcement.repeat(21), literal(HEAD)].concat();
    is_limit(refused(&protected(&gpg, user, &many), &us));
}

#[test]
fn only_a_signature_over_a_document_signs() {
    let gpg = Gpg::new();
    let us = us(&gpg);
    let user = "us@acme.example";
    let (key, _) = SignedSecretKey::from_string(&gpg.private(user, "")).unwrap();
    let primary = &key.primary_key;
    let (algorithm, content) = (primary.algorithm(), whole(CONTENT));
    for (typ, is_accepted) in [(SignatureType::Binary, true), (SignatureType::CertGeneric, false)] {
        let mut config = SignatureConfig::v4(typ, algorithm, HashAlgorithm::Sha256);
        let time = Timestamp::try_from(std::time::SystemTime::now()).unwrap();
        config.hashed_subpackets = vec![
            Subpacket::regular(SubpacketData::SignatureCreationTime(time)).unwrap(),
            Subpacket::regular(SubpacketData::IssuerFingerprint(primary.fingerprint())).unwrap(),
        ];
        let mut hasher = HashAlgorithm::Sha256.new_hasher().unwrap();
        hasher.update(&content);
        let len = config.hash_signature_data(&mut hasher).unwrap();
        hasher.update(&config.trailer(len).unwrap());
        let hash = hasher.finalize();
        let bytes = primary.sign(&Password::empty(), HashAlgorithm::Sha256, &hash).unwrap();
        let signature = Signature::from_config(config, [hash[0], hash[1]], bytes).unwrap();
        let mut object = Vec::new();
        OnePassSignature::v3(typ, HashAlgorithm::Sha256, algorithm, primary.legacy_key_id())
            .to_writer_with_header(&mut object)
            .unwrap();
        object.extend_from_slice(&literal(&content));
        signature.to_writer_with_header(&mut object).unwrap();
        let (headers, body) = protected(&gpg, user, &object);
        let result = read(&headers, &body, &[&us.own], &[&us.public], &options());
        match result {
            Ok((report, _)) => assert!(is_accepted && report.is_signed()),
            Err(error) => assert!(!is_accepted && error.to_string().contains("document"), "{error:?}"),
        }
    }
}

#[test]
fn an_object_that_is_wrong_and_never_ends_is_given_up() {
    let gpg = Gpg::new();
    let us = us(&gpg);
    let (headers, body) = protected(&gpg, "us@acme.example", b"no packet");
    let endless = Cursor::new(&body[..body.len() - 20]).chain(std::io::repeat(b'x'));
    let mut options = options();
    options.limits.expanded_bytes = 1_000_000;
    let keys = pgp_mime::Keys { decrypt: &[&us.own], ..pgp_mime::Keys::default() };
    let mut keep = Keep::default();
    cause(pgp_mime::read_message(&headers, endless, keys, &options, &mut keep).unwrap_err());
}

#[test]
fn the_receiver_is_not_heard_before_the_content_is_proved() {
    struct Refuses;
    impl smime::PartReceiver for Refuses {
        fn begin(&mut self, _: &smime::Part) -> std::io::Result<Box<dyn std::io::Write + '_>> {
            Err(std::io::Error::other("refused"))
        }
    }
    let gpg = Gpg::new();
    let us = us(&gpg);
    let (headers, body) = protected(&gpg, "us@acme.example", &literal(&whole(&[b'x'; 100_000])));
    let read = |body: &[u8]| {
        let keys = pgp_mime::Keys { decrypt: &[&us.own], ..pgp_mime::Keys::default() };
        pgp_mime::read_message(&headers, Cursor::new(body), keys, &options(), &mut Refuses).unwrap_err()
    };
    assert!(matches!(read(&body), Error::Io(_)));
    // Changed far behind the place where the receiver refused.
    let mut changed = body.clone();
    let at = changed.len() - 1000;
    changed[at] ^= 1;
    cause(read(&changed));
}
