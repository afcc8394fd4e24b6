//! A gateway that puts files into the answers to its partner's messages is killed around that: before the answer is on record,
//! and right after. Acme asks, Globex answers in the same connection where it still stands, and otherwise by a message of its
//! own.
//!
//! Every request gets its quote once and whole: what was recorded before the kill is the answer to Acme's repetition, and nothing
//! that was put into an answer is sent besides.

use crate::Database;
use crate::as2_kills::{builder, receipts_arrived};
use crate::books::Books;
use crate::traffic::names;
use crate::victim::{Death, plan, start_and_die_while, tail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use suites::pair::parties;
use suites::{Gateway, KeyPair, eventually};

const POINTS: [&str; 2] = ["answer.giving", "answer.given"];

/// Requests that are put while one gateway is to die.
const AT_ONCE: usize = 2;

#[test]
fn answer_kills_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn answer_kills_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let folders = Folders::make(root.path());
    let keys = root.path().join("keys");
    for name in ["acme", "globex"] {
        let pair = KeyPair::make(&keys, name);
        fs::set_permissions(&pair.key, Permissions::from_mode(0o600)).unwrap();
    }
    let (acme_url, globex_url) = (database.url("acme"), database.url("globex"));
    let mut acme = builder(root.path(), "acme", acme_url.as_deref()).build();
    let mut globex = builder(root.path(), "globex", globex_url.as_deref()).build();
    define_asking(&acme, &keys, &folders, globex.http);
    define_answering(&globex, &keys, &folders, acme.http);
    let business = Business::begin(folders.arrived.clone(), folders.quotes.clone());
    acme.start();

    let begun = Instant::now();
    let mut given: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut deaths: Vec<(Death, bool)> = Vec::new();
    let mut missed: BTreeSet<&'static str> = POINTS.into_iter().collect();
    let plans = plan(&POINTS, crate::kills(6)).into_iter().map(Some);
    for planned in plans.chain(std::iter::repeat_n(None, 10)) {
        // After the plan: the points that were not reached with their count.
        let again = || missed.first().copied().map(|point| Death::At(point, 1));
        let Some(death) = planned.or_else(again) else { break };
        let as_asked = start_and_die_while(&mut globex, death, |_| {
            for _ in 0..AT_ONCE {
                let name = format!("rfq-{:04}.edi", given.len());
                let mut bytes = vec![0; 64 + usize::try_from(crate::random(100_000)).unwrap()];
                openssl::rand::rand_bytes(&mut bytes).unwrap();
                put(root.path(), &folders.requests, &name, &bytes);
                given.insert(name, bytes);
            }
        });
        if let (Death::At(point, _), true) = (death, as_asked) {
            missed.remove(point);
        }
        deaths.push((death, as_asked));
    }
    let log = |acme: &Gateway, globex: &Gateway| format!("{deaths:?}\n{}\n{}", tail(acme), tail(globex));
    assert!(missed.is_empty(), "never reached: {missed:?}\n{}", log(&acme, &globex));
    let killing = begun.elapsed();

    globex.start();
    let patience = Duration::from_secs(120);
    eventually(&format!("all quotes have arrived: {deaths:?}"), patience, || {
        (visible(&folders.answers).len() >= given.len()).then_some(())
    });
    let [sent, answered] = [(&acme, &acme_url), (&globex, &globex_url)]
        .map(|(gateway, url)| Books { gateway, url: url.as_deref() });
    receipts_arrived(&answered, &sent, &log(&acme, &globex));
    receipts_arrived(&sent, &answered, &log(&acme, &globex));
    for books in [&sent, &answered] {
        books.wait_until_settled();
    }
    business.end();
    assert!(acme.stop().success() && globex.stop().success(), "{}", log(&acme, &globex));

    // Each quote is the request's own bytes, under the name of the request's transfer at Globex.
    let mut arrived: Vec<Vec<u8>> =
        visible(&folders.answers).iter().map(|name| fs::read(folders.answers.join(name)).unwrap()).collect();
    let mut expected: Vec<Vec<u8>> = given.into_values().collect();
    arrived.sort();
    expected.sort();
    assert_eq!(arrived.len(), expected.len(), "{}", log(&acme, &globex));
    assert!(arrived == expected, "other bytes\n{}", log(&acme, &globex));
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        let books = Books { gateway, url: url.as_deref() };
        // A request and a quote on either side: one that came twice would be one more.
        books.assert_complete(2 * expected.len(), &format!("{deaths:?}"));
        books.assert_connections_closed();
        books.assert_audit();
    }
    let asked = Books { gateway: &acme, url: acme_url.as_deref() };
    let in_answers = asked.count("select count(*) from transfers where kind = 'reply'");
    assert!(in_answers > 0, "no quote came in an answer\n{}", log(&acme, &globex));
    println!(
        "{database:?}: {} kills in {killing:?}, {} quotes once and whole, {in_answers} of them in answers",
        deaths.len(),
        expected.len(),
    );
}

/// The folders of both sides.
struct Folders {
    /// What Acme asks.
    requests: PathBuf,
    /// What Acme is answered.
    answers: PathBuf,
    /// What arrived at Globex.
    arrived: PathBuf,
    /// What Globex answers.
    quotes: PathBuf,
}

impl Folders {
    fn make(root: &Path) -> Self {
        let folder = |name: &str| {
            let at = root.join(name);
            fs::create_dir(&at).unwrap();
            at
        };
        Self {
            requests: folder("requests"),
            answers: folder("answers"),
            arrived: folder("arrived"),
            quotes: folder("quotes"),
        }
    }
}

/// The system behind Globex: it answers each request with the request's own bytes, whether or not the gateway runs.
struct Business {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Business {
    fn begin(arrived: PathBuf, quotes: PathBuf) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !ends.load(Ordering::SeqCst) {
                for name in visible(&arrived) {
                    let (transfer, _) = name.split_once("_rfq-").unwrap();
                    fs::rename(arrived.join(&name), quotes.join(format!("{transfer}.edi"))).unwrap();
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Self { ended, thread }
    }

    fn end(self) {
        self.ended.store(true, Ordering::SeqCst);
        self.thread.join().unwrap();
    }
}

/// The files in a folder, without those that are still being written.
fn visible(folder: &Path) -> Vec<String> {
    names(folder).into_iter().filter(|name| !name.starts_with('.')).collect()
}

/// Puts a file into the polled folder, whole.
fn put(root: &Path, folder: &Path, name: &str, bytes: &[u8]) {
    let beside = root.join("being-put");
    fs::write(&beside, bytes).unwrap();
    fs::rename(beside, folder.join(name)).unwrap();
}

/// Acme sends requests, and takes quotes in answers and in messages of their own.
fn define_asking(acme: &Gateway, keys: &Path, folders: &Folders, port: u16) {
    acme.define("partners.toml", &parties(keys, ("acme", "acme"), ("globex", "globex")));
    acme.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.folder]
transport = "file"
url = "file://{requests}"
[endpoint.answers]
transport = "file"
url = "file://{answers}"
[endpoint.partner]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{port}/as2"
offline = false
[listener.as2]
transport = "as2"
server = "partners"
[flow.requests]
source = {{ endpoint = "folder", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.requests.destination]]
endpoint = "partner"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
response = {{ flow = "answers" }}
[flow.answers]
source = {{ listener = "as2", partner = "globex", mask = "*" }}
[[flow.answers.destination]]
endpoint = "answers"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            requests = folders.requests.display(),
            answers = folders.answers.display(),
        ),
    );
}

/// Globex takes requests, keeps their connections open, and answers with the files of a folder.
fn define_answering(globex: &Gateway, keys: &Path, folders: &Folders, port: u16) {
    let certificates = "certificates = [\"acme\"]\n";
    let sides = parties(keys, ("globex", "globex"), ("acme", "acme"));
    assert!(sides.contains(certificates));
    let waits = format!("{certificates}receive.answer_within = \"60s\"\n");
    globex.define("partners.toml", &sides.replace(certificates, &waits));
    globex.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.arrived]
transport = "file"
url = "file://{arrived}"
[endpoint.quotes]
transport = "file"
url = "file://{quotes}"
[endpoint.partner]
transport = "as2"
partner = "acme"
identity = "globex"
url = "http://127.0.0.1:{port}/as2"
offline = false
[listener.as2]
transport = "as2"
server = "partners"
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "arrived"
file_name = "{{transfer}}_{{name}}"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
[flow.quotes]
source = {{ endpoint = "quotes", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.quotes.destination]]
endpoint = "partner"
answer_to = "{{stem}}"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            arrived = folders.arrived.display(),
            quotes = folders.quotes.display(),
        ),
    );
}
