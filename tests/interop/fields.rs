//! Messages of senders that nobody knows, and the header fields of messages and receipts that are a matter of agreement.

use crate::hub::{Hub, PATIENCE, received, start_peer, tell};
use crate::raw;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::process::Command;
use suites::eventually;

#[test]
fn unknown_senders_are_answered_as_the_listener_says() {
    let mut hub = Hub::alone();
    let document = |hub: &Hub, word: &str| {
        hub.define("http://127.0.0.1:9/as2", "");
        let path = hub.gateway.directory().join("definitions/hub.toml");
        let text = fs::read_to_string(&path).unwrap();
        let listener = "server = \"partners\"\n";
        assert!(text.contains(listener));
        fs::write(path, text.replace(listener, &format!("{listener}unknown = \"{word}\"\n"))).unwrap();
    };
    let message = hub.good("order.bin", b"an order").with("AS2-From", Some("NOBODY"));
    let unasked = message.with("Disposition-Notification-To", None);
    for (number, word) in ["receipt", "answer", "answer_with_reason", "refuse", "drop"].iter().enumerate() {
        document(&hub, word);
        hub.gateway.start();
        for (message, asked) in [(&message, true), (&unasked, false)] {
            let answer = message.post(hub.gateway.http);
            let text = answer.as_ref().map(raw::Answer::text).unwrap_or_default();
            let status = answer.as_ref().map(|answer| answer.status);
            let reason = "The sender \"NOBODY\" is unknown to this system.\n";
            match (*word, asked) {
                ("receipt", true) => {
                    assert!(text.contains("processed/error: unknown-trading-partner\r\n"), "{text}");
                    assert!(!text.contains("pkcs7-signature"), "{text}");
                }
                ("receipt" | "answer_with_reason", _) => assert_eq!((status, &*text), (Some(200), reason)),
                ("answer", _) => assert_eq!((status, &*text), (Some(200), "")),
                ("refuse", _) => assert_eq!((status, &*text), (Some(422), reason)),
                _ => assert_eq!(status, None, "{text}"),
            }
        }
        // A 200 would say that a receipt is on record.
        let media = "multipart/report; report-type=disposition-notification; boundary=b";
        let receipt = unasked.with("Content-Type", Some(media)).post(hub.gateway.http);
        assert_eq!(receipt.map(|answer| answer.status), (*word != "drop").then_some(400), "{word}");
        eventually("the refusals are on record", PATIENCE, || {
            (hub.events("message.refused").len() == 2 * (number + 1)).then_some(())
        });
        hub.gateway.stop();
    }
    assert_eq!(hub.transfers(), 0);
}

/// The value of a header field in a message that the peer received.
fn field<'a>(message: &'a Value, name: &str) -> Option<&'a str> {
    let fields = message["headers"].as_array().unwrap();
    let found = fields.iter().find(|field| field[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
    Some(found[1].as_str().unwrap())
}

#[test]
fn a_partner_gets_the_header_fields_that_were_agreed() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    let agreed = "send.subject = \"Order {stem} from {from}\"\nsend.from = \"EDI <edi@waybill.example>\"\n\
        send.to = \"edi@peer.example\"\nsend.date = false\nsend.features = true";
    for agreement in ["", agreed] {
        hub.define(peer.text("url"), agreement);
        hub.gateway.start();
        let name = format!("4711-{}.edi", agreement.len());
        hub.put(&name, b"an order");
        let way = hub.ended(&name);
        assert_eq!(way["state"], "completed", "{way}");
        hub.gateway.stop();
        // pyas2lib says AS2-Version 1.2 and what it can do with every receipt.
        assert!(way["deliveries"][0]["receipt"]["detail"]["partner_features"].is_string(), "{way}");
    }
    let seen = received(&peer);
    let fields = |message: &Value| -> Vec<Option<String>> {
        let names =
            ["AS2-Version", "Subject", "From", "To", "Disposition-Notification-To", "EDIINT-Features"];
        names.iter().map(|name| field(message, name).map(str::to_owned)).collect()
    };
    let expected = |values: [Option<&str>; 6]| values.map(|value| value.map(str::to_owned)).to_vec();
    assert_eq!(fields(&seen[0]), expected([Some("1.0"), Some("EDI"), None, None, Some("WAYBILL"), None]));
    assert!(field(&seen[0], "Date").is_some_and(|date| date.ends_with(" GMT")), "{}", seen[0]);
    let from = Some("EDI <edi@waybill.example>");
    let subject = format!("Order 4711-{} from WAYBILL", agreed.len());
    assert_eq!(
        fields(&seen[1]),
        expected([
            Some("1.2"),
            Some(&subject),
            from,
            Some("edi@peer.example"),
            from,
            Some("multiple-attachments, CEM"),
        ])
    );
    assert_eq!(field(&seen[1], "Date"), None);
}

#[test]
fn a_receipt_names_the_message_its_recipients_and_what_this_gateway_can_do() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let message = hub.good("order.edi", b"an order").with("Subject", Some("Order 4711"));
    let message = message.with("Date", Some("Fri, 27 Nov 2026 10:00:00 GMT"));
    let post = |message: raw::Message| message.post(hub.gateway.http).unwrap();
    let fresh = |number: u32| message.with("Message-ID", Some(&format!("<{number}@peer>")));

    let answer = post(fresh(1).with("AS2-Version", Some("1.1")));
    let text = answer.text();
    assert!(
        text.contains(
            "was received and stored.\r\nSubject: Order 4711\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\n"
        ),
        "{text}"
    );
    assert!(
        text.contains("Original-Recipient: rfc822; WAYBILL\r\nFinal-Recipient: rfc822; WAYBILL\r\n"),
        "{text}"
    );
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("as2-version: 1.1\r\n") && !head.contains("ediint-features"), "{head}");

    let answer = post(
        fresh(2)
            .with("AS2-Version", Some("1.2"))
            .with("Original-Recipient", Some("rfc822;orders@waybill.example")),
    );
    let text = answer.text();
    assert!(
        text.contains(
            "Original-Recipient: rfc822;orders@waybill.example\r\nFinal-Recipient: rfc822; WAYBILL\r\n"
        ),
        "{text}"
    );
    let head = answer.head.to_ascii_lowercase();
    assert!(
        head.contains("as2-version: 1.2\r\n")
            && head.contains("ediint-features: multiple-attachments, cem\r\n"),
        "{head}"
    );

    // A required kind of receipt that there is none of; the same list, by the name that generalized receipts have.
    let answer = post(
        fresh(3)
            .with("Disposition-Notification-Options", None)
            .with("Receipt-Security-Selection", Some("signed-receipt-protocol=required, pgp-signature")),
    );
    assert!(answer.text().contains("failed/failure: unsupported format\r\n"), "{}", answer.text());

    let answer = post(
        fresh(4)
            .with("EDIINT-Features", Some("CEM, multiple-attachments"))
            .with("To", Some("edi@waybill.example")),
    );
    assert!(
        answer.text().contains("Original-Recipient: rfc822; edi@waybill.example\r\n"),
        "{}",
        answer.text()
    );
    let said = eventually("what the sender can do is known", PATIENCE, || {
        let found = hub.gateway.json(&["transfer", "list", "--limit", "10"]);
        let ids =
            found.as_array().unwrap().iter().map(|transfer| transfer["id"].as_str().unwrap().to_owned());
        let ways: Vec<String> =
            ids.map(|id| hub.gateway.json(&["transfer", "show", &id]).to_string()).collect();
        ways.into_iter().find(|way| way.contains("as2_features") && way.contains("CEM, multiple-attachments"))
    });
    assert!(said.contains("<4@peer>"), "{said}");
}

#[test]
fn a_receipt_names_the_address_in_its_signers_certificate_where_the_message_names_no_recipient() {
    let subject = "/CN=waybill/emailAddress=subject@waybill.example";
    for (more, address) in [
        (&["-addext", "subjectAltName=DNS:waybill,email:edi@waybill.example"][..], "edi@waybill.example"),
        (&[], "subject@waybill.example"),
    ] {
        let mut hub = Hub::alone();
        let made = Command::new("openssl")
            .args(["req", "-x509", "-new", "-days", "30", "-subj", subject])
            .args(more)
            .arg("-key")
            .arg(&hub.own.key)
            .arg("-out")
            .arg(&hub.own.certificate)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        hub.define("http://127.0.0.1:9/as2", "");
        hub.gateway.start();
        let message = hub.good("order.edi", b"an order");
        let post = |message: &raw::Message| message.post(hub.gateway.http).unwrap();
        let named = |answer: &raw::Answer, original: &str, last: &str| {
            let fields =
                format!("Original-Recipient: rfc822; {original}\r\nFinal-Recipient: rfc822; {last}\r\n");
            assert!(answer.text().contains(&fields), "{fields} {}", answer.text());
        };
        let first = post(&message);
        named(&first, address, address);
        assert!(post(&message).body == first.body, "a repetition gets the stored receipt");
        let addressed =
            message.with("Message-ID", Some("<2@peer>")).with("To", Some("orders@waybill.example"));
        named(&post(&addressed), "orders@waybill.example", "WAYBILL");
        // Nobody signs it.
        let unsigned =
            message.with("Message-ID", Some("<3@peer>")).with("Disposition-Notification-Options", None);
        named(&post(&unsigned), "WAYBILL", "WAYBILL");
    }
}

#[test]
fn names_on_two_lines_are_refused_and_other_fields_on_two_lines_are_read() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let message = hub.good("folded.edi", b"an order");
    for (field, name) in [("AS2-From", "PEER"), ("AS2-To", "WAYBILL")] {
        let folded = message.with(field, Some(&format!("\r\n {name}")));
        let answer = folded.post(hub.gateway.http).unwrap();
        let words = format!("the header {field} continues on a second line");
        assert!(answer.status == 400 && answer.text().contains(&words), "{} {}", answer.head, answer.text());
        // A bare status says nothing of AS2.
        assert!(!answer.head.to_ascii_lowercase().contains("as2-version"), "{}", answer.head);
    }
    // By an absolute URL, as proxies are asked (RFC 9112, section 3.2.2).
    let folded = message.with("Subject", Some("an order\r\n\tof two lines"));
    let mut stream = raw::connect(hub.gateway.http);
    write!(
        stream,
        "POST http://as2.waybill.example/as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{}\r\n",
        folded.headers
    )
    .unwrap();
    stream.write_all(&folded.body).unwrap();
    let answer = raw::answer(stream).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{} {}", answer.head, answer.text());
    assert_eq!(hub.wait_for_file("folded.edi"), b"an order");
}
