//! Payloads in answers, and receipts for them, both ways, against a partner that was written from "HTTP Transport for Secure EDI" (2.5 to
//! 2.8) and RFC 4130 alone.

mod both_ways;

use crate::hub::{Hub, PATIENCE, random, received, sha256, tell};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use suites::{Server, eventually, repository};

const RESPONSE: &str = "response = { flow = \"answers\" }";

fn start_peer() -> Server {
    Server::start("replies_peer", &[])
}

/// Our side: files that go out, whose answers go through `answers`; files that are answered, and the answers to them.
fn define(hub: &Hub, peer_url: &str, agreement: &str) {
    for folder in ["answers", "quotes"] {
        fs::create_dir_all(hub.root.path().join(folder)).unwrap();
    }
    hub.gateway.define("hub.toml", &document(hub, peer_url, agreement));
}

fn document(hub: &Hub, peer_url: &str, agreement: &str) -> String {
    format!(
        r#"[identity.waybill.as2]
id = "WAYBILL"
keys = ["waybill"]
[key.waybill]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[partner.peer.as2]
id = "PEER"
certificates = ["peer"]
{agreement}
[certificate.peer]
pem = "${{file:{root}/keys/peer.cert.pem}}"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.answers]
transport = "file"
url = "file://{root}/answers"
[endpoint.quotes]
transport = "file"
url = "file://{root}/quotes"
[endpoint.peer-as2]
transport = "as2"
partner = "peer"
identity = "waybill"
url = "{peer_url}"
media_type = "application/octet-stream"
[flow.outgoing]
source = {{ endpoint = "out", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/errors" }}
[[flow.outgoing.destination]]
endpoint = "peer-as2"
retry = {{ attempts = 6, first = "1s", longest = "1s" }}
{RESPONSE}
[flow.answers]
source = {{ listener = "as2", partner = "peer", mask = "answer-*" }}
[[flow.answers.destination]]
endpoint = "answers"
[listener.as2]
transport = "as2"
server = "partners"
[flow.incoming]
source = {{ listener = "as2", partner = "peer", mask = "*" }}
[[flow.incoming.destination]]
endpoint = "in"
file_name = "{{transfer}}-{{name}}"
[flow.quotes]
source = {{ endpoint = "quotes", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/errors" }}
[[flow.quotes.destination]]
endpoint = "peer-as2"
answer_to = "{{stem}}"
retry = {{ attempts = 6, first = "1s", longest = "1s" }}
"#,
        root = hub.root.path().display(),
    )
}

fn start(agreement: &str) -> (Server, Hub) {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    define(&hub, peer.text("url"), agreement);
    hub.gateway.start();
    (peer, hub)
}

fn files(at: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<(String, Vec<u8>)> = fs::read_dir(at)
        .unwrap()
        .map(Result::unwrap)
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap()))
        .collect();
    found.sort();
    found
}

/// Waits for a file in a folder whose name has this end, and gives its name and bytes.
fn wait_for(hub: &Hub, folder: &str, end: &str) -> (String, Vec<u8>) {
    let at = hub.root.path().join(folder);
    eventually(&format!("a file *{end} in {folder}\n{}", hub.gateway.log()), PATIENCE, || {
        files(&at).into_iter().find(|(name, _)| name.ends_with(end))
    })
}

/// What the peer recorded of the answer to a message of this name.
fn answer_of(peer: &Server, number: usize) -> Value {
    eventually("the peer has answered", PATIENCE, || {
        received(peer).into_iter().filter(|line| line["sent"] == true).nth(number)
    })
}

/// The receipts that the peer got for its answers.
fn receipts(peer: &Server, count: usize) -> Vec<Value> {
    eventually(&format!("{count} receipts; there are {:?}", received(peer)), PATIENCE, || {
        let all: Vec<Value> = received(peer).into_iter().filter(|line| line["receipt"] == true).collect();
        (all.len() >= count).then_some(all)
    })
}

fn detail(way: &Value) -> &Value {
    &way["deliveries"][0]["receipt"]["detail"]
}

#[test]
fn a_payload_beside_the_receipt_goes_through_the_flow_that_takes_answers() {
    let (peer, hub) = start("");
    // The last one is far larger than any receipt.
    for (number, length) in [0, 1000, 8 << 20].into_iter().enumerate() {
        let name = format!("answer-{number}.edi");
        tell(&peer, &json!({ "answer": "mixed", "length": length, "name": name }));
        hub.put(&format!("rfq-{number}.edi"), &random(20_000));
        let way = hub.ended(&format!("rfq-{number}.edi"));
        assert_eq!(way["state"], "completed", "{way}");
        assert_eq!(
            (&detail(&way)["signed"], &detail(&way)["mic_matched"]),
            (&json!(true), &json!(true)),
            "{way}"
        );
        let sent = answer_of(&peer, number);
        let (_, bytes) = wait_for(&hub, "answers", &name);
        assert_eq!((bytes.len(), json!(sha256(&bytes))), (length, sent["sha256"].clone()), "{sent}");
        let reply = hub.ended(&name);
        assert_eq!((&reply["kind"], &reply["parent"]), (&json!("reply"), &way["id"]), "{reply}");
        assert_eq!(reply["metadata"]["as2_message_id"], sent["reply"], "{reply}");
        assert!(reply["metadata"]["as2_signer"].is_string() && reply["metadata"]["as2_cipher"].is_string());
    }
    // The receipt that is kept is the partner's alone, and any tool verifies it.
    let way = hub.ended("rfq-2.edi");
    let (config, id) = (hub.gateway.config(), way["id"].as_str().unwrap());
    let (status, kept, error) =
        suites::run(&["--config", config.to_str().unwrap(), "transfer", "receipt", id]);
    assert!(status.success() && kept.len() < 20_000, "{} {error}", kept.len());
    let file = hub.root.path().join("kept.eml");
    fs::write(&file, kept).unwrap();
    let verified = Command::new("openssl")
        .args(["smime", "-verify", "-noverify", "-nointern", "-in"])
        .args([&file])
        .arg("-certfile")
        .arg(&hub.peer_certificate)
        .output()
        .unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    assert!(hub.events("message.refused").is_empty());
}

#[test]
fn one_signature_may_cover_receipt_and_payload_and_a_receipt_may_be_compressed_or_encrypted() {
    let (peer, hub) = start("receive.security = \"signed\"");
    tell(&peer, &json!({ "answer": "covered", "name": "answer-1.edi" }));
    hub.put("rfq-1.edi", &random(2000));
    let way = hub.ended("rfq-1.edi");
    assert_eq!((&way["state"], &detail(&way)["signed"]), (&json!("completed"), &json!(true)), "{way}");
    let (_, bytes) = wait_for(&hub, "answers", "answer-1.edi");
    assert_eq!(json!(sha256(&bytes)), answer_of(&peer, 0)["sha256"]);
    for form in ["compressed_mdn", "encrypted_mdn"] {
        tell(&peer, &json!({ "answer": form }));
        hub.put(&format!("{form}.bin"), &random(2000));
        let way = hub.ended(&format!("{form}.bin"));
        assert_eq!(
            (&way["state"], &detail(&way)["signed"]),
            (&json!("completed"), &json!(true)),
            "{form}: {way}"
        );
        assert_eq!(way["deliveries"][0]["attempts"].as_array().unwrap().len(), 1, "{form}: {way}");
    }
}

#[test]
fn a_payload_alone_is_the_answer_where_no_receipt_was_asked_for_and_none_where_one_was() {
    let (peer, hub) = start("mdn.ask = \"none\"");
    tell(&peer, &json!({ "answer": "payload", "name": "answer-1.edi" }));
    hub.put("rfq-1.edi", &random(2000));
    let way = hub.ended("rfq-1.edi");
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(way["deliveries"][0]["receipt"]["kind"], "http_status", "{way}");
    let (_, bytes) = wait_for(&hub, "answers", "answer-1.edi");
    assert_eq!(json!(sha256(&bytes)), answer_of(&peer, 0)["sha256"]);
    // Whatever a receipt says that was not asked for, it counts for nothing, and is on record.
    tell(&peer, &json!({ "answer": "unsolicited" }));
    hub.put("unsolicited.bin", &random(2000));
    let way = hub.ended("unsolicited.bin");
    assert_eq!(way["state"], "completed", "{way}");
    assert!(detail(&way)["unsolicited_receipt"].as_str().unwrap().contains("unexpected-processing-error"));
    let ignored = hub.events("receipt.ignored");
    assert!(ignored.len() == 1 && ignored[0].to_string().contains("not asked for"), "{ignored:?}");

    let (peer, hub) = start("");
    tell(&peer, &json!({ "answer": "payload", "name": "answer-1.edi" }));
    hub.put("rfq-1.edi", &random(2000));
    let way = hub.ended("rfq-1.edi");
    assert_eq!(way["state"], "failed", "{way}");
    assert_eq!(way["deliveries"][0]["attempts"].as_array().unwrap().len(), 6, "{way}");
    assert!(way.to_string().contains("without a receipt"), "{way}");
    assert!(files(&hub.root.path().join("answers")).is_empty());
}

#[test]
fn a_payload_that_is_less_protected_than_agreed_is_refused_and_the_delivery_stays_proved() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "answer": "mixed", "protection": ["signed"], "name": "answer-1.edi", "ask": true }));
    hub.put("rfq-1.edi", &random(2000));
    let way = hub.ended("rfq-1.edi");
    assert_eq!(way["state"], "completed", "{way}");
    let refused = hub.events("message.refused");
    assert!(refused.len() == 1 && refused[0].to_string().contains("not encrypted"), "{refused:?}");
    assert!(files(&hub.root.path().join("answers")).is_empty());
    // Nothing of it is confirmed.
    assert!(received(&peer).iter().all(|line| line["receipt"] != true));
}

#[test]
fn an_answer_that_asks_for_a_receipt_gets_it_in_a_post_of_its_own() {
    let (peer, hub) = start("receive.security = \"signed\"");
    tell(&peer, &json!({ "answer": "mixed", "protection": ["signed"], "name": "answer-1.edi", "ask": true }));
    hub.put("rfq-1.edi", &random(2000));
    let way = hub.ended("rfq-1.edi");
    assert_eq!(way["state"], "completed", "{way}");
    let sent = answer_of(&peer, 0);
    let receipt = receipts(&peer, 1).remove(0);
    assert_eq!(receipt["original_message_id"], sent["reply"], "{receipt}");
    assert!(receipt["disposition"].as_str().unwrap().ends_with("; processed"), "{receipt}");
    let mic = format!("{}, sha-256", sent["mic"].as_str().unwrap());
    assert_eq!((&receipt["mic"], &receipt["signed"]), (&json!(mic), &json!(true)), "{receipt}");
    // A POST that is nothing but a receipt asks for none.
    assert_eq!(receipt["asked"], false, "{receipt}");
    // A lost answer is given again, with all its parts: the payload is taken once.
    tell(&peer, &json!({ "drop": 1, "name": "answer-2.edi" }));
    hub.put("rfq-2.edi", &random(2000));
    let way = hub.ended("rfq-2.edi");
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(way["deliveries"][0]["attempts"].as_array().unwrap().len(), 2, "{way}");
    wait_for(&hub, "answers", "answer-2.edi");
    receipts(&peer, 2);
    assert_eq!(files(&hub.root.path().join("answers")).len(), 2);
}

#[test]
fn receipts_that_come_later_may_be_encrypted_or_compressed_or_beside_a_message() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate, "later": true }));
    let here = hub.url();
    define(&hub, peer.text("url"), &format!("mdn.reply_to = \"listener:as2\"\nmdn.url = \"{here}\""));
    hub.gateway.start();
    for form in ["encrypted_mdn", "compressed_mdn", "mixed"] {
        tell(&peer, &json!({ "answer": form, "name": format!("beside-{form}.edi") }));
        hub.put(&format!("{form}.bin"), &random(2000));
        let way = hub.ended(&format!("{form}.bin"));
        assert_eq!(
            (&way["state"], &detail(&way)["signed"]),
            (&json!("completed"), &json!(true)),
            "{form}: {way}"
        );
    }
    // What came beside the last one is a message like any other.
    let (_, bytes) = wait_for(&hub, "in", "-beside-mixed.edi");
    let sent = received(&peer).into_iter().rfind(|line| line["sent"] == true).unwrap();
    assert_eq!(json!(sha256(&bytes)), sent["sha256"]);
    assert!(hub.events("receipt.unmatched").is_empty(), "{:?}", hub.events("receipt.unmatched"));
}

/// The peer sends, and reads the answer.
fn sending(hub: &Hub, more: &[&str]) -> Child {
    Command::new(repository().join("tests/servers/replies_peer.sh"))
        .args(["send", "--to-url", &hub.url(), "--key"])
        .arg(&hub.peer_key)
        .arg("--cert")
        .arg(&hub.peer_certificate)
        .arg("--partner-cert")
        .arg(&hub.own.certificate)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn said(sending: Child) -> Value {
    let output = sending.wait_with_output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Puts the answer to a message where it is polled; its name is the id of the message's transfer.
fn quote(hub: &Hub, arrived: &str, bytes: &[u8]) -> String {
    let transfer = &arrived[..36];
    let beside = hub.root.path().join("being-quoted");
    fs::write(&beside, bytes).unwrap();
    let name = format!("{transfer}.edi");
    fs::rename(beside, hub.root.path().join("quotes").join(&name)).unwrap();
    name
}

fn held(answer: &Value, receipt: bool) -> &Value {
    let mut held = answer["held"].as_array().unwrap().iter().filter(|part| part["receipt"] == receipt);
    held.next().unwrap_or_else(|| panic!("{answer}"))
}

#[test]
fn a_file_goes_into_the_answer_that_waits_for_it_and_its_receipt_comes_later() {
    let (_peer, hub) = start("receive.answer_within = \"60s\"");
    let rfq = hub.root.path().join("rfq.edi");
    fs::write(&rfq, random(3000)).unwrap();
    let file = rfq.to_str().unwrap();
    let mut before = Value::Null;
    // The receipt for it comes alone, then beside the next message.
    for round in 0..2 {
        let id = format!("<rfq-{round}@peer>");
        let (for_before, mic) = (before["message_id"].clone(), before["mic"].clone());
        let mut more = vec!["--file", file, "--message-id", &id];
        let mic = mic.as_str().map(str::to_owned).unwrap_or_default();
        if let Some(before) = for_before.as_str() {
            more.extend(["--receipt-for", before, "--receipt-mic", &mic]);
        }
        let message = sending(&hub, &more);
        let (arrived, _) = wait_for(&hub, "in", "-rfq.edi");
        let bytes = random(5000);
        let name = quote(&hub, &arrived, &bytes);
        let answer = said(message);
        assert_eq!(
            (&answer["status"], &answer["content_type"]),
            (&json!(200), &json!("multipart/mixed")),
            "{answer}"
        );
        let receipt = held(&answer, true);
        assert_eq!(
            (&receipt["signed"], &receipt["original_message_id"]),
            (&json!(true), &json!(id)),
            "{answer}"
        );
        let payload = held(&answer, false);
        assert_eq!(payload["sha256"], sha256(&bytes), "{answer}");
        assert_eq!((&payload["signed"], &payload["encrypted"]), (&json!(true), &json!(true)), "{answer}");
        assert_eq!(answer["asked"], true, "{answer}");
        // A repetition gets the same, to the last byte.
        let again = said(sending(&hub, &["--file", file, "--message-id", &id]));
        assert_eq!(again["body_sha256"], answer["body_sha256"], "{again}");
        // It is not proved yet.
        let found = hub.gateway.json(&["transfer", "list", "--file", &name]);
        assert_eq!(found[0]["state"], "delivering", "{found}");
        before = json!({ "message_id": answer["message_id"], "mic": payload["mic"], "name": name });
        fs::remove_file(hub.root.path().join("in").join(&arrived)).unwrap();
    }
    let (id, mic) = (before["message_id"].as_str().unwrap(), before["mic"].as_str().unwrap());
    let confirmed = said(sending(&hub, &["--receipt-for", id, "--receipt-mic", mic, "--encrypt-receipt"]));
    assert_eq!(confirmed["status"], 200, "{confirmed}");
    let way = hub.ended(before["name"].as_str().unwrap());
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(way["deliveries"][0]["attempts"].as_array().unwrap().len(), 1, "{way}");
    assert_eq!(detail(&way)["mic_matched"], true, "{way}");
    assert_eq!(hub.events("delivery.delivered").iter().filter(|event| event["flow"] == "quotes").count(), 2);
}

#[test]
fn where_nothing_comes_in_time_the_receipt_is_the_answer_and_the_file_a_message_of_its_own() {
    let (peer, hub) = start("receive.answer_within = \"1s\"");
    let rfq = hub.root.path().join("rfq.edi");
    fs::write(&rfq, random(3000)).unwrap();
    let answer = said(sending(&hub, &["--file", rfq.to_str().unwrap()]));
    assert_eq!((&answer["status"], answer["held"].as_array().unwrap().len()), (&json!(200), 1), "{answer}");
    assert_eq!(held(&answer, true)["signed"], true, "{answer}");
    let (arrived, _) = wait_for(&hub, "in", "-rfq.edi");
    let bytes = random(5000);
    let way = hub.ended(&quote(&hub, &arrived, &bytes));
    assert_eq!(way["state"], "completed", "{way}");
    let seen = received(&peer);
    assert!(seen.iter().any(|line| line["sha256"] == sha256(&bytes) && line["sent"] != true), "{seen:?}");
    // Without an option nothing waits, and a message that asks for no receipt gets a bare status.
    let answer = said(sending(&hub, &["--file", rfq.to_str().unwrap(), "--no-receipt"]));
    assert_eq!((&answer["status"], &answer["text"]), (&json!(200), &json!("")), "{answer}");
}
