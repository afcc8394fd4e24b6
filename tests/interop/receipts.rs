//! Receipts taken out of Waybill are checked by OpenSSL alone, with the signer's certificate and nothing else.

use crate::hub::{Hub, received, start_peer, tell};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Writes an MDN of a file's transfer into a file of its own.
fn download(hub: &Hub, way: &Value, more: &[&str]) -> PathBuf {
    let id = way["id"].as_str().unwrap();
    let file = hub.root.path().join(format!("{id}{}.eml", more.concat()));
    let config = hub.gateway.config();
    let mut arguments = vec!["--config", config.to_str().unwrap(), "transfer", "receipt", id];
    arguments.extend(["--out", file.to_str().unwrap()]);
    arguments.extend(more);
    let (status, out, error) = suites::run(&arguments);
    assert!(status.success() && out.is_empty(), "{arguments:?}: {out} {error}");
    file
}

/// What OpenSSL says was signed by that certificate's key; none when it was not.
fn verified(tool: &str, mdn: &Path, certificate: &Path) -> Option<String> {
    let output = Command::new("openssl")
        .args([tool, "-verify", "-noverify", "-nointern", "-in"])
        .arg(mdn)
        .arg("-certfile")
        .arg(certificate)
        .output()
        .unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[test]
fn openssl_verifies_an_mdn_that_was_downloaded_an_accepting_and_a_refusing_one() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), "");
    hub.gateway.start();
    hub.put("good.bin", b"good bytes");
    let good = hub.ended("good.bin");
    let seen = received(&peer).remove(0);
    tell(&peer, &json!({ "disposition": "processed/error: unexpected words of theirs", "mdn": "signed" }));
    hub.put("bad.bin", b"bad bytes");
    let bad = hub.ended("bad.bin");
    assert_eq!((&good["state"], &bad["state"]), (&"completed".into(), &"failed".into()), "{good} {bad}");
    let which =
        |way: &Value| way["mdns"].as_array().unwrap().iter().map(|m| m["which"].clone()).collect::<Vec<_>>();
    assert_eq!((which(&good), which(&bad)), (vec!["accepted".into()], vec!["not-accepted".into()]));

    for tool in ["smime", "cms"] {
        let file = hub.root.path().join(format!("{tool}.good"));
        fs::copy(download(&hub, &good, if tool == "cms" { &["--which", "accepted"] } else { &[] }), &file)
            .unwrap();
        let said = verified(tool, &file, &hub.peer_certificate).unwrap();
        assert!(said.contains(seen["message_id"].as_str().unwrap().trim_matches(['<', '>'])), "{said}");
        assert!(said.contains(seen["mic"].as_str().unwrap()), "{said}");
        // By nobody else's certificate, and not when a byte of it is another.
        assert_eq!(verified(tool, &file, &hub.own.certificate), None);
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, text.replacen("processed", "Processed", 1)).unwrap();
        assert_eq!(verified(tool, &file, &hub.peer_certificate), None);
    }
    // Byte for byte what the partner sent.
    let raw = fs::read(seen["mdn"].as_str().unwrap()).unwrap();
    let body = |entity: &[u8]| {
        let at = entity.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        entity[at + 4..].to_vec()
    };
    let kept = fs::read(hub.root.path().join(format!("{}.eml", good["id"].as_str().unwrap()))).unwrap();
    assert_eq!(body(&kept), body(&raw));

    let refusing = download(&hub, &bad, &[]);
    let said = verified("smime", &refusing, &hub.peer_certificate).unwrap();
    assert!(said.contains("unexpected words of theirs"), "{said}");

    // A file that is there is left alone; without one the bytes go to standard output.
    let (config, id) = (hub.gateway.config(), bad["id"].as_str().unwrap());
    let command = ["--config", config.to_str().unwrap(), "transfer", "receipt", id];
    let (status, _, error) = suites::run(&[&command[..], &["--out", refusing.to_str().unwrap()]].concat());
    assert!(status.code() == Some(1) && error.contains("choose another file"), "{error}");
    let (status, out, error) = suites::run(&command);
    assert!(status.success() && out.as_bytes() == fs::read(&refusing).unwrap(), "{error}");
    let (status, out, error) = suites::run(&[&command[..], &["--which", "accepted"]].concat());
    assert!(status.code() == Some(1) && out.is_empty() && error.contains("no MDN is stored"), "{error}");
    let unknown = [&command[..4], &["0192f7a0-0000-7000-8000-000000000000"]].concat();
    let (status, _, error) = suites::run(&unknown);
    assert!(status.code() == Some(1) && error.contains("find a transfer"), "{error}");
    // For people.
    let (_, out, _) = suites::run(&[&command[..3], &["show", id]].concat());
    assert!(
        out.contains(&format!("`waybill transfer receipt {id} --which not-accepted --delivery ")),
        "{out}"
    );
}

#[test]
fn openssl_verifies_the_mdn_that_was_sent() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let answer = hub.good("in.bin", b"bytes").post(hub.gateway.http).unwrap();
    let way = hub.ended("in.bin");
    let file = download(&hub, &way, &["--which", "sent"]);
    let said = verified("smime", &file, &hub.own.certificate).unwrap();
    assert!(said.contains("MDN-sent-automatically; processed\r\n"), "{said}");
    let kept = fs::read_to_string(file).unwrap();
    let body = kept.split_once("\r\n\r\n").unwrap().1;
    assert!(!body.is_empty() && answer.text().ends_with(body), "{kept}\n{}", answer.text());
}
