//! Messages that are cut go on with the same bytes, however they are protected and whatever they hold.

use super::{TERMS, arrived, number, of_kind, taken};
use crate::hub::{Hub, random, received, tell};
use crate::pgp::{self, Gpg};
use crate::receiving::make_ec_pair;
use serde_json::{Value, json};
use std::fs;
use suites::Server;

/// A partner that can restart, which closes connections at these bytes, and a gateway for it.
fn cutting() -> (Server, Hub) {
    let peer = Server::start("restart_peer", &[]);
    let hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate, "cut_at": [1, 70_000, 250_001] }));
    (peer, hub)
}

/// That the message with this file went on, and nothing of it was sent twice.
fn went_on(peer: &Server, hub: &Hub, file: &str, what: &str) {
    let way = hub.ended(file);
    assert_eq!(way["state"], "completed", "{what}: {way}\n{:?}", received(peer));
    let messages = of_kind(peer, "message");
    assert_eq!(messages.len(), 1, "{what}: {messages:?}");
    let posts = of_kind(peer, "post");
    assert!(posts.len() > 3, "{what}: {posts:?}");
    assert_eq!(taken(&posts), number(&messages[0]["length"]), "{what}: {posts:?}");
}

#[test]
fn every_way_of_protecting_a_message_goes_on_with_the_same_bytes() {
    for (agreement, has_ec_key) in [
        ("send.rsa_signature = \"pss\"", false),
        ("send.security = \"signed\"", false),
        ("send.security = \"encrypted\"", false),
        ("send.security = \"none\"", false),
        ("send.compress = \"before_signing\"", false),
        ("send.compress = \"after_signing\"", false),
        ("send.cipher = \"aes256-gcm\"", false),
        ("send.order = \"encrypt_then_sign\"", false),
        ("send.signature_form = \"opaque\"", false),
        ("send.signature_form = \"opaque\"\nsend.order = \"encrypt_then_sign\"", true),
        // The length of its signature differs from one time to the next.
        ("send.security = \"signed\"", true),
    ] {
        let (peer, mut hub) = cutting();
        if has_ec_key {
            make_ec_pair(&hub.own);
        }
        hub.define(peer.text("url"), &format!("{TERMS}{agreement}"));
        hub.gateway.start();
        let bytes = random(400_000);
        hub.put("order.bin", &bytes);
        let what = format!("{agreement}, EC key: {has_ec_key}");
        went_on(&peer, &hub, "order.bin", &what);
        arrived(&peer, &bytes, &what);
    }
}

#[test]
fn a_message_by_pgp_mime_goes_on_with_the_same_bytes() {
    let gpg = Gpg::new();
    for name in ["waybill", "peer"] {
        gpg.generate(&format!("<{name}@waybill.example>"), "ed25519", "cv25519");
    }
    for protection in ["send.security = \"signed\"", "send.security = \"signed_encrypted\""] {
        let (peer, mut hub) = cutting();
        tell(&peer, &json!({ "gpg_home": gpg.path("") }));
        for (user, name) in [("waybill", "WAYBILL"), ("peer", "PEER")] {
            gpg.export(&format!("<{user}@waybill.example>"), &hub.root.path().join("keys"), name);
        }
        // The peer signs no receipts by OpenPGP.
        let terms = format!("{TERMS}send.packaging = \"pgp\"\nmdn.ask = \"unsigned\"\n{protection}");
        pgp::define(&hub, "WAYBILL", "PEER", peer.text("url"), &terms);
        hub.gateway.start();
        let bytes = random(400_000);
        hub.put("order.bin", &bytes);
        went_on(&peer, &hub, "order.bin", protection);
        arrived(&peer, &bytes, protection);
    }
}

#[test]
fn a_message_with_several_files_goes_on_with_the_same_bytes() {
    let (peer, mut hub) = cutting();
    hub.define(peer.text("url"), TERMS);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let mut text = fs::read_to_string(&document).unwrap();
    for (part, instead) in [
        ("[flow.outgoing]\n", "[flow.outgoing]\ntogether = true\n"),
        (
            "endpoint = \"out\", mask = \"*\"",
            "endpoint = \"out\", mask = \"*.xml\", attached_files = [\"{stem}.pdf\"]",
        ),
    ] {
        assert!(text.contains(part), "{part}");
        text = text.replace(part, instead);
    }
    hub.gateway.define("hub.toml", &text);
    hub.gateway.start();
    let (order, drawing) = (random(150_000), random(250_000));
    hub.put("order.pdf", &drawing);
    hub.put("order.xml", &order);
    went_on(&peer, &hub, "order.xml", "several files");
    let messages = of_kind(&peer, "message");
    let payload = fs::read(payload(&messages[0])).unwrap();
    for (name, bytes) in [("order.xml", &order), ("order.pdf", &drawing)] {
        let has = |part: &[u8]| payload.windows(part.len()).any(|window| window == part);
        assert!(has(bytes) && has(name.as_bytes()), "{name} is not in it");
    }
}

/// The file with what a message held.
fn payload(message: &Value) -> &str {
    message["payload"].as_str().unwrap_or_else(|| panic!("no payload: {message}"))
}
