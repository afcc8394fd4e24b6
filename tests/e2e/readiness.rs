//! A node that cannot take in work says so and why: in `/readyz`, or by not starting.

use std::fs;
use std::net::TcpListener;
use suites::pair::{PATIENCE, Pair, Terms, events};
use suites::{GatewayBuilder, Server, eventually, run};

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
    // The address is free again: it is bound without anybody's doing, and partners are answered.
    drop(taken);
    pair.globex.wait_until_ready();
    assert_eq!(events(&pair.globex, "listener.failed").len(), 1);
    assert_eq!(events(&pair.globex, "listener.recovered").len(), 1);
    let metrics = pair.globex.metrics();
    assert!(metrics.contains("waybill_listener_accepted_total{listener=\"partners\""), "{metrics}");
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
    assert!(
        out.contains("globex.toml:") && out.contains("waybill.toml has no [listen.http.partners]"),
        "{out} {error}"
    );
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
    gateway.wait_until_not_ready("staging: could not find the staging directory");
    fs::rename(&away, &staging).unwrap();
    gateway.wait_until_ready();
    database.command("pause", &[]);
    gateway.wait_until_not_ready("lease: ");
    database.command("resume", &[]);
    gateway.wait_until_ready();
}

#[test]
fn nothing_begins_without_the_staging_disk_that_holds_what_is_on_record() {
    let place = tempfile::tempdir().unwrap();
    for name in ["in", "out"] {
        fs::create_dir(place.path().join(name)).unwrap();
    }
    let mut gateway = GatewayBuilder::new(place.path(), "node").build();
    let document = format!(
        "[endpoint.in]\ntransport = \"file\"\nurl = \"file://{root}/in\"\n\
         [endpoint.out]\ntransport = \"file\"\nurl = \"file://{root}/out\"\n\
         [flow.f]\nsource = {{ endpoint = \"in\", every = \"1s\", stable_for = \"0s\", after = \"delete\", \
         error_directory = \"{root}/bad\" }}\n[[flow.f.destination]]\nendpoint = \"out\"\n",
        root = place.path().display()
    );
    gateway.define("flow.toml", &document);
    fs::write(place.path().join("in/order.edi"), "an order").unwrap();
    gateway.start();
    gateway.wait_for("completed", 1, PATIENCE);
    assert!(gateway.stop().success());

    let (staging, away) = (gateway.directory().join("state/staging"), gateway.directory().join("away"));
    fs::rename(&staging, &away).unwrap();
    // A second try finds what the first one found: nothing was made in the meantime.
    for _ in 0..2 {
        gateway.spawn();
        let status = eventually("the gateway has ended", PATIENCE, || gateway.ended());
        assert_eq!(status.code(), Some(1));
        assert!(gateway.log().contains("mount the staging disk"), "{}", gateway.log());
        assert!(!staging.exists());
    }
    // A test of an endpoint makes none either.
    let config = gateway.config();
    let (status, _, error) = run(&["--config", config.to_str().unwrap(), "endpoint", "test", "out"]);
    assert!(!status.success() && error.contains("mount the staging disk"), "{error}");
    // Truly lost: the person says so by making the directory.
    fs::create_dir_all(staging.join("payloads")).unwrap();
    gateway.start();
}
