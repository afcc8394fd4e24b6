//! What an operator does to transfers at the command line, beside a running gateway that follows, on both databases.

use serde_json::Value;
use std::fs;
use std::path::Path;
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put};
use suites::{Gateway, GatewayBuilder, fresh_database};

/// Acme's transfer of a file, in whatever state.
fn of_file(gateway: &Gateway, name: &str) -> Value {
    let found = gateway.json(&["transfer", "list", "--mask", name]);
    let found = found.as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

fn id(transfer: &Value) -> &str {
    transfer["id"].as_str().unwrap()
}

fn failed_ones_are_retried_and_completed_ones_resubmitted(database: Option<&str>) {
    let retry = r#"attempts = 1, first = "1s", longest = "1s""#;
    let mut pair = Pair::new(&Terms { database, retry, ..Terms::default() });
    for name in ["a.edi", "b.edi", "c.xml"] {
        put(&pair.folder(), name.as_bytes(), name.as_bytes());
    }
    pair.acme.start();
    let failed = pair.acme.wait_for("failed", 3, PATIENCE);
    pair.globex.start();
    let again = ["transfer", "retry", "--any-failed", "--endpoint", "globex-as2", "--mask", "*.edi"];
    // What is changed is never silently that of one day.
    let (code, out, error) = pair.command(&again);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    assert!(error.contains("say from when on with --from") && !error.contains("2 transfers"), "{error}");
    let again = [&again[..], &["--from", "2020-01-01"]].concat();
    // Without a terminal there is nobody to ask.
    let (code, out, error) = pair.command(&again);
    assert_eq!((code, out.as_str()), (1, ""), "{error}");
    assert!(error.contains("retry: 2 transfers") && error.contains("--yes"), "{error}");
    assert_eq!(pair.acme.json(&["transfer", "list", "--state", "failed"]).as_array().unwrap().len(), 3);
    let said = pair.acme.json(&[&again[..], &["--yes", "--reason", "the partner is back"]].concat());
    assert_eq!((&said["done"], &said["refused"]), (&2.into(), &0.into()), "{said}");
    pair.acme.wait_for("completed", 2, PATIENCE);
    assert_eq!(files_in(&pair.warehouse()).len(), 2);
    let requeued = events(&pair.acme, "delivery.requeued");
    assert_eq!(requeued.len(), 2, "{requeued:?}");
    for event in &requeued {
        assert!(event["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:")), "{event}");
        assert_eq!(event["detail"]["reason"], "the partner is back", "{event}");
    }
    // By id, and none of what is asked wrongly.
    let (code, out, error) = pair.command(&["transfer", "retry", id(&of_file(&pair.acme, "c.xml"))]);
    assert_eq!(code, 0, "{out} {error}");
    assert!(out.contains("1 delivery sent again; the transfer is delivering"), "{out}");
    pair.acme.wait_for("completed", 3, PATIENCE);
    for wrong in [&["transfer", "cancel"][..], &["transfer", "cancel", id(&failed[0]), "--flow", "orders"]] {
        let (code, _, error) = pair.command(wrong);
        assert!(code == 1 && error.contains("not both"), "{code} {error}");
    }
    let (code, out, error) = pair.command(&["transfer", "hold", id(&failed[0]), id(&failed[1])]);
    assert_eq!(code, 2, "{out} {error}");
    assert!(
        out.contains("2 refused") && error.contains("it has ended: nothing of it can be held"),
        "{out} {error}"
    );

    // A completed one once more: a message of its own, which the partner takes for no repetition.
    let parent = of_file(&pair.acme, "a.edi");
    let request = "0192f7a0-0000-7000-8000-000000000001";
    let resubmit = ["transfer", "resubmit", id(&parent), "--request", request, "--reason", "they lost it"];
    let said = pair.acme.json(&resubmit);
    assert_eq!((&said["done"], &said["request"]), (&1.into(), &request.into()), "{said}");
    let child = said["transfers"][0]["child"].as_str().unwrap().to_owned();
    let said = pair.acme.json(&resubmit);
    assert_eq!(
        (&said["unchanged"], &said["transfers"][0]["child"]),
        (&1.into(), &child.as_str().into()),
        "{said}"
    );
    pair.acme.wait_for("completed", 4, PATIENCE);
    pair.globex.wait_for("completed", 4, PATIENCE);
    assert_eq!(pair.wait_for_files(4).iter().filter(|(_, bytes)| bytes == b"a.edi").count(), 2);
    assert!(events(&pair.globex, "message.repeated").is_empty());
    let shown = pair.acme.json(&["transfer", "show", &child]);
    assert_eq!((&shown["parent"], &shown["file_name"]), (&parent["id"], &"a.edi".into()), "{shown}");
    let shown = pair.acme.json(&["transfer", "show", id(&parent)]);
    assert_eq!(
        (&shown["state"], &shown["children"][0]["id"]),
        (&"completed".into(), &child.as_str().into()),
        "{shown}"
    );
    let (_, text, _) = pair.command(&["transfer", "show", &child]);
    assert!(text.contains(&format!("made from transfer {}", id(&parent))), "{text}");
    assert!(text.contains("they lost it"), "{text}");
    assert!(pair.acme.stop().success());
    let said = pair.acme.json(&["audit", "verify", "--records"]);
    assert_eq!(said["holds"], true, "{said}");
}

#[test]
fn failed_ones_are_retried_and_completed_ones_resubmitted_on_sqlite() {
    failed_ones_are_retried_and_completed_ones_resubmitted(None);
}

#[test]
fn failed_ones_are_retried_and_completed_ones_resubmitted_on_postgres() {
    failed_ones_are_retried_and_completed_ones_resubmitted(Some(&fresh_database("operated")));
}

/// A gateway with one flow between two directories, of which the second is missing: what is taken waits.
fn waiting(root: &Path, database: Option<&str>, more: &str) -> Gateway {
    let gateway = GatewayBuilder::new(root, "n1").database(database).build();
    fs::create_dir(root.join("in")).unwrap();
    gateway.define(
        "orders.toml",
        &format!(
            "[endpoint.in]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
             [endpoint.out]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
             [flow.orders]\n{more}\nsource = {{ endpoint = \"in\", mask = \"*\", every = \"1s\", stable_for = \"0s\", after = \"delete\", error_directory = \"{root}/bad\" }}\n\
             [[flow.orders.destination]]\nendpoint = \"out\"\nretry = {{ attempts = 1 }}\n",
            root = root.display()
        ),
    );
    gateway
}

fn held_ones_wait_and_cancelled_ones_are_never_sent(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    // In order: what is held keeps those behind it waiting, what is cancelled does not.
    let mut gateway = waiting(root, database, "ordered = true");
    gateway.start();
    put(&root.join("in"), b"1.edi", b"1");
    gateway.wait_for("failed", 1, PATIENCE);
    for name in ["2.edi", "3.edi", "4.edi"] {
        put(&root.join("in"), name.as_bytes(), name.as_bytes());
    }
    gateway.wait_for("delivering", 3, PATIENCE);
    let act = |action: &str, name: &str| {
        let said = gateway.json(&["transfer", action, id(&of_file(&gateway, name)), "--reason", "looked at"]);
        assert_eq!(said["done"], 1, "{action} {name}: {said}");
    };
    act("cancel", "2.edi");
    act("hold", "3.edi");
    fs::create_dir(root.join("out")).unwrap();
    // The failed one is given up: its lane goes on, as far as the held one.
    act("cancel", "1.edi");
    let held = gateway.json(&["transfer", "hold", id(&of_file(&gateway, "3.edi"))]);
    assert_eq!((&held["unchanged"], &held["transfers"][0]["state"]), (&1.into(), &"held".into()), "{held}");
    assert!(files_in(&root.join("out")).is_empty());
    act("release", "3.edi");
    gateway.wait_for("completed", 2, PATIENCE);
    let names: Vec<String> = files_in(&root.join("out")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["3.edi", "4.edi"]);
    assert_eq!(of_file(&gateway, "1.edi")["state"], "cancelled");
    // A cancelled one is sent when a person says so by name, and is no part of a retry in bulk.
    let said = gateway.json(&["transfer", "retry", "--flow", "orders", "--yes"]);
    assert_eq!((&said["done"], &said["refused"]), (&0.into(), &0.into()), "{said}");
    act("retry", "2.edi");
    gateway.wait_for("completed", 3, PATIENCE);
    assert_eq!(files_in(&root.join("out")).len(), 3);
    assert!(gateway.stop().success());
    assert_eq!(gateway.json(&["audit", "verify", "--records"])["holds"], true);
}

#[test]
fn held_ones_wait_and_cancelled_ones_are_never_sent_on_sqlite() {
    held_ones_wait_and_cancelled_ones_are_never_sent(None);
}

#[test]
fn held_ones_wait_and_cancelled_ones_are_never_sent_on_postgres() {
    held_ones_wait_and_cancelled_ones_are_never_sent(Some(&fresh_database("held")));
}

#[test]
fn what_retention_removed_is_neither_retried_nor_resubmitted() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let mut gateway = waiting(root, None, "retention = \"1s\"");
    gateway.start();
    put(&root.join("in"), b"1.edi", b"1");
    gateway.wait_for("failed", 1, PATIENCE);
    assert!(gateway.stop().success());
    // As retention leaves it, which looks every ten minutes.
    suites::tamper(
        &gateway,
        None,
        "UPDATE payloads SET removed_at = staged_at; UPDATE transfers SET released = 1",
    );
    let transfer = of_file(&gateway, "1.edi");
    for action in ["retry", "resubmit"] {
        let said = gateway.json(&["transfer", action, id(&transfer)]);
        assert_eq!((&said["done"], &said["refused"]), (&0.into(), &1.into()), "{said}");
        let message = said["transfers"][0]["message"].as_str().unwrap();
        assert!(message.contains("retention 1s") && message.contains("payload removed"), "{message}");
    }
    assert_eq!(of_file(&gateway, "1.edi")["state"], "failed");
}
