use super::*;
use proptest::prelude::*;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB4dFQ4Y0VQ5Ck1XkvLcFJgNQhHyUuYjKQd1qLk0mH5v";

/// A key of a type that is nothing but its name.
fn key(key_type: &str) -> String {
    let mut bytes = (key_type.len() as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(key_type.as_bytes());
    format!("{key_type} {}", BASE64.encode(bytes))
}

fn hashed(name: &str) -> String {
    let salt = [7_u8; 20];
    let hash = hash_of(&salt, name).unwrap();
    format!("|1|{}|{}", BASE64.encode(salt), BASE64.encode(hash))
}

fn known(hosts: &str) -> KnownHosts {
    KnownHosts::parse(&format!("{hosts} {ED25519}\n"))
}

fn is_known(hosts: &str, host: &str, port: u16) -> bool {
    !known(hosts).find(host, port, None).keys.is_empty()
}

#[test]
fn every_way_to_name_a_host_is_understood() {
    for (hosts, host, port, expected) in [
        ("sftp.acme.example", "sftp.acme.example", 22, true),
        ("sftp.acme.example", "SFTP.Acme.Example", 22, true),
        ("SFTP.acme.example", "sftp.acme.example", 22, true),
        ("other.example", "sftp.acme.example", 22, false),
        ("a.example,sftp.acme.example,10.0.0.7", "sftp.acme.example", 22, true),
        ("getafix,172.22.52.130", "getafix", 22, true),
        ("getafix,172.22.52.130", "172.22.52.130", 22, true),
        ("getafix,172.22.52.130", "172.22.52.131", 22, false),
        ("[sftp.acme.example]:2222", "sftp.acme.example", 2222, true),
        ("[sftp.acme.example]:2222", "sftp.acme.example", 22, false),
        ("[sftp.acme.example]:22", "sftp.acme.example", 22, true),
        ("sftp.acme.example", "sftp.acme.example", 2222, true),
        ("10.0.0.7", "10.0.0.7", 22, true),
        ("2001:db8::1", "2001:db8::1", 22, true),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1", 22, true),
        ("2001:db8:0:0:0:0:0:1", "[2001:DB8::1]", 22, true),
        ("[2001:db8:0:0:0:0:0:1]:2222", "2001:db8::1", 2222, true),
        ("2001:db8::1", "2001:db8:0:0::1", 22, true),
        ("2001:db8::2", "2001:db8::1", 22, false),
        ("*.acme.example", "sftp.acme.example", 22, true),
        ("*.acme.example", "acme.example", 22, false),
        ("sftp?.acme.example", "sftp1.acme.example", 22, true),
        ("sftp?.acme.example", "sftp.acme.example", 22, false),
        ("*.acme.example,!test.acme.example", "test.acme.example", 22, false),
        ("!test.acme.example,*.acme.example", "sftp.acme.example", 22, true),
        ("!sftp.acme.example", "other.example", 22, false),
        ("[*.acme.example]:2222", "sftp.acme.example", 2222, true),
    ] {
        assert_eq!(is_known(hosts, host, port), expected, "{hosts} for {host}:{port}");
    }
}

#[test]
fn hashed_names_are_found_in_each_spelling() {
    for (hashed_name, host, port, expected) in [
        ("sftp.acme.example", "Sftp.Acme.Example", 22, true),
        ("[sftp.acme.example]:2222", "sftp.acme.example", 2222, true),
        ("sftp.acme.example", "sftp.acme.example", 2222, true),
        ("sftp.acme.example", "sftp.acme.test", 22, false),
        ("2001:db8::1", "2001:0db8:0:0:0:0:0:1", 22, true),
        ("2001:db8:0:0:0:0:0:1", "2001:db8::1", 22, true),
        ("[2001:0db8:0000:0000:0000:0000:0000:0001]:2222", "2001:db8::1", 2222, true),
    ] {
        assert_eq!(is_known(&hashed(hashed_name), host, port), expected, "{hashed_name} for {host}:{port}");
    }
}

#[test]
fn a_host_has_several_lines_and_types() {
    let text = format!(
        "# by hand\n\nhost {}\nhost,10.0.0.1 {}\n[host]:2222 {}\nother {ED25519}\n",
        key("ecdsa-sha2-nistp256"),
        key("ssh-rsa"),
        key("ssh-ed25519"),
    );
    let hosts = KnownHosts::parse(&text);
    let types = |port| -> Vec<_> {
        hosts.find("host", port, None).keys.iter().map(|key| (key.line, key.key_type.to_owned())).collect()
    };
    assert_eq!(types(22), [(3, "ecdsa-sha2-nistp256".to_owned()), (4, "ssh-rsa".to_owned())]);
    // A line with the port has the last word about that port.
    assert_eq!(types(2222), [(5, "ssh-ed25519".to_owned())]);
}

#[test]
fn an_address_counts_only_where_no_line_names_the_host() {
    let address: IpAddr = "10.0.0.7".parse().unwrap();
    let hosts = KnownHosts::parse(&format!("10.0.0.7 {ED25519}\n"));
    assert_eq!(hosts.find("sftp.acme.example", 22, Some(address)).keys.len(), 1);
    assert_eq!(hosts.find("sftp.acme.example", 22, None).keys.len(), 0);
    let both = format!("10.0.0.7 {ED25519}\nsftp.acme.example {}\n", key("ssh-rsa"));
    let hosts = KnownHosts::parse(&both);
    let found = hosts.find("sftp.acme.example", 22, Some(address));
    assert_eq!(found.keys.iter().map(|key| key.line).collect::<Vec<_>>(), [2]);
    // An address of IPv4 that came in by IPv6 is the same address.
    let mapped = Some("::ffff:10.0.0.7".parse().unwrap());
    assert_eq!(hosts.find("elsewhere.example", 22, mapped).keys.len(), 1);
}

#[test]
fn marks_are_kept_apart() {
    let text = format!(
        "@revoked * {}\n@cert-authority *.acme.example {}\nhost {ED25519}\n",
        key("ssh-rsa"),
        key("ssh-ed25519")
    );
    let hosts = KnownHosts::parse(&text);
    let found = hosts.find("host", 22, None);
    assert_eq!((found.keys.len(), found.revoked.len(), found.authorities.len()), (1, 1, 0));
    let found = hosts.find("sftp.acme.example", 2222, None);
    assert_eq!((found.keys.len(), found.authorities.len()), (0, 1));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    for (text, place) in [
        ("host ssh-ed25519", "line 1"),
        ("\n# x\nhost ssh-ed25519 not*base64", "line 3"),
        ("@trusted host ssh-ed25519 AAAA", "line 1"),
        ("host ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIB4dFQ4Y0VQ5Ck1XkvLcFJgNQhHyUuYjKQd1qLk0mH5v", "line 1"),
    ] {
        let error = KnownHosts::parse(text).unreadable_for("host", 22).unwrap();
        assert!(error.starts_with(place), "{text}: {error}");
    }
    // Keys of SSH version 1 are passed over.
    let old = KnownHosts::parse("host 1024 35 1234567890");
    assert!(old.is_empty() && old.unread().is_empty());
}

#[test]
fn a_line_that_cannot_be_read_counts_for_whom_it_may_be_of() {
    for (line, concerns) in [
        // Of another host: passed over.
        ("other.example ssh-ed25519 AAAA", false),
        ("other.example,10.0.0.9 ssh-ed25519 nonsense!", false),
        ("[other.example]:2222 ssh-ed25519", false),
        ("other.example", false),
        ("\u{1}\u{2}\u{3}", false),
        ("<<<<<<< HEAD", false),
        ("|1|abc ssh-ed25519 AAAA", false),
        ("*.other.example,!host ssh-ed25519 AAAA", false),
        ("10.0.0.7 ssh-ed25519 AAAA", false),
        ("@cert-authority * ssh-ed25519 AAAA", true),
        ("@cert-authority *.other.example ssh-ed25519 AAAA", false),
        // Of this one: its key would be overlooked, and a line that says less would decide.
        ("host ssh-ed25519 AAAA", true),
        ("HOST ssh-ed25519 AAAA", true),
        ("[host]:2222 ssh-ed25519 AAAA", true),
        ("h* ssh-ed25519 AAAA", true),
        // What is revoked must not be overlooked wherever it may count.
        ("@revoked * ssh-ed25519 AAAA", true),
        ("@revoked host ssh-ed25519 AAAA", true),
        ("@revoked 10.0.0.7 ssh-ed25519 AAAA", true),
        ("@revoked 10.0.?.* ssh-ed25519 AAAA", true),
        ("@revoked [2001:db8::1]:2222 ssh-ed25519 AAAA", true),
        ("@revoked |1|c2FsdA==|aGFzaA== ssh-ed25519 AAAA", true),
        ("@revoked", true),
        ("@revokd * ssh-ed25519 AAAA", true),
        ("@revoked other.example ssh-ed25519 AAAA", false),
    ] {
        let hosts = KnownHosts::parse(&format!("host {ED25519}\n{line}\n"));
        assert_eq!(hosts.unreadable_for("host", 2222).is_some(), concerns, "{line}");
        assert_eq!(hosts.find("host", 2222, None).keys.len(), 1, "{line}");
        assert!(hosts.unread()[0].starts_with("line 2: "), "{line}");
    }
    // Of a host whose name is hashed.
    let theirs = KnownHosts::parse(&format!("{} ssh-ed25519 AAAA\n", hashed("[host]:2222")));
    assert!(theirs.unreadable_for("host", 2222).is_some() && theirs.unreadable_for("host", 22).is_none());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,200}", host in "\\PC{0,30}") {
        let hosts = KnownHosts::parse(&text);
        let _ = (hosts.find(&host, 22, None), hosts.unreadable_for(&host, 22));
    }

    #[test]
    fn a_pattern_matches_as_the_simple_rule_says(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
        fn simple(p: &[u8], n: &[u8]) -> bool {
            match (p, n) {
                ([], []) => true,
                ([b'*', rest @ ..], _) => simple(rest, n) || (!n.is_empty() && simple(p, &n[1..])),
                ([c, p @ ..], [d, n @ ..]) => (*c == b'?' || c == d) && simple(p, n),
                _ => false,
            }
        }
        prop_assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), simple(pattern.as_bytes(), name.as_bytes()));
    }
}
