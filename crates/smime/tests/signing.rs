//! Signatures that are noted before they leave, repeated on a retry, and of a length that is known.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{self, Read};
use std::slice::from_ref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openssl::nid::Nid;
use smime::{
    Cipher, Digest, EncryptedContentKey, Entity, Error, Headers, KeyTransport, Measured, Signature,
    SignatureScheme, Signing,
};
use support::{Party, all, noise, payload_entity, read, unmeasured_entity};

/// Each kind of key with what its signatures are called, and whether RSA-PSS is asked for.
fn parties() -> Vec<(Party, SignatureScheme, bool)> {
    vec![
        (Party::rsa("RSA"), SignatureScheme::RsaPkcs1v15, false),
        (Party::rsa("PSS"), SignatureScheme::RsaPss, true),
        (Party::only_pss("only PSS"), SignatureScheme::RsaPss, false),
        (Party::ec("P-256"), SignatureScheme::Ecdsa, false),
        (Party::on_curve("P-224", Nid::SECP224R1), SignatureScheme::Ecdsa, false),
        (Party::on_curve("P-384", Nid::SECP384R1), SignatureScheme::Ecdsa, false),
        (Party::on_curve("P-521", Nid::SECP521R1), SignatureScheme::Ecdsa, false),
        (Party::on_curve("brainpool", Nid::BRAINPOOL_P384R1), SignatureScheme::Ecdsa, false),
        (Party::ed25519("Ed25519"), SignatureScheme::Ed25519, false),
    ]
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Base64,
    Binary,
    Opaque,
}

const FORMS: [Form; 3] = [Form::Base64, Form::Binary, Form::Opaque];

type Body<'a> = Box<dyn Measured + 'a>;

fn sign<'a, B: Measured + 'a>(entity: Entity<B>, mut signing: Signing, form: Form) -> (Headers, Body<'a>) {
    signing.base64 = matches!(form, Form::Base64);
    match form {
        Form::Opaque => {
            let (headers, body) = entity.sign_opaque(signing).unwrap().into_parts();
            (headers, Box::new(body))
        }
        _ => {
            let (headers, body) = entity.sign(signing).unwrap().into_parts();
            (headers, Box::new(body))
        }
    }
}

#[test]
fn lengths_are_known_with_every_key() {
    let content = noise(3000);
    for (party, scheme, pss) in parties() {
        let signing = Signing { pss, ..party.signing() };
        assert_eq!(signing.scheme().unwrap(), scheme);
        for form in FORMS {
            let mut same = Vec::new();
            for _ in 0..8 {
                let (headers, body) = sign(payload_entity(&content), signing.clone(), form);
                let len = body.total_len().unwrap();
                let body = all(body);
                assert_eq!(len, body.len() as u64, "{scheme:?} {form:?}");
                let (report, parts) = read(&headers, &body, &[], &[&party]).unwrap();
                assert!(parts[0].1 == content);
                let proof = report.signed().unwrap();
                assert_eq!((proof.scheme, proof.digest), (scheme, signing.digest));
                same.push(body);
            }
            assert_eq!(same.iter().all(|body| *body == same[0]), scheme.repeats(), "{scheme:?} {form:?}");
        }
    }
}

/// Keeps the signature that it is told.
fn noting(signing: Signing) -> (Signing, Arc<Mutex<Vec<Signature>>>) {
    let noted = Arc::new(Mutex::new(Vec::new()));
    let notes = noted.clone();
    let on_signature: smime::OnSignature = Arc::new(move |signature: &Signature| {
        notes.lock().unwrap().push(signature.clone());
        Ok(())
    });
    (Signing { on_signature: Some(on_signature), ..signing }, noted)
}

#[test]
fn a_noted_signature_gives_the_same_bytes() {
    let content = noise(50_000);
    let ours = Party::rsa("Ours");
    let stored = EncryptedContentKey::generate(
        Cipher::Aes256Gcm,
        from_ref(&ours.certificate),
        KeyTransport::default(),
    )
    .unwrap()
    .to_bytes();
    for (party, scheme, pss) in parties() {
        for form in FORMS {
            for measured in [true, false] {
                let message = |signing: Signing| {
                    let (headers, body) = match measured {
                        true => sign(payload_entity(&content), signing, form),
                        false => sign(unmeasured_entity(&content), signing, form),
                    };
                    let key = EncryptedContentKey::from_bytes(&stored).unwrap();
                    let (headers, body) = Entity::new(headers, body).encrypt(key).unwrap().into_parts();
                    (headers, all(body))
                };
                let (signing, noted) = noting(Signing { pss, ..party.signing() });
                let (headers, first) = message(signing.clone());
                let [signature]: [Signature; 1] = noted.lock().unwrap().clone().try_into().unwrap();
                let (report, _) = read(&headers, &first, &[&ours], &[&party]).unwrap();
                assert_eq!(report.mic(signing.digest), Some(&signature.mic));
                let again = message(Signing { made: Some(signature), ..signing });
                assert!(again.1 == first, "{scheme:?} {form:?}");
                // What is repeated was noted before.
                assert_eq!(noted.lock().unwrap().len(), 1);
            }
        }
    }
}

/// What comes out before the first error, and that error; after it nothing more may come.
fn until_error(mut body: impl Read) -> (Vec<u8>, io::Error) {
    let mut out = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match body.read(&mut piece) {
            Ok(0) => panic!("the stream ended well"),
            Ok(count) => out.extend_from_slice(&piece[..count]),
            Err(error) => {
                for _ in 0..3 {
                    assert!(body.read(&mut piece).is_err(), "it went on after an error");
                }
                return (out, error);
            }
        }
    }
}

#[test]
fn nothing_of_a_signature_leaves_that_could_not_be_noted() {
    let content = b"x".repeat(10_000);
    let party = Party::ec("Signer");
    let signing = || Signing {
        on_signature: Some(Arc::new(|_: &Signature| Err(io::Error::other("the database is away")))),
        ..party.signing()
    };
    for form in FORMS {
        for measured in [true, false] {
            let (_, body) = match measured {
                true => sign(payload_entity(&content), signing(), form),
                false => sign(unmeasured_entity(&content), signing(), form),
            };
            let (out, error) = until_error(body);
            assert_eq!(error.to_string(), "the database is away");
            // The last byte is the content's.
            assert_eq!(out.last(), Some(&b'x'), "{form:?}");
        }
        let key = EncryptedContentKey::generate(
            Cipher::Aes128Cbc,
            from_ref(&Party::rsa("Ours").certificate),
            KeyTransport::default(),
        );
        let (headers, body) = sign(payload_entity(&content), signing(), form);
        let encrypted = Entity::new(headers, body).encrypt(key.unwrap()).unwrap();
        let (_, error) = until_error(encrypted.into_parts().1);
        assert_eq!(error.to_string(), "the database is away");
    }
}

#[test]
fn an_earlier_signature_is_for_its_own_content_key_and_time() {
    let party = Party::ec("Signer");
    let (signing, noted) = noting(party.signing());
    all(sign(payload_entity(b"the content"), signing, Form::Base64).1);
    let made = noted.lock().unwrap().first().cloned();
    let attempt = |content: &[u8], signing: Signing| {
        let (headers, body) =
            sign(payload_entity(content), Signing { made: made.clone(), ..signing }, Form::Base64);
        let mut out = Vec::new();
        let result = Entity::new(headers, body).into_stream().unwrap().read_to_end(&mut out);
        result.map(drop).map_err(Error::from)
    };
    attempt(b"the content", party.signing()).unwrap();
    let fault = attempt(b"the Content", party.signing()).unwrap_err();
    assert!(matches!(fault, Error::IntegrityFailed { .. }), "{fault:?}");
    let mut later = party.signing();
    later.signing_time += Duration::from_secs(1);
    let other_key = Party::ec("Other").signing();
    for signing in [later, other_key] {
        let fault = attempt(b"the content", signing).unwrap_err();
        assert!(matches!(fault, Error::SignatureInvalid), "{fault:?}");
    }
    let other_digest = Signing { digest: Digest::Sha384, ..party.signing() };
    let fault = attempt(b"the content", other_digest).unwrap_err();
    assert!(matches!(fault, Error::IntegrityFailed { .. }), "{fault:?}");
}

#[test]
fn a_key_that_cannot_sign_says_so_before_anything_is_sent() {
    let party = Party::ed25519("Signer");
    let signing = Signing { digest: Digest::Sha256, ..party.signing() };
    let fault = payload_entity(b"x").sign(signing.clone()).err().unwrap();
    assert_eq!(fault.to_string(), "not supported: Ed25519 with sha-256 (RFC 8419 allows sha-512 alone)");
    assert!(payload_entity(b"x").sign_opaque(signing).is_err());
    assert_eq!(Signing::digest_for(&party.key, Digest::Sha256), Digest::Sha512);
    assert_eq!(Signing::digest_for(&Party::ec("Signer").key, Digest::Sha384), Digest::Sha384);
    let md5 = Signing { digest: Digest::Md5, ..Party::ec("Signer").signing() };
    assert!(matches!(payload_entity(b"x").sign(md5), Err(Error::Unsupported(_))));
}
