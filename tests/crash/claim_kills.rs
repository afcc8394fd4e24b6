//! Files that are claimed by renaming, and the gateway killed at every step: no file is lost or delivered twice, and what a
//! death left behind lies at the source under its claimed name, where the clean-up finds it.

use crate::Database;
use crate::kills::{flow, gateway};
use crate::kills_over_servers::FtpRoutes;
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::Duration;

const DEATHS: [&str; 9] = [
    "stage.begin",
    "stage.copied",
    "stage.committed",
    "record.before",
    "record.after",
    "deliver.sent",
    "finish.after",
    "settle.before",
    "settle.after",
];

#[test]
fn kills_of_claims_on_sqlite() {
    run(Database::Sqlite, false);
}

#[test]
fn kills_of_claims_on_postgres() {
    run(Database::Postgres, false);
}

#[test]
fn kills_of_claims_over_ftp_on_sqlite() {
    run(Database::Sqlite, true);
}

#[test]
fn kills_of_claims_over_ftp_on_postgres() {
    run(Database::Postgres, true);
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn run(database: Database, is_over_ftp: bool) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("claims");
    let mut route = Route::make(root.path(), "claiming", 0, 0);
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let polls = "after = \"delete\"";
    let claims = format!("{polls}, claim = \"rename\", settle = \"after_delivery\"");
    let mut document = flow(&route, "").replace(polls, &claims);
    // The server ends with the test.
    let server = is_over_ftp.then(|| FtpRoutes::start(root.path()));
    if let Some(server) = &server {
        document = server.take_over("in", &mut route, &document);
    }
    gateway.define("claiming.toml", &document);
    let mut put = BTreeSet::new();
    for (at, point) in DEATHS.into_iter().enumerate() {
        let name = format!("{at:02}.edi");
        fs::write(root.path().join(&name), &name).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        put.insert(name);
        let died = start_and_die(&mut gateway, Death::At(point, 1));
        assert!(died, "never came to {point}\n{}", tail(&gateway));
    }
    gateway.start();
    // Those that were on record are delivered; the others keep their claimed names.
    let left =
        || names(&route.into).into_iter().filter(|name| name.ends_with(".stage")).collect::<BTreeSet<_>>();
    let each_is_somewhere = || {
        let delivered = names(&route.out).into_iter().map(|name| format!("{name}.stage"));
        let both: BTreeSet<String> = left().into_iter().chain(delivered).collect();
        (both.len() == put.len() && left().len() + names(&route.out).len() == put.len()).then_some(())
    };
    assert!(
        suites::within(Duration::from_secs(60), each_is_somewhere).is_some(),
        "{:?}\n{}",
        left(),
        tail(&gateway)
    );
    let behind = left();
    assert!(!behind.is_empty() && behind.len() < put.len(), "{behind:?}");
    for name in behind {
        let released = name.strip_suffix(".stage").unwrap();
        fs::rename(route.into.join(&name), route.into.join(released)).unwrap();
    }
    let done = gateway.wait_for("completed", put.len(), Duration::from_secs(60));
    assert_eq!(done.len(), put.len(), "{}", tail(&gateway));
    let is_empty = || names(&route.into).is_empty().then_some(());
    assert!(suites::within(Duration::from_secs(30), is_empty).is_some(), "{}", tail(&gateway));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    assert_eq!(names(&route.out), put);
    for name in &put {
        assert_eq!(fs::read_to_string(route.out.join(name)).unwrap(), *name);
    }
}
