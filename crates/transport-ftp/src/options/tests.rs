use super::*;
use model::ErrorKind;
use testkit::defined;

fn endpoint(url: &str, set: &[(&str, &str)]) -> Endpoint {
    defined::endpoint(&SPEC, "acme", url, set)
}

fn read(url: &str, set: &[(&str, &str)]) -> Settings {
    Settings::of(&endpoint(url, set)).unwrap()
}

fn found(url: &str, set: &[(&str, &str)]) -> Vec<String> {
    defined::findings(|findings| {
        Settings::read(&endpoint(url, set), findings);
    })
}

#[test]
fn one_slash_is_relative_and_two_are_absolute() {
    for (url, directory) in [
        ("ftp://h", ""),
        ("ftp://h/", ""),
        ("ftp://h/in/", "in"),
        ("ftp://h//in", "/in"),
        ("ftp://h/%2Fin", "/in"),
        ("ftp://h//", "/"),
        ("ftp://h/caf%C3%A9", "café"),
    ] {
        assert_eq!(read(url, &[]).directory, directory.into(), "{url}");
    }
}

#[test]
fn ports_and_protection_follow_the_scheme() {
    for (url, security, port, protection) in [
        ("ftp://h", "", 21, Protection::Explicit),
        ("ftp://h:2121", "none", 2121, Protection::None),
        ("ftp://h", "implicit", 21, Protection::Implicit),
        ("ftps://h", "", 990, Protection::Implicit),
        ("ftps://h", "implicit", 990, Protection::Implicit),
    ] {
        let read = read(url, &[("security", security)]);
        assert_eq!((read.port, read.protection), (port, protection), "{url} {security}");
    }
}

#[test]
fn all_mistakes_are_found_at_once() {
    let set = [("security", "none"), ("username", "a\nb"), ("password", "x\r")];
    let found = found("ftps://h/a%0Ab", &set);
    for (found, field) in
        found.iter().zip(["url: contains a line break", "security: is 'none'", "username: ", "password: "])
    {
        assert!(found.starts_with(field), "{found}");
    }
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn weakened_protection_is_warned_of() {
    let warned = |set: &[(&str, &str)]| {
        let settings = read("ftp://h", set);
        defined::findings(|findings| settings.warn(findings))
    };
    assert!(warned(&[]).is_empty());
    assert!(warned(&[("security", "none")])[0].starts_with("warning: security: "));
    assert!(warned(&[("data_protection", "false")])[0].starts_with("warning: data_protection: "));
    assert!(warned(&[("passive_address", "stated")])[0].starts_with("warning: passive_address: "));
}

#[test]
fn logins_are_by_account_or_anonymous() {
    let login = |set: &[(&str, &str)]| {
        let (user, password) = read("ftp://h", set).login.resolve(|_| None).unwrap();
        (user, password.map(|password| password.reveal().clone()))
    };
    assert_eq!(login(&[]), ("anonymous".into(), Some("anonymous@".into())));
    assert_eq!(login(&[("password", "me@example")]), ("anonymous".into(), Some("me@example".into())));
    assert_eq!(login(&[("username", "u")]), ("u".into(), None));
    let unknown = read("ftp://h", &[("credential", "c")]).login.resolve(|_| None).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::ConfigInvalid);
}

#[test]
fn active_ports_are_a_range_and_for_active_connections_only() {
    let active =
        |ports| read("ftp://h", &[("data_connection", "active"), ("active_ports", ports)]).active_ports;
    assert_eq!(active("50000-50100"), Some(50_000..=50_100));
    assert_eq!(active("50000"), Some(50_000..=50_000));
    for wrong in ["0-5", "5-4", "a", "1-70000", "1-2-3"] {
        let found = found("ftp://h", &[("data_connection", "active"), ("active_ports", wrong)]);
        assert!(found.iter().any(|line| line.contains("active_ports")), "{wrong}: {found:?}");
    }
    assert!(found("ftp://h", &[("active_ports", "50000-50100")])[0].contains("active"));
    let behind = found("ftp://h", &[("data_connection", "active"), ("proxy", "corporate")]);
    assert!(behind[0].contains("data_connection"), "{behind:?}");
}

#[test]
fn what_needs_the_same_bytes_there_is_refused_for_texts() {
    let spec = crate::SPEC;
    let found = |text: &str, set: &[(&str, &str)]| {
        let endpoint = endpoint("ftp://h/out", &[("type", text)]);
        let destination = defined::destination(&spec, "acme", set);
        let place = transport::folder::FolderPlace::default();
        defined::findings(|findings| {
            let write =
                transport::folder::WriteOptions::read(&endpoint, &destination, place, findings).unwrap();
            crate::check_text(&endpoint, &write, findings);
        })
    };
    for (set, field) in [
        ([("verify", "checksum")], "verify: "),
        ([("overwrite", "skip_same")], "overwrite: "),
        ([("overwrite", "append")], "overwrite: "),
    ] {
        let findings = found("ascii", &set);
        assert_eq!(findings.len(), 1, "{findings:?}");
        assert!(findings[0].starts_with(field) && findings[0].contains("ascii"), "{findings:?}");
        assert_eq!(found("binary", &set), [""; 0]);
    }
}
