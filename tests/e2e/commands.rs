//! What a person does beside a gateway: test an endpoint, send a failed transfer again, stop and start.

use serde_json::Value;
use std::time::{Duration, Instant};
use suites::pair::{PATIENCE, Pair, Terms, events, files_in, put, random};
use suites::{eventually, run};

/// Tests an endpoint of Acme's definitions: exit code and what was said.
fn endpoint_test(pair: &Pair, name: &str) -> (i32, Value) {
    let config = pair.acme.config();
    let directory = pair.acme.directory().join("definitions");
    let (status, out, error) = run(&[
        "--config",
        config.to_str().unwrap(),
        "--output",
        "json",
        "endpoint",
        "test",
        name,
        "--definitions",
        directory.to_str().unwrap(),
    ]);
    (status.code().unwrap(), serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out} {error}")))
}

/// The steps of a test, of which so many failed.
fn steps(said: &Value, failed: usize) -> &[Value] {
    let steps = said["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter(|step| step["passed"] == false).count(), failed, "{said}");
    assert_eq!(said["passed"], failed == 0, "{said}");
    steps
}

#[test]
fn testing_an_endpoint_shows_each_step_and_the_one_that_fails() {
    let mut pair = Pair::new(&Terms::default());
    let (code, said) = endpoint_test(&pair, "acme-folder");
    assert_eq!((code, &said["endpoint"]), (0, &"acme-folder".into()), "{said}");
    assert!(steps(&said, 0).len() >= 2, "{said}");
    assert!(steps(&said, 0).iter().all(|step| step["role"] == "source"), "{said}");
    assert!(said.to_string().contains(pair.sshd.text("fingerprint")), "the host key is not shown: {said}");

    // The partner is away, then there.
    let (code, said) = endpoint_test(&pair, "globex-as2");
    assert_eq!((code, steps(&said, 1).is_empty()), (2, false));
    pair.globex.start();
    let (code, said) = endpoint_test(&pair, "globex-as2");
    assert_eq!((code, steps(&said, 0).is_empty()), (0, false));

    pair.sshd.command("kill", &[]);
    let (code, said) = endpoint_test(&pair, "acme-folder");
    assert_eq!((code, steps(&said, 1).is_empty()), (2, false));
    // What was tried is on record, too.
    let connections = pair.acme.connections();
    assert!(connections.iter().any(|c| c.purpose == Some(model::Purpose::Test)), "{connections:?}");
    let (config, definitions) = (pair.acme.config(), pair.acme.directory().join("definitions"));
    let test = ["--config", config.to_str().unwrap(), "endpoint", "test", "nobody"];
    let (status, _, error) = run(&[&test[..], &["--definitions", definitions.to_str().unwrap()]].concat());
    assert!(!status.success() && error.contains("nobody"), "{error}");
    // A test stores no revision: without a directory there is nothing in the database to look in.
    let (status, _, error) = run(&test);
    assert!(!status.success() && error.contains("--definitions"), "{error}");
    // A test that could not begin leaves no journal behind.
    let state = pair.acme.directory().join("state");
    let names =
        std::fs::read_dir(state).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<String> = names.filter(|name| name.starts_with("journal-")).collect();
    assert!(left.is_empty(), "{left:?}");
    // For people, the role is said as well.
    let (_, out, _) =
        run(&[&test[..4], &["globex-as2", "--definitions", definitions.to_str().unwrap()]].concat());
    assert!(out.contains("globex-as2 as a destination:"), "{out}");
}

#[test]
fn a_command_that_cannot_run_ends_with_1_and_help_with_0() {
    for (arguments, code) in [
        (&["--help"] as &[&str], 0),
        (&["--version"], 0),
        (&["help", "audit"], 0),
        (&["audit", "verify", "--help"], 0),
        (&[], 1),
        (&["nonsense"], 1),
        (&["transfer", "list", "--limit", "none"], 1),
        (&["transfer", "show", "no-id"], 1),
        (&["as2", "pack"], 1),
        (&["audit", "verify", "--expect", "17"], 1),
    ] {
        let (status, out, error) = run(arguments);
        assert_eq!(status.code(), Some(code), "{arguments:?}: {out} {error}");
        assert_eq!((out.is_empty(), error.is_empty()), (code == 1, code == 0), "{arguments:?}");
    }
}

#[test]
fn a_failed_transfer_is_sent_again_by_a_person() {
    let mut pair =
        Pair::new(&Terms { retry: r#"attempts = 1, first = "1s", longest = "1s""#, ..Terms::default() });
    put(&pair.folder(), b"again.edi", b"once more");
    pair.acme.start();
    let failed = pair.acme.wait_for("failed", 1, PATIENCE);
    let id = failed[0]["id"].as_str().unwrap();
    pair.globex.start();
    let said = pair.acme.json(&["transfer", "retry", id]);
    assert_eq!(said["deliveries"], 1, "{said}");
    pair.acme.wait_for("completed", 1, PATIENCE);
    assert_eq!(pair.wait_for_files(1), [("again.edi".to_owned(), b"once more".to_vec())]);
    let shown = pair.acme.json(&["transfer", "show", id]);
    assert_eq!(shown["deliveries"][0]["attempts"].as_array().unwrap().len(), 2, "{shown}");
    // Who did it is on record.
    let event = &events(&pair.acme, "delivery.requeued")[0];
    assert!(
        event["actor"].as_str().is_some_and(|actor| actor.starts_with("cli:")) || event["actor"].is_object(),
        "{event}"
    );
    // A transfer that is completed has nothing to send again.
    let (status, out, error) =
        run(&["--config", pair.acme.config().to_str().unwrap(), "transfer", "retry", id]);
    assert_eq!(status.code(), Some(1), "{out} {error}");
    assert!(out.is_empty() && error.contains("none of its deliveries has failed"), "{out} {error}");
}

#[test]
fn a_gateway_that_is_told_to_stop_ends_in_order_and_goes_on_later() {
    let mut pair = Pair::new(&Terms::default());
    pair.start();
    let samples: Vec<(String, Vec<u8>)> =
        (0..20).map(|n| (format!("{n:02}.bin"), random(2_000_000))).collect();
    for (name, bytes) in &samples {
        put(&pair.folder(), name.as_bytes(), bytes);
    }
    eventually("some have arrived", PATIENCE, || (!files_in(&pair.warehouse()).is_empty()).then_some(()));
    let begun = Instant::now();
    assert!(pair.acme.stop().success(), "{}", pair.acme.log());
    assert!(begun.elapsed() < Duration::from_secs(15), "took {:?}", begun.elapsed());
    assert!(events(&pair.acme, "node.stopped").len() == 1);
    assert!(pair.acme.connections().iter().all(|connection| connection.closed_at.is_some()));
    pair.acme.start();
    let arrived = pair.wait_for_files(samples.len());
    assert!(
        arrived == samples,
        "other files arrived: {:?}",
        arrived.iter().map(|(name, _)| name).collect::<Vec<_>>()
    );
    assert_eq!(pair.acme.wait_for("completed", samples.len(), PATIENCE).len(), samples.len());
    assert_eq!(pair.acme.json(&["audit", "verify"])["holds"], true);
}
