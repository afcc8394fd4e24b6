//! An endpoint with two addresses in a running gateway: a directory that is there, and one that is not.

use std::fs;
use std::time::Duration;
use suites::{GatewayBuilder, eventually, fresh_database};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_delivery_goes_to_the_address_that_takes_it_on_sqlite() {
    a_delivery_goes_to_the_address_that_takes_it(None);
}

#[test]
fn a_delivery_goes_to_the_address_that_takes_it_on_postgres() {
    a_delivery_goes_to_the_address_that_takes_it(Some(&fresh_database("addresses")));
}

fn a_delivery_goes_to_the_address_that_takes_it(database: Option<&str>) {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().display();
    for directory in ["in", "standby"] {
        fs::create_dir(root.path().join(directory)).unwrap();
    }
    for n in 0..3 {
        fs::write(root.path().join(format!("in/{n}.edi")), n.to_string()).unwrap();
    }
    let mut gateway = GatewayBuilder::new(root.path(), "n1").database(database).build();
    let text = format!(
        "[endpoint.in]\ntransport = \"file\"\nurl = \"file://{at}/in\"\n\
         [endpoint.out]\ntransport = \"file\"\nurl = [\"file://{at}/main\", \"file://{at}/standby\"]\n\
         balance = \"failover\"\n\
         [flow.f]\nsource = {{ endpoint = \"in\", stable_for = \"0s\", every = \"1s\", after = \"delete\" }}\n\
         destination = {{ endpoint = \"out\" }}\n"
    );
    gateway.define("flows.toml", &text);
    gateway.start();
    let there = |directory: &str, count: usize| {
        let entries = fs::read_dir(root.path().join(directory)).unwrap();
        let whole = entries.flatten().filter(|entry| entry.path().extension().is_some_and(|e| e == "edi"));
        (whole.count() == count).then_some(())
    };
    eventually(&format!("the standby takes them\n{}", gateway.log()), PATIENCE, || there("standby", 3));
    gateway.wait_for("completed", 3, PATIENCE);
    // The first address is used again as soon as it is there.
    fs::create_dir(root.path().join("main")).unwrap();
    fs::write(root.path().join("in/9.edi"), "9").unwrap();
    eventually(&format!("the first takes it\n{}", gateway.log()), PATIENCE, || there("main", 1));
    let shown = gateway.wait_for("completed", 4, PATIENCE);
    assert_eq!(shown.len(), 4);
    let tested = gateway.json(&["endpoint", "test", "out"]);
    let addresses: Vec<_> =
        tested["steps"].as_array().unwrap().iter().filter_map(|step| step["address"].as_str()).collect();
    assert!(
        addresses.iter().any(|a| a.ends_with("/main")) && addresses.iter().any(|a| a.ends_with("/standby"))
    );
}
