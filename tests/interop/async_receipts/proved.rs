//! Evidence of messages whose receipts come later, and of messages whose receipts go later.

use super::sent;
use super::{asking_at, defined, until_awaited};
use crate::evidence::{outcomes, save, unpacked, verify};
use crate::hub::{random, tell};
use serde_json::json;
use std::fs;

#[test]
fn evidence_comes_with_the_receipt_and_is_whole_in_every_form() {
    let (peer, mut hub) = defined("");
    let url = format!("http://127.0.0.1:{}/as2", hub.gateway.http);
    for (when, name, agreed) in [
        ("after", "plain", ""),
        ("before", "early", ""),
        ("before", "unprotected", "send.security = \"none\""),
        ("after", "salted", "send.rsa_signature = \"pss\""),
        ("before", "inside", "send.rsa_signature = \"pss\"\nsend.compress = \"before_signing\""),
    ] {
        hub.define(peer.text("url"), &asking_at(&url, agreed));
        hub.gateway.start();
        tell(&peer, &json!({ "async": when }));
        let (file, bytes) = (format!("{name}.bin"), [random(20_000), vec![b'a'; 50_000]].concat());
        hub.put(&file, &bytes);
        let way = hub.ended(&file);
        assert_eq!(way["state"], "completed", "{name}: {way}");
        assert_eq!(way["evidence"].as_array().unwrap().len(), 1, "{name}: {way}");
        assert!(hub.events("evidence.recorded").is_empty(), "{name}: it came with the receipt");
        assert!(hub.gateway.stop().success());
        let package = save(&hub, way["id"].as_str().unwrap(), &format!("{name}.zip"));
        let seal_key = hub.gateway.directory().join("state/seal.key.pub");
        let (code, said) = verify(&package, &["--trust", seal_key.to_str().unwrap()]);
        assert_eq!(code, 0, "{name}: {said}");
        for check in ["content", "MIC", "receipt", "Original-Message-ID"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{name}, {check}: {said}");
        }
        // pyas2lib names no MIC of a message that is not signed.
        let outcome = if agreed.contains("security") { "open" } else { "holds" };
        for check in ["signature", "Received-content-MIC"] {
            assert_eq!(outcomes(&said, check), [outcome], "{name}, {check}: {said}");
        }
        assert_eq!(outcomes(&said, "evidence in the audit trail"), ["holds"], "{name}: {said}");
    }
}

#[test]
fn a_message_that_waits_for_its_receipt_has_no_evidence_yet() {
    let (peer, mut hub) = defined("mdn.deadline = \"1h\"");
    tell(&peer, &json!({ "async": "never" }));
    hub.gateway.start();
    hub.put("order.bin", &random(2_000));
    let id = until_awaited(&hub, "order.bin");
    let way = hub.gateway.json(&["transfer", "show", &id]);
    assert_eq!(way["evidence"].as_array().map_or(0, Vec::len), 0, "{way}");
}

#[test]
fn evidence_of_a_received_message_tells_of_the_receipt_that_went_later() {
    let mut hub = sent::start("http://127.0.0.1:9/as2", "");
    sent::is_proved(&sent::send(&hub, "order.bin", &random(20_000), &["--mdn", "async-signed"]));
    let receipt = sent::receipts(&hub, 1, "completed").remove(0);
    let way = hub.ended("order.bin");
    assert!(hub.gateway.stop().success());
    let package = save(&hub, way["id"].as_str().unwrap(), "received.zip");
    let seal_key = hub.gateway.directory().join("state/seal.key.pub");
    let (code, said) = verify(&package, &["--trust", seal_key.to_str().unwrap()]);
    assert_eq!(code, 0, "{said}");
    for check in ["content", "signature", "MIC", "receipt", "disposition", "Received-content-MIC", "transfer"]
    {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
    }
    // The events of both: the message was recorded, and its receipt was taken.
    let directory = unpacked(&hub, &package);
    let events = fs::read_to_string(directory.join("audit/events.jsonl")).unwrap();
    let of_receipt = |line: &&str| line.contains(receipt["id"].as_str().unwrap());
    assert!(events.lines().filter(of_receipt).any(|line| line.contains("delivery.delivered")), "{events}");
}
