//! Messages both ways with GnuPG, and what is refused.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use pgp_mime::{Cipher, Encryption, Signing, encrypt, is_pgp, sign};
use smime::{Error, Headers, Wrapping};
use std::sync::Arc;
use support::*;

const ALGORITHMS: [(&str, &str); 3] =
    [("ed25519", "cv25519"), ("rsa3072", "rsa3072"), ("nistp256", "nistp256")];

fn signing(pair: &Pair, boundary: &str) -> Signing {
    let (key, time) = (Arc::clone(&pair.own), tomorrow());
    Signing { key, digest: digest(), time, boundary: boundary.to_owned() }
}

fn encryption(pair: &Pair, signed_by: Option<&Pair>, compress: bool) -> Encryption {
    Encryption {
        recipients: vec![Arc::clone(&pair.public)],
        cipher: Cipher::Aes256,
        compress,
        signing: signed_by.map(|pair| signing(pair, "unused")),
        mic: digest(),
        boundary: "outer".to_owned(),
        at: tomorrow(),
    }
}

#[test]
fn gnupg_reads_what_is_written_and_the_room_reads_it_back() {
    let gpg = Gpg::new();
    for (number, algorithms) in ALGORITHMS.into_iter().enumerate() {
        let (us, them) = (format!("us{number}@acme.example"), format!("them{number}@globex.example"));
        gpg.generate(&us, algorithms, "");
        gpg.generate(&them, algorithms, "secret words");
        let (us, them) = (pair(&gpg, &us, ""), pair(&gpg, &them, "secret words"));
        // gpg decides by its own clock.
        let later = ["--faked-system-time".to_owned(), format!("{}!", seconds())];
        let later: Vec<&str> = later.iter().map(String::as_str).collect();

        // Signed.
        let signed = sign(entity(CONTENT), signing(&us, "b1")).unwrap();
        let slot = signed.mic.clone();
        let (headers, body) = written(signed.entity);
        assert!(is_pgp(&headers));
        assert_eq!(slot.get().unwrap().digest, sha256(&whole(CONTENT)));
        let signature = gpg.path("signature.asc");
        let armoured = between(&body, "-----BEGIN PGP SIGNATURE", "-----END PGP SIGNATURE-----");
        std::fs::write(&signature, armoured).unwrap();
        let arguments = [later.as_slice(), &["--verify", signature.to_str().unwrap(), "-"]].concat();
        gpg.run(&arguments, &whole(CONTENT));
        let (report, kept) = read(&headers, &body, &[], &[&us.public], &options()).unwrap();
        assert_eq!(kept.content, CONTENT);
        assert_eq!(report.signed.as_ref().unwrap().fingerprint, us.public.fingerprint());
        assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(CONTENT)));

        // Encrypted, with and without a signature in the same object, and compressed.
        for (signed_by, compress) in [(None, false), (Some(&us), false), (Some(&us), true)] {
            let made = encrypt(entity(CONTENT), &encryption(&them, signed_by, compress)).unwrap();
            let slot = made.mic.clone();
            let (headers, body) = written(made.entity);
            assert_eq!(slot.get().unwrap().digest, sha256(&whole(CONTENT)));
            let armoured = between(&body, "-----BEGIN PGP MESSAGE", "-----END PGP MESSAGE-----\r\n");
            let arguments = [later.as_slice(), &["--passphrase", "secret words", "--decrypt"]].concat();
            assert_eq!(gpg.run(&arguments, &armoured), whole(CONTENT), "{algorithms:?}");
            let (report, kept) = read(&headers, &body, &[&them.own], &[&us.public], &options()).unwrap();
            assert_eq!(kept.content, CONTENT);
            assert_eq!((report.cipher, report.decrypted_with), (Some("pgp-aes256"), Some(0)));
            assert_eq!(report.signed.is_some(), signed_by.is_some());
            assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(CONTENT)));
            if signed_by.is_none() {
                assert_eq!(report.wrappings, [Wrapping::Encrypted]);
            }
        }

        // Signed, then encrypted, and the other way.
        let signed = sign(entity(CONTENT), signing(&us, "inner")).unwrap().entity;
        let (headers, body) = written(encrypt(signed, &encryption(&them, None, false)).unwrap().entity);
        let (report, kept) = read(&headers, &body, &[&them.own], &[&us.public], &options()).unwrap();
        assert_eq!((kept.content.as_slice(), report.is_signed()), (CONTENT, true));
        assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(CONTENT)));
        assert_eq!(report.wrappings, [Wrapping::Encrypted, Wrapping::Signed]);
        let encrypted = encrypt(entity(CONTENT), &encryption(&them, None, false)).unwrap().entity;
        let (headers, body) = written(sign(encrypted, signing(&us, "b1")).unwrap().entity);
        let (report, kept) = read(&headers, &body, &[&them.own], &[&us.public], &options()).unwrap();
        assert_eq!((kept.content.as_slice(), report.is_signed()), (CONTENT, true));
        assert_eq!(report.wrappings, [Wrapping::Signed, Wrapping::Encrypted]);
    }
}

#[test]
fn a_key_is_valid_as_long_as_all_its_components_are() {
    let gpg = Gpg::new();
    // The primary key for two years, the subkey for one.
    gpg.generate("us@acme.example", ALGORITHMS[0], "");
    let us = pair(&gpg, "us@acme.example", "");
    let days = |days: u64| std::time::Duration::from_secs(days * 86_400);
    let until = us.public.validity().until.unwrap();
    assert!(until > tomorrow() + days(360) && until < tomorrow() + days(370), "{until:?}");
    let later = tomorrow() + days(500);
    assert!(us.own.can_sign(later) && !us.public.can_encrypt(later));
}

fn seconds() -> u64 {
    tomorrow().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

#[test]
fn what_gnupg_writes_is_read() {
    let gpg = Gpg::new();
    gpg.generate("us@acme.example", ALGORITHMS[0], "");
    gpg.generate("them@globex.example", ALGORITHMS[1], "");
    let (us, them) = (pair(&gpg, "us@acme.example", ""), pair(&gpg, "them@globex.example", ""));

    // Encrypted and signed in one object, in every form that gpg knows.
    for more in [
        &[][..],
        &["--compress-algo", "none"],
        &["--compress-algo", "zip"],
        &["--cipher-algo", "AES128"],
        &["--throw-keyids"],
        &["--textmode"],
    ] {
        for signs in [false, true] {
            let mut arguments = vec!["--armor", "-r", "us@acme.example", "-u", "them@globex.example"];
            arguments.extend(more);
            arguments.push("--encrypt");
            arguments.extend(signs.then_some("--sign"));
            let content: &[u8] = if more == ["--textmode"] { b"one\r\ntwo\r\n" } else { CONTENT };
            let armoured = gpg.run(&arguments, &whole(content));
            let (headers, body) = encrypted_as(&armoured);
            let read = read(&headers, &body, &[&them.own, &us.own], &[&them.public], &options());
            let (report, kept) = read.unwrap_or_else(|error| panic!("{more:?} {signs}: {error:?}"));
            assert_eq!((kept.content.as_slice(), report.is_signed()), (content, signs), "{more:?}");
            assert_eq!(report.decrypted_with, Some(1));
            assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(content)));
        }
    }

    // Detached, over the bytes and over the text.
    for (more, content) in
        [(&[][..], CONTENT), (&["--textmode"], CONTENT), (&["--digest-algo", "SHA512"], CONTENT)]
    {
        let mut arguments = vec!["--armor", "-u", "them@globex.example"];
        arguments.extend(more);
        arguments.push("--detach-sign");
        let signature = gpg.run(&arguments, &whole(content));
        let body = [
            b"--b1\r\n",
            whole(content).as_slice(),
            b"\r\n--b1\r\nContent-Type: application/pgp-signature\r\n\r\n",
            &signature,
            b"\r\n--b1--\r\n",
        ]
        .concat();
        let headers =
            multipart("multipart/signed; protocol=\"application/pgp-signature\"; micalg=pgp-sha256");
        let (report, kept) = read(&headers, &body, &[], &[&us.public, &them.public], &options()).unwrap();
        assert_eq!(kept.content, content);
        assert_eq!(report.signed.as_ref().unwrap().key, 1, "{more:?}");
        assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(content)));

        // Changed content, and a signer who is not known.
        let changed = String::from_utf8(body.clone()).unwrap().replace("ACME", "ACNE").into_bytes();
        let refused = read_error(&headers, &changed, &them);
        assert!(matches!(refused, Error::IntegrityFailed { .. }), "{refused:?}");
        let refused = read_error(&headers, &body, &us);
        assert!(matches!(refused, Error::SignerUnknown { .. }), "{refused:?}");
    }
}

fn read_error(headers: &Headers, body: &[u8], known: &Pair) -> Error {
    match read(headers, body, &[], &[&known.public], &options()) {
        Ok(_) => panic!("it was accepted"),
        Err(error) => error,
    }
}

#[test]
fn what_cannot_be_trusted_is_refused_with_one_text() {
    let gpg = Gpg::new();
    gpg.generate("us@acme.example", ALGORITHMS[0], "");
    gpg.generate("them@globex.example", ALGORITHMS[0], "");
    let (us, them) = (pair(&gpg, "us@acme.example", ""), pair(&gpg, "them@globex.example", ""));
    let (headers, body) =
        written(encrypt(entity(CONTENT), &encryption(&us, Some(&them), false)).unwrap().entity);
    let text = String::from_utf8(body.clone()).unwrap();
    let start =
        text.find("\r\n\r\nw").or_else(|| text.find("MESSAGE-----\r\n\r\n").map(|at| at + 14)).unwrap();

    // Any character of the ciphertext that is changed: never accepted, and always one text where our key fits.
    for at in (start + 150..text.find("\r\n=").unwrap()).step_by(7) {
        let mut changed = body.clone();
        changed[at] = match changed[at] {
            b'\r' | b'\n' => continue,
            b'A' => b'B',
            _ => b'A',
        };
        if changed == body {
            continue;
        }
        let mut keep_all = options();
        keep_all.digests = vec![digest()];
        match read(&headers, &changed, &[&us.own], &[&them.public], &keep_all) {
            Ok(_) => panic!("accepted with a change at {at}"),
            Err(error) => {
                assert_eq!(error.to_string(), Error::DecryptionFailed.to_string(), "{at}: {error:?}")
            }
        }
    }

    // For another key.
    let refused = read(&headers, &body, &[&them.own], &[&them.public], &options()).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::NoRecipient { .. }), "{refused:?}");
    // Cut short.
    let cut = &body[..body.len() / 2];
    assert!(read(&headers, cut, &[&us.own], &[&them.public], &options()).is_err());
    // Expired keys.
    let mut in_three_years = options();
    in_three_years.valid_at = Some(tomorrow() + std::time::Duration::from_secs(3 * 366 * 86_400));
    let refused =
        read(&headers, &body, &[&us.own], &[&them.public], &in_three_years).map(|_| ()).unwrap_err();
    assert!(matches!(refused, Error::CertificateExpired), "{refused:?}");
    in_three_years.accept_expired = true;
    assert!(read(&headers, &body, &[&us.own], &[&them.public], &in_three_years).is_ok());
}

#[test]
fn weak_ciphers_and_digests_are_read_where_that_is_allowed() {
    let gpg = Gpg::new();
    gpg.generate("us@acme.example", ALGORITHMS[1], "");
    let us = pair(&gpg, "us@acme.example", "");
    let arguments = [
        "--armor",
        "-r",
        "us@acme.example",
        "--cipher-algo",
        "3DES",
        "--allow-old-cipher-algos",
        "--encrypt",
    ];
    let armoured = gpg.try_run(&arguments, &whole(CONTENT)).unwrap_or_else(|_| {
        // Older versions need no permission.
        gpg.run(&["--armor", "-r", "us@acme.example", "--cipher-algo", "3DES", "--encrypt"], &whole(CONTENT))
    });
    let (headers, body) = encrypted_as(&armoured);
    let refused = read(&headers, &body, &[&us.own], &[], &options()).map(|_| ()).unwrap_err();
    // To the peer no other text than for a wrong key: the cipher is named inside the encrypted key.
    let Error::Undecipherable { cause } = refused else { panic!("{refused:?}") };
    assert!(matches!(*cause, Error::WeakEncryption(_)), "{cause:?}");
    let mut legacy = options();
    legacy.accept_weak = true;
    let (report, kept) = read(&headers, &body, &[&us.own], &[], &legacy).unwrap();
    assert_eq!((kept.content.as_slice(), report.cipher), (CONTENT, Some("pgp-3des")));
    assert!(report.weak_cipher.is_some());
}

#[test]
fn what_has_no_modification_detection_code_is_read_where_that_is_allowed() {
    let gpg = Gpg::new();
    gpg.generate("us@acme.example", ALGORITHMS[1], "");
    gpg.generate("them@globex.example", ALGORITHMS[0], "");
    let (us, them) = (pair(&gpg, "us@acme.example", ""), pair(&gpg, "them@globex.example", ""));
    let mut legacy = options();
    legacy.accept_weak = true;
    for (signs, more) in [(false, &[][..]), (false, &["--compress-algo", "none"]), (true, &[])] {
        let mut arguments = vec!["--armor", "--rfc2440", "--cipher-algo", "AES256"];
        arguments.extend(more);
        arguments.extend(["-r", "us@acme.example", "-u", "them@globex.example", "--encrypt"]);
        arguments.extend(signs.then_some("--sign"));
        let (headers, body) = encrypted_as(&gpg.run(&arguments, &whole(CONTENT)));
        let refused = read(&headers, &body, &[&us.own], &[&them.public], &options()).map(|_| ()).unwrap_err();
        assert!(matches!(refused, Error::WeakEncryption(_)), "{more:?}: {refused:?}");
        let (report, kept) = read(&headers, &body, &[&us.own], &[&them.public], &legacy).unwrap();
        assert_eq!((kept.content.as_slice(), report.cipher), (CONTENT, Some("pgp-aes256")));
        assert_eq!((report.is_signed(), report.weak_cipher.is_some()), (signs, true));
        assert_eq!(report.mic(digest()).unwrap().digest, sha256(&whole(CONTENT)));
    }
}
