//! `/readyz`: a node that cannot take in work says so, and why.

use crate::pair::{Pair, Terms, events};
use std::fs;
use std::net::TcpListener;
use suites::{GatewayBuilder, Server, run};

#[test]
fn a_listener_that_is_down_is_said_and_on_record() {
    let mut pair = Pair::new(&Terms::default());
    let taken = TcpListener::bind(("127.0.0.1", pair.globex.http)).unwrap();
    pair.globex.spawn();
    pair.globex.wait_until_not_ready("listener as2 is down");
    let event = &events(&pair.globex, "listener.failed")[0];
    assert_eq!(
        (&event["severity"], &event["detail"]["listener"]),
        (&"error".into(), &"as2".into()),
        "{event}"
    );
    assert!(event["detail"]["error"].as_str().unwrap().contains(&pair.globex.http.to_string()), "{event}");
    // The address is free again: the next start is a whole one.
    drop(taken);
    assert!(pair.globex.stop().success());
    pair.globex.start();
    assert_eq!(events(&pair.globex, "listener.failed").len(), 1);
}

#[test]
fn receiving_without_an_address_to_listen_on_is_refused() {
    let pair = Pair::new(&Terms::default());
    let config = pair.globex.config();
    let text = fs::read_to_string(&config).unwrap();
    let without: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.starts_with("[listen.http")
                && !line.contains(&format!("\"127.0.0.1:{}\"", pair.globex.http))
        })
        .collect();
    fs::write(&config, without.join("\n")).unwrap();
    let definitions = pair.globex.directory().join("definitions");
    let (status, out, error) = run(&[
        "--config",
        config.to_str().unwrap(),
        "validate",
        "--definitions",
        definitions.to_str().unwrap(),
    ]);
    assert_eq!(status.code(), Some(2), "{out} {error}");
    assert!(out.contains("globex.toml:") && out.contains("[listen.http.NAME]"), "{out} {error}");
}

#[test]
fn staging_that_is_gone_and_a_lease_that_is_lost_are_said() {
    let database = Server::start("postgres", &[]);
    let url = database.command("database", &["readiness"]);
    let place = tempfile::tempdir().unwrap();
    let mut gateway = GatewayBuilder::new(place.path(), "node").database(Some(&url)).build();
    gateway.define("none.toml", "");
    gateway.start();
    let (staging, away) = (gateway.directory().join("state/staging"), gateway.directory().join("away"));
    fs::rename(&staging, &away).unwrap();
    gateway.wait_until_not_ready("staging: could not find staging");
    fs::rename(&away, &staging).unwrap();
    gateway.wait_until_ready();
    database.command("pause", &[]);
    gateway.wait_until_not_ready("lease: ");
    database.command("resume", &[]);
    gateway.wait_until_ready();
}
