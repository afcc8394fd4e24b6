use super::*;
use model::{OptionValue, Options};
use std::time::Duration;

const PIN: &str = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU";

fn endpoint(url: &str, set: &[(&str, &str)]) -> Endpoint {
    let mut options = Options::defaults(OPTIONS).unwrap();
    for (name, value) in set {
        let spec = OPTIONS.iter().find(|spec| spec.name == *name).unwrap();
        options.set(spec, OptionValue::parse(spec.kind, value).unwrap());
    }
    Endpoint {
        name: "acme".into(),
        transport: "sftp".into(),
        url: Some(url.parse().unwrap()),
        username: Some("waybill".into()),
        partner: None,
        identity: None,
        node: None,
        options,
    }
}

fn read(url: &str, set: &[(&str, &str)]) -> Result<Settings> {
    let mut all = vec![("host_key", PIN), ("password", "secret")];
    all.retain(|(name, _)| !set.iter().any(|(other, _)| other == name));
    all.extend_from_slice(set);
    all.retain(|(_, value)| !value.is_empty());
    Settings::read(&endpoint(url, &all))
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
        (settings.port, settings.connecting.timeout, settings.connections),
        (22, Some(Duration::from_secs(60)), 4)
    );
    assert_eq!(settings.write.temporary_suffix, "_tmp");
    assert_eq!(settings.write.overwrite, Overwrite::Refuse);
    assert_eq!(read("sftp://host/in", &[("timeout", "0s")]).unwrap().connecting.timeout, None);
    assert_eq!(read("sftp://host/in", &[("permissions", "0640")]).unwrap().permissions, Some(0o640));
}

#[test]
fn what_cannot_be_used_is_refused_and_named() {
    let hosts = "host ssh-ed25519 nonsense!";
    for (url, set, words) in [
        ("sftp://host/in", &[("host_key", "")][..], "cannot be switched off"),
        ("sftp://host/in", &[("host_key", "SHA256:short")], "ssh-keygen"),
        ("sftp://host/in", &[("known_hosts", "x")], "not both"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", hosts)], "line 1"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", "# empty")], "holds no key"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", "other ssh-ed25519 x")], "holds no key"),
        ("sftp://host/in", &[("password", "")], "to log in with"),
        ("sftp://host/in", &[("private_key", "ssh-ed25519 AAAA me")], "public half"),
        ("sftp://host/in", &[("private_key", "rubbish")], "neither"),
        ("sftp://host/in", &[("private_key", "PuTTY-User-Key-File-3: ssh-rsa")], "puttygen"),
        ("sftp://host/in", &[("private_key", "-----BEGIN ENCRYPTED PRIVATE KEY-----")], "passphrase"),
        ("sftp://host/in", &[("credential", "x")], "not both"),
        ("sftp://host/in", &[("permissions", "rw-r--r--")], "octal"),
        ("sftp://host/in", &[("temporary_suffix", "/tmp")], "file name"),
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
    let mut nobody = endpoint("sftp://host/in", &[("host_key", PIN), ("password", "x")]);
    nobody.username = None;
    assert!(Settings::read(&nobody).unwrap_err().to_string().contains("name the user"));
}

#[test]
fn every_option_is_declared_well() {
    Options::defaults(OPTIONS).unwrap();
    for spec in OPTIONS {
        assert!(spec.doc.ends_with('.') && spec.doc.len() > 20, "{}", spec.name);
    }
}
