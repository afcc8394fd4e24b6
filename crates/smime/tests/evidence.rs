//! What is kept of a signed message proves it by itself: the signed bytes, and the signature without them.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{self, Cursor, Write};
use std::slice::from_ref;
use std::sync::{Arc, Mutex};

use smime::{
    Cipher, EncryptedContentKey, Entity, Error, Headers, KeyTransport, Keys, Measured, Part, PartReceiver,
    Payload, ReadOptions, SignedContent, Signing, read_message, stated_digest, verify_detached,
};
use support::{OpenSsl, Party, all, noise, payload_entity, signing_time};

/// Keeps the parts, and the signed content where that is something else.
#[derive(Default)]
struct Kept {
    parts: Vec<Vec<u8>>,
    signed: Option<Arc<Mutex<Vec<u8>>>>,
}

struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl PartReceiver for Kept {
    fn begin(&mut self, _: &Part) -> io::Result<Box<dyn Write + '_>> {
        self.parts.push(Vec::new());
        Ok(Box::new(self.parts.last_mut().unwrap()))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        assert!(self.signed.is_none(), "the outermost signature alone");
        let kept = self.signed.insert(Arc::default());
        Ok(Some(Box::new(Shared(Arc::clone(kept)))))
    }
}

fn receive(
    headers: &Headers,
    body: &[u8],
    ours: &Party,
    partner: &Party,
) -> (SignedContent, Vec<u8>, Vec<u8>) {
    let mut kept = Kept::default();
    let decrypt = [ours.decryption()];
    let keys = Keys { decrypt: &decrypt, verify: from_ref(&partner.certificate) };
    let report = read_message(headers, body, keys, &ReadOptions::default(), &mut kept).unwrap();
    let mic = report.mic(report.signed().unwrap().digest).unwrap().digest.clone();
    let signed = report.signed_content.unwrap();
    let content = match (&kept.signed, signed.is_leaf) {
        (None, true) => [signed.head.as_slice(), kept.parts[0].as_slice()].concat(),
        (Some(all), false) => all.lock().unwrap().clone(),
        (all, is_leaf) => panic!("a leaf: {is_leaf}, and kept apart: {}", all.is_some()),
    };
    (signed, content, mic)
}

/// A layer put on by name: s(ign), o(paque), e(ncrypt), c(ompress).
fn wrap(
    entity: Entity<Box<dyn Measured>>,
    (at, layer): (usize, char),
    ours: &Party,
    partner: &Party,
) -> (Entity<Box<dyn Measured>>, Option<Signing>) {
    let mut signing = partner.signing();
    signing.boundary = format!("layer-{at}");
    let (headers, body, signed): (Headers, Box<dyn Measured>, _) = match layer {
        's' => {
            let (headers, body) = entity.sign(signing.clone()).unwrap().into_parts();
            (headers, Box::new(body), Some(signing))
        }
        'o' => {
            let (headers, body) = entity.sign_opaque(signing.clone()).unwrap().into_parts();
            (headers, Box::new(body), Some(signing))
        }
        'e' => {
            let key = EncryptedContentKey::generate(
                Cipher::default(),
                from_ref(&ours.certificate),
                KeyTransport::default(),
            );
            let (headers, body) = entity.encrypt(key.unwrap()).unwrap().into_parts();
            (headers, Box::new(body), None)
        }
        _ => {
            let (headers, body) = entity.compress().unwrap().into_parts();
            (headers, Box::new(body), None)
        }
    };
    (Entity::new(headers, body), signed)
}

#[test]
fn what_is_kept_proves_the_message_in_every_nesting_and_on_both_sides() {
    let (ours, partner, other) = (Party::rsa("Ours"), Party::rsa("Partner"), Party::rsa("Other"));
    let content = noise(150_000);
    let options = ReadOptions { valid_at: Some(signing_time()), ..ReadOptions::default() };
    let nestings =
        ["s", "o", "se", "oe", "sc", "cs", "co", "cse", "coe", "sce", "es", "eo", "ese", "ess", "sos"];
    for nesting in nestings {
        let (headers, body) = payload_entity(&content).into_parts();
        let body: Box<dyn Measured> = Box::new(Cursor::new(all(body)));
        let mut entity = Entity::new(headers, body);
        let mut outermost = None;
        for (at, layer) in nesting.chars().enumerate() {
            let (wrapped, signed) = wrap(entity, (at, layer), &ours, &partner);
            entity = wrapped;
            outermost = signed.or(outermost);
        }
        let (headers, body) = entity.into_parts();
        let body = all(body);
        let (signed, content, mic) = receive(&headers, &body, &ours, &partner);
        // The sender makes what the receiver got once more.
        let sent = outermost.unwrap().signature_block(&mic).unwrap();
        let certificates = from_ref(&partner.certificate);
        for signature in [&signed.signature[..], &sent] {
            let proof = verify_detached(&content[..], signature, certificates, &options)
                .unwrap_or_else(|fault| panic!("{nesting}: {fault}"));
            assert_eq!(proof.mic.digest, mic, "{nesting}");
            assert_eq!(stated_digest(signature, certificates, &options).unwrap(), proof, "{nesting}");
        }
        let changed = [&content[..], b" "].concat();
        let changed = verify_detached(&changed[..], &signed.signature, certificates, &options);
        assert!(matches!(changed, Err(Error::IntegrityFailed { .. })), "{nesting}: {changed:?}");
        let by_other = from_ref(&other.certificate);
        assert!(verify_detached(&content[..], &signed.signature, by_other, &options).is_err(), "{nesting}");
        assert!(stated_digest(&signed.signature, by_other, &options).is_err(), "{nesting}");
    }
}

#[test]
fn content_of_several_parts_or_in_a_transfer_encoding_is_kept_as_it_was_signed() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let several = "--x\r\nContent-Type: text/plain\r\n\r\none\r\n--x\r\n\r\ntwo\r\n--x--\r\n";
    for (media, encoding, body) in [
        ("multipart/related; boundary=x", "binary", several.as_bytes()),
        ("application/edifact", "base64", &b"VU5CKw==\r\n"[..]),
        ("application/edifact", "quoted-printable", &b"UNB=2B\r\n"[..]),
    ] {
        let headers = Headers::new().with("Content-Type", media).unwrap();
        let headers = headers.with("Content-Transfer-Encoding", encoding).unwrap();
        let entity = Entity::new(headers.clone(), Payload::new(body, body.len() as u64));
        let (outer, stream) = entity.sign(partner.signing()).unwrap().into_parts();
        let message = all(stream);
        let (signed, content, _) = receive(&outer, &message, &ours, &partner);
        assert!(!signed.is_leaf);
        assert_eq!(content, [headers.raw(), b"\r\n", body].concat());
    }
}

#[test]
fn openssl_verifies_what_is_kept() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let content = noise(10_000);
    for layer in ['s', 'o'] {
        let (headers, body) = payload_entity(&content).into_parts();
        let body: Box<dyn Measured> = Box::new(Cursor::new(all(body)));
        let (entity, _) = wrap(Entity::new(headers, body), (0, layer), &ours, &partner);
        let (headers, body) = entity.into_parts();
        let (signed, content, _) = receive(&headers, &all(body), &ours, &partner);
        let openssl = OpenSsl::new();
        openssl.party("signer", &partner).put("signature.p7s", &signed.signature).put("content", &content);
        openssl.cms(
            "-verify -binary -inform DER -in signature.p7s -content content -certfile signer.pem -nointern -noverify \
             -out verified",
        );
        assert_eq!(std::fs::read(openssl.path("verified")).unwrap(), content);
    }
}
