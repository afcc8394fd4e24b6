//! Two gateways: Acme's folder → AS2 → Globex's folder, either side killed while files are under way.
//!
//! AS2 promises exactly once in effect: the same Message-ID again gets the stored reply.

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

const SENDER: [&str; 6] = [
    "deliver.claimed",
    "deliver.noted",
    "deliver.before_act",
    "deliver.sent",
    "finish.before",
    "finish.after",
];
const RECEIVER: [&str; 3] = ["intake.begun", "intake.before_commit", "intake.committed"];

#[test]
fn as2_kills_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn as2_kills_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let (acme_url, globex_url) = (database.url("acme"), database.url("globex"));
    let route = Route::make(root.path(), "orders", 256 << 10, 20);
    let (mut acme, mut globex) = partners(root.path(), acme_url.as_deref(), globex_url.as_deref(), &route);
    let traffic = Traffic::begin(root.path(), vec![route]);

    let begun = Instant::now();
    let mut deaths = Vec::new();
    let mut missed: BTreeSet<&str> = SENDER.into_iter().chain(RECEIVER).collect();
    let sides = crate::kills(10).div_ceil(2);
    let plans = plan(&SENDER, sides).into_iter().map(Some).zip(plan(&RECEIVER, sides).into_iter().map(Some));
    for (at_acme, at_globex) in plans.chain(std::iter::repeat_n((None, None), 6)) {
        // After the plan: the points that were not reached with their count.
        let again = |points: &[&'static str], missed: &BTreeSet<&str>| {
            points.iter().find(|point| missed.contains(*point)).map(|point| Death::At(point, 1))
        };
        if let Some(death) = at_acme.or_else(|| again(&SENDER, &missed)) {
            globex.start();
            note(&mut deaths, &mut missed, death, start_and_die(&mut acme, death));
            globex.kill();
        }
        if let Some(death) = at_globex.or_else(|| again(&RECEIVER, &missed)) {
            let port = globex.http;
            let died = start_and_die_while(&mut globex, death, || {
                // An endpoint that was found closed several times is rested for a while.
                let listens = || TcpStream::connect(("127.0.0.1", port)).is_ok().then_some(());
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
    let receipts = sent.ask("select receipt from deliveries");
    let mdns = receipts.iter().filter(|receipt| receipt.contains("mdn")).count();
    assert_eq!(mdns, files, "deliveries without an MDN: {:?}", receipts.iter().find(|r| !r.contains("mdn")));
    println!(
        "{database:?}: {} kills in {killing:?}, and as many of the other side, {files} files once and whole, {} \
         attempts, first receipt {}",
        deaths.len(),
        sent.count("select count(*) from attempts"),
        receipts[0],
    );
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
    acme.define("partners.toml", &parties(&root.join("keys"), ("acme", "acme"), ("globex", "globex")));
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
