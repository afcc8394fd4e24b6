//! A gateway that sends the payload to a sink: from the first byte of the request to the last of its body.

use super::material::{Cipher, Material};
use super::wire::Sink;
use crate::measure::{Used, Work};
use std::fs;
use std::path::Path;
use suites::GatewayBuilder;

/// One message, by a gateway of its own.
pub(super) fn send(material: &Material, cipher: Cipher) -> Used {
    let folder = material.empty("folder");
    fs::hard_link(material.payload(), folder.join("payload.bin")).unwrap();
    let sink = Sink::open();
    let mut gateway = GatewayBuilder::new(material.root(), "acme").build();
    gateway.define("acme.toml", &document(material, cipher, &folder, sink.port));
    // Not waited for until it is ready: it may send before. By then the payload is in staging, and synced.
    gateway.spawn();
    assert!(sink.wait(), "no message came:\n{}", gateway.log());
    let work = Work::begin(gateway.pid());
    assert!(sink.wait(), "the message was not sent:\n{}", gateway.log());
    let used = work.end();
    drop(gateway);
    fs::remove_dir_all(material.root().join("acme")).unwrap();
    used
}

pub(super) fn document(material: &Material, cipher: Cipher, folder: &Path, port: u16) -> String {
    format!(
        r#"{parties}[partner.globex.as2.send]
security = "signed_encrypted"
cipher = "{cipher}"
[partner.globex.as2.mdn]
ask = "none"
[endpoint.folder]
transport = "file"
url = "file://{folder}"
[endpoint.sink]
transport = "as2"
partner = "globex"
identity = "acme"
url = "http://127.0.0.1:{port}/as2"
[flow.orders]
source = {{ endpoint = "folder", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete" }}
[[flow.orders.destination]]
endpoint = "sink"
"#,
        parties = material.of_acme(),
        cipher = cipher.word(),
        folder = folder.display(),
    )
}
