//! Waybill → pyas2lib, in every protection, receipt, digest and cipher.

use crate::hub::{Hub, random, received, sha256, start_peer, tell};
use serde_json::json;

/// Protection, receipt, digest, cipher.
type Agreed = (&'static str, &'static str, &'static str, &'static str);

#[test]
fn signed_and_encrypted() {
    all(&[
        ("signed_encrypted", "signed", "sha256", "aes256-cbc"),
        ("signed_encrypted", "signed", "sha1", "3des"),
        ("signed_encrypted", "signed", "sha512", "aes128-cbc"),
        ("signed_encrypted", "unsigned", "sha256", "aes192-cbc"),
        ("signed_encrypted", "none", "sha1", "aes256-cbc"),
    ]);
}

#[test]
fn signed_alone() {
    all(&[
        ("signed", "signed", "sha256", "aes256-cbc"),
        ("signed", "signed", "sha1", "aes256-cbc"),
        ("signed", "unsigned", "sha512", "aes256-cbc"),
        ("signed", "none", "sha256", "aes256-cbc"),
    ]);
}

#[test]
fn encrypted_alone_and_unprotected() {
    all(&[
        ("encrypted", "signed", "sha256", "aes256-cbc"),
        ("encrypted", "unsigned", "sha1", "aes128-cbc"),
        ("encrypted", "none", "sha256", "3des"),
        ("none", "signed", "sha256", "aes256-cbc"),
        ("none", "unsigned", "sha512", "aes256-cbc"),
        ("none", "none", "sha256", "aes256-cbc"),
    ]);
}

fn all(agreements: &[Agreed]) {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    for (number, agreed) in agreements.iter().enumerate() {
        let (security, mdn, digest, cipher) = agreed;
        hub.define(
            peer.text("url"),
            &format!(
                "send.security = \"{security}\"\nmdn.ask = \"{mdn}\"\nsend.digest = \"{digest}\"\nsend.cipher = \"{cipher}\"\nlegacy = {}",
                *digest == "sha1"
            ),
        );
        // Bare line ends, which a careless side would turn; and a name that needs quoting.
        let bytes = [random(50_000), b"a\nb\r\nc\rd\n".to_vec()].concat();
        let name = format!("order {number} Größe.bin");
        hub.gateway.start();
        hub.put(&name, &bytes);
        let way = hub.ended(&name);
        assert_eq!(way["state"], "completed", "{agreed:?}: {way}");
        hub.gateway.stop();

        let seen = received(&peer);
        assert_eq!(seen.len(), number + 1, "{agreed:?}");
        let seen = seen.last().unwrap();
        assert_eq!(seen["status"], "processed", "{agreed:?}: {seen}");
        assert_eq!(seen["sha256"], sha256(&bytes), "{agreed:?}: {seen}");
        assert_eq!(seen["signed"], security.starts_with("signed"), "{agreed:?}: {seen}");
        assert_eq!(seen["encrypted"], security.ends_with("encrypted"), "{agreed:?}: {seen}");
        if security.ends_with("encrypted") {
            let theirs = seen["cipher"].as_str().unwrap().replace('_', "").replace("tripledes3key", "3des");
            assert!(theirs.contains(&cipher.replace('-', "")), "{agreed:?}: {theirs}");
        }
        let receipt = &way["deliveries"][0]["receipt"];
        match *mdn {
            "none" => assert_eq!(receipt["kind"], "http_status", "{agreed:?}: {receipt}"),
            _ => {
                assert_eq!(receipt["kind"], "mdn", "{agreed:?}: {receipt}");
                // pyas2lib signs as soon as an algorithm is asked for: a signed answer is as good.
                assert_eq!(receipt["detail"]["signed"], true, "{agreed:?}: {receipt}");
                // pyas2lib computes no MIC of what was not signed.
                let matched = security.starts_with("signed");
                assert_eq!(receipt["detail"]["mic_matched"], matched, "{agreed:?}: {receipt}");
            }
        }
    }
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
