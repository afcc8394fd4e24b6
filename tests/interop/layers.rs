//! Messages that are compressed, encrypted before they are signed, or signed opaquely, and signatures that differ each time.

use crate::hub::{Hub, random, received, sha256, start_peer, tell};
use crate::misbehaving::assert_identical;
use crate::raw::Message;
use serde_json::{Value, json};
use std::fs;
use suites::run;

/// pyas2lib reads what is compressed on either side of the signature, and signed by PSS.
#[test]
fn compressed_and_salted_messages_are_sent_again_with_the_same_bytes_also_by_another_process() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    for (number, agreed) in [
        "send.compress = \"before_signing\"",
        "send.compress = \"after_signing\"",
        "send.compress = \"before_signing\"\nsend.security = \"encrypted\"",
        "send.compress = \"before_signing\"\nsend.security = \"none\"",
        "send.rsa_signature = \"pss\"",
        "send.rsa_signature = \"pss\"\nsend.compress = \"after_signing\"",
        "send.rsa_signature = \"pss\"\nsend.security = \"signed\"",
    ]
    .into_iter()
    .enumerate()
    {
        hub.define(peer.text("url"), agreed);
        let before = received(&peer).len();
        tell(&peer, &json!({ "status": 503, "times": 2 }));
        let (name, bytes) = (format!("{number}.bin"), [random(50_000), vec![b'a'; 200_000]].concat());
        hub.gateway.start();
        hub.put(&name, &bytes);
        suites::eventually("a first attempt", crate::hub::PATIENCE, || {
            (received(&peer).len() > before).then_some(())
        });
        hub.gateway.stop();
        hub.gateway.start();
        let way = hub.ended(&name);
        hub.gateway.stop();
        assert_eq!(way["state"], "completed", "{agreed}: {way}");
        let seen = &received(&peer)[before..];
        assert!(seen.len() >= 3, "{agreed}: {seen:?}");
        assert_identical(seen);
        let seen = seen.last().unwrap();
        assert_eq!(seen["sha256"], sha256(&bytes), "{agreed}: {seen}");
        if agreed.contains("pss") {
            assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{agreed}: {way}");
        }
    }
}

/// A compressed message has a length, for partners that refuse chunked requests.
#[test]
fn a_compressed_message_has_a_content_length() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "send.compress = \"before_signing\"");
    hub.gateway.start();
    hub.put("a.bin", &vec![b'a'; 1_000_000]);
    assert_eq!(hub.ended("a.bin")["state"], "completed");
    let raw = fs::read(received(&peer)[0]["raw"].as_str().unwrap()).unwrap();
    let head = String::from_utf8_lossy(&raw[..1500.min(raw.len())]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    assert!(length.trim().parse::<u64>().unwrap() < 100_000, "{head}");
}

/// Every order that `as2 pack` writes is received, and its receipt has the MIC that the sender expects.
#[test]
fn every_order_of_layers_is_received() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/", "receive.security = \"none\"");
    hub.gateway.start();
    let mut number = 0;
    for compress in ["no", "before_signing", "after_signing"] {
        for order in ["sign_then_encrypt", "encrypt_then_sign"] {
            for form in ["detached", "opaque"] {
                for cipher in ["aes256-cbc", "aes128-gcm"] {
                    number += 1;
                    let what = [compress, order, form, cipher];
                    let bytes = [random(20_000), what.concat().into_bytes()].concat();
                    let name = format!("{number}.bin");
                    let (message, packed) = pack(&hub, &name, &bytes, &what);
                    let answer = message.post(hub.gateway.http).unwrap().text();
                    assert!(answer.contains("MDN-sent-automatically; processed\r\n"), "{what:?}: {answer}");
                    let mic = packed["mic"].as_str().unwrap();
                    assert!(
                        answer.contains(&format!("Received-content-MIC: {mic}")),
                        "{what:?} {mic}: {answer}"
                    );
                    assert_eq!(hub.wait_for_file(&name), bytes, "{what:?}");
                }
            }
        }
    }
}

fn pack(hub: &Hub, name: &str, payload: &[u8], what: &[&str; 4]) -> (Message, Value) {
    let (file, out) = (hub.root.path().join("packed").join(name), hub.root.path().join("message"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, payload).unwrap();
    let text = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    let peer = hub.peer();
    let (key, certificate, ours) = (text(&peer.key), text(&peer.certificate), text(&hub.own.certificate));
    let mut arguments = vec!["as2", "pack", "--from", "PEER", "--to", "WAYBILL"];
    arguments.extend(["--sign-key", &key, "--sign-cert", &certificate, "--encrypt-cert", &ours]);
    for (option, value) in ["--compress", "--order", "--signature-form", "--cipher"].into_iter().zip(what) {
        arguments.extend([option, value]);
    }
    // What differs each time it is made, with the newer of the ciphers.
    let signature = if what[3] == "aes128-gcm" { "pss" } else { "pkcs1" };
    arguments.extend(["--rsa-signature", signature]);
    let (file, out_text) = (text(&file), text(&out));
    arguments.extend([file.as_str(), "--out", &out_text]);
    let (status, said, error) = run(&arguments);
    assert!(status.success(), "{what:?}: {said} {error}");
    (Message::read(&fs::read(out).unwrap()), serde_json::from_str(&said).unwrap())
}
