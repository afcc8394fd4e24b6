use super::*;
use crate::protocol::algorithms::{Algorithms, Policy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const KEY: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20abcdabcdabcdabcdabcdabcdabcdabcd";
const OTHER: &[u8] = b"\0\0\0\x0bssh-ed25519\0\0\0\x20efghefghefghefghefghefghefghefgh";

fn place() -> Place<'static> {
    Place { host: "sftp.acme.example", port: 22, address: Some("10.0.0.7".parse().unwrap()) }
}

fn known(text: &str) -> HostTrust {
    HostTrust::Known(KnownHosts::parse(text))
}

fn line(hosts: &str, key_type: &str, key: &[u8]) -> String {
    format!("{hosts} {key_type} {}\n", STANDARD.encode(key))
}

fn pinned(pins: &[&str]) -> HostTrust {
    HostTrust::Pinned(pins.iter().flat_map(|pin| Pin::parse(pin).unwrap()).collect())
}

#[test]
fn pins_are_read_in_three_forms() {
    let shown = fingerprint(KEY);
    let whole = format!("ssh-ed25519 {} a comment", STANDARD.encode(KEY));
    for pin in [shown.clone(), format!("{shown}="), format!("ssh-ed25519 {shown}"), whole] {
        pinned(&[&pin]).judge(&place(), "ssh-ed25519", KEY).unwrap();
    }
}

#[test]
fn another_key_than_pinned_names_both_and_is_permanent() {
    let error = pinned(&[&fingerprint(OTHER)]).judge(&place(), "ssh-ed25519", KEY).unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, model::Retry::Permanent));
    let text = error.to_string();
    for part in ["changed", "sftp.acme.example:22", "10.0.0.7", &fingerprint(KEY), &fingerprint(OTHER)] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // The right fingerprint under another type is no match either.
    let typed = format!("ssh-rsa {}", fingerprint(KEY));
    assert!(pinned(&[&typed]).judge(&place(), "ssh-ed25519", KEY).is_err());
}

#[test]
fn known_unknown_changed_and_revoked_are_told_apart() {
    known(&line("sftp.acme.example", "ssh-ed25519", KEY)).judge(&place(), "ssh-ed25519", KEY).unwrap();
    let rsa = b"\0\0\0\x07ssh-rsa\0\0\0\x01a";
    let mut messages = Vec::new();
    for (text, word) in [
        (line("sftp.acme.example", "ssh-ed25519", OTHER), "host key changed"),
        (line("sftp.acme.example", "ssh-rsa", rsa), "host key unknown"),
        (line("other.example", "ssh-ed25519", KEY), "host key unknown"),
        (line("@cert-authority *.acme.example", "ssh-ed25519", OTHER), "no certificate of an authority"),
        (
            line("sftp.acme.example", "ssh-ed25519", KEY) + &line("@revoked *", "ssh-ed25519", KEY),
            "host key revoked",
        ),
    ] {
        let error = known(&text).judge(&place(), "ssh-ed25519", KEY).unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::TrustFailed, model::Retry::Permanent));
        let message = error.to_string();
        for part in [word, "sftp.acme.example:22", "10.0.0.7", &fingerprint(KEY)] {
            assert!(message.contains(part), "{part} in {message}");
        }
        messages.push(message);
    }
    assert!(messages[0].contains(&fingerprint(OTHER)), "{}", messages[0]);
    assert!(messages[1].contains("ssh-rsa SHA256:"), "{}", messages[1]);
    assert!(messages[2].contains("nothing for this host"), "{}", messages[2]);
}

#[test]
fn types_on_file_are_asked_for_first_and_sha1_never() {
    let names = |trust: &HostTrust| -> Vec<String> {
        usual()
            .host_keys(trust.on_file(&place()))
            .iter()
            .map(|algorithm| algorithm.as_str().to_owned())
            .collect()
    };
    let rsa = b"\0\0\0\x07ssh-rsa\0\0\0\x01a";
    let first = names(&known(&line("sftp.acme.example", "ssh-rsa", rsa)));
    assert_eq!(first[..2], ["rsa-sha2-512", "rsa-sha2-256"]);
    assert_eq!(first.len(), 6);
    assert!(!first.iter().any(|name| name == "ssh-rsa"));
    assert_eq!(names(&pinned(&[&fingerprint(KEY)]))[0], "ssh-ed25519");
    let typed = format!("ecdsa-sha2-nistp256 {}", fingerprint(KEY));
    assert_eq!(names(&pinned(&[&typed]))[0], "ecdsa-sha2-nistp256");
}

fn usual() -> Algorithms {
    Algorithms::read(Policy::default(), |_| Vec::new())
}
