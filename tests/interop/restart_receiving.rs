//! Messages that go on where their connection broke (draft-harding-as2-restart-06): Waybill receives. The sender is a
//! Python peer that was written from the draft alone, or the test itself, byte by byte.

mod again;

use crate::hub::{Hub, PATIENCE, random};
use crate::raw::{self, Message};
use crate::restart_wire::{self, ETAG, field, is_invalid, is_processed, range, rest};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use suites::{eventually, repository};

/// Small messages are kept too.
const KEPT: &str = "receive.restart.smallest = 0";

fn started(agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", agreement);
    hub.gateway.start();
    hub
}

fn held_of(hub: &Hub, etag: &str, from: &str, to: &str) -> u64 {
    restart_wire::held_of(hub.gateway.http, etag, from, to)
}

fn held(hub: &Hub) -> u64 {
    restart_wire::held(hub.gateway.http)
}

fn begin(hub: &Hub, message: &Message, first: u64, upto: usize) -> TcpStream {
    restart_wire::begin(hub.gateway.http, message, first, upto)
}

/// The same, and the connection breaks once some of it is held. Returns how much.
fn break_off(hub: &Hub, message: &Message, first: u64, upto: usize) -> u64 {
    let before = hub.events("message.partial_kept").len();
    drop(begin(hub, message, first, upto));
    eventually("what has come is kept", PATIENCE, || {
        (hub.events("message.partial_kept").len() > before).then_some(())
    });
    held(hub)
}

/// Bytes in staging of messages that have arrived in part.
fn in_segments(hub: &Hub) -> u64 {
    let partial = fs::read_dir(hub.gateway.directory().join("state/staging/partial")).unwrap();
    let segments = partial.map(Result::unwrap);
    let segments = segments.filter(|file| file.file_name().as_encoded_bytes().starts_with(b"segment-"));
    // One may be removed while this looks.
    segments.filter_map(|file| file.metadata().ok()).map(|found| found.len()).sum()
}

/// Sends by the peer, and gives what it says.
fn send(hub: &Hub, name: &str, bytes: &[u8], more: &[&str]) -> Value {
    let file = hub.root.path().join(name);
    fs::write(&file, bytes).unwrap();
    hub.send_by("restart_peer", &hub.url(), None, file.to_str().unwrap(), more)
}

fn went_well(said: &Value) {
    assert_eq!(said["error"], Value::Null, "{said}");
    assert_eq!(said["http_status"], 200, "{said}");
    assert!(said["disposition"].as_str().unwrap().ends_with("; processed"), "{said}");
    assert_eq!(said["mic_matched"], true, "{said}");
}

/// Where each POST began: where the HEAD before it said, or at the last byte.
fn starts(said: &Value) -> Vec<u64> {
    said["posts"].as_array().unwrap().iter().map(|post| post["start"].as_u64().unwrap()).collect()
}

#[test]
fn a_message_that_is_cut_at_random_offsets_goes_on_and_arrives_once() {
    let hub = started(KEPT);
    let bytes = random(24 << 20);
    let mut cuts: Vec<usize> = random(40)
        .chunks(4)
        .map(|four| usize::try_from(u32::from_be_bytes(four.try_into().unwrap())).unwrap() % bytes.len())
        .chain([(23 << 20) + 17])
        .collect();
    cuts.sort_unstable();
    let list: Vec<String> = cuts.iter().map(usize::to_string).collect();
    let said = send(&hub, "cut.bin", &bytes, &["--cuts", &list.join(",")]);
    went_well(&said);
    let starts = starts(&said);
    // What is in flight when a connection is reset is lost; what was held before stays held.
    assert!(starts.windows(2).all(|two| two[0] <= two[1]), "{starts:?}");
    assert!(starts.last().is_some_and(|last| *last > 0), "{starts:?}");
    for (post, head) in said["posts"].as_array().unwrap()[1..].iter().zip(said["heads"].as_array().unwrap()) {
        assert_eq!(post["start"], head["length"], "{said}");
    }
    assert!(hub.wait_for_file("cut.bin") == bytes, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
    let continued = hub.events("message.continued");
    // A connection that is cut with its first byte may never have been heard of.
    let went_on = starts.iter().filter(|start| **start > 0).count();
    assert!((1..=went_on).contains(&continued.len()), "{continued:?}");
    assert!(!hub.events("message.partial_kept").is_empty());
}

#[test]
fn a_message_goes_on_across_kills_of_the_gateway() {
    let mut hub = started(KEPT);
    let bytes = random(32 << 20);
    let file = hub.root.path().join("killed.bin");
    fs::write(&file, &bytes).unwrap();
    let cuts: Vec<String> = (1..32).map(|number| ((number << 20) + 12_345).to_string()).collect();
    let mut command = Command::new(repository().join("tests/servers/restart_peer.sh"));
    command.args(["send", "--to-url", &hub.url(), "--from", "PEER", "--to", "WAYBILL", "--patience", "300"]);
    command.arg("--file").arg(&file).arg("--key").arg(&hub.peer_key).arg("--cert").arg(&hub.peer_certificate);
    command.arg("--partner-cert").arg(&hub.own.certificate).arg("--cuts").arg(cuts.join(","));
    let sender = std::thread::spawn(move || command.output().unwrap());
    for kill in 1..=3 {
        let kept = hub.events("message.partial_kept").len();
        eventually("another part is held", PATIENCE, || {
            (sender.is_finished() || hub.events("message.partial_kept").len() > kept).then_some(())
        });
        assert!(!sender.is_finished(), "it ended before kill {kill}");
        hub.gateway.kill();
        hub.gateway.start();
    }
    let output = sender.join().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    went_well(&said);
    assert!(hub.wait_for_file("killed.bin") == bytes, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
    hub.is_unmoved();
}

#[test]
fn what_was_told_is_held_after_a_kill() {
    let mut hub = started(KEPT);
    let payload = random(3 << 20);
    let message = hub.good("told.bin", &payload);
    let total = message.body.len();
    let told = break_off(&hub, &message, 0, total / 2);
    assert!(told > 0 && told <= (total / 2) as u64, "{told} of {total}");
    hub.gateway.kill();
    hub.gateway.start();
    assert_eq!(held(&hub), told);
    // A kill while it is received costs what was not recorded, and nothing of what was told.
    let stream = begin(&hub, &message, told, total * 3 / 4);
    hub.gateway.kill();
    drop(stream);
    hub.gateway.start();
    let now = held(&hub);
    assert!((told..=total as u64).contains(&now), "{now}");
    is_processed(&rest(&message, now).post(hub.gateway.http).unwrap());
    assert!(hub.wait_for_file("told.bin") == payload, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
}

#[test]
fn a_range_that_is_not_valid_is_answered_with_the_bytes_that_are_held() {
    let hub = started(KEPT);
    let message = hub.good("ranges.bin", &random(300_000));
    let total = message.body.len();
    let is = break_off(&hub, &message, 0, 200_000);
    let at = usize::try_from(is).unwrap();
    assert!(at > 1);
    let post = |content_range: &str, body: &[u8]| {
        let said = message.with("ETag", Some(ETAG)).with("Content-Range", Some(content_range));
        said.with_body(body.to_vec()).post(hub.gateway.http).unwrap()
    };
    // Behind what is held.
    is_invalid(&post(&range(at + 1, total), &message.body[at + 1..]), is);
    for content_range in [
        "bytes",
        "bytes 5-2/10",
        "lines 0-9/10",
        "bytes 0-9/*",
        "bytes */10",
        "bytes 1-18446744073709551615/18446744073709551616",
        "bytes 18446744073709551616-18446744073709551617/18446744073709551618",
    ] {
        is_invalid(&post(content_range, b"0123456789"), is);
    }
    // It ends before the message does; it has another length than its body.
    is_invalid(&post(&format!("bytes {at}-{}/{total}", total - 2), &message.body[at..total - 1]), is);
    is_invalid(&post(&range(at, total), &message.body[at..total - 1]), is);
    // The message has another length now: it is another one.
    is_invalid(&post(&range(at, total + 1), &[&message.body[at..], b"x"].concat()), 0);
    // Another message, a message without transfer id, and one of which nothing is held.
    let other = hub.good("ranges.bin", &random(300_000));
    is_invalid(&rest(&other, is.min(other.body.len() as u64 - 1)).post(hub.gateway.http).unwrap(), 0);
    is_invalid(&rest(&message, is).with("ETag", None).post(hub.gateway.http).unwrap(), 0);
    is_invalid(&rest(&message, is).with("ETag", Some("\"unknown\"")).post(hub.gateway.http).unwrap(), 0);
    let refused = hub.events("message.refused");
    assert!(
        refused.len() >= 13 && refused.iter().all(|event| event["detail"]["status"] == 416),
        "{refused:?}"
    );
    // None of these has changed what is held.
    assert_eq!(held(&hub), is);
    is_processed(&rest(&message, is).post(hub.gateway.http).unwrap());
    assert_eq!(hub.transfers(), 1);
}

#[test]
fn bytes_that_come_again_are_compared_with_those_that_are_held() {
    let hub = started(KEPT);
    let payload = random(300_000);
    let message = hub.good("overlap.bin", &payload);
    let is = break_off(&hub, &message, 0, 200_000);
    assert!(is > 1000);
    // Another byte than was held: it is another message, and starts over.
    let mut body = message.body.clone();
    body[usize::try_from(is - 500).unwrap()] ^= 1;
    let changed = rest(&Message { body, ..message.clone() }, is - 1000).post(hub.gateway.http).unwrap();
    is_invalid(&changed, 0);
    assert_eq!(held(&hub), 0);
    let is = break_off(&hub, &message, 0, 200_000);
    assert!(is > 1000);
    is_processed(&rest(&message, is - 1000).post(hub.gateway.http).unwrap());
    assert!(hub.wait_for_file("overlap.bin") == payload, "it came with other bytes");
}

#[test]
fn the_last_byte_gets_the_stored_answer_and_another_byte_does_not() {
    let hub = started(KEPT);
    let payload = random(200_000);
    let message = hub.good("answered.bin", &payload);
    let total = message.body.len() as u64;
    let answer = rest(&message, 0).post(hub.gateway.http).unwrap();
    is_processed(&answer);
    // Its answer was lost, say: all of it is held, and the last byte fetches the same one.
    for _ in 0..2 {
        assert_eq!(held(&hub), total);
        assert_eq!(rest(&message, total - 1).post(hub.gateway.http).unwrap(), answer);
    }
    // More of it than the last byte is not needed.
    is_invalid(&rest(&message, total - 10).post(hub.gateway.http).unwrap(), total);
    let mut body = message.body.clone();
    *body.last_mut().unwrap() ^= 1;
    let other = Message { body, ..message.clone() };
    is_invalid(&rest(&other, total - 1).post(hub.gateway.http).unwrap(), 0);
    // As a repetition without a transfer id it is answered as any other.
    assert_eq!(message.post(hub.gateway.http).unwrap(), answer);
    assert_eq!((hub.transfers(), hub.events("message.repeated").len()), (1, 3));
    // Of an answered message nothing is left but its length and its last byte.
    assert_eq!(in_segments(&hub), 0);
    assert!(hub.wait_for_file("answered.bin") == payload, "it came with other bytes");
}

#[test]
fn a_message_that_is_held_whole_is_read_when_its_last_byte_comes() {
    let hub = started(KEPT);
    let payload = random(200_000);
    let message = hub.good("paused.bin", &payload);
    let total = message.body.len() as u64;
    let run = |arguments: &[&str]| {
        let config = hub.gateway.config();
        let all = [&["--config", config.to_str().unwrap()][..], arguments].concat();
        let (status, said, error) = suites::run(&all);
        assert!(status.success(), "{said} {error}");
    };
    run(&["flow", "pause", "incoming", "--reason", "test"]);
    eventually("the flow is paused", PATIENCE, || {
        hub.gateway.metrics().contains("waybill_flow_paused{flow=\"incoming\"} 1").then_some(())
    });
    let asked_again = rest(&message, 0).post(hub.gateway.http).unwrap();
    assert_eq!(asked_again.status, 503, "{} {}", asked_again.head, asked_again.text());
    assert!(field(&asked_again, "retry-after").is_some(), "{}", asked_again.head);
    assert_eq!(held(&hub), total);
    run(&["flow", "resume", "incoming"]);
    let answer = eventually("the flow is resumed", PATIENCE, || {
        let answer = rest(&message, total - 1).post(hub.gateway.http).unwrap();
        (answer.status != 503).then_some(answer)
    });
    is_processed(&answer);
    assert!(hub.wait_for_file("paused.bin") == payload, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
}

#[test]
fn two_senders_with_one_transfer_id_never_meet_and_a_swapped_head_is_understood() {
    let second =
        "[partner.second.as2]\nid = \"SECOND\"\ncertificates = [\"peer\"]\nreceive.restart.smallest = 0";
    let hub = started(&format!("{KEPT}\n{second}"));
    let message = hub.good("first.bin", &random(300_000));
    let is = break_off(&hub, &message, 0, 200_000);
    assert!(is > 0);
    for (etag, from, to, expected) in [
        (ETAG, "PEER", "WAYBILL", is),
        // As in the draft's own example (5.1).
        (ETAG, "WAYBILL", "PEER", is),
        (ETAG, "\"PEER\"", "WAYBILL", is),
        (ETAG, "SECOND", "WAYBILL", 0),
        (ETAG, "WAYBILL", "SECOND", 0),
        (ETAG, "NOBODY", "WAYBILL", 0),
        (ETAG, "PEER", "NOBODY", 0),
        ("\"transfer-2\"", "PEER", "WAYBILL", 0),
        ("W/\"transfer-1\"", "PEER", "WAYBILL", 0),
    ] {
        assert_eq!(held_of(&hub, etag, from, to), expected, "{etag} {from} {to}");
    }
    let theirs = rest(&message, is).with("AS2-From", Some("SECOND"));
    is_invalid(&theirs.post(hub.gateway.http).unwrap(), 0);
    // What the second one sends under it is its own.
    let other = hub.good("second.bin", &random(300_000)).with("AS2-From", Some("SECOND"));
    let refused = rest(&other, 0).post(hub.gateway.http).unwrap();
    assert!(refused.text().contains("processed/error: "), "{}", refused.text());
    assert_eq!(held(&hub), is);
    is_processed(&rest(&message, is).post(hub.gateway.http).unwrap());
}

#[test]
fn whoever_asks_what_is_held_takes_the_message_over() {
    let hub = started(KEPT);
    let payload = random(1 << 20);
    let message = hub.good("hangs.bin", &payload);
    // Its connection hangs: nothing more comes, and nobody closes it.
    let mut hanging = begin(&hub, &message, 0, 700_000);
    eventually("some of it is in staging", PATIENCE, || (in_segments(&hub) > 0).then_some(()));
    let is = held(&hub);
    assert!(is > 0 && is <= 700_000, "{is}");
    // It is closed without an answer.
    let mut said = Vec::new();
    drop(hanging.read_to_end(&mut said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
    is_processed(&rest(&message, is).post(hub.gateway.http).unwrap());
    assert!(hub.wait_for_file("hangs.bin") == payload, "it came with other bytes");
    assert_eq!(hub.transfers(), 1);
}

#[test]
fn a_known_transfer_id_without_a_range_starts_over() {
    let hub = started(KEPT);
    let message = hub.good("over.bin", &random(300_000));
    assert!(break_off(&hub, &message, 0, 200_000) > 0);
    // Another message under it, with a Message-ID of its own.
    let payload = random(300_000);
    let other = hub.good("over.bin", &payload).with("ETag", Some(ETAG));
    is_processed(&other.post(hub.gateway.http).unwrap());
    assert!(hub.wait_for_file("over.bin") == payload, "it came with other bytes");
    assert_eq!(held(&hub), other.body.len() as u64);
    // The first one has nothing left of it.
    is_invalid(&rest(&message, 100_000).post(hub.gateway.http).unwrap(), 0);
    assert_eq!(hub.transfers(), 1);
}

#[test]
fn small_messages_those_of_unknown_size_and_those_of_partners_without_restart_are_not_kept() {
    for (agreement, length, chunked) in [
        ("receive.restart.smallest = \"1MiB\"", 500_000, false),
        ("receive.restart.smallest = 1", 2 << 20, true),
        ("receive.restart.accept = false", 2 << 20, false),
        ("receive.restart.keep_for = \"0s\"", 2 << 20, false),
    ] {
        let hub = started(agreement);
        let message = hub.good("small.bin", &random(length)).with("ETag", Some(ETAG));
        let half = message.body.len() / 2;
        let mut stream = raw::connect(hub.gateway.http);
        let said = match chunked {
            true => message.with("Content-Length", None).with("Transfer-Encoding", Some("chunked")),
            false => message.clone(),
        };
        let head =
            format!("POST /as2 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{}\r\n", said.headers);
        stream.write_all(head.as_bytes()).unwrap();
        if chunked {
            stream.write_all(format!("{half:x}\r\n").as_bytes()).unwrap();
        }
        stream.write_all(&message.body[..half]).unwrap();
        drop(stream);
        eventually("it is on record that it did not arrive", PATIENCE, || {
            (!hub.events("message.refused").is_empty()).then_some(())
        });
        assert_eq!(held(&hub), 0, "{agreement}");
        // Whole it is taken.
        is_processed(&message.post(hub.gateway.http).unwrap());
        assert_eq!(hub.events("message.partial_kept").len(), 0, "{agreement}");
    }
}

#[test]
fn what_may_be_kept_is_bounded_and_what_is_too_large_is_refused_by_its_total() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", &format!("{KEPT}\nreceive.largest = \"1MiB\""));
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let listener = "server = \"partners\"\n";
    let bounded =
        text.replace(listener, &format!("{listener}restart.messages = 1\nrestart.bytes = 600000\n"));
    assert_ne!(text, bounded);
    hub.gateway.define("hub.toml", &bounded);
    hub.gateway.start();
    let first = hub.good("first.bin", &random(200_000));
    assert!(break_off(&hub, &first, 0, 150_000) > 0);
    // The next one of the same partner takes its place.
    let second = hub.good("second.bin", &random(200_000)).with("ETag", Some("\"transfer-2\""));
    is_processed(&second.post(hub.gateway.http).unwrap());
    assert_eq!(held(&hub), 0);
    assert_eq!(hub.events("message.partial_removed").len(), 1);
    // One that is larger than all that may be kept of a partner is received all the same.
    let payload = random(500_000);
    is_processed(&rest(&hub.good("large.bin", &payload), 0).post(hub.gateway.http).unwrap());
    assert!(hub.wait_for_file("large.bin") == payload, "it came with other bytes");
    // What its range says counts for the largest message, before its bytes come.
    let refused = first.with("ETag", Some(ETAG)).with("Content-Range", Some("bytes 0-2097151/2097152"));
    let refused = refused.with("Content-Length", None).with("Transfer-Encoding", Some("chunked"));
    let refused = raw::post(hub.gateway.http, &refused.headers, b"0\r\n\r\n").unwrap();
    assert!(refused.text().contains("larger than the agreed limit of 1048576 bytes"), "{}", refused.text());
}

#[test]
fn the_peer_is_answered_whatever_it_asks_and_however_it_begins() {
    let hub = started(&format!("{KEPT}\nreceive.security = \"signed\""));
    let bytes = random(4 << 20);
    for (number, more) in [
        &["--head", "always"][..],
        &["--head", "always", "--swap-head", "--cuts", "1000000,3000000"],
        &["--head", "never", "--cuts", "1000000"],
        &["--no-range-first", "--cuts", "1500000"],
        &["--chunked", "--cuts", "2000000"],
        &["--no-encrypt", "--cuts", "2000000"],
        &["--wrong-range", "bytes 7-4/9", "--cuts", "2000000"],
        &["--cuts", "1000000,2000000", "--mdn", "none"],
    ]
    .iter()
    .enumerate()
    {
        let name = format!("asked-{number}.bin");
        let said = send(&hub, &name, &bytes, more);
        assert_eq!(said["error"], Value::Null, "{more:?}: {said}");
        assert_eq!(said["http_status"], 200, "{more:?}: {said}");
        assert!(hub.wait_for_file(&name) == bytes, "{more:?} came with other bytes");
        assert_eq!(hub.transfers(), number + 1, "{more:?}: {said}");
    }
}
