//! Deliveries that fail for good, and the gateway killed as it records that: each file goes on its failure route, once.

use crate::Database;
use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

const DEATHS: [(&str, u64); 5] = [
    ("deliver.sent", 1),
    ("finish.before", 1),
    // The child is recorded, or being sent.
    ("finish.after", 1),
    ("finish.before", 2),
    ("finish.after", 2),
];

#[test]
fn kills_on_failure_routes_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_on_failure_routes_on_postgres() {
    run(Database::Postgres);
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("failures");
    let route = Route::make(root.path(), "failing", 0, 0);
    let bad = root.path().join("for-operations");
    fs::create_dir(&bad).unwrap();
    let mut gateway = gateway(root.path(), url.as_deref(), &[]);
    let failing = format!(
        "[endpoint.operations]\ntransport = \"file\"\nurl = \"file://{}\"\n{}[[flow.failing.destination]]\n\
         endpoint = \"operations\"\n",
        bad.display(),
        flow(&route, "on_failure = \"operations\"")
    );
    gateway.define("failing.toml", &failing);
    let mut names = BTreeSet::new();
    for (at, (point, count)) in DEATHS.into_iter().enumerate() {
        let name = format!("{at:02}.edi");
        // A file of that name is there, and is not replaced: the delivery fails for good.
        fs::write(route.out.join(&name), "the partner's own").unwrap();
        fs::write(root.path().join(&name), &name).unwrap();
        fs::rename(root.path().join(&name), route.into.join(&name)).unwrap();
        names.insert(name);
        let died = start_and_die(&mut gateway, Death::At(point, count));
        assert!(died, "never came to {point} for time {count}\n{}", tail(&gateway));
    }
    gateway.start();
    let failed = gateway.wait_for("failed", names.len(), Duration::from_secs(60));
    let children = gateway.wait_for("completed", names.len(), Duration::from_secs(60));
    assert!(children.iter().all(|child| child["kind"] == "failure"), "{children:?}");
    assert_eq!(failed.len(), names.len(), "{}", tail(&gateway));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    let there: BTreeSet<String> =
        fs::read_dir(&bad).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(there, names, "{}", tail(&gateway));
    for name in &names {
        assert_eq!(fs::read_to_string(bad.join(name)).unwrap(), *name);
        assert_eq!(fs::read_to_string(route.out.join(name)).unwrap(), "the partner's own");
    }
}
