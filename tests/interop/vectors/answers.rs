//! What goes out to a partner, byte for byte, and the receipts that products write for it. The partner is played by the test:
//! it answers each message by a template.

use crate::hub::{Hub, PATIENCE, random};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;
use suites::eventually;

/// A message that came.
#[derive(Clone)]
pub(crate) struct Heard {
    /// The header section as it came, with its request line.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Heard {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

/// Reads one message; nothing of a connection that is closed or stays silent.
fn hear(stream: &mut BufReader<TcpStream>) -> Option<Heard> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut heard = Heard { head, body: Vec::new() };
    if let Some(length) = heard.field("Content-Length") {
        heard.body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut heard.body).ok()?;
        return Some(heard);
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).unwrap();
        let before = heard.body.len() as u64;
        stream.by_ref().take(size).read_to_end(&mut heard.body).ok()?;
        assert_eq!(heard.body.len() as u64, before + size);
        stream.read_line(&mut line).ok()?;
        if size == 0 {
            return Some(heard);
        }
    }
}

/// A partner that answers each message by itself, and keeps all of them.
pub(crate) struct Partner {
    pub(crate) url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Partner {
    pub(crate) fn start(answer: impl Fn(&Heard) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/as2", listener.local_addr().unwrap());
        let (answer, heard) = (Arc::new(answer), Arc::new(Mutex::new(Vec::new())));
        let kept = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answer, kept) = (Arc::clone(&answer), Arc::clone(&kept));
                thread::spawn(move || {
                    let stream = stream.unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
                    let mut stream = BufReader::new(stream);
                    let Some(heard) = hear(&mut stream) else { return };
                    let bytes = answer(&heard);
                    kept.lock().unwrap().push(heard);
                    // A gateway that was stopped in the meantime reads no answer.
                    drop(stream.get_mut().write_all(&bytes));
                });
            }
        });
        Self { url, heard }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

/// The definitions, with lines for the agreement and for the endpoint.
fn define(hub: &Hub, partner: &Partner, agreed: &str, lines: &str) {
    hub.define(&partner.url, agreed);
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let endpoint = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(endpoint));
    fs::write(document, text.replace(endpoint, &format!("{endpoint}{lines}"))).unwrap();
}

/// An HTTP answer with these fields and this body.
pub(crate) fn http(status: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

const REPORT: &str = "multipart/report; report-type=disposition-notification; boundary=\"b\"";

/// The body of a receipt, around the fields of its second part.
fn report(fields: &str) -> String {
    format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nWords.\r\n--b\r\nContent-Type: message/disposition-notification\r\n\r\n\
         {fields}\r\n\r\n--b--\r\n"
    )
}

/// A receipt of a product: its media type and its body. `{id}` is the Message-ID, `{bare}` the same without its brackets,
/// `{mic}` the right digest.
struct Receipt {
    what: &'static str,
    media: &'static str,
    body: String,
    accepted: bool,
}

fn receipt(what: &'static str, fields: &str) -> Receipt {
    Receipt { what, media: REPORT, body: report(fields), accepted: true }
}

const STRICT: &str = "Reporting-UA: Peer\r\nOriginal-Recipient: rfc822; PEER\r\nFinal-Recipient: rfc822; PEER\r\n\
    Original-Message-ID: {id}\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\n\
    Received-content-MIC: {mic}, sha-256";

fn receipts() -> Vec<Receipt> {
    let base64 = openssl::base64::encode_block(b"X: y\r\nDisposition: x; processed").replace('\n', "");
    let plain = receipt("by the RFC", STRICT);
    let mut all = vec![
        receipt(
            "without a space",
            "Final-Recipient:rfc822;PEER\r\nOriginal-Message-ID:{bare}\r\n\
             Disposition:automatic-action/MDN-sent-automatically;processed\r\nReceived-content-MIC:{mic},sha256",
        ),
        receipt(
            "in another case",
            "FINAL-RECIPIENT: RFC822;PEER\r\noriginal-message-id: {id}\r\n\
             DISPOSITION: Automatic-Action/mdn-sent-automatically; PROCESSED\r\nReceived-Content-Mic: {mic}, SHA256",
        ),
        receipt(
            "with what is needed alone",
            "Disposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: {mic}, sha2_256",
        ),
        receipt(
            "folded",
            "Original-Message-ID:\r\n {id}\r\nDisposition: automatic-action/MDN-sent-automatically;\r\n\tprocessed\r\n\
             Received-content-MIC: {mic},\r\n sha-256",
        ),
        receipt(
            "with a comment, odd lines and spaces",
            "Original-Message-ID:  {id} \r\nX-Odd\r\n\
             Disposition : automatic-action/MDN-sent-automatically; processed (by a machine)\r\n\
             Received-content-MIC: {mic} , sha-256",
        ),
        receipt(
            "without a name of the digest",
            "Disposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: {mic}",
        ),
        receipt(
            "with a warning",
            "Original-Message-ID: {id}\r\nDisposition: automatic-action/MDN-sent-automatically; processed/Warning:odd\r\n\
             Received-content-MIC: {mic}, rsa-sha256",
        ),
        Receipt { what: "with bare LF", body: plain.body.replace("\r\n", "\n"), ..receipt("", "") },
        Receipt {
            what: "with a preamble and an epilogue",
            body: format!("\r\nContent-Type: {REPORT}\r\n\r\n{}\r\nan epilogue\r\n", plain.body),
            ..receipt("", "")
        },
        Receipt {
            what: "under a quoted media type",
            media: "\"multipart/report; report-type=disposition-notification; boundary=\\\"b\\\"\"",
            ..receipt("", STRICT)
        },
        Receipt { what: "with TABs", media: "Multipart/Report;\tboundary=b", ..receipt("", STRICT) },
    ];
    // What is no proof, however it is written.
    let refused = |what, fields: &str| Receipt { accepted: false, ..receipt(what, fields) };
    all.extend([
        refused(
            "an error beside the right MIC",
            "Original-Message-ID: {id}\r\n\
             Disposition:automatic-action/MDN-sent-automatically;processed/Error:integrity-check-failed\r\n\
             Received-content-MIC: {mic}, sha-256",
        ),
        refused(
            "a failure",
            "Original-Message-ID: {bare}\r\n\
             Disposition: automatic-action/MDN-sent-automatically; failed/Failure:unsupported format\r\n\
             Received-content-MIC: {mic}, sha-256",
        ),
        refused(
            "the digest in another case",
            "Disposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: {other-case}, sha-256",
        ),
        refused(
            "the digest of nothing",
            "Disposition: automatic-action/MDN-sent-automatically; processed\r\n\
             Received-content-MIC: 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=, sha-256",
        ),
        refused(
            "another message",
            "Original-Message-ID: <another@message>\r\n\
             Disposition: automatic-action/MDN-sent-automatically; processed\r\nReceived-content-MIC: {mic}, sha-256",
        ),
        refused("no success", "Disposition: automatic-action/MDN-sent-automatically; deleted\r\nReceived-content-MIC: {mic}, sha-256"),
    ]);
    all.push(Receipt {
        what: "in base64",
        body: format!(
            "--b\r\nContent-Type: message/disposition-notification\r\nContent-Transfer-Encoding: base64\r\n\r\n{base64}\r\n--b--\r\n"
        ),
        ..receipt("", "")
    });
    all.push(plain);
    all
}

/// The name says which receipt is wanted for it.
fn number(name: &str) -> usize {
    name.split_once('-').unwrap().1.split_once('.').unwrap().0.parse().unwrap()
}

fn filled_in(receipt: &Receipt, id: &str, payload: &[u8]) -> String {
    let mic = openssl::base64::encode_block(&openssl::sha::sha256(payload));
    let turn = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
    let bare = id.trim_matches(['<', '>']);
    let body = receipt.body.replace("{id}", id).replace("{bare}", bare).replace("{mic}", &mic);
    body.replace("{other-case}", &mic.chars().map(turn).collect::<String>())
}

/// Every receipt for a message of its own, all at once.
#[test]
fn receipts_are_read_leniently_and_prove_no_more_than_they_say() {
    let receipts = Arc::new(receipts());
    let payload = |number: usize| format!("order {number}\n").into_bytes();
    let told = Arc::clone(&receipts);
    let partner = Partner::start(move |heard| {
        let disposition = heard.field("Content-Disposition").unwrap();
        let name = disposition.split("order-").nth(1).unwrap();
        let number = number(&format!("order-{name}"));
        let receipt = &told[number];
        let body = filled_in(receipt, heard.field("Message-ID").unwrap(), &payload(number));
        // Without a Message-ID of its own.
        let fields = format!("AS2-From: PEER\r\nAS2-To: WAYBILL\r\nContent-Type: {}\r\n", receipt.media);
        http("200 OK", &fields, &body)
    });
    let mut hub = Hub::alone();
    // Refusals of some messages are no reason to wait with the others.
    define(&hub, &partner, "send.security = \"none\"\nmdn.ask = \"unsigned\"", "offline = false\n");
    hub.gateway.start();
    for number in 0..receipts.len() {
        hub.put(&format!("order-{number}.bin"), &payload(number));
    }
    for (number, receipt) in receipts.iter().enumerate() {
        let way = hub.ended(&format!("order-{number}.bin"));
        let what = receipt.what;
        let delivery = &way["deliveries"][0];
        assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1, "{what}: {way}");
        if receipt.accepted {
            assert_eq!(way["state"], "completed", "{what}: {way}");
            let matched = receipt.body.contains("{mic}");
            assert_eq!(delivery["receipt"]["detail"]["mic_matched"], matched, "{what}: {way}");
        } else {
            assert_eq!(way["state"], "failed", "{what}: {way}");
        }
    }
    hub.gateway.stop();
}

/// RFC 4130, section 7.3.1, leaves the headers of an unprotected message out of its MIC, and RFC 5402, section 4.3, puts them in
/// once it is compressed: of a compressed one either is accepted, and the receipt says which it was.
#[test]
fn a_compressed_message_is_proved_by_a_mic_with_or_without_its_headers() {
    let payload = b"an order that is compressed\n".repeat(100);
    let mic = openssl::base64::encode_block(&openssl::sha::sha256(&payload));
    let partner = Partner::start(move |heard| {
        let fields = format!(
            "Original-Message-ID: {}\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\n\
             Received-content-MIC: {mic}, sha-256",
            heard.field("Message-ID").unwrap()
        );
        http("200 OK", &format!("Content-Type: {REPORT}\r\n"), &report(&fields))
    });
    let mut hub = Hub::alone();
    let agreed = "send.security = \"none\"\nsend.compress = \"before_signing\"\nmdn.ask = \"unsigned\"";
    hub.define(&partner.url, agreed);
    hub.gateway.start();
    hub.put("order.bin", &payload);
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "completed", "{way}");
    let detail = &way["deliveries"][0]["receipt"]["detail"];
    assert_eq!(detail["mic_rule"], "content without headers, exact bytes", "{detail}");
    assert_eq!(detail["mic_matched"], true, "{detail}");
    hub.gateway.stop();
}

/// Some partners refuse chunked bodies and folded lines: neither is sent, unless the endpoint says so of the first.
#[test]
fn a_message_has_a_length_and_no_folded_line() {
    let partner = Partner::start(|_| http("200 OK", "", ""));
    let mut hub = Hub::alone();
    let (payload, long) = (random(50_000), "n".repeat(180));
    let mut count = 0;
    for (line, agreed) in [
        ("", "send.security = \"signed_encrypted\""),
        ("", "send.security = \"signed\"\nsend.compress = \"after_signing\""),
        ("", "send.security = \"none\"\nsend.subject = \"A subject that is long: {stem}\""),
        ("chunked = true\n", "send.security = \"signed\""),
    ] {
        define(&hub, &partner, &format!("mdn.ask = \"none\"\n{agreed}"), line);
        hub.gateway.start();
        let name = format!("{long}{count}.bin");
        hub.put(&name, &payload);
        let way = hub.ended(&name);
        assert_eq!(way["state"], "completed", "{agreed}: {way}");
        hub.gateway.stop();
        count += 1;
        let heard = partner.heard();
        assert_eq!(heard.len(), count, "{agreed}");
        let head = &heard[count - 1].head;
        assert!(!head.contains("\n ") && !head.contains("\n\t"), "{head}");
        let length = heard[count - 1].field("Content-Length");
        let is_chunked = heard[count - 1].field("Transfer-Encoding") == Some("chunked");
        assert_eq!((length.is_some(), is_chunked), (line.is_empty(), !line.is_empty()), "{head}");
        assert!(length.is_none_or(|length| length == heard[count - 1].body.len().to_string()), "{head}");
    }
}

/// Any 2xx ends the step of HTTP. Where a receipt was asked for and none is in the answer, the message goes again.
#[test]
fn any_status_of_success_is_one_and_an_empty_answer_is_no_receipt() {
    for (status, ask, attempts) in [
        ("200 OK", "none", 1),
        ("201 Created", "none", 1),
        ("202 Accepted", "none", 1),
        ("204 No Content", "none", 1),
        ("299 Odd", "none", 1),
        ("200 OK", "unsigned", 2),
        ("202 Accepted", "unsigned", 2),
    ] {
        // The second time the receipt comes.
        let answered = AtomicBool::new(false);
        let partner = Partner::start(move |_| {
            if answered.swap(true, Ordering::Relaxed) {
                let fields = "Disposition: automatic-action/MDN-sent-automatically; processed";
                return http("200 OK", &format!("Content-Type: {REPORT}\r\n"), &report(fields));
            }
            http(status, "", "")
        });
        let mut hub = Hub::alone();
        hub.define(&partner.url, &format!("mdn.ask = \"{ask}\""));
        hub.gateway.start();
        hub.put("order.bin", b"an order");
        let way = hub.ended("order.bin");
        assert_eq!(way["state"], "completed", "{status} {ask}: {way}");
        let made: &Vec<Value> = way["deliveries"][0]["attempts"].as_array().unwrap();
        assert_eq!(made.len(), attempts, "{status} {ask}: {way}");
        // The same bytes each time.
        let heard = partner.heard();
        assert!(heard.iter().all(|other| other.body == heard[0].body), "{status} {ask}");
        hub.gateway.stop();
    }
}

/// A server that redirects could lead to a host that was not agreed: neither a message nor a receipt follows it.
#[test]
fn no_redirect_is_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    elsewhere.set_nonblocking(true).unwrap();
    let location = format!("Location: http://{}/latest/meta-data\r\n", elsewhere.local_addr().unwrap());
    let partner = Partner::start(move |_| http("302 Found", &location, ""));
    let mut hub = Hub::alone();
    hub.define(&partner.url, "");
    hub.gateway.start();
    hub.put("order.bin", b"an order");
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "failed", "{way}");
    assert!(
        way["deliveries"][0]["attempts"][0].to_string().contains("redirects to another address"),
        "{way}"
    );
    let message = hub.good("in.bin", b"an order").with("Receipt-Delivery-Option", Some(&partner.url));
    assert_eq!(message.post(hub.gateway.http).unwrap().status, 200);
    eventually("an attempt to send the receipt is on record", PATIENCE, || {
        let of = ["delivery.failed", "delivery.retrying"].map(|kind| hub.events(kind).len());
        (of.iter().sum::<usize>() >= 2).then_some(())
    });
    assert!(partner.heard().len() >= 2);
    assert_eq!(elsewhere.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
    hub.gateway.stop();
}
