//! What `as2 unpack` does not take: nothing is left in the directory, and the disposition is told.

use crate::hub::random;
use crate::oracle::Bench;
use crate::raw::Message;
use serde_json::json;
use std::fs;
use std::path::Path;
use suites::{KeyPair, run};

#[test]
fn what_is_wrong_leaves_nothing_and_tells_the_disposition() {
    let bench = Bench::new();
    let (key, certificate, partner) =
        (bench.text("sender.key.pem"), bench.text("sender.cert.pem"), bench.text("receiver.cert.pem"));
    let stranger = KeyPair::make(bench.root.path(), "stranger");
    let both = ["--sign-key", key.as_str(), "--sign-cert", &certificate, "--encrypt-cert", &partner];
    let (_, good) = bench.pack(&random(600_000), &both);
    let (_, signed) = bench.pack(&b"plain text that is signed\n".repeat(20_000), &both[..4]);
    let flipped = |message: &Message, at: usize| {
        let mut body = message.body.clone();
        body[at] ^= 1;
        message.with_body(body)
    };
    let cut = |message: &Message, length: usize| message.with_body(message.body[..length].to_vec());
    let middle = good.body.len() / 2;
    let (ours, theirs) = (&bench.receiver, bench.sender.certificate.as_path());
    let cases: Vec<(&str, Message, &KeyPair, &Path, &str)> = vec![
        ("another key", good.clone(), &stranger, theirs, "decryption-failed"),
        ("another partner", good.clone(), ours, &stranger.certificate, "authentication-failed"),
        ("a bit flipped", flipped(&good, middle), ours, theirs, "processed/error: "),
        (
            "a signed bit flipped",
            flipped(&signed, signed.body.len() / 2),
            ours,
            theirs,
            "integrity-check-failed",
        ),
        ("half of it", cut(&good, middle), ours, theirs, "processed/error: "),
        ("all but the last byte", cut(&good, good.body.len() - 1), ours, theirs, "processed/error: "),
        ("half of the signed one", cut(&signed, signed.body.len() / 2), ours, theirs, "processed/error: "),
        ("nothing", cut(&good, 0), ours, theirs, "processed/error: "),
    ];
    for (what, message, key, partner, disposition) in cases {
        fs::write(bench.path("message"), message.bytes()).unwrap();
        let (code, said) = bench.unpack(key, partner, "refused");
        assert_eq!(code, 2, "{what}: {said}");
        let told = said["disposition"].as_str().unwrap();
        assert!(
            told.starts_with("automatic-action/MDN-sent-automatically; ") && told.contains(disposition),
            "{what}: {said}"
        );
        assert_eq!(fs::read_dir(bench.path("refused")).unwrap().count(), 0, "{what} left something");
    }
}

#[test]
fn what_is_no_whole_message_is_refused() {
    let bench = Bench::new();
    let (_, plain) = bench.pack(&b"neither signed nor encrypted\n".repeat(1000), &[]);
    let whole = plain.bytes();
    let head = plain.headers.len();
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("an empty file", Vec::new(), "no HTTP headers"),
        ("no message at all", b"UNB+UNOA:1+A+B'\nUNZ+1'\n".to_vec(), "no HTTP headers"),
        ("headers of something else", b"Subject: hello\r\nFrom: a@b\r\n\r\nhello".to_vec(), "AS2-From"),
        ("no receiver", plain.with("AS2-To", None).bytes(), "AS2-To"),
        ("no id", plain.with("Message-ID", None).bytes(), "Message-ID"),
        ("cut inside its headers", whole[..head / 2].to_vec(), "within its HTTP headers"),
        ("cut before the empty line", whole[..head].to_vec(), "within its HTTP headers"),
        ("cut inside its body", whole[..whole.len() - 1].to_vec(), "the body is cut"),
        ("with something after it", [whole.as_slice(), b"x"].concat(), "the body is too long"),
    ];
    for (what, bytes, words) in cases {
        fs::write(bench.path("message"), bytes).unwrap();
        let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "refused");
        assert_eq!(code, 2, "{what}: {said}");
        assert_eq!(
            said["disposition"],
            "automatic-action/MDN-sent-automatically; processed/error: unexpected-processing-error",
            "{what}: {said}"
        );
        assert!(said["error"].as_str().unwrap().contains(words), "{what}: {said}");
        let left = fs::read_dir(bench.path("refused")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what} left something");
    }
    // A header block beyond all bounds is told the same way, and so is a directory that cannot be made.
    fs::write(bench.path("message"), [b"AS2-From: ".as_slice(), &vec![b'a'; 4 << 20]].concat()).unwrap();
    let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "refused");
    assert!(code == 2 && said["disposition"].as_str().unwrap().contains("processed/error"), "{said}");
    fs::write(bench.path("message"), &whole).unwrap();
    let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "order.bin");
    assert!(code == 2 && said["disposition"].as_str().unwrap().contains("processed/error"), "{said}");
    let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "taken");
    assert_eq!(code, 0, "{said}");
}

#[test]
fn two_attachments_of_the_same_longest_name_both_find_their_place() {
    let bench = Bench::new();
    let name = format!("{}.edi", "x".repeat(251));
    let part = |text: &str| {
        format!(
            "--b\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n{text}\r\n"
        )
    };
    let body = format!("{}{}--b--\r\n", part("one"), part("two"));
    bench.write_message("multipart/mixed; boundary=b", body.as_bytes());
    let (code, said) = bench.unpack(&bench.receiver, &bench.sender.certificate, "both");
    assert_eq!(code, 0, "{said}");
    let files: Vec<Vec<u8>> = said["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|path| fs::read(path.as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(files, [b"one", b"two"]);
}

#[test]
fn packing_destroys_no_payload_and_leaves_no_half_message() {
    let bench = Bench::new();
    let pack = |file: &str, out: &str| {
        let (status, said, error) =
            run(&["as2", "pack", "--from", "A", "--to", "B", &bench.text(file), "--out", &bench.text(out)]);
        (status.code(), said + &error)
    };
    fs::write(bench.path("order"), "an order").unwrap();
    std::os::unix::fs::symlink("order", bench.path("same")).unwrap();
    for out in ["order", "same"] {
        let (code, said) = pack("order", out);
        assert!(code == Some(1) && said.contains("is the payload file"), "{out}: {code:?} {said}");
    }
    assert_eq!(fs::read(bench.path("order")).unwrap(), b"an order");
    // A directory can be opened, but not read: the message fails half-way. What was there before stays.
    fs::create_dir_all(bench.path("out")).unwrap();
    fs::create_dir(bench.path("unreadable")).unwrap();
    fs::write(bench.path("out/earlier"), "an earlier message").unwrap();
    for out in ["out/new", "out/earlier"] {
        let (code, said) = pack("unreadable", out);
        assert!(code == Some(1) && said.contains("read the payload"), "{out}: {code:?} {said}");
    }
    assert_eq!(fs::read(bench.path("out/earlier")).unwrap(), b"an earlier message");
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);
    assert_eq!(pack("order", "out").0, Some(1));
    assert_eq!(pack("order", "out/earlier").0, Some(0));
    assert_eq!(fs::read_dir(bench.path("out")).unwrap().count(), 1);
    assert!(fs::read(bench.path("out/earlier")).unwrap().ends_with(b"an order"));
}

#[test]
fn a_message_stripped_of_its_protection_is_not_taken_unless_that_is_asked_for() {
    let bench = Bench::new();
    let (key, certificate, partner) =
        (bench.text("sender.key.pem"), bench.text("sender.cert.pem"), bench.text("receiver.cert.pem"));
    let both = ["--sign-key", key.as_str(), "--sign-cert", &certificate, "--encrypt-cert", &partner];
    let payload = random(300_000);
    let nothing: &[&str] = &[];
    for (made, signed, encrypted) in [
        (&both[..], true, true),
        (&both[..4], true, false),
        (&both[4..], false, true),
        (nothing, false, false),
    ] {
        bench.pack(&payload, made);
        for (more, needs_signed, needs_encrypted) in [
            (nothing, true, true),
            (&["--require", "signed,encrypted"], true, true),
            (&["--require", "signed"], true, false),
            (&["--require", "encrypted"], false, true),
            (&["--require", "none"], false, false),
        ] {
            let taken = (signed || !needs_signed) && (encrypted || !needs_encrypted);
            let (code, said) =
                bench.unpack_requiring(&bench.receiver, &bench.sender.certificate, "out", more);
            let left = fs::read_dir(bench.path("out")).map_or(0, Iterator::count);
            assert_eq!(
                (code, left),
                (if taken { 0 } else { 2 }, usize::from(taken)),
                "{made:?} {more:?}: {said}"
            );
            if !taken {
                assert!(
                    said["disposition"].as_str().unwrap().ends_with("insufficient-message-security"),
                    "{said}"
                );
                assert!(said["error"].as_str().unwrap().contains("--require"), "{said}");
            }
            drop(fs::remove_dir_all(bench.path("out")));
        }
        // The keys that are given are what is required.
        for (keys, taken) in [
            (vec!["--partner-cert", certificate.as_str()], signed && !encrypted),
            (vec!["--key", receiver_key(&bench), "--cert", partner.as_str()], encrypted && !signed),
            (vec![], !signed && !encrypted),
        ] {
            let (message, out) = (bench.text("message"), bench.text("out"));
            let mut command = vec!["as2", "unpack"];
            command.extend(&keys);
            command.extend([message.as_str(), "--out", &out]);
            let (status, said, error) = run(&command);
            assert_eq!(status.code(), Some(if taken { 0 } else { 2 }), "{made:?} {keys:?}: {said}{error}");
            drop(fs::remove_dir_all(bench.path("out")));
        }
    }
}

fn receiver_key(bench: &Bench) -> &str {
    bench.receiver.key.to_str().unwrap()
}

#[test]
fn certificates_outside_their_time_and_weak_signatures_verify_nothing() {
    let bench = Bench::new();
    let payload = random(10_000);
    for (digest, from, until, more, taken) in [
        ("sha256", -10, 10, &[][..], true),
        ("sha256", -10, -1, &[], false),
        ("sha256", -10, -1, &["--accept-expired"], true),
        ("sha256", 1, 10, &[], false),
        ("sha256", 1, 10, &["--accept-expired"], false),
        ("sha1", -10, 10, &[], false),
        ("sha1", -10, 10, &["--legacy"], true),
    ] {
        let dated = KeyPair::make_valid(bench.root.path(), "dated", from, until);
        let (key, certificate) = (dated.key.to_str().unwrap(), dated.certificate.to_str().unwrap());
        bench.pack(&payload, &["--sign-key", key, "--sign-cert", certificate, "--digest", digest]);
        let more = [more, &["--require", "signed"]].concat();
        let (code, said) = bench.unpack_requiring(&bench.receiver, &dated.certificate, "out", &more);
        assert_eq!(code, if taken { 0 } else { 2 }, "{digest} {from} {until} {more:?}: {said}");
        assert_eq!(
            said["weak"],
            if digest == "sha1" && taken {
                json!(["SHA-1"])
            } else if taken {
                json!([])
            } else {
                json!(null)
            }
        );
        drop(fs::remove_dir_all(bench.path("out")));
    }
}
