//! Actions in bulk that are killed in the middle: each transfer is as it was or as it is to be, and asked for again the
//! action is done to the rest, to none twice.

use crate::{Database, random};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::pair::{PATIENCE, files_in};
use suites::{Gateway, GatewayBuilder, eventually, waybill};
use testkit::crash::CRASH_AT;

/// Files: three batches.
const FILES: usize = 230;

#[test]
fn actions_in_bulk_that_are_killed_on_sqlite() {
    killed(Database::Sqlite);
}

#[test]
fn actions_in_bulk_that_are_killed_on_postgres() {
    killed(Database::Postgres);
}

fn command(gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(waybill());
    command.arg("--config").arg(gateway.config()).arg("transfer").args(arguments).arg("--yes");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn in_state(gateway: &Gateway, state: &str) -> Vec<Value> {
    let found = gateway.json(&["transfer", "list", "--state", state, "--limit", "2000"]);
    found.as_array().unwrap().clone()
}

/// Every row fits the events of its way: no transfer was changed by half.
fn nothing_is_half(gateway: &Gateway) {
    let said = gateway.json(&["audit", "verify", "--records"]);
    assert_eq!(said["holds"], true, "{said}");
}

fn killed(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let url = database.url("bulk");
    let mut gateway = GatewayBuilder::new(root, "n1").database(url.as_deref()).build();
    let (inbox, outbox) = (root.join("in"), root.join("out"));
    fs::create_dir(&inbox).unwrap();
    for n in 0..FILES {
        fs::write(inbox.join(format!("{n}.edi")), n.to_string()).unwrap();
    }
    gateway.define(
        "orders.toml",
        &format!(
            "[endpoint.in]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
             [endpoint.out]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
             [flow.orders]\nsource = {{ endpoint = \"in\", mask = \"*\", every = \"1s\", stable_for = \"0s\", read_limit = 0, after = \"delete\", error_directory = \"{root}/bad\" }}\n\
             [[flow.orders.destination]]\nendpoint = \"out\"\noverwrite = \"rename\"\nretry = {{ attempts = 1 }}\n",
            root = root.display()
        ),
    );
    gateway.start();
    gateway.wait_for("failed", FILES, PATIENCE);
    assert!(gateway.stop().success());

    // Before the second batch, and after the third: what was committed is done, the rest is as it was.
    let cancel = ["cancel", "--state", "failed"];
    assert!(!command(&gateway, &cancel).env(CRASH_AT, "bulk.before:2").status().unwrap().success());
    assert_eq!(
        (in_state(&gateway, "cancelled").len(), in_state(&gateway, "failed").len()),
        (100, FILES - 100)
    );
    nothing_is_half(&gateway);
    assert!(!command(&gateway, &cancel).env(CRASH_AT, "bulk.after:2").status().unwrap().success());
    assert_eq!(in_state(&gateway, "cancelled").len(), FILES);
    nothing_is_half(&gateway);

    // At any moment; then as a person would go on: again.
    for _ in 0..crate::kills(4) {
        let mut child = command(&gateway, &["retry", "--state", "cancelled"]).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random(400)));
        drop(child.kill());
        child.wait().unwrap();
        let (old, new) = (in_state(&gateway, "cancelled").len(), in_state(&gateway, "delivering").len());
        assert_eq!(old + new, FILES);
        nothing_is_half(&gateway);
        if old == 0 {
            assert!(command(&gateway, &["cancel", "--state", "delivering"]).status().unwrap().success());
        }
    }
    assert!(command(&gateway, &["retry", "--state", "cancelled"]).status().unwrap().success());
    assert_eq!(in_state(&gateway, "delivering").len(), FILES);
    fs::create_dir(&outbox).unwrap();
    gateway.start();
    let completed = gateway.wait_for("completed", FILES, PATIENCE);
    let delivered = files_in(&outbox);
    assert_eq!(delivered.len(), FILES, "each once");
    assert!(delivered.iter().all(|(name, bytes)| name.as_bytes() == [bytes.as_slice(), b".edi"].concat()));

    // Resubmitted beside the running gateway, killed twice, and asked for again under the same id: one child each.
    let request = uuid();
    let resubmit = ["resubmit", "--state", "completed", "--request", &request];
    for point in ["bulk.after:1", "bulk.before:3"] {
        assert!(!command(&gateway, &resubmit).env(CRASH_AT, point).status().unwrap().success(), "{point}");
    }
    assert!(command(&gateway, &resubmit).status().unwrap().success());
    let all = gateway.wait_for("completed", 2 * FILES, PATIENCE);
    let parents: Vec<&str> = all.iter().filter_map(|one| one["parent"].as_str()).collect();
    assert_eq!((all.len(), parents.len()), (2 * FILES, FILES));
    let unlike: BTreeSet<&str> = parents.iter().copied().collect();
    let wanted: BTreeSet<&str> = completed.iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(unlike, wanted);
    eventually("both copies of each file", PATIENCE, || (files_in(&outbox).len() == 2 * FILES).then_some(()));
    assert!(gateway.stop().success());
    nothing_is_half(&gateway);
}

/// A random id.
fn uuid() -> String {
    format!("{:08x}-0000-4000-8000-{:012x}", random(1 << 32), random(1 << 48))
}
