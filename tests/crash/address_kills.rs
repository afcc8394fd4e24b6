//! An endpoint with two addresses, and the gateway killed between any two steps of a delivery: each file is at one of
//! them in the end, once and whole.

use crate::Database;
use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// The address is noted, then the publication; twice it is asked whether the node still may act.
const DEATHS: [(&str, u64); 10] = [
    ("deliver.claimed", 1),
    ("deliver.noting", 1),
    ("deliver.noted", 1),
    ("deliver.address", 1),
    ("deliver.noting", 2),
    ("deliver.noted", 2),
    ("deliver.before_act", 1),
    ("deliver.sent", 1),
    ("deliver.noted", 2),
    ("finish.before", 1),
];

#[test]
fn kills_with_two_addresses_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_with_two_addresses_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("addresses");
    let route = Route::make(root.path(), "one", 0, 0);
    let other = root.path().join("another");
    fs::create_dir(&other).unwrap();
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let flow = flow(&route, "");
    let out = format!("url = \"file://{}\"", route.out.display());
    // Any of the two: without its note, an attempt would go to the other one half of the time.
    let two = format!(
        "url = [\"file://{}\", \"file://{}\"]\nbalance = \"random\"",
        route.out.display(),
        other.display()
    );
    let several = flow.replacen(&out, &two, 1);
    assert_ne!(several, flow, "{out}");
    gateway.define("addresses.toml", &several);
    let mut given = BTreeMap::new();
    for (at, (point, count)) in DEATHS.into_iter().enumerate() {
        let (name, content) = (format!("{at:02}.edi"), vec![u8::try_from(at).unwrap(); at * 70_000]);
        fs::write(root.path().join(&name), &content).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        given.insert(name, content);
        let died = start_and_die(&mut gateway, Death::At(point, count));
        assert!(died, "never came to {point} for time {count}\n{}", tail(&gateway));
    }
    gateway.start();
    gateway.wait_for("completed", given.len(), Duration::from_secs(60));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    let (first, second) = (files(&route.out), files(&other));
    let twice: Vec<_> = first.keys().filter(|name| second.contains_key(*name)).collect();
    assert!(twice.is_empty(), "at both addresses: {twice:?}\n{}", tail(&gateway));
    let there: BTreeMap<_, _> = first.into_iter().chain(second).collect();
    assert_eq!(there.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>(), "{}", tail(&gateway));
    assert!(there == given, "a file is not whole\n{}", tail(&gateway));
}

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}
