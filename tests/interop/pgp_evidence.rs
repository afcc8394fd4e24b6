//! Evidence of messages by PGP/MIME: packages of both sides in every form, checked by the commands that they state for GnuPG
//! and OpenSSL alone, and by `as2 verify`.

use crate::evidence::{changed, checked_by_hand, outcomes, save, unpacked, verify};
use crate::hub::{Hub, random};
use crate::pgp::{Gpg, define, two};
use std::fs;
use std::path::Path;

/// Both sides' packages of one file.
fn check(hub: &Hub, id: &str, (name, is_signed): (&str, bool), content: &[u8], keys: (&Path, &Path)) {
    let package = save(hub, id, &format!("{name}.zip"));
    let directory = unpacked(hub, &package);
    // By what stands in it, with GnuPG and OpenSSL alone: the message, if it was signed, and its receipt.
    let said = checked_by_hand(&directory);
    let good = if is_signed { 2 } else { 1 };
    assert_eq!(said.matches("Good signature").count(), good, "{name}: {said}");
    let facts: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("evidence.json")).unwrap()).unwrap();
    let mic = facts["message"]["mic"].as_str().unwrap();
    assert!(said.contains(mic.split(',').next().unwrap()), "{name}: {mic}: {said}");
    assert_eq!(facts["message"]["cipher"].is_string(), name != "signed", "{facts}");
    if facts["message"]["covered"] == "head_and_content" {
        assert_eq!(fs::read(directory.join("message/content")).unwrap(), content, "{name}");
    }

    // By Waybill, which is told whose keys they are.
    let (sender, receiver) = (keys.0.to_str().unwrap(), keys.1.to_str().unwrap());
    let (code, said) = verify(&package, &["--sender", sender, "--receiver", receiver]);
    assert_eq!(code, 0, "{name}: {said}");
    for check in ["files", "content", "MIC", "receipt", "disposition", "Received-content-MIC"] {
        assert_eq!(outcomes(&said, check), ["holds"], "{name} {check}: {said}");
    }
    let signature = if is_signed { "holds" } else { "open" };
    assert_eq!(outcomes(&said, "signature"), [signature], "{name}: {said}");
    assert_eq!(outcomes(&said, "certificate"), vec!["holds"; good], "{name}: {said}");
    assert_eq!(outcomes(&said, "certificate dates"), vec!["holds"; good], "{name}: {said}");
    // The other way round they are not.
    let (code, said) = verify(&package, &["--sender", receiver, "--receiver", sender]);
    assert_eq!((code, outcomes(&said, "certificate")), (2, vec!["fails".to_owned(); good]), "{name}: {said}");

    // Other content: the signature does not hold for it.
    let change = "files['message/content'] = files['message/content'][:-1] + b'!'";
    let (code, said) = verify(&changed(hub, &package, &format!("{name}-changed.zip"), change), &[]);
    assert_eq!(code, 2, "{name}: {said}");
    let fails = if is_signed { "signature" } else { "MIC" };
    assert_eq!(outcomes(&said, fails), ["fails"], "{name}: {said}");
    if !is_signed {
        return;
    }

    // A key in the package proves nothing where no signature by it was verified.
    let forged = "files['message/signature.pgp'] = b'forged'\n";
    let forged = changed(hub, &package, &format!("{name}-forged.zip"), forged);
    let (code, said) = verify(&forged, &["--sender", sender, "--receiver", receiver]);
    assert_eq!((code, outcomes(&said, "signature")), (2, vec!["fails".to_owned()]), "{name}: {said}");
    assert_eq!(outcomes(&said, "certificate dates"), ["holds"], "{name}: {said}");
    assert_eq!(outcomes(&said, "certificate"), ["open", "holds"], "{name}: {said}");
    let without = "del files['message/content']\n";
    let without = changed(hub, &package, &format!("{name}-without.zip"), without);
    let (_, said) = verify(&without, &["--sender", sender, "--receiver", receiver]);
    assert_eq!(outcomes(&said, "signature"), ["open"], "{name}: {said}");
    assert_eq!(outcomes(&said, "certificate"), ["open", "holds"], "{name}: {said}");
}

/// Who knows that a key is revoked, or has several keys in one file, is told what that means for a package.
fn check_known_keys(hub: &Hub, id: &str, gpg: &Gpg, (sender, receiver): (&Path, &Path)) {
    let package = save(hub, id, "known.zip");
    let both = hub.root.path().join("both.asc");
    fs::write(&both, gpg.run(&["--armor", "--export"], b"")).unwrap();
    let both = both.to_str().unwrap();
    let (code, said) = verify(&package, &["--sender", both, "--receiver", both]);
    assert_eq!((code, outcomes(&said, "certificate")), (0, vec!["holds".to_owned(); 2]), "{said}");
    let shown = gpg.run(&["--with-colons", "--show-keys", sender.to_str().unwrap()], b"");
    let shown = String::from_utf8(shown).unwrap();
    let fingerprint = shown.lines().find(|line| line.starts_with("fpr")).unwrap().split(':').nth(9).unwrap();
    // GnuPG guards it against being imported by mistake.
    let revocation = fs::read_to_string(gpg.path(&format!("openpgp-revocs.d/{fingerprint}.rev"))).unwrap();
    gpg.run(&["--import"], revocation.replace(":-----BEGIN", "-----BEGIN").as_bytes());
    let revoked = hub.root.path().join("revoked.asc");
    fs::write(&revoked, gpg.run(&["--armor", "--export", fingerprint], b"")).unwrap();
    let arguments = ["--sender", revoked.to_str().unwrap(), "--receiver", receiver.to_str().unwrap()];
    let (code, said) = verify(&package, &arguments);
    assert_eq!(
        (code, outcomes(&said, "certificate")),
        (0, vec!["open".to_owned(), "holds".to_owned()]),
        "{said}"
    );
}

/// Exchanges files from one side to the other in these forms, and checks the evidence of both sides.
fn exchanged(later: bool, forms: &[(&str, &str)]) {
    let (gpg, mut one, mut other) = two([("ed25519", "cv25519"), ("rsa3072", "rsa3072")]);
    define(&other, "OTHER", "ONE", &one.url(), "send.packaging = \"pgp\"\nreceive.security = \"none\"");
    other.gateway.start();
    let is_later = later;
    let later = match later {
        true => format!("\nmdn.reply_to = \"listener:as2\"\nmdn.url = \"{}\"", one.url()),
        false => String::new(),
    };
    let mut sent = Vec::new();
    for (name, form) in forms {
        define(&one, "ONE", "OTHER", &other.url(), &format!("send.packaging = \"pgp\"\n{form}{later}"));
        one.gateway.start();
        let content = random(300_000);
        one.put(name, &content);
        let way = one.ended(name);
        assert_eq!(way["state"], "completed", "{name}: {way}");
        assert_eq!(other.wait_for_file(name), content, "{name}");
        let came = other.ended(name);
        let id = |way: &serde_json::Value| way["id"].as_str().unwrap().to_owned();
        sent.push(((*name, *name != "encrypted"), content, id(&way), id(&came)));
        one.gateway.stop();
    }
    other.gateway.stop();
    let keys = one.root.path().join("keys");
    let keys = (keys.join("ONE.public.asc"), keys.join("OTHER.public.asc"));
    for (about, content, here, there) in sent {
        for (hub, id) in [(&one, &here), (&other, &there)] {
            check(hub, id, about, &content, (&keys.0, &keys.1));
        }
        if about.0 == "nested" && !is_later {
            check_known_keys(&one, &here, &gpg, (&keys.0, &keys.1));
        }
    }
}

#[test]
fn evidence_of_messages_by_pgp_is_checked_by_gnupg_and_offline() {
    exchanged(
        false,
        &[
            ("signed", "send.security = \"signed\""),
            ("encrypted", "send.security = \"encrypted\""),
            ("nested", "send.order = \"sign_then_encrypt\""),
            ("reversed", "send.order = \"encrypt_then_sign\""),
            ("coded", "send.order = \"encrypt_then_sign\"\nsend.content_coding = \"gzip\""),
            ("in-one", "send.signature_form = \"opaque\"\nsend.compress = \"before_signing\""),
        ],
    );
}

#[test]
fn evidence_of_messages_by_pgp_whose_receipt_comes_later_is_as_whole() {
    exchanged(
        true,
        &[
            ("nested", "send.order = \"sign_then_encrypt\""),
            ("reversed", "send.order = \"encrypt_then_sign\""),
        ],
    );
}
