//! Waybill → pyas2lib and libas2 (and, called by asx.rs, asx-rs), in every protection, receipt, digest and cipher: the rows of the table in docs/as2.md.

use crate::hub::{Hub, random, received, sha256, start_peer, tell};
use crate::receiving::make_ec_pair;
use crate::table::{self, ASX, Direction, Exchange, LIBAS2, PYAS2LIB, Product};
use serde_json::{Value, json};
use suites::Server;

#[test]
fn signed_and_encrypted_to_pyas2lib() {
    all(&PYAS2LIB, |one| one.security == "signed_encrypted");
}

#[test]
fn signed_alone_to_pyas2lib() {
    all(&PYAS2LIB, |one| one.security == "signed");
}

#[test]
fn encrypted_alone_and_unprotected_to_pyas2lib() {
    all(&PYAS2LIB, |one| !one.is_signed());
}

#[test]
fn signed_and_encrypted_to_libas2() {
    all(&LIBAS2, |one| one.security == "signed_encrypted");
}

#[test]
fn signed_alone_and_not_at_all_to_libas2() {
    all(&LIBAS2, |one| one.security != "signed_encrypted");
}

/// Every row of the product that is chosen; those that fail each with a gateway of their own, for an endpoint whose other side
/// cannot read us is left alone for a while.
pub fn all(product: &'static Product, chosen: impl Fn(&Exchange) -> bool) {
    let rows = table::of(product, Direction::ToIt).filter(|one| chosen(one));
    let (failing, working): (Vec<&Exchange>, Vec<&Exchange>) = rows.partition(|one| one.fails().is_some());
    assert!(!working.is_empty());
    in_turn(product, &[], &working);
    for one in failing {
        let key: &[&str] = if one.key == "ecdh" { &["--ec"] } else { &[] };
        in_turn(product, key, &[one]);
    }
}

fn in_turn(product: &Product, key: &[&str], exchanges: &[&Exchange]) {
    let peer = Server::start(product.script, key);
    assert_eq!(peer.text("version"), product.version);
    let mut hub = Hub::for_peer(&peer);
    if exchanges.iter().any(|one| one.signature == "ecdsa") {
        make_ec_pair(&hub.own);
    }
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    for (number, one) in exchanges.iter().enumerate() {
        hub.define(peer.text("url"), &one.agreement());
        let bytes = payload(one);
        let name = if product == &PYAS2LIB {
            format!("order {number} Größe.bin")
        } else {
            format!("order {number}.bin")
        };
        hub.gateway.start();
        hub.put(&name, &bytes);
        let way = hub.ended(&name);
        hub.gateway.stop();
        let seen = received(&peer);
        if let Some(said) = one.fails() {
            assert_eq!(way["state"], "failed", "{one:?}: {way}\n{seen:?}");
            assert!(way["deliveries"][0]["attempts"].to_string().contains(said), "{one:?}: {way}\n{seen:?}");
            continue;
        }
        assert_eq!(way["state"], "completed", "{one:?}: {way}\n{seen:?}");
        assert_eq!(seen.len(), number + 1, "{one:?}");
        arrived(one, &bytes, seen.last().unwrap());
        receipted(one, &way["deliveries"][0]["receipt"]);
    }
}

/// Bare line ends, which a careless side would turn, behind bytes of no pattern; for asx-rs none in text, where it does.
fn payload(one: &Exchange) -> Vec<u8> {
    let mut bytes = random(20_000);
    if !one.binary {
        let text = openssl::base64::encode_block(&bytes);
        if one.product == &ASX {
            return text.replace('\n', "\r\n").into_bytes();
        }
        bytes = text.into_bytes();
    }
    bytes.extend(b"a\nb\r\nc\rd\n");
    bytes
}

/// That the other side took the message for what it is.
fn arrived(one: &Exchange, bytes: &[u8], seen: &Value) {
    assert_eq!(seen["status"], "processed", "{one:?}: {seen}");
    assert_eq!(seen["sha256"], sha256(bytes), "{one:?}: {seen}");
    assert_eq!(seen["signed"], one.is_signed(), "{one:?}: {seen}");
    assert_eq!(seen["encrypted"], one.is_encrypted(), "{one:?}: {seen}");
    assert_eq!(seen["compressed"], one.is_compressed(), "{one:?}: {seen}");
    if one.is_signed() {
        assert_eq!(
            (&seen["digest"], &seen["signature"]),
            (&json!(one.digest), &json!(one.signature)),
            "{seen}"
        );
    }
    if one.is_encrypted() {
        let key = one.key.split_once('-').map_or(one.key, |(scheme, _)| scheme);
        assert_eq!((&seen["cipher"], &seen["key_transport"]), (&json!(one.cipher), &json!(key)), "{one:?}");
    }
}

/// That its receipt proves the delivery.
fn receipted(one: &Exchange, receipt: &Value) {
    if one.mdn == "none" {
        assert_eq!(receipt["kind"], "http_status", "{one:?}: {receipt}");
        return;
    }
    assert_eq!(receipt["kind"], "mdn", "{one:?}: {receipt}");
    // pyas2lib signs as soon as an algorithm is asked for, asx-rs always: a signed answer is as good.
    let signed = one.mdn == "signed" || one.product != &LIBAS2;
    assert_eq!(receipt["detail"]["signed"], signed, "{one:?}: {receipt}");
    // Neither computes a MIC of what was not signed.
    assert_eq!(receipt["detail"]["mic_matched"], one.is_signed(), "{one:?}: {receipt}");
}

#[test]
fn the_media_type_is_the_endpoints_option_or_follows_from_the_name() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = std::fs::read_to_string(&document).unwrap();
    let option = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(option));
    let cases = [
        ("", "a.edi", "application/edi-x12"),
        ("", "b.edifact", "application/edifact"),
        ("", "c.xml", "application/xml"),
        ("", "d.bin", "application/octet-stream"),
        ("media_type = \"text/plain\"\n", "e.xml", "text/plain"),
    ];
    for (number, (line, name, media_type)) in cases.iter().enumerate() {
        std::fs::write(&document, text.replace(option, line)).unwrap();
        hub.gateway.start();
        hub.put(name, name.as_bytes());
        assert_eq!(hub.ended(name)["state"], "completed", "{name}");
        hub.gateway.stop();
        let seen = received(&peer);
        assert_eq!(seen[number]["files"][0]["content_type"], *media_type, "{name}: {}", seen[number]);
    }
}
