//! Files with difficult names, from each folder protocol to each: they arrive under the same name with the same bytes, or
//! are refused with the file untouched where a protocol cannot carry the name.

use crate::sites::{ALL, Site, certificates, is_ftp};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, SystemTime};
use suites::pair::{events, random};
use suites::{Gateway, GatewayBuilder, fresh_database, within};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names that every protocol carries.
fn carried() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        "order.edi",
        "käse.edi",
        // The same letters decomposed (NFD), which is another name.
        "ka\u{308}se.edi",
        "📦 order.edi",
        "-rf.edi",
        "  spaces  around  ",
        "100%.edi",
        "%41%2F%00.edi",
        "a+b.edi",
        "a#b?c.edi",
        "a&b=c;d,e.edi",
        "trailing dot.",
        "CON",
        "lpt1.txt",
        "a:b*c|d<e>f\"g'.edi",
        "back\\slash.edi",
        "{name}-{stem}[1].edi",
        "~tilde$HOME`id`.edi",
        "tab\there.edi",
        "..two dots.edi",
        "drwxr-xr-x 2 a b 3 Jan  1 12:00 name",
    ]
    .map(|name| name.as_bytes().to_vec())
    .into();
    names.push(b"caf\xe9.edi".to_vec());
    names.push([&[b'x'; 251][..], b".edi"].concat());
    names.push(["é".repeat(126).as_bytes(), b".no"].concat());
    names
}

/// Names that FTP cannot carry: a line break ends a command, and Telnet takes byte 255 for its own.
fn not_in_ftp() -> Vec<Vec<u8>> {
    vec![b"line\nbreak.edi".to_vec(), b"return\rhere.edi".to_vec(), b"byte\xff.edi".to_vec()]
}

/// The time of every file at its source.
fn long_ago() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// What a directory holds, by name.
fn content(directory: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.filter_map(|entry| Some((entry.file_name().into_vec(), fs::read(entry.path()).ok()?))).collect()
}

/// How many files of a flow were refused because a destination cannot carry their names.
fn refused_of(gateway: &Gateway, flow: &str) -> usize {
    let events = events(gateway, "offer.refused");
    events
        .iter()
        .filter(|event| event["flow"] == flow && event.to_string().contains("rename the file"))
        .count()
}

/// Names as a failed test shows them.
fn shown<'a>(names: impl Iterator<Item = &'a Vec<u8>>) -> Vec<String> {
    names.map(|name| name.escape_ascii().to_string()).collect()
}

fn from_one_to_each(from: &str, database: Option<&str>) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let sites: BTreeMap<&str, Site> = ALL.map(|protocol| (protocol, Site::start(protocol, place))).into();
    let refused = place.join("refused");
    let mut document = certificates(place);
    for to in ALL {
        sites[from].directory(&format!("to-{to}"));
        sites[to].directory("received");
        fs::create_dir_all(refused.join(to)).unwrap();
        let source = sites[from].fields.replace("{path}", &format!("to-{to}"));
        let destination = sites[to].fields.replace("{path}", "received");
        document += &format!(
            r#"
[endpoint.from-{to}]
{source}
[endpoint.to-{to}]
{destination}
[flow.{to}]
source = {{ endpoint = "from-{to}", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete"{errors} }}
[[flow.{to}.destination]]
endpoint = "to-{to}"
verify = "checksum"
keep_time = true
temporary = {{ directory = "{unfinished}" }}
retry = {{ attempts = 30, first = "1s", longest = "1s" }}
"#,
            unfinished = match to {
                "file" => sites[to].files.join("unfinished").display().to_string(),
                "webdav" => "unfinished".to_owned(),
                _ if is_ftp(to) => "files/unfinished".to_owned(),
                _ => "unfinished".to_owned(),
            },
            errors = if from == "file" {
                format!(", error_directory = \"{}/{to}\"", refused.display())
            } else {
                String::new()
            },
        );
    }
    let mut gateway: Gateway = GatewayBuilder::new(place, "node").database(database).build();
    gateway.define("flows.toml", &document);
    let mut sent: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
    for (number, name) in carried().into_iter().enumerate() {
        sent.insert(name, random(number * 911));
    }
    let special: BTreeMap<Vec<u8>, Vec<u8>> =
        not_in_ftp().into_iter().map(|name| (name, random(1_000))).collect();
    for to in ALL {
        for (name, bytes) in sent.iter().chain(&special) {
            let path = sites[from].files.join(format!("to-{to}")).join(OsStr::from_bytes(name));
            fs::write(&path, bytes).unwrap();
            fs::File::open(&path).unwrap().set_modified(long_ago()).unwrap();
        }
    }
    gateway.start();
    for to in ALL {
        let mut expected = sent.clone();
        if !is_ftp(from) && !is_ftp(to) {
            expected.extend(special.clone());
        }
        let received = sites[to].files.join("received");
        let source = sites[from].files.join(format!("to-{to}"));
        let missing = || {
            let (found, left) = (content(&received), content(&source));
            shown(expected.keys().filter(|name| !found.contains_key(*name) || left.contains_key(*name)))
        };
        let arrived = within(PATIENCE, || missing().is_empty().then_some(())).is_some();
        assert!(arrived, "from {from} to {to}, not moved: {:#?}\n{}", missing(), gateway.log());
        let found = content(&received);
        assert_eq!(shown(found.keys()), shown(expected.keys()), "from {from} to {to}");
        assert!(found == expected, "from {from} to {to}: the bytes of a file differ");
        assert_eq!(fs::read_dir(sites[to].files.join("unfinished")).unwrap().count(), 0);
        // vsftpd and Apache have no command that sets a time; vsftpd's listing tells minutes alone.
        if from != "ftp" && !matches!(to, "ftp" | "webdav") {
            let modified = fs::metadata(received.join("order.edi")).unwrap().modified().unwrap();
            assert_eq!(modified, long_ago(), "from {from} to {to}");
        }
        if is_ftp(from) {
            // They cannot be named in a command, so they stay.
            let left = content(&source);
            assert!(left == special, "from {from} to {to}: {:?}", shown(left.keys()));
        } else if is_ftp(to) {
            // They are not taken, as they could not be delivered.
            let refused = place.join("refused").join(to);
            let there = if from == "file" { &refused } else { &source };
            let is_refused = within(PATIENCE, || (refused_of(&gateway, to) == special.len()).then_some(()));
            assert!(is_refused.is_some(), "{}", gateway.log());
            let are_left = || {
                let mut left = content(there);
                left.retain(|name, _| !name.ends_with(b".error.json"));
                left == special
            };
            assert!(within(PATIENCE, || are_left().then_some(())).is_some(), "{from} to {to}");
        }
    }
    assert_eq!(gateway.json(&["transfer", "list", "--state", "failed"]).as_array().unwrap().len(), 0);
    gateway.stop();
}

/// G7: files of directories below the polled one, delivered to each protocol with `create_directories` off.
#[test]
fn paths_below_a_polled_directory_are_kept_at_each() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let sites: BTreeMap<&str, Site> = ALL.map(|protocol| (protocol, Site::start(protocol, place))).into();
    let mut document = String::new();
    for protocol in ["ftps", "webdav"] {
        let pem = place.join(format!("{protocol}.pem"));
        document += &format!("[certificate.{protocol}]\npem = \"${{file:{}}}\"\n", pem.display());
    }
    let files: BTreeMap<&str, Vec<u8>> =
        [("top.edi", 1), ("2026/a.edi", 70_000), ("2026/straße/b c.edi", 300)]
            .map(|(name, size)| (name, random(size)))
            .into();
    for to in ALL {
        let source = sites["file"].directory(&format!("to-{to}"));
        for (name, bytes) in &files {
            fs::create_dir_all(source.join(name).parent().unwrap()).unwrap();
            fs::write(source.join(name), bytes).unwrap();
        }
        let source = sites["file"].fields.replace("{path}", &format!("to-{to}"));
        let destination = sites[to].fields.replace("{path}", "below");
        document += &format!(
            r#"
[endpoint.from-{to}]
{source}
[endpoint.to-{to}]
{destination}
[flow.{to}]
source = {{ endpoint = "from-{to}", recursive = true, every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.{to}.destination]]
endpoint = "to-{to}"
retry = {{ attempts = 100, first = "1s", longest = "1s" }}
"#
        );
    }
    let mut gateway: Gateway = GatewayBuilder::new(place, "node").build();
    gateway.define("flows.toml", &document);
    gateway.start();
    // The endpoint's own directory is missing: it is named, nothing is made, and it is tried again.
    for to in ALL {
        let is_told = within(PATIENCE, || {
            let events = events(&gateway, "delivery.retrying");
            let of_this = |event: &&serde_json::Value| event["flow"] == to;
            events.iter().filter(of_this).any(|event| event.to_string().contains("below")).then_some(())
        });
        assert!(is_told.is_some(), "{to}: {}", gateway.log());
        assert!(!sites[to].files.join("below").exists(), "{to}");
    }
    for to in ALL {
        sites[to].directory("below");
    }
    for to in ALL {
        let below = sites[to].files.join("below");
        let missing = || {
            let is_missing =
                |(name, bytes): &(&&str, &Vec<u8>)| fs::read(below.join(name)).ok().as_ref() != Some(bytes);
            files.iter().filter(is_missing).map(|(name, _)| *name).collect::<Vec<_>>()
        };
        let arrived = within(PATIENCE, || missing().is_empty().then_some(()));
        assert!(arrived.is_some(), "to {to}, not there: {:?}\n{}", missing(), gateway.log());
        assert_eq!(content(&below).len(), 1, "only the file of the polled directory itself lies at the top");
    }
    gateway.stop();
}

#[test]
fn from_a_directory_to_each() {
    from_one_to_each("file", None);
}

#[test]
fn from_sftp_to_each() {
    from_one_to_each("sftp", Some(&fresh_database("pair_sftp")));
}

#[test]
fn from_ftp_to_each() {
    from_one_to_each("ftp", None);
}

#[test]
fn from_ftps_to_each() {
    from_one_to_each("ftps", Some(&fresh_database("pair_ftps")));
}

#[test]
fn from_webdav_to_each() {
    from_one_to_each("webdav", None);
}
