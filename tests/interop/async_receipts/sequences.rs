//! Receipts in an order that nobody wishes for: the delivery ends as docs/as2.md says, and nothing is sent twice as two messages.

use super::{attempts, posts, sent, start};
use crate::hub::{random, received, tell};
use crate::misbehaving::assert_identical;
use serde_json::{Value, json};

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
