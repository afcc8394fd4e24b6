//! pyas2lib and libas2 → Waybill, in every protection, receipt, digest, cipher, and compressed: the rows of the table in
//! docs/as2.md.

use crate::hub::{Hub, random, start_peer, tell};
use crate::table::{self, Direction, Exchange, LIBAS2, PYAS2LIB, Product};
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use suites::{KeyPair, Server};

#[test]
fn every_form_of_a_message_from_pyas2lib_is_taken_and_receipted() {
    let (peer, mut hub) = start(&PYAS2LIB);
    all(&PYAS2LIB, &peer, &mut hub, |_| true);
}

#[test]
fn every_form_of_a_message_from_libas2_is_taken_and_receipted() {
    let (peer, mut hub) = start(&LIBAS2);
    all(&LIBAS2, &peer, &mut hub, |one| one.key != "ecdh");
}

/// The gateway's own key is one for ECDH and ECDSA.
#[test]
fn an_ec_key_decrypts_what_libas2_sends_and_signs_the_receipt() {
    let (peer, mut hub) = start(&LIBAS2);
    make_ec_pair(&hub.own);
    all(&LIBAS2, &peer, &mut hub, |one| one.key == "ecdh");
}

fn start(product: &Product) -> (Server, Hub) {
    let peer = Server::start(product.script, &[]);
    assert_eq!(peer.text("version"), product.version);
    let hub = Hub::for_peer(&peer);
    (peer, hub)
}

pub fn make_ec_pair(pair: &KeyPair) {
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"])
        .args(["-subj", "/CN=waybill", "-days", "30", "-keyout"])
        .arg(&pair.key)
        .arg("-out")
        .arg(&pair.certificate)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn all(product: &'static Product, peer: &Server, hub: &mut Hub, chosen: impl Fn(&Exchange) -> bool) {
    hub.define(peer.text("url"), "receive.security = \"none\"\nlegacy = true");
    hub.gateway.start();
    let rows = table::of(product, Direction::FromIt).filter(|one| chosen(one));
    let (failing, working): (Vec<&Exchange>, Vec<&Exchange>) = rows.partition(|one| one.fails().is_some());
    assert!(!working.is_empty());
    for (number, one) in working.iter().enumerate() {
        let name = format!("invoice {number}.bin");
        let bytes = [random(40_000), b"x\ny\r\n\r\n".to_vec()].concat();
        let said = send(hub, product, one, &name, &bytes);
        assert_eq!(said["http_status"], 200, "{one:?}: {said}");
        assert_eq!(said["error"], Value::Null, "{one:?}: {said}");
        receipted(one, &said);
        assert!(hub.wait_for_file(&name) == bytes, "{one:?} came with other bytes");
    }
    assert_eq!(hub.transfers(), working.len());
    assert_eq!(hub.events("message.refused").len(), 0);
    weak_ones_are_on_record(hub, &working);
    for one in failing {
        let said = send(hub, product, one, "refused.bin", &random(1000));
        let disposition = said["disposition"].as_str().unwrap_or_default();
        assert!(disposition.contains(one.fails().unwrap()), "{one:?}: {said}");
        assert!(hub.inbox().iter().all(|(name, _)| name != "refused.bin"), "{one:?}: {said}");
    }
}

fn send(hub: &Hub, product: &Product, one: &Exchange, name: &str, bytes: &[u8]) -> Value {
    let file = hub.root.path().join(name);
    fs::write(&file, bytes).unwrap();
    let options = one.options();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    hub.send_by(product.script, &hub.url(), None, file.to_str().unwrap(), &options)
}

/// That the receipt is as it was asked for, and proves what arrived.
fn receipted(one: &Exchange, said: &Value) {
    if one.mdn == "none" {
        return;
    }
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{one:?}: {said}");
    assert_eq!(said["original_message_id_matched"], true, "{one:?}: {said}");
    assert_eq!(said["mdn_signed"], one.mdn == "signed", "{one:?}: {said}");
    assert!(one.mdn != "signed" || said["mdn_verified"] == true, "{one:?}: {said}");
    if one.is_signed() {
        assert_eq!(said["mic_matched"], true, "{one:?}: {said}");
    }
}

/// Each use of what is weak is on record: messages signed by MD5 or SHA-1, with their receipts, and triple DES.
fn weak_ones_are_on_record(hub: &Hub, exchanges: &[&Exchange]) {
    let legacy = hub.events("message.legacy_used");
    let count = |weak: &dyn Fn(&Exchange) -> bool| exchanges.iter().filter(|one| weak(one)).count();
    assert_eq!(legacy.len(), count(&Exchange::is_weak), "{legacy:?}");
    let [md5, sha1] = ["md5", "sha1"].map(|digest| count(&|one| one.is_signed() && one.digest == digest));
    let triple_des = count(&|one| one.is_encrypted() && one.cipher == "3des");
    for (word, count) in [("MD5", md5), ("SHA-1", sha1), ("triple DES", triple_des)] {
        let named = legacy.iter().filter(|event| event.to_string().contains(word)).count();
        assert_eq!(named, count, "{word}: {legacy:?}");
    }
}

#[test]
fn file_names_arrive_as_they_are_or_harmless() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    hub.define(peer.text("url"), "receive.security = \"none\"");
    hub.gateway.start();
    let file = hub.root.path().join("payload");
    for (given, expected) in [
        ("with spaces.edi", "with spaces.edi"),
        ("Bestellung Größe.edi", "Bestellung Größe.edi"),
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/etc/shadow", "shadow"),
    ] {
        fs::write(&file, given).unwrap();
        let said = hub.send(file.to_str().unwrap(), &["--file-name", given]);
        assert!(said["disposition"].as_str().unwrap_or_default().ends_with("; processed"), "{given}: {said}");
        assert_eq!(hub.wait_for_file(expected), given.as_bytes(), "{given}");
        fs::remove_file(hub.root.path().join("in").join(expected)).unwrap();
    }
    assert!(!hub.root.path().join("passwd").exists());
}

#[test]
fn the_log_names_the_url_that_messages_are_sent_to() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let url = format!("url=http://127.0.0.1:{}/as2", hub.gateway.http);
    assert!(
        hub.gateway.log().lines().any(|line| line.contains("receiving AS2") && line.contains(&url)),
        "{url}"
    );
    assert_eq!(hub.good("a.bin", b"a").post(hub.gateway.http).unwrap().status, 200);
}

/// Nothing is signed or encrypted, so no certificate is needed; what is signed all the same proves nothing, and is refused.
#[test]
fn a_partner_without_certificates_sends_and_receives() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let agreement = "send.security = \"none\"\nreceive.security = \"none\"\nmdn.ask = \"unsigned\"";
    hub.define(peer.text("url"), agreement);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    assert!(text.contains("certificates = [\"peer\"]\n"));
    hub.gateway.define("hub.toml", &text.replace("certificates = [\"peer\"]\n", ""));
    hub.gateway.start();
    hub.put("out.bin", b"to a partner without certificates");
    let way = hub.ended("out.bin");
    assert_eq!(way["state"], "completed", "{way}");
    let file = hub.root.path().join("in.bin");
    fs::write(&file, b"from a partner without certificates").unwrap();
    let said = hub.send(file.to_str().unwrap(), &["--no-sign", "--no-encrypt"]);
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
    assert_eq!(hub.wait_for_file("in.bin"), b"from a partner without certificates");
    fs::write(&file, b"signed by nobody knows whom").unwrap();
    let said = hub.send(file.to_str().unwrap(), &["--no-encrypt", "--file-name", "signed.bin"]);
    assert!(said["disposition"].as_str().unwrap().contains("authentication-failed"), "{said}");
    assert!(hub.inbox().iter().all(|(name, _)| name != "signed.bin"), "{:?}", hub.inbox());
}
