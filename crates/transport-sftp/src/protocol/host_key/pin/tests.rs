use super::*;
use std::process::Command;

const HASH: &str = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

fn types(text: &str) -> Vec<&'static str> {
    let pins = Pin::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    assert_eq!(pins.len(), 1, "{text}");
    assert_eq!(pins[0].fingerprint, format!("SHA256:{HASH}"), "{text}");
    pins[0].types.clone()
}

#[test]
fn a_fingerprint_is_read_as_tools_print_it() {
    let ecdsa = ["ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"];
    for (text, expected) in [
        (format!("SHA256:{HASH}"), &[][..]),
        (format!(" SHA256:{HASH}=\n"), &[]),
        (format!("sha256:{HASH}"), &[]),
        (format!("256 SHA256:{HASH} root@sftp.acme.example (ED25519)"), &["ssh-ed25519"]),
        (format!("256 SHA256:{HASH} no comment (ED25519)"), &["ssh-ed25519"]),
        (format!("3072 SHA256:{HASH} a comment (with) words (RSA)"), &["ssh-rsa"]),
        (format!("384 SHA256:{HASH} host (ECDSA)"), &ecdsa[1..2]),
        (format!("SHA256:{HASH} (ECDSA)"), &ecdsa),
        (format!("SHA256:{HASH} the new one (since May)"), &[]),
        (format!("ssh-rsa SHA256:{HASH}"), &["ssh-rsa"]),
        (format!("rsa-sha2-512 SHA256:{HASH}"), &["ssh-rsa"]),
        (format!("ED25519 SHA256:{HASH}"), &["ssh-ed25519"]),
        (format!("ssh-ed25519 255 SHA256:{HASH}"), &["ssh-ed25519"]),
        (format!("ssh-ed25519 255 {HASH}="), &["ssh-ed25519"]),
        (format!("ED25519 key fingerprint is SHA256:{HASH}."), &["ssh-ed25519"]),
        (format!("# sftp.acme.example:22 SSH-2.0-x\nSHA256:{HASH}\n\n"), &[]),
    ] {
        assert_eq!(types(&text), expected, "{text}");
    }
    let two = Pin::parse(&format!("SHA256:{HASH}, ssh-rsa SHA256:{HASH}")).unwrap();
    assert_eq!((two.len(), two[1].types.as_slice()), (2, &["ssh-rsa"][..]));
}

#[test]
fn what_ssh_keygen_and_ssh_keyscan_print_of_real_keys_is_read() {
    let directory = tempfile::tempdir().unwrap();
    for (kind, bits, key_type) in [
        ("ed25519", "256", "ssh-ed25519"),
        ("ecdsa", "521", "ecdsa-sha2-nistp521"),
        ("rsa", "3072", "ssh-rsa"),
    ] {
        let file = directory.path().join(kind);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", kind, "-b", bits, "-N", "", "-C", "it's the (new) one", "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        let printed = Command::new("ssh-keygen").arg("-lf").arg(&file).output().unwrap().stdout;
        let printed = String::from_utf8(printed).unwrap();
        let public = std::fs::read_to_string(file.with_extension("pub")).unwrap();
        let mut parts = public.split(' ');
        let (name, blob) = (parts.next().unwrap(), parts.next().unwrap());
        let pins = Pin::parse(&printed).unwrap();
        assert_eq!((pins.len(), pins[0].types.as_slice()), (1, &[key_type][..]), "{printed}");
        for text in [
            public.clone(),
            format!("[sftp.acme.example]:2222 {public}"),
            format!("|1|c2FsdA==|aGFzaA== {name} {blob}"),
            blob.to_owned(),
            format!("{name} {}", blob.trim_end_matches('=')),
        ] {
            assert_eq!(Pin::parse(&text).unwrap(), pins, "{text}");
        }
        // A key that lost its end is not taken for another one.
        let cut = format!("{name} {}", &blob[..blob.len() - 8]);
        assert!(Pin::parse(&cut).unwrap_err().contains("cut off"), "{cut}");
        let other = if name == "ssh-rsa" { "ssh-ed25519" } else { "ssh-rsa" };
        assert!(Pin::parse(&format!("{other} {blob}")).unwrap_err().contains(", not ssh-"), "{name}");
    }
}

#[test]
fn what_is_no_pin_is_refused_with_its_reason() {
    let md5 = "b2:c3:d4:e5:f6:07:18:29:3a:4b:5c:6d:7e:8f:90:a1";
    for (text, words) in [
        (String::new(), "contains no host key"),
        ("# only a comment".into(), "contains no host key"),
        ("SHA256:".into(), "0 bytes"),
        ("SHA256:abc!".into(), "base64"),
        ("SHA256:YWJj".into(), "3 bytes"),
        (format!("banana SHA256:{HASH}"), "\"banana\" is not a key type"),
        (format!("sftp.acme.example SHA256:{HASH}"), "is not a key type"),
        (format!("256 SHA256:{HASH} root@host (BANANA)"), "\"BANANA\" is not a key type"),
        (format!("1024 SHA256:{HASH} root@host (DSA)"), "not accepted"),
        (format!("256 SHA256:{HASH} root@host (ED25519-SK)"), "not accepted"),
        (format!("ssh-rsa SHA256:{HASH} (ED25519)"), "two different key types"),
        (format!("SHA256:{HASH} SHA256:{HASH}"), "several"),
        (md5.into(), "-E sha256"),
        (format!("MD5:{md5}"), "-E sha256"),
        (format!("2048 MD5:{md5} root@host (RSA)"), "-E sha256"),
        (format!("256 SHA512:{HASH} root@host (ED25519)"), "-E sha256"),
        ("ssh-ed25519".into(), "no host key"),
        ("AAAA".into(), "no host key"),
        (
            "@revoked * ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB4dFQ4Y0VQ5Ck1XkvLcFJgNQhHyUuYjKQd1qLk0mH5v"
                .into(),
            "known_hosts",
        ),
    ] {
        let why = Pin::parse(&text).unwrap_err();
        assert!(why.contains(words) && why.contains("ssh-keygen"), "{words} in {why}");
    }
}
