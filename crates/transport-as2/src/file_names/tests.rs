use super::*;
use proptest::prelude::*;
use smime::{Headers, Limits};

/// The name that a reader finds in a header section, and its raw bytes.
fn read(header: &[u8]) -> (Option<String>, Option<Vec<u8>>) {
    let section = [header, b"\r\n\r\n"].concat();
    let (headers, _) = Headers::parse(&section, &Limits::default()).unwrap();
    (headers.file_name(), headers.file_name_raw())
}

fn written(name: &[u8], form: FileNameForm) -> String {
    attachment(name, form)
}

#[test]
fn every_form_of_a_name_is_read() {
    for (header, name) in [
        // RFC 2047 by Q and B, in quotes as products write it, and folded between its words.
        (&b"Content-Disposition: attachment; filename=\"=?UTF-8?Q?gr=C3=B6=C3=9Fe_1.edi?=\""[..], "größe 1.edi"),
        (b"Content-Disposition: attachment; filename==?UTF-8?B?Z3LDtsOfZS5lZGk=?=", "größe.edi"),
        (
            b"Content-Disposition: attachment;\r\n filename=\"=?UTF-8?B?Z3LDtg==?=\r\n =?UTF-8?B?w59lLmVkaQ==?=\"",
            "größe.edi",
        ),
        // RFC 2231: character sets, languages, continuations in any order, folded.
        (b"Content-Disposition: attachment; filename*=iso-8859-1'de'gr%F6%DFe.edi", "größe.edi"),
        (
            b"Content-Disposition: attachment;\r\n\tfilename*1*=%B6%C3;\r\n\tfilename*2*=%9Fe;\r\n\tfilename*3=\".edi\";\r\n\tfilename*0*=UTF-8''gr%C3",
            "größe.edi",
        ),
        (b"Content-Disposition: attachment; filename*0=\"order\"; filename*1=\" 1.edi\"", "order 1.edi"),
        // RFC 5987 and RFC 6266: the extended form wins, wherever it stands.
        (b"Content-Disposition: attachment; filename=\"groesse.edi\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.edi", "größe.edi"),
        (b"Content-Disposition: attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe.edi; filename=groesse.edi", "größe.edi"),
        // What cannot be decoded gives way.
        (b"Content-Disposition: attachment; filename*=x-none''%F6; filename=groesse.edi", "groesse.edi"),
        // Raw bytes: UTF-8, else Latin-1.
        (b"Content-Disposition: attachment; filename=\"gr\xc3\xb6\xc3\x9fe.edi\"", "größe.edi"),
        (b"Content-Disposition: attachment; filename=gr\xf6\xdfe.edi", "größe.edi"),
        // Another field, where the first has none or an empty one.
        (b"Content-Type: application/edi-x12; name=po.edi", "po.edi"),
        (b"Content-Disposition: attachment\r\nContent-Type: application/edi-x12; name=\"po 1.edi\"", "po 1.edi"),
        (b"Content-Disposition: attachment; filename=\"\"\r\nContent-Type: a/b; name=po.edi", "po.edi"),
        (b"Content-Disposition: attachment; filename=\" \"; name=po.edi", "po.edi"),
        // Several: the first that says something.
        (b"Content-Disposition: attachment; filename=one.edi; filename=two.edi", "one.edi"),
        (b"Content-Disposition: attachment; filename=\"\"; filename=two.edi", "two.edi"),
        // Quotes, backslashes and paths.
        (b"Content-Disposition: attachment; filename=\"a \\\"b\\\" c.edi\"", "a \"b\" c.edi"),
        (b"Content-Disposition: attachment; filename=\"C:\\\\out\\\\po.edi\"", "C:\\out\\po.edi"),
        (b"Content-Disposition: attachment; filename=\"C:\\out\\po.edi\"", "C:\\out\\po.edi"),
        (b"Content-Disposition: attachment; filename=po;1.edi", "po"),
        (b"Content-Disposition: attachment; filename=\"po;1*.edi\"", "po;1*.edi"),
        (b"Content-Disposition: attachment; FileName = po.edi ; size=3", "po.edi"),
    ] {
        let shown = String::from_utf8_lossy(header).into_owned();
        assert_eq!(read(header).0.as_deref(), Some(name), "{shown}");
    }
    assert_eq!(read(b"Content-Disposition: attachment").0, None);
    // The raw bytes are those of the name that counts.
    let raw =
        read(b"Content-Disposition: attachment; filename=\"\"\r\nContent-Type: a/b; name=\"\xe9.edi\"").1;
    assert_eq!(raw.as_deref(), Some(&b"\xe9.edi"[..]));
}

#[test]
fn names_are_written_in_the_form_that_was_agreed() {
    use FileNameForm::{EncodedWord, Extended, ExtendedWithAscii};
    for form in [Extended, ExtendedWithAscii, EncodedWord] {
        assert_eq!(written(b"po-1.edi", form), "attachment; filename=po-1.edi");
        assert_eq!(written(b"po 1.edi", form), "attachment; filename=\"po 1.edi\"");
        assert_eq!(written(b"a\"b\\c", form), "attachment; filename=\"a\\\"b\\\\c\"");
    }
    let name = "größe;1.edi".as_bytes();
    assert_eq!(written(name, Extended), "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%3B1.edi");
    assert_eq!(
        written(name, ExtendedWithAscii),
        "attachment; filename=\"gr__e;1.edi\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%3B1.edi"
    );
    assert_eq!(written(name, EncodedWord), "attachment; filename=\"=?UTF-8?B?Z3LDtsOfZTsxLmVkaQ==?=\"");
    assert_eq!(written(b"caf\xe9", Extended), "attachment; filename*=ISO-8859-1''caf%E9");
    assert_eq!(written(b"caf\xe9", EncodedWord), "attachment; filename=\"=?ISO-8859-1?B?Y2Fm6Q==?=\"");
    let long = written("é".repeat(100).as_bytes(), EncodedWord);
    assert!(long.split(['"', ' ']).all(|word| word.len() <= 75), "{long}");
}

#[test]
fn files_of_one_message_have_names_of_their_own() {
    assert_eq!(unlike("a.edi".into(), &[]), "a.edi");
    assert_eq!(unlike("a.edi".into(), &["b.edi"]), "a.edi");
    assert_eq!(unlike("a.edi".into(), &["a.edi"]), "a-2.edi");
    assert_eq!(unlike("a.edi".into(), &["a.edi", "a-2.edi"]), "a-3.edi");
    assert_eq!(unlike("message-1".into(), &["message-1"]), "message-1-2");
    let longest = format!("{}.edi", "é".repeat(125));
    let other = unlike(longest.clone(), &[&longest]);
    assert!(other.len() <= 255 && other.ends_with("-2.edi"), "{other}");
}

#[test]
fn marks_that_reorder_a_line_are_taken_out() {
    assert_eq!(safe_file_name(Some("po\u{202e}ide.exe"), "<1@a>"), "po_ide.exe");
    assert_eq!(safe_file_name(Some("po\u{2028}1\u{85}.edi"), "<1@a>"), "po_1_.edi");
}

#[test]
fn file_names_lead_nowhere() {
    for (raw, safe) in [
        (Some("../../etc/passwd"), "passwd"),
        (Some("..\\..\\boot.ini"), "boot.ini"),
        (Some("C:\\data\\order2.edi"), "order2.edi"),
        (Some("C:/data\\in/order2.edi"), "order2.edi"),
        (Some("\\\\server\\share\\order2.edi"), "order2.edi"),
        (Some("//server/share/order2.edi"), "order2.edi"),
        (Some("file:///C:/data/order2.edi"), "order2.edi"),
        (Some("C:order2.edi"), "order2.edi"),
        (Some("PO:4711.edi"), "PO_4711.edi"),
        (Some("C:\\data\\"), "message-1@a"),
        (Some("C:"), "message-1@a"),
        (Some("a\0b\r\nc.edi"), "a_b__c.edi"),
        (Some(".."), "message-1@a"),
        (Some("dir/"), "message-1@a"),
        (None, "message-1@a"),
        (Some("*.edi"), "_.edi"),
        (Some("Bestellung é.edi"), "Bestellung é.edi"),
        (Some("=?x-unknown?B?6W/kay9hLmVkaQ==?="), "=_x-unknown_B_6W_kay9hLmVkaQ==_="),
        (Some("out/=?x-unknown?b?6W/k?= =?x-unknown?b?/+8=?="), "=_x-unknown_b_6W_k_= =_x-unknown_b__+8=_="),
        (Some("=?x-unknown?B?6W/k?=/order.edi"), "order.edi"),
        (Some("=?x?Q?../../etc/passwd?="), "=_x_Q_.._.._etc_passwd_="),
        (Some("=?/etc?Q?passwd?="), "etc_Q_passwd_="),
        (Some("a=?b/c=d.edi"), "c=d.edi"),
        (Some("=?x?B?never/closed"), "closed"),
    ] {
        assert_eq!(safe_file_name(raw, "<1@a>"), safe);
    }
}

#[test]
fn long_names_stay_whole_as_long_as_a_file_system_holds_them() {
    let whole = format!("{}.edi", "x".repeat(251));
    assert_eq!(safe_file_name(Some(&whole), "<1@a>"), whole);
    let longer = safe_file_name(Some(&format!("{}.edi", "é".repeat(200))), "<1@a>");
    assert_eq!(longer, format!("{}.edi", "é".repeat(125)));
    assert_eq!(safe_file_name(Some(&"x".repeat(300)), "<1@a>"), "x".repeat(255));
}

proptest! {
    #[test]
    fn any_name_is_one_part_without_control_characters(raw in r".{0,300}|([=?/\\QBx.é]|=\?x\?Q\?){0,60}") {
        let name = safe_file_name(Some(&raw), "<../x>");
        prop_assert!(!name.is_empty() && name.len() <= 255);
        prop_assert!(!name.contains(['/', '\\', '\0']) && !name.chars().any(char::is_control));
        prop_assert!(name != "." && name != "..");
    }
}

fn names() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        ".{1,80}".prop_map(String::into_bytes),
        "[a-z\"\\\\;=' é注%*]{1,80}".prop_map(String::into_bytes),
        // Without the bytes that windows-1252, as which Latin-1 is read, has other characters for.
        prop::collection::vec(prop_oneof![1..=0x7f_u8, 0xa0..=0xff_u8], 1..80),
    ]
}

proptest! {
    // Of the names that are made up, some begin or end with a space.
    #![proptest_config(ProptestConfig { max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_one_line_and_read_back(name in names()) {
        let text = match std::str::from_utf8(&name) {
            Ok(text) => text.to_owned(),
            Err(_) => name.iter().map(|byte| char::from(*byte)).collect(),
        };
        // Surrounding spaces belong to no name, and an encoded-word in a name is one.
        prop_assume!(text.trim() == text && !text.contains("=?") && !text.contains('\u{feff}'));
        for form in FileNameForm::ALL {
            let line = format!("Content-Disposition: {}", attachment(&name, *form));
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{}", line);
            let (came, _) = read(line.as_bytes());
            prop_assert_eq!(came.as_deref(), Some(text.as_str()), "{}", line);
        }
    }

    #[test]
    fn any_header_gives_a_name_that_is_safe_on_disk(value in prop::collection::vec(any::<u8>(), 0..200), others in 0..4_usize) {
        let header = [b"Content-Disposition: attachment; filename=", value.as_slice()].concat();
        let section: Vec<u8> = header.into_iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).collect();
        let safe = safe_file_name(read(&section).0.as_deref(), "<1@a>");
        let mut taken = vec![safe];
        for _ in 0..others {
            let refs: Vec<&str> = taken.iter().map(String::as_str).collect();
            let next = unlike(taken[0].clone(), &refs);
            prop_assert!(!taken.contains(&next));
            taken.push(next);
        }
        for name in taken {
            prop_assert!(!name.is_empty() && name.len() <= 255 && name != "." && name != "..");
            prop_assert!(!name.contains(['/', '\\']) && !name.chars().any(breaks_lines), "{:?}", name);
        }
    }
}
