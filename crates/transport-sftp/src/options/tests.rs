use super::*;
use std::time::Duration;
use testkit::defined;
use transport::folder::{Overwrite, WriteOptions};

const PIN: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

fn endpoint(url: &str, set: &[(&str, &str)]) -> Endpoint {
    let mut set = set.to_vec();
    if !set.iter().any(|(name, _)| *name == "username") {
        set.push(("username", "waybill"));
    }
    defined::endpoint(&SPEC, "acme", url, &set)
}

fn all<'a>(set: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut all = vec![("host_key", PIN), ("password", "secret")];
    all.retain(|(name, _)| !set.iter().any(|(other, _)| other == name));
    all.extend_from_slice(set);
    all
}

fn read(url: &str, set: &[(&str, &str)]) -> Result<Settings> {
    Settings::read(&endpoint(url, &all(set)))
}

fn writing(set: &[(&str, &str)]) -> Result<(WriteOptions, Option<u32>)> {
    let endpoint = endpoint("sftp://host/in", &all(&[]));
    let destination = defined::destination(&SPEC, "acme", set);
    let write = WriteOptions::read(&endpoint, &destination, Settings::read(&endpoint)?.place())?;
    Ok((write, folder::permissions(&destination)?))
}

#[test]
fn one_slash_is_relative_to_the_login_and_two_are_absolute() {
    for (url, target, directory) in [
        ("sftp://sftp.acme.example", "sftp.acme.example:22", ""),
        ("sftp://sftp.acme.example/", "sftp.acme.example:22", ""),
        ("sftp://sftp.acme.example:2222/out/bound/", "sftp.acme.example:2222", "out/bound"),
        ("sftp://sftp.acme.example//srv/out", "sftp.acme.example:22", "/srv/out"),
        ("sftp://sftp.acme.example//", "sftp.acme.example:22", "/"),
        ("sftp://[2001:db8::1]:2222/in", "[2001:db8::1]:2222", "in"),
        ("sftp://sftp.acme.example/caf%E9%20%23", "sftp.acme.example:22", "caf%E9 #"),
    ] {
        let settings = read(url, &[]).unwrap();
        assert_eq!(
            (settings.target(), settings.directory.to_text()),
            (target.into(), directory.into()),
            "{url}"
        );
    }
}

#[test]
fn defaults_are_those_of_the_reference() {
    let settings = read("sftp://host/in", &[]).unwrap();
    assert_eq!(
        (settings.port, settings.connecting.timeout, settings.limits.connections),
        (22, Some(Duration::from_secs(60)), 4)
    );
    let (write, permissions) = writing(&[]).unwrap();
    assert_eq!((write.temporary_suffix.as_str(), write.temporary_name), ("_tmp", true));
    assert_eq!((write.overwrite, permissions), (Overwrite::Refuse, None));
    assert!(!writing(&[("temporary", "none")]).unwrap().0.temporary_name);
    assert_eq!(read("sftp://host/in", &[("timeout", "0s")]).unwrap().connecting.timeout, None);
    assert_eq!(writing(&[("permissions", "0640")]).unwrap().1, Some(0o640));
    for wrong in ["rw-r--r--", "+640", "-640", "64", "0888", "00640", " 640"] {
        assert!(writing(&[("permissions", wrong)]).unwrap_err().to_string().contains("octal"), "{wrong}");
    }
    assert!(writing(&[("prefix", "/tmp")]).unwrap_err().to_string().contains("file name"));
}

#[test]
fn what_cannot_be_used_is_refused_and_named() {
    let hosts = "host ssh-ed25519 nonsense!";
    for (url, set, words) in [
        ("sftp://host/in", &[("host_key", "")][..], "always verifies"),
        ("sftp://host/in", &[("host_key", "SHA256:short")], "ssh-keygen"),
        ("sftp://host/in", &[("known_hosts", "x")], "not both"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", hosts)], "line 1"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", "# empty")], "contains no key"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", "other ssh-ed25519 x")], "contains no key"),
        ("sftp://host/in", &[("password", "")], "to log in with"),
        ("sftp://host/in", &[("private_key", "ssh-ed25519 AAAA me")], "it is a public key"),
        ("sftp://host/in", &[("private_key", "rubbish")], "neither"),
        ("sftp://host/in", &[("private_key", "PuTTY-User-Key-File-3: ssh-rsa")], "puttygen"),
        ("sftp://host/in", &[("private_key", "-----BEGIN ENCRYPTED PRIVATE KEY-----")], "passphrase"),
        ("sftp://host/in", &[("credential", "x")], "not both"),
        ("sftp://host/a/%2e%2e%2fb", &[], "'..'"),
        ("sftp://host/in?x=y", &[], "%3F"),
    ] {
        let error = read(url, set).unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::ConfigInvalid, model::Retry::Permanent),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{words} in {error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let nobody = endpoint("sftp://host/in", &all(&[("username", "")]));
    assert!(Settings::read(&nobody).unwrap_err().to_string().contains("name the user"));
}
