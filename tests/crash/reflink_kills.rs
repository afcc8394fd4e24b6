//! Files on a file system whose files share blocks (xfs), staged without copying, and the gateway killed at each step of it: each
//! file arrives once and whole, and its bytes were not written for staging.

use crate::kills::{flow, gateway};
use crate::traffic::Route;
use crate::victim::{Death, start_and_die, tail};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Command;
use std::time::Duration;
use testkit::clock::SeededRandom;
use testkit::xfs::{Xfs, is_inside, is_shared};

const DEATHS: [&str; 5] = ["stage.begin", "stage.copied", "stage.committed", "record.before", "record.after"];

#[test]
fn kills_where_staging_shares_blocks() {
    if !is_inside("reflink_kills::kills_where_staging_shares_blocks") {
        return;
    }
    let xfs = Xfs::new(600);
    let root = xfs.path();
    let route = Route::make(&root, "sharing", 0, 0);
    let mut gateway = gateway(&root, None, &[]);
    gateway.define("sharing.toml", &flow(&route, "").replace("after = \"delete\"", "after = \"keep\""));
    let mut put = BTreeMap::new();
    for (number, point) in DEATHS.into_iter().enumerate() {
        let (name, content) =
            (format!("{number}.edi"), SeededRandom::new(number as u64).bytes((1 << 20) + number));
        fs::write(root.join(&name), &content).unwrap();
        fs::rename(root.join(&name), route.into.join(&name)).unwrap();
        put.insert(name, content);
        assert!(
            start_and_die(&mut gateway, Death::At(point, 1)),
            "never came to {point}\n{}",
            tail(&gateway)
        );
    }
    gateway.start();
    let done = gateway.wait_for("completed", put.len(), Duration::from_secs(60));
    assert_eq!(done.len(), put.len(), "{}", tail(&gateway));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    assert_eq!(fs::read_dir(&route.out).unwrap().count(), put.len());
    for (name, content) in &put {
        assert!(fs::read(route.out.join(name)).unwrap() == *content, "{name}");
        assert!(is_shared(&route.into.join(name)), "{name} was copied");
    }
}

#[test]
fn a_file_that_a_nearly_full_file_system_could_not_hold_twice_is_staged() {
    if !is_inside("reflink_kills::a_file_that_a_nearly_full_file_system_could_not_hold_twice_is_staged") {
        return;
    }
    let xfs = Xfs::new(600);
    let mounted = xfs.path();
    let root = mounted.parent().unwrap().to_owned();
    let route = Route { out: root.join("out"), ..Route::make(&mounted, "sharing", 0, 0) };
    fs::create_dir(&route.out).unwrap();
    let large = route.into.join("large.edi");
    let mut file = fs::File::create(&large).unwrap();
    for number in 0..330 {
        file.write_all(&SeededRandom::new(number).bytes(1 << 10).repeat(1 << 10)).unwrap();
    }
    file.sync_all().unwrap();
    // With it goes the room that is reserved for an open file behind its end.
    drop(file);
    let free = Command::new("stat").args(["-f", "-c", "%a"]).arg(&mounted).output().unwrap();
    let free: u64 = String::from_utf8(free.stdout).unwrap().trim().parse().unwrap();
    assert!(free * 4096 < 320 << 20, "the file system could hold a copy");
    let mut gateway = gateway(&root, None, &[]);
    gateway.set_variable("WAYBILL__STAGING__DIRECTORY", Some(mounted.join("staging").to_str().unwrap()));
    gateway.define("sharing.toml", &flow(&route, "").replace("after = \"delete\"", "after = \"keep\""));
    gateway.start();
    gateway.wait_for("completed", 1, Duration::from_secs(60));
    assert!(gateway.stop().success(), "{}", tail(&gateway));
    assert!(is_shared(&large), "it was copied");
    let same = Command::new("cmp").arg(&large).arg(route.out.join("large.edi")).status().unwrap();
    assert!(same.success());
}
