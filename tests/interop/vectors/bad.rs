//! Messages of an attacker: to decrypt messages of other senders, to avoid an agreed protection, or to exhaust the gateway.

use super::{PROCESSED, asking, pack, start};
use crate::hub::{Hub, random};
use crate::raw::{self, Answer, Message};
use std::io::Write;
use suites::KeyPair;

/// An answer without what differs each time: its own Message-ID, its date and its boundary.
fn without_chance(answer: &Answer) -> String {
    let boundary = answer.head.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next());
    let boundary = boundary.unwrap_or_else(|| panic!("no boundary: {}", answer.head));
    let fields = answer.head.lines().filter(|line| {
        let name = line.split(':').next().unwrap().to_ascii_lowercase();
        !matches!(name.as_str(), "message-id" | "date")
    });
    let head = fields.collect::<Vec<_>>().join("\n");
    format!("{head}\n\n{}", answer.text()).replace(boundary, "b")
}

/// Where a block of bytes begins in others, and how long it is.
fn after(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap() + what.len()
}

/// A wrong key, a bad RSA block, bad padding, a bad tag and a cut ciphertext get the same answer, word for word. Otherwise an
/// attacker with a copy of a message could decrypt it by sending changed copies (RFC 3218).
#[test]
fn every_failed_decryption_gets_the_same_answer() {
    let mut hub = start("receive.security = \"encrypted\"");
    let other = KeyPair::make(hub.root.path(), "other");
    let payload = random(50_000);
    let mut seen = Vec::new();
    for cipher in ["aes256-cbc", "aes256-gcm"] {
        let more = ["--cipher", cipher, "--mdn", "unsigned"];
        let (message, _) = pack(&hub, "secret.bin", &payload, "encrypted", &more);
        let body = &message.body;
        let key = after(body, b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x04\x82\x01\x00");
        let vector = after(body, b"\x60\x86\x48\x01\x65\x03\x04\x01") + 15;
        let changed = |at: usize| {
            let mut bad = body.clone();
            bad[at] ^= 0x80;
            bad
        };
        let cut = |length: usize| body[..length].to_vec();
        // The last byte of the last block but one turns the last byte of the padding into one that is too large.
        let last = if cipher.ends_with("gcm") { body.len() - 1 } else { body.len() - 17 };
        let for_other = hub.pack("secret.bin", &payload, &hub.peer(), Some(&other));
        for (what, bad) in [
            ("a recipient that is another one", for_other.body.clone()),
            ("a bad RSA block", changed(key + 255)),
            ("another bad RSA block", changed(key + 1)),
            ("bad padding or a bad tag", changed(last)),
            ("no header at the beginning", changed(vector)),
            ("a cut ciphertext", cut(body.len() / 2)),
            ("all but the last byte", cut(body.len() - 1)),
        ] {
            let date = "Fri, 27 Nov 2026 10:00:00 GMT";
            let same = message.with("Message-ID", Some("<secret@peer>")).with("Date", Some(date));
            let bad = same.with_body(bad);
            let answer = bad.post(hub.gateway.http).unwrap();
            let error = "processed/error: decryption-failed\r\n";
            assert!(answer.text().contains(error), "{cipher} {what}: {}", answer.text());
            seen.push((format!("{cipher} {what}"), without_chance(&answer)));
        }
    }
    for (what, answer) in &seen {
        assert_eq!(*answer, seen[0].1, "{what}");
    }
    // The operator learns more than the sender.
    let events = hub.events("message.refused");
    assert_eq!(events.len(), seen.len());
    assert!(events.iter().any(|event| event.to_string().contains("none of our certificates")), "{events:?}");
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    hub.gateway.stop();
}

/// The entity inside a `multipart/signed`, and the media type that it says.
fn stripped(signed: &Message) -> Message {
    let media = signed.field("Content-Type").unwrap();
    let (_, boundary) = media.split_once("boundary=").unwrap();
    let boundary = boundary.split(';').next().unwrap().trim_matches('"').to_owned();
    let begin = after(&signed.body, format!("--{boundary}\r\n").as_bytes());
    let rest = &signed.body[begin..];
    let line = format!("\r\n--{boundary}\r\n");
    let entity = &rest[..after(rest, line.as_bytes()) - line.len()];
    let head = after(entity, b"\r\n\r\n");
    let fields = String::from_utf8(entity[..head - 4].to_vec()).unwrap();
    fields
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .fold(signed.clone(), |message, (name, value)| message.with(name, Some(value)))
        .with_body(entity[head..].to_vec())
}

/// A message without its signature, or with a signature that does not cover all of it, is refused where one was agreed.
#[test]
fn a_message_whose_signature_was_taken_off_is_refused() {
    for agreed in ["signed", "signed_encrypted"] {
        let mut hub = start(&format!("receive.security = \"{agreed}\""));
        let payload = random(2000);
        let (signed, _) = pack(&hub, "signed.bin", &payload, "signed", &[]);
        let (encrypted, _) = pack(&hub, "encrypted.bin", &payload, "encrypted", &[]);
        let (compressed, _) =
            pack(&hub, "compressed.bin", &payload, "encrypted", &["--compress", "before_signing"]);
        let media = signed.field("Content-Type").unwrap();
        let mixed = media.replacen("multipart/signed", "multipart/mixed", 1);
        let related = media.replacen("multipart/signed", "multipart/related", 1);
        // A part of several is signed; the others are not.
        let inside = [
            format!("--out\r\nContent-Type: {media}\r\n\r\n").as_bytes(),
            &signed.body,
            b"\r\n--out\r\nContent-Type: text/plain\r\n\r\nforged\r\n--out--\r\n",
        ]
        .concat();
        let unprotected = "processed/error: insufficient-message-security\r\n";
        // Whether an unsigned message of a cipher that does not prove its content could be decrypted is told to nobody.
        let unread = "processed/error: decryption-failed\r\n";
        for (what, message, error) in [
            ("the entity alone", stripped(&signed), unprotected),
            ("under another name", signed.with("Content-Type", Some(&mixed)), unprotected),
            ("under a third name", signed.with("Content-Type", Some(&related)), unprotected),
            (
                "beside the signature of another part",
                signed.with("Content-Type", Some("multipart/mixed; boundary=out")).with_body(inside),
                unprotected,
            ),
            ("encrypted, which anybody can do", encrypted, unread),
            ("compressed before that", compressed, unread),
        ] {
            let text = message.post(hub.gateway.http).unwrap().text();
            assert!(text.contains(error), "{agreed} {what}: {text}");
            assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0), "{agreed} {what}");
        }
        // As it was made it is accepted where a signature is all that was agreed.
        let text = signed.post(hub.gateway.http).unwrap().text();
        assert_eq!(text.contains(PROCESSED), agreed == "signed", "{text}");
        hub.gateway.stop();
    }
}

/// Dispositions that senders decide by, spelled exactly as RFC 4130, section 7.5, and RFC 5402, section 4.3, have them.
#[test]
fn what_cannot_be_done_is_said_in_the_words_of_the_rfc() {
    let mut hub = start("receive.security = \"none\"");
    let port = hub.gateway.http;
    let good = hub.good("a.bin", b"an order");
    let required = |protocol: &str, digest: &str| {
        let options =
            format!("signed-receipt-protocol=required, {protocol}; signed-receipt-micalg=required, {digest}");
        good.with("Disposition-Notification-Options", Some(&options))
    };
    // The first byte of zlib's own header.
    let (compressed, _) = pack(&hub, "b.bin", &[b'x'; 5000], "none", &["--compress", "before_signing"]);
    let is_zlib = |two: &[u8]| two[0] == 0x78 && u16::from_be_bytes([two[0], two[1]]).is_multiple_of(31);
    let at = compressed.body.windows(2).position(is_zlib).unwrap();
    let mut spoilt = compressed.body.clone();
    spoilt[at] ^= 0xff;
    for (what, message, disposition) in [
        ("a digest", required("pkcs7-signature", "md6"), "failed/failure: unsupported MIC-algorithms"),
        ("a weak digest", required("pkcs7-signature", "md5"), "failed/failure: unsupported MIC-algorithms"),
        ("a protocol", required("pgp-signature", "sha-256"), "failed/failure: unsupported format"),
        ("compression", compressed.with_body(spoilt), "processed/error: decompression-failed"),
    ] {
        let answer = message.post(port).unwrap();
        let line = format!("\r\nDisposition: automatic-action/MDN-sent-automatically; {disposition}\r\n");
        assert!(answer.text().contains(&line), "{what}: {}", answer.text());
        // What was not accepted has no MIC that could be taken for proof.
        assert!(!answer.text().contains("Received-content-MIC"), "{what}: {}", answer.text());
        assert_eq!(hub.transfers(), 0, "{what}");
    }
    let answer = asking(&good, "sha-256").post(port).unwrap();
    assert!(answer.text().contains(&format!("\r\nDisposition: automatic-action/{PROCESSED}")));
    hub.is_unmoved();
}

/// That the answer refuses the message, and nothing of it was kept.
fn refused(hub: &Hub, what: &str, answer: Option<Answer>) {
    let answer = answer.unwrap_or_else(|| panic!("{what}: no answer"));
    let error = "processed/error: unexpected-processing-error\r\n";
    assert!(answer.text().contains(error), "{what}: {} {}", answer.head, answer.text());
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0), "{what}");
}

#[test]
fn a_nest_of_a_thousand_layers_is_refused() {
    let mut hub = start("receive.security = \"none\"");
    let good = hub.good("nest.bin", b"x");
    for kind in ["multipart/mixed", "multipart/signed", "multipart/related"] {
        let body: String = (1..=1000)
            .map(|at| format!("--b{}x\r\nContent-Type: {kind}; boundary=b{at}x\r\n\r\n", at - 1))
            .collect();
        let media = format!("{kind}; boundary=b0x");
        let message = good.with("Content-Type", Some(&media)).with_body(body.into_bytes());
        let answer = message.post(hub.gateway.http);
        refused(&hub, kind, answer);
    }
    let opened = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02\xa0\x80\x30\x80\x02\x01\x01\x31\x80";
    let body = [&opened[..], &[0x30, 0x80].repeat(1000)].concat();
    let message = good.with("Content-Type", Some("application/pkcs7-mime")).with_body(body);
    let answer = message.post(hub.gateway.http);
    refused(&hub, "ASN.1", answer);
    hub.is_unmoved();
}

#[test]
fn recipients_without_end_are_refused() {
    let mut hub = start("receive.largest = \"32MiB\"");
    let good = hub.good("crowd.bin", b"x").with("Content-Length", None);
    let good = good.with("Content-Type", Some("application/pkcs7-mime; smime-type=enveloped-data"));
    let head = good.with("Transfer-Encoding", Some("chunked")).headers;
    let opened = b"\x30\x80\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03\xa0\x80\x30\x80\x02\x01\x00\x31\x80";
    // One recipient of 32 KiB after the other, and one that itself has no end.
    let recipient = [&[0x30, 0x82, 0x7f, 0xfc][..], &[0; 0x7ffc]].concat();
    let endless = [&[0x04, 0x82, 0x7f, 0xfc][..], &[0; 0x7ffc]].concat();
    for (what, begin, piece) in [
        ("recipients", opened.to_vec(), recipient),
        ("a recipient", [&opened[..], &[0x30, 0x80]].concat(), endless),
    ] {
        assert_eq!(piece.len(), 0x8000);
        let mut stream = raw::connect(hub.gateway.http);
        write!(stream, "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}\r\n").unwrap();
        write!(stream, "{:x}\r\n", begin.len()).unwrap();
        stream.write_all(&[&begin[..], b"\r\n"].concat()).unwrap();
        // 16 MiB of them; the gateway may have closed the connection by then.
        for _ in 0..512 {
            if stream.write_all(&[b"8000\r\n".as_slice(), &piece, b"\r\n"].concat()).is_err() {
                break;
            }
        }
        drop(stream.write_all(b"0\r\n\r\n"));
        let answer = raw::answer(stream);
        refused(&hub, what, answer);
    }
    hub.is_unmoved();
}
