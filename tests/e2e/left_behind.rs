//! A gateway under test does not outlive the test, also when the test is killed.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use suites::{GatewayBuilder, eventually};

/// In the test that is to be killed: where it works.
const PLACE: &str = "WAYBILL_LEFT_BEHIND_IN";

/// Whether a process runs: neither gone nor waiting to be collected.
fn runs(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[test]
fn a_gateway_ends_with_a_test_that_is_killed() {
    if let Some(place) = std::env::var_os(PLACE) {
        let place = Path::new(&place);
        let mut gateway = GatewayBuilder::new(place, "node").build();
        gateway.define("none.toml", "");
        gateway.start();
        fs::write(place.join("pid.new"), gateway.pid().to_string()).unwrap();
        fs::rename(place.join("pid.new"), place.join("pid")).unwrap();
        std::thread::sleep(Duration::from_secs(300));
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let mut test = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "left_behind::a_gateway_ends_with_a_test_that_is_killed", "--nocapture"])
        .env(PLACE, place.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = eventually("the other test's gateway is up", Duration::from_secs(90), || {
        assert!(test.try_wait().unwrap().is_none(), "the other test ended");
        fs::read_to_string(place.path().join("pid")).ok()
    });
    assert!(runs(&pid));
    test.kill().unwrap();
    test.wait().unwrap();
    eventually("its gateway has ended", Duration::from_secs(60), || (!runs(&pid)).then_some(()));
}
