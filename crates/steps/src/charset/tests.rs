use super::*;

fn named(text: &str) -> Charset {
    Charset::named(text).unwrap_or_else(|error| panic!("{text} {error}"))
}

#[test]
fn names_mean_what_their_standards_say() {
    for (text, name) in [
        ("utf-8", "UTF-8"),
        ("UTF8", "UTF-8"),
        ("iso-8859-1", "ISO-8859-1"),
        ("ISO_8859-1:1987", "ISO-8859-1"),
        ("latin1", "ISO-8859-1"),
        ("csISOLatin1", "ISO-8859-1"),
        ("cp1252", "windows-1252"),
        ("Windows-1252", "windows-1252"),
        ("us-ascii", "US-ASCII"),
        ("latin5", "ISO-8859-9"),
        ("windows-1254", "windows-1254"),
        ("ISO-8859-15", "ISO-8859-15"),
        ("utf-16", "UTF-16"),
        ("UTF-16LE", "UTF-16LE"),
        ("unicode", "UTF-16LE"),
        ("sjis", "Shift_JIS"),
        ("cp037", "IBM037"),
        ("IBM01140", "IBM1140"),
        ("ibm866", "IBM866"),
    ] {
        assert_eq!(named(text).name(), name, "{text}");
    }
}

#[test]
fn a_name_that_cannot_be_used_is_refused_with_advice() {
    let refused = |text: &str| Charset::named(text).unwrap_err();
    assert!(
        refused("UTF-9").contains("is 'UTF-9', which is no known character set; did you mean 'UTF-"),
        "{}",
        refused("UTF-9")
    );
    assert!(refused("windows1251x").contains("did you mean"), "{}", refused("windows1251x"));
    assert!(refused("").contains("write one such as"));
    assert!(refused("TIS-620").contains("write 'windows-874'"));
    assert!(refused("x-user-defined").contains("cannot be converted"));
    assert!(refused("replacement").contains("cannot be converted"));
}

/// Every byte of every set of one byte that has a character leads back to itself.
#[test]
fn single_bytes_lead_back_to_themselves() {
    for (name, count) in [
        ("US-ASCII", 128),
        ("ISO-8859-1", 256),
        ("ISO-8859-9", 256),
        ("IBM037", 256),
        ("IBM273", 256),
        ("IBM437", 256),
        ("IBM500", 256),
        ("IBM850", 256),
        ("IBM852", 256),
        ("IBM858", 256),
        ("IBM1140", 256),
    ] {
        let mut known = 0;
        for byte in 0..=255_u8 {
            let mut text = String::new();
            let (read, malformed) = Decoder::new(named(name)).decode(&[byte], true, &mut text);
            assert_eq!(read, 1);
            if malformed.is_some() {
                continue;
            }
            known += 1;
            let mut bytes = Vec::new();
            Encoder::new(named(name)).encode(&text, true, &mut bytes).unwrap();
            assert_eq!(bytes, [byte], "{name} {text:?}");
        }
        assert_eq!(known, count, "{name}");
    }
}

#[test]
fn the_tables_hold_what_is_known_of_them() {
    let decoded = |name: &str, bytes: &[u8]| {
        let mut text = String::new();
        assert_eq!(Decoder::new(named(name)).decode(bytes, true, &mut text), (bytes.len(), None));
        text
    };
    // RFC 1345 and IBM's own tables.
    assert_eq!(decoded("IBM037", b"\xc8\x85\x93\x93\x96\x40\xf1\x25"), "Hello 1\n");
    assert_eq!(decoded("IBM273", b"\x43\xc0\x6a\xd0\x4a\xe0\x5a\xa1"), "{äöüÄÖÜß");
    assert_eq!(decoded("IBM1140", b"\x9f"), "€");
    assert_eq!(decoded("IBM037", b"\x9f"), "¤");
    assert_eq!(decoded("IBM850", b"\x84\x94\x81\xe1"), "äöüß");
    assert_eq!(decoded("IBM858", b"\xd5"), "€");
    assert_eq!(decoded("ISO-8859-9", b"\xd0\xdd\xde\xf0\xfd\xfe"), "ĞİŞğış");
    assert_eq!(decoded("ISO-8859-1", b"\x80\x9f\xe9"), "\u{80}\u{9f}é");
    assert_eq!(decoded("windows-1252", b"\x80\xe9"), "€é");
}
