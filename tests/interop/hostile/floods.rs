//! Too much, in every way in which there can be too much of a message: none of it holds up the others.

use super::{NOT_THERE, error, refused, start};
use crate::hub::{Hub, PATIENCE, random, start_peer};
use crate::raw::{self, Answer, Message};
use model::Direction;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use suites::{KeyPair, eventually};

/// Sends a message to its last byte before it looks for an answer, as many senders do.
fn answer_to_the_whole(port: u16, what: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = raw::connect(port);
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").unwrap();
    stream.write_all(body).unwrap_or_else(|error| panic!("{what}: {error}"));
    raw::answer(stream).unwrap_or_else(|| panic!("{what}: no answer"))
}

#[test]
fn a_message_larger_than_any_buffer_gets_its_answer_when_it_is_refused_early() {
    let mut hub = start("receive.largest = \"48MiB\"");
    let port = hub.gateway.http;
    let stranger = KeyPair::make(hub.root.path(), "stranger");
    let payload = random(32 << 20);
    let good = hub.good("large.bin", &payload);
    let for_another = hub.pack("b.bin", &payload, &hub.peer(), Some(&stranger));
    let unencrypted = hub.pack("c.bin", &payload, &hub.peer(), None);
    let mut events = 0;
    let mut check = |what: &str, message: &Message, disposition: &str| {
        let answer = answer_to_the_whole(port, what, &message.headers, &message.body);
        refused(&hub, what, Some(answer), disposition, "message.refused", &mut events);
    };
    check("encryption for another", &for_another, &error("decryption-failed"));
    check("no encryption", &unencrypted, &error("insufficient-message-security"));
    check("content of no form", &good.with_body(payload.clone()), &error("unexpected-processing-error"));
    check("an unknown sender", &good.with("AS2-From", Some("NOBODY")), &error("unknown-trading-partner"));
    check("no Message-ID", &good.with("Message-ID", None), "Message-ID is missing");
    let elsewhere = good.with("Receipt-Delivery-Option", Some("http://169.254.169.254/"));
    check("a receipt to be sent elsewhere", &elsewhere, NOT_THERE);
    let larger = good.with_body(vec![0x30; 60 << 20]);
    check("more than agreed, and said so", &larger, &error("unexpected-processing-error"));

    // The same without saying so before.
    let chunked = good.with("Content-Length", None).with("Transfer-Encoding", Some("chunked"));
    let piece = [b"100000\r\n".as_slice(), &[0; 1 << 20], b"\r\n"].concat();
    let body = [piece.repeat(60), b"0\r\n\r\n".to_vec()].concat();
    let mut opened = unencrypted.body.clone();
    // It begins like a signed message, or it would be refused before it is too large.
    opened.truncate(1 << 20);
    let body = [b"100000\r\n".as_slice(), &opened, b"\r\n", &body].concat();
    let of_signed = chunked.with("Content-Type", unencrypted.field("Content-Type"));
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "receive.largest = \"48MiB\"\nreceive.security = \"signed\"");
    hub.gateway.start();
    let port = hub.gateway.http;
    let answer = answer_to_the_whole(port, "more than agreed", &of_signed.headers, &body);
    assert!(answer.text().contains(&error("unexpected-processing-error")), "{}", answer.text());
    let newest = &hub.events("message.refused")[0];
    assert!(newest.to_string().contains("receive.largest"), "{newest}");
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));

    // A repetition is read whole before it gets the stored answer.
    let first = answer_to_the_whole(port, "good", &good.headers, &good.body);
    assert!(first.text().contains("; processed\r\n"), "{}", first.text());
    let second = answer_to_the_whole(port, "repeated", &good.headers, &good.body);
    assert_eq!(first.body, second.body);
    assert!(hub.wait_for_file("large.bin") == payload);
    hub.is_unmoved();
}

/// Connections that send a message a byte at a time, until they are dropped.
struct Trickles {
    ended: Arc<AtomicBool>,
    cut: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<()>>,
}

impl Trickles {
    fn start(port: u16, count: usize, message: &Message) -> Self {
        let (ended, cut) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let trickle = |number: usize| {
            let id = format!("<trickle-{number}@peer>");
            let head = message.with("Message-ID", Some(&id)).with("Content-Length", Some("1000000")).headers;
            let (ended, cut) = (Arc::clone(&ended), Arc::clone(&cut));
            let mut stream = raw::connect(port);
            write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\n{head}\r\n").unwrap();
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    if stream.write_all(b"\n").is_err() {
                        cut.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    std::thread::sleep(Duration::from_millis(200));
                }
            })
        };
        let threads = (0..count).map(trickle).collect();
        Self { ended, cut, threads }
    }

    /// Ends them, and tells how many the gateway had cut off by then.
    fn end(self) -> usize {
        let cut = self.cut.load(Ordering::Relaxed);
        self.ended.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        cut
    }
}

#[test]
fn trickling_messages_do_not_hold_up_deliveries() {
    let mut hub = Hub::with("[limits]\nbuffers = \"16MiB\"\n");
    let partner = TcpListener::bind("127.0.0.1:0").unwrap();
    hub.define(&format!("http://{}/as2", partner.local_addr().unwrap()), "");
    hub.gateway.start();
    let message = hub.good("never.bin", b"whole");
    // More than the whole budget would carry.
    let trickles = Trickles::start(hub.gateway.http, 24, &message);
    let begun =
        || hub.gateway.connections().iter().filter(|c| c.direction == Some(Direction::Inbound)).count();
    eventually("the messages are on their way", PATIENCE, || (begun() >= 24).then_some(()));
    hub.put("outgoing.bin", &random(100_000));
    let (mut stream, _) = partner.accept().unwrap();
    let mut first = [0; 4];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"POST");
    // It did not have to wait until the gateway lost its patience with them. Who is cut off sees that at
    // its second byte from then.
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(trickles.end(), 0);
    drop((stream, partner));
    assert_eq!(hub.inbox().len(), 0);
    hub.is_unmoved();
}

#[test]
fn a_thousand_parts_are_too_many() {
    let mut hub = start("receive.security = \"none\"");
    let parts = |count: usize| {
        let part = "--b\r\nContent-Type: text/plain\r\n\r\nx\r\n";
        let body = format!("{}--b--\r\n", part.repeat(count)).into_bytes();
        let good = hub.good("parts.bin", b"x");
        good.with("Content-Type", Some("multipart/mixed; boundary=b")).with_body(body)
    };
    let port = hub.gateway.http;
    let disposition = error("unexpected-processing-error");
    refused(&hub, "1,000 parts", parts(1000).post(port), &disposition, "message.refused", &mut 0);
    let event = hub.events("message.refused")[0].to_string();
    assert!(event.contains("more than 50 parts"), "{event}");
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    hub.is_unmoved();
}

/// A line that begins like a boundary and does not end, longer than the gateway may use memory.
#[test]
fn a_boundary_line_of_any_length_is_content_or_refused() {
    let mut hub = start("receive.security = \"none\"");
    let length: u64 = 160 << 20;
    let headers = format!(
        "AS2-Version: 1.1\r\nAS2-From: PEER\r\nAS2-To: WAYBILL\r\nMessage-ID: <line@peer>\r\nContent-Length: {length}\r\n\
         Content-Type: multipart/signed; protocol=\"application/pkcs7-signature\"; micalg=sha-256; boundary=b\r\n\
         Disposition-Notification-To: peer\r\n"
    );
    let mut stream = raw::connect(hub.gateway.http);
    write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n--b").unwrap();
    let piece = vec![b' '; 1 << 20];
    let mut left = length - 3;
    while left > 0 {
        let count = left.min(piece.len() as u64);
        // The gateway may have refused it already, and answered.
        if stream.write_all(&piece[..usize::try_from(count).unwrap()]).is_err() {
            break;
        }
        left -= count;
    }
    let answer = raw::answer(stream).expect("an answer");
    assert!(answer.text().contains("processed/error: "), "{} {}", answer.head, answer.text());
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.gateway.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").trim().parse().unwrap();
    assert!(peak << 10 < length, "{peak} KiB at most");
    hub.gateway.stop();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    hub.is_unmoved();
}

#[test]
fn a_bomb_does_not_go_off() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    let bomb = hub.root.path().join("bomb.bin");
    std::fs::write(&bomb, vec![0; 8 << 20]).unwrap();
    let unsigned: &[&str] = &["--no-sign", "--no-encrypt", "--compress"];
    for (security, form, disposition, reason) in [
        ("none", unsigned, "unexpected-processing-error", "larger than 1048576 bytes"),
        // Encrypted by CBC: nobody is told that it could be decrypted.
        ("none", &["--compress"], "decryption-failed", "larger than 1048576 bytes"),
        ("signed_encrypted", unsigned, "insufficient-message-security", "not encrypted"),
    ] {
        hub.define(
            peer.text("url"),
            &format!("receive.largest = \"1MiB\"\nreceive.security = \"{security}\""),
        );
        hub.gateway.start();
        let said = hub.send(bomb.to_str().unwrap(), form);
        let given = said["disposition"].as_str().unwrap_or_default();
        assert!(given.ends_with(&format!("processed/error: {disposition}")), "{form:?}: {said}");
        let event = hub.events("message.refused")[0].to_string();
        assert!(event.contains(reason), "{form:?}: {event}");
        assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
        hub.gateway.stop();
    }
    hub.define(peer.text("url"), "");
    hub.gateway.start();
    hub.is_unmoved();
}
