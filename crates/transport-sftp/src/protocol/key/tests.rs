use super::*;
use std::process::Command;

/// A key made by ssh-keygen with these arguments; the private and the public file.
fn made(arguments: &[&str]) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key");
    let status = Command::new("ssh-keygen").args(["-q", "-a", "1", "-f"]).arg(&file).args(arguments).status();
    assert!(status.unwrap().success(), "{arguments:?}");
    let read = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap();
    (read("key"), read("key.pub"))
}

fn tried(text: &str, passphrase: Option<&str>) -> Result<()> {
    let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
    try_out(&Secret::new(text.to_owned()), passphrase.as_ref())
}

#[test]
fn a_key_is_read_whatever_stands_around_it_and_however_it_is_broken() {
    let (private, public) = made(&["-t", "ed25519", "-N", ""]);
    let one_line = |text: &str| text.replace('\n', "");
    let body = one_line(private.split("KEY-----").nth(1).unwrap().split("-----END").next().unwrap());
    for text in [
        private.clone(),
        format!("{private}{public}"),
        format!("{private}\n\n# ours\n"),
        format!("# ours\n{public}{private}"),
        private.replace('\n', "\r\n"),
        private.trim_end().to_owned(),
        private.lines().map(|line| format!("    {line}\n")).collect(),
        format!("\u{feff}{private}"),
        format!("{BEGIN}\n{body}\n{END}"),
    ] {
        tried(&text, None).unwrap_or_else(|error| panic!("{text}: {}", error.chain()));
    }
    let (pem, public) = made(&["-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]);
    tried(&format!("{pem}{public}"), None).unwrap();
}

#[test]
fn every_way_of_encrypting_is_read() {
    for cipher in [
        "aes256-ctr",
        "aes128-cbc",
        "aes256-cbc",
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "3des-cbc",
    ] {
        let (private, public) = made(&["-t", "ed25519", "-Z", cipher, "-N", "right"]);
        tried(&format!("{private}{public}"), Some("right"))
            .unwrap_or_else(|e| panic!("{cipher}: {}", e.chain()));
        for _ in 0..2 {
            let error = tried(&private, Some("wrong")).unwrap_err();
            assert!(
                error.chain().contains("cannot be decrypted with this passphrase"),
                "{cipher}: {}",
                error.chain()
            );
        }
        assert!(tried(&private, None).unwrap_err().chain().contains("set its passphrase"), "{cipher}");
    }
}

#[test]
fn a_key_that_cannot_be_read_is_found_out() {
    let (private, _) = made(&["-t", "ed25519", "-N", ""]);
    let lines: Vec<&str> = private.lines().collect();
    let without = |line: usize| -> String {
        lines.iter().enumerate().filter(|(at, _)| *at != line).map(|(_, line)| format!("{line}\n")).collect()
    };
    for text in [
        without(1),
        without(2),
        without(lines.len() - 1),
        private.replace("AAAA", "AAAB"),
        private.replace('b', "!"),
    ] {
        let error = tried(&text, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{text}");
        assert!(error.chain().contains("check that it is complete"), "{}", error.chain());
    }
    let (rsa, _) = made(&["-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "right"]);
    tried(&rsa, Some("right")).unwrap();
    assert!(tried(&rsa, Some("wrong")).is_err());
    assert!(tried(&rsa.replacen("MII", "MIJ", 1), Some("right")).is_err());
}
