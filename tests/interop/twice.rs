//! The same message two times: one transfer, the same reply to the last byte.

use crate::hub::{Hub, random};
use std::sync::{Arc, Barrier};
use std::thread;

#[test]
fn a_repeated_message_gets_the_stored_reply_and_is_taken_once() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let message = hub.good("twice.bin", &random(10_000));
    let first = message.post(hub.gateway.http).unwrap();
    assert!(first.text().contains("; processed\r\n"), "{}", first.text());
    let second = message.post(hub.gateway.http).unwrap();
    assert_eq!(first, second);
    // Also by another life of the process.
    hub.gateway.kill();
    hub.gateway.start();
    assert_eq!(message.post(hub.gateway.http).unwrap(), first);
    assert_eq!(hub.transfers(), 1);
    assert_eq!(hub.events("message.repeated").len(), 2);
    hub.wait_for_file("twice.bin");
    assert_eq!(hub.inbox().len(), 1);
    hub.is_unmoved();
}

#[test]
fn a_repeated_message_is_warned_of_where_that_was_agreed() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "receive.duplicates = \"warn\"");
    hub.gateway.start();
    let message = hub.good("warned.bin", &random(10_000));
    let first = message.post(hub.gateway.http).unwrap();
    let second = message.post(hub.gateway.http).unwrap();
    let mic = |answer: &crate::raw::Answer| {
        let text = answer.text();
        text.lines().find(|line| line.starts_with("Received-content-MIC: ")).map(str::to_owned).unwrap()
    };
    assert!(second.text().contains("; processed/warning: duplicate-document\r\n"), "{}", second.text());
    assert_eq!(mic(&first), mic(&second));
    assert_eq!(hub.transfers(), 1);
    hub.wait_for_file("warned.bin");
    assert_eq!(hub.inbox().len(), 1);
    hub.is_unmoved();
}

#[test]
fn copies_that_come_at_once_make_one_transfer_and_get_equal_replies() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    for round in 0..5 {
        let name = format!("at-once-{round}.bin");
        let message = Arc::new(hub.good(&name, &random(500_000)));
        let together = Arc::new(Barrier::new(4));
        let copies: Vec<_> = (0..4)
            .map(|_| {
                let (message, together, port) =
                    (Arc::clone(&message), Arc::clone(&together), hub.gateway.http);
                thread::spawn(move || {
                    together.wait();
                    message.post(port).unwrap()
                })
            })
            .collect();
        let answers: Vec<_> = copies.into_iter().map(|copy| copy.join().unwrap()).collect();
        assert!(answers[0].text().contains("; processed\r\n"), "{}", answers[0].text());
        assert!(answers.iter().all(|answer| *answer == answers[0]), "the replies differ: {answers:#?}");
        hub.wait_for_file(&name);
        assert_eq!(hub.transfers(), round + 1);
    }
    assert_eq!(hub.inbox().len(), 5);
    hub.is_unmoved();
}

#[test]
fn what_was_refused_may_come_again_mended() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let good = hub.good("mended.bin", b"well");
    let mut body = good.body.clone();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    let refused = good.with_body(body).post(hub.gateway.http).unwrap();
    assert!(refused.text().contains("processed/error: "), "{}", refused.text());
    // RFC 4130 asks for the same Message-ID on a retry: after a failure it is no duplicate.
    let taken = good.post(hub.gateway.http).unwrap();
    assert!(taken.text().contains("; processed\r\n"), "{}", taken.text());
    assert_eq!(hub.wait_for_file("mended.bin"), b"well");
    assert_eq!(hub.transfers(), 1);
    hub.is_unmoved();
}

#[test]
fn a_repetition_that_was_signed_and_encrypted_anew_is_one_and_other_content_is_none() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let payload = random(10_000);
    let first = hub.good("again.bin", &payload);
    let id = first.field("Message-ID").unwrap().to_owned();
    let answer = first.post(hub.gateway.http).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    // Other bytes on the wire, the same file.
    let anew = hub.good("again.bin", &payload).with("Message-ID", Some(&id));
    assert_ne!(anew.body, first.body);
    assert_eq!(anew.post(hub.gateway.http).unwrap(), answer);
    assert_eq!(hub.events("message.repeated").len(), 1);
    // Another file under the same id is refused, whatever was agreed for repetitions.
    let other = hub.good("again.bin", &random(10_000)).with("Message-ID", Some(&id));
    let refused = other.post(hub.gateway.http).unwrap().text();
    assert!(refused.contains("; processed/error: unexpected-processing-error\r\n"), "{refused}");
    let reason = "Another message was received before under the Message-ID";
    assert!(refused.contains(reason) && !refused.contains("duplicate"), "{refused}");
    let events = hub.events("message.content_differs");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["severity"], "warning", "{events:?}");
    // What cannot be read says nothing about its content.
    let mut body = first.body.clone();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    let broken = first.with_body(body).post(hub.gateway.http).unwrap().text();
    assert!(broken.contains("; processed/error: "), "{broken}");
    // The stored reply stays that of the first.
    assert_eq!(first.post(hub.gateway.http).unwrap(), answer);
    assert_eq!(hub.transfers(), 1);
    assert_eq!(hub.wait_for_file("again.bin"), payload);
    hub.is_unmoved();
}

#[test]
fn what_is_refused_under_the_id_of_an_accepted_message_is_refused_without_a_signature() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let message = hub.good("kept.bin", &random(10_000));
    let id = message.field("Message-ID").unwrap().to_owned();
    let first = message.post(hub.gateway.http).unwrap();
    assert!(first.text().contains("; processed\r\n"), "{}", first.text());
    assert!(first.head.contains("multipart/signed"), "{}", first.head);
    let mut body = message.body.clone();
    let middle = body.len() / 2;
    body[middle] ^= 1;
    let damaged = message.with_body(body);
    let other = hub.good("kept.bin", &random(10_000)).with("Message-ID", Some(&id));
    let unknown = "signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=required, md6";
    let options = "Disposition-Notification-Options";
    for (what, posted) in [
        ("damaged", damaged.clone()),
        ("damaged, with a digest that nobody knows", damaged.with(options, Some(unknown))),
        ("another file", other),
    ] {
        let answer = posted.post(hub.gateway.http).unwrap();
        assert!(answer.text().contains("; processed/error: "), "{what}: {}", answer.text());
        assert!(answer.head.contains("multipart/report"), "{what}: {}", answer.head);
    }
    // What it asks for is no reason to refuse what was accepted.
    assert_eq!(message.with(options, Some(unknown)).post(hub.gateway.http).unwrap(), first);
    assert_eq!(message.post(hub.gateway.http).unwrap(), first);
    // What was not accepted is refused over our signature, as it asks for.
    let new = damaged.with("Message-ID", Some("<new@peer.example>")).post(hub.gateway.http).unwrap();
    assert!(new.head.contains("multipart/signed"), "{}", new.head);
    assert_eq!((hub.transfers(), hub.events("message.repeated").len()), (1, 2));
    hub.is_unmoved();
}

#[test]
fn a_repeated_message_is_an_error_where_that_was_agreed() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "receive.duplicates = \"error\"");
    hub.gateway.start();
    let message = hub.good("once.bin", &random(10_000));
    assert!(message.post(hub.gateway.http).unwrap().text().contains("; processed\r\n"));
    let second = message.post(hub.gateway.http).unwrap().text();
    assert!(second.contains("; processed/error: duplicate-document\r\n"), "{second}");
    assert!(!second.contains("Received-content-MIC"), "{second}");
    assert_eq!((hub.transfers(), hub.events("message.repeated").len()), (1, 1));
    hub.is_unmoved();
}
