//! Several files in one message (RFC 6362), as other products write and read them, and the names of files.

use crate::evidence::{outcomes, save_one, verify};
use crate::hub::{Hub, PATIENCE, random, received, sha256, start_peer, tell};
use crate::misbehaving::assert_identical;
use crate::oracle::signed_parts;
use crate::raw::Message;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;
use suites::eventually;

/// A file of a message: its name, its Content-Type, and its bytes.
type File = (String, &'static str, Vec<u8>);

/// Three files, whose names begin with this. The first is the root.
fn files(start: &str) -> [File; 3] {
    [
        (format!("{start}po.xml"), "application/xml", b"<po plan='cid:plan@peer'/>\r\n".to_vec()),
        (format!("{start}größe.pdf"), "application/pdf", random(20_000)),
        (format!("{start}terms.txt"), "text/plain; charset=iso-8859-2", b"terms\n".to_vec()),
    ]
}

/// The body of a multipart that has these parts in this order, with Content-IDs by their places among the files.
fn multipart(files: &[File; 3], order: [usize; 3]) -> Vec<u8> {
    let mut body = b"This is a multipart message.\r\n".to_vec();
    for place in order {
        let (name, media, bytes) = &files[place];
        let id = ["po", "plan", "terms"][place];
        body.extend_from_slice(
            format!("--b-1\r\nContent-Type: {media}\r\nContent-ID: <{id}@peer>\r\nContent-Disposition: attachment; filename=\"{name}\"\r\n\r\n")
                .as_bytes(),
        );
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b-1--\r\nAn epilogue.\r\n");
    body
}

const RELATED: &str = "multipart/related; boundary=\"b-1\"; type=\"application/xml\"; start=\"<po@peer>\"";
const MIXED: &str = "multipart/mixed; boundary=\"b-1\"";

/// What `openssl cms` makes of bytes.
fn cms(hub: &Hub, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let file = hub.root.path().join("for-openssl");
    fs::write(&file, input).unwrap();
    let done = Command::new("openssl").arg("cms").args(arguments).arg("-in").arg(&file).output().unwrap();
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

fn sign(hub: &Hub, entity: &[u8], more: &[&str]) -> Vec<u8> {
    let (key, certificate) = (hub.peer_key.to_str().unwrap(), hub.peer_certificate.to_str().unwrap());
    let arguments =
        ["-sign", "-binary", "-md", "sha256", "-outform", "DER", "-signer", certificate, "-inkey", key];
    cms(hub, &[&arguments[..], more].concat(), entity)
}

fn encrypt(hub: &Hub, entity: &[u8]) -> Vec<u8> {
    let mut arguments = vec!["-encrypt", "-binary", "-aes256", "-outform", "DER"];
    arguments.extend(["-recip", hub.own.certificate.to_str().unwrap()]);
    cms(hub, &arguments, entity)
}

/// A message of this multipart, protected so by OpenSSL, and what its MIC covers.
fn message(hub: &Hub, id: &str, (media, body): (&str, &[u8]), protection: &str) -> (Message, Vec<u8>) {
    let entity = [format!("Content-Type: {media}\r\n\r\n").as_bytes(), body].concat();
    let opaque = "application/pkcs7-mime; smime-type=signed-data";
    let enveloped = "application/pkcs7-mime; smime-type=enveloped-data";
    let (media, body, covered) = match protection {
        "none" => (media, body.to_vec(), body.to_vec()),
        "signed" => {
            let signature = sign(hub, &entity, &[]);
            let between = b"\r\n--sig\r\nContent-Type: application/pkcs7-signature\r\nContent-Transfer-Encoding: binary\r\n\r\n";
            let body =
                [&b"--sig\r\n"[..], entity.as_slice(), between, &signature, b"\r\n--sig--\r\n"].concat();
            let media =
                "multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=sig";
            (media, body, entity)
        }
        "opaque" => (opaque, sign(hub, &entity, &["-nodetach"]), entity),
        "encrypted" => (enveloped, encrypt(hub, &entity), entity),
        _ => {
            let head = format!("Content-Type: {opaque}\r\nContent-Transfer-Encoding: binary\r\n\r\n");
            let inside = [head.as_bytes(), &sign(hub, &entity, &["-nodetach"])].concat();
            (enveloped, encrypt(hub, &inside), entity)
        }
    };
    let headers = format!(
        "AS2-Version: 1.2\r\nAS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <{id}@peer>\r\nMIME-Version: 1.0\r\n\
         EDIINT-Features: multiple-attachments\r\nDisposition-Notification-To: x\r\n\
         Disposition-Notification-Options: signed-receipt-micalg=optional, sha-256\r\nContent-Type: {media}\r\n"
    );
    (Message { headers, body: Vec::new() }.with_body(body), covered)
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("no {key}: {value}"))
}

#[test]
fn the_files_of_a_message_come_in_together_with_one_mic_however_it_is_protected() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/", "receive.security = \"none\"");
    hub.gateway.start();
    let mut number = 0;
    for (media, order) in [(RELATED, [1, 0, 2]), (MIXED, [0, 1, 2])] {
        for protection in ["none", "signed", "opaque", "encrypted", "both"] {
            number += 1;
            let what = format!("{media} {protection}");
            let files = files(&format!("{number}-"));
            let body = multipart(&files, order);
            let (message, covered) = message(&hub, &format!("several-{number}"), (media, &body), protection);
            let answer = message.post(hub.gateway.http).unwrap().text();
            assert!(answer.contains("; processed\r\n"), "{what}: {answer}");
            let mic = openssl::base64::encode_block(&openssl::sha::sha256(&covered));
            assert!(answer.contains(&format!("Received-content-MIC: {mic}, ")), "{what} {mic}: {answer}");
            for (name, _, bytes) in &files {
                assert!(hub.wait_for_file(name) == *bytes, "{what}: {name}");
            }
            // The root comes first, wherever it stood, and the page of each file names the others.
            let way = hub.ended(&files[0].0);
            assert_eq!(way["metadata"]["as2_parts"], 3, "{way}");
            assert_eq!(text(&way["metadata"], "as2_content_id"), "<po@peer>", "{way}");
            let came_with: Vec<&str> =
                way["came_with"].as_array().unwrap().iter().map(|one| text(one, "file_name")).collect();
            assert_eq!(came_with, [files[1].0.as_str(), files[2].0.as_str()], "{what}: {way}");
            let other = hub.ended(&files[2].0);
            assert_eq!(
                text(&other["metadata"], "as2_content_type"),
                "text/plain; charset=iso-8859-2",
                "{other}"
            );
            // Sent once more it is the same message.
            let again = message.post(hub.gateway.http).unwrap().text();
            assert_eq!(again, answer, "{what}");
        }
    }
    assert_eq!(hub.transfers(), 30);
    hub.gateway.stop();
}

#[test]
fn a_file_that_somebody_else_has_signed_comes_as_it_is_beside_others() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/", "receive.security = \"signed\"");
    hub.gateway.start();
    // Its signer is not known as one of the partner's.
    let (key, certificate) = (hub.own.key.to_str().unwrap(), hub.own.certificate.to_str().unwrap());
    let mut arguments = vec!["-sign", "-binary", "-nodetach", "-outform", "DER"];
    arguments.extend(["-signer", certificate, "-inkey", key]);
    let invoice = cms(&hub, &arguments, b"Content-Type: application/xml\r\n\r\n<invoice/>");
    let part = |media: &str, name: &str| {
        format!(
            "--b-1\r\nContent-Type: {media}\r\nContent-Transfer-Encoding: binary\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n"
        )
    };
    let first = format!("{}<po/>\r\n", part("application/xml", "signed-po.xml"));
    let second = part("application/pkcs7-mime", "invoice.xml.p7m");
    let body = [first.as_bytes(), second.as_bytes(), &invoice, b"\r\n--b-1--\r\n"].concat();
    let (message, _) = message(&hub, "invoice", (MIXED, &body), "signed");
    let answer = message.post(hub.gateway.http).unwrap().text();
    assert!(answer.contains("; processed\r\n"), "{answer}");
    assert_eq!(hub.wait_for_file("signed-po.xml"), b"<po/>");
    assert!(hub.wait_for_file("invoice.xml.p7m") == invoice);
    hub.gateway.stop();
}

/// A flow that passes on what PEER sends, as one message.
fn pass_on(hub: &Hub) {
    let flow = "[flow.passed-on]\ntogether = true\nsource = { listener = \"as2\", partner = \"peer\", mask = \"*.xml\" }\n\
                [[flow.passed-on.destination]]\nendpoint = \"peer-as2\"\nretry = { attempts = 6, first = \"1s\", longest = \"1s\" }\n";
    hub.gateway.define("passed-on.toml", flow);
}

/// The way of the transfer that passes a message on, once it has ended.
fn passed_on(hub: &Hub, root: &str) -> Value {
    let ended = || {
        let found = hub.gateway.json(&["transfer", "list", "--flow", "passed-on", "--file", root]);
        let transfer = found.as_array().unwrap().first()?.clone();
        let ended = ["completed", "failed", "partly_failed"].contains(&text(&transfer, "state"));
        ended.then(|| hub.gateway.json(&["transfer", "show", text(&transfer, "id")]))
    };
    eventually(&format!("{root} was passed on\n{}", hub.gateway.log()), PATIENCE, ended)
}

#[test]
fn several_files_go_out_again_as_they_were_where_the_answer_was_lost() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    pass_on(&hub);
    // Made anew each time, and not kept whole.
    let agreed = "receive.security = \"none\"\nsend.security = \"encrypted\"";
    hub.define_with(peer.text("url"), agreed, "application/octet-stream; charset=utf-8");
    tell(&peer, &json!({ "drop": "after_read", "times": 1 }));
    hub.gateway.start();
    let files = files("lost-");
    let body = multipart(&files, [2, 0, 1]);
    let (message, _) = message(&hub, "lost", (RELATED, &body), "encrypted");
    let answer = message.post(hub.gateway.http).unwrap().text();
    assert!(answer.contains("; processed\r\n"), "{answer}");
    let way = passed_on(&hub, &files[0].0);
    assert_eq!(way["state"], "completed", "{way}");
    let seen = received(&peer);
    assert!(seen.len() >= 2, "{seen:?}");
    assert_identical(&seen);
    assert!(seen[0]["files"].as_array().is_some_and(|files| files.len() == 3), "{seen:?}");
}

#[test]
fn a_message_is_passed_on_with_its_files_and_the_same_bytes_in_each_attempt() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    pass_on(&hub);
    for (number, send) in [
        "send.security = \"none\"",
        "send.security = \"encrypted\"",
        "send.compress = \"before_signing\"",
        "send.compress = \"before_signing\"\nsend.rsa_signature = \"pss\"",
    ]
    .into_iter()
    .enumerate()
    {
        let agreed = format!("receive.security = \"none\"\n{send}");
        hub.define_with(peer.text("url"), &agreed, "application/octet-stream; charset=utf-8");
        let before = received(&peer).len();
        tell(&peer, &json!({ "status": 503, "times": 2 }));
        hub.gateway.start();
        let files = files(&format!("{number}-"));
        let body = multipart(&files, [2, 0, 1]);
        let (message, _) = message(&hub, &format!("passed-on-{number}"), (RELATED, &body), "encrypted");
        let answer = message.post(hub.gateway.http).unwrap().text();
        assert!(answer.contains("; processed\r\n"), "{answer}");
        eventually("a first attempt", PATIENCE, || (received(&peer).len() > before).then_some(()));
        hub.gateway.stop();
        hub.gateway.start();
        let way = passed_on(&hub, &files[0].0);
        assert_eq!(way["state"], "completed", "{send}: {way}");
        let attached: Vec<&str> =
            way["attachments"].as_array().unwrap().iter().map(|one| text(one, "file_name")).collect();
        // The root, then the others in the order of the message.
        assert_eq!(attached, [files[2].0.as_str(), files[1].0.as_str()], "{way}");
        let seen = &received(&peer)[before..];
        assert!(seen.len() >= 3, "{send}: {seen:?}");
        assert_identical(seen);
        let seen = seen.last().unwrap();
        let got = seen["files"].as_array().unwrap();
        for (found, place) in got.iter().zip([0, 2, 1]) {
            let (name, _, bytes) = &files[place];
            assert_eq!(
                (text(found, "file_name"), text(found, "sha256")),
                (name.as_str(), sha256(bytes).as_str()),
                "{send}"
            );
        }
        assert_eq!(got.len(), 3, "{send}: {seen}");
        assert_eq!(text(&got[2], "content_type"), "application/pdf", "{send}");
        let head = seen["headers"].to_string();
        assert!(head.contains("multiple-attachments") && head.contains("\"1.2\""), "{send}: {head}");
        let kept = way["evidence"].as_array().unwrap();
        // Of the message that came, and of the one that was sent.
        assert_eq!(kept.len(), 2, "{way}");
        let sent = ["--delivery", text(&way["deliveries"][0], "id")];
        let package = save_one(&hub, text(&way, "id"), &format!("several-{number}.zip"), &sent);
        let (code, said) = verify(&package, &[]);
        assert_eq!(code, 0, "{send}: {said}");
        for check in ["content", "MIC", "receipt"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{send}, {check}: {said}");
        }
        if send.contains("compress") {
            assert_eq!(outcomes(&said, "signature"), ["holds"], "{send}: {said}");
            assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{way}");
        }
        hub.gateway.stop();
    }
}

/// pyas2lib takes the last of several files for what is signed, so OpenSSL looks at what it got.
#[test]
fn openssl_verifies_the_signature_over_several_files() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    pass_on(&hub);
    hub.define(peer.text("url"), "receive.security = \"none\"\nsend.security = \"signed\"");
    hub.gateway.start();
    let files = files("");
    let body = multipart(&files, [0, 1, 2]);
    let (message, _) = message(&hub, "signed-on", (RELATED, &body), "signed");
    assert!(message.post(hub.gateway.http).unwrap().text().contains("; processed\r\n"));
    let raw = eventually("the message was sent", PATIENCE, || {
        let seen = received(&peer);
        Some(fs::read(text(seen.first()?, "raw")).unwrap())
    });
    hub.gateway.stop();
    let (content, signature) = signed_parts(&raw);
    let file = hub.root.path().join("signed-content");
    fs::write(&file, &content).unwrap();
    let (content_file, certificate) = (file.to_str().unwrap(), hub.own.certificate.to_str().unwrap());
    let arguments = [
        "-verify",
        "-binary",
        "-inform",
        "DER",
        "-noverify",
        "-nointern",
        "-certfile",
        certificate,
        "-content",
        content_file,
    ];
    assert!(cms(&hub, &arguments, &signature) == content);
    assert!(
        content.starts_with(b"Content-Type: multipart/related; boundary="),
        "{}",
        String::from_utf8_lossy(&content[..200])
    );
    for (name, _, bytes) in &files {
        assert!(content.windows(bytes.len()).any(|window| window == bytes), "{name}");
    }
    // As they came: the root refers to one of them.
    for id in ["<po@peer>", "<plan@peer>", "<terms@peer>"] {
        let field = format!("\r\nContent-ID: {id}\r\n");
        assert!(content.windows(field.len()).any(|window| window == field.as_bytes()), "{id}");
    }
    let start = b"; start=\"<po@peer>\"\r\n";
    assert!(
        content.windows(start.len()).any(|window| window == start),
        "{}",
        String::from_utf8_lossy(&content[..200])
    );
}

#[test]
fn names_are_written_as_the_partner_reads_them() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    for (form, name, written) in [
        ("extended", "größe 1.edi", "attachment; filename*=UTF-8''gr%C3%B6%C3%9Fe%201.edi"),
        (
            "extended_with_ascii",
            "größe 2.edi",
            "attachment; filename=\"gr__e 2.edi\"; filename*=UTF-8''gr%C3%B6%C3%9Fe%202.edi",
        ),
        ("encoded_word", "größe 3.edi", "attachment; filename=\"=?UTF-8?B?Z3LDtsOfZSAzLmVkaQ==?=\""),
    ] {
        let send = format!("send.security = \"none\"\nsend.file_names = \"{form}\"");
        hub.define(peer.text("url"), &send);
        hub.gateway.start();
        hub.put(name, form.as_bytes());
        let way = hub.ended(name);
        assert_eq!(way["state"], "completed", "{form}: {way}");
        hub.gateway.stop();
        let seen = received(&peer).pop().unwrap();
        let fields = seen["headers"].as_array().unwrap();
        let said = fields.iter().find(|field| {
            field[0].as_str().is_some_and(|name| name.eq_ignore_ascii_case("Content-Disposition"))
        });
        assert_eq!(said.map(|field| field[1].as_str().unwrap()), Some(written), "{form}");
        if form == "extended" {
            assert_eq!(text(&seen, "file_name"), name);
        }
    }
}
