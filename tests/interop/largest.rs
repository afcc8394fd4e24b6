//! The largest message that a listener accepts, beside that of the partner: the smaller one counts, before the body is read and
//! while it comes.

use crate::hub::{Hub, random};
use crate::raw::{self, Answer, Message};
use std::fs;

const MIB: usize = 1 << 20;

/// A gateway whose listener accepts 1 MiB, and whose partner has this agreement.
fn start(agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", agreement);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let listener = "server = \"partners\"\n";
    assert!(text.contains(listener));
    let limited = text.replace(listener, &format!("{listener}largest = \"1MiB\"\n"));
    hub.gateway.define("hub.toml", &limited);
    hub.gateway.start();
    hub
}

/// That the answer refuses the message as larger than so many bytes.
fn too_large(what: &str, answer: &Answer, most: usize) {
    let text = answer.text();
    assert_eq!(answer.status, 200, "{what}: {text}");
    assert!(text.contains("processed/error: unexpected-processing-error\r\n"), "{what}: {text}");
    let words = format!("larger than the agreed limit of {most} bytes");
    assert!(text.contains(&words), "{what}: {text}");
}

/// The answer to the head alone: nothing of the body is sent.
fn answer_to_head(hub: &Hub, message: &Message) -> Answer {
    let waiting = message.with("Expect", Some("100-continue"));
    raw::post(hub.gateway.http, &waiting.headers, b"").unwrap()
}

/// The same message without its length.
fn chunked(message: &Message) -> Message {
    let mut body = Vec::new();
    for piece in message.body.chunks(70_000) {
        body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
        body.extend(piece);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    let head = message.with("Content-Length", None).with("Transfer-Encoding", Some("chunked"));
    Message { body, ..head }
}

#[test]
fn a_message_larger_than_the_listener_accepts_is_refused_before_and_while_it_is_read() {
    let mut hub = start("");
    let port = hub.gateway.http;
    let large = hub.good("large.bin", &random(2 * MIB));
    too_large("by its length", &answer_to_head(&hub, &large), MIB);
    too_large("by its range", &answer_to_head(&hub, &in_range(&large)), MIB);
    too_large("as it comes", &chunked(&large).post(port).unwrap(), MIB);
    let refused = hub.events("message.refused");
    assert_eq!(refused.len(), 3, "{refused:?}");
    let reason = refused[0]["detail"]["reason"].as_str().unwrap();
    assert!(
        reason.contains("larger than 1048576 bytes") && reason.contains("the listener's largest"),
        "{reason}"
    );
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    // What is small enough is taken, however it comes.
    let payload = random(MIB / 2);
    for (name, form) in [("small.bin", false), ("chunked.bin", true)] {
        let message = hub.good(name, &payload);
        let message = if form { chunked(&message) } else { message };
        let answer = message.post(port).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{name}: {}", answer.text());
        assert!(hub.wait_for_file(name) == payload, "{name} came with other bytes");
    }
    hub.is_unmoved();
}

/// The message as one that can go on, of which the first POST says the whole length in its range alone.
fn in_range(message: &Message) -> Message {
    let total = message.body.len();
    let message = message
        .with("ETag", Some("\"transfer-1\""))
        .with("Content-Range", Some(&format!("bytes 0-{}/{total}", total - 1)));
    message.with("Content-Length", None).with("Transfer-Encoding", Some("chunked"))
}

#[test]
fn the_smaller_limit_of_listener_and_partner_counts() {
    for (agreement, most) in [("receive.largest = \"512KiB\"", MIB / 2), ("receive.largest = \"3MiB\"", MIB)]
    {
        let hub = start(agreement);
        let larger = hub.good("larger.bin", &random(most + MIB / 4));
        too_large(agreement, &answer_to_head(&hub, &larger), most);
        let payload = random(most - MIB / 4);
        let answer = hub.good("smaller.bin", &payload).post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed\r\n"), "{agreement}: {}", answer.text());
        assert!(hub.wait_for_file("smaller.bin") == payload, "{agreement}: it came with other bytes");
    }
}
