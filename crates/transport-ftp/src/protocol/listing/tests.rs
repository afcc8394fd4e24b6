use super::*;
use chrono::DateTime;
use model::RemotePath;
use proptest::prelude::*;
use transport::folder::EntryKind;

/// 2026-03-01 12:00.
fn now() -> Timestamp {
    DateTime::from_timestamp(1_772_366_400, 0).unwrap()
}

fn entry(form: Form, line: &[u8]) -> Entry {
    match form.read(line, now()) {
        Line::Entry(entry) => entry,
        other => panic!("{:?}: {other:?}", String::from_utf8_lossy(line)),
    }
}

/// Name, kind, size and time of a line.
fn told(form: Form, line: &str) -> (String, EntryKind, Option<u64>, Option<String>) {
    let entry = entry(form, line.as_bytes());
    let time = entry.modified.map(|at| at.format("%Y-%m-%dT%H:%M:%S").to_string());
    (entry.path.to_text(), entry.kind, entry.size, time)
}

fn expect(form: Form, line: &str, name: &str, kind: EntryKind, size: Option<u64>, time: Option<&str>) {
    assert_eq!(told(form, line), (name.to_owned(), kind, size, time.map(str::to_owned)), "{line}");
}

#[test]
fn facts_come_in_any_order_and_case() {
    let expect = |line: &str, name, kind, size, time| expect(Form::Facts, line, name, kind, size, time);
    let time = Some("2026-02-28T23:59:58");
    expect("type=file;size=12;modify=20260228235958; a b; c", "a b; c", EntryKind::File, Some(12), time);
    expect("Modify=20260228235958.123;Size=12;Type=FILE; a", "a", EntryKind::File, Some(12), time);
    expect("perm=adfr;type=dir;size=4096;unique=8U1; sub", "sub", EntryKind::Directory, None, None);
    expect("type=OS.unix=slink:/my files;size=1; link", "link", EntryKind::Link, Some(1), None);
    expect("type=OS.unix=symlink; link", "link", EntryKind::Link, None, None);
    expect("type=OS.unix=chr-1/3; null", "null", EntryKind::Other, None, None);
    expect("size=12; a", "a", EntryKind::Unknown, Some(12), None);
    expect("  leading", " leading", EntryKind::Unknown, None, None);
    expect("modify=tomorrow;size=many;type=file; a", "a", EntryKind::File, None, None);
    for line in ["type=cdir; /home", "type=pdir; /", "type=dir; .", ""] {
        assert_eq!(Form::Facts.read(line.as_bytes(), now()), Line::Nothing, "{line}");
    }
    for line in ["type=file;size=1;", "nothing"] {
        assert_eq!(Form::Facts.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn unix_listings_are_read() {
    let file =
        |line: &str, name, size, time| expect(Form::Either, line, name, EntryKind::File, Some(size), time);
    file(
        "-rw-r--r--   1 ftp      ftp           403 Feb 28 15:09 a.edi",
        "a.edi",
        403,
        Some("2026-02-28T15:09:00"),
    );
    file(
        "-rw-r--r--   1 ftp      ftp           403 Mar  2 11:59 a.edi",
        "a.edi",
        403,
        Some("2026-03-02T11:59:00"),
    );
    file(
        "-rw-r--r--   1 ftp      ftp           403 Mar 15 11:59 a.edi",
        "a.edi",
        403,
        Some("2025-03-15T11:59:00"),
    );
    file(
        "-rw-r--r--   1 1000     1000          403 Feb 29  2024 a.edi",
        "a.edi",
        403,
        Some("2024-02-29T00:00:00"),
    );
    file(
        "-rw-r--r--+  1 an owner a group       403 Feb 28 15:09  a  b ",
        " a  b ",
        403,
        Some("2026-02-28T15:09:00"),
    );
    file(
        "-rw-r--r-- 1 owner 5 Feb 28 15:09 1 Jan 2 2020 x",
        "1 Jan 2 2020 x",
        5,
        Some("2026-02-28T15:09:00"),
    );
    file("-rw-r--r-- 1 ftp ftp 7 28 Feb 15:09 a", "a", 7, Some("2026-02-28T15:09:00"));
    file("-rw-r--r-- 1 ftp ftp 7 2026-02-28 15:09 a", "a", 7, Some("2026-02-28T15:09:00"));
    file("-rw-r--r-- 1 ftp ftp 7 2026-02-28 15:09:11.5 +0000 a", "a", 7, Some("2026-02-28T15:09:00"));
    file("-rw-r--r-- 1 ftp ftp 7 28. Dez. 15:09 a", "a", 7, None);
    file("-rw-r--r-- 1 ftp ftp 7 févr. 28 15:09 a", "a", 7, None);
    file(
        "-rw-r--r-- 1 ftp ftp 4294967296123 Jan 1 1969 a -> b",
        "a -> b",
        4_294_967_296_123,
        Some("1969-01-01T00:00:00"),
    );
    let other =
        |line: &str, name, kind| expect(Form::Either, line, name, kind, None, Some("2026-02-28T15:09:00"));
    other("drwxr-xr-x 2 ftp ftp 4096 Feb 28 15:09 sub", "sub", EntryKind::Directory);
    other("lrwxrwxrwx 1 ftp ftp 1 Feb 28 15:09 a -> /b c", "a", EntryKind::Link);
    other("crw-rw-rw- 1 root root 1, 3 Feb 28 15:09 null", "null", EntryKind::Other);
    for line in [
        "total 12",
        "insgesamt 0",
        "",
        "drwxr-xr-x 2 ftp ftp 4096 Feb 28 15:09 ..",
        "drwxr-xr-x 2 ftp ftp 4096 Feb 28 15:09 .",
    ] {
        assert_eq!(Form::Either.read(line.as_bytes(), now()), Line::Nothing, "{line}");
    }
    for line in
        ["a.edi", "-rw-r--r-- 1 ftp ftp", "ls: cannot open directory", "-rw-r--r-- 1 ftp ftp 7 Feb 28 15:09 "]
    {
        assert_eq!(Form::Either.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn names_are_bytes() {
    let read = |form, line: &[u8]| entry(form, line).path;
    let name = RemotePath::from_bytes(*b"caf\xe9\xff");
    assert_eq!(read(Form::Either, b"-rw-r--r-- 1 ftp ftp 7 Feb 28 15:09 caf\xe9\xff"), name);
    assert_eq!(read(Form::Facts, b"type=file; caf\xe9\xff"), name);
    assert_eq!(read(Form::Windows, b"02-28-26  03:09PM 403 caf\xe9\xff"), name);
}

#[test]
fn windows_listings_are_read() {
    let expect = |line: &str, name, kind, size| {
        expect(Form::Either, line, name, kind, size, Some("2026-02-28T15:09:00"))
    };
    expect("02-28-26  03:09PM                  403 read me.txt", "read me.txt", EntryKind::File, Some(403));
    expect("02-28-2026  03:09 PM            1,403  a", " a", EntryKind::File, Some(1403));
    expect("2026-02-28  15:09                  403 a", "a", EntryKind::File, Some(403));
    expect("02-28-26  03:09PM       <DIR>          my files", "my files", EntryKind::Directory, None);
    expect("02/28/26  03:09PM       <JUNCTION>     j", "j", EntryKind::Link, None);
    for line in
        ["02-28-26  03:09PM", "13-41-26  03:09PM 4 a", "02-28-26  13:09PM 4 a", "02-28-26  03:09PM x a"]
    {
        assert_eq!(Form::Either.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_fail(line in proptest::collection::vec(any::<u8>(), 0..120), cut in 0_usize..80) {
        for form in [Form::Facts, Form::Unix, Form::Windows, Form::Either] {
            form.read(&line, now());
            let known = b"-rw-r--r--   1 ftp      ftp           403 Feb 28 15:09 a.edi";
            let mut mixed = known[..cut.min(known.len())].to_vec();
            mixed.extend_from_slice(&line);
            form.read(&mixed, now());
        }
    }
}
