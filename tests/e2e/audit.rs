//! The audit trail from the command line: searched, proved, its seals kept elsewhere.

use std::fs;
use suites::pair::{PATIENCE, Pair, Terms, put};
use suites::{eventually, tamper};

#[test]
fn events_and_transfers_are_found_by_what_they_are_about() {
    let mut pair = Pair::new(&Terms::default());
    put(&pair.folder(), b"one.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);

    let group = pair.search(&["--kind", "delivery"]);
    assert!(group.len() >= 2, "{group:?}");
    assert!(group.iter().all(|event| event["kind"].as_str().unwrap().starts_with("delivery.")), "{group:?}");
    assert_eq!(pair.search(&["--kind", "delivery."]), group);
    assert_eq!(pair.search(&["--kind", "delivery.delivered"]).len(), 1);
    let (code, kinds, _) = pair.command(&["audit", "kinds"]);
    assert!(code == 0 && kinds.lines().any(|kind| kind == "delivery.delivered"), "{kinds}");
    let (code, text, error) = pair.command(&["audit", "search", "--kind", "delivery.delivered"]);
    assert!(code == 0 && text.contains("  actor=system flow=orders "), "{text} {error}");
    let (code, _, error) = pair.command(&["audit", "search", "--kind", "nosuch"]);
    assert!(code == 1 && error.contains("`waybill audit kinds` lists them all"), "{code} {error}");
    let (code, _, error) = pair.command(&["audit", "search", "--kind", "delivery.delivred"]);
    assert!(code == 1 && error.contains("did you mean 'delivery.delivered'"), "{code} {error}");

    let of_folder = pair.search(&["--endpoint", "acme-folder"]);
    assert!(
        !of_folder.is_empty() && of_folder.iter().all(|e| e["endpoint"] == "acme-folder"),
        "{of_folder:?}"
    );
    let connection = of_folder.iter().find_map(|event| event["connection"].as_str()).unwrap();
    let of_connection = pair.search(&["--connection", connection]);
    assert!(!of_connection.is_empty() && of_connection.iter().all(|e| e["connection"] == connection));
    assert!(pair.search(&["--severity", "error"]).is_empty());
    assert!(!pair.search(&["--severity", "info", "--actor", "system"]).is_empty());
    assert!(pair.search(&["--actor", "user:nobody"]).is_empty());
    for list in [&["audit", "search"], &["transfer", "list"]] {
        let (code, out, error) = pair.command(&[list as &[&str], &["--flow", "order"]].concat());
        assert!(
            code == 0 && out.starts_with("no ") && error.contains("did you mean 'orders'?"),
            "{out} {error}"
        );
    }

    for list in [&["audit", "search"], &["transfer", "list"]] {
        let count = |span: &[&str]| pair.acme.json(&[list, span].concat()).as_array().unwrap().len();
        assert!(count(&["--from", "2020-01-01", "--to", "2999-12-31 23:59"]) >= 1, "{list:?}");
        assert_eq!(count(&["--from", "2999-12-31"]), 0, "{list:?}");
        assert_eq!(count(&["--to", "2020-01-01T00:00:00Z"]), 0, "{list:?}");
        let (code, _, error) = pair.command(&[list as &[&str], &["--from", "yesterday"]].concat());
        assert!(code == 1 && error.contains("RFC 3339"), "{code} {error}");
    }
}

#[test]
fn a_trail_that_was_cut_off_does_not_pass_against_a_copy_of_its_seals() {
    let mut pair = Pair::new(&Terms::default());
    pair.acme.start();
    let newest = eventually("two seals", PATIENCE, || {
        let newest = pair.acme.json(&["audit", "verify"])["newest"].clone();
        (newest["seal"].as_i64()? >= 2).then_some(newest)
    });
    assert!(pair.acme.stop().success());
    let (number, digest) = (newest["seal"].as_i64().unwrap(), newest["digest"].as_str().unwrap());
    let expect = |number: i64, digest: &str| {
        let seal = format!("{number}:{digest}");
        pair.command(&["audit", "verify", "--expect", &seal])
    };
    let (code, out, error) = expect(number, digest);
    assert_eq!(code, 0, "{out} {error}");
    // A later seal than there is: what a trail looks like whose end was removed.
    let (code, out, error) = expect(number + 1000, digest);
    assert!(code == 2 && out.contains(&(number + 1000).to_string()), "{code} {out} {error}");
    let (code, out, error) = expect(number, &"0".repeat(64));
    assert_eq!(code, 2, "{out} {error}");

    let (code, copy, error) = pair.command(&["audit", "export-seals"]);
    assert_eq!(code, 0, "{error}");
    assert!(copy.lines().count() as i64 >= number, "{copy}");
    let (_, later, _) = pair.command(&["audit", "export-seals", "--from", "2"]);
    assert_eq!(later.lines().count() + 1, copy.lines().count());
    let kept = pair.root.path().join("seals");
    let against = |copy: &str| {
        fs::write(&kept, copy).unwrap();
        pair.command(&["audit", "verify", "--seals", kept.to_str().unwrap()])
    };
    assert_eq!(against(&copy).0, 0);
    let (code, out, _) = against(&copy.replace("\"seq\":2,", "\"seq\":2000,"));
    assert!(code == 2 && out.contains("2000"), "{code} {out}");
    let (code, _, error) = against("no seal");
    assert!(code == 1 && error.contains("export-seals"), "{code} {error}");
}

#[test]
fn verifying_makes_no_key() {
    let mut pair = Pair::new(&Terms::default());
    pair.acme.start();
    assert!(pair.acme.stop().success());
    let state = pair.acme.directory().join("state");
    let away = pair.root.path().join("seal.key.pub");
    fs::rename(state.join("seal.key.pub"), &away).unwrap();
    fs::remove_file(state.join("seal.key")).unwrap();
    let (code, _, error) = pair.command(&["audit", "verify"]);
    assert!(code == 1 && error.contains("--trust"), "{code} {error}");
    let (code, out, error) = pair.command(&["audit", "verify", "--trust", away.to_str().unwrap()]);
    assert_eq!(code, 0, "{out} {error}");
    assert!(!state.join("seal.key").exists() && !state.join("seal.key.pub").exists());
}

/// Writes into Acme's database behind its back.
fn sqlite(pair: &Pair, sql: &str) {
    tamper(&pair.acme, None, sql);
}

#[test]
fn what_a_hand_in_the_database_does_is_found_without_being_told_of_a_seal() {
    let terms =
        Terms { settings: "[audit]\nseal_every = \"1s\"\nseal_file = \"seals.jsonl\"", ..Terms::default() };
    let mut pair = Pair::new(&terms);
    // Each poll makes a connection, so that there is always something to seal.
    let login = format!("{}\nkeep_open = \"0s\"", pair.usual_login());
    pair.acme.define("acme.toml", &pair.acme_document(&Terms { login: Some(&login), ..terms }));
    put(&pair.folder(), b"one.edi", b"an order");
    pair.start();
    pair.acme.wait_for("completed", 1, PATIENCE);
    let newest = || pair.acme.json(&["audit", "verify"])["newest"]["seal"].as_i64();
    eventually("four seals", PATIENCE, || newest().filter(|seal| *seal >= 4));
    let (code, out, error) = pair.command(&["audit", "verify", "--records"]);
    assert!(code == 0 && out.contains("noted in") && out.contains("the rows agree"), "{code} {out} {error}");
    assert!(!out.contains("not compared"), "{out}");
    let (code, out, _) = pair.command(&["audit", "verify", "--records", "--from", "2026-01-01"]);
    assert!(code == 0 && out.contains("not compared: users and revisions"), "{code} {out}");

    // A row that people look at.
    sqlite(
        &pair,
        "UPDATE transfers SET file_name = 'two.edi'; UPDATE connections SET remote = '192.0.2.9:22'",
    );
    let (code, out, _) = pair.command(&["audit", "verify", "--records"]);
    assert!(
        code == 2 && out.contains("transfers ") && out.contains("file_name is \"two.edi\""),
        "{code} {out}"
    );
    assert!(out.contains("connections ") && out.contains("remote is"), "{out}");
    assert_eq!(pair.command(&["audit", "verify"]).0, 0, "the events are as sealed");
    sqlite(&pair, "UPDATE transfers SET file_name = 'one.edi'");

    // A row that a newer node might have written hides no other.
    sqlite(&pair, "UPDATE transfers SET state = 'pondering'");
    let (code, out, error) = pair.command(&["transfer", "list"]);
    assert!(code == 0 && out.contains("unreadable:") && out.contains("pondering"), "{code} {out} {error}");
    let list = pair.acme.json(&["transfer", "list"]);
    assert_eq!(list[0]["unreadable"], true, "{list}");
    sqlite(&pair, "UPDATE transfers SET state = 'completed'");

    // While the node runs: the end of the trail goes, and it would seal anew.
    sqlite(
        &pair,
        "DELETE FROM audit_seals WHERE seq >= 3; DELETE FROM audit_events WHERE kind = 'delivery.delivered'",
    );
    eventually("the alarm", PATIENCE, || {
        let (code, out, _) = pair.command(&["audit", "verify"]);
        (code == 2 && out.contains("has refused to seal") && out.contains("accept-restored")).then_some(())
    });
    assert_eq!(pair.search(&["--kind", "audit.alarm"]).len(), 1);
    let copy = pair.acme.directory().join("seals.jsonl");
    let (code, out, _) = pair.command(&["audit", "verify", "--seals", copy.to_str().unwrap()]);
    assert!(code == 2 && out.contains("is missing"), "{code} {out}");
    // It stays, over a restart, until it is accepted on record.
    assert!(pair.acme.stop().success());
    pair.acme.start();
    assert_eq!(pair.command(&["audit", "verify"]).0, 2);
    let (code, _, error) = pair.command(&["audit", "accept-restored", "--reason", " "]);
    assert!(code == 1 && error.contains("--reason"), "{code} {error}");
    let (code, out, error) = pair.command(&["audit", "accept-restored", "--reason", "backup of Monday"]);
    assert_eq!(code, 0, "{out} {error}");
    let record = pair.search(&["--kind", "audit.restored"]);
    assert_eq!(record[0]["detail"]["reason"], "backup of Monday", "{record:?}");
    eventually("sealing goes on", PATIENCE, || {
        let report = pair.acme.json(&["audit", "verify"]);
        (report["newest"]["seal"].as_i64()? > 2).then_some(())
    });
    // Accepting is not forgetting: the row whose event is gone still lacks it.
    let (code, out, _) = pair.command(&["audit", "verify", "--records"]);
    assert!(code == 2 && out.contains("deliveries "), "{code} {out}");
}
