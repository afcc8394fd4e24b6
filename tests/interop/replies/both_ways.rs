//! Messages that come in an answer and by POST, and what proves them.

use super::{
    RESPONSE, answer_of, define, detail, document, files, held, receipts, said, sending, start, start_peer,
    wait_for,
};
use crate::evidence::{checked_by_hand, outcomes, save, unpacked, verify};
use crate::hub::{Hub, PATIENCE, random, received, tell};
use serde_json::{Value, json};
use std::fs;
use suites::eventually;

#[test]
fn a_message_that_comes_in_an_answer_and_by_post_is_taken_once() {
    let (peer, hub) = start("receive.security = \"signed\"");
    let told = json!({ "answer": "mixed", "protection": ["signed"], "name": "answer-1.edi", "ask": true });
    tell(&peer, &told);
    hub.put("rfq-1.edi", &random(2000));
    let asked = hub.ended("rfq-1.edi");
    assert_eq!((&asked["state"], asked["source"]["endpoint"].as_str()), (&json!("completed"), Some("out")));
    let (sent, receipt) = (answer_of(&peer, 0), receipts(&peer, 1).remove(0));
    let (_, bytes) = wait_for(&hub, "answers", "answer-1.edi");
    // It comes from the transfer that it answers, and was found at no source.
    let taken = hub.ended("answer-1.edi");
    assert_eq!((&taken["kind"], &taken["parent"]), (&json!("reply"), &asked["id"]), "{taken}");
    assert!(taken.get("source").is_none(), "{taken}");
    let file = hub.root.path().join("answer-1.edi");
    fs::write(&file, &bytes).unwrap();
    let (file, id) = (file.to_str().unwrap(), sent["reply"].as_str().unwrap());
    // By POST it is signed and encrypted anew; it gets the receipt that was sent for the answer.
    let again = said(sending(&hub, &["--file", file, "--message-id", id]));
    let stored = held(&again, true);
    assert_eq!((&again["status"], &stored["signed"]), (&json!(200), &json!(true)), "{again}");
    assert_eq!(
        (&stored["original_message_id"], &stored["mic"]),
        (&json!(id), &receipt["mic"]),
        "{again} {receipt}"
    );
    assert_eq!(hub.events("message.repeated").len(), 1);
    assert_eq!(files(&hub.root.path().join("answers")).len(), 1);
    assert!(files(&hub.root.path().join("in")).is_empty());

    // First by POST, then in an answer, which is confirmed all the same.
    let order = hub.root.path().join("order.edi");
    fs::write(&order, random(3000)).unwrap();
    let (order, id) = (order.to_str().unwrap(), "<order-1@replies-peer>");
    assert_eq!(said(sending(&hub, &["--file", order, "--message-id", id]))["status"], 200);
    wait_for(&hub, "in", "-order.edi");
    let mut told = told;
    (told["file"], told["message_id"], told["name"]) = (json!(order), json!(id), json!("answer-2.edi"));
    tell(&peer, &told);
    hub.put("rfq-2.edi", &random(2000));
    assert_eq!(hub.ended("rfq-2.edi")["state"], "completed");
    let receipt = receipts(&peer, 2).remove(1);
    assert_eq!(receipt["original_message_id"], id, "{receipt}");
    assert!(receipt["disposition"].as_str().unwrap().ends_with("; processed"), "{receipt}");
    assert_eq!(hub.events("message.repeated").len(), 2);

    // Another file under the same id is taken, and the event tells.
    (told["file"], told["name"]) = (Value::Null, json!("answer-3.edi"));
    tell(&peer, &told);
    hub.put("rfq-3.edi", &random(2000));
    wait_for(&hub, "answers", "answer-3.edi");
    assert_eq!(hub.events("message.content_differs").len(), 1);
    assert_eq!(files(&hub.root.path().join("answers")).len(), 2);

    // The answer asks for no receipt, its repetition by POST does, and gets one.
    let id = "<order-2@replies-peer>";
    for (key, value) in [("file", json!(order)), ("message_id", json!(id)), ("ask", json!(false))] {
        told[key] = value;
    }
    told["name"] = json!("answer-4.edi");
    tell(&peer, &told);
    hub.put("rfq-4.edi", &random(2000));
    wait_for(&hub, "answers", "answer-4.edi");
    let again = said(sending(&hub, &["--file", order, "--message-id", id]));
    let made = held(&again, true);
    assert_eq!((&made["signed"], &made["original_message_id"]), (&json!(true), &json!(id)), "{again}");
    assert!(made["mic"].is_string() && made["disposition"].as_str().unwrap().ends_with("; processed"));
    assert_eq!(hub.events("message.repeated").len(), 3);

    // The receipt for one under the signature of a receipt has the MIC of both; that of its repetition is another one.
    let id = "<order-3@replies-peer>";
    for (key, value) in [("message_id", json!(id)), ("answer", json!("covered")), ("ask", json!(true))] {
        told[key] = value;
    }
    told["name"] = json!("answer-5.edi");
    tell(&peer, &told);
    hub.put("rfq-5.edi", &random(2000));
    wait_for(&hub, "answers", "answer-5.edi");
    let receipt = receipts(&peer, 3).remove(2);
    let again = said(sending(&hub, &["--file", order, "--message-id", id]));
    let made = held(&again, true);
    assert_eq!((&made["signed"], &made["original_message_id"]), (&json!(true), &json!(id)), "{again}");
    assert!(made["mic"].is_string() && made["mic"] != receipt["mic"], "{made} {receipt}");
    assert_eq!(hub.events("message.repeated").len(), 4);
    assert_eq!(files(&hub.root.path().join("in")).len(), 1);
}

#[test]
fn a_receipt_beside_a_message_that_came_in_an_answer_is_taken() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    let told = json!({ "partner_cert": hub.own.certificate, "answer": "payload", "name": "answer-1.edi" });
    tell(&peer, &told);
    let here = hub.url();
    define(&hub, peer.text("url"), &format!("mdn.reply_to = \"listener:as2\"\nmdn.url = \"{here}\""));
    hub.gateway.start();
    hub.put("rfq-1.bin", &random(2000));
    // The receipt is still to come.
    let (_, bytes) = wait_for(&hub, "answers", "answer-1.edi");
    let asked = received(&peer).into_iter().find(|line| line["sent"] != true).unwrap();
    let file = hub.root.path().join("answer-1.edi");
    fs::write(&file, &bytes).unwrap();
    let sent = answer_of(&peer, 0);
    let [id, first, mic] =
        [&sent["reply"], &asked["message_id"], &asked["mic"]].map(|text| text.as_str().unwrap());
    let more =
        ["--file", file.to_str().unwrap(), "--message-id", id, "--receipt-for", first, "--receipt-mic", mic];
    let again = said(sending(&hub, &more));
    assert_eq!(
        (&again["status"], &held(&again, true)["original_message_id"]),
        (&json!(200), &json!(id)),
        "{again}"
    );
    let way = hub.ended("rfq-1.bin");
    assert_eq!((&way["state"], &detail(&way)["mic_matched"]), (&json!("completed"), &json!(true)), "{way}");
    assert_eq!(hub.events("message.repeated").len(), 1);
    assert_eq!(files(&hub.root.path().join("answers")).len(), 1);
    assert!(files(&hub.root.path().join("in")).is_empty());
}

#[test]
fn what_proves_a_payload_in_an_answer_is_kept_and_checked_offline() {
    let (peer, mut hub) = start("receive.security = \"signed\"");
    let mut ids = Vec::new();
    for (answer, ask) in [("mixed", true), ("covered", true), ("mixed", false)] {
        let name = format!("answer-{}.edi", ids.len());
        tell(&peer, &json!({ "answer": answer, "protection": ["signed"], "name": name, "ask": ask }));
        hub.put(&format!("rfq-{}.edi", ids.len()), &random(2000));
        wait_for(&hub, "answers", &name);
        ids.push((hub.ended(&name)["id"].as_str().unwrap().to_owned(), ask));
    }
    receipts(&peer, 2);
    // It seals what it did before it ends.
    assert!(hub.gateway.stop().success());
    for (number, (id, ask)) in ids.iter().enumerate() {
        let package = save(&hub, id, &format!("answer-{number}.zip"));
        let by_hand = checked_by_hand(&unpacked(&hub, &package));
        let verified = by_hand.matches("CMS Verification successful").count();
        assert_eq!(verified, 1 + usize::from(*ask), "{number}: {by_hand}");
        let (code, said) = verify(&package, &[]);
        assert_eq!(code, 0, "{number}: {said}");
        for check in ["files", "content", "signature", "MIC", "events"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{number}, {check}: {said}");
        }
        let receipt = outcomes(&said, "receipt");
        assert_eq!(receipt.iter().any(|outcome| outcome == "holds"), *ask, "{number}: {said}");
    }
}

#[test]
fn what_proves_an_answer_that_no_flow_takes_is_kept_too() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    let told = json!({ "partner_cert": hub.own.certificate, "answer": "mixed", "protection": ["signed"], "name": "answer-1.edi" });
    tell(&peer, &told);
    let text = document(&hub, peer.text("url"), "receive.security = \"signed\"").replace(RESPONSE, "");
    hub.gateway.define("hub.toml", &text);
    for folder in ["answers", "quotes"] {
        fs::create_dir_all(hub.root.path().join(folder)).unwrap();
    }
    hub.gateway.start();
    hub.put("rfq-1.edi", &random(2000));
    let held = eventually("the answer is held", PATIENCE, || {
        let found = hub.gateway.json(&["transfer", "list", "--file", "answer-1.edi"]);
        found.as_array().unwrap().first().filter(|way| way["state"] == "held").cloned()
    });
    assert!(hub.gateway.stop().success());
    let package = save(&hub, held["id"].as_str().unwrap(), "held.zip");
    let (code, said) = verify(&package, &[]);
    assert_eq!(code, 0, "{said}");
    for check in ["content", "signature", "MIC", "events"] {
        assert_eq!(outcomes(&said, check), ["holds"], "{check}: {said}");
    }
    // The event that holds it says what it was, and which evidence.
    for check in ["evidence in the audit trail", "transfer"] {
        assert_eq!(outcomes(&said, check), ["open"], "{check}: {said}");
        assert!(said.to_string().contains("its seal's key came with the package"), "{said}");
        assert!(!said.to_string().contains("is not here"), "{said}");
    }
}
