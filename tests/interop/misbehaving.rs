//! A partner that answers wrongly, or not at all.

use crate::hub::{Hub, received, sha256, start_peer, tell};
use serde_json::{Value, json};
use std::fs;
use suites::Server;

/// Sends one file to a peer that was told something, and gives the transfer's whole way.
fn way_to(peer: &Server, hub: &Hub, name: &str, behaviour: &Value) -> Value {
    tell(peer, behaviour);
    hub.put(name, name.repeat(1000).as_bytes());
    hub.ended(name)
}

fn start() -> (Server, Hub) {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "");
    hub.gateway.start();
    (peer, hub)
}

fn attempts(way: &Value) -> Vec<String> {
    let attempts = way["deliveries"][0]["attempts"].as_array().unwrap();
    attempts.iter().map(|attempt| attempt["outcome"].as_str().unwrap().to_owned()).collect()
}

fn failed_for_good(way: &Value) -> String {
    assert_eq!(way["state"], "failed", "{way}");
    assert_eq!(attempts(way).len(), 1, "tried again: {way}");
    way["deliveries"][0]["attempts"][0]["error"].as_str().unwrap().to_owned()
}

#[test]
fn receipts_that_do_not_prove_delivery_are_failures_with_their_cause() {
    let (peer, hub) = start();

    let error = failed_for_good(&way_to(&peer, &hub, "mic.bin", &json!({ "mic": "wrong", "times": 1 })));
    let ours = received(&peer)[0]["mic"].as_str().unwrap().to_owned();
    let digest = openssl::base64::encode_block(&openssl::sha::sha256(b"another"));
    assert!(error.contains(&ours) && error.contains(&digest), "both MICs should be named: {error}");
    let content = openssl::base64::encode_block(&openssl::sha::sha256("mic.bin".repeat(1000).as_bytes()));
    assert!(error.contains(&format!("content without headers, exact bytes {content}")), "{error}");
    assert!(error.contains(&format!("entity with headers, exact bytes {ours}")), "{error}");

    let error =
        failed_for_good(&way_to(&peer, &hub, "missing.bin", &json!({ "mic": "missing", "times": 1 })));
    assert!(error.contains(received(&peer)[1]["mic"].as_str().unwrap()), "{error}");

    let error =
        failed_for_good(&way_to(&peer, &hub, "unsigned.bin", &json!({ "mdn": "unsigned", "times": 1 })));
    assert!(error.contains("unsigned receipt"), "{error}");

    let told = json!({ "original_message_id": "another@message", "times": 1 });
    let error = failed_for_good(&way_to(&peer, &hub, "other.bin", &told));
    assert!(error.contains("another message") && error.contains("another@message"), "{error}");

    let told = json!({ "disposition": "processed/error: unexpected words of theirs", "times": 1 });
    let error = failed_for_good(&way_to(&peer, &hub, "words.bin", &told));
    assert!(error.contains("unexpected words of theirs"), "{error}");

    let way = way_to(&peer, &hub, "fine.bin", &json!({ "reset": true }));
    assert_eq!(way["state"], "completed", "{way}");
    // Last, for an endpoint whose other side cannot read us is left alone for a while.
    let told = json!({ "disposition": "processed/error: decryption-failed", "times": 1 });
    let error = failed_for_good(&way_to(&peer, &hub, "refused.bin", &told));
    assert!(error.contains("decryption-failed"), "{error}");
    let events = hub.events("delivery.failed");
    assert_eq!(events.len(), 6, "{events:?}");
}

#[test]
fn an_unprotected_message_is_proved_by_a_mic_with_or_without_its_headers() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "send.security = \"none\"");
    hub.gateway.start();
    let way = way_to(&peer, &hub, "plain.bin", &json!({ "mic": "with_headers", "times": 1 }));
    assert_eq!(way["state"], "completed", "{way}");
    let detail = &way["deliveries"][0]["receipt"]["detail"];
    assert_eq!(detail["mic_rule"], "entity with headers, exact bytes", "{detail}");
    assert_eq!(detail["mic_matched"], true, "{detail}");
    // pyas2lib's own receipt for it has none.
    let way = way_to(&peer, &hub, "bare.bin", &json!({}));
    assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], false, "{way}");
}

#[test]
fn an_answer_without_a_readable_receipt_is_none_and_the_message_goes_out_again() {
    let (peer, hub) = start();
    for mdn in ["none", "page", "cut"] {
        let before = received(&peer).len();
        let way = way_to(&peer, &hub, &format!("{mdn}.bin"), &json!({ "mdn": mdn, "times": 1 }));
        assert_eq!(way["state"], "completed", "{way}");
        assert_eq!(attempts(&way).len(), 2, "{way}");
        let seen = &received(&peer)[before..];
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert_eq!(seen[0]["message_id"], seen[1]["message_id"]);
        assert_identical(seen);
        // The partner had it: the second time it gives the receipt that did not arrive.
        assert!(mdn == "none" || seen[1]["answer"] == "stored mdn", "{}", seen[1]);
    }
    let events = hub.events("delivery.retrying");
    assert!(events.iter().all(|event| event.to_string().contains("ambiguous")), "{events:?}");
}

#[test]
fn after_two_server_errors_the_third_attempt_delivers_identical_bytes() {
    let (peer, hub) = start();
    let way = way_to(&peer, &hub, "errors.bin", &json!({ "status": 500, "times": 2 }));
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(attempts(&way).len(), 3, "{way}");
    assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{way}");
    let seen = received(&peer);
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_identical(&seen);
    assert_eq!(seen[2]["sha256"], sha256("errors.bin".repeat(1000).as_bytes()));
}

#[test]
fn identical_bytes_also_when_the_gateway_was_started_anew_between_attempts() {
    let (peer, mut hub) = start();
    tell(&peer, &json!({ "status": 503, "times": 2 }));
    hub.put("restarted.bin", &[7; 100_000]);
    suites::eventually("a first attempt", crate::hub::PATIENCE, || {
        (!received(&peer).is_empty()).then_some(())
    });
    hub.gateway.stop();
    hub.gateway.start();
    let way = hub.ended("restarted.bin");
    assert_eq!(way["state"], "completed", "{way}");
    assert_identical(&received(&peer));
}

#[test]
fn what_is_agreed_anew_is_for_new_messages_and_not_for_one_that_the_partner_may_have() {
    let (peer, mut hub) = start();
    let anew = "send.security = \"signed\"\nsend.digest = \"sha512\"\nsend.subject = \"Order {name}\"\n\
                send.from = \"edi@acme.example\"\nsend.date = false\nsend.features = true";
    tell(&peer, &json!({ "drop": "after_read", "times": 1 }));
    hub.put("before.bin", &[7; 100_000]);
    suites::eventually("a first attempt", crate::hub::PATIENCE, || {
        (!hub.events("delivery.retrying").is_empty()).then_some(())
    });
    hub.gateway.stop();
    hub.define(peer.text("url"), anew);
    hub.gateway.start();
    let way = hub.ended("before.bin");
    assert_eq!(way["state"], "completed", "{way}");
    let seen = received(&peer);
    assert!(seen.len() >= 2, "{seen:?}");
    assert_identical(&seen);
    assert_eq!(fs::read_dir(peer.text("inbox")).unwrap().count(), 1);

    // One that the partner does not have goes as it is agreed by then, under another Message-ID.
    let text = |message: &Value| {
        let raw = fs::read(message["raw"].as_str().unwrap()).unwrap();
        String::from_utf8_lossy(&raw[..2000.min(raw.len())]).into_owned()
    };
    tell(&peer, &json!({ "status": 503, "times": 1 }));
    let before = seen.len();
    hub.put("after.bin", &[8; 100_000]);
    suites::eventually("a refused attempt", crate::hub::PATIENCE, || {
        (received(&peer).len() > before).then_some(())
    });
    hub.gateway.stop();
    hub.define(peer.text("url"), "");
    hub.gateway.start();
    let way = hub.ended("after.bin");
    assert_eq!(way["state"], "completed", "{way}");
    let seen = &received(&peer)[before..];
    let (first, last) = (text(&seen[0]).to_lowercase(), text(seen.last().unwrap()).to_lowercase());
    assert!(first.contains("subject: order after.bin") && first.contains("ediint-features"), "{first}");
    assert!(last.contains("subject: edi\r\n") && last.contains("enveloped-data"), "{last}");
    let id = |text: &str| text.lines().find(|line| line.starts_with("message-id:")).unwrap().to_owned();
    assert_ne!(id(&first), id(&last));
}

#[test]
fn a_person_may_ask_for_less_than_the_message_that_the_partner_may_have() {
    let (peer, mut hub) = start();
    let way = way_to(&peer, &hub, "unsigned.bin", &json!({ "mdn": "unsigned" }));
    assert!(failed_for_good(&way).contains("unsigned receipt"), "{way}");
    hub.gateway.stop();
    hub.define(peer.text("url"), "mdn.ask = \"unsigned\"");
    hub.gateway.start();
    let config = hub.gateway.config();
    suites::run(&["--config", config.to_str().unwrap(), "transfer", "retry", way["id"].as_str().unwrap()]);
    let way = hub.ended("unsigned.bin");
    assert_eq!(way["state"], "completed", "{way}");
    // It went out again as it was, and the partner has it once.
    let seen = received(&peer);
    assert!(seen.len() >= 2, "{seen:?}");
    assert_identical(&seen);
    assert_eq!(fs::read_dir(peer.text("inbox")).unwrap().count(), 1);

    // Also where none is asked for by now, one that refuses the message counts.
    tell(&peer, &json!({ "mdn": "asked", "drop": "after_read", "times": 1 }));
    hub.put("refused.bin", &[9; 5000]);
    let before = seen.len();
    suites::eventually("a first attempt", crate::hub::PATIENCE, || {
        (received(&peer).len() > before).then_some(())
    });
    hub.gateway.stop();
    hub.define(peer.text("url"), "mdn.ask = \"none\"");
    tell(
        &peer,
        &json!({ "mdn": "asked", "disposition": "processed/error: decryption-failed", "duplicate": "warning" }),
    );
    hub.gateway.start();
    let way = hub.ended("refused.bin");
    assert_eq!(way["state"], "failed", "{way}");
    assert_identical(&received(&peer)[before..]);
}

#[test]
fn a_lost_answer_is_asked_for_again_and_the_partner_has_one_payload() {
    let (peer, hub) = start();
    let way = way_to(&peer, &hub, "lost.bin", &json!({ "drop": "after_read", "times": 1 }));
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(attempts(&way).len(), 2, "{way}");
    let event = hub.events("delivery.retrying").pop().unwrap();
    assert!(event.to_string().contains("ambiguous"), "{event}");
    let seen = received(&peer);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_identical(&seen);
    assert_eq!((&seen[0]["duplicate"], &seen[1]["duplicate"]), (&json!(false), &json!(true)));
    assert_eq!(fs::read_dir(peer.text("inbox")).unwrap().count(), 1);

    // Half of an answer is no answer either.
    let way = way_to(&peer, &hub, "half.bin", &json!({ "drop": "mid_answer", "times": 1 }));
    assert_eq!((way["state"].as_str(), attempts(&way).len()), (Some("completed"), 2), "{way}");
    // Nothing was read: sent again whole.
    let way = way_to(&peer, &hub, "unread.bin", &json!({ "drop": "before_read", "times": 1 }));
    assert_eq!((way["state"].as_str(), attempts(&way).len()), (Some("completed"), 2), "{way}");
    assert_eq!(fs::read_dir(peer.text("inbox")).unwrap().count(), 3);
}

#[test]
fn word_of_a_duplicate_after_a_lost_answer_is_the_answer() {
    let (peer, hub) = start();
    for (name, disposition) in [
        // pyas2lib's own: processed/Warning, no MIC.
        ("warned.bin", Value::Null),
        ("error.bin", json!("processed/error: duplicate-document")),
        ("failure.bin", json!("failed/failure: duplicate document")),
    ] {
        tell(&peer, &json!({ "duplicate": "warning", "disposition": disposition }));
        let way = way_to(&peer, &hub, name, &json!({ "drop": "after_read", "times": 1 }));
        assert_eq!(way["state"], "completed", "{way}");
        assert_eq!(attempts(&way).len(), 2, "{way}");
        let receipt = &way["deliveries"][0]["receipt"];
        assert_eq!(receipt["detail"]["mic_matched"], false, "{receipt}");
        assert!(receipt["summary"].as_str().unwrap().contains("duplicate"), "{receipt}");
    }
    let seen = received(&peer);
    assert_identical(&seen[..2]);
    assert_eq!(seen[1]["status"], "processed/Warning", "{}", seen[1]);
    assert_eq!(fs::read_dir(peer.text("inbox")).unwrap().count(), 3);

    // Of a message that it said it did not take, the same words prove nothing.
    tell(&peer, &json!({ "duplicate": "warning", "disposition": null }));
    let told = json!({ "disposition": "processed/error: unexpected-processing-error", "times": 1 });
    let way = way_to(&peer, &hub, "refused.bin", &told);
    assert_eq!(way["state"], "failed", "{way}");
    assert_eq!(attempts(&way).len(), 2, "{way}");
}

/// Every message the same, its header block included.
pub fn assert_identical(seen: &[Value]) {
    let raw = |message: &Value| fs::read(message["raw"].as_str().unwrap()).unwrap();
    let first = raw(&seen[0]);
    assert!(first.len() > 1000);
    for message in seen {
        let other = raw(message);
        if other != first {
            let head = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(1500)]).into_owned();
            panic!("another message:\n{}\n--- and ---\n{}", head(&first), head(&other));
        }
    }
}
