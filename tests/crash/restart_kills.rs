//! A gateway that sends large messages by AS2 restart is killed in the middle of them, again and again, while the line to the
//! partner is cut as well. Each message arrives once and whole, under one transfer id, and goes on where it broke off. The
//! partner is one that was written from the draft alone, or another gateway, which is killed too.

use crate::Database;
use crate::as2_kills::{builder, receiver};
use crate::books::Books;
use crate::victim::{Death, plan, start_and_die, start_and_die_while, tail};
use openssl::sha::sha256;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};
use suites::pair::parties;
use suites::{Gateway, KeyPair, Server, eventually};
use testkit::proxy::{Behaviour, Direction, Ending, FaultProxy};

const POINTS: [&str; 7] = [
    "deliver.claimed",
    "deliver.noting",
    "deliver.noted",
    "deliver.before_act",
    "deliver.sent",
    "finish.before",
    "finish.after",
];

/// Bytes of each file, and how many of its message go over one connection.
const LENGTH: usize = 4 << 20;
const BETWEEN_CUTS: u64 = 600_000;

#[test]
fn restart_kills_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn restart_kills_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let keys = root.path().join("keys");
    let (acme, globex) = (KeyPair::make(&keys, "acme"), KeyPair::make(&keys, "globex"));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let peer = Server::start(
        "restart_peer",
        &[
            "--name",
            "globex",
            "--partner",
            "acme",
            "--partner-cert",
            &text(&acme.certificate),
            "--key",
            &text(&globex.key),
            "--cert",
            &text(&globex.certificate),
        ],
    );
    let folder = root.path().join("orders-in");
    fs::create_dir(&folder).unwrap();
    let url = database.url("acme");
    let mut acme = builder(root.path(), "acme", url.as_deref()).build();
    define(&acme, &keys, &folder, peer.text("url"));

    let begun = Instant::now();
    let mut given = BTreeMap::new();
    let mut deaths = Vec::new();
    for (number, death) in plan(&POINTS, crate::kills(8)).into_iter().enumerate() {
        // Half of the files come while another one is still on its way.
        let name = format!("order-{number}.bin");
        let mut bytes = vec![0; LENGTH];
        openssl::rand::rand_bytes(&mut bytes).unwrap();
        cut(&peer);
        put(root.path(), &folder, &name, &bytes);
        given.insert(name, hexadecimal(&sha256(&bytes)));
        deaths.push((death, start_and_die(&mut acme, death)));
    }
    let killing = begun.elapsed();
    acme.start();
    let account = |acme: &Gateway| format!("{deaths:?}\n{:?}\n{}", received(&peer), tail(acme));
    let patience = Duration::from_secs(120);
    eventually(&format!("all messages have arrived: {deaths:?}"), patience, || {
        let open = acme.json(&["transfer", "list", "--state", "completed", "--limit", "1000"]);
        (open.as_array().unwrap().len() == given.len()).then_some(())
    });
    let books = Books { gateway: &acme, url: url.as_deref() };
    books.wait_until_settled();
    let went_on = books.count("select count(*) from audit_events where kind = 'message.restarted'");
    assert!(acme.stop().success(), "{}", account(&acme));

    // Each message once, and whole.
    let lines = received(&peer);
    let messages: Vec<_> = lines.iter().filter(|line| line["kind"] == "message").collect();
    let arrived: Vec<_> = messages.iter().map(|line| line["sha256"].as_str().unwrap()).collect();
    let expected: BTreeSet<_> = given.values().map(String::as_str).collect();
    assert_eq!(arrived.iter().copied().collect::<BTreeSet<_>>(), expected, "{}", account(&acme));
    assert_eq!(arrived.len(), expected.len(), "twice: {}", account(&acme));
    // Each under one transfer id, and no byte sent twice that the partner had.
    for message in messages {
        let posts: Vec<_> = lines
            .iter()
            .filter(|line| line["kind"] == "post" && line["message_id"] == message["message_id"])
            .collect();
        let etags: BTreeSet<_> = posts.iter().map(|post| post["etag"].to_string()).collect();
        assert_eq!(etags.len(), 1, "{}", account(&acme));
        let overwritten = posts.iter().filter(|post| {
            let start = post["start"].as_u64();
            start.is_some_and(|start| start + 1 < post["held"].as_u64().unwrap_or_default())
        });
        assert_eq!(overwritten.count(), 0, "{}", account(&acme));
    }
    assert!(went_on >= given.len(), "only {went_on} restarts\n{}", account(&acme));
    let books = Books { gateway: &acme, url: url.as_deref() };
    books.assert_complete(given.len(), &format!("{deaths:?}"));
    books.assert_connections_closed();
    books.assert_audit();
    let as_asked = deaths.iter().filter(|(death, as_asked)| *as_asked && *death != Death::Random).count();
    println!(
        "{database:?}: {} kills in {killing:?}, {as_asked} of them at their points, {} messages once and whole, {went_on} restarts",
        deaths.len(),
        given.len(),
    );
}

#[test]
fn restart_kills_of_both_sides_on_sqlite() {
    both(Database::Sqlite);
}

#[test]
fn restart_kills_of_both_sides_on_postgres() {
    both(Database::Postgres);
}

/// Acme → a line that is cut → Globex.
fn both(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let (keys, out) = (root.path().join("keys"), root.path().join("orders-out"));
    let folder = root.path().join("orders-in");
    fs::create_dir(&folder).unwrap();
    fs::create_dir(&out).unwrap();
    let (acme_url, globex_url) = (database.url("acme"), database.url("globex"));
    let mut globex = receiver(root.path(), globex_url.as_deref(), &out);
    let certificates = "certificates = [\"acme\"]\n";
    let sides = parties(&keys, ("globex", "globex"), ("acme", "acme"));
    assert!(sides.contains(certificates));
    let kept = format!("{certificates}receive.restart.smallest = \"64KiB\"\n");
    globex.define("partners.toml", &sides.replace(certificates, &kept));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultProxy::before((Ipv4Addr::LOCALHOST, globex.http).into())).unwrap();
    let cutting = Behaviour::Cut { direction: Direction::Up, after: BETWEEN_CUTS, how: Ending::Reset };
    runtime.block_on(proxy.set(cutting)).unwrap();
    let mut acme = builder(root.path(), "acme", acme_url.as_deref()).build();
    define(&acme, &keys, &folder, &format!("http://127.0.0.1:{}/as2", proxy.address().port()));

    let mut given = BTreeMap::new();
    let mut deaths = Vec::new();
    for (number, death) in plan(&POINTS, crate::kills(8)).into_iter().enumerate() {
        let name = format!("order-{number}.bin");
        let mut bytes = vec![0; LENGTH];
        openssl::rand::rand_bytes(&mut bytes).unwrap();
        put(root.path(), &folder, &name, &bytes);
        given.insert(name, bytes);
        if number % 2 == 0 {
            globex.start();
            deaths.push((death, start_and_die(&mut acme, death)));
            globex.kill();
        } else {
            let died = start_and_die_while(&mut globex, Death::Random, |_| acme.spawn());
            deaths.push((Death::Random, died));
            acme.kill();
        }
    }
    globex.start();
    acme.start();
    let account = |acme: &Gateway, globex: &Gateway| format!("{deaths:?}\n{}\n{}", tail(acme), tail(globex));
    // Each file that is left takes some seconds over such a line.
    let patience = Duration::from_secs(180 + 4 * deaths.len() as u64);
    for gateway in [&acme, &globex] {
        eventually(&format!("all messages have arrived: {deaths:?}"), patience, || {
            let done = gateway.json(&["transfer", "list", "--state", "completed", "--limit", "1000"]);
            (done.as_array().unwrap().len() == given.len()).then_some(())
        });
    }
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        Books { gateway, url: url.as_deref() }.wait_until_settled();
    }
    let went_on = Books { gateway: &acme, url: acme_url.as_deref() }
        .count("select count(*) from audit_events where kind = 'message.restarted'");
    assert!(acme.stop().success() && globex.stop().success(), "{}", account(&acme, &globex));
    let arrived: BTreeMap<String, Vec<u8>> = fs::read_dir(&out)
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert_eq!(arrived.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>());
    assert!(arrived == given, "other bytes\n{}", account(&acme, &globex));
    assert!(went_on >= given.len(), "only {went_on} restarts\n{}", account(&acme, &globex));
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        let books = Books { gateway, url: url.as_deref() };
        books.assert_complete(given.len(), &format!("{deaths:?}"));
        books.assert_connections_closed();
        books.assert_audit();
    }
    println!("{database:?}: {deaths:?}, {} files once and whole, {went_on} restarts", given.len());
}

fn define(acme: &Gateway, keys: &Path, folder: &Path, url: &str) {
    let sides = parties(keys, ("acme", "acme"), ("globex", "globex"));
    let certificates = "certificates = [\"globex\"]\n";
    assert!(sides.contains(certificates));
    // A signature that differs each time must be the noted one.
    let agreed = format!(
        "{certificates}send.restart.offer = true\nsend.restart.smallest = \"64KiB\"\nsend.rsa_signature = \"pss\"\n"
    );
    acme.define("partners.toml", &sides.replace(certificates, &agreed));
    acme.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.folder]
transport = "file"
url = "file://{folder}"
[endpoint.partner]
transport = "as2"
partner = "globex"
identity = "acme"
url = "{url}"
offline = false
[flow.orders]
source = {{ endpoint = "folder", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.orders.destination]]
endpoint = "partner"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            folder = folder.display(),
        ),
    );
}

/// Puts a file into the polled folder, whole.
fn put(root: &Path, folder: &Path, name: &str, bytes: &[u8]) {
    let beside = root.join("being-put");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, folder.join(name)).unwrap();
}

/// Has the partner cut every message that comes at these places, each place once.
fn cut(peer: &Server) {
    let cuts: Vec<u64> = (1..=LENGTH as u64 / BETWEEN_CUTS).map(|number| number * BETWEEN_CUTS).collect();
    let body = json!({ "cut_at": cuts }).to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", peer.port())).unwrap();
    write!(
        stream,
        "POST /control HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// What the partner has received so far.
fn received(peer: &Server) -> Vec<Value> {
    let lines = fs::read_to_string(peer.text("received")).unwrap_or_default();
    lines.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
