//! What we write, `openssl cms` reads; what `openssl cms` writes, we read.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use smime::{
    Cipher, Digest, EncryptedContentKey, Entity, Headers, KeyTransport, Limits, Measured, MicRule, Payload,
    ReadOptions, SignatureScheme,
};
use support::{OpenSsl, Party, all, content_type, noise, payload_entity, read, read_with, unmeasured_entity};

/// Headers and body of a file as `openssl -outform SMIME` writes it.
fn split(message: &[u8]) -> (Headers, Vec<u8>) {
    let (headers, body) = Headers::parse(message, &Limits::default()).unwrap();
    (headers, body.to_vec())
}

const ENTITY: &[u8] =
    b"Content-Type: application/edi-x12; name=\"a.edi\"\r\nContent-Transfer-Encoding: binary\r\n\r\n";

fn entity(content: &[u8]) -> Vec<u8> {
    [ENTITY, content].concat()
}

#[test]
fn openssl_verifies_what_we_sign() {
    // openssl's own MIME reader goes by lines; binary content is shown to it beside the signature.
    let text = b"ISA*00*\r\nGS*PO\r\n".repeat(4000);
    let binary = noise(70_000);
    let (rsa, ec) = (Party::rsa("Signer"), Party::ec("Signer"));
    for (party, pss) in [(&rsa, false), (&rsa, true), (&ec, false)] {
        for digest in [Digest::Sha1, Digest::Sha256, Digest::Sha384, Digest::Sha512] {
            for (content, base64) in [(&text, true), (&text, false), (&binary, true)] {
                let mut signing = party.signing();
                signing.digest = digest;
                signing.base64 = base64;
                signing.pss = pss;
                signing.embed_certificate = base64;
                let plain = all(payload_entity(content).into_stream().unwrap());
                let entity = payload_entity(content).sign(signing.clone()).unwrap();
                let slot = entity.signed_mic();
                let message = all(entity.into_stream().unwrap());
                let mic = slot.get().unwrap();
                let block = signing.signature_block(&mic.digest).unwrap();
                let folder = OpenSsl::new();
                folder.put("message", &message).put("plain", &plain).put("signature", &block);
                folder.party("signer", party);
                let trust = "-CAfile signer.pem -certfile signer.pem -purpose any";
                let detached = format!("-verify -binary -in signature -inform DER -content plain {trust}");
                assert!(folder.cms(&detached) == plain, "{digest:?}");
                if content == &text && base64 {
                    let whole = format!("-verify -in message -inform SMIME {trust}");
                    assert!(folder.cms(&whole) == plain, "{digest:?}");
                }
            }
        }
    }
}

#[test]
fn openssl_verifies_our_opaque_signatures() {
    let content = noise(200_000);
    let plain = all(payload_entity(&content).into_stream().unwrap());
    for (party, known) in
        [(Party::rsa("Signer"), true), (Party::ec("Signer"), true), (Party::ec("Signer"), false)]
    {
        let length = known.then_some(content.len() as u64);
        let (inner, body) = unmeasured_entity(&content).into_parts();
        let body: Box<dyn Measured> = match length {
            Some(length) => Box::new(Payload::new(body, length)),
            None => Box::new(body),
        };
        let entity = Entity::new(inner, body).sign_opaque(party.signing()).unwrap();
        let (len, slot) = (entity.body_len(), entity.signed_mic());
        assert_eq!(len.is_some(), known);
        let (headers, body) = entity.into_parts();
        let body = all(body);
        assert!(len.is_none_or(|len| len == body.len() as u64));
        let folder = OpenSsl::new();
        folder.put("message", &body).party("signer", &party);
        let out = folder.cms("-verify -binary -in message -inform DER -CAfile signer.pem -purpose any");
        assert!(out == plain);
        let (report, parts) = read(&headers, &body, &[], &[&party]).unwrap();
        assert!(parts[0].1 == content);
        assert_eq!(report.mic(Digest::Sha256), slot.get());
    }
}

#[test]
fn openssl_decrypts_what_we_encrypt() {
    let content = noise(200_003);
    let plain = all(payload_entity(&content).into_stream().unwrap());
    let (first, second) = (Party::rsa("First"), Party::rsa("Second"));
    for cipher in [
        Cipher::Aes128Cbc,
        Cipher::Aes192Cbc,
        Cipher::Aes256Cbc,
        Cipher::TripleDesCbc,
        Cipher::Aes128Gcm,
        Cipher::Aes192Gcm,
        Cipher::Aes256Gcm,
    ] {
        for transport in [KeyTransport::Pkcs1v15, KeyTransport::Oaep(Digest::Sha256)] {
            let recipients = [first.certificate.clone(), second.certificate.clone()];
            let key = EncryptedContentKey::generate(cipher, &recipients, transport).unwrap();
            let (_, body) = payload_entity(&content).encrypt(key).unwrap().into_parts();
            let folder = OpenSsl::new();
            folder.put("message", &all(body)).party("first", &first).party("second", &second);
            for name in ["first", "second"] {
                let out = folder.cms(&format!(
                    "-decrypt -binary -in message -inform DER -recip {name}.pem -inkey {name}.key"
                ));
                assert!(out == plain, "{cipher:?} {transport:?} {name}");
            }
        }
    }
}

#[test]
fn recipients_with_ec_keys_both_ways() {
    let content = noise(30_000);
    let plain = entity(&content);
    let (ours, rsa) = (Party::ec("Recipient"), Party::rsa("Other"));
    let folder = OpenSsl::new();
    folder.put("plain", &plain).party("ours", &ours).party("rsa", &rsa);
    let headers = content_type("application/pkcs7-mime");
    for form in [
        "",
        "-keyid",
        "-keyopt ecdh_kdf_md:sha256",
        "-keyopt ecdh_kdf_md:sha512",
        "-keyopt ecdh_cofactor_mode:1",
        "-keyopt ecdh_kdf_md:sha384 -keyopt ecdh_cofactor_mode:1",
    ] {
        // openssl wraps the key of triple DES by triple DES.
        for cipher in ["aes-128-cbc", "aes-256-cbc", "aes-256-gcm", "des3"] {
            let (before, after) = if form.contains("keyopt") { ("", form) } else { (form, "") };
            let message = folder.cms(&format!(
                "-encrypt -binary -in plain -outform DER {before} -{cipher} -recip ours.pem {after}"
            ));
            let (_, parts) = read(&headers, &message, &[&rsa, &ours], &[]).unwrap();
            assert!(parts[0].1 == content, "{form} {cipher}");
            let fault = read(&headers, &message, &[&rsa], &[]).unwrap_err();
            assert!(matches!(fault, smime::Error::NoRecipient { .. }));
        }
    }
    for cipher in [Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
        let recipients = [ours.certificate.clone(), rsa.certificate.clone()];
        let key = EncryptedContentKey::generate(cipher, &recipients, KeyTransport::default()).unwrap();
        let (headers, body) = payload_entity(&content).encrypt(key).unwrap().into_parts();
        let body = all(body);
        folder.put("message", &body);
        for name in ["ours", "rsa"] {
            let out = folder.cms(&format!(
                "-decrypt -binary -in message -inform DER -recip {name}.pem -inkey {name}.key"
            ));
            assert!(out.ends_with(&content), "{cipher:?} {name}");
        }
        assert!(read(&headers, &body, &[&ours], &[]).unwrap().1[0].1 == content);
    }
}

#[test]
fn openssl_decrypts_our_indefinite_form() {
    let content = noise(300_000);
    let recipient = Party::rsa("Recipient");
    for cipher in [Cipher::Aes256Cbc, Cipher::Aes256Gcm] {
        let key = EncryptedContentKey::generate(
            cipher,
            std::slice::from_ref(&recipient.certificate),
            KeyTransport::default(),
        )
        .unwrap();
        let signer = Party::ec("Signer");
        let signed = unmeasured_entity(&content).sign(signer.signing()).unwrap();
        let entity = signed.encrypt(key).unwrap();
        assert_eq!(entity.body_len(), None);
        let (headers, body) = entity.into_parts();
        let body = all(body);
        let folder = OpenSsl::new();
        folder.put("message", &body).party("recipient", &recipient).party("signer", &signer);
        let inner =
            folder.cms("-decrypt -binary -in message -inform DER -recip recipient.pem -inkey recipient.key");
        assert!(inner.starts_with(b"Content-Type: multipart/signed;"));
        let (report, parts) = read(&headers, &body, &[&recipient], &[&signer]).unwrap();
        assert_eq!(report.encrypted(), Some(cipher));
        assert_eq!(report.signed().unwrap().scheme, SignatureScheme::Ecdsa);
        assert!(parts[0].1 == content);
    }
}

#[test]
fn we_decrypt_what_openssl_encrypts() {
    let recipient = Party::rsa("Recipient");
    for len in [0, 1, 15, 16, 4096, 100_000] {
        let content = noise(len);
        let folder = OpenSsl::new();
        folder.put("plain", &entity(&content)).party("recipient", &recipient);
        for cipher in ["aes-128-cbc", "aes-192-cbc", "aes-256-cbc", "des3", "aes-128-gcm", "aes-256-gcm"] {
            for form in [
                "-stream",
                "-indef",
                "",
                "-keyid",
                "-keyopt rsa_padding_mode:oaep",
                "-keyopt rsa_padding_mode:oaep -keyopt rsa_oaep_md:sha256",
            ] {
                let (keyopt, form) = if form.contains("keyopt") { (form, "") } else { ("", form) };
                let message = folder.cms(&format!(
                    "-encrypt -binary -in plain -outform DER {form} -{cipher} -recip recipient.pem {keyopt}"
                ));
                let headers = content_type("application/pkcs7-mime; smime-type=enveloped-data");
                let (report, parts) = read(&headers, &message, &[&recipient], &[]).unwrap();
                assert!(parts[0].1 == content, "{cipher} {form} {keyopt} {len}");
                assert_eq!(report.encrypted(), Cipher::parse(cipher));
                assert_eq!(report.rule(), MicRule::Entity);
                let expected = openssl::sha::sha256(&entity(&content));
                assert_eq!(report.mic(Digest::Sha256).unwrap().digest, expected);
                assert_eq!(parts[0].0.file_name().as_deref(), Some("a.edi"));
            }
        }
    }
}

#[test]
fn we_verify_what_openssl_signs() {
    let (rsa, ec) = (Party::rsa("Signer"), Party::ec("Signer"));
    let content = noise(50_000);
    let plain = entity(&content);
    for party in [&rsa, &ec] {
        let folder = OpenSsl::new();
        folder.put("plain", &plain).party("signer", party);
        for md in ["sha1", "sha256", "sha384", "sha512"] {
            for form in [
                "",
                "-noattr",
                "-keyid",
                "-nocerts",
                "-stream",
                "-nosmimecap",
                "-keyopt rsa_padding_mode:pss",
            ] {
                if form.contains("pss") && party.key.id() == openssl::pkey::Id::EC {
                    continue;
                }
                let digest = Digest::parse(md).unwrap();
                let (before, after) = if form.contains("keyopt") { ("", form) } else { (form, "") };
                let sign = format!(
                    "-sign -binary -in plain -md {md} {before} -signer signer.pem -inkey signer.key {after}"
                );
                let message = folder.cms(&format!("{sign} -outform SMIME"));
                let (headers, body) = split(&message);
                let options = ReadOptions { accept_weak: md == "sha1", ..ReadOptions::default() };
                let (report, parts) = read_with(&headers, &body[..], &[], &[party], &options).unwrap();
                assert!(parts[0].1 == content, "{md} {form}");
                let proof = report.signed().unwrap();
                assert_eq!((proof.digest, proof.canonical), (digest, false));
                assert_eq!(report.mic(digest).unwrap().digest, {
                    openssl::hash::hash(openssl::hash::MessageDigest::from_name(md).unwrap(), &plain)
                        .unwrap()
                        .to_vec()
                });
                if form.contains("pss") {
                    assert_eq!(proof.scheme, SignatureScheme::RsaPss);
                }

                let opaque = folder.cms(&format!("{sign} -nodetach -outform DER"));
                let headers = content_type("application/pkcs7-mime; smime-type=signed-data");
                let (report, parts) = read_with(&headers, &opaque[..], &[], &[party], &options).unwrap();
                assert!(parts[0].1 == content, "{md} {form} opaque");
                assert_eq!(report.signed().unwrap().digest, digest);
            }
        }
    }
}

#[test]
fn text_signed_with_crlf_and_sent_with_lf() {
    let party = Party::rsa("Signer");
    let text = b"Content-Type: text/plain\n\nISA*00*\nGS*PO\nend\n";
    let folder = OpenSsl::new();
    folder.put("plain", text).party("signer", &party);
    let message = folder.cms("-sign -in plain -md sha256 -signer signer.pem -inkey signer.key");
    let message = String::from_utf8(message).unwrap().replace("\r\n", "\n");
    let (headers, body) = split(message.as_bytes());
    let (report, parts) = read(&headers, &body, &[], &[&party]).unwrap();
    let proof = report.signed().unwrap();
    assert!(proof.canonical);
    assert_eq!(report.rule(), MicRule::SignedCanonical);
    // Not a byte of the payload is changed.
    assert_eq!(parts[0].1, b"ISA*00*\nGS*PO\nend\n");
    let crlf = b"Content-Type: text/plain\r\n\r\nISA*00*\r\nGS*PO\r\nend\r\n";
    assert_eq!(report.mic(Digest::Sha256).unwrap().digest, openssl::sha::sha256(crlf));
    assert!(report.mics.iter().any(|ruled| ruled.rule == MicRule::Signed));
}

#[test]
fn sign_then_encrypt_by_openssl_in_base64() {
    let (ours, partner) = (Party::rsa("Ours"), Party::rsa("Partner"));
    let content = noise(120_000);
    let folder = OpenSsl::new();
    folder.put("plain", &entity(&content)).party("ours", &ours).party("partner", &partner);
    let signed = folder.cms("-sign -binary -in plain -signer partner.pem -inkey partner.key");
    folder.put("signed", &signed);
    let message = folder.cms("-encrypt -binary -in signed -aes256 -recip ours.pem -stream");
    let (headers, body) = split(&message);
    let (report, parts) = read(&headers, &body, &[&ours], &[&partner]).unwrap();
    assert!(parts[0].1 == content);
    assert_eq!(report.layers.len(), 2);
    // The same body announced by nobody as base64.
    let bare = content_type("application/x-pkcs7-mime");
    assert!(read(&bare, &body, &[&ours], &[&partner]).unwrap().1[0].1 == content);
}
