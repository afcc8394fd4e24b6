use super::*;
use model::ErrorKind;
use std::time::Duration;
use testkit::defined;
use transport::folder::{FolderPlace, Overwrite, WriteOptions};

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
    Settings::of(&endpoint(url, &all(set)))
}

fn writing(set: &[(&str, &str)]) -> (WriteOptions, Option<u32>) {
    let endpoint = endpoint("sftp://host/in", &all(&[]));
    let destination = defined::destination(&SPEC, "acme", set);
    let place = Settings::of(&endpoint).unwrap().place();
    let read = |findings: &mut Findings<'_>| WriteOptions::read(&endpoint, &destination, place, findings);
    let write = Findings::required(Section::ENDPOINT, "acme", read).unwrap();
    (write, folder::permissions(&destination).unwrap())
}

/// What is found of an endpoint, and of a destination.
fn found(url: &str, set: &[(&str, &str)]) -> Vec<String> {
    let endpoint = endpoint(url, &all(set));
    defined::findings(|findings| drop(Settings::read(&endpoint, findings)))
}

fn found_of_writing(set: &[(&str, &str)]) -> Vec<String> {
    let endpoint = endpoint("sftp://host/in", &all(&[]));
    let destination = defined::destination(&SPEC, "acme", set);
    let place = FolderPlace::default();
    defined::findings(|findings| drop(WriteOptions::read(&endpoint, &destination, place, findings)))
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
    let (write, permissions) = writing(&[]);
    assert_eq!((write.temporary_suffix.as_str(), write.temporary_name), ("_tmp", true));
    assert_eq!((write.overwrite, permissions), (Overwrite::Refuse, None));
    assert!(!writing(&[("temporary", "none")]).0.temporary_name);
    assert_eq!(read("sftp://host/in", &[("timeout", "0s")]).unwrap().connecting.timeout, None);
    assert_eq!(writing(&[("permissions", "0640")]).1, Some(0o640));
    for wrong in ["rw-r--r--", "+640", "-640", "64", "0888", "00640", " 640"] {
        let found = found_of_writing(&[("permissions", wrong)]);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("permissions: '{wrong}' cannot")),
            "{found:?}"
        );
    }
    let found = found_of_writing(&[("prefix", "/tmp"), ("suffix", "*"), ("permissions", "9")]);
    let fields: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(fields, ["prefix", "suffix", "permissions"], "{found:?}");
}

#[test]
fn without_a_key_of_its_own_an_endpoint_trusts_by_the_list_of_all_nodes() {
    let settings = read("sftp://host/in", &[("host_key", "")]).unwrap();
    assert!(matches!(settings.trust, HostTrust::Listed(_)), "{:?}", settings.trust);
    let listed = endpoint("sftp://host:2222/in", &[("password", "secret")]);
    assert!(trusts_list(&listed));
    assert_eq!(endpoint_host(&listed), Some(("host".to_owned(), 2222)));
    assert!(!trusts_list(&endpoint("sftp://host/in", &all(&[]))));
    // What is given and empty, as of a variable that was forgotten, is a mistake.
    let empty = model::schema::Value::List(Vec::new());
    let forgotten = Endpoint { options: listed.options.clone().with("host_key", empty), ..listed };
    let error = Settings::of(&forgotten).unwrap_err().chain();
    assert!(error.contains("always verifies"), "{error}");
}

#[test]
fn what_cannot_be_used_is_found_at_its_field() {
    let hosts = "host ssh-ed25519 nonsense!";
    for (url, set, field, words) in [
        ("sftp://host/in", &[("host_key", "SHA256:short")][..], "host_key[1]", "ssh-keygen"),
        ("sftp://host/in", &[("known_hosts", "x")], "known_hosts", "together with 'host_key'"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", hosts)], "known_hosts", "line 1"),
        ("sftp://host/in", &[("host_key", ""), ("known_hosts", "# none")], "known_hosts", "contains no key"),
        (
            "sftp://host/in",
            &[("host_key", ""), ("known_hosts", "other ssh-ed25519 x")],
            "known_hosts",
            "contains no key",
        ),
        ("sftp://host/in", &[("password", "")], "", "nothing to log in with"),
        ("sftp://host/in", &[("private_key", "ssh-ed25519 AAAA me")], "private_key", "it is a public key"),
        ("sftp://host/in", &[("private_key", "rubbish")], "private_key", "neither"),
        ("sftp://host/in", &[("private_key", "PuTTY-User-Key-File-3: ssh-rsa")], "private_key", "puttygen"),
        (
            "sftp://host/in",
            &[("private_key", "-----BEGIN ENCRYPTED PRIVATE KEY-----")],
            "private_key",
            "passphrase",
        ),
        ("sftp://host/a/%2e%2e%2fb", &[], "url", "'..'"),
        ("sftp://host/in?x=y", &[], "url", "%3F"),
    ] {
        let found = found(url, set);
        let [line] = &found[..] else { panic!("{set:?}: {found:?}") };
        assert!(line.starts_with(&format!("{field}: ")) && line.contains(words), "{words} in {line}");
        assert!(!line.contains("secret"), "{line}");
        let error = read(url, set).unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::ConfigInvalid, model::Retry::Permanent),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{words} in {error}");
    }
    let nobody = endpoint("sftp://host/in", &all(&[("username", "")]));
    assert!(Settings::of(&nobody).unwrap_err().to_string().contains("name the user"));
}

#[test]
fn all_mistakes_of_an_endpoint_are_found_at_once() {
    let found = found("sftp://host/in?x", &[("host_key", "MD5:00"), ("password", ""), ("username", "")]);
    let fields: Vec<&str> = found.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(fields, ["url", "host_key[1]", "username", ""], "{found:?}");
}

#[test]
fn keys_of_an_agent_are_named_by_fingerprint_line_or_key() {
    let of = |words: &[&str]| {
        let words = words.iter().map(|word| model::schema::Value::Text((*word).to_owned())).collect();
        let endpoint = endpoint("sftp://host/in", &[("host_key", PIN)]);
        let options = endpoint.options.clone().with("agent", model::schema::Value::List(words));
        Endpoint { options, ..endpoint }
    };
    let read = |words: &[&str]| Settings::of(&of(words)).map(|settings| settings.login.agent);
    let named = Some(AgentKeys::Named(vec![PIN.parse().unwrap()]));
    assert_eq!(read(&["any"]).unwrap(), Some(AgentKeys::Any));
    assert_eq!(read(&[PIN]).unwrap(), named);
    assert_eq!(read(&[&format!("256 {PIN} me@host (ED25519)")]).unwrap(), named);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Qb0mVJjIBDzkq9bq2YJhBTkv6IhyDPtKXqhbDsRMd me";
    assert!(matches!(read(&[key]).unwrap(), Some(AgentKeys::Named(keys)) if keys.len() == 1));
    for (words, part) in [
        (&[][..], "is empty"),
        (&["SHA256:short"], "ssh-add -l"),
        (&["me@host"], "ssh-add -l"),
        (&["any", PIN], "\"any\" alone"),
        (&[PIN, PIN, PIN, PIN], "names 4 keys; at most 3"),
    ] {
        let found = defined::findings(|findings| drop(Settings::read(&of(words), findings)));
        assert!(
            matches!(&found[..], [line] if line.starts_with("agent") && line.contains(part)),
            "{found:?}"
        );
    }
}
