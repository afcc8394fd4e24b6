//! What other programs make and `openssl cms` alone cannot show: ChaCha20-Poly1305, RC2, Ed25519, RSA-PSS in its
//! odd forms, and files of certificates.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::process::Command;
use std::slice::from_ref;

use smime::{
    Cipher, Digest, EncryptedContentKey, Error, Headers, KeyTransport, ReadOptions, SignatureScheme,
    Weakness, pkcs7_certificates,
};
use support::{OpenSsl, Party, all, content_type, noise, payload_entity, read, read_with};

fn encrypted(cipher: Cipher, recipient: &Party, content: &[u8]) -> Vec<u8> {
    let recipient = from_ref(&recipient.certificate);
    let key = EncryptedContentKey::generate(cipher, recipient, KeyTransport::default()).unwrap();
    all(payload_entity(content).encrypt(key).unwrap().into_parts().1)
}

fn plain(content: &[u8]) -> Vec<u8> {
    all(payload_entity(content).into_stream().unwrap())
}

#[test]
fn chacha20_poly1305_both_ways() {
    let ours = Party::rsa("Ours");
    let headers = content_type("application/pkcs7-mime; smime-type=authEnveloped-data");
    let folder = OpenSsl::new();
    folder.party("ours", &ours);
    for len in [0, 1, 63, 64, 65, 200_000] {
        let content = noise(len);
        let message = folder.peer("encrypt ours.pem", &plain(&content));
        // It is a strong cipher.
        let (report, parts) =
            read_with(&headers, &message[..], &[&ours], &[], &ReadOptions::default()).unwrap();
        assert!(parts[0].1 == content, "{len}");
        assert_eq!(report.encrypted(), Some(Cipher::ChaCha20Poly1305));
        assert!(
            folder.peer("decrypt ours.key", &encrypted(Cipher::ChaCha20Poly1305, &ours, &content))
                == plain(&content)
        );
        // The last byte is the tag's.
        for at in [message.len() - 1, message.len() - 19, message.len() - len / 2 - 19] {
            let mut bad = message.clone();
            bad[at] ^= 1;
            assert!(matches!(read(&headers, &bad, &[&ours], &[]).unwrap_err(), Error::DecryptionFailed));
        }
    }
}

#[test]
fn rc2_both_ways_where_weak_ciphers_are_accepted() {
    let ours = Party::rsa("Ours");
    let headers = content_type("application/pkcs7-mime; smime-type=enveloped-data");
    let folder = OpenSsl::new();
    let content = noise(50_000);
    folder.put("plain", &plain(&content)).party("ours", &ours);
    let providers = "-provider legacy -provider default";
    for (name, cipher) in
        [("rc2-cbc", Cipher::Rc2Cbc128), ("rc2-64-cbc", Cipher::Rc2Cbc64), ("rc2-40-cbc", Cipher::Rc2Cbc40)]
    {
        cipher.check_available().unwrap();
        let message =
            folder.cms(&format!("-encrypt -binary -in plain -outform DER -{name} {providers} ours.pem"));
        let (report, parts) = read(&headers, &message, &[&ours], &[]).unwrap();
        assert!(parts[0].1 == content, "{name}");
        assert_eq!(report.encrypted(), Some(cipher));
        let strict = ReadOptions::default();
        let fault = read_with(&headers, &message[..], &[&ours], &[], &strict).unwrap_err();
        let Error::WeakEncryption(weakness) = &fault else { panic!("{fault:?}") };
        assert_eq!(*weakness, Weakness::Cipher(cipher));
        assert!(fault.to_string().contains(cipher.name()), "{fault}");

        folder.put("message", &encrypted(cipher, &ours, &content));
        let out = folder.cms(&format!(
            "-decrypt -binary -in message -inform DER -recip ours.pem -inkey ours.key {providers}"
        ));
        assert!(out == plain(&content), "{name}");
    }
    // The rest of the process is as it was: other ciphers work, and RC2 is not to be had.
    assert!(read(&headers, &encrypted(Cipher::Aes256Cbc, &ours, &content), &[&ours], &[]).is_ok());
    assert!(openssl::symm::encrypt(openssl::symm::Cipher::rc2_cbc(), &[0; 16], Some(&[0; 8]), b"x").is_err());
}

/// A `multipart/signed` around `content` and a signature made by somebody else.
fn detached(content: &[u8], signature: &[u8]) -> (Headers, Vec<u8>) {
    let body = [
        b"--b\r\n",
        content,
        b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: binary\r\n\r\n",
        signature,
        b"\r\n--b--\r\n",
    ];
    (content_type("multipart/signed; micalg=sha-256; boundary=b"), body.concat())
}

#[test]
fn ed25519_both_ways() {
    let party = Party::ed25519("Signer");
    let content = noise(20_000);
    let folder = OpenSsl::new();
    folder.party("signer", &party);
    let strict = ReadOptions::default();
    // RFC 8419 wants SHA-512; another digest of the content does no harm.
    for digest in ["sha512", "sha256"] {
        let signature = folder.peer(&format!("sign signer.key signer.pem {digest}"), &plain(&content));
        let (headers, body) = detached(&plain(&content), &signature);
        let (report, parts) = read_with(&headers, &body[..], &[], &[&party], &strict).unwrap();
        assert!(parts[0].1 == content);
        let proof = report.signed().unwrap();
        assert_eq!((proof.scheme, Some(proof.digest)), (SignatureScheme::Ed25519, Digest::parse(digest)));
        let mut bad = body.clone();
        let last = bad.len() - b"\r\n--b--\r\n".len() - 1;
        bad[last] ^= 1;
        assert!(matches!(read(&headers, &bad, &[], &[&party]).unwrap_err(), Error::SignatureInvalid));
        let other = Party::ed25519("Other");
        assert!(matches!(read(&headers, &body, &[], &[&other]).unwrap_err(), Error::SignerUnknown { .. }));
    }
    let bare = folder.peer("sign signer.key signer.pem sha512 --without-attributes", &plain(&content));
    let (headers, body) = detached(&plain(&content), &bare);
    let fault = read(&headers, &body, &[], &[&party]).unwrap_err().to_string();
    assert_eq!(fault, "not supported: an Ed25519 signature without signed attributes");

    let signing = party.signing();
    let digest = openssl::sha::sha512(&plain(&content));
    folder.put("signature", &signing.signature_block(&digest).unwrap());
    folder.peer("verify signer.pem signature", &plain(&content));
}

#[test]
fn rsa_pss_without_parameters() {
    let party = Party::rsa("Signer");
    let content = noise(20_000);
    let folder = OpenSsl::new();
    folder.party("signer", &party);
    let strict = ReadOptions::default();
    let accepting = ReadOptions { accept_weak: true, ..ReadOptions::default() };
    let signed = |arguments: &str| {
        let command = format!("sign signer.key signer.pem {arguments}");
        detached(&plain(&content), &folder.peer(&command, &plain(&content)))
    };
    for arguments in ["sha256", "sha256 --without-parameters", "sha512 --without-parameters"] {
        let (headers, body) = signed(arguments);
        let (report, _) = read_with(&headers, &body[..], &[], &[&party], &strict).unwrap();
        let proof = report.signed().unwrap();
        assert_eq!(
            (proof.scheme, proof.weaknesses.as_slice()),
            (SignatureScheme::RsaPss, &[][..]),
            "{arguments}"
        );
    }
    // As RFC 8017 reads them: SHA-1.
    let (headers, body) = signed("sha256 --without-parameters --pss-digest sha1");
    let fault = read_with(&headers, &body[..], &[], &[&party], &strict).unwrap_err();
    assert!(matches!(fault, Error::WeakSignature(Weakness::Digest(Digest::Sha1))), "{fault:?}");
    let (report, _) = read_with(&headers, &body[..], &[], &[&party], &accepting).unwrap();
    assert_eq!(report.signed().unwrap().weaknesses, [Weakness::Digest(Digest::Sha1)]);
}

#[test]
fn keys_for_rsa_pss_alone() {
    let party = Party::only_pss("Signer");
    let content = noise(20_000);
    let folder = OpenSsl::new();
    folder.put("plain", &plain(&content)).party("signer", &party);
    let strict = ReadOptions::default();
    // openssl 3.0 names the algorithm only if it is told.
    for arguments in ["sha256", "sha512", "sha256 -keyopt rsa_padding_mode:pss"] {
        let (md, keyopt) = arguments.split_once(' ').unwrap_or((arguments, ""));
        let message = folder.cms(&format!(
            "-sign -binary -in plain -md {md} -signer signer.pem -inkey signer.key {keyopt} -nodetach -outform DER"
        ));
        let headers = content_type("application/pkcs7-mime; smime-type=signed-data");
        let (report, parts) = read_with(&headers, &message[..], &[], &[&party], &strict).unwrap();
        assert!(parts[0].1 == content);
        assert_eq!(report.signed().unwrap().scheme, SignatureScheme::RsaPss);
    }
    let body = all(payload_entity(&content).sign_opaque(party.signing()).unwrap().into_parts().1);
    folder.put("message", &body);
    let out = folder.cms("-verify -binary -in message -inform DER -CAfile signer.pem -purpose any");
    assert!(out == plain(&content));
}

#[test]
fn a_signature_by_a_certificate_that_nobody_pinned_names_it() {
    let old = Party::rsa("Partner");
    // A new certificate with the name and the number of the old one.
    let serial = old.certificate.serial_number().to_bn().unwrap();
    let new = Party::with_serial("Partner", Party::rsa("Partner").key, &serial);
    let headers = content_type("application/pkcs7-mime; smime-type=signed-data");
    let fingerprint = new.certificate.digest(openssl::hash::MessageDigest::sha256()).unwrap();
    let signed = |embed_certificate| {
        let mut signing = new.signing();
        signing.embed_certificate = embed_certificate;
        let opaque = all(payload_entity(b"x").sign_opaque(signing.clone()).unwrap().into_parts().1);
        let (multipart, body) = payload_entity(b"x").sign(signing).unwrap().into_parts();
        [(headers.clone(), opaque), (multipart, all(body))]
    };
    for (headers, body) in signed(true) {
        let fault = read(&headers, &body, &[], &[&old]).unwrap_err();
        let Error::SignerUnknown { pinned: 1, carried: Some(carried), .. } = &fault else {
            panic!("{fault:?}")
        };
        assert_eq!((carried.subject.as_str(), &carried.fingerprint[..]), ("CN=Partner", &fingerprint[..]));
        // It is never trusted, and one that did not sign is not named.
        let mut bad = body.clone();
        let at = bad.windows(5).position(|window| window == b"\r\n\r\nx").unwrap() + 4;
        bad[at] = b'y';
        let fault = read(&headers, &bad, &[], &[&old]).unwrap_err();
        assert!(matches!(fault, Error::SignatureInvalid), "{fault:?}");
    }
    for (headers, body) in signed(false) {
        assert!(matches!(read(&headers, &body, &[], &[&old]).unwrap_err(), Error::SignatureInvalid));
    }
}

#[test]
fn openssl_reads_files_of_certificates() {
    let parties = [Party::rsa("Globex"), Party::ec("Acme"), Party::ed25519("Initech")];
    let certificates = parties.each_ref().map(|party| party.certificate.clone());
    let folder = OpenSsl::new();
    folder.put("certificates.p7b", &pkcs7_certificates(&certificates).unwrap());
    let mut pkcs7 = Command::new("openssl");
    let arguments = "pkcs7 -inform DER -in certificates.p7b -print_certs";
    let printed = String::from_utf8(folder.run(pkcs7.args(arguments.split(' ')), &[])).unwrap();
    for certificate in &certificates {
        let pem = String::from_utf8(certificate.to_pem().unwrap()).unwrap();
        assert!(printed.contains(&pem));
    }
    assert_eq!(printed.matches("BEGIN CERTIFICATE").count(), 3);
}
