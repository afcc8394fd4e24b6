//! What is kept of a signed message proves it by itself, here and to GnuPG: the signed bytes, and the signature.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use pgp_mime::{
    Cipher, Encryption, Keys, PartnerKey, Report, Signing, encrypt, read_message, sign, verify_detached,
};
use smime::{Error, Headers, MicRule, Part, PartReceiver};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use support::*;

/// Keeps the leaves, and the signed content where that is something else.
#[derive(Default)]
struct Kept {
    leaves: Vec<u8>,
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
        Ok(Box::new(&mut self.leaves))
    }

    fn signed_content(&mut self) -> io::Result<Option<Box<dyn Write + Send>>> {
        assert!(self.signed.is_none(), "the outermost signature alone");
        let kept = self.signed.insert(Arc::default());
        Ok(Some(Box::new(Shared(Arc::clone(kept)))))
    }
}

/// The account of a message, and all that its outermost signature covers.
fn received(headers: &Headers, body: &[u8], us: &Pair, them: &Pair) -> (Report, Vec<u8>) {
    let mut kept = Kept::default();
    let keys = Keys { decrypt: &[&us.own], verify: &[&them.public], ..Keys::default() };
    let report = read_message(headers, body, keys, &options(), &mut kept).unwrap();
    let signed = report.signed_content.as_ref().unwrap();
    let content = match (&kept.signed, signed.is_leaf) {
        (None, true) => [signed.head.as_slice(), &kept.leaves].concat(),
        (Some(all), false) => all.lock().unwrap().clone(),
        other => panic!("{other:?}"),
    };
    assert!(content.starts_with(&signed.head));
    assert_eq!(report.rule(), MicRule::Signed);
    (report, content)
}

/// The signature holds for the content, and for no other, here and by what GnuPG says.
fn proves(gpg: &Gpg, signature: &[u8], content: &[u8], signer: &PartnerKey, told: &str) {
    let verified = verify_detached(content, signature, &[signer], &options());
    let verified = verified.unwrap_or_else(|error| panic!("{told}: {error:?}"));
    assert_eq!(verified.proof.fingerprint, signer.fingerprint(), "{told}");
    let mic = verified.mics.iter().find(|mic| mic.algorithm == digest()).unwrap();
    assert_eq!(mic.digest, sha256(content), "{told}");
    let changed = [content, b"!"].concat();
    let refused = verify_detached(&changed[..], signature, &[signer], &options());
    assert!(matches!(refused, Err(Error::IntegrityFailed { .. })), "{told}: {refused:?}");
    let (file, later) = (gpg.path("signature"), tomorrow().duration_since(std::time::UNIX_EPOCH).unwrap());
    std::fs::write(&file, signature).unwrap();
    let later = format!("{}!", later.as_secs() + 60);
    let verify = ["--faked-system-time", &later, "--verify", file.to_str().unwrap(), "-"];
    gpg.run(&verify, content);
    assert!(gpg.try_run(&verify, &changed).is_err(), "{told}");
}

#[test]
fn what_is_kept_of_own_messages_proves_them_in_every_form() {
    let gpg = Gpg::new();
    for (number, algorithms) in
        [("ed25519", "cv25519"), ("rsa3072", "rsa3072"), ("nistp256", "nistp256")].into_iter().enumerate()
    {
        let (us, them) = (format!("us{number}@acme.example"), format!("them{number}@globex.example"));
        gpg.generate(&us, algorithms, "");
        gpg.generate(&them, algorithms, "");
        let (us, them) = (pair(&gpg, &us, ""), pair(&gpg, &them, ""));
        let signing = |boundary: &str| Signing {
            key: Arc::clone(&them.own),
            digest: digest(),
            time: tomorrow(),
            boundary: boundary.to_owned(),
        };
        let encryption = |signs: bool| Encryption {
            recipients: vec![Arc::clone(&us.public)],
            cipher: Cipher::Aes256,
            compress: signs,
            signing: signs.then(|| signing("unused")),
            mic: digest(),
            boundary: "outer".to_owned(),
            at: tomorrow(),
        };
        let signer = them.own.public();
        assert_eq!(signer.to_armoured().unwrap(), them.public.to_armoured().unwrap());
        for form in ["signed", "in one", "signed, then encrypted", "encrypted, then signed"] {
            let (made, slot) = match form {
                "signed" => {
                    let made = sign(entity(CONTENT), signing("b1")).unwrap();
                    (made.entity, made.signature)
                }
                "in one" => {
                    let made = encrypt(entity(CONTENT), &encryption(true)).unwrap();
                    (made.entity, made.signature)
                }
                "signed, then encrypted" => {
                    let made = sign(entity(CONTENT), signing("b1")).unwrap();
                    let outer = encrypt(made.entity, &encryption(false)).unwrap();
                    (outer.entity, made.signature)
                }
                _ => {
                    let made = encrypt(entity(CONTENT), &encryption(false)).unwrap();
                    let outer = sign(made.entity, signing("b1")).unwrap();
                    assert!(made.signature.get().is_none());
                    (outer.entity, outer.signature)
                }
            };
            assert!(slot.get().is_none(), "{form}");
            let (headers, body) = written(made);
            let (report, content) = received(&headers, &body, &us, &them);
            let signed = report.signed_content.unwrap();
            assert_eq!(signed.is_leaf, form != "encrypted, then signed", "{form}");
            if signed.is_leaf {
                assert_eq!(content, whole(CONTENT), "{form}");
            }
            // The sender has the same signature as the receiver.
            for signature in [slot.get().unwrap(), &signed.signature] {
                proves(&gpg, signature, &content, signer, form);
            }
        }
    }
}

#[test]
fn what_is_kept_of_messages_by_gnupg_proves_them_also_over_text() {
    let gpg = Gpg::new();
    gpg.generate("us@acme.example", ("ed25519", "cv25519"), "");
    gpg.generate("them@globex.example", ("rsa3072", "rsa3072"), "");
    let (us, them) = (pair(&gpg, "us@acme.example", ""), pair(&gpg, "them@globex.example", ""));
    for more in [&[][..], &["--textmode"], &["--digest-algo", "SHA512"]] {
        let arguments = [&["--armor", "-u", "them@globex.example"], more].concat();
        let detached = gpg.run(&[&arguments[..], &["--detach-sign"]].concat(), &whole(CONTENT));
        let (headers, body) = signed_with(&whole(CONTENT), &detached);
        let (report, content) = received(&headers, &body, &us, &them);
        assert_eq!(content, whole(CONTENT));
        let signature = report.signed_content.unwrap().signature;
        proves(&gpg, &signature, &content, &them.public, "detached");

        let text = b"UNB+UNOA'\r\nUNZ+0'\r\n";
        let object = [&arguments[..], &["-r", "us@acme.example", "--sign", "--encrypt"]].concat();
        let object = gpg.run(&object, &whole(text));
        let (headers, body) = encrypted_as(&object);
        let (report, content) = received(&headers, &body, &us, &them);
        let signature = report.signed_content.unwrap().signature;
        proves(&gpg, &signature, &content, &them.public, "in one object");
    }
    // Of several signatures any one does, also behind one by an algorithm that is not known.
    let detached = |digest: &str, user: &str| {
        gpg.run(&["-u", user, "--digest-algo", digest, "--detach-sign"], &whole(CONTENT))
    };
    let odd = detached("RIPEMD160", "us@acme.example");
    let good = detached("SHA256", "them@globex.example");
    for both in [[odd.clone(), good.clone()].concat(), [good, odd].concat()] {
        let (headers, body) = signed_with(&whole(CONTENT), &both);
        let (report, content) = received(&headers, &body, &us, &them);
        let signature = report.signed_content.unwrap().signature;
        let verified = verify_detached(&content[..], &signature, &[&them.public], &options()).unwrap();
        assert_eq!(verified.proof.fingerprint, them.public.fingerprint());
    }
    // A signature over text holds for the text whatever its line ends are.
    let arguments = ["-u", "them@globex.example", "--textmode", "--detach-sign"];
    let signature = gpg.run(&arguments, b"one\ntwo\n");
    let options = options();
    assert!(verify_detached(&b"one\r\ntwo\r\n"[..], &signature, &[&them.public], &options).is_ok());
    assert!(verify_detached(&b"one\ntwo"[..], &signature, &[&them.public], &options).is_err());
}
