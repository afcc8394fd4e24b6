//! The public halves of keys, shown and exported for partners' servers.

use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::{X509, X509NameBuilder};
use std::fs;
use std::io::Write;
use std::process::Command;
use suites::pair::{Pair, Terms};
use suites::run;

/// What `ssh-keygen` says of a file.
fn ssh_keygen(arguments: &[&str]) -> String {
    let output = Command::new("ssh-keygen").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn pkcs12(key: &PKey<openssl::pkey::Private>, passphrase: &str) -> Vec<u8> {
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "acme").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_not_before(&openssl::asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&openssl::asn1::Asn1Time::days_from_now(400).unwrap()).unwrap();
    certificate.set_pubkey(key).unwrap();
    certificate.sign(key, openssl::hash::MessageDigest::sha256()).unwrap();
    let mut builder = Pkcs12::builder();
    builder.name("acme").pkey(key).cert(&certificate.build());
    builder.build2(passphrase).unwrap().to_der().unwrap()
}

#[test]
fn a_partner_gets_the_public_half_of_a_key_from_pem_or_pkcs12_and_lets_us_in_by_it() {
    let pair = Pair::new(&Terms::default());
    let place = pair.acme.directory();
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    fs::write(place.join("acme.p12"), pkcs12(&key, "sesame")).unwrap();
    fs::write(place.join("passphrase"), "sesame").unwrap();
    fs::write(place.join("acme.pem"), key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    ssh_keygen(&[
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-C",
        "a comment",
        "-f",
        place.join("ssh").to_str().unwrap(),
    ]);
    let file = |name: &str| place.join(name).display().to_string();
    let document = format!(
        "[key.acme-p12]\nprivate_key = \"${{file:{}}}\"\npassphrase = \"${{file:{}}}\"\n\
         [key.acme-pem]\nprivate_key = \"${{file:{}}}\"\n[key.acme-ssh]\nprivate_key = \"${{file:{}}}\"\n\
         [endpoint.by-key]\ntransport = \"sftp\"\nurl = \"sftp://127.0.0.1:{}/\"\nusername = \"{}\"\nkey = \"acme-p12\"\n\
         host_key = \"{}\"\n[flow.by-key]\nsource = {{ endpoint = \"by-key\", after = \"keep\" }}\n\
         [[flow.by-key.destination]]\nendpoint = \"there\"\n[endpoint.there]\ntransport = \"file\"\nurl = \"file://{}\"\n",
        file("acme.p12"),
        file("passphrase"),
        file("acme.pem"),
        file("ssh"),
        pair.sshd.port(),
        pair.sshd.text("user"),
        pair.sshd.text("fingerprint"),
        file("there"),
    );
    pair.acme.define("keys.toml", &document);
    let (config, definitions) = (pair.acme.config(), place.join("definitions"));
    let say = |command: &[&str]| {
        let directory = ["--definitions", definitions.to_str().unwrap()];
        let (status, out, error) =
            run(&[&["--config", config.to_str().unwrap()], command, &directory].concat());
        assert!(!format!("{out}{error}").contains("PRIVATE"), "{out}{error}");
        (status.code().unwrap(), out.trim().to_owned(), error)
    };
    // As OpenSSH itself derives it.
    fs::set_permissions(place.join("acme.pem"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let expected = ssh_keygen(&["-y", "-f", &file("acme.pem")]);
    let ed25519 = fs::read_to_string(place.join("ssh.pub")).unwrap();
    let ed25519 = ed25519.trim().trim_end_matches(" a comment");
    for (name, public) in [("acme-p12", expected.as_str()), ("acme-pem", &expected), ("acme-ssh", ed25519)] {
        let (code, line, error) = say(&["key", "export", name]);
        assert_eq!((code, line), (0, format!("{public} {name}")), "{error}");
        let (_, line, error) = say(&["key", "export", name, "--host", "sftp.acme.example,192.0.2.7"]);
        assert_eq!(line, format!("sftp.acme.example,192.0.2.7 {public}"), "{error}");
        let mut written = tempfile::NamedTempFile::new().unwrap();
        writeln!(written, "{public}").unwrap();
        let shown = ssh_keygen(&["-lf", written.path().to_str().unwrap()]);
        let fingerprint = shown.split(' ').nth(1).unwrap();
        let (code, text, error) = say(&["key", "show", name]);
        assert!(code == 0 && text.contains(fingerprint) && text.contains(public), "{text} {error}");
        let (_, list, error) = say(&["key", "list"]);
        let row = list.lines().find(|row| row.starts_with(name)).unwrap_or_else(|| panic!("{list} {error}"));
        assert!(
            row.contains(fingerprint) && row.contains("endpoint.by-key") == (name == "acme-p12"),
            "{row}"
        );
    }
    let (code, _, error) = say(&["key", "show", "acme-psh"]);
    assert!(code == 1 && error.contains("did you mean 'acme-ssh'"), "{error}");
    let (code, _, error) = say(&["key", "export", "acme-ssh", "--host", "a b"]);
    assert!(code == 1 && error.contains("without spaces"), "{error}");

    // The partner puts the line into authorized_keys, and the key of the PKCS #12 file lets us in.
    let (code, _, _) = say(&["endpoint", "test", "by-key"]);
    assert_eq!(code, 2);
    let authorized = std::path::Path::new(pair.sshd.text("config")).with_file_name("authorized_keys");
    let line = say(&["key", "export", "acme-p12"]).1;
    let known = fs::read_to_string(&authorized).unwrap();
    fs::write(&authorized, format!("{known}{line}\n")).unwrap();
    let (code, out, error) = say(&["endpoint", "test", "by-key"]);
    assert_eq!(code, 0, "{out}\n{error}");
}
