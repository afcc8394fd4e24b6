//! A gateway that receives a message which was made before: from the first byte of the request to the end of the signed
//! receipt, which follows when the payload is durable.

use super::material::Material;
use super::wire::{Replay, connect, receipt};
use crate::measure::{Used, Work};
use std::fs;
use std::io::BufReader;
use suites::GatewayBuilder;

/// The message that `as2 pack` left, by a gateway of its own.
pub(super) fn receive(material: &Material) -> Used {
    let warehouse = material.empty("warehouse");
    let mut gateway = GatewayBuilder::new(material.root(), "globex").build();
    gateway.define("globex.toml", &material.of_globex(&warehouse));
    gateway.start();
    let mut replay = Replay::open(&material.message());
    let mut stream = connect(gateway.http);
    let work = Work::begin(gateway.pid());
    if let Err(error) = replay.send(&mut stream, "<replayed@bench>") {
        panic!("the message was not taken: {error}\n{}", gateway.log());
    }
    receipt(&mut BufReader::new(&stream));
    let used = work.end();
    drop(gateway);
    fs::remove_dir_all(material.root().join("globex")).unwrap();
    used
}
