//! Two gateways: Acme's folder → AS2 → Globex's folder, either side killed while files are under way.
//!
//! AS2 promises exactly once in effect: the same Message-ID again gets the stored reply. The receipts come in the answers, or
//! later, over connections of Globex's to Acme: then either side is also killed around a receipt.

use crate::Database;
use crate::books::Books;
use crate::traffic::{Route, Traffic};
use crate::victim::{Death, plan, start_and_die, start_and_die_while, tail};
use std::collections::BTreeSet;
use std::fs::Permissions;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::pair::parties;
use suites::{Gateway, GatewayBuilder, KeyPair, eventually};

const SENDER: [&str; 9] = [
    "deliver.claimed",
    "deliver.noting",
    "deliver.noted",
    "deliver.keeping",
    "deliver.kept",
    "deliver.before_act",
    "deliver.sent",
    "finish.before",
    "finish.after",
];
// Not where a message is refused: Globex takes all that Acme sends.
const RECEIVER: [&str; 3] = ["intake.begun", "intake.before_commit", "intake.committed"];

/// Where Acme takes a receipt that comes later.
const TAKES: [&str; 2] = ["receipt.before_resolve", "receipt.resolved"];
/// Where Globex sends it.
const GIVES: [&str; 2] = ["receipt.before_send", "receipt.sent"];

/// Signatures that differ each time, in messages that cannot be made again exactly.
const AGREED: &str = "send.rsa_signature = \"pss\"\nsend.compress = \"after_signing\"\n";

/// When the receipts come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receipts {
    InAnswers,
    Later,
}

#[test]
fn as2_kills_on_sqlite() {
    run(Database::Sqlite, Receipts::InAnswers);
}

#[test]
fn as2_kills_on_postgres() {
    run(Database::Postgres, Receipts::InAnswers);
}

#[test]
fn as2_kills_around_later_receipts_on_sqlite() {
    run(Database::Sqlite, Receipts::Later);
}

#[test]
fn as2_kills_around_later_receipts_on_postgres() {
    run(Database::Postgres, Receipts::Later);
}

fn run(database: Database, receipts: Receipts) {
    let root = tempfile::tempdir().unwrap();
    let (acme_url, globex_url) = (database.url("acme"), database.url("globex"));
    let route = Route::make(root.path(), "orders", 256 << 10, 20);
    let (mut acme, mut globex) = partners(root.path(), acme_url.as_deref(), globex_url.as_deref(), &route);
    let (mut sender, mut receiver) = (SENDER.to_vec(), RECEIVER.to_vec());
    if receipts == Receipts::Later {
        receive_receipts_later(root.path(), &acme, &globex);
        sender.extend(TAKES);
        receiver.extend(GIVES);
    }
    let traffic = Traffic::begin(root.path(), vec![route]);

    let begun = Instant::now();
    let mut deaths = Vec::new();
    let mut missed: BTreeSet<&str> = sender.iter().chain(&receiver).copied().collect();
    let sides = crate::kills(10).div_ceil(2);
    let plans = plan(&sender, sides).into_iter().map(Some).zip(plan(&receiver, sides).into_iter().map(Some));
    for (at_acme, at_globex) in plans.chain(std::iter::repeat_n((None, None), 10)) {
        // After the plan: the points that were not reached with their count.
        let again = |points: &[&'static str], missed: &BTreeSet<&str>| {
            points.iter().find(|point| missed.contains(*point)).map(|point| Death::At(point, 1))
        };
        if let Some(death) = at_acme.or_else(|| again(&sender, &missed)) {
            globex.start();
            note(&mut deaths, &mut missed, death, start_and_die(&mut acme, death));
            globex.kill();
        }
        if let Some(death) = at_globex.or_else(|| again(&receiver, &missed)) {
            let port = globex.http;
            let died = start_and_die_while(&mut globex, death, |globex| {
                // An endpoint that was found closed several times is rested for a while. A receipt may be the first that
                // Globex sends, before it listens.
                let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok() || !globex.is_running();
                let listens = || listens().then_some(());
                eventually("Globex listens", Duration::from_secs(20), listens);
                acme.spawn();
            });
            note(&mut deaths, &mut missed, death, died);
            acme.kill();
        }
    }
    let log = |acme: &Gateway, globex: &Gateway| format!("{deaths:?}\n{}\n{}", tail(acme), tail(globex));
    assert!(missed.is_empty(), "never reached: {missed:?}\n{}\n{}", traffic.account(), log(&acme, &globex));
    let killing = begun.elapsed();

    globex.start();
    acme.start();
    traffic.settle(Duration::from_secs(90), &|| log(&acme, &globex));
    let later = match receipts {
        Receipts::InAnswers => 0,
        Receipts::Later => {
            let [sent, given] = [(&acme, &acme_url), (&globex, &globex_url)]
                .map(|(gateway, url)| Books { gateway, url: url.as_deref() });
            receipts_arrived(&sent, &given, &log(&acme, &globex))
        }
    };
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        Books { gateway, url: url.as_deref() }.wait_until_settled();
    }
    assert!(acme.stop().success() && globex.stop().success(), "{}", log(&acme, &globex));
    let (files, _) = traffic.counts();
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        let books = Books { gateway, url: url.as_deref() };
        books.assert_complete(files, &traffic.account());
        books.assert_connections_closed();
        books.assert_audit();
    }
    let sent = Books { gateway: &acme, url: acme_url.as_deref() };
    let proofs = sent.ask("select receipt from deliveries");
    let mdns = proofs.iter().filter(|receipt| receipt.contains("mdn")).count();
    assert_eq!(mdns, files, "deliveries without an MDN: {:?}", proofs.iter().find(|r| !r.contains("mdn")));
    assert_eq!(sent.count("select count(*) from audit_events where kind = 'receipt.unmatched'"), 0);
    assert!(receipts == Receipts::InAnswers || later >= files, "{later} receipts for {files} files");
    // What proves each message is there once, on both sides, whatever was cut off and whenever its receipt came.
    for (gateway, url) in [(&acme, &acme_url), (&globex, &globex_url)] {
        let books = Books { gateway, url: url.as_deref() };
        assert_eq!(books.count("select count(*) from evidence"), files);
    }
    println!(
        "{database:?}, receipts {receipts:?}: {} kills in {killing:?}, and as many of the other side, {files} files once and \
         whole, {} attempts, {later} receipts sent later, first receipt {}",
        deaths.len(),
        sent.count("select count(*) from attempts"),
        proofs[0],
    );
}

/// Has Acme ask for receipts at a listener of its own, and Globex send them there.
fn receive_receipts_later(root: &Path, acme: &Gateway, globex: &Gateway) {
    let keys = root.join("keys");
    let sides = parties(&keys, ("acme", "acme"), ("globex", "globex"));
    let certificates = "certificates = [\"globex\"]\n";
    assert!(sides.contains(certificates));
    // A receipt that is not there soon is asked for again with the same message.
    let asks = format!(
        "{certificates}{AGREED}mdn.reply_to = \"listener:receipts\"\nmdn.url = \"http://127.0.0.1:{}/as2\"\nmdn.deadline = \"5s\"\n",
        acme.http
    );
    acme.define("partners.toml", &sides.replace(certificates, &asks));
    acme.define("receipts.toml", "[listener.receipts]\ntransport = \"as2\"\nserver = \"partners\"\n");
    globex.define(
        "receipts.toml",
        &format!(
            "[endpoint.acme-as2]\ntransport = \"as2\"\npartner = \"acme\"\nidentity = \"globex\"\n\
             url = \"http://127.0.0.1:{}/as2\"\noffline = false\n",
            acme.http
        ),
    );
}

/// Waits until every message of Acme's has its receipt and every receipt of Globex's was taken, and gives their number.
/// Those that wait long for their next attempt are sent at once; what is stuck in another way is not helped.
pub fn receipts_arrived(acme: &Books<'_>, globex: &Books<'_>, log: &str) -> usize {
    let begun = Instant::now();
    loop {
        let (sent, given) = (
            acme.ask("select id, state from transfers where state <> 'completed'"),
            // One may use up its attempts while the other side is killed: the message comes again then, and another is made.
            globex.ask(
                "select id, state from transfers t where state <> 'completed' and kind = 'receipt' and not (state = 'failed' \
                 and exists (select 1 from transfers o where o.offer_id = t.offer_id and o.kind = 'receipt' and o.state = 'completed'))",
            ),
        );
        if sent.is_empty() && given.is_empty() {
            return globex.count("select count(*) from transfers where kind = 'receipt'");
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "receipts are missing: {sent:?} {given:?}\n{log}");
        let waiting = globex.gateway.json(&["transfer", "list", "--state", "delivering", "--limit", "1000"]);
        for receipt in waiting.as_array().unwrap().iter().filter(|transfer| transfer["kind"] == "receipt") {
            let config = globex.gateway.config();
            let id = receipt["id"].as_str().unwrap();
            let shown = globex.gateway.json(&["transfer", "show", id]);
            let waits = |delivery: &serde_json::Value| {
                let due = delivery["due"]
                    .as_str()
                    .and_then(|due| due.parse::<chrono::DateTime<chrono::Utc>>().ok());
                delivery["state"] == "retrying" && due.is_some_and(|due| due > chrono::Utc::now())
            };
            if !shown["deliveries"].as_array().unwrap().iter().any(waits) {
                continue;
            }
            // It may have gone by itself meanwhile: then there is nothing to retry.
            drop(suites::run(&["--config", config.to_str().unwrap(), "transfer", "retry", id]));
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}

fn note(deaths: &mut Vec<(Death, bool)>, missed: &mut BTreeSet<&str>, death: Death, as_asked: bool) {
    if let (Death::At(point, _), true) = (death, as_asked) {
        missed.remove(point);
    }
    deaths.push((death, as_asked));
}

/// Acme, who sends, and Globex, who receives.
pub fn partners(
    root: &Path,
    acme_url: Option<&str>,
    globex_url: Option<&str>,
    route: &Route,
) -> (Gateway, Gateway) {
    let globex = receiver(root, globex_url, &route.out);
    let acme = builder(root, "acme", acme_url).build();
    let parties = parties(&root.join("keys"), ("acme", "acme"), ("globex", "globex"));
    let certificates = "certificates = [\"globex\"]\n";
    let agreed = format!("{certificates}{AGREED}");
    assert!(parties.contains(certificates));
    acme.define("partners.toml", &parties.replace(certificates, &agreed));
    acme.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.folder]
transport = "file"
url = "file://{into}"
[endpoint.partner]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{port}/as2"
[flow.orders]
source = {{ endpoint = "folder", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{into}-bad" }}
[[flow.orders.destination]]
endpoint = "partner"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            into = route.into.display(),
            port = globex.http,
        ),
    );
    (acme, globex)
}

/// Globex alone, who receives by AS2 from Acme and writes into a folder; keys of both in `root/keys`.
pub fn receiver(root: &Path, url: Option<&str>, out: &Path) -> Gateway {
    let keys = root.join("keys");
    for name in ["acme", "globex"] {
        let pair = KeyPair::make(&keys, name);
        std::fs::set_permissions(&pair.key, Permissions::from_mode(0o600)).unwrap();
    }
    let globex = builder(root, "globex", url).build();
    define_receiver(&globex, &keys, out);
    globex
}

/// Gives a gateway Globex's definitions.
pub fn define_receiver(globex: &Gateway, keys: &Path, out: &Path) {
    globex.define("partners.toml", &parties(keys, ("globex", "globex"), ("acme", "acme")));
    globex.define(
        "flows.toml",
        &format!(
            r#"
[endpoint.warehouse]
transport = "file"
url = "file://{out}"
[listener.as2]
transport = "as2"
server = "partners"
[flow.inbound]
source = {{ listener = "as2", partner = "acme", mask = "*" }}
[[flow.inbound.destination]]
endpoint = "warehouse"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#,
            out = out.display(),
        ),
    );
}

/// What both are started with.
pub fn builder(root: &Path, name: &str, url: Option<&str>) -> GatewayBuilder {
    GatewayBuilder::new(root, name)
        .database(url)
        .variable("NO_COLOR", "1")
        .settings("[audit]\nseal_every = \"2s\"")
}
