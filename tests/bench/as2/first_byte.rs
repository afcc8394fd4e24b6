//! How long a message of many gibibytes takes until its first byte leaves: from the start of its first attempt, as the
//! waybill tells it, to the first byte of the body at a sink.

use super::material::{Cipher, Material};
use super::sending::document;
use super::wire::FirstByte;
use crate::long::sparse;
use std::fs;
use suites::{Gateway, GatewayBuilder};

/// Prints a line for each cipher.
pub(super) fn run(material: &Material, gib: u64) {
    println!("\n| the first byte of {gib} GiB | recorded → attempt | attempt → first byte at the sink |");
    println!("|---|---|---|");
    let payload = material.root().join("long.bin");
    sparse(&payload, gib << 30);
    for cipher in Cipher::ALL {
        let [waited, made] = seconds(material, cipher);
        println!("| signed and encrypted, {cipher} | {waited:.3} s | {made:.3} s |");
    }
    fs::remove_file(payload).unwrap();
}

/// Seconds before the first attempt, and from its start to the first byte.
fn seconds(material: &Material, cipher: Cipher) -> [f64; 2] {
    let folder = material.empty("folder");
    fs::hard_link(material.root().join("long.bin"), folder.join("long.bin")).unwrap();
    let sink = FirstByte::open();
    let mut gateway = GatewayBuilder::new(material.root(), "acme").build();
    gateway.define("acme.toml", &document(material, cipher, &folder, sink.port));
    gateway.spawn();
    let Some(came) = sink.wait() else { panic!("no message came:\n{}", gateway.log()) };
    let [recorded, started] = recorded_and_started(&gateway);
    drop(gateway);
    fs::remove_dir_all(material.root().join("acme")).unwrap();
    [started - recorded, came - started]
}

/// When the file was recorded, and when its first attempt began, in seconds since 1970.
fn recorded_and_started(gateway: &Gateway) -> [f64; 2] {
    let listed = gateway.json(&["transfer", "list", "--file", "long.bin"]);
    let shown = gateway.json(&["transfer", "show", listed[0]["id"].as_str().unwrap()]);
    let attempt = &shown["deliveries"][0]["attempts"][0];
    assert_eq!(attempt["number"], 1, "{shown}");
    [&shown["recorded"], &attempt["started"]].map(|at| {
        let at: model::Timestamp = at.as_str().unwrap().parse().unwrap();
        at.timestamp_micros() as f64 / 1e6
    })
}
