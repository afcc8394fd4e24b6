//! Deliveries that failed by a mistake in their flow: corrected and retried, they go through the flow as it is now.

use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;
use suites::pair::{events, files_in, put};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_corrected_flow_delivers_what_is_retried_on_sqlite() {
    a_corrected_flow_delivers_what_is_retried(None);
}

#[test]
fn a_corrected_flow_delivers_what_is_retried_on_postgres() {
    a_corrected_flow_delivers_what_is_retried(Some(&fresh_database("retried")));
}

/// A flow into two folders, of which `warehouse` is missing; its destinations are as a test says.
fn definitions(root: &Path, destinations: &str) -> String {
    let root = root.display();
    let endpoint =
        |name: &str| format!("[endpoint.{name}]\ntransport = \"file\"\nurl = \"file://{root}/{name}\"\n");
    format!(
        "{}{}{}[flow.orders]\nsource = {{ endpoint = \"dock\", mask = \"*\", every = \"1s\", stable_for = \"0s\", \
         after = \"delete\", error_directory = \"{root}/bad\" }}\n{destinations}",
        endpoint("dock"),
        endpoint("hall"),
        endpoint("warehouse")
    )
}

fn command(gateway: &Gateway, arguments: &[&str]) -> String {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    assert!(status.success(), "{arguments:?}: {out} {error}");
    out
}

fn apply(gateway: &Gateway, directory: &Path, text: &str, revision: u32) {
    fs::write(directory.join("all.toml"), text).unwrap();
    command(gateway, &["apply", directory.to_str().unwrap()]);
    let metrics = format!("waybill_revision_in_force{{node=\"n1\"}} {revision}");
    eventually("the new revision", PATIENCE, || gateway.metrics().contains(&metrics).then_some(()));
}

fn id_of<'a>(transfers: &'a [Value], name: &str) -> &'a str {
    let found = transfers.iter().find(|transfer| transfer["file_name"] == name).unwrap();
    found["id"].as_str().unwrap()
}

/// The delivery of a transfer to a destination.
fn delivery(gateway: &Gateway, transfer: &str, destination: &str) -> Value {
    let shown = gateway.json(&["transfer", "show", transfer]);
    let deliveries = shown["deliveries"].as_array().unwrap();
    deliveries.iter().find(|one| one["destination"] == destination).unwrap().clone()
}

fn names(directory: &Path) -> Vec<String> {
    files_in(directory).into_iter().map(|(name, _)| name).collect()
}

fn a_corrected_flow_delivers_what_is_retried(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["dock", "hall", "defs"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root, "n1").database(database).build();
    gateway.start();
    let directory = root.join("defs");
    let once = "retry = { attempts = 1 }";
    let hall = "[[flow.orders.destination]]\nendpoint = \"hall\"\n";
    let wrong = format!("[[flow.orders.destination]]\nendpoint = \"warehouse\"\n{once}\n{hall}");
    apply(&gateway, &directory, &definitions(root, &wrong), 1);
    for name in ["a.edi", "b1.edi", "b2.edi", "d.edi"] {
        put(&root.join("dock"), name.as_bytes(), name.as_bytes());
    }
    let failed = gateway.wait_for("partly_failed", 4, PATIENCE);
    let ids = ["a.edi", "b1.edi", "b2.edi", "d.edi"].map(|name| id_of(&failed, name));

    // Corrected, and with the destinations the other way round: a destination is known by its name and its endpoint.
    let right = format!(
        "{hall}[[flow.orders.destination]]\nendpoint = \"warehouse\"\n{once}\nprefix = \"new-\"\ncreate_directories = true\n"
    );
    apply(&gateway, &directory, &definitions(root, &right), 2);
    assert!(gateway.stop().success());
    let out = command(&gateway, &["transfer", "retry", ids[0], "--reason", "the directory was missing"]);
    assert!(
        out.contains(
            "1 delivery sent again; the transfer is delivering; it goes through the flow of revision 2"
        ),
        "{out}"
    );
    gateway.start();
    gateway.wait_for("completed", 1, PATIENCE);
    assert_eq!(names(&root.join("warehouse")), ["new-a.edi"]);
    let retried = delivery(&gateway, ids[0], "warehouse");
    assert_eq!((&retried["revision"], &retried["file_name"]), (&2.into(), &"a.edi".into()), "{retried}");
    assert_eq!(delivery(&gateway, ids[0], "hall")["revision"], Value::Null, "it was not retried");
    let shown = command(&gateway, &["transfer", "show", ids[0]]);
    assert!(
        shown.contains("flow orders of revision 1")
            && shown.contains("through the flow of revision 2 since it was retried"),
        "{shown}"
    );
    let event = &events(&gateway, "delivery.requeued")[0];
    assert_eq!(
        (&event["detail"]["revision"], &event["detail"]["revision_before"]),
        (&2.into(), &1.into()),
        "{event}"
    );

    // In bulk.
    let bulk = ["transfer", "retry", "--any-failed", "--flow", "orders", "--yes"];
    let said = gateway.json(&[&bulk[..], &["--mask", "b*.edi", "--from", "2020-01-01"]].concat());
    assert_eq!((&said["done"], &said["refused"]), (&2.into(), &0.into()), "{said}");
    assert_eq!(said["transfers"][1]["retried"][0]["revision"], 2, "{said}");
    gateway.wait_for("completed", 3, PATIENCE);
    assert_eq!(names(&root.join("warehouse")), ["new-a.edi", "new-b1.edi", "new-b2.edi"]);

    // Where the flow has no such destination any more, the delivery goes on as it was, and a person is told.
    apply(&gateway, &directory, &definitions(root, hall), 3);
    let out = command(&gateway, &["transfer", "retry", ids[3]]);
    assert!(
        out.contains("the delivery to warehouse goes through the flow of revision 1 as before: its flow no longer has this destination"),
        "{out}"
    );
    gateway.wait_for("completed", 4, PATIENCE);
    assert_eq!(names(&root.join("warehouse")), ["d.edi", "new-a.edi", "new-b1.edi", "new-b2.edi"]);
    assert_eq!(names(&root.join("hall")), ["a.edi", "b1.edi", "b2.edi", "d.edi"], "nothing was sent twice");
    assert!(gateway.stop().success());
    let said = gateway.json(&["audit", "verify", "--records"]);
    assert_eq!(said["holds"], true, "{said}");
}
