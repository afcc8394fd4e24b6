//! Waybill and asx-rs, in both directions: the rows of the table in docs/as2.md. asx-rs has no options: it sends messages that
//! are signed and encrypted, with SHA-256 and AES-256-CBC, and takes no others.

use crate::hub::{Hub, random, received, tell};
use crate::raw::Message;
use crate::receiving::make_ec_pair;
use crate::sending;
use crate::table::{self, ASX, Direction};
use serde_json::{Value, json};
use std::fs;
use suites::{KeyPair, Server};

#[test]
fn every_form_of_a_message_to_asx_rs_is_taken_or_refused_as_the_table_says() {
    sending::all(&ASX, |one| one.signature != "ecdsa" && one.fails().is_none());
}

#[test]
fn what_asx_rs_cannot_read_fails_with_its_reason() {
    // One that works goes before those that fail.
    sending::all(&ASX, |one| one.fails().is_some() || (one.mdn == "signed" && one.digest == "sha384"));
}

#[test]
fn asx_rs_verifies_what_an_ec_key_signed() {
    sending::all(&ASX, |one| one.signature == "ecdsa");
}

fn start(agreement: &str) -> (Server, Hub) {
    let peer = Server::start(ASX.script, &[]);
    assert_eq!(peer.text("version"), ASX.version);
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let url = hub.url();
    hub.define(peer.text("url"), &agreement.replace("URL", &url));
    hub.gateway.start();
    (peer, hub)
}

#[test]
fn asx_rs_itself_reads_no_cms_in_binary() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "as_it_comes": true }));
    hub.put("order.edi", b"an order\r\n");
    let way = hub.ended("order.edi");
    let attempts = way["deliveries"][0]["attempts"].to_string();
    assert!(way["state"] == "failed" && attempts.contains("insufficient-message-security"), "{way}");
    let seen = received(&peer);
    assert_eq!((&seen[0]["encrypted"], &seen[0]["signed"]), (&json!(true), &json!(true)), "{seen:?}");
}

#[test]
fn asx_rs_answers_at_once_where_a_later_receipt_was_asked_for() {
    let (peer, hub) = start("mdn.reply_to = \"listener:as2\"\nmdn.url = \"URL\"");
    hub.put("order.edi", b"an order\r\n");
    let way = hub.ended("order.edi");
    assert_eq!(way["state"], "completed", "{way}");
    let receipt = &way["deliveries"][0]["receipt"];
    assert_eq!(
        (&receipt["kind"], &receipt["detail"]["mic_matched"]),
        (&json!("mdn"), &json!(true)),
        "{receipt}"
    );
    let seen = received(&peer);
    assert_eq!((seen.len(), &seen[0]["receipt_to"]), (1, &json!(hub.url())), "{seen:?}");
}

#[test]
fn asx_rs_answers_a_repeated_message_by_a_warning_with_the_same_mic() {
    let (peer, hub) = start("");
    hub.put("order.edi", b"an order\r\n");
    assert_eq!(hub.ended("order.edi")["state"], "completed");
    let seen = received(&peer);
    let message = fs::read(seen[0]["raw"].as_str().unwrap()).unwrap();
    let answer = Message::read(&message).with("host", None).post(peer.port()).unwrap();
    assert!(answer.text().contains("processed/warning: duplicate-document"), "{}", answer.text());
    assert_eq!(received(&peer)[1]["mic"], seen[0]["mic"]);
}

/// Posts a file by asx-rs, and gives what it says; the file comes in under the name of its message.
fn send(hub: &Hub, number: usize, bytes: &[u8], more: &[&str]) -> Value {
    let file = hub.root.path().join("payload");
    fs::write(&file, bytes).unwrap();
    let id = format!("{number}@asx");
    let said = hub.send_by(
        ASX.script,
        &hub.url(),
        None,
        file.to_str().unwrap(),
        &[&["--message-id", id.as_str()], more].concat(),
    );
    assert_eq!((&said["error"], &said["http_status"]), (&Value::Null, &json!(200)), "{said}");
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
    for what in ["mdn_signed", "mdn_verified", "mic_matched", "original_message_id_matched"] {
        assert_eq!(said[what], true, "{what}: {said}");
    }
    assert!(hub.wait_for_file(&format!("message-{id}")) == bytes, "message {number} came with other bytes");
    said
}

#[test]
fn every_form_of_a_message_from_asx_rs_is_taken_and_receipted() {
    for signature in ["pkcs1", "ecdsa"] {
        let mut hub = Hub::alone();
        let spare = KeyPair::make(&hub.root.path().join("keys"), "spare");
        if signature == "ecdsa" {
            make_ec_pair(&hub.peer());
        }
        hub.define("http://127.0.0.1:9/as2", "receive.security = \"signed_encrypted\"");
        hub.gateway.start();
        // asx-rs wants an RSA key to decrypt with, also where it only sends.
        let (key, certificate) = (spare.key.to_str().unwrap(), spare.certificate.to_str().unwrap());
        let decrypter = ["--decrypt-key", key, "--decrypt-cert", certificate];
        let rows: Vec<_> =
            table::of(&ASX, Direction::FromIt).filter(|one| one.signature == signature).collect();
        for (number, one) in rows.iter().enumerate() {
            let bytes = if one.binary { random(40_000) } else { b"x\ny\r\n\r\nan order\r\n".repeat(500) };
            let said = send(&hub, number, &bytes, &decrypter);
            assert_eq!(said["mdn_way"], "sync", "{said}");
            let mic = said["evidence"]["mic"]["value"].as_str().unwrap();
            assert_eq!(said["mdn_mic"], format!("{mic}, sha-256"), "{said}");
        }
        assert_eq!((hub.transfers(), hub.events("message.refused").len()), (rows.len(), 0));
    }
}

#[test]
fn asx_rs_gets_its_receipts_later() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "mdn.hosts = [\"127.0.0.1\"]");
    hub.gateway.start();
    let said = send(&hub, 0, &random(20_000), &["--mdn", "async-signed"]);
    assert_eq!(said["mdn_way"], "async", "{said}");
}
