use super::*;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO";
const FINGERPRINT: &str = "SHA256:s0utuTptBONzbybF4bRfxKpUxzMlcof8YRovO/uvyHE";

#[test]
fn a_line_is_read_with_its_names_mark_and_comment() {
    let read = |hosts: &str| read(&format!("{hosts} {KEY}")).unwrap();
    let line = read("getafix,172.22.52.130");
    assert_eq!((line.mark, line.fingerprint.as_str()), (KnownHostMark::Host, FINGERPRINT));
    assert_eq!(line.names, [("getafix".to_owned(), 22), ("172.22.52.130".to_owned(), 22)]);
    assert_eq!(line.text(), format!("getafix,172.22.52.130 {KEY}"));
    for (hosts, names) in [
        ("[sftp.acme.example]:2222", &[("sftp.acme.example", 2222)][..]),
        ("2001:0db8:0:0:0:0:0:1", &[("2001:db8::1", 22)]),
        ("[2001:db8::1]:2222,b", &[("2001:db8::1", 2222), ("b", 22)]),
        ("*.acme.example,!test.acme.example,plain", &[("plain", 22)]),
        ("|1|BwcHBwcHBwcHBwcHBwcHBwcHBwc=|BwcHBwcHBwcHBwcHBwcHBwcHBwc=", &[]),
    ] {
        let names: Vec<(String, u16)> =
            names.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        assert_eq!(read(hosts).names, names, "{hosts}");
    }
    for (mark, begins) in
        [(KnownHostMark::Authority, "@cert-authority "), (KnownHostMark::Revoked, "@revoked ")]
    {
        let line = read(&format!("{begins}*.acme.example"));
        assert_eq!((line.mark, line.hosts.as_str()), (mark, "*.acme.example"));
        assert_eq!(line.text(), format!("{begins}*.acme.example {KEY}"));
    }
    let line = super::read(&format!("  a\t{KEY}  the partner's \u{1b}[2J letter \n")).unwrap();
    assert_eq!(line.text(), format!("a {KEY}"));
    let comment = line.comment.unwrap();
    assert!(comment.starts_with("the partner's ") && !comment.contains('\u{1b}'), "{comment}");
}

#[test]
fn what_is_no_line_says_how_one_is_written() {
    let two = format!("a {KEY}\nb {KEY}");
    let long = format!("{} {KEY}", "a,".repeat(LONGEST));
    for (text, words) in [
        ("", "no key"),
        ("# a comment", "no key"),
        ("a", "separated by spaces"),
        (KEY, "separated by spaces"),
        (&format!("@unknown a {KEY}"), "@revoked"),
        (&format!("!a {KEY}"), "names no host"),
        (&format!("[a] {KEY}"), "[host]:2222"),
        ("a ssh-ed25519 AAAA!", "base64"),
        ("a ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIPbrUuGeFOTs/6OVIUCQj/Ggc2nJ9RFkFBDzf7v1KLRO", "not of type"),
        ("a ssh-ed25519 AAAAC3NzaC1lZDI1NTE5", "cannot be read"),
        ("a 1024 35 1234", "version 1"),
        (&two, "not one line"),
        (&long, "not one line"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(words), "{text}: {why}");
    }
}
