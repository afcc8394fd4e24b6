//! Partners whose servers ask for a login: nginx (basic) and Apache (digest) in front of pyas2lib, and a server played by
//! the test that compares what it gets.

use crate::hub::{Hub, PATIENCE, random, received, sha256, start_peer, tell};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use suites::{Server, eventually, free_port};

const PASSWORD: &str = "correct-horse";

/// A peer behind a server that asks for a login, and a hub that sends to it.
struct Guarded {
    peer: Server,
    front: Server,
    hub: Hub,
}

impl Guarded {
    fn by(server: &str, authentication: &str) -> Self {
        let peer = start_peer();
        let to = peer.port().to_string();
        let front =
            Server::start("front", &["--server", server, "--to", &to, "--authentication", authentication]);
        let hub = Hub::for_peer(&peer);
        tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
        Self { peer, front, hub }
    }

    /// Starts the gateway with these lines of the endpoint.
    fn start(&mut self, lines: &str, password: &str) {
        define(&self.hub, &format!("{}/as2", self.front.text("url")), lines, password, "");
        self.hub.gateway.start();
    }

    /// The requests to the peer that the server in front answered.
    fn requests(&self) -> Vec<String> {
        let lines = fs::read_to_string(self.front.text("requests")).unwrap();
        lines.lines().filter(|line| line.contains("/as2")).map(str::to_owned).collect()
    }

    /// That these are the requests, but for the first `known`. Servers write their logs after the answer.
    fn has_answered(&self, known: usize, expected: &[&str]) {
        let all = || self.requests();
        eventually(&format!("the server's log has {expected:?}"), PATIENCE, || {
            (all().len() >= known + expected.len()).then_some(())
        });
        assert_eq!(all()[known..], *expected);
    }
}

/// Definitions whose endpoint has these lines, and a credential with this password.
fn define(hub: &Hub, url: &str, lines: &str, password: &str, agreement: &str) {
    hub.define(url, agreement);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let option = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(option));
    let secret = hub.root.path().join("password");
    fs::write(&secret, password).unwrap();
    let credential = format!(
        "[credential.globex]\nusername = \"partner\"\npassword = \"${{file:{}}}\"\n",
        secret.display()
    );
    fs::write(document, text.replace(option, &format!("{option}{lines}\n")) + &credential).unwrap();
}

fn attempts(way: &Value) -> &Vec<Value> {
    way["deliveries"][0]["attempts"].as_array().unwrap()
}

/// The error of the only attempt: the endpoint refuses access, and the file waits for it.
fn refused(hub: &Hub, file: &str) -> String {
    let way = eventually(&format!("an attempt for {file}"), PATIENCE, || {
        let found = hub.gateway.json(&["transfer", "list", "--file", file]);
        let id = found.as_array().unwrap().first()?["id"].as_str().unwrap().to_owned();
        let way = hub.gateway.json(&["transfer", "show", &id]);
        attempts(&way).first()?["error"].is_string().then_some(way)
    });
    assert_eq!(attempts(&way).len(), 1, "{way}");
    attempts(&way)[0]["error"].as_str().unwrap().to_owned()
}

fn delivered(guarded: &Guarded, name: &str, bytes: &[u8]) {
    guarded.hub.put(name, bytes);
    let way = guarded.hub.ended(name);
    assert_eq!(way["state"], "completed", "{way}");
    assert_eq!(attempts(&way).len(), 1, "{way}");
    assert_eq!(received(&guarded.peer).last().unwrap()["sha256"], sha256(bytes));
    assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{way}");
}

#[test]
fn a_digest_is_given_when_the_server_asks_for_it_and_with_every_message_after_that() {
    let mut guarded = Guarded::by("apache", "digest");
    guarded.start("credential = \"globex\"", PASSWORD);
    delivered(&guarded, "first.bin", &random(50_000));
    guarded.has_answered(0, &["401 POST /as2 -", "200 POST /as2 partner"]);
    delivered(&guarded, "second.bin", &random(50_000));
    guarded.has_answered(2, &["200 POST /as2 partner"]);
    // A large message is not sent in vain: an empty request asks for the challenge.
    delivered(&guarded, "large.bin", &random(600_000));
    guarded.has_answered(3, &["401 POST /as2 -", "200 POST /as2 partner"]);
    assert_eq!(received(&guarded.peer).len(), 3);
    guarded.hub.gateway.stop();

    guarded.start("credential = \"globex\"\nauthentication = \"digest\"", PASSWORD);
    delivered(&guarded, "third.bin", &random(10_000));
    guarded.has_answered(5, &["401 POST /as2 -", "200 POST /as2 partner"]);
}

#[test]
fn user_name_and_password_are_sent_when_the_server_asks_or_by_option_at_once() {
    let mut guarded = Guarded::by("nginx", "basic");
    guarded.start("credential = \"globex\"", PASSWORD);
    delivered(&guarded, "first.bin", &random(50_000));
    guarded.has_answered(0, &["401 POST /as2 -", "200 POST /as2 partner"]);
    guarded.hub.gateway.stop();
    guarded.start("credential = \"globex\"\nauthentication = \"basic\"\nchunked = true", PASSWORD);
    delivered(&guarded, "second.bin", &random(50_000));
    guarded.has_answered(2, &["200 POST /as2 partner"]);
    guarded.hub.gateway.stop();

    guarded.start("credential = \"globex\"\nauthentication = \"digest\"", PASSWORD);
    guarded.hub.put("never.bin", b"an order");
    let error = refused(&guarded.hub, "never.bin");
    assert!(error.contains("401") && error.contains("leave out 'authentication'"), "{error}");
    guarded.has_answered(3, &["401 POST /as2 -"]);
    assert_eq!(received(&guarded.peer).len(), 2);
}

#[test]
fn a_second_401_is_permanent_and_says_what_to_do() {
    for (server, authentication) in [("nginx", "basic"), ("apache", "digest")] {
        let mut guarded = Guarded::by(server, authentication);
        guarded.start("credential = \"globex\"", "not-the-password");
        let test = |guarded: &Guarded| {
            let definitions = guarded.hub.gateway.directory().join("definitions");
            let arguments = ["endpoint", "test", "peer-as2", "--definitions", definitions.to_str().unwrap()];
            guarded.hub.gateway.json(&arguments).to_string()
        };
        let said = test(&guarded);
        assert!(said.contains("the server refuses the endpoint's login"), "{said}");
        let before = guarded.requests().len();
        guarded.hub.put("order.bin", b"an order");
        let error = refused(&guarded.hub, "order.bin");
        assert!(error.contains("refused this user name and password"), "{error}");
        assert!(error.contains("globex") && error.contains("Messages of partners"), "{error}");
        assert!(!error.contains("not-the-password"), "{error}");
        let requests = eventually("the server's log", PATIENCE, || {
            let requests = guarded.requests();
            (requests.len() >= before + 2).then_some(requests)
        });
        assert_eq!(requests.len() - before, 2, "{requests:?}");
        assert!(requests.iter().all(|line| line.starts_with("401 ")), "{requests:?}");
        guarded.hub.gateway.stop();

        guarded.start("credential = \"globex\"", PASSWORD);
        let said = test(&guarded);
        assert!(said.contains("the server seems to speak AS2"), "{said}");
    }
}

#[test]
fn without_a_credential_the_error_names_the_option() {
    let mut guarded = Guarded::by("nginx", "basic");
    guarded.start("", PASSWORD);
    guarded.hub.put("order.bin", b"an order");
    let error = refused(&guarded.hub, "order.bin");
    assert!(error.contains("401") && error.contains("set 'credential' of the endpoint"), "{error}");
}

/// Header fields and body of a request.
struct Heard {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

fn hear(stream: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut line = String::new();
    if stream.read_line(&mut line).unwrap_or(0) == 0 {
        return None;
    }
    let mut fields = Vec::new();
    loop {
        line.clear();
        stream.read_line(&mut line).unwrap();
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length").unwrap().1.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(Heard { fields, body })
}

/// Plays a server that asks once for a basic login, by 401 after the whole message; gives each request that it reads.
fn asks_once() -> (String, mpsc::Receiver<Heard>) {
    let listener = TcpListener::bind(("127.0.0.1", free_port())).unwrap();
    let url = format!("http://{}/as2", listener.local_addr().unwrap());
    let (heard, requests) = mpsc::channel();
    let has_asked = Arc::new(AtomicBool::new(false));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (heard, has_asked) = (heard.clone(), Arc::clone(&has_asked));
            let mut stream = BufReader::new(stream.unwrap());
            thread::spawn(move || {
                while let Some(request) = hear(&mut stream) {
                    let answer = match has_asked.swap(true, Ordering::Relaxed) {
                        false => {
                            "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
                        }
                        true => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                    };
                    heard.send(request).unwrap();
                    stream.get_mut().write_all(answer.as_bytes()).unwrap();
                }
            });
        }
    });
    (url, requests)
}

#[test]
fn the_message_after_a_401_is_the_same_to_the_last_byte() {
    // Also with a signature that would be another each time.
    for agreement in ["mdn.ask = \"none\"", "mdn.ask = \"none\"\nsend.rsa_signature = \"pss\""] {
        let (url, requests) = asks_once();
        let mut hub = Hub::alone();
        define(&hub, &url, "credential = \"globex\"", PASSWORD, agreement);
        hub.gateway.start();
        hub.put("order.bin", &random(40_000));
        let way = hub.ended("order.bin");
        assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 1), "{way}");
        let heard: Vec<Heard> = requests.try_iter().collect();
        assert_eq!(heard.len(), 2);
        assert!(heard[0].body == heard[1].body, "{agreement}: the bodies differ");
        let expected =
            format!("Basic {}", openssl::base64::encode_block(format!("partner:{PASSWORD}").as_bytes()));
        let login = |heard: &Heard| heard.fields.iter().find(|(name, _)| name == "authorization").cloned();
        assert_eq!(login(&heard[0]), None);
        assert_eq!(login(&heard[1]), Some(("authorization".to_owned(), expected)));
        let others = |heard: &Heard| -> Vec<_> {
            heard.fields.iter().filter(|(name, _)| name != "authorization").cloned().collect()
        };
        assert_eq!(others(&heard[0]), others(&heard[1]));
    }
}

/// Anybody may post a message that names a URL for its receipt.
#[test]
fn a_receipt_goes_over_plain_http_without_the_password_of_an_endpoint_with_https() {
    for lines in ["credential = \"globex\"", "credential = \"globex\"\nauthentication = \"basic\""] {
        let (url, requests) = asks_once();
        let mut hub = Hub::alone();
        // The same host and port.
        let endpoint = url.replace("http://", "https://");
        define(&hub, &endpoint, lines, PASSWORD, "mdn.hosts = [\"127.0.0.1\"]");
        hub.gateway.start();
        let message = hub.good("order.bin", b"an order").with("Receipt-Delivery-Option", Some(&url));
        assert_eq!(message.post(hub.gateway.http).unwrap().status, 200);
        let way = eventually("an attempt to send the receipt is on record", PATIENCE, || {
            let found = hub.gateway.json(&["transfer", "list"]);
            let receipt = found.as_array().unwrap().iter().find(|one| one["kind"] == "receipt")?;
            let way = hub.gateway.json(&["transfer", "show", receipt["id"].as_str().unwrap()]);
            attempts(&way).first()?["ended"].is_string().then_some(way)
        });
        assert!(attempts(&way)[0]["error"].as_str().unwrap().contains("401"), "{way}");
        let heard: Vec<Heard> = requests.try_iter().collect();
        assert!(!heard.is_empty());
        let has_login = |heard: &Heard| heard.fields.iter().any(|(name, _)| name == "authorization");
        assert!(!heard.iter().any(has_login), "{lines}");
    }
}

#[test]
fn a_message_under_a_content_coding_is_decoded_by_apache() {
    let peer = start_peer();
    let to = peer.port().to_string();
    let options = ["--server", "apache", "--to", &to, "--authentication", "digest", "--extra"];
    let front = Server::start("front", &[&options[..], &["SetInputFilter DEFLATE"]].concat());
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let agreement = "send.content_coding = \"gzip\"\nsend.security = \"signed\"";
    define(&hub, &format!("{}/as2", front.text("url")), "credential = \"globex\"", PASSWORD, agreement);
    hub.gateway.start();
    let bytes = b"an order, over and over again\n".repeat(2000);
    hub.put("order.bin", &bytes);
    let way = hub.ended("order.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 1), "{way}");
    assert_eq!(way["deliveries"][0]["receipt"]["detail"]["mic_matched"], true, "{way}");
    let seen = received(&peer);
    assert_eq!((seen.len(), &seen[0]["sha256"]), (1, &json!(sha256(&bytes))), "{seen:?}");
    // How much went over the wire is on record when the connection has ended.
    hub.gateway.stop();
    let rows = hub.gateway.connections();
    let ours = rows.iter().filter(|row| row.endpoint.as_deref() == Some("peer-as2"));
    let sent = ours.filter_map(|row| row.bytes_out).sum::<u64>();
    assert!((1..20_000).contains(&sent), "{rows:?}");
}
