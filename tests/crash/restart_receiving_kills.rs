//! A gateway that receives large messages by AS2 restart is killed in the middle of them, again and again, while the line to it is
//! cut as well. Each message is taken once and whole, and what was told to be held was held.

use crate::Database;
use crate::as2_kills::builder;
use crate::books::Books;
use crate::victim::{Death, plan, start_and_die, tail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use suites::pair::parties;
use suites::{Gateway, KeyPair, eventually, repository};

const POINTS: [&str; 8] = [
    "kept.begun",
    "kept.synced",
    "kept.recorded",
    "kept.taken",
    "kept.continued",
    "intake.begun",
    "intake.before_commit",
    "intake.committed",
];

/// Bytes of each file, and how many of its message go over one connection.
const LENGTH: usize = 4 << 20;
const BETWEEN_CUTS: usize = 600_000;

#[test]
fn restart_receiving_kills_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn restart_receiving_kills_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    let (acme, globex) = (KeyPair::make(&keys, "acme"), KeyPair::make(&keys, "globex"));
    let folder = root.path().join("orders-out");
    fs::create_dir(&folder).unwrap();
    let url = database.url("globex");
    let mut gateway = builder(root.path(), "globex", url.as_deref()).build();
    define(&gateway, &keys, &folder);

    let begun = Instant::now();
    let (mut given, mut senders, mut deaths) = (BTreeMap::new(), Vec::new(), Vec::new());
    for (number, death) in plan(&POINTS, crate::kills(10)).into_iter().enumerate() {
        let name = format!("order-{number}.bin");
        let mut bytes = vec![0; LENGTH];
        openssl::rand::rand_bytes(&mut bytes).unwrap();
        let file = root.path().join(&name);
        fs::write(&file, &bytes).unwrap();
        given.insert(name, bytes);
        senders.push(send(&file, &acme, &globex, gateway.http));
        deaths.push((death, start_and_die(&mut gateway, death)));
    }
    let killing = begun.elapsed();
    gateway.start();
    let account = |gateway: &Gateway| format!("{deaths:?}\n{}", tail(gateway));
    let mut went_on = 0;
    for sender in senders {
        let output = sender.join().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
        let context = || format!("{said}\n{}", account(&gateway));
        assert_eq!(said["error"], Value::Null, "{}", context());
        assert_eq!(said["http_status"], 200, "{}", context());
        assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{}", context());
        assert_eq!(said["mic_matched"], true, "{}", context());
        let starts = said["posts"].as_array().unwrap().iter().map(|post| post["start"].as_u64().unwrap());
        went_on += starts.filter(|start| *start > 0).count();
    }
    eventually("all files are delivered", Duration::from_secs(120), || {
        given.keys().all(|name| folder.join(name).is_file()).then_some(())
    });
    assert_eq!(fs::read_dir(&folder).unwrap().count(), given.len(), "{}", account(&gateway));
    for (name, bytes) in &given {
        assert!(
            fs::read(folder.join(name)).unwrap() == *bytes,
            "{name} has other bytes\n{}",
            account(&gateway)
        );
    }
    let books = Books { gateway: &gateway, url: url.as_deref() };
    books.wait_until_settled();
    assert!(gateway.stop().success(), "{}", account(&gateway));
    let books = Books { gateway: &gateway, url: url.as_deref() };
    books.assert_complete(given.len(), &format!("{deaths:?}"));
    books.assert_connections_closed();
    books.assert_audit();
    // What is left of a message that was answered is a row without bytes.
    assert_eq!(books.count("select count(*) from partial_messages where not answered"), 0);
    assert!(went_on >= given.len(), "only {went_on} went on\n{}", account(&gateway));
    let as_asked = deaths.iter().filter(|(death, as_asked)| *as_asked && *death != Death::Random).count();
    println!(
        "{database:?}: {} kills in {killing:?}, {as_asked} of them at their points, {} messages once and whole, {went_on} went on",
        deaths.len(),
        given.len(),
    );
}

fn define(gateway: &Gateway, keys: &Path, folder: &Path) {
    let sides = parties(keys, ("globex", "globex"), ("acme", "acme"));
    let certificates = "certificates = [\"acme\"]\n";
    assert!(sides.contains(certificates));
    let agreed = format!("{certificates}receive.restart.smallest = \"64KiB\"\n");
    gateway.define("partners.toml", &sides.replace(certificates, &agreed));
    gateway.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.folder]
transport = "file"
url = "file://{folder}"
[listener.as2]
transport = "as2"
server = "partners"
[flow.orders]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.orders.destination]]
endpoint = "folder"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            folder = folder.display(),
        ),
    );
}

/// Sends a file by the peer, whose line is cut again and again, until it has its receipt.
fn send(file: &Path, own: &KeyPair, partner: &KeyPair, port: u16) -> JoinHandle<Output> {
    let cuts: Vec<String> = (1..=LENGTH / BETWEEN_CUTS).map(|n| (n * BETWEEN_CUTS).to_string()).collect();
    let mut command = Command::new(repository().join("tests/servers/restart_peer.sh"));
    command.args(["send", "--to-url", &format!("http://127.0.0.1:{port}/as2")]);
    command.args(["--from", "acme", "--to", "globex", "--patience", "3600", "--cuts", &cuts.join(",")]);
    for (name, path) in [
        ("--file", file),
        ("--key", &own.key),
        ("--cert", &own.certificate),
        ("--partner-cert", &partner.certificate),
    ] {
        command.arg(name).arg(path);
    }
    std::thread::spawn(move || command.output().unwrap())
}
