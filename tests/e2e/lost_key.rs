//! A database that was moved to a new machine, and the state directory with its seal key was not.

use std::fs;
use suites::pair::PATIENCE;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, run};

fn waybill(gateway: &Gateway, arguments: &[&str]) -> (i32, String, String) {
    let config = gateway.config();
    let (status, out, error) = run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    (status.code().unwrap(), out, error)
}

fn a_lost_key_is_told_and_accepted(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let mut gateway = GatewayBuilder::new(root.path(), "acme")
        .database(database)
        .settings("[audit]\nseal_every = \"1s\"")
        .build();
    gateway.start();
    let session = gateway.first_login();
    let newest = |gateway: &Gateway| gateway.json(&["audit", "verify"])["newest"]["seal"].as_i64();
    eventually("two seals", PATIENCE, || newest(&gateway).filter(|seal| *seal >= 2));
    assert!(gateway.metrics().contains("waybill_audit_alarm 0"));
    assert!(gateway.stop().success());
    let state = gateway.directory().join("state");
    let key = fs::read_to_string(state.join("seal.key.pub")).unwrap();
    for name in ["seal.key", "seal.key.pub", "seals.json"] {
        fs::remove_file(state.join(name)).unwrap();
    }
    fs::remove_dir_all(state.join("staging/seal-keys")).unwrap();

    gateway.start();
    eventually("the alarm", PATIENCE, || gateway.metrics().contains("waybill_audit_alarm 1").then_some(()));
    let page = gateway.page("/", &session);
    assert!(page.contains("Audit alarm: seals are signed with an unknown key"), "{page}");
    assert!(page.contains("waybill audit trust FILE"), "{page}");
    let told = gateway.json(&["audit", "search", "--kind", "audit.alarm"]);
    assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
    let (code, out, _) = waybill(&gateway, &["audit", "verify"]);
    assert!(code == 2 && out.contains("has refused to seal") && out.contains("not trusted"), "{out}");

    let accept = ["audit", "accept-restored", "--reason", "the old machine burned"];
    let (code, out, error) = waybill(&gateway, &accept);
    assert!(code == 0 && out.contains("with unknown keys were accepted"), "{out} {error}");
    let record = gateway.json(&["audit", "search", "--kind", "audit.restored"])[0]["detail"].clone();
    let up_to = record["up_to_seal"].as_i64().unwrap();
    assert_eq!(record["unknown_keys"].as_array().unwrap().len(), 1, "{record}");
    eventually("sealing goes on", PATIENCE, || newest(&gateway).filter(|seal| *seal > up_to));
    eventually("an end of the alarm", PATIENCE, || {
        gateway.metrics().contains("waybill_audit_alarm 0").then_some(())
    });
    let (code, out, _) = waybill(&gateway, &["audit", "verify", "--records"]);
    assert!(code == 0 && out.contains("nothing proves"), "{out}");
    let report = gateway.json(&["audit", "verify"]);
    assert_eq!(report["accepted_keys"], record["unknown_keys"], "{report}");
    // Whoever has the old key's public half proves those seals too.
    let kept = root.path().join("old.pub");
    fs::write(&kept, key).unwrap();
    let (code, out, _) = waybill(&gateway, &["audit", "verify", "--trust", kept.to_str().unwrap()]);
    assert!(code == 0 && !out.contains("unknown keys"), "{out}");
}

#[test]
fn a_lost_key_is_told_and_accepted_on_sqlite() {
    a_lost_key_is_told_and_accepted(None);
}

#[test]
fn a_lost_key_is_told_and_accepted_on_postgres() {
    a_lost_key_is_told_and_accepted(Some(&fresh_database("lostkey")));
}
