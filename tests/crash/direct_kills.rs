//! Files written under their own names at once, and the gateway killed between any two steps of that: each is there in
//! the end, once and whole.

use crate::Database;
use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Three notes are written, and three times it is asked whether the node still may act.
const DEATHS: [(&str, u64); 12] = [
    ("deliver.claimed", 1),
    ("deliver.noting", 1),
    ("deliver.noted", 1),
    ("deliver.before_act", 1),
    ("deliver.before_act", 2),
    // The file was made, and nothing of that is noted.
    ("deliver.noting", 2),
    ("deliver.noted", 2),
    ("deliver.before_act", 3),
    ("deliver.noting", 3),
    ("deliver.noted", 3),
    ("deliver.sent", 1),
    ("finish.before", 1),
];

#[test]
fn kills_without_temporary_names_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_without_temporary_names_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("direct");
    let route = Route::make(root.path(), "direct", 0, 0);
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let flow = flow(&route, "");
    let direct =
        flow.replacen("endpoint = \"direct-out\"\n", "endpoint = \"direct-out\"\ntemporary = \"none\"\n", 1);
    assert_ne!(direct, flow);
    gateway.define("direct.toml", &direct);
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
    let there: BTreeMap<_, _> = fs::read_dir(&route.out)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect();
    assert_eq!(there.keys().collect::<Vec<_>>(), given.keys().collect::<Vec<_>>(), "{}", tail(&gateway));
    assert!(there == given, "a file is not whole\n{}", tail(&gateway));
}
