use super::*;
use testkit::defined;

fn endpoint(url: &str, set: &[(&str, &str)]) -> Endpoint {
    defined::endpoint(&SPEC, "share", url, set)
}

fn read(url: &str, set: &[(&str, &str)]) -> Settings {
    Settings::of(&endpoint(url, set)).unwrap()
}

fn found(url: &str, set: &[(&str, &str)]) -> Vec<String> {
    let endpoint = endpoint(url, set);
    defined::findings(|findings| drop(Settings::read(&endpoint, findings)))
}

#[test]
fn a_url_names_server_and_directory_from_the_root() {
    for (url, target, directory) in [
        ("davs://dav.example", "dav.example:443", "/"),
        ("dav://dav.example/in/", "dav.example:80", "/in"),
        ("davs://dav.example:8443/Shared Documents/a+b", "dav.example:8443", "/Shared Documents/a+b"),
        ("davs://dav.example/Shared%20Documents/%2B", "dav.example:443", "/Shared Documents/+"),
        ("davs://[2001:db8::1]/x", "[2001:db8::1]:443", "/x"),
    ] {
        let settings = read(url, &[]);
        assert_eq!(
            (settings.target(), settings.directory.to_text()),
            (target.into(), directory.into()),
            "{url}"
        );
    }
    assert_eq!(
        read("davs://h/in", &[("username", "u"), ("password", "p")]).place().address,
        "davs://u@h:443"
    );
}

#[test]
fn what_leads_out_or_is_no_directory_is_refused() {
    for (url, words) in [("davs://h/a%2F..%2Fb", "'..'"), ("davs://h/a%00", "%00"), ("davs://h/a?b", "'?'")] {
        let found = found(url, &[]);
        assert!(found.len() == 1 && found[0].starts_with("url: ") && found[0].contains(words), "{found:?}");
    }
}

#[test]
fn the_login_follows_from_what_is_given() {
    let method = |set: &[(&str, &str)]| read("davs://h/", set).login.method;
    assert_eq!(method(&[]), LoginMethod::None);
    assert_eq!(method(&[("username", "u"), ("password", "p")]), LoginMethod::Basic);
    assert_eq!(method(&[("credential", "acme")]), LoginMethod::Basic);
    assert_eq!(method(&[("token", "t")]), LoginMethod::Bearer);
    assert_eq!(method(&[("credential", "acme"), ("authentication", "bearer")]), LoginMethod::Bearer);
    let digest = [("username", "u"), ("password", "p"), ("authentication", "digest")];
    assert_eq!(method(&digest), LoginMethod::Digest);
    assert!(!read("dav://h/", &digest).sends_secrets_in_clear());
    assert!(read("dav://h/", &[("token", "t")]).sends_secrets_in_clear());
}

#[test]
fn each_mistake_of_a_login_is_found_at_its_field() {
    for (set, field) in [
        (&[("authentication", "basic")][..], "authentication"),
        (&[("authentication", "bearer")], "authentication"),
        (&[("authentication", "certificate")], "authentication"),
        (&[("username", "u")], "username"),
        (&[("username", "u:v"), ("password", "p")], "username"),
        (&[("token", "t"), ("authentication", "digest"), ("credential", "c")], "token"),
    ] {
        let found = found("davs://h/", set);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{field}: ")), "{set:?}: {found:?}");
    }
}
