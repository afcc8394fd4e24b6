//! Keys and certificates change on both sides, each when it likes, and no message is lost.

use crate::hub::{Hub, PATIENCE, random, received, sha256, start_peer, tell};
use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::x509::X509;
use serde_json::{Value, json};
use std::fs;
use suites::{KeyPair, Server};

const PAST: &str = "2020-01-01T00:00:00Z";
const FUTURE: &str = "2099-01-01T00:00:00Z";

/// A gateway and pyas2lib, each with a key that it has and one that it changes to.
struct Change {
    peer: Server,
    hub: Hub,
    own: KeyPair,
    theirs: KeyPair,
    runs: bool,
}

impl Change {
    fn new() -> Self {
        let peer = start_peer();
        let hub = Hub::for_peer(&peer);
        tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
        let keys = hub.root.path().join("keys");
        let (own, theirs) = (KeyPair::make(&keys, "waybill-new"), KeyPair::make(&keys, "peer-new"));
        Self { peer, hub, own, theirs, runs: false }
    }

    /// (Re)starts the gateway with these times of the new key and the new certificate.
    fn start(&mut self, own_from: &str, their_from: &str, agreement: &str) {
        if self.runs {
            self.hub.gateway.stop();
        }
        let own = format!("keys = [\"waybill\", {{ name = \"waybill-new\", from = \"{own_from}\" }}]");
        let theirs = format!("certificates = [\"peer\", {{ name = \"peer-new\", from = \"{their_from}\" }}]");
        define(&self.hub, self.peer.text("url"), (&own, &theirs), agreement);
        self.hub.gateway.start();
        self.runs = true;
    }

    /// Sends a file, and gives the receipt's detail.
    fn sent(&self, name: &str) -> Value {
        self.hub.put(name, name.repeat(100).as_bytes());
        self.delivered(name)
    }

    fn delivered(&self, name: &str) -> Value {
        let way = self.hub.ended(name);
        assert_eq!(way["state"], "completed", "{way}");
        way["deliveries"][0]["receipt"]["detail"].clone()
    }

    /// Has the peer send a file with its new key, encrypted for one of our certificates and with the receipt verified by it
    /// alone; gives the metadata of the transfer.
    fn received_from_it(&self, name: &str, ours: &KeyPair) -> Value {
        let file = self.hub.root.path().join(name);
        fs::write(&file, random(5_000)).unwrap();
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let options = [
            ["--key".to_owned(), path(&self.theirs.key)],
            ["--cert".to_owned(), path(&self.theirs.certificate)],
            ["--partner-cert".to_owned(), path(&ours.certificate)],
        ]
        .concat();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let said = self.hub.send(file.to_str().unwrap(), &options);
        assert!(said["disposition"].as_str().unwrap_or_default().ends_with("; processed"), "{said}");
        assert_eq!(said["mdn_verified"], true, "{said}");
        self.hub.ended(name)["metadata"].clone()
    }

    fn told(&self) -> Vec<Value> {
        self.hub.events("certificate.fallback_used")
    }
}

/// The usual definitions with these lines for our keys and the partner's certificates, whose files have their names.
fn define(hub: &Hub, url: &str, (own, theirs): (&str, &str), agreement: &str) {
    hub.define(url, agreement);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let mut text = fs::read_to_string(&document).unwrap();
    for (usual, line) in [("keys = [\"waybill\"]", own), ("certificates = [\"peer\"]", theirs)] {
        assert!(text.contains(usual), "{text}");
        text = text.replace(usual, line);
    }
    let root = hub.root.path().display();
    for name in ["waybill-new", "waybill-old"].iter().filter(|name| own.contains(**name)) {
        text.push_str(&format!(
            "[key.{name}]\nprivate_key = \"${{file:{root}/keys/{name}.key.pem}}\"\n\
             certificate = \"${{file:{root}/keys/{name}.cert.pem}}\"\n"
        ));
    }
    if theirs.contains("peer-new") {
        text.push_str(&format!(
            "[certificate.peer-new]\npem = \"${{file:{root}/keys/peer-new.cert.pem}}\"\n"
        ));
    }
    fs::write(document, text).unwrap();
}

/// What messages were sent with.
fn with(detail: &Value) -> (&str, &str) {
    let text = |key: &str| detail[key].as_str().unwrap_or_else(|| panic!("{key}: {detail}"));
    (text("sent_signed_with"), text("sent_encrypted_with"))
}

#[test]
fn both_sides_change_at_different_times_and_no_message_is_lost() {
    let mut change = Change::new();
    let once = "fallback = \"once\"";
    change.start(FUTURE, FUTURE, once);
    let detail = change.sent("before.bin");
    assert_eq!(with(&detail), ("waybill", "peer"));
    assert_eq!(detail["signed_with"], "peer");
    assert!(change.told().is_empty());

    // The partner changes before its time.
    tell(&change.peer, &json!({ "key": change.theirs.key, "cert": change.theirs.certificate }));
    let detail = change.sent("partner-early.bin");
    assert_eq!(with(&detail), ("waybill", "peer-new"));
    assert_eq!(detail["signed_with"], "peer-new");
    let seen = received(&change.peer);
    let [.., refused, taken] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(refused["error"].as_str().unwrap().contains("decrypt"), "{refused}");
    assert_eq!((seen.len(), &taken["status"]), (3, &json!("processed")), "{taken}");
    assert_ne!(refused["message_id"], taken["message_id"]);
    let told = change.told();
    let names = |event: &Value, record: &Value| {
        event.to_string().contains(record["message_id"].as_str().unwrap().trim_matches(['<', '>']))
    };
    assert!(told.iter().any(|event| names(event, refused) && names(event, taken)), "{told:#?}");
    // The other one tells that the receipt was signed early.
    assert_eq!(told.len(), 2, "{told:#?}");

    // Its time has come here too.
    change.start(FUTURE, PAST, once);
    assert_eq!(with(&change.sent("partner-on-time.bin")), ("waybill", "peer-new"));
    assert_eq!((received(&change.peer).len(), change.told().len()), (4, 2));

    // We change, and the partner has not: it verifies with our old certificate, and encrypts for it.
    change.start(PAST, PAST, once);
    assert_eq!(with(&change.sent("partner-late.bin")), ("waybill", "peer-new"));
    let seen = received(&change.peer);
    let [.., refused, taken] = seen.as_slice() else { panic!("{seen:?}") };
    assert!(refused["error"].as_str().unwrap().contains("signature"), "{refused}");
    assert_eq!((seen.len(), &taken["status"]), (6, &json!("processed")), "{taken}");
    assert_eq!(change.told().len(), 3);
    let metadata = change.received_from_it("for-the-old.bin", &change.hub.own);
    assert_eq!(metadata["as2_decrypted_with"], "waybill", "{metadata}");
    assert_eq!(metadata["as2_verified_with"], "peer-new", "{metadata}");
    let told = change.told();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[0].to_string().contains("encrypted for our key 'waybill'"), "{}", told[0]);

    // At last it has: nothing is out of its time any more.
    tell(&change.peer, &json!({ "partner_cert": change.own.certificate }));
    assert_eq!(with(&change.sent("after.bin")), ("waybill-new", "peer-new"));
    let metadata = change.received_from_it("for-the-new.bin", &change.own);
    assert_eq!(metadata["as2_decrypted_with"], "waybill-new", "{metadata}");
    let seen = received(&change.peer);
    assert_eq!((seen.len(), change.told().len()), (7, 4));
    let taken: Vec<&str> = seen.iter().filter_map(|record| record["sha256"].as_str()).collect();
    let sent = ["before", "partner-early", "partner-on-time", "partner-late", "after"];
    let sent = sent.map(|name| sha256(format!("{name}.bin").repeat(100).as_bytes()));
    assert_eq!(taken, sent);
}

#[test]
fn a_window_opens_by_the_clock_while_files_go_out() {
    let mut change = Change::new();
    let opens = chrono::Utc::now() + chrono::TimeDelta::seconds(8);
    change.start(&opens.to_rfc3339(), FUTURE, "");
    let mut number = 0;
    let way = suites::eventually("a message is signed with the new key", PATIENCE, || {
        let name = format!("file-{number}.bin");
        number += 1;
        let begun = chrono::Utc::now();
        change.hub.put(&name, name.as_bytes());
        let way = change.hub.ended(&name);
        // pyas2lib knows the old certificate alone.
        let is_old = way["state"] == "completed";
        assert!(is_old || chrono::Utc::now() >= opens, "too early: {way}");
        assert!(!is_old || begun < opens, "too late: {way}");
        if is_old {
            assert_eq!(with(&way["deliveries"][0]["receipt"]["detail"]), ("waybill", "peer"), "{way}");
        }
        (!is_old).then_some(way)
    });
    let error = way["deliveries"][0]["attempts"][0]["error"].as_str().unwrap();
    assert!(error.contains("authentication-failed"), "{error}");
}

#[test]
fn a_message_that_may_have_arrived_is_not_made_anew_by_a_change() {
    let mut change = Change::new();
    change.start(FUTURE, FUTURE, "");
    tell(&change.peer, &json!({ "drop": "after_read" }));
    change.hub.put("in-flight.bin", &random(10_000));
    suites::eventually("a first attempt", PATIENCE, || (!received(&change.peer).is_empty()).then_some(()));
    change.start(PAST, PAST, "");
    tell(&change.peer, &json!({ "reset": true }));
    assert_eq!(with(&change.delivered("in-flight.bin")), ("waybill", "peer"));
    let seen = received(&change.peer);
    assert!(seen.len() >= 2, "{seen:?}");
    for record in &seen {
        assert_eq!(record["message_id"], seen[0]["message_id"], "{seen:?}");
        assert_eq!(record["raw_sha256"], seen[0]["raw_sha256"], "{seen:?}");
    }
}

/// The partner has the message of the first attempt, whatever it says of the second.
#[test]
fn a_message_that_may_have_arrived_is_not_sent_as_another_one() {
    let mut change = Change::new();
    change.start(FUTURE, FUTURE, "fallback = \"once\"");
    tell(
        &change.peer,
        &json!({ "duplicate": "warning", "disposition": "processed/error: decryption-failed" }),
    );
    tell(&change.peer, &json!({ "drop": "after_read", "times": 1 }));
    change.hub.put("lost.bin", &random(1_000));
    let way = change.hub.ended("lost.bin");
    assert_eq!(way["state"], "failed", "{way}");
    let seen = received(&change.peer);
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(seen[0]["message_id"], seen[1]["message_id"], "{seen:?}");
}

#[test]
fn a_message_is_repeated_when_another_key_of_ours_was_taken_away() {
    let mut change = Change::new();
    change.start(PAST, FUTURE, "");
    tell(&change.peer, &json!({ "partner_cert": change.own.certificate }));
    tell(&change.peer, &json!({ "drop": "after_read" }));
    change.hub.put("kept.bin", &random(10_000));
    suites::eventually("a first attempt", PATIENCE, || (!received(&change.peer).is_empty()).then_some(()));
    change.hub.gateway.stop();
    let left = ("keys = [\"waybill-new\"]", "certificates = [\"peer\"]");
    define(&change.hub, change.peer.text("url"), left, "");
    change.hub.gateway.start();
    tell(&change.peer, &json!({ "reset": true }));
    assert_eq!(with(&change.delivered("kept.bin")), ("waybill-new", "peer"));
    let seen = received(&change.peer);
    assert!(seen.iter().all(|record| record["raw_sha256"] == seen[0]["raw_sha256"]), "{seen:?}");
}

#[test]
fn a_message_that_did_not_arrive_is_sent_with_what_is_in_force_then() {
    let mut change = Change::new();
    change.start(FUTURE, FUTURE, "");
    tell(&change.peer, &json!({ "status": 503 }));
    change.hub.put("waiting.bin", &random(10_000));
    suites::eventually("a failed attempt", PATIENCE, || {
        (!change.hub.events("delivery.retrying").is_empty()).then_some(())
    });
    let theirs = json!({ "key": change.theirs.key, "cert": change.theirs.certificate });
    tell(&change.peer, &theirs);
    tell(&change.peer, &json!({ "partner_cert": change.own.certificate }));
    change.start(PAST, PAST, "");
    tell(&change.peer, &json!({ "reset": true }));
    assert_eq!(with(&change.delivered("waiting.bin")), ("waybill-new", "peer-new"));
}

#[test]
fn without_the_option_a_refusal_is_final_and_with_it_one_more_message_is_sent() {
    let mut change = Change::new();
    for (agreement, messages) in [("", 1), ("fallback = \"once\"", 2)] {
        change.start(FUTURE, FUTURE, agreement);
        tell(
            &change.peer,
            &json!({ "disposition": "processed/error: decryption-failed", "times": messages }),
        );
        let before = received(&change.peer).len();
        let name = format!("refused-{messages}.bin");
        change.hub.put(&name, &random(1_000));
        let way = change.hub.ended(&name);
        assert_eq!(way["state"], "failed", "{way}");
        let attempts = way["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(attempts.len(), 1, "{way}");
        let seen = &received(&change.peer)[before..];
        assert_eq!(seen.len(), messages, "{seen:?}");
        let error = attempts[0]["error"].as_str().unwrap();
        assert!(error.contains("decryption-failed"), "{error}");
        let first = seen[0]["message_id"].as_str().unwrap();
        assert!(messages == 1 || error.contains(first) && error.contains("'peer-new'"), "{error}");
    }
}

/// Another certificate of the same key and the same name, as when one is renewed.
fn renewed(pair: &KeyPair) -> KeyPair {
    let key = PKey::private_key_from_pem(&fs::read(&pair.key).unwrap()).unwrap();
    let old = X509::from_pem(&fs::read(&pair.certificate).unwrap()).unwrap();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    builder.set_serial_number(&BigNum::from_u32(77).unwrap().to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(old.subject_name()).unwrap();
    builder.set_issuer_name(old.issuer_name()).unwrap();
    builder.set_pubkey(&key).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(700).unwrap()).unwrap();
    builder.sign(&key, MessageDigest::sha256()).unwrap();
    let certificate = pair.certificate.with_file_name("renewed.cert.pem");
    fs::write(&certificate, builder.build().to_pem().unwrap()).unwrap();
    KeyPair { key: pair.key.clone(), certificate }
}

#[test]
fn messages_for_the_old_the_new_and_a_renewed_certificate_are_read() {
    let mut hub = Hub::alone();
    let keys = hub.root.path().join("keys");
    let (old, new) = (KeyPair::make(&keys, "waybill-old"), KeyPair::make(&keys, "waybill-new"));
    let define = |hub: &Hub, overlap: &str| {
        let own = format!(
            "keys = [{{ name = \"waybill-old\", until = \"{PAST}\" }}, {{ name = \"waybill\", from = \"{PAST}\" }}, \
             {{ name = \"waybill-new\", from = \"{FUTURE}\" }}]\noverlap = \"{overlap}\""
        );
        define(hub, "http://127.0.0.1:9/as2", (&own, "certificates = [\"peer\"]"), "");
    };
    define(&hub, "36500d");
    hub.gateway.start();
    let renewed = renewed(&hub.own);
    let expected = [
        ("old.bin", &old, "waybill-old", Some("has not changed yet")),
        ("new.bin", &new, "waybill-new", Some("changed early")),
        ("renewed.bin", &renewed, "waybill", None),
        ("current.bin", &hub.own, "waybill", None),
    ];
    let mut events = 0;
    for (name, recipient, decrypted_with, told) in expected {
        let payload = random(20_000);
        let answer = hub.pack(name, &payload, &hub.peer(), Some(recipient)).post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{name}: {}", answer.text());
        assert_eq!(hub.wait_for_file(name), payload);
        let metadata = hub.ended(name)["metadata"].clone();
        assert_eq!(metadata["as2_decrypted_with"], decrypted_with, "{metadata}");
        events += usize::from(told.is_some());
        let found = hub.events("certificate.fallback_used");
        assert_eq!(found.len(), events, "{found:?}");
        if let Some(words) = told {
            let newest = found[0].to_string();
            assert!(newest.contains(decrypted_with) && newest.contains(words), "{newest}");
        }
    }
    // When its overlap is over, the old key is as good as a stranger's.
    hub.gateway.stop();
    define(&hub, "0s");
    hub.gateway.start();
    let stranger = KeyPair::make(&keys, "stranger");
    let answers = [&old, &stranger].map(|recipient| {
        let message = hub.pack("late.bin", b"late", &hub.peer(), Some(recipient));
        let answer = message.post(hub.gateway.http).unwrap().text();
        assert!(answer.contains("processed/error: decryption-failed\r\n"), "{answer}");
        let words = |line: &&str| line.contains("could not be") || line.starts_with("Disposition:");
        answer.lines().filter(words).map(str::to_owned).collect::<Vec<_>>()
    });
    assert_eq!(answers[0], answers[1]);
    hub.is_unmoved();
}
