//! What goes out comes back the same, in every nesting, with the right MIC.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Cursor, Read};
use std::slice::from_ref;

use proptest::prelude::*;
use smime::{
    Cipher, Digest, EncryptedContentKey, Entity, Headers, KeyTransport, Layer, Measured, MicReader, MicRule,
    Payload, ReadOptions, every_mic,
};
use support::{Party, all, content_type, noise, payload_entity, read, read_with, unmeasured_entity};

fn key(cipher: Cipher, party: &Party) -> EncryptedContentKey {
    EncryptedContentKey::generate(cipher, from_ref(&party.certificate), KeyTransport::default()).unwrap()
}

/// A layer put on by name: s(ign), e(ncrypt), c(ompress).
fn wrap(
    entity: Entity<Box<dyn Measured>>,
    (at, layer): (usize, char),
    ours: &Party,
    partner: &Party,
) -> Entity<Box<dyn Measured>> {
    let (headers, body): (Headers, Box<dyn Measured>) = match layer {
        's' => {
            let mut signing = partner.signing();
            signing.boundary = format!("layer-{at}");
            let (headers, body) = entity.sign(signing).unwrap().into_parts();
            (headers, Box::new(body))
        }
        'e' => {
            let (headers, body) = entity.encrypt(key(Cipher::default(), ours)).unwrap().into_parts();
            (headers, Box::new(body))
        }
        _ => {
            let (headers, body) = entity.compress().unwrap().into_parts();
            (headers, Box::new(body))
        }
    };
    Entity::new(headers, body)
}

#[test]
fn any_nesting_comes_back() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let content = noise(150_000);
    let plain = all(payload_entity(&content).into_stream().unwrap());
    for nesting in ["", "s", "e", "c", "se", "sc", "cs", "cse", "sce", "ce", "es", "ese", "ess"] {
        let (headers, body) = payload_entity(&content).into_parts();
        let body: Box<dyn Measured> = Box::new(Cursor::new(all(body)));
        let mut entity = Entity::new(headers, body);
        let mut signed_bytes = None;
        for (at, layer) in nesting.chars().enumerate() {
            if layer == 's' {
                let (headers, body) = entity.into_parts();
                let body = all(body);
                signed_bytes = Some([headers.raw(), b"\r\n", body.as_slice()].concat());
                entity = Entity::new(headers, Box::new(Cursor::new(body)));
            }
            entity = wrap(entity, (at, layer), &ours, &partner);
        }
        let (headers, body) = entity.into_parts();
        let len = body.total_len();
        let body = all(body);
        // Compression hides the length, unless what is above it was measured anew.
        assert_eq!(len.is_some(), nesting.rfind('c') <= nesting.rfind('s'), "{nesting}");
        assert!(len.is_none_or(|len| len == body.len() as u64), "{nesting}");

        let read = read(&headers, &body, &[&ours], &[&partner]);
        let (report, parts) = read.unwrap_or_else(|fault| panic!("{nesting}: {fault}"));
        assert!(parts[0].1 == content, "{nesting}");
        assert_eq!(report.parts[0].1, content.len() as u64);
        let layers: String = report
            .layers
            .iter()
            .rev()
            .map(|layer| match layer {
                Layer::Signed(_) => 's',
                Layer::Encrypted { .. } => 'e',
                Layer::Compressed => 'c',
            })
            .collect();
        assert_eq!(layers, nesting);
        let expected = match (&signed_bytes, nesting) {
            (Some(signed), _) => openssl::sha::sha256(signed),
            (None, "") => openssl::sha::sha256(&content),
            (None, _) => openssl::sha::sha256(&plain),
        };
        assert_eq!(report.mic(Digest::Sha256).unwrap().digest, expected, "{nesting}");
        let under_other_rule = report.mics.iter().any(|ruled| ruled.rule == MicRule::Content);
        assert!(under_other_rule, "{nesting}");
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let content = noise(90_001);
    let stored = key(Cipher::Aes256Cbc, &ours).to_bytes();
    let message = |step: usize| {
        let key = EncryptedContentKey::from_bytes(&stored).unwrap();
        let entity = payload_entity(&content).sign(partner.signing()).unwrap().encrypt(key).unwrap();
        let len = entity.body_len().unwrap();
        let (headers, mut body) = entity.into_parts();
        let mut out = Vec::new();
        let mut piece = vec![0; step];
        loop {
            match body.read(&mut piece).unwrap() {
                0 => break,
                count => out.extend_from_slice(&piece[..count]),
            }
        }
        assert_eq!(out.len() as u64, len);
        (headers, out)
    };
    let first = message(1_000_000);
    for step in [1, 17, 4095, 4096, 8192, 70_000] {
        assert!(message(step) == first, "{step}");
    }
    assert!(format!("{:?}", EncryptedContentKey::from_bytes(&stored).unwrap()).ends_with(".. }"));
}

#[test]
fn every_length_about_a_block() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let renewed = ours.renewed("Ours, renewed");
    for cipher in [
        Cipher::Aes128Cbc,
        Cipher::TripleDesCbc,
        Cipher::Aes256Gcm,
        Cipher::ChaCha20Poly1305,
        Cipher::Rc2Cbc128,
        Cipher::Rc2Cbc64,
        Cipher::Rc2Cbc40,
    ] {
        for len in 0..70 {
            let content = noise(len);
            let entity = payload_entity(&content).encrypt(key(cipher, &ours)).unwrap();
            let expected = entity.body_len().unwrap();
            let (headers, body) = entity.into_parts();
            let body = all(body);
            assert_eq!(expected, body.len() as u64);
            let (_, parts) = read(&headers, &body, &[&partner, &ours], &[]).unwrap();
            assert!(parts[0].1 == content, "{cipher:?} {len}");
            // The same by trying all keys.
            let (report, parts) = read(&headers, &body, &[&partner, &renewed], &[]).unwrap();
            assert!(parts[0].1 == content, "{cipher:?} {len}");
            assert_eq!((report.encrypted(), report.decrypted_with()), (Some(cipher), Some(1)));
        }
    }
}

#[test]
fn gcm_inside_enveloped_data_with_the_tag_behind() {
    let (ours, partner) = (Party::rsa("Ours"), Party::ec("Partner"));
    let content = noise(100_000);
    // Content of an unknown length makes every level indefinite: nothing around has a length to change.
    let signed = unmeasured_entity(&content).sign(partner.signing()).unwrap();
    let (headers, body) = signed.encrypt(key(Cipher::Aes128Gcm, &ours)).unwrap().into_parts();
    let body = all(body);
    let kind = b"\x06\x0b\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17";
    assert!(body[2..].starts_with(kind));
    let end = body.len() - 6 - 18;
    let tag = &body[end + 2..end + 18];
    // Products that do this append the tag to the ciphertext, here cut into two segments.
    let wrong = |tag: &[u8]| {
        [
            &body[..2],
            b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03",
            &body[2 + kind.len()..end - 4],
            &[0x04, 0x05],
            &tag[..5],
            &[0x04, 0x0b],
            &tag[5..],
            &[0; 10],
        ]
        .concat()
    };
    let (report, parts) = read(&headers, &wrong(tag), &[&ours], &[&partner]).unwrap();
    assert!(parts[0].1 == content);
    assert_eq!(report.encrypted(), Some(Cipher::Aes128Gcm));
    // Our certificate is not the one that the message names: its first bytes show which key is the right one.
    let (other, renewed) = (Party::rsa("Other"), ours.renewed("Ours, renewed"));
    let (report, parts) = read(&headers, &wrong(tag), &[&other, &renewed], &[&partner]).unwrap();
    assert!(parts[0].1 == content);
    assert_eq!(report.decrypted_with(), Some(1));
    let mut bad = tag.to_vec();
    bad[15] ^= 1;
    let fault = read(&headers, &wrong(&bad), &[&ours], &[&partner]).unwrap_err();
    assert!(matches!(fault, smime::Error::DecryptionFailed));
}

#[test]
fn a_mic_of_unsigned_content_is_known_to_the_sender() {
    let ours = Party::rsa("Ours");
    let content = b"UNB+\nUNZ\r\n";
    let mut entity = payload_entity(content);
    let header = entity.headers().raw().to_vec();
    let slot = entity.tap_mic(Digest::Sha256);
    let (headers, body) = entity.encrypt(key(Cipher::Aes256Gcm, &ours)).unwrap().into_parts();
    let body = all(body);
    let (report, _) = read(&headers, &body, &[&ours], &[]).unwrap();
    assert_eq!(report.mic(Digest::Sha256), slot.get());

    let every = every_mic(&header, &content[..], Digest::Sha256).unwrap();
    for ruled in &report.mics {
        assert!(every.contains(ruled), "{}", ruled.rule.describe());
    }
    let mut plain = MicReader::new(&content[..], Digest::Sha256).unwrap();
    let slot = plain.slot();
    all(&mut plain);
    let content_mic = every.iter().find(|ruled| ruled.rule == MicRule::Content).unwrap();
    assert_eq!(slot.get(), Some(&content_mic.mic));
}

#[test]
fn several_attachments_and_their_encodings() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let body = b"preamble\r\n--outer\r\nContent-Type: text/plain\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\na=3Db\r\n--outer\r\n\
        Content-Type: multipart/mixed; boundary=inner\r\n\r\n--inner\r\n\
        Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename*=utf-8''%c3%a4.bin\r\n\r\nAAEC\r\n/w==\r\n\
        --inner\r\n\r\nno headers\r\n--inner--\r\n--outer--\r\nepilogue";
    let headers = content_type("multipart/related; boundary=outer; type=\"text/plain\"");
    let entity = Entity::new(headers, Payload::new(&body[..], body.len() as u64));
    let (headers, sent) = entity.sign(partner.signing()).unwrap().into_parts();
    let (report, parts) = read(&headers, &all(sent), &[&ours], &[&partner]).unwrap();
    let found: Vec<(Vec<usize>, &[u8])> =
        parts.iter().map(|(part, bytes)| (part.path.clone(), bytes.as_slice())).collect();
    assert_eq!(
        found,
        [(vec![0], &b"a=b"[..]), (vec![1, 0], &[0, 1, 2, 255][..]), (vec![1, 1], &b"no headers"[..])]
    );
    assert_eq!(parts[1].0.file_name().as_deref(), Some("ä.bin"));
    assert!(report.signed().is_some());
}

#[test]
fn a_signature_over_one_part_does_not_cover_the_others() {
    let partner = Party::rsa("Partner");
    let signed = all(payload_entity(b"good").sign(partner.signing()).unwrap().into_stream().unwrap());
    let body = [b"--x\r\n", signed.as_slice(), b"\r\n--x\r\n\r\nforged\r\n--x--\r\n"].concat();
    let headers = content_type("multipart/mixed; boundary=x");
    let (report, parts) = read(&headers, &body, &[], &[&partner]).unwrap();
    assert!(report.signed().is_none());
    assert_eq!(parts[0].1.len(), {
        let at = signed.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        signed.len() - at - 4
    });
    assert_eq!(parts[1].1, b"forged");
}

#[test]
fn wild_multipart_signed_is_read() {
    let partner = Party::rsa("Partner");
    let (headers, body) = payload_entity(b"payload\n").sign(partner.signing()).unwrap().into_parts();
    let body = all(body);
    let strict = String::from_utf8_lossy(headers.get("Content-Type").unwrap()).into_owned();
    let text = |value: &str| content_type(value);
    // A leading line end, a preamble that repeats the header, an epilogue.
    let preamble = [b"\r\nContent-Type: ", strict.as_bytes(), b"\r\n\r\n", &body, b"\r\n\r\nx"].concat();
    let bare = strict.replace('"', "").replace("; ", ";");
    let quoted = format!("\"{}\"", strict.replace('"', "\\\""));
    let tabs = strict.replace("; ", ";\t").replace("multipart", "Multipart");
    let lying = strict.replace("sha-256", "md5, rsa-sha1").replace("pkcs7", "x-pkcs7");
    let silent = strict.replace("micalg=sha-256; ", "");
    assert_ne!(silent, strict);
    for value in [&strict, &bare, &quoted, &tabs, &lying, &silent] {
        for body in [&body, &preamble] {
            let (report, parts) = read(&text(value), body, &[], &[&partner]).unwrap();
            assert_eq!(parts[0].1, b"payload\n", "{value}");
            assert_eq!(report.signed().unwrap().digest, Digest::Sha256);
        }
    }
}

#[test]
fn expiry_is_asked_only_on_request() {
    let partner = Party::rsa("Partner");
    let (headers, body) = payload_entity(b"x").sign(partner.signing()).unwrap().into_parts();
    let body = all(body);
    let at = |seconds| ReadOptions {
        valid_at: Some(std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds)),
        ..ReadOptions::default()
    };
    let run = |options: &ReadOptions| read_with(&headers, &body[..], &[], &[&partner], options);
    assert!(run(&ReadOptions::default()).is_ok());
    assert!(run(&at(1_700_000_000)).is_ok());
    assert!(matches!(run(&at(1_500_000_000)), Err(smime::Error::CertificateNotYetValid)));
    assert!(matches!(run(&at(4_100_000_000)), Err(smime::Error::CertificateExpired)));
    let lenient = |seconds| ReadOptions { accept_expired: true, ..at(seconds) };
    assert!(run(&lenient(4_100_000_000)).is_ok());
    assert!(matches!(run(&lenient(1_500_000_000)), Err(smime::Error::CertificateNotYetValid)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn random_bytes_are_never_changed(content in proptest::collection::vec(any::<u8>(), 0..3000)) {
        thread_local!(static PARTY: Party = Party::rsa("Both"));
        PARTY.with(|party| {
            let entity = payload_entity(&content).sign(party.signing()).unwrap();
            let (headers, body) = entity.encrypt(key(Cipher::default(), party)).unwrap().into_parts();
            let (_, parts) = read(&headers, &all(body), &[party], &[party]).unwrap();
            assert_eq!(parts[0].1, content);
        });
    }
}
