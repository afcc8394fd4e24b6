//! Receipts that come later and receipts that are sent later (RFC 4130, 7: asynchronous), with pyas2lib on the other side.

mod proved;
mod sent;
mod sequences;

use crate::hub::{Hub, PATIENCE, random, received, start_peer, tell};
use crate::misbehaving::assert_identical;
use crate::raw::Message;
use serde_json::{Value, json};
use std::fs;
use suites::{KeyPair, Server, eventually};

/// A peer, and a hub that wants its receipts later, at its listener.
fn start(agreement: &str) -> (Server, Hub) {
    let (peer, mut hub) = defined(agreement);
    hub.gateway.start();
    (peer, hub)
}

/// The same, not started yet.
fn defined(agreement: &str) -> (Server, Hub) {
    let peer = start_peer();
    let hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let url = format!("http://127.0.0.1:{}/as2", hub.gateway.http);
    hub.define(peer.text("url"), &asking_at(&url, agreement));
    (peer, hub)
}

fn asking_at(url: &str, agreement: &str) -> String {
    format!("mdn.reply_to = \"listener:as2\"\nmdn.url = \"{url}\"\n{agreement}")
}

/// The receipts that the peer has sent, once there are so many, and how each was answered.
fn posts(peer: &Server, count: usize) -> Vec<Value> {
    eventually(&format!("{count} receipts of the peer"), PATIENCE, || {
        let lines = fs::read_to_string(peer.text("mdns")).unwrap_or_default();
        let all: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(all.len() <= count, "{all:?}");
        (all.len() == count).then_some(all)
    })
}

fn attempts(way: &Value) -> &Vec<Value> {
    way["deliveries"][0]["attempts"].as_array().unwrap()
}

/// Which receipts are kept of a transfer.
fn kept(way: &Value) -> Vec<&str> {
    way["mdns"].as_array().unwrap().iter().map(|mdn| mdn["which"].as_str().unwrap()).collect()
}

/// Runs a command of the hub's: its standard output.
fn command(hub: &Hub, arguments: &[&str]) -> String {
    let config = hub.gateway.config();
    let (status, out, error) = suites::run(&[&["--config", config.to_str().unwrap()], arguments].concat());
    assert!(status.success(), "{arguments:?}: {out} {error}");
    out
}

/// Waits until a file's delivery waits for its receipt, and gives the transfer's id.
fn until_awaited(hub: &Hub, file: &str) -> String {
    eventually("a delivery that waits for its receipt", PATIENCE, || {
        let found = hub.gateway.json(&["transfer", "list", "--file", file]);
        let id = found.as_array().unwrap().first()?["id"].as_str().unwrap().to_owned();
        let way = hub.gateway.json(&["transfer", "show", &id]);
        (way["deliveries"][0]["state"] == "awaiting_receipt").then_some(id)
    })
}

/// A receipt as anybody may post it: it is not signed.
fn report(original_message_id: &str, disposition: &str) -> Message {
    let body = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nWords.\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\n\
         Final-Recipient: rfc822; PEER\r\nOriginal-Message-ID: {original_message_id}\r\n\
         Disposition: automatic-action/MDN-sent-automatically; {disposition}\r\n\r\n--b--\r\n"
    );
    let headers = "AS2-Version: 1.2\r\nAS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <receipt@peer>\r\n\
                   MIME-Version: 1.0\r\n\
                   Content-Type: multipart/report; report-type=disposition-notification; boundary=\"b\"\r\n";
    Message { headers: headers.to_owned(), body: Vec::new() }.with_body(body.into_bytes())
}

#[test]
fn receipts_prove_deliveries_whether_they_come_before_or_after_the_answer_or_in_it() {
    let (peer, hub) = start("");
    let here = format!("http://127.0.0.1:{}/as2", hub.gateway.http);
    for (number, when) in ["after", "before", "twice", "sync"].into_iter().enumerate() {
        tell(&peer, &json!({ "async": when }));
        let name = format!("{when}.bin");
        hub.put(&name, &random(20_000));
        let way = hub.ended(&name);
        assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 1), "{when}: {way}");
        let receipt = &way["deliveries"][0]["receipt"];
        let detail = &receipt["detail"];
        assert_eq!(receipt["kind"], "mdn", "{when}: {receipt}");
        assert_eq!(
            (&detail["signed"], &detail["mic_matched"]),
            (&json!(true), &json!(true)),
            "{when}: {detail}"
        );
        assert!(receipt["connection"].is_string(), "{when}: {receipt}");
        assert_eq!(kept(&way), ["accepted"], "{when}: {way}");
        let seen = received(&peer).remove(number);
        assert!(seen["headers"].to_string().contains(&here), "{seen}");
        assert!(when == "sync" || seen["mdn_url"] == here.as_str(), "{seen}");
    }
    let posts = posts(&peer, 4);
    assert!(posts.iter().all(|post| post["http_status"] == 200), "{posts:?}");
    let said: Vec<&str> = posts.iter().map(|post| post["answer"].as_str().unwrap().trim_end()).collect();
    assert_eq!(said, ["", "", "", "The receipt was recorded; it changed nothing."]);
    assert_eq!(hub.events("delivery.delivered").len(), 4);
    assert_eq!(hub.events("receipt.ignored").len(), 1);
    assert!(hub.events("receipt.unmatched").is_empty() && hub.events("message.refused").is_empty());
    // A receipt is no message: nothing was received.
    assert_eq!((hub.transfers(), hub.inbox().len()), (4, 0));
}

#[test]
fn receipts_come_over_https() {
    let hub_of = |root: &std::path::Path| {
        KeyPair::make(&root.join("tls"), "localhost");
        let tls = root.join("tls");
        let tls = tls.display();
        format!(
            "[listen.http.partners.tls]\ncertificate = \"{tls}/localhost.cert.pem\"\nprivate_key = \"{tls}/localhost.key.pem\"\n"
        )
    };
    let mut hub = Hub::knowing_its_root(hub_of);
    let (key, certificate) = (hub.peer_key.to_str().unwrap(), hub.peer_certificate.to_str().unwrap());
    let peer = Server::start("as2_peer", &["--key", key, "--cert", certificate]);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let url = format!("https://localhost:{}/as2", hub.gateway.http);
    hub.define(peer.text("url"), &asking_at(&url, ""));
    hub.gateway.start();
    hub.put("order.bin", &random(20_000));
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(posts(&peer, 1)[0]["url"], url.as_str());
    let receipt = &way["deliveries"][0]["receipt"];
    let row = eventually("the connection is on record", PATIENCE, || {
        let rows = hub.gateway.connections();
        rows.into_iter().find(|row| receipt["connection"] == row.id.to_string())
    });
    assert!(format!("{:?}", row.security).contains("TLSv1."), "{row:?}");
}

#[test]
fn a_refusal_that_contradicts_a_receipt_fails_the_delivery_and_both_are_kept() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "async": "contradicting" }));
    hub.put("both.bin", &random(2_000));
    let posts = posts(&peer, 2);
    assert!(posts.iter().all(|post| post["http_status"] == 200), "{posts:?}");
    let way = eventually("it has failed", PATIENCE, || {
        let way = hub.ended("both.bin");
        (way["state"] == "failed").then_some(way)
    });
    let kept = kept(&way);
    assert!(kept.contains(&"contradicted") && kept.contains(&"not-accepted"), "{way}");
    let id = way["id"].as_str().unwrap();
    for (which, words) in [("contradicted", "; processed"), ("not-accepted", "unexpected-processing-error")] {
        let mdn = command(&hub, &["transfer", "receipt", id, "--which", which]);
        assert!(mdn.contains(words), "{which}: {mdn}");
    }
    // A person decides what follows.
    assert_eq!((received(&peer).len(), hub.events("delivery.failed").len()), (1, 1));
}

#[test]
fn after_the_deadline_the_same_message_goes_again_and_a_late_receipt_changes_nothing() {
    let (peer, hub) = start("mdn.deadline = \"2s\"");
    tell(&peer, &json!({ "async": "held", "times": 1 }));
    hub.put("late.bin", &random(20_000));
    let way = hub.ended("late.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    assert!(attempts(&way)[0]["error"].as_str().unwrap().contains("receipt"), "{way}");
    let seen = received(&peer);
    assert_identical(&seen);
    assert_eq!(seen[1]["answer"], "stored mdn", "{}", seen[1]);
    tell(&peer, &json!({ "release": true }));
    let late = posts(&peer, 2).remove(1);
    assert!(
        late["http_status"] == 200 && late["answer"].as_str().unwrap().contains("changed nothing"),
        "{late}"
    );
    assert_eq!(hub.ended("late.bin")["state"], "completed");
    assert_eq!(hub.events("receipt.ignored").len(), 1);
}

#[test]
fn the_same_message_goes_again_also_where_our_url_is_another_one_by_then() {
    let (peer, mut hub) = defined("mdn.deadline = \"5s\"");
    hub.gateway.start();
    tell(&peer, &json!({ "async": "held", "times": 1 }));
    hub.put("moved.bin", &random(20_000));
    until_awaited(&hub, "moved.bin");
    assert!(hub.gateway.stop().success());
    let url = format!("http://localhost:{}/as2", hub.gateway.http);
    hub.define(peer.text("url"), &asking_at(&url, "mdn.deadline = \"5s\""));
    hub.gateway.start();
    let way = hub.ended("moved.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    assert_identical(&received(&peer));
}

#[test]
fn a_receipt_that_never_comes_is_a_failure_after_the_last_attempt() {
    let (peer, hub) = start("mdn.deadline = \"1s\"");
    tell(&peer, &json!({ "async": "never" }));
    hub.put("never.bin", &random(2_000));
    let way = hub.ended("never.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("failed"), 6), "{way}");
    assert_identical(&received(&peer));
    assert_eq!(hub.events("delivery.awaiting_receipt").len(), 6);
}

#[test]
fn refusals_that_come_later_fail_the_delivery_or_have_it_sent_again() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "duplicate": "process" }));
    tell(&peer, &json!({ "disposition": "processed/error: unexpected-processing-error", "times": 1 }));
    hub.put("again.bin", &random(2_000));
    let way = hub.ended("again.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    assert_identical(&received(&peer));
    let event = hub.events("delivery.retrying").remove(0);
    assert!(event.to_string().contains("unexpected-processing-error"), "{event}");

    for (name, told, words) in [
        ("key.bin", json!({ "disposition": "processed/error: decryption-failed" }), "decryption-failed"),
        // Who does not know us cannot sign it.
        (
            "unsigned.bin",
            json!({ "mdn": "unsigned", "disposition": "processed/error: authentication-failed" }),
            "authentication-failed",
        ),
        ("mic.bin", json!({ "mic": "wrong" }), "exact bytes"),
        (
            "before.bin",
            json!({ "async": "before", "disposition": "failed/failure: unsupported format" }),
            "unsupported format",
        ),
    ] {
        let mut told = told;
        told["times"] = 1.into();
        tell(&peer, &told);
        hub.put(name, &random(2_000));
        let way = hub.ended(name);
        assert_eq!((&way["state"], attempts(&way).len()), (&json!("failed"), 1), "{name}: {way}");
        let error = attempts(&way)[0]["error"].as_str().unwrap();
        assert!(error.contains(words), "{name}: {error}");
        assert_eq!(kept(&way), ["not-accepted"], "{name}: {way}");
    }
    assert_eq!(hub.events("delivery.failed").len(), 4);
}

#[test]
fn an_unsigned_receipt_where_a_signed_one_was_agreed_proves_nothing_and_the_delivery_waits_on() {
    let (peer, hub) = start("mdn.deadline = \"6s\"");
    tell(&peer, &json!({ "duplicate": "process" }));
    tell(&peer, &json!({ "mdn": "unsigned", "times": 1 }));
    hub.put("unsigned.bin", &random(2_000));
    let post = posts(&peer, 1).remove(0);
    assert!(
        post["http_status"] == 200 && post["answer"].as_str().unwrap().contains("does not prove"),
        "{post}"
    );
    let events = hub.events("receipt.unproven");
    assert_eq!((events.len(), &events[0]["severity"]), (1, &json!("warning")), "{events:?}");
    let way = hub.ended("unsigned.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 2), "{way}");
    assert_eq!(kept(&way), ["accepted", "not-accepted"], "{way}");
}

#[test]
fn a_receipt_is_awaited_across_the_death_of_the_gateway_and_people_see_it() {
    let (peer, mut hub) = start("");
    tell(&peer, &json!({ "async": "held" }));
    hub.put("held.bin", &random(2_000));
    let id = until_awaited(&hub, "held.bin");
    let shown = command(&hub, &["transfer", "show", &id]);
    assert!(shown.contains("waits for its receipt until"), "{shown}");
    hub.gateway.kill();
    hub.gateway.start();
    tell(&peer, &json!({ "release": true }));
    let way = hub.ended("held.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 1), "{way}");
    assert_eq!(received(&peer).len(), 1);
}

#[test]
fn a_receipt_about_no_message_of_ours_is_refused_and_what_proves_nothing_ends_nothing() {
    let (peer, mut hub) = defined("");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    fs::write(&document, format!("{text}\n[partner.other.as2]\nid = \"OTHER\"\ncertificates = [\"peer\"]\n"))
        .unwrap();
    hub.gateway.start();
    tell(&peer, &json!({ "async": "held" }));
    hub.put("held.bin", &random(2_000));
    let id = until_awaited(&hub, "held.bin");
    let message_id =
        format!("<{}>", received(&peer)[0]["message_id"].as_str().unwrap().trim_matches(['<', '>']));
    let true_one = report(&message_id, "processed");
    for (number, (message, words)) in [
        (true_one.with("AS2-From", Some("NOBODY")), "unknown to this system"),
        (true_one.with("AS2-To", Some("OTHER")), "unknown to this system"),
        // Another partner than the one that the message went to.
        (true_one.with("AS2-From", Some("OTHER")), "No message is waiting"),
        (report("<nothing@waybill>", "processed"), "No message is waiting"),
    ]
    .into_iter()
    .enumerate()
    {
        let answer = message.post(hub.gateway.http).unwrap();
        assert!(answer.status == 400 && answer.text().contains(words), "{words}: {answer:?}");
        let events = hub.events("receipt.unmatched");
        assert_eq!(events.len(), number + 1, "{events:?}");
        assert!(events[0]["peer"].is_string() && events[0]["connection"].is_string(), "{events:?}");
    }
    // Its Message-ID is nothing that matters; that it is not signed is.
    let answer = true_one.with("Message-ID", None).post(hub.gateway.http).unwrap();
    assert!(answer.status == 200 && answer.text().contains("does not prove"), "{answer:?}");
    // Nor does a field of the message that was copied onto it.
    let answer = true_one.with("Disposition-Notification-To", Some("peer")).post(hub.gateway.http).unwrap();
    assert!(answer.status == 200 && answer.text().contains("does not prove"), "{answer:?}");
    let way = hub.gateway.json(&["transfer", "show", &id]);
    assert_eq!(way["deliveries"][0]["state"], "awaiting_receipt", "{way}");
    // What cannot be read is told apart from a message.
    let broken = true_one.with_body(b"--b\r\n\r\nno report\r\n--b--\r\n".to_vec());
    let answer = broken.post(hub.gateway.http).unwrap();
    assert!(answer.status == 400 && answer.text().contains("cannot be read"), "{answer:?}");
    tell(&peer, &json!({ "release": true }));
    assert_eq!(hub.ended("held.bin")["state"], "completed");
    assert_eq!((hub.transfers(), hub.inbox().len()), (1, 0));
}
