//! Waybill → a partner that speaks AS2 restart (written from the draft alone), with its connections cut; partners that do not
//! speak it, and a server played by the test that answers 416.

mod protections;

use crate::hub::{Hub, PATIENCE, random, received, sha256, tell};
use crate::raw;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use suites::{Server, eventually, free_port};

/// Messages of this size and more go on.
const TERMS: &str = "send.restart.offer = true\nsend.restart.smallest = \"64KiB\"\n";

/// A partner that can restart, and a gateway that sends to it by this agreement.
fn start(agreement: &str) -> (Server, Hub) {
    start_by(&format!("{TERMS}{agreement}"))
}

fn start_by(agreement: &str) -> (Server, Hub) {
    let peer = Server::start("restart_peer", &[]);
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(peer.text("url"), agreement);
    hub.gateway.start();
    (peer, hub)
}

fn of_kind(peer: &Server, kind: &str) -> Vec<Value> {
    received(peer).into_iter().filter(|line| line["kind"] == kind).collect()
}

fn attempts(way: &Value) -> usize {
    way["deliveries"][0]["attempts"].as_array().unwrap().len()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

fn detail(way: &Value) -> &Value {
    &way["deliveries"][0]["receipt"]["detail"]
}

/// Bytes of bodies that the partner took in, of all POSTs.
fn taken(posts: &[Value]) -> u64 {
    posts
        .iter()
        .filter(|post| post["start"].is_u64())
        .map(|post| match post["got"].as_u64() {
            Some(got) => got,
            None => number(&post["now"]).saturating_sub(number(&post["start"])),
        })
        .sum()
}

/// That the partner has one message with these bytes.
fn arrived(peer: &Server, bytes: &[u8], what: &str) -> Value {
    let messages = of_kind(peer, "message");
    assert_eq!(messages.len(), 1, "{what}: {messages:?}");
    assert_eq!(messages[0]["sha256"], sha256(bytes), "{what}: {messages:?}");
    messages[0].clone()
}

#[test]
fn a_message_that_is_cut_goes_on_at_the_first_byte_that_the_partner_does_not_have() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "cut_at": [700_000, 1_500_000] }));
    let bytes = random(3_000_000);
    hub.put("order.bin", &bytes);
    let way = hub.ended("order.bin");
    assert_eq!(
        (way["state"].as_str(), attempts(&way)),
        (Some("completed"), 1),
        "{way}\n{:?}",
        received(&peer)
    );
    let total = number(&arrived(&peer, &bytes, "cut twice")["length"]);

    let posts = of_kind(&peer, "post");
    let ranges: Vec<_> = posts.iter().map(|post| post["range"].as_str().unwrap()).collect();
    let expected = [0, 700_000, 1_500_000].map(|from| format!("bytes {from}-{}/{total}", total - 1));
    assert_eq!(ranges, expected);
    let lengths: Vec<_> = posts.iter().map(|post| post["content_length"].as_str().unwrap()).collect();
    assert_eq!(lengths, [total, total - 700_000, total - 1_500_000].map(|length| length.to_string()));
    assert_eq!(taken(&posts), total, "nothing was sent twice: {posts:?}");
    for post in &posts {
        assert_eq!((&post["etag"], &post["message_id"]), (&posts[0]["etag"], &posts[0]["message_id"]));
    }
    // A strong tag of its own; the first HEAD before the first restart, none before the message.
    let etag = posts[0]["etag"].as_str().unwrap();
    assert!(etag.starts_with('"') && etag.len() > 20, "{etag}");
    let heads = of_kind(&peer, "head");
    let ours: Vec<_> = heads.iter().filter(|head| head["etag"] == etag).collect();
    assert_eq!(ours.iter().map(|head| number(&head["length"])).collect::<Vec<_>>(), [700_000, 1_500_000]);
    for head in &heads {
        let said = (head["version"].as_str(), head["from"].as_str(), head["to"].as_str());
        assert_eq!(said, (Some("1.2"), Some("WAYBILL"), Some("PEER")));
    }

    let detail = detail(&way);
    assert_eq!(
        (&detail["restarts"], &detail["restarted_at_bytes"], &detail["restart_saved_bytes"]),
        (&json!("2"), &json!("700000, 1500000"), &json!("2200000")),
        "{detail}"
    );
    assert_eq!(detail["mic_matched"], true, "{detail}");
    let events = hub.events("message.restarted");
    let places: BTreeSet<_> = events.iter().map(|event| number(&event["detail"]["from_byte"])).collect();
    assert_eq!(places, BTreeSet::from([700_000, 1_500_000]), "{events:?}");
}

#[test]
fn a_partner_that_has_all_of_a_message_answers_after_its_last_byte() {
    let (peer, hub) = start("");
    tell(&peer, &json!({ "drop_answer": 1 }));
    let bytes = random(300_000);
    hub.put("order.bin", &bytes);
    let way = hub.ended("order.bin");
    assert_eq!(
        (way["state"].as_str(), attempts(&way)),
        (Some("completed"), 1),
        "{way}\n{:?}",
        received(&peer)
    );
    let total = number(&arrived(&peer, &bytes, "dropped answer")["length"]);
    let posts = of_kind(&peer, "post");
    let last = posts.last().unwrap();
    assert_eq!(last["range"], format!("bytes {0}-{0}/{total}", total - 1), "{posts:?}");
    assert_eq!((posts.len(), number(&last["got"])), (2, 1));
}

#[test]
fn receipts_that_come_later_prove_a_message_that_went_on() {
    let peer = Server::start("restart_peer", &[]);
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate, "cut_at": [150_000] }));
    let later = format!("{TERMS}mdn.reply_to = \"listener:as2\"\nmdn.url = \"{}\"\n", hub.url());
    hub.define(peer.text("url"), &later);
    hub.gateway.start();
    let bytes = random(300_000);
    hub.put("order.bin", &bytes);
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "completed", "{way}\n{:?}", received(&peer));
    arrived(&peer, &bytes, "a later receipt");
    assert_eq!(detail(&way)["restarted_at_bytes"], "150000", "{way}");
}

#[test]
fn a_message_goes_on_after_its_gateway_was_killed() {
    let (peer, mut hub) = start("send.rsa_signature = \"pss\"");
    // So many cuts that it takes a while.
    let cuts: Vec<u64> = (1..24).map(|mib| mib << 20).collect();
    tell(&peer, &json!({ "cut_at": cuts }));
    let bytes = random(24 << 20);
    hub.put("order.bin", &bytes);
    for mib in [4, 10] {
        eventually("some of the message has arrived", PATIENCE, || {
            let state = raw::get(peer.port(), "/control")?.text();
            let state: Value = serde_json::from_str(&state).ok()?;
            (state["partial"].as_u64()? >= mib << 20).then_some(())
        });
        hub.gateway.kill();
        hub.gateway.start();
    }
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "completed", "{way}\n{:?}", received(&peer));
    let message = arrived(&peer, &bytes, "killed");
    let posts = of_kind(&peer, "post");
    let etags: BTreeSet<_> = posts.iter().map(|post| post["etag"].to_string()).collect();
    assert_eq!(etags.len(), 1, "{posts:?}");
    assert_eq!(taken(&posts), number(&message["length"]), "{posts:?}");
    assert!(number(&posts.last().unwrap()["start"]) > 20 << 20, "{posts:?}");
}

#[test]
fn a_partner_without_restart_gets_the_whole_message_again() {
    // It refuses HEAD; it has nothing; it answers every HEAD with the length of a page; it says that it has more than all.
    for head in [json!("unsupported"), json!("zero"), json!(12_345), json!(1_u64 << 40)] {
        let (peer, hub) = start("");
        tell(&peer, &json!({ "head": head, "cut_at": [200_000] }));
        let bytes = random(300_000);
        hub.put("order.bin", &bytes);
        let way = hub.ended("order.bin");
        assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 2), "{head}: {way}");
        arrived(&peer, &bytes, &head.to_string());
        let posts = of_kind(&peer, "post");
        let starts: Vec<_> = posts.iter().map(|post| number(&post["start"])).collect();
        assert_eq!(starts, [0, 0], "{head}: {posts:?}");
        let (first, second) = (posts[0]["etag"].as_str().unwrap(), posts[1]["etag"].as_str());
        // One that has nothing may not keep so little; others get the message as if there were no restart.
        let has_fields = head == json!("zero") || head == json!(1_u64 << 40);
        assert_eq!(second.is_some(), has_fields, "{head}: {posts:?}");
        assert_eq!(second == Some(first), head == json!("zero"), "{head}: {posts:?}");
        assert_eq!(posts[0]["message_id"], posts[1]["message_id"]);
        // The warning is recorded once.
        let warned = hub.events("message.restart_unsupported").len();
        assert_eq!(warned, usize::from(head == json!("unsupported") || head == json!(12_345)), "{head}");
        assert!(detail(&way)["restarts"].is_null(), "{way}");
    }
}

#[test]
fn a_partner_that_claims_to_have_a_new_message_gets_it_whole_under_another_id() {
    let (peer, hub) = start("send.restart.head = \"always\"");
    tell(&peer, &json!({ "head": 5_000 }));
    let bytes = random(300_000);
    hub.put("order.bin", &bytes);
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{way}");
    arrived(&peer, &bytes, "claimed");
    let (heads, posts) = (of_kind(&peer, "head"), of_kind(&peer, "post"));
    assert_eq!((heads.len(), posts.len(), number(&posts[0]["start"])), (1, 1, 0), "{heads:?} {posts:?}");
    assert_ne!(heads[0]["etag"], posts[0]["etag"]);
}

#[test]
fn restart_is_an_option_with_a_smallest_size_and_a_first_post_without_a_range() {
    for (agreement, has_etag, has_range) in [
        // Without a word it is off.
        ("send.restart.smallest = \"64KiB\"\n".to_owned(), false, false),
        (format!("{TERMS}send.restart.range_first = false"), true, false),
        (format!("{TERMS}send.restart.head = \"always\""), true, true),
    ] {
        let (peer, hub) = start_by(&agreement);
        hub.put("large.bin", &random(200_000));
        assert_eq!(hub.ended("large.bin")["state"], "completed", "{agreement}");
        hub.put("small.bin", &random(20_000));
        assert_eq!(hub.ended("small.bin")["state"], "completed", "{agreement}");
        let posts = of_kind(&peer, "post");
        let said: Vec<_> =
            posts.iter().map(|post| (post["etag"].is_string(), post["range"].is_string())).collect();
        assert_eq!(said, [(has_etag, has_range), (false, false)], "{agreement}");
        let heads = of_kind(&peer, "head").len();
        assert_eq!(heads, usize::from(agreement.contains("always")), "{agreement}");
    }
}

/// A request as the played server saw it.
#[derive(Clone, Default, Debug)]
struct Seen {
    method: String,
    etag: String,
    range: String,
    version: String,
    /// As far as it was read.
    body: Vec<u8>,
}

/// What the played server does with a request.
enum Act {
    /// Reads so many bytes of the body, and closes the connection.
    Cut(usize),
    /// Reads all of it and answers with this status line and these fields.
    Answer(&'static str),
}

/// Serves one request a connection, and keeps what it saw.
fn play(act: impl Fn(&[Seen], &Seen) -> Act + Send + 'static) -> (u16, Arc<Mutex<Vec<Seen>>>) {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let (port, all) = (listener.local_addr().unwrap().port(), Arc::<Mutex<Vec<Seen>>>::default());
    let kept = Arc::clone(&all);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let Some((mut seen, length)) = read_head(&mut reader) else { continue };
            let act = act(&kept.lock().unwrap(), &seen);
            let wanted = match act {
                Act::Cut(bytes) => length.min(bytes),
                Act::Answer(_) => length,
            };
            let mut body = vec![0; wanted];
            if reader.read_exact(&mut body).is_err() {
                continue;
            }
            seen.body = body;
            kept.lock().unwrap().push(seen);
            if let Act::Answer(answer) = act {
                let head = format!("HTTP/1.1 {answer}\r\nConnection: close\r\n\r\n");
                reader.get_mut().write_all(head.as_bytes()).unwrap();
            }
        }
    });
    (port, all)
}

/// The head of a request, and the length of its body.
fn read_head(reader: &mut BufReader<TcpStream>) -> Option<(Seen, usize)> {
    let (mut seen, mut length, mut line) = (Seen::default(), 0, String::new());
    reader.read_line(&mut line).ok()?;
    seen.method = line.split_whitespace().next()?.to_owned();
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { return Some((seen, length)) };
        let value = value.trim().to_owned();
        match name.to_ascii_lowercase().as_str() {
            "etag" => seen.etag = value,
            "content-range" => seen.range = value,
            "as2-version" => seen.version = value,
            "content-length" => length = value.parse().ok()?,
            _ => {}
        }
    }
}

/// A gateway that sends to the played server without receipts.
fn to_played(port: u16) -> Hub {
    let mut hub = Hub::alone();
    hub.define(&format!("http://127.0.0.1:{port}/as2"), &format!("{TERMS}mdn.ask = \"none\"\n"));
    hub.gateway.start();
    hub
}

const DONE: &str = "200 OK\r\nContent-Length: 0";

#[test]
fn a_416_says_where_to_go_on() {
    let (port, seen) = play(|before, seen| {
        let posts = before.iter().filter(|seen| seen.method == "POST").count();
        let is_ours = before.first().is_some_and(|first| first.etag == seen.etag);
        match (seen.method.as_str(), posts) {
            ("HEAD", _) if is_ours => Act::Answer("200 OK\r\nContent-Length: 50000"),
            ("HEAD", _) => Act::Answer(DONE),
            (_, 0) => Act::Cut(100_000),
            (_, 1) => {
                Act::Answer("416 Range Not Satisfiable\r\nContent-Range: bytes */90000\r\nContent-Length: 0")
            }
            _ => Act::Answer(DONE),
        }
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    let seen = seen.lock().unwrap().clone();
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{way}");
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    let total = 50_000 + posts[1].body.len();
    let ranges: Vec<_> = posts.iter().map(|post| post.range.as_str()).collect();
    assert_eq!(ranges, [0, 50_000, 90_000].map(|from| format!("bytes {from}-{}/{total}", total - 1)));
    // The same bytes, whichever POST they were in.
    assert!(posts[0].body[50_000..] == posts[1].body[..50_000]);
    assert!(posts[1].body[40_000..] == posts[2].body[..]);
    assert!(seen.iter().all(|seen| seen.version == "1.2"));
}

#[test]
fn a_server_that_is_not_available_when_it_is_asked_is_asked_again() {
    let (port, seen) = play(|before, seen| {
        let count = |method: &str| before.iter().filter(|seen| seen.method == method).count();
        let is_ours = before.first().is_some_and(|first| first.etag == seen.etag);
        match (seen.method.as_str(), count("POST"), count("HEAD")) {
            ("HEAD", _, 0 | 1) => Act::Answer("503 Service Unavailable\r\nContent-Length: 0"),
            ("HEAD", ..) if is_ours => Act::Answer("200 OK\r\nContent-Length: 50000"),
            ("HEAD", ..) => Act::Answer(DONE),
            (_, 0, _) => Act::Cut(100_000),
            _ => Act::Answer(DONE),
        }
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{way}");
    let seen = seen.lock().unwrap().clone();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 2);
    assert!(posts[1].range.starts_with("bytes 50000-"), "{}", posts[1].range);
    assert!(posts[0].body[50_000..] == posts[1].body[..50_000]);
    assert!(hub.events("message.restart_unsupported").is_empty());
}

#[test]
fn a_message_that_cannot_go_on_is_begun_again_under_another_id() {
    let (port, seen) = play(|before, seen| {
        let posts = before.iter().filter(|seen| seen.method == "POST").count();
        let is_ours = before.first().is_some_and(|first| first.etag == seen.etag);
        match (seen.method.as_str(), posts) {
            ("HEAD", _) if is_ours => Act::Answer("200 OK\r\nContent-Length: 50000"),
            ("HEAD", _) => Act::Answer("404 Not Found\r\nContent-Length: 0"),
            (_, 0) => Act::Cut(100_000),
            (_, 1) => Act::Answer("409 Conflict\r\nContent-Length: 0"),
            _ => Act::Answer(DONE),
        }
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{way}");
    let seen = seen.lock().unwrap().clone();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 3);
    assert_eq!(posts[0].etag, posts[1].etag);
    assert!(posts[2].etag != posts[0].etag && posts[2].range.starts_with("bytes 0-"), "{:?}", posts[2].range);
    assert!(posts[2].body[50_000..] == posts[1].body[..]);
}

#[test]
fn a_server_that_refuses_the_header_fields_of_restart_gets_the_message_without_them() {
    // Firewalls for web servers answer 403. The last one answers with the length of a page.
    for answer in [
        "400 Bad Request\r\nContent-Length: 0",
        "403 Forbidden\r\nContent-Length: 0",
        "416 Range Not Satisfiable\r\nContent-Range: bytes */12345\r\nContent-Length: 0",
    ] {
        let (port, seen) = play(move |_, seen| match (seen.method.as_str(), seen.range.is_empty()) {
            ("HEAD", _) => Act::Answer("200 OK\r\nContent-Length: 12345"),
            (_, true) => Act::Answer(DONE),
            (_, false) => Act::Answer(answer),
        });
        let hub = to_played(port);
        hub.put("order.bin", &random(300_000));
        let way = hub.ended("order.bin");
        assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{answer}: {way}");
        let seen = seen.lock().unwrap().clone();
        let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
        assert_eq!(posts.len(), 2, "{answer}: {seen:?}");
        assert_eq!((posts[1].etag.as_str(), posts[1].version.as_str()), ("", "1.0"), "{answer}");
        assert!(posts[0].body == posts[1].body, "{answer}");
        assert_eq!(hub.events("message.restart_unsupported").len(), 1, "{answer}");
    }
}

#[test]
fn a_message_is_not_gone_on_with_where_a_server_only_seems_to_tell_transfer_ids_apart() {
    // It answers HEAD with the length of a page, and fails when it is asked for another transfer id.
    let (port, seen) = play(|before, seen| match (seen.method.as_str(), before.first()) {
        ("HEAD", Some(first)) if first.etag == seen.etag => Act::Answer("200 OK\r\nContent-Length: 12345"),
        ("HEAD", _) => Act::Answer("500 Internal Server Error\r\nContent-Length: 0"),
        (_, None) => Act::Cut(100_000),
        _ => Act::Answer(DONE),
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 2), "{way}");
    let seen = seen.lock().unwrap().clone();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!((posts.len(), posts[1].etag.as_str(), posts[1].range.as_str()), (2, "", ""));
    assert!(posts[1].body.len() >= 300_000 && posts[1].body[..100_000] == posts[0].body[..]);
}

#[test]
fn a_server_whose_connections_end_with_the_header_fields_of_restart_gets_the_message_without_them() {
    let (port, seen) = play(|_, seen| match (seen.method.as_str(), seen.range.is_empty()) {
        ("HEAD", _) | (_, true) => Act::Answer(DONE),
        (_, false) => Act::Cut(1000),
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 3), "{way}");
    let seen = seen.lock().unwrap();
    let posts = seen.iter().filter(|seen| seen.method == "POST");
    assert_eq!(posts.map(|post| !post.range.is_empty()).collect::<Vec<_>>(), [true, true, false]);
}

#[test]
fn a_message_that_can_never_be_joined_is_sent_without_the_header_fields_in_the_end() {
    // What goes on is refused each time, under each transfer id.
    let (port, seen) = play(|before, seen| {
        let is_posted = before.iter().any(|other| other.method == "POST" && other.etag == seen.etag);
        match (seen.method.as_str(), seen.range.as_str()) {
            ("HEAD", _) if is_posted => Act::Answer("200 OK\r\nContent-Length: 50000"),
            ("HEAD", _) | (_, "") => Act::Answer(DONE),
            (_, range) if range.starts_with("bytes 0-") => Act::Cut(100_000),
            _ => Act::Answer("422 Unprocessable Content\r\nContent-Length: 0"),
        }
    });
    let hub = to_played(port);
    hub.put("order.bin", &random(300_000));
    let way = hub.ended("order.bin");
    assert_eq!((way["state"].as_str(), attempts(&way)), (Some("completed"), 1), "{way}");
    let seen = seen.lock().unwrap().clone();
    let posts: Vec<_> = seen.iter().filter(|seen| seen.method == "POST").collect();
    assert_eq!(posts.len(), 7, "three that were cut, three that went on, and the last one");
    assert!(posts[6].etag.is_empty() && posts[6].body[..100_000] == posts[0].body[..]);
}
