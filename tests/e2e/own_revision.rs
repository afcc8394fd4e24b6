//! Deliveries that wait while their flow changes: they end under the revision under which they were recorded.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn what_waits_is_written_as_it_was_promised_on_sqlite() {
    what_waits_is_written_as_it_was_promised(None);
}

#[test]
fn what_waits_is_written_as_it_was_promised_on_postgres() {
    what_waits_is_written_as_it_was_promised(Some(&fresh_database("own_revision")));
}

/// Two folders, and a flow unless its destination is left out. Deliveries wait as long as the endpoint is another node's.
fn definitions(root: &Path, waits: bool, destination: Option<&str>) -> String {
    let node = if waits { "node = \"elsewhere\"\n" } else { "" };
    let root = root.display();
    let flow = destination.map_or_else(String::new, |destination| {
        format!(
            "[flow.orders]\nsource = {{ endpoint = \"dock\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
             after = \"delete\", error_directory = \"{root}/bad\" }}\n[[flow.orders.destination]]\nendpoint = \"warehouse\"\n{destination}\n"
        )
    });
    format!(
        "[endpoint.dock]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
         [endpoint.warehouse]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n{node}{flow}"
    )
}

fn apply(gateway: &Gateway, directory: &Path, text: &str) {
    fs::write(directory.join("all.toml"), text).unwrap();
    let config = gateway.config();
    let (status, out, error) =
        run(&["--config", config.to_str().unwrap(), "apply", directory.to_str().unwrap()]);
    assert!(status.success(), "{out} {error}");
}

/// Puts a file in and waits until its transfer is on record.
fn send(gateway: &Gateway, root: &Path, name: &str, count: usize) -> Vec<Value> {
    fs::write(root.join("in").join(name), name).unwrap();
    gateway.wait_for("delivering", count, PATIENCE)
}

fn what_waits_is_written_as_it_was_promised(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["in", "out", "defs"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root, "n1").database(database).build();
    gateway.start();
    let directory = root.join("defs");
    let old = "prefix = \"old-\"\noverwrite = \"replace\"\ntemporary = \"none\"";
    apply(&gateway, &directory, &definitions(root, true, Some(old)));
    fs::write(root.join("out/old-b"), "was there before").unwrap();
    send(&gateway, root, "a", 1);
    send(&gateway, root, "b", 2);

    // Renamed, with another prefix, and nothing is replaced any more.
    let new = "name = \"hall\"\nprefix = \"new-\"\noverwrite = \"refuse\"";
    apply(&gateway, &directory, &definitions(root, true, Some(new)));
    let metrics = "waybill_revision_in_force{node=\"n1\"} 2";
    eventually("revision 2", PATIENCE, || gateway.metrics().contains(metrics).then_some(()));
    let waiting = send(&gateway, root, "c", 3);
    let revision = |name: &str| {
        let found = waiting.iter().find(|transfer| transfer["file_name"] == name).unwrap();
        found["revision"].as_i64().unwrap()
    };
    assert_eq!(["a", "b", "c"].map(revision), [1, 1, 2]);

    // The flow is gone, the gateway starts again, and only then may the endpoint be used.
    apply(&gateway, &directory, &definitions(root, true, None));
    assert!(gateway.stop().success());
    gateway.start();
    apply(&gateway, &directory, &definitions(root, false, None));
    gateway.wait_for("completed", 3, PATIENCE);
    let read = |name: &str| fs::read_to_string(root.join("out").join(name)).unwrap();
    assert_eq!((read("old-a"), read("old-b"), read("new-c")), ("a".into(), "b".into(), "c".into()));
    assert_eq!(fs::read_dir(root.join("out")).unwrap().count(), 3);
    let config = gateway.config();
    let (status, out, error) = run(&["--config", config.to_str().unwrap(), "audit", "verify", "--records"]);
    assert!(status.success(), "{out} {error}");
}
