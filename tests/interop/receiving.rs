//! pyas2lib → Waybill, in every protection, receipt, digest, cipher, and compressed.

use crate::hub::{Hub, random, start_peer, tell};
use serde_json::json;
use std::fs;

#[test]
fn every_form_of_a_message_is_taken_and_receipted() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    hub.define(peer.text("url"), "receive.security = \"none\"\nlegacy = true");
    hub.gateway.start();
    let forms: &[&[&str]] = &[
        &["--digest", "sha256", "--cipher", "aes256-cbc"],
        &["--digest", "sha1", "--cipher", "3des"],
        &["--digest", "sha512", "--cipher", "aes128-cbc"],
        &["--digest", "sha256", "--cipher", "aes192-cbc", "--compress"],
        &["--mdn", "sync-unsigned"],
        &["--mdn", "none"],
        &["--no-encrypt"],
        &["--no-encrypt", "--digest", "sha1", "--compress"],
        &["--no-encrypt", "--digest", "sha512", "--mdn", "sync-unsigned"],
        &["--no-sign"],
        &["--no-sign", "--cipher", "3des", "--compress"],
        &["--no-sign", "--mdn", "none"],
        &["--no-sign", "--no-encrypt"],
        &["--no-sign", "--no-encrypt", "--compress"],
        &["--no-sign", "--no-encrypt", "--mdn", "none"],
    ];
    for (number, form) in forms.iter().enumerate() {
        let name = format!("invoice {number}.bin");
        let bytes = [random(40_000), b"x\ny\r\n\r\n".to_vec()].concat();
        let file = hub.root.path().join(&name);
        fs::write(&file, &bytes).unwrap();
        let said = hub.send(file.to_str().unwrap(), form);
        assert_eq!(said["http_status"], 200, "{form:?}: {said}");
        assert_eq!(said["error"], serde_json::Value::Null, "{form:?}: {said}");
        let asked = form.iter().skip_while(|word| **word != "--mdn").nth(1).copied().unwrap_or("sync-signed");
        if asked != "none" {
            assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{form:?}: {said}");
            assert_eq!(said["original_message_id_matched"], true, "{form:?}: {said}");
            assert_eq!(said["mdn_signed"], asked == "sync-signed", "{form:?}: {said}");
            assert!(asked != "sync-signed" || said["mdn_verified"] == true, "{form:?}: {said}");
            if !form.contains(&"--no-sign") {
                assert_eq!(said["mic_matched"], true, "{form:?}: {said}");
            }
        }
        assert!(hub.wait_for_file(&name) == bytes, "{form:?} came with other bytes");
    }
    assert_eq!(hub.transfers(), forms.len());
    assert_eq!(hub.events("message.refused").len(), 0);
    // Each use of what is weak is on record: the two messages signed by SHA-1, with their receipts.
    let legacy = hub.events("message.legacy_used");
    assert_eq!(legacy.len(), 2, "{legacy:?}");
    assert!(legacy.iter().all(|event| event.to_string().contains("SHA-1")), "{legacy:?}");
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
