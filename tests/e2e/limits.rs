//! Limits of endpoints in a running gateway, changed while it works.

use std::fs;
use std::time::{Duration, Instant};
use suites::{Gateway, GatewayBuilder, eventually};

const PATIENCE: Duration = Duration::from_secs(60);
/// At 16 KiB/s it is delivered in more than twelve seconds.
const BYTES: usize = 200 << 10;

#[test]
fn a_bandwidth_that_a_revision_changes_holds_for_a_running_transfer() {
    let root = tempfile::tempdir().unwrap();
    let at = root.path().display();
    let mut gateway = GatewayBuilder::new(root.path(), "n1").build();
    let define = |gateway: &Gateway, bandwidth: &str| {
        let text = format!(
            "[worker_pool.slow]\nsize = 1\n\
             [endpoint.in]\ntransport = \"file\"\nurl = \"file://{at}/in\"\n\
             [endpoint.out]\ntransport = \"file\"\nurl = \"file://{at}/out\"\npool = \"slow\"\n\
             throttle = {{ bandwidth = \"1GiB/s\", time_zone = \"Europe/Berlin\", between = [ \
             {{ from = \"00:00\", to = \"24:00\", bandwidth = \"{bandwidth}\" }}] }}\n\
             [flow.f]\nsource = {{ endpoint = \"in\", stable_for = \"0s\", every = \"1s\", after = \"delete\" }}\n\
             destination = {{ endpoint = \"out\" }}\n"
        );
        gateway.define("flows.toml", &text);
    };
    fs::create_dir(root.path().join("in")).unwrap();
    fs::create_dir(root.path().join("out")).unwrap();
    fs::write(root.path().join("in/a.edi"), vec![7; BYTES]).unwrap();
    define(&gateway, "16KiB/s");
    gateway.start();
    let begun = Instant::now();
    let partial = || fs::read_dir(root.path().join("out")).unwrap().flatten().next();
    eventually("the delivery begins", PATIENCE, || partial().map(|_| ()));
    assert!(!root.path().join("out/a.edi").exists());
    define(&gateway, "100MiB/s");
    gateway.signal("HUP");
    let arrived = || fs::metadata(root.path().join("out/a.edi")).is_ok_and(|file| file.len() == BYTES as u64);
    eventually(&format!("it arrives\n{}", gateway.log()), PATIENCE, || arrived().then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(12), "{:?}", begun.elapsed());
}
