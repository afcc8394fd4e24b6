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
        |line: &str, name, size, time| expect(Form::Any, line, name, EntryKind::File, Some(size), time);
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
    file("-rw-r--r-- 1 ftp ftp 7 28 дек 15:09 a", "a", 7, None);
    // Their months are numbers: in UTF-8, and in the encodings of before.
    file("-rw-r--r-- 1 ftp ftp 7  2月 28 15:09 a", "a", 7, Some("2026-02-28T15:09:00"));
    file("-rw-r--r-- 1 ftp ftp 7 12월 28  2024 a", "a", 7, Some("2024-12-28T00:00:00"));
    let shift_jis = entry(Form::Any, b"-rw-r--r-- 1 ftp ftp 7 12\x8c\x8e 28  2024 a");
    assert_eq!(shift_jis.modified.unwrap().to_string(), "2024-12-28 00:00:00 UTC");
    file(
        "-rw-r--r-- 1 ftp ftp 4294967296123 Jan 1 1969 a -> b",
        "a -> b",
        4_294_967_296_123,
        Some("1969-01-01T00:00:00"),
    );
    let other =
        |line: &str, name, kind| expect(Form::Any, line, name, kind, None, Some("2026-02-28T15:09:00"));
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
        assert_eq!(Form::Any.read(line.as_bytes(), now()), Line::Nothing, "{line}");
    }
    for line in
        ["a.edi", "-rw-r--r-- 1 ftp ftp", "ls: cannot open directory", "-rw-r--r-- 1 ftp ftp 7 Feb 28 15:09 "]
    {
        assert_eq!(Form::Any.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn names_are_bytes() {
    let read = |form, line: &[u8]| entry(form, line).path;
    let name = RemotePath::from_bytes(*b"caf\xe9\xff");
    assert_eq!(read(Form::Any, b"-rw-r--r-- 1 ftp ftp 7 Feb 28 15:09 caf\xe9\xff"), name);
    assert_eq!(read(Form::Facts, b"type=file; caf\xe9\xff"), name);
    assert_eq!(read(Form::Windows, b"02-28-26  03:09PM 403 caf\xe9\xff"), name);
}

#[test]
fn windows_listings_are_read() {
    let expect =
        |line: &str, name, kind, size| expect(Form::Any, line, name, kind, size, Some("2026-02-28T15:09:00"));
    expect("02-28-26  03:09PM                  403 read me.txt", "read me.txt", EntryKind::File, Some(403));
    expect("02-28-2026  03:09 PM            1,403  a", " a", EntryKind::File, Some(1403));
    expect("2026-02-28  15:09                  403 a", "a", EntryKind::File, Some(403));
    expect("02-28-26  03:09PM       <DIR>          my files", "my files", EntryKind::Directory, None);
    expect("02/28/26  03:09PM       <JUNCTION>     j", "j", EntryKind::Link, None);
    for line in
        ["02-28-26  03:09PM", "13-41-26  03:09PM 4 a", "02-28-26  13:09PM 4 a", "02-28-26  03:09PM x a"]
    {
        assert_eq!(Form::Any.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn listings_of_ibm_i_are_read() {
    let expect = |line: &str, name, kind, size, time| expect(Form::Any, line, name, kind, size, time);
    let minute = Some("2026-02-28T15:09:00");
    expect(
        "ACME            36864 02/28/26 15:09:12 *STMF      orders 1.edi",
        "orders 1.edi",
        EntryKind::File,
        Some(36864),
        minute,
    );
    expect("ACME            36864 28.02.26 15:09:12 *STMF      a", "a", EntryKind::File, Some(36864), minute);
    expect(
        "ACME            36864 2026-02-28 15:09:12 *STMF      a",
        "a",
        EntryKind::File,
        Some(36864),
        minute,
    );
    expect(
        "ACME             8192 02/28/26 15:09:12 *DIR       sub/",
        "sub",
        EntryKind::Directory,
        None,
        minute,
    );
    expect(
        "ACME             8192 02/28/26 15:09:12 *FILE      EDI.LIB/IN.FILE",
        "IN.FILE",
        EntryKind::Unknown,
        None,
        minute,
    );
    expect(
        "ACME                                    *MEM       IN.FILE/M1.MBR",
        "M1.MBR",
        EntryKind::File,
        None,
        None,
    );
    expect("ACME            36864 26/28/02 15:09:12 *STMF      a", "a", EntryKind::File, Some(36864), None);
    for line in
        ["ACME 36864 02/28/26 15:09:12 *STMF ", "ACME x 02/28/26 15:09:12 *STMF a", "ACME 1 2 *stmf a"]
    {
        assert_eq!(Form::As400.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn listings_of_openvms_are_read() {
    let expect =
        |line: &str, name, kind| expect(Form::Any, line, name, kind, None, Some("2026-02-28T15:09:00"));
    expect(
        "ORDERS.EDI;12       213/216  28-FEB-2026 15:09:12  [ACME,EDI]  (RWED,RWED,,)",
        "ORDERS.EDI",
        EntryKind::File,
    );
    expect("SUB.DIR;1              1  28-feb-2026 15:09  [ACME]  (RWE,RWE,,)", "SUB", EntryKind::Directory);
    assert_eq!(Form::Any.read(b"A_NAME_THAT_FILLS_ITS_COLUMN.EDI;1", now()), Line::Begun);
    for line in ["Directory DISK$EDI:[ACME.IN]", "Total of 3 files, 12/15 blocks.", ""] {
        assert_eq!(Form::Vms.read(line.as_bytes(), now()), Line::Nothing, "{line}");
    }
    for line in
        ["ORDERS.EDI 213/216  28-FEB-2026 15:09:12", "A;1 x 28-FEB-2026 15:09", "A;1 1 28-XXX-2026 15:09"]
    {
        assert_eq!(Form::Vms.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

#[test]
fn listings_of_mvs_are_read() {
    let expect = |line: &str, name, kind, time| expect(Form::Mvs, line, name, kind, None, time);
    expect(
        "EDI001 3390   2026/02/28  1   15  FB      80 27920  PO  IN.PDS",
        "IN.PDS",
        EntryKind::Directory,
        None,
    );
    expect(
        "EDI001 3390   2026/02/28  1   15  VB     256  6233  PS  'ACME.ORDERS'",
        "ACME.ORDERS",
        EntryKind::File,
        None,
    );
    expect(
        "EDI001 3390   2026/02/28  1   15  U        0  6233  VS  CLUSTER",
        "CLUSTER",
        EntryKind::Other,
        None,
    );
    expect("Migrated                                                OLD", "OLD", EntryKind::Other, None);
    expect("Pseudo Directory                                        SUB", "SUB", EntryKind::Directory, None);
    expect(
        "ORDERS    01.03 2026/01/01 2026/02/28 15:09    11    11     0 ACME",
        "ORDERS",
        EntryKind::File,
        Some("2026-02-28T15:09:00"),
    );
    expect("$ORDER1 ", "$ORDER1", EntryKind::File, None);
    for line in [
        "Volume Unit    Referred Ext Used Recfm Lrecl BlkSz Dsorg Dsname",
        " Name     VV.MM   Created       Changed      Size  Init   Mod   Id",
    ] {
        assert_eq!(Form::Mvs.read(line.as_bytes(), now()), Line::Nothing, "{line}");
    }
    for line in ["orders", "TOOLONGNAME", "1A", "EDI001 Error determining attributes"] {
        assert_eq!(Form::Mvs.read(line.as_bytes(), now()), Line::Unreadable, "{line}");
    }
}

proptest! {
    #[test]
    fn no_line_makes_a_parser_fail(line in proptest::collection::vec(any::<u8>(), 0..120), cut in 0_usize..80) {
        for form in [Form::Facts, Form::Unix, Form::Windows, Form::As400, Form::Vms, Form::Mvs, Form::Any] {
            form.read(&line, now());
            let known = b"-rw-r--r--   1 ftp      ftp           403 Feb 28 15:09 a.edi";
            let mut mixed = known[..cut.min(known.len())].to_vec();
            mixed.extend_from_slice(&line);
            form.read(&mixed, now());
        }
    }
}
