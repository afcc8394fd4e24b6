//! What a person does beside a gateway: test an endpoint, send a failed transfer again, stop and start.

use crate::pair::{PATIENCE, Pair, Terms, events, files_in, put, random};
use serde_json::Value;
use std::time::{Duration, Instant};
use suites::{eventually, run};

/// Tests an endpoint of Acme's definitions: exit code and the steps.
fn endpoint_test(pair: &Pair, name: &str) -> (i32, Vec<Value>) {
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
    // One value a step.
    let steps = serde_json::Deserializer::from_str(&out).into_iter();
    let steps = steps.map(|step| step.unwrap_or_else(|e| panic!("{e}: {out} {error}")));
    (status.code().unwrap(), steps.collect())
}

#[test]
fn testing_an_endpoint_shows_each_step_and_the_one_that_fails() {
    let mut pair = Pair::new(&Terms::default());
    let (code, steps) = endpoint_test(&pair, "acme-folder");
    assert_eq!(code, 0, "{steps:?}");
    assert!(steps.len() >= 2 && steps.iter().all(|step| step["passed"] == true), "{steps:?}");
    let words = format!("{steps:?}");
    assert!(words.contains(pair.sshd.text("fingerprint")), "the host key is not shown: {words}");

    // The partner is away, then there.
    let (code, steps) = endpoint_test(&pair, "globex-as2");
    assert_eq!(code, 2, "{steps:?}");
    assert!(steps.iter().any(|step| step["passed"] == false), "{steps:?}");
    pair.globex.start();
    let (code, steps) = endpoint_test(&pair, "globex-as2");
    assert_eq!(code, 0, "{steps:?}");

    pair.sshd.command("kill", &[]);
    let (code, steps) = endpoint_test(&pair, "acme-folder");
    assert_eq!(code, 2, "{steps:?}");
    assert_eq!(steps.iter().filter(|step| step["passed"] == false).count(), 1, "{steps:?}");
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
    assert!(!status.success() || out.contains("0 deliveries"), "{out} {error}");
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
