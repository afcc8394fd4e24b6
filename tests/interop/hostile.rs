//! What nobody should send, and the answer to each: nothing published, an event, the process unmoved.

use crate::hub::{Hub, PATIENCE, random};
use crate::raw::{self, Answer, Message};
use std::io::{Read, Write};
use std::net::Shutdown;
use suites::{KeyPair, eventually, run};

mod floods;

fn start(agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", agreement);
    hub.gateway.start();
    hub
}

/// That the answer carries this disposition, nothing was published, and one event more tells of it.
fn refused(hub: &Hub, what: &str, answer: Option<Answer>, disposition: &str, kind: &str, events: &mut usize) {
    let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
    let text = answer.text();
    assert!(text.contains(disposition), "{what}: {} {text}", answer.head);
    *events += 1;
    let found = hub.events(kind);
    assert_eq!(found.len(), *events, "{what}: {found:?}");
    assert_eq!(hub.inbox(), [], "{what} was published");
    assert_eq!(hub.transfers(), 0, "{what} became a transfer");
}

fn error(name: &str) -> String {
    format!("MDN-sent-automatically; processed/error: {name}\r\n")
}

const NOT_THERE: &str = "Receipts for you are not sent to the host in Receipt-Delivery-Option";

#[test]
fn messages_that_prove_nothing_are_refused_each_with_its_disposition() {
    let mut hub = start("receive.largest = \"1MiB\"");
    let port = hub.gateway.http;
    let stranger = KeyPair::make(hub.root.path(), "stranger");
    let (peer, ours) =
        (hub.peer(), KeyPair { key: hub.own.key.clone(), certificate: hub.own.certificate.clone() });
    let payload = random(20_000);
    let good = hub.good("good.bin", &payload);
    let mut events = 0;
    let mut check = |what: &str, message: Message, disposition: &str| {
        refused(&hub, what, message.post(port), disposition, "message.refused", &mut events);
    };
    check(
        "a signature by a stranger",
        hub.pack("a.bin", &payload, &stranger, Some(&ours)),
        &error("authentication-failed"),
    );
    check(
        "encryption for another",
        hub.pack("b.bin", &payload, &peer, Some(&stranger)),
        &error("decryption-failed"),
    );
    check("no encryption", hub.pack("c.bin", &payload, &peer, None), &error("insufficient-message-security"));
    let mut cut = good.body.clone();
    cut.truncate(good.body.len() / 2);
    check("content that ends in the middle", good.with_body(cut), &error("decryption-failed"));
    let mut flipped = good.body.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;
    check("content that was changed", good.with_body(flipped), &error("integrity-check-failed"));
    check("no content at all", good.with_body(Vec::new()), &error("unexpected-processing-error"));
    check("content of no form", good.with_body(random(5000)), &error("unexpected-processing-error"));
    check("an unknown sender", good.with("AS2-From", Some("NOBODY")), &error("unknown-trading-partner"));
    check("an unknown receiver", good.with("AS2-To", Some("NOBODY")), &error("unknown-trading-partner"));
    let swapped = good.with("AS2-From", Some("WAYBILL")).with("AS2-To", Some("PEER"));
    check("names that are swapped", swapped, &error("unknown-trading-partner"));
    check(
        "a sender that is the receiver",
        good.with("AS2-From", Some("WAYBILL")),
        "MDN-sent-automatically; failed/failure: sender-equals-receiver\r\n",
    );
    check("no Message-ID", good.with("Message-ID", None), "Message-ID is missing");
    check("no AS2-From", good.with("AS2-From", None), "AS2-From is missing");
    let pgp = "signed-receipt-protocol=required, pgp-signature";
    let odd = good.with("Disposition-Notification-Options", Some(pgp));
    check(
        "a receipt of a kind we do not have",
        odd,
        "MDN-sent-automatically; failed/failure: unsupported format\r\n",
    );
    let elsewhere = good.with("Receipt-Delivery-Option", Some("http://169.254.169.254/latest/meta-data"));
    check("a receipt to be sent elsewhere", elsewhere, NOT_THERE);

    // Announced as larger than agreed: refused before the body is read.
    let large = good.with("Content-Length", Some("2000000"));
    let mut stream = raw::connect(port);
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", large.headers).unwrap();
    refused(
        &hub,
        "too large a message",
        raw::answer(stream),
        &error("unexpected-processing-error"),
        "message.refused",
        &mut events,
    );

    // Every event names the peer's address and what it said of itself.
    let events = hub.events("message.refused");
    assert!(
        events.iter().all(|event| event["peer"].as_str().unwrap().starts_with("127.0.0.1:")),
        "{events:?}"
    );
    assert!(hub.events("message.refused").iter().any(|event| event.to_string().contains("NOBODY")));
    hub.is_unmoved();
}

#[test]
fn signed_content_that_was_changed_fails_its_integrity_check() {
    let mut hub = start("receive.security = \"signed\"");
    let message = hub.pack("signed.bin", &b"a plain payload, easily changed\n".repeat(50), &hub.peer(), None);
    let text = String::from_utf8_lossy(&message.body).replacen("easily changed", "easily cHanged", 1);
    // The signature part is base64 or binary; a binary one would not survive this.
    if text.len() == message.body.len() {
        let answer = message.with_body(text.into_bytes()).post(hub.gateway.http);
        refused(&hub, "changed content", answer, &error("integrity-check-failed"), "message.refused", &mut 0);
    } else {
        let mut body = message.body.clone();
        let at = body.windows(14).position(|part| part == b"easily changed").unwrap();
        body[at + 8] = b'H';
        let answer = message.with_body(body).post(hub.gateway.http);
        refused(&hub, "changed content", answer, &error("integrity-check-failed"), "message.refused", &mut 0);
    }
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    hub.is_unmoved();
}

#[test]
fn a_body_that_is_cut_off_gets_no_receipt_and_the_whole_one_is_taken_later() {
    let mut hub = start("");
    let port = hub.gateway.http;
    let payload = random(300_000);
    let message = hub.good("cut.bin", &payload);
    let mut stream = raw::connect(port);
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\n{}\r\n", message.headers).unwrap();
    stream.write_all(&message.body[..message.body.len() / 2]).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = String::new();
    drop(stream.read_to_string(&mut said));
    assert!(!said.contains("Disposition"), "{said}");
    assert!(!said.starts_with("HTTP/1.1 200"), "{said}");
    eventually("an event", PATIENCE, || (hub.events("message.refused").len() == 1).then_some(()));
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    // The reservation of its Message-ID was given up: the same message is new.
    let answer = message.post(port).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    assert!(hub.wait_for_file("cut.bin") == payload);
    hub.is_unmoved();
}

#[test]
fn odd_http_is_answered_as_http_asks() {
    let mut hub = start("receive.largest = \"1MiB\"");
    let port = hub.gateway.http;
    assert_eq!(raw::get(port, "/as2").unwrap().status, 405);
    assert_eq!(raw::get(port, "/elsewhere").unwrap().status, 404);
    for huge in [
        format!("X-Large: {}\r\n", "x".repeat(100_000)),
        (0..500).map(|n| format!("X-{n}: y\r\n")).collect::<String>(),
    ] {
        let answer = raw::post(port, &format!("{huge}Content-Length: 0\r\n"), b"").unwrap();
        assert_eq!(answer.status, 431, "{}", answer.head);
    }
    let mut stream = raw::connect(port);
    stream.write_all(b"\x16\x03\x01 this is no HTTP\r\n\r\n").unwrap();
    let answer = raw::answer(stream);
    assert!(answer.is_none_or(|answer| answer.status == 400));

    // Chunked, in pieces of odd sizes.
    let payload = random(100_000);
    let message = hub.good("chunked.bin", &payload).with("Content-Length", None);
    let mut stream = raw::connect(port);
    let head = message.with("Transfer-Encoding", Some("chunked")).headers;
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n").unwrap();
    for piece in message.body.chunks(7919) {
        write!(stream, "{:x}\r\n", piece.len()).unwrap();
        stream.write_all(piece).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert!(raw::answer(stream).unwrap().text().contains("; processed\r\n"));
    assert!(hub.wait_for_file("chunked.bin") == payload);

    // Chunked and larger than agreed: ended in the middle, and not taken.
    let mut stream = raw::connect(port);
    let head =
        hub.good("endless.bin", b"x").with("Content-Length", None).with("Transfer-Encoding", Some("chunked"));
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n", head.headers).unwrap();
    for _ in 0..64 {
        let piece = [b"8000\r\n".as_slice(), &[0x30; 0x8000], b"\r\n"].concat();
        if stream.write_all(&piece).is_err() {
            break;
        }
    }
    let answer = raw::answer(stream);
    assert!(answer.is_none_or(|answer| !answer.text().contains("; processed\r\n")));
    eventually("an event", PATIENCE, || (hub.events("message.refused").len() == 6).then_some(()));

    // Expect: 100-continue is answered before the body comes.
    let message = hub.good("expected.bin", b"after the hundred");
    let mut stream = raw::connect(port);
    write!(
        stream,
        "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n{}\r\n",
        message.headers
    )
    .unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&message.body).unwrap();
    assert!(raw::answer(stream).unwrap().text().contains("; processed\r\n"));
    assert_eq!(hub.wait_for_file("expected.bin"), b"after the hundred");
    assert_eq!(hub.transfers(), 2);
    hub.is_unmoved();
    // Also those that never became a message are on record as connections.
    hub.gateway.stop();
    let connections = hub.gateway.connections();
    let inbound = connections.iter().filter(|c| c.protocol == Some(model::Protocol::As2)).count();
    assert!(inbound >= 8, "{inbound} of {connections:?}");
}

#[test]
fn a_receipt_for_nothing_is_recorded_and_refused_politely() {
    let mut hub = start("receive.security = \"none\"");
    let body = "--b\r\nContent-Type: text/plain\r\n\r\nReceived.\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\n\
                Original-Message-ID: <nothing@here>\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\n\r\n--b--\r\n";
    let headers = "AS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <receipt@peer>\r\nMIME-Version: 1.0\r\n\
                   Content-Type: multipart/report; report-type=disposition-notification; boundary=b\r\n";
    let message = Message { headers: headers.into(), body: Vec::new() }.with_body(body.as_bytes().to_vec());
    let answer = message.post(hub.gateway.http).unwrap();
    assert_eq!(answer.status, 400, "{}", answer.text());
    let events = hub.events("receipt.unmatched");
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].to_string().contains("receipt@peer"), "{events:?}");
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    hub.is_unmoved();
}

#[test]
fn a_signature_over_nothing_proves_nothing() {
    let mut hub = start("receive.security = \"signed\"");
    let port = hub.gateway.http;
    let signed = hub.pack("a.bin", &random(5000), &hub.peer(), None);
    let media = signed.field("Content-Type").unwrap();
    let (_, boundary) = media.split_once("boundary=").unwrap();
    let boundary = boundary.split(';').next().unwrap().trim_matches('"').to_owned();
    let line = format!("\r\n--{boundary}\r\n").into_bytes();
    let at = signed.body.windows(line.len()).rposition(|window| window == line).unwrap();
    let signature = &signed.body[at..];
    let mut events = 0;
    let mut check = |what: &str, message: Message, disposition: &str| {
        refused(&hub, what, message.post(port), disposition, "message.refused", &mut events);
    };
    let first = format!("--{boundary}\r\n\r\n").into_bytes();
    let changed = "processed/error: integrity-check-failed";
    check("a part without content", signed.with_body([&first, signature].concat()), changed);
    check("a signature alone", signed.with_body(signature[2..].to_vec()), "processed/error: ");
    // A SignedData without a signer, as certificates are sent in.
    let certificates = hub.root.path().join("only.p7b");
    let made = std::process::Command::new("openssl")
        .args(["crl2pkcs7", "-nocrl", "-outform", "DER", "-certfile", hub.peer_certificate.to_str().unwrap()])
        .arg("-out")
        .arg(&certificates)
        .status();
    assert!(made.unwrap().success());
    let opaque = "application/pkcs7-mime; smime-type=signed-data; name=smime.p7m";
    let nobody = signed.with("Content-Type", Some(opaque)).with_body(std::fs::read(certificates).unwrap());
    check("a signed message that nobody signed", nobody, "processed/error: ");
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    hub.is_unmoved();
}

#[test]
fn a_signature_counts_by_its_own_digest_and_not_by_the_announced_one() {
    let mut hub = start("receive.security = \"signed\"\nlegacy = true");
    let payload = random(1_500_000);
    for (used, announced) in [("sha1", "sha-256"), ("sha512", "sha1"), ("sha384", "sha-256")] {
        let (file, out) = (hub.root.path().join(format!("{used}.bin")), hub.root.path().join("odd"));
        std::fs::write(&file, &payload).unwrap();
        let (peer, own) = (hub.peer(), &hub.own);
        let mut arguments = vec!["as2", "pack", "--from", "PEER", "--to", "WAYBILL", "--digest", used];
        arguments.extend(["--sign-key", peer.key.to_str().unwrap()]);
        arguments.extend(["--sign-cert", peer.certificate.to_str().unwrap()]);
        arguments.extend([file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
        let (status, said, error) = run(&arguments);
        assert!(status.success(), "{said} {error}");
        let message = Message::read(&std::fs::read(&out).unwrap());
        let media = message.field("Content-Type").unwrap();
        let (before, after) = media.split_once("micalg=").unwrap();
        let after = after.find(';').map_or("", |at| &after[at..]);
        let odd = message.with("Content-Type", Some(&format!("{before}micalg={announced}{after}")));

        // A file can be read again, whichever digest it takes.
        std::fs::write(&out, odd.bytes()).unwrap();
        let into = hub.root.path().join("unpacked");
        let (status, said, error) = run(&[
            "as2",
            "unpack",
            "--key",
            own.key.to_str().unwrap(),
            "--cert",
            own.certificate.to_str().unwrap(),
            "--partner-cert",
            peer.certificate.to_str().unwrap(),
            out.to_str().unwrap(),
            "--out",
            into.to_str().unwrap(),
            "--require",
            "signed",
            "--legacy",
        ]);
        assert!(status.success(), "{used} as {announced}: {said} {error}");
        assert!(std::fs::read(into.join(format!("{used}.bin"))).unwrap() == payload);

        // What comes over the wire passes but once, and counts all the same.
        let answer = odd.post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{used} as {announced}: {}", answer.text());
        assert!(hub.wait_for_file(&format!("{used}.bin")) == payload);
    }
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    hub.is_unmoved();
}
