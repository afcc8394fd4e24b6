//! Files of a server that tells other things of them than they are, through the whole gateway: what arrives, what
//! becomes of the file at its source, and what the trail tells.

use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use suites::pair::{PATIENCE, events, files_in, random};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database};
use tempfile::TempDir;
use testkit::sftp::{Op, PASSWORD, ReportedIn, SftpServer, Switch, USER};

/// A gateway between the server's directory `in` and a directory of this machine.
struct Ground {
    gateway: Gateway,
    server: SftpServer,
    root: TempDir,
}

impl Ground {
    fn new(database: Option<&str>, after: &str) -> Self {
        let server = SftpServer::start().unwrap();
        let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
        let place = root.path();
        fs::write(place.join("password"), PASSWORD).unwrap();
        fs::create_dir(place.join("out")).unwrap();
        let gateway = GatewayBuilder::new(place, "node").database(database).build();
        let document = format!(
            r#"[endpoint.mailbox]
transport = "sftp"
url = "{url}"
username = "{USER}"
password = "${{file:{place}/password}}"
host_key = "{key}"

[endpoint.out]
transport = "file"
url = "file://{place}/out"

[flow.orders]
source = {{ endpoint = "mailbox", mask = "*", every = "1s", stable_for = "0s", after = {after}, error_directory = "bad", retry = {{ attempts = 3, first = "1s", longest = "1s" }} }}
[[flow.orders.destination]]
endpoint = "out"
"#,
            url = server.url("in"),
            key = server.fingerprint(),
            place = place.display(),
        );
        gateway.define("orders.toml", &document);
        Self { gateway, server, root }
    }

    fn out(&self) -> PathBuf {
        self.root.path().join("out")
    }

    /// Waits until all of these files are there, each of them whole, and nothing else.
    fn arrives(&self, expected: &[(String, Vec<u8>)]) {
        let names =
            |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let arrived = eventually(&format!("files\n{}", self.gateway.log()), PATIENCE, || {
            let found = files_in(&self.out());
            (found.len() >= expected.len()).then_some(found)
        });
        assert_eq!(names(&arrived), names(expected));
        for ((name, came), (_, sent)) in arrived.iter().zip(expected) {
            assert!(came == sent, "{name}: {} of {} bytes", came.len(), sent.len());
        }
    }

    /// Waits until the source of each of so many files is settled.
    fn settled(&self, count: usize) {
        eventually(&format!("{count} settled sources\n{}", self.gateway.log()), PATIENCE, || {
            (events(&self.gateway, "offer.settled").len() >= count).then_some(())
        });
        assert_eq!(events(&self.gateway, "offer.settled").len(), count);
    }

    /// The events of a kind about a file.
    fn about(&self, kind: &str, name: &str) -> Vec<Value> {
        let path = format!("in/{name}");
        events(&self.gateway, kind)
            .into_iter()
            .filter(|event| event["detail"]["path"] == path.as_str())
            .collect()
    }
}

fn on_both(test: impl Fn(Option<&str>)) {
    test(None);
    test(Some(&fresh_database("habits")));
}

#[test]
fn a_mailbox_that_gives_each_file_once_loses_none() {
    on_both(|database| {
        let mut ground = Ground::new(database, "\"delete\"");
        let mut sent = Vec::new();
        for (number, switch) in
            [Switch::GoneWhenOpened, Switch::GoneWhenRead, Switch::GoneAfterReading].into_iter().enumerate()
        {
            for length in [1, 65_536, 300_001] {
                let name = format!("{number}-{length}");
                ground.server.switch(&format!("in/{name}"), switch.clone());
                // Some say 'failure' of what is not there.
                if length == 1 {
                    ground.server.switch(&format!("in/{name}"), Switch::MissingIs(4, "Failure"));
                }
                sent.push((name, random(length)));
            }
        }
        // Not a byte more than was stated: it may be all that is left.
        ground.server.switch("in/9-short", Switch::GoneWhenOpened);
        ground.server.switch("in/9-short", Switch::SizeIs(ReportedIn::EVERYWHERE, 5_000));
        sent.sort();
        for (name, bytes) in &sent {
            ground.server.put(&format!("in/{name}"), bytes);
        }
        ground.server.put("in/9-short", &random(4_000));
        ground.gateway.start();
        ground.arrives(&sent);
        ground.settled(10);
        assert!(ground.server.names("in").is_empty());
        assert!(events(&ground.gateway, "offer.changed").is_empty());
        let held = ground.gateway.wait_for("held", 1, PATIENCE);
        assert_eq!((held.len(), held[0]["file_name"].as_str()), (1, Some("9-short")));
    });
}

#[test]
fn a_wrong_size_neither_cuts_a_file_nor_keeps_it() {
    on_both(|database| {
        let mut ground = Ground::new(database, "{ archive = \"done\", timestamp = false }");
        let mut sent = Vec::new();
        for (name, switch, length) in [
            ("a-too-small", Switch::SizeIs(ReportedIn::EVERYWHERE, 60_000), 300_001),
            ("b-too-large", Switch::SizeOff(ReportedIn::EVERYWHERE, 16), 70_000),
            ("c-zero", Switch::SizeIs(ReportedIn::EVERYWHERE, 0), 5_000),
            ("d-not-told", Switch::NoSize(ReportedIn::EVERYWHERE), 200_000),
            ("e-listed-larger", Switch::SizeOff(ReportedIn::LISTING, 16), 9_000),
            ("f-looked-zero", Switch::SizeIs(ReportedIn::STAT | ReportedIn::FSTAT, 0), 9_000),
        ] {
            ground.server.switch(&format!("in/{name}"), switch);
            sent.push((name.to_owned(), random(length)));
            ground.server.put(&format!("in/{name}"), &sent[sent.len() - 1].1);
        }
        ground.gateway.start();
        ground.arrives(&sent);
        ground.settled(6);
        // In the archive each is told as it is, and known again all the same.
        assert!(ground.server.names("in").is_empty());
        assert_eq!(
            ground.server.names("done"),
            sent.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        );
        for (name, stated, read) in
            [("a-too-small", 60_000, 300_001), ("b-too-large", 70_016, 70_000), ("c-zero", 0, 5_000)]
        {
            for kind in ["offer.backed_off", "offer.mismatch"] {
                let events = ground.about(kind, name);
                assert_eq!(events.len(), 1, "{kind} of {name}");
                let detail = &events[0]["detail"];
                assert_eq!(
                    (&detail["stated_bytes"], &detail["read_bytes"]),
                    (&stated.into(), &read.into()),
                    "{kind} {name}"
                );
            }
        }
        for (name, _) in &sent[3..] {
            assert!(ground.about("offer.backed_off", name).is_empty(), "{name} was in doubt");
        }
    });
}

#[test]
fn a_file_that_reads_otherwise_each_time_ends_in_the_error_directory() {
    let mut ground = Ground::new(None, "\"delete\"");
    ground.server.put("in/a", &random(10_000));
    ground.server.switch("in/a", Switch::SizeIs(ReportedIn::EVERYWHERE, 20_000));
    let modified = fs::metadata(ground.server.at("in/a")).unwrap().modified().unwrap();
    ground.gateway.start();
    let path = ground.server.at("in/a");
    eventually(&format!("it is set aside\n{}", ground.gateway.log()), PATIENCE, || {
        // Other content all the time, and nothing told of it.
        if let Ok(file) = fs::File::options().write(true).open(&path) {
            std::os::unix::fs::FileExt::write_all_at(&file, &random(16), 0).unwrap();
            file.set_modified(modified).unwrap();
        }
        ground.server.get("bad/a.error.json")
    });
    let cause = String::from_utf8(ground.server.get("bad/a.error.json").unwrap()).unwrap();
    assert!(cause.contains("reported bytes 20000, read bytes 10000"), "{cause}");
    assert_eq!(ground.server.names("bad"), ["a", "a.error.json"]);
    assert_eq!(ground.about("offer.backed_off", "a").len(), 2);
    assert_eq!(ground.about("offer.refused", "a").len(), 1);
    assert!(files_in(&ground.out()).is_empty());
}

#[test]
fn files_of_no_told_kind_and_other_times_are_taken_and_archived() {
    let mut ground = Ground::new(None, "{ archive = \"done\", timestamp = false }");
    let plays: [(&str, &[Switch]); 6] = [
        ("a-no-type", &[Switch::NoType(ReportedIn::STAT | ReportedIn::FSTAT)]),
        ("b-no-mode", &[Switch::NoMode(ReportedIn::EVERYWHERE)]),
        ("c-nothing", &[Switch::NoMode(ReportedIn::EVERYWHERE), Switch::LineIs("")]),
        ("d-an-hour", &[Switch::TimeOff(ReportedIn::LISTING, 3600)]),
        ("e-no-time", &[Switch::NoTime(ReportedIn::STAT)]),
        ("f-no-size", &[Switch::NoSize(ReportedIn::LISTING), Switch::NoType(ReportedIn::EVERYWHERE)]),
    ];
    let mut sent = Vec::new();
    for (name, switches) in plays {
        for (directory, switch) in switches.iter().flat_map(|switch| [("in", switch), ("done", switch)]) {
            ground.server.switch(&format!("{directory}/*{name}*"), switch.clone());
        }
        sent.push((name.to_owned(), random(1_000)));
        ground.server.put(&format!("in/{name}"), &sent[sent.len() - 1].1);
    }
    fs::create_dir(ground.server.at("in/directory")).unwrap();
    std::os::unix::fs::symlink("a-no-type", ground.server.at("in/link")).unwrap();
    fs::write(ground.server.at("in/half_tmp"), "half").unwrap();
    // The test of the endpoint says what a poll will do.
    let said = endpoint_test(&ground.gateway);
    assert_eq!(said["passed"], true, "{said:#}");
    let text = said.to_string();
    for words in ["6 files for this flow", "directory", "symbolic links: link", "opened, not read"] {
        assert!(text.contains(words), "{words} in {said:#}");
    }
    assert_eq!(ground.server.count(Op::Read, "*"), 0, "nothing is read by a test");
    ground.gateway.start();
    ground.arrives(&sent);
    ground.settled(6);
    assert_eq!(ground.server.names("done"), sent.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
    assert!(events(&ground.gateway, "offer.backed_off").is_empty());
}

fn endpoint_test(gateway: &Gateway) -> Value {
    let definitions: &Path = &gateway.directory().join("definitions");
    gateway.json(&["endpoint", "test", "mailbox", "--definitions", definitions.to_str().unwrap()])
}
