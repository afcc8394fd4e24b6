//! Receipts in an order that nobody wishes for: the delivery ends as docs/as2.md says, and nothing is sent twice as two messages.

use super::{attempts, defined, posts, report, sent, start, until_awaited};
use crate::hub::{PATIENCE, random, received, tell};
use crate::misbehaving::assert_identical;
use serde_json::{Value, json};
use std::fs;
use suites::{KeyPair, eventually};

const REFUSED: &str = "processed/error: unexpected-processing-error";

#[test]
fn a_refusal_that_is_posted_twice_counts_once() {
    // At once, while the next attempt is awaited; and when the next attempt has brought the message.
    for when in ["twice", "earlier"] {
        let (peer, hub) = start("");
        let then = if when == "twice" { "after" } else { when };
        tell(&peer, &json!({ "duplicate": "process", "async": then }));
        tell(&peer, &json!({ "async": when, "disposition": REFUSED, "times": 1 }));
        hub.put("again.bin", &random(2_000));
        let way = hub.ended("again.bin");
        assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{when}: {way}");
        let posts = posts(&peer, 3);
        assert!(posts.iter().all(|post| post["http_status"] == 200), "{when}: {posts:?}");
        assert!(posts[1]["answer"].as_str().unwrap().contains("changed nothing"), "{when}: {posts:?}");
        let seen = received(&peer);
        assert_eq!(seen.len(), 2, "{when}: {seen:?}");
        assert_identical(&seen);
        let (retried, ignored) = (hub.events("delivery.retrying"), hub.events("receipt.ignored"));
        assert_eq!((retried.len(), ignored.len()), (1, 1), "{when}: {retried:?} {ignored:?}");
        assert!(hub.events("delivery.failed").is_empty(), "{when}");
    }
}

#[test]
fn a_refusal_of_an_earlier_attempt_does_not_contradict_the_receipt_of_the_next_one() {
    let (peer, hub) = start("mdn.deadline = \"2s\"");
    tell(&peer, &json!({ "duplicate": "process" }));
    tell(&peer, &json!({ "async": "held", "disposition": REFUSED, "times": 1 }));
    hub.put("late.bin", &random(2_000));
    let way = hub.ended("late.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    tell(&peer, &json!({ "release": true }));
    // It may be about the first time, before the proof.
    let late = posts(&peer, 2).remove(1);
    assert!(
        late["http_status"] == 200 && late["answer"].as_str().unwrap().contains("changed nothing"),
        "{late}"
    );
    let way = hub.ended("late.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    let ignored = hub.events("receipt.ignored");
    assert_eq!((ignored.len(), hub.events("delivery.failed").len()), (1, 0), "{ignored:?}");
    let seen = received(&peer);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_identical(&seen);
}

#[test]
fn another_message_is_sent_after_a_signed_refusal_and_none_after_one_that_anybody_can_post() {
    let (peer, mut hub) = defined("fallback = \"once\"");
    let theirs = KeyPair::make(&hub.root.path().join("keys"), "peer-new");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let usual = "certificates = [\"peer\"]";
    assert!(text.contains(usual), "{text}");
    let two = "certificates = [\"peer\", { name = \"peer-new\", from = \"2099-01-01T00:00:00Z\" }]";
    let pem = theirs.certificate.display();
    let new = format!("[certificate.peer-new]\npem = \"${{file:{pem}}}\"\n");
    fs::write(&document, format!("{}\n{new}", text.replace(usual, two))).unwrap();
    hub.gateway.start();

    tell(&peer, &json!({ "async": "held" }));
    hub.put("posted.bin", &random(2_000));
    until_awaited(&hub, "posted.bin");
    let id = received(&peer)[0]["message_id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
    let refusal = report(&format!("<{id}>"), "processed/error: decryption-failed");
    assert_eq!(refusal.post(hub.gateway.http).unwrap().status, 200);
    let way = hub.ended("posted.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("failed"), 1), "{way}");
    let error = attempts(&way)[0]["error"].as_str().unwrap();
    assert!(error.contains("not as well proved as was agreed"), "{error}");
    // The partner has it, and says so.
    tell(&peer, &json!({ "release": true }));
    eventually("the partner's receipt counts", PATIENCE, || {
        (hub.ended("posted.bin")["state"] == "completed").then_some(())
    });
    assert_eq!(received(&peer).len(), 1, "{:?}", received(&peer));

    // It has changed its key, and signs its refusal with the new one.
    tell(&peer, &json!({ "async": "after", "key": theirs.key, "cert": theirs.certificate }));
    hub.put("changed.bin", &random(2_000));
    let way = hub.ended("changed.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    let seen = received(&peer);
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert_ne!(seen[1]["message_id"], seen[2]["message_id"], "{seen:?}");
}

#[test]
fn what_anybody_could_have_refused_goes_out_again_as_it_was_though_the_agreement_was_changed() {
    let (peer, mut hub) = start("");
    tell(&peer, &json!({ "duplicate": "process", "async": "after" }));
    tell(&peer, &json!({ "async": "held", "times": 1 }));
    hub.put("order.bin", &random(2_000));
    until_awaited(&hub, "order.bin");
    hub.gateway.stop();
    let url = format!("http://127.0.0.1:{}/as2", hub.gateway.http);
    hub.define(peer.text("url"), &super::asking_at(&url, "send.digest = \"sha512\""));
    hub.gateway.start();
    let id = received(&peer)[0]["message_id"].as_str().unwrap().trim_matches(['<', '>']).to_owned();
    assert_eq!(report(&format!("<{id}>"), REFUSED).post(hub.gateway.http).unwrap().status, 200);
    let way = hub.ended("order.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    let seen = received(&peer);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_identical(&seen);
}

#[test]
fn a_refusal_of_ours_that_is_still_on_its_way_is_not_sent_once_the_message_is_accepted() {
    let hub = sent::start("http://127.0.0.1:9/as2", "");
    let at = ["--mdn", "async-signed", "--message-id", "<mended@peer.example>"];
    let refused = ["--damage", "flip", "--mdn-answers", "503", "--timeout", "5"];
    let said = sent::send(&hub, "order.bin", &random(2_000), &[&at[..], &refused].concat());
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &Value::Null), "{said}");
    let refusal = sent::receipts(&hub, 1, "delivering").remove(0);
    sent::is_proved(&sent::send(&hub, "order.bin", &random(2_000), &at));
    assert_eq!(hub.ended("order.bin")["state"], "completed");
    let way = hub.gateway.json(&["transfer", "show", refusal["id"].as_str().unwrap()]);
    assert_eq!(way["state"], "cancelled", "{way}");
    // Refused, the file, and the receipt for it.
    assert_eq!((hub.transfers(), hub.inbox().len()), (3, 1));
}
