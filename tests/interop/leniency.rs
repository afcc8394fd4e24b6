//! What partners really send, beside what the RFC says: taken as it is meant, or refused so that its sender
//! sees it.

use crate::hub::{Hub, PATIENCE, received, start_peer, tell};
use crate::raw::{self, Message};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use suites::{KeyPair, eventually};

/// A message that is neither signed nor encrypted: its headers are HTTP's own.
fn plain(id: &str, more: &str, body: &[u8]) -> Message {
    let headers = format!(
        "AS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <{id}@peer>\r\nMIME-Version: 1.0\r\n\
         Content-Type: application/octet-stream\r\n{more}"
    );
    Message { headers, body: Vec::new() }.with_body(body.to_vec())
}

fn start(agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", agreement);
    hub.gateway.start();
    hub
}

/// The newest refusal, once there are so many.
fn refusal(hub: &Hub, number: usize) -> Value {
    eventually("a refusal", PATIENCE, || {
        let events = hub.events("message.refused");
        assert!(events.len() <= number, "{events:?}");
        (events.len() == number).then(|| events[0].clone())
    })
}

#[test]
fn an_unsigned_receipt_without_a_mic_ends_a_delivery_that_asked_for_no_more() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    for (number, (security, mdn, mic)) in [
        ("signed_encrypted", "unsigned", "missing"),
        ("signed", "unsigned", "missing"),
        ("signed", "signed", "missing"),
        ("signed", "unsigned", "right"),
        ("none", "unsigned", "missing"),
    ]
    .into_iter()
    .enumerate()
    {
        hub.define(peer.text("url"), &format!("mdn.ask = \"unsigned\"\nsend.security = \"{security}\""));
        hub.gateway.start();
        tell(&peer, &json!({ "mdn": mdn, "mic": mic }));
        let name = format!("order-{number}.edi");
        hub.put(&name, b"an order");
        let way = hub.ended(&name);
        assert_eq!(way["state"], "completed", "{security} {mdn} {mic}: {way}");
        let receipt = &way["deliveries"][0]["receipt"];
        assert_eq!(receipt["detail"]["signed"], mdn == "signed", "{receipt}");
        let said = receipt["summary"].as_str().unwrap();
        assert_eq!(said.contains("the partner sent no MIC"), mic == "missing", "{said}");
        // Once, and with the algorithm of the MIC that is wished for.
        let seen = received(&peer);
        assert_eq!(seen.len(), number + 1);
        assert_eq!(seen[number]["options"], "signed-receipt-micalg=optional, sha-256");
        hub.gateway.stop();
    }
}

#[test]
fn a_request_for_a_receipt_where_none_can_be_sent_is_refused_by_a_status_and_on_record() {
    let mut hub = start("receive.security = \"none\"");
    let port = hub.gateway.http;
    let wanted = "Disposition-Notification-To: x\r\n";
    for (number, (status, url, words)) in [
        (501, "mailto:edi@peer.example", "Receipts by e-mail (mailto:) are not supported"),
        (501, "ftp://127.0.0.1/mdn", "not a URL that receipts can be sent to"),
        (400, "nonsense", "not a URL that receipts can be sent to"),
        (400, "http://ada:hunter2@127.0.0.1:9/mdn", "contains a user or a password"),
        (403, "https://peer.example/mdn", "not sent to the host in Receipt-Delivery-Option"),
        (403, "http://127.0.0.2/mdn", "not sent to the host in Receipt-Delivery-Option"),
    ]
    .into_iter()
    .enumerate()
    {
        let message = plain(
            &format!("async-{number}"),
            &format!("{wanted}Receipt-Delivery-Option: {url}\r\n"),
            b"an order",
        );
        let answer = message.post(port).unwrap();
        assert!(answer.status == status && answer.text().contains(words), "{url}: {answer:?}");
        let event = refusal(&hub, number + 1);
        assert_eq!(event["detail"]["status"], status, "{event}");
        assert_eq!(event["detail"]["receipt_delivery_option"], url, "{event}");
        assert!(hub.gateway.log().contains(&format!("async-{number}@peer")), "{}", hub.gateway.log());
    }
    // One who is not known gets no connection from us: an asynchronous sender reads no disposition in this answer.
    let stranger = plain("async-s", &format!("{wanted}Receipt-Delivery-Option: http://x/\r\n"), b"x")
        .with("AS2-From", Some("NOBODY"));
    assert_eq!(stranger.post(port).unwrap().status, 422);
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    // The same message with a synchronous receipt is taken: nothing was remembered of it.
    let answer = plain("async-0", wanted, b"an order").post(port).unwrap();
    assert!(answer.status == 200 && answer.text().contains("; processed\r\n"), "{}", answer.text());
    // An empty option asks for none, and one alone asks for no receipt at all (RFC 4130, 7.3).
    let answer = plain("empty", &format!("{wanted}Receipt-Delivery-Option:\r\n"), b"x").post(port).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    let answer =
        plain("alone", "Receipt-Delivery-Option: http://127.0.0.1:9/mdn\r\n", b"x").post(port).unwrap();
    assert!(answer.status == 200 && !answer.text().contains("disposition"), "{}", answer.text());
    assert_eq!(hub.transfers(), 3);
    hub.gateway.stop();
}

#[test]
fn a_signed_receipt_is_given_however_it_is_asked_for() {
    let mut hub = start("receive.security = \"none\"");
    for (number, options) in [
        "signed-receipt-protocol=pkcs7-signature",
        "signed-receipt-protocol=\"pkcs7-signature\"; signed-receipt-micalg=\"sha256\"",
        "signed-receipt-protocol=\"optional, pkcs7-signature\"; signed-receipt-micalg=optional, sha1, md5",
    ]
    .into_iter()
    .enumerate()
    {
        let more =
            format!("Disposition-Notification-To: x\r\nDisposition-Notification-Options: {options}\r\n");
        let answer = plain(&format!("asked-{number}"), &more, b"an order").post(hub.gateway.http).unwrap();
        let text = answer.head.clone() + &answer.text();
        // SHA-1 is not signed with unless the partner is a legacy one.
        assert!(
            text.contains("multipart/signed") && text.contains("sha") && text.contains("256"),
            "{options}: {text}"
        );
        assert!(text.contains("; processed\r\n"), "{options}: {text}");
    }
    hub.gateway.stop();
}

#[test]
fn a_content_encoding_is_taken_off_or_refused() {
    let mut hub = start("receive.security = \"none\"\nreceive.largest = \"1MiB\"");
    let port = hub.gateway.http;
    let order = b"an order\n".repeat(5_000);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&order).unwrap();
    let gzip = gzip.finish().unwrap();
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(&order).unwrap();
    let zlib = zlib.finish().unwrap();
    let with = |coding: &str, name: &str, body: &[u8]| {
        let more = format!(
            "Disposition-Notification-To: x\r\nContent-Encoding: {coding}\r\nContent-Disposition: attachment; filename={name}\r\n"
        );
        plain(name, &more, body).post(port).unwrap()
    };
    for (coding, name, body) in [
        ("gzip", "a.edi", &gzip),
        ("x-gzip", "b.edi", &gzip),
        ("deflate", "c.edi", &zlib),
        ("identity", "d.edi", &order),
    ] {
        let answer = with(coding, name, body);
        assert!(answer.text().contains("; processed\r\n"), "{coding}: {}", answer.text());
        assert!(hub.wait_for_file(name) == order, "{coding}");
    }
    let mut number = 0;
    for coding in ["br", "gzip, deflate", "compress"] {
        let answer = with(coding, "refused.edi", &gzip);
        assert_eq!(answer.status, 415, "{coding}: {}", answer.text());
        assert!(answer.head.to_ascii_lowercase().contains("accept-encoding: gzip, deflate, identity"));
        number += 1;
        assert_eq!(refusal(&hub, number)["detail"]["status"], 415);
    }
    let answer = with("gzip", "broken.edi", &order);
    assert!(answer.text().contains("processed/error: decompression-failed"), "{}", answer.text());
    // A bomb stops at what the partner may send.
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    bomb.write_all(&vec![0; 50_000_000]).unwrap();
    let answer = with("gzip", "bomb.edi", &bomb.finish().unwrap());
    assert!(answer.text().contains("larger than the agreed limit of 1048576 bytes"), "{}", answer.text());
    // A transfer coding that nobody takes off must not become the payload either.
    let mut stream = raw::connect(port);
    let head = plain("coded", "", b"").with("Content-Length", None).headers;
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        .unwrap();
    assert_eq!(raw::answer(stream).unwrap().status, 501);
    assert_eq!(hub.transfers(), 4);
    hub.gateway.stop();
}

#[test]
fn names_in_any_character_set_and_raw_paths_keep_their_meaning() {
    let mut hub = start("receive.security = \"none\"");
    let names: [(&[u8], &str); 12] = [
        (b"filename=\"=?ISO-8859-2?Q?zam=F3wienie_=B1=B6.edi?=\"", "zamówienie ąś.edi"),
        (b"filename=\"=?windows-1250?B?mmx1nW916Gv9LmVkaQ==?=\"", "šluťoučký.edi"),
        (b"filename==?GB2312?B?tqm1pS5lZGk=?=", "订单.edi"),
        (b"filename=\"=?Shift_JIS?B?ko2Vti5lZGk=?=\"", "注文.edi"),
        (b"filename*=windows-1251''%E7%E0%EA%E0%E7.edi", "заказ.edi"),
        (b"filename*0*=GB2312''%B6; filename*1*=%A9%B5%A5.edi", "订单.edi"),
        (b"filename=\"gr\xf6\xdfe.edi\"", "größe.edi"),
        (b"filename=\"gr\xc3\xb6\xc3\x9fe2.edi\"", "größe2.edi"),
        (b"filename=\"C:\\data\\order2.edi\"", "order2.edi"),
        (b"filename=\"\\\\server\\share/in\\order3.edi\"", "order3.edi"),
        (b"filename=C:\\data\\order4.edi", "order4.edi"),
        (b"filename=\"=?x-unknown?Q?=E9.edi?=\"", "=_x-unknown_Q_=E9.edi_="),
    ];
    for (number, (parameter, expected)) in names.iter().enumerate() {
        let message = plain(&format!("name-{number}"), "Disposition-Notification-To: x\r\n", b"an order");
        let mut stream = raw::connect(hub.gateway.http);
        write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}", message.headers).unwrap();
        stream.write_all(&[b"Content-Disposition: attachment; ", *parameter, b"\r\n\r\n"].concat()).unwrap();
        stream.write_all(&message.body).unwrap();
        let answer = raw::answer(stream).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{expected}: {}", answer.text());
        assert_eq!(hub.wait_for_file(expected), b"an order");
        fs::remove_file(hub.root.path().join("in").join(expected)).unwrap();
    }
    hub.gateway.stop();
}

#[test]
fn whatever_is_refused_early_is_an_event_and_a_line_in_the_log() {
    let mut hub = start("receive.security = \"none\"");
    let port = hub.gateway.http;
    let lacking = plain("no-receiver", "", b"x").with("AS2-To", None);
    let unknown = plain("unknown", "", b"x").with("AS2-From", Some("NOBODY"));
    let large = format!("X-Large: {}\r\n", "a".repeat(200_000));
    type Post<'a> = Box<dyn Fn() -> Option<raw::Answer> + 'a>;
    let posts: [(u16, &str, Post<'_>); 6] = [
        (400, "AS2-To", Box::new(|| lacking.post(port))),
        (200, "NOBODY", Box::new(|| unknown.post(port))),
        (405, "GET", Box::new(|| raw::get(port, "/as2"))),
        (404, "/elsewhere", Box::new(|| raw::get(port, "/elsewhere"))),
        (404, "/as2", Box::new(|| raw::get(port, "/"))),
        (431, "too large", Box::new(|| raw::post(port, &large, b""))),
    ];
    for (number, (status, words, post)) in posts.iter().enumerate() {
        if let Some(answer) = post() {
            assert_eq!(answer.status, *status, "{}", answer.text());
        }
        let event = refusal(&hub, number + 1);
        assert!(event.to_string().contains(words), "{status}: {event}");
        assert!(event["connection"].is_string() && event["peer"].is_string(), "{event}");
        let log = hub.gateway.log();
        assert_eq!(log.matches("an AS2 message was refused").count(), number + 1, "{log}");
    }
    assert_eq!(hub.inbox().len(), 0);
    hub.gateway.stop();
}

#[test]
fn weak_signatures_count_for_a_legacy_partner_alone() {
    let mut hub = start("receive.security = \"signed\"");
    let message = |hub: &Hub, name: &str| {
        let (file, out) = (hub.root.path().join(name), hub.root.path().join("weak"));
        fs::write(&file, "an order").unwrap();
        let KeyPair { key, certificate } = hub.peer();
        let (status, said, error) = suites::run(&[
            "as2",
            "pack",
            "--from",
            "PEER",
            "--to",
            "WAYBILL",
            "--digest",
            "sha1",
            "--sign-key",
            key.to_str().unwrap(),
            "--sign-cert",
            certificate.to_str().unwrap(),
            file.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ]);
        assert!(status.success(), "{said}{error}");
        Message::read(&fs::read(out).unwrap())
    };
    let answer = message(&hub, "one.edi").post(hub.gateway.http).unwrap();
    assert!(answer.text().contains("processed/error: insufficient-message-security"), "{}", answer.text());
    assert!(refusal(&hub, 1).to_string().contains("SHA-1"));
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "receive.security = \"signed\"\nlegacy = true");
    hub.gateway.start();
    let answer = message(&hub, "two.edi").post(hub.gateway.http).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    assert_eq!(hub.wait_for_file("two.edi"), b"an order");
    let events = hub.events("message.legacy_used");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["severity"], "warning");
    assert!(events[0].to_string().contains("the partner's signature by SHA-1"), "{events:?}");
    assert_eq!(events[0]["partner"], "peer");
    hub.gateway.stop();
}
