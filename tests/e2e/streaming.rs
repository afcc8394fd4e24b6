//! Files that go straight from one real server to another, without a copy on the gateway.

use crate::sites::{ALL, Site, certificates};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::pair::{events, random};
use suites::{Gateway, GatewayBuilder, fresh_database, run, within};

/// Long enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The most that the gateway may take while it streams a file of [`LARGE`] bytes, in MiB.
const MOST_MEMORY: u64 = 256;
const LARGE: u64 = 512 << 20;

/// A flow that streams between directories of two sites.
fn flow(name: &str, from: (&Site, &str), to: (&Site, &str), after: &str, more: &str) -> String {
    let source = from.0.fields.replace("{path}", from.1);
    let destination = to.0.fields.replace("{path}", to.1);
    format!(
        r#"
[endpoint.{name}-from]
{source}
{more}
[endpoint.{name}-to]
{destination}
{more}
[flow.{name}]
source = {{ endpoint = "{name}-from", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = {after}, stream = true }}
[[flow.{name}.destination]]
endpoint = "{name}-to"
verify = "checksum"
retry = {{ attempts = 30, first = "1s", longest = "1s" }}
"#
    )
}

/// The number of payloads in staging.
fn staged(gateway: &Gateway) -> usize {
    let fans = fs::read_dir(gateway.directory().join("state/staging/payloads")).unwrap();
    fans.map(|fan| fs::read_dir(fan.unwrap().path()).unwrap().count()).sum()
}

/// What a directory holds, by name; files may disappear while this looks.
fn content(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).into_iter().flatten().map(Result::unwrap);
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    named.filter_map(|(name, path)| Some((name, fs::read(path).ok()?))).collect()
}

fn expect_files(gateway: &Gateway, directory: &Path, expected: &BTreeMap<String, Vec<u8>>) {
    let arrived = within(PATIENCE, || (content(directory) == *expected).then_some(()));
    let found: Vec<_> = content(directory).into_iter().map(|(name, bytes)| (name, bytes.len())).collect();
    assert!(arrived.is_some(), "{}: {found:?}\n{}", directory.display(), gateway.log());
}

/// From a directory over each server, and back into a directory.
fn from_each_to_the_next(database: Option<&str>) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let sites: BTreeMap<&str, Site> = ALL.map(|protocol| (protocol, Site::start(protocol, place))).into();
    let way = ["file", "sftp", "ftp", "webdav", "ftps", "file"];
    for site in sites.values() {
        site.directory("there");
        site.directory("back");
    }
    let done = sites["file"].directory("done");
    let mut document = certificates(place);
    for (hop, pair) in way.windows(2).enumerate() {
        let to = if pair[1] == "file" { "back" } else { "there" };
        // An archive on each server, whose path begins where its login does.
        let after = match pair[0] {
            "file" => format!("{{ archive = \"{}\", timestamp = false }}", done.display()),
            "ftp" | "ftps" => "{ archive = \"files/done\", timestamp = false }".to_owned(),
            "sftp" => "{ archive = \"done\", timestamp = false }".to_owned(),
            _ => "\"delete\"".to_owned(),
        };
        let (from, to) = ((&sites[pair[0]], "there"), (&sites[pair[1]], to));
        document += &flow(&format!("hop-{hop}"), from, to, &after, "");
    }
    let mut gateway = GatewayBuilder::new(place, "node").database(database).build();
    gateway.define("flows.toml", &document);
    let sent: BTreeMap<String, Vec<u8>> =
        [("empty", 0), ("a b+c%20.edi", 1), ("käse.edi", 70_001), ("large.bin", 5_000_017)]
            .map(|(name, length)| (name.to_owned(), random(length)))
            .into();
    for (name, bytes) in &sent {
        fs::write(sites["file"].files.join("there").join(name), bytes).unwrap();
    }
    gateway.start();
    expect_files(&gateway, &sites["file"].files.join("back"), &sent);
    for protocol in ["file", "sftp", "ftp", "ftps"] {
        expect_files(&gateway, &sites[protocol].files.join("done"), &sent);
    }
    for site in sites.values() {
        expect_files(&gateway, &site.files.join("there"), &BTreeMap::new());
    }
    assert_eq!(staged(&gateway), 0);
    gateway.wait_for("completed", sent.len() * 5, PATIENCE);
    assert_eq!(events(&gateway, "transfer.streamed").len(), sent.len() * 5);
    let shown = gateway.json(&["transfer", "list", "--state", "completed", "--limit", "1"]);
    let transfer = &shown[0];
    assert_eq!((&transfer["streamed"], transfer["sha256"].as_str().map(str::len)), (&true.into(), Some(64)));
    let id = transfer["id"].as_str().unwrap();
    let config = gateway.config();
    let command = |words: [&str; 3]| run(&[&["--config", config.to_str().unwrap()][..], &words].concat());
    let (_, text, _) = command(["transfer", "show", id]);
    assert!(text.contains("streamed, not kept"), "{text}");
    let (code, said, error) = command(["transfer", "resubmit", id]);
    assert!(!code.success() && error.contains("keeps no copy"), "{code} {said} {error}");
    gateway.stop();
    // What is known of each file since its delivery is in the sealed events, as all else.
    let verified = gateway.json(&["audit", "verify", "--records"]);
    assert_eq!(verified["holds"], true, "{verified}");
}

#[test]
fn files_go_from_each_protocol_to_the_next_without_a_copy() {
    from_each_to_the_next(None);
}

#[test]
fn files_go_from_each_protocol_to_the_next_without_a_copy_on_postgres() {
    from_each_to_the_next(Some(&fresh_database("streaming")));
}

/// Each needs a connection to both servers, and each server gives one.
#[test]
fn servers_with_one_connection_each_stream_to_each_other_and_to_themselves() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let (one, other) = (Site::start("ftp", place), Site::start("ftps", place));
    // The other certificate is not used.
    fs::write(place.join("webdav.pem"), fs::read(place.join("ftps.pem")).unwrap()).unwrap();
    let mut document = certificates(place);
    let ways = [("there", &one, &other), ("back", &other, &one), ("within", &one, &one)];
    for (name, from, to) in ways {
        from.directory(&format!("{name}-from"));
        to.directory(&format!("{name}-to"));
        let (source, destination) = (format!("{name}-from"), format!("{name}-to"));
        document += &flow(name, (from, &source), (to, &destination), "\"delete\"", "connections = 1");
    }
    let mut gateway = GatewayBuilder::new(place, "node").build();
    gateway.define("flows.toml", &document);
    let sent: BTreeMap<String, Vec<u8>> =
        (0..12).map(|n| (format!("{n:02}.bin"), random(200_000 + n))).collect();
    for (name, from, _) in ways {
        for (file, bytes) in &sent {
            fs::write(from.files.join(format!("{name}-from")).join(file), bytes).unwrap();
        }
    }
    gateway.start();
    for (name, _, to) in ways {
        expect_files(&gateway, &to.files.join(format!("{name}-to")), &sent);
    }
    gateway.wait_for("completed", ways.len() * sent.len(), PATIENCE);
    gateway.stop();
}

#[test]
fn a_large_file_is_streamed_in_bounded_memory() {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    let (from, to) = (Site::start("sftp", place), Site::start("file", place));
    let (source, arrived) = (from.directory("large"), to.directory("arrived"));
    let mut gateway = GatewayBuilder::new(place, "node").build();
    gateway.define("flows.toml", &flow("large", (&from, "large"), (&to, "arrived"), "\"delete\"", ""));
    let file = fs::File::create(source.join("large.bin")).unwrap();
    file.set_len(LARGE).unwrap();
    gateway.start();
    gateway.wait_for("completed", 1, PATIENCE * 3);
    assert_eq!(fs::metadata(arrived.join("large.bin")).unwrap().len(), LARGE);
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    let peak: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(peak / 1024 < MOST_MEMORY, "{} MiB", peak / 1024);
    assert_eq!(staged(&gateway), 0);
    gateway.stop();
}
