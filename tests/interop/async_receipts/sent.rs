//! Receipts of ours that pyas2lib wants later.

use crate::hub::{Hub, PATIENCE, random, sha256};
use serde_json::{Value, json};
use std::fs;
use suites::{KeyPair, Server, eventually, free_port};

pub(super) fn start(url: &str, agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    // pyas2lib takes its receipts at a port of their own.
    hub.define(url, &format!("mdn.hosts = [\"127.0.0.1\"]\n{agreement}"));
    hub.gateway.start();
    hub
}

/// Sends a file by pyas2lib, and gives what it says of the answer and of the receipt.
pub(super) fn send(hub: &Hub, name: &str, bytes: &[u8], more: &[&str]) -> Value {
    let file = hub.root.path().join(name);
    fs::write(&file, bytes).unwrap();
    let octets = ["--content-type", "application/octet-stream"];
    hub.send(file.to_str().unwrap(), &[&octets[..], more].concat())
}

/// The transfers of receipts, once there are so many in this state.
pub(super) fn receipts(hub: &Hub, count: usize, state: &str) -> Vec<Value> {
    eventually(&format!("{count} receipts {state}\n{}", hub.gateway.log()), PATIENCE, || {
        let found = hub.gateway.json(&["transfer", "list", "--limit", "1000"]);
        let all: Vec<&Value> =
            found.as_array().unwrap().iter().filter(|one| one["kind"] == "receipt").collect();
        assert!(all.len() <= count, "{all:?}");
        let all_are = all.len() == count && all.iter().all(|one| one["state"] == state);
        all_are.then(|| {
            all.iter()
                .map(|one| hub.gateway.json(&["transfer", "show", one["id"].as_str().unwrap()]))
                .collect()
        })
    })
}

pub(super) fn is_proved(said: &Value) {
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &json!("async")), "{said}");
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
    assert_eq!(
        (&said["mic_matched"], &said["original_message_id_matched"]),
        (&json!(true), &json!(true)),
        "{said}"
    );
    assert!(said["mdn_signed"] == false || said["mdn_verified"] == true, "{said}");
}

#[test]
fn pyas2lib_gets_its_receipts_later_signed_and_unsigned() {
    let hub = start("http://127.0.0.1:9/as2", "");
    for (number, mdn) in ["async-signed", "async-unsigned"].into_iter().enumerate() {
        let (name, bytes) = (format!("{mdn}.bin"), random(20_000));
        let said = send(&hub, &name, &bytes, &["--mdn", mdn]);
        is_proved(&said);
        assert_eq!(said["mdn_signed"], mdn == "async-signed", "{said}");
        assert_eq!(said["mdn_posts"], json!([200]), "{said}");
        assert_eq!(sha256(&hub.wait_for_file(&name)), sha256(&bytes));
        // Newest first.
        let sent = receipts(&hub, number + 1, "completed").remove(0);
        let received = hub.ended(&name);
        assert_eq!((&sent["flow"], &sent["partner"]), (&json!("listener:as2"), &json!("peer")), "{sent}");
        assert_eq!(sent["parent"], received["id"], "{sent}");
        assert!(received["children"].to_string().contains(sent["id"].as_str().unwrap()), "{received}");
        let delivery = &sent["deliveries"][0];
        assert_eq!(
            (&delivery["endpoint"], &delivery["receipt"]["kind"]),
            (&json!("peer-as2"), &json!("http_status"))
        );
        assert!(delivery["receipt"]["connection"].is_string(), "{delivery}");
    }
    assert_eq!(hub.events("transfer.recorded").len(), 4);
}

#[test]
fn a_receipt_goes_over_https_with_the_trust_of_the_partners_endpoint() {
    let mut hub = Hub::alone();
    let tls = KeyPair::make(&hub.root.path().join("tls"), "localhost");
    hub.define("https://localhost:9/as2", "mdn.hosts = [\"localhost\"]");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let option = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(option));
    let trusted = text.replace(option, &format!("{option}trust.authorities = [\"receipts\"]\n"));
    let certificate = tls.certificate.display();
    fs::write(&document, format!("{trusted}\n[certificate.receipts]\npem = \"${{file:{certificate}}}\"\n"))
        .unwrap();
    hub.gateway.start();
    let port = free_port();
    let (url, port) = (format!("https://localhost:{port}/mdn"), port.to_string());
    let (certificate, key) = (tls.certificate.to_str().unwrap(), tls.key.to_str().unwrap());
    let server = ["--mdn", "async-signed", "--mdn-tls-cert", certificate, "--mdn-tls-key", key];
    let at = [&server[..], &["--mdn-url", &url, "--mdn-port", &port]].concat();
    is_proved(&send(&hub, "order.bin", &random(20_000), &at));
    receipts(&hub, 1, "completed");

    // Another's certificate is not trusted: the receipt fails, and the message is ours all the same.
    let stranger = KeyPair::make(&hub.root.path().join("stranger"), "localhost");
    let (certificate, key) = (stranger.certificate.to_str().unwrap(), stranger.key.to_str().unwrap());
    let server = ["--mdn", "async-signed", "--mdn-tls-cert", certificate, "--mdn-tls-key", key];
    let at = [&server[..], &["--mdn-url", &url, "--mdn-port", &port, "--timeout", "5"]].concat();
    let said = send(&hub, "other.bin", &random(2_000), &at);
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &Value::Null), "{said}");
    assert_eq!(hub.ended("other.bin")["state"], "completed");
}

#[test]
fn a_receipt_is_tried_again_until_it_is_taken() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let answers = ["--mdn", "async-signed", "--mdn-answers", "503,200", "--timeout", "120"];
    let said = send(&hub, "order.bin", &random(2_000), &answers);
    is_proved(&said);
    assert_eq!(said["mdn_posts"], json!([503, 200]), "{said}");
    let sent = receipts(&hub, 1, "completed").remove(0);
    let attempts = sent["deliveries"][0]["attempts"].as_array().unwrap();
    assert!(attempts.len() == 2 && attempts[0]["error"].as_str().unwrap().contains("503"), "{sent}");
    assert!(hub.events("endpoint.offline").is_empty());
}

#[test]
fn a_receipt_that_the_partner_does_not_take_fails_by_itself_and_can_be_sent_again() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let port = free_port().to_string();
    let at = ["--mdn", "async-signed", "--mdn-port", &port];
    let refusing = [&at[..], &["--mdn-answers", "404", "--timeout", "5"]].concat();
    let said = send(&hub, "order.bin", &random(2_000), &refusing);
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &Value::Null), "{said}");
    let sent = receipts(&hub, 1, "failed").remove(0);
    let error = sent["deliveries"][0]["error"].as_str().unwrap();
    assert!(error.contains("404") && error.contains("does not take receipts"), "{error}");
    assert_eq!(hub.ended("order.bin")["state"], "completed");
    // Nobody listens there any more: a person's attempt is made, and is tried again.
    let config = hub.gateway.config();
    let retry = ["--config", config.to_str().unwrap(), "transfer", "retry", sent["id"].as_str().unwrap()];
    let (status, out, error) = suites::run(&retry);
    assert!(status.success(), "{out} {error}");
    receipts(&hub, 1, "delivering");
}

#[test]
fn what_is_answered_to_a_receipt_at_the_partners_own_server_does_not_take_its_endpoint_offline() {
    let port = free_port();
    let mut hub = Hub::alone();
    hub.define(&format!("http://127.0.0.1:{port}/as2"), "");
    hub.gateway.start();
    let port = port.to_string();
    for (number, status) in ["401", "503"].into_iter().enumerate() {
        let at = ["--mdn", "async-signed", "--mdn-port", &port, "--mdn-answers", status, "--timeout", "5"];
        let said = send(&hub, &format!("{status}.bin"), &random(2_000), &at);
        assert_eq!(said["http_status"], 200, "{said}");
        eventually("the attempt is on record", PATIENCE, || {
            let ended = ["delivery.retrying", "delivery.failed"].map(|kind| hub.events(kind));
            let of_receipts = |event: &&Value| event["endpoint"] == "peer-as2";
            (ended.iter().flatten().filter(of_receipts).count() > number).then_some(())
        });
    }
    // It counts as a failed attempt of the receipt alone.
    assert!(hub.events("endpoint.offline").is_empty());
    let waits = |event: &Value| event["detail"]["waits_for_access"] == true;
    assert!(!hub.events("delivery.retrying").iter().any(waits), "{:?}", hub.events("delivery.retrying"));
}

#[test]
fn a_repeated_message_gets_its_receipt_again() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let bytes = random(2_000);
    let at = ["--mdn", "async-signed", "--message-id", "<again@peer.example>"];
    is_proved(&send(&hub, "order.bin", &bytes, &at));
    receipts(&hub, 1, "completed");
    for number in 2..=3 {
        let said = send(&hub, "order.bin", &bytes, &at);
        assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &json!("async")), "{said}");
        assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
        receipts(&hub, number, "completed");
    }
    assert_eq!(hub.events("message.repeated").len(), 2);
    // The receipt comes where the repeated message wants it.
    let said =
        send(&hub, "order.bin", &bytes, &["--mdn", "sync-signed", "--message-id", "<again@peer.example>"]);
    assert_eq!(said["mdn_way"], "sync", "{said}");
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
    assert_eq!((hub.transfers(), hub.inbox().len()), (4, 1));
}

#[test]
fn another_file_under_a_message_id_is_refused_later_too_but_not_while_its_receipt_is_on_its_way() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let at = ["--mdn", "async-signed", "--message-id", "<taken@peer.example>"];
    is_proved(&send(&hub, "order.bin", &random(2_000), &at));
    receipts(&hub, 1, "completed");
    let said = send(&hub, "other.bin", &random(2_000), &at);
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &json!("async")), "{said}");
    let disposition = said["disposition"].as_str().unwrap();
    assert!(disposition.ends_with("/error: unexpected-processing-error"), "{said}");
    assert_eq!(said["mdn_signed"], false, "{said}");
    receipts(&hub, 2, "completed");
    assert_eq!(hub.events("message.content_differs").len(), 1);
    assert_eq!((hub.transfers(), hub.inbox().len()), (3, 1));

    let at = ["--mdn", "async-signed", "--message-id", "<waits@peer.example>", "--timeout", "5"];
    let said = send(&hub, "first.bin", &random(2_000), &[&at[..], &["--mdn-answers", "503"]].concat());
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &Value::Null), "{said}");
    let said = send(&hub, "second.bin", &random(2_000), &at);
    assert_eq!(said["http_status"], 503, "{said}");
    assert_eq!(hub.events("message.content_differs").len(), 2);
    assert_eq!((hub.transfers(), hub.inbox().len()), (5, 2));
}

#[test]
fn a_refusal_goes_later_too_and_the_message_may_come_again() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let at = ["--mdn", "async-signed", "--message-id", "<mended@peer.example>"];
    let said = send(&hub, "order.bin", &random(2_000), &[&at[..], &["--damage", "flip"]].concat());
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &json!("async")), "{said}");
    assert!(said["disposition"].as_str().unwrap().contains("/error: "), "{said}");
    let sent = receipts(&hub, 1, "completed").remove(0);
    assert_eq!(sent["parent"], Value::Null, "{sent}");
    assert_eq!((hub.transfers(), hub.inbox().len()), (1, 0));
    is_proved(&send(&hub, "order.bin", &random(2_000), &at));
    receipts(&hub, 2, "completed");
}

#[test]
fn a_refusal_that_is_still_on_its_way_is_not_sent_once_its_message_is_accepted() {
    let hub = start("http://127.0.0.1:9/as2", "");
    let at = ["--mdn", "async-signed", "--message-id", "<overtaken@peer.example>"];
    let damaged = [&at[..], &["--damage", "flip", "--mdn-answers", "503", "--timeout", "5"]].concat();
    let said = send(&hub, "order.bin", &random(2_000), &damaged);
    assert_eq!((&said["http_status"], &said["mdn_way"]), (&json!(200), &Value::Null), "{said}");
    let refusal = receipts(&hub, 1, "delivering").remove(0);
    is_proved(&send(&hub, "order.bin", &random(2_000), &at));
    let refusal = hub.gateway.json(&["transfer", "show", refusal["id"].as_str().unwrap()]);
    assert_eq!(refusal["state"], "cancelled", "{refusal}");
    assert_eq!(hub.ended("order.bin")["state"], "completed");
}

#[test]
fn receipts_go_to_hosts_that_were_agreed_alone() {
    let mut hub = start("http://127.0.0.1:9/as2", "");
    let elsewhere = ["--mdn", "async-signed", "--mdn-url", "http://localhost:9/mdn", "--timeout", "2"];
    let said = send(&hub, "order.bin", &random(2_000), &elsewhere);
    assert_eq!(said["http_status"], 403, "{said}");
    let event = hub.events("message.refused").remove(0);
    assert_eq!(event["detail"]["receipt_delivery_option"], "http://localhost:9/mdn", "{event}");
    assert!(event.to_string().contains("partner.peer.as2.mdn.hosts"), "{event}");
    assert_eq!((hub.transfers(), hub.inbox().len()), (0, 0));
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "mdn.hosts = [\"localhost\"]");
    hub.gateway.start();
    let said = send(&hub, "order.bin", &random(2_000), &elsewhere);
    assert_eq!(said["http_status"], 200, "{said}");
    let sent = receipts(&hub, 1, "delivering").remove(0);
    assert_eq!(sent["metadata"]["receipt_url"], "http://localhost:9/mdn", "{sent}");
    // Out of the agreement again, it is not sent there any more.
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let sent = receipts(&hub, 1, "failed").remove(0);
    assert!(sent["deliveries"][0]["error"].to_string().contains("mdn.hosts"), "{sent}");
}

#[test]
fn a_receipt_goes_through_the_proxy_of_the_partners_endpoint() {
    let squid = Server::start("squid", &[]);
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "mdn.hosts = [\"127.0.0.1\"]");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let option = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(option));
    let through = text.replace(option, &format!("{option}proxy = \"own\"\n"));
    fs::write(&document, format!("{through}\n[proxy.own]\nurl = \"{}\"\n", squid.text("url"))).unwrap();
    hub.gateway.start();
    is_proved(&send(&hub, "order.bin", &random(2_000), &["--mdn", "async-signed"]));
    let sent = receipts(&hub, 1, "completed").remove(0);
    let connection = &sent["deliveries"][0]["receipt"]["connection"];
    let row = eventually("the connection is on record", PATIENCE, || {
        hub.gateway.connections().into_iter().find(|row| *connection == row.id.to_string())
    });
    assert_eq!(row.proxy.as_deref(), Some(squid.text("url")), "{row:?}");
}
