//! Messages in the forms in which products send them, and receipts that repeat exactly what was sent. The messages are made by
//! `as2 pack` and changed afterwards.

pub(crate) mod answers;
mod bad;

use crate::hub::{Hub, random};
use crate::raw::{self, Answer, Message};
use serde_json::Value;
use std::fs;
use std::io::Write;
use suites::run;

const PROCESSED: &str = "MDN-sent-automatically; processed\r\n";

fn start(agreement: &str) -> Hub {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", agreement);
    hub.gateway.start();
    hub
}

/// A message from PEER with a new Message-ID, and what `as2 pack` says of it.
fn pack(hub: &Hub, name: &str, payload: &[u8], protection: &str, more: &[&str]) -> (Message, Value) {
    let (file, out) = (hub.root.path().join("packed").join(name), hub.root.path().join("message"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, payload).unwrap();
    let peer = hub.peer();
    let mut arguments = vec!["as2", "pack", "--from", "PEER", "--to", "WAYBILL"];
    if protection.contains("signed") {
        arguments.extend(["--sign-key", peer.key.to_str().unwrap()]);
        arguments.extend(["--sign-cert", peer.certificate.to_str().unwrap()]);
    }
    if protection.contains("encrypted") {
        arguments.extend(["--encrypt-cert", hub.own.certificate.to_str().unwrap()]);
    }
    arguments.extend(more);
    arguments.extend([file.to_str().unwrap(), "--out", out.to_str().unwrap()]);
    let (status, said, error) = run(&arguments);
    assert!(status.success(), "{arguments:?}: {said} {error}");
    (Message::read(&fs::read(out).unwrap()), serde_json::from_str(&said).unwrap())
}

/// With a signed receipt asked for, its digests named so.
fn asking(message: &Message, digests: &str) -> Message {
    let options = format!(
        "signed-receipt-protocol=optional, pkcs7-signature; signed-receipt-micalg=optional, {digests}"
    );
    message.with("Disposition-Notification-Options", Some(&options))
}

/// The MIC in a receipt.
fn mic(answer: &Answer) -> String {
    let text = answer.text();
    let found = text.lines().find_map(|line| line.strip_prefix("Received-content-MIC: "));
    found.unwrap_or_else(|| panic!("no MIC: {text}")).to_owned()
}

/// A Content-Type in another form.
type Rewritten = fn(&str) -> String;

/// TABs, folded lines and a whole Content-Type in quotes all occur.
#[test]
fn a_content_type_is_understood_however_it_is_written() {
    let mut hub = start("receive.security = \"none\"");
    let payload = random(3000);
    let forms: [(&str, Rewritten); 5] = [
        ("tabs", |media| media.replace("; ", ";\t")),
        ("no-spaces", |media| media.replace("; ", ";")),
        ("quoted", |media| format!("\"{}\"", media.replace('"', "\\\""))),
        ("folded", |media| media.replace("; ", ";\r\n\t")),
        ("upper-case", |media| {
            let (kind, parameters) = media.split_once(';').unwrap();
            format!("{} ;{parameters}", kind.to_uppercase())
        }),
    ];
    for protection in ["signed", "encrypted", "signed encrypted"] {
        for (form, write) in forms {
            let name = format!("{form} {protection}.bin");
            let (message, _) = pack(&hub, &name, &payload, protection, &[]);
            let media = write(message.field("Content-Type").unwrap());
            let answer = message.with("Content-Type", Some(&media)).post(hub.gateway.http).unwrap();
            assert!(answer.text().contains(PROCESSED), "{media}: {} {}", answer.head, answer.text());
            assert!(hub.wait_for_file(&name) == payload, "{media}");
        }
    }
    hub.is_unmoved();
}

/// Dates are repeated to the sender, and nothing depends on them.
#[test]
fn a_date_in_any_language_stops_no_message() {
    let mut hub = start("");
    for (number, date) in [
        "Fr, 27. Nov 2026 10:00:00 MEZ",
        "2026-11-27T10:00:00.000+01:00",
        "\u{43f}\u{442}, 27 \u{43d}\u{43e}\u{44f}\u{431}. 2026 10:00:00 +0300",
        "Fri,27 Nov 2026 10:00:00",
        "0",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.bin");
        let message = hub.good(&name, b"an order").with("Date", Some(date));
        let text = message.post(hub.gateway.http).unwrap().text();
        assert!(text.contains(PROCESSED), "{date}: {text}");
        assert!(!date.is_ascii() || text.contains(&format!("\r\nDate: {date}\r\n")), "{date}: {text}");
        assert_eq!(hub.wait_for_file(&name), b"an order");
    }
    hub.gateway.stop();
}

/// Some partners quote a name twice. Quotes around it are no part of it, and everything else is.
#[test]
fn as2_names_are_compared_without_the_quotes_around_them() {
    let mut hub = Hub::alone();
    hub.define("http://127.0.0.1:9/as2", "");
    let path = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("id = \"PEER\"\n"));
    fs::write(path, text.replace("id = \"PEER\"\n", "id = \"ORG A\"\n")).unwrap();
    hub.gateway.start();
    let message = hub.good("order.bin", b"an order");
    let from = |message: &Message, name: &str, to: &str| {
        message.with("AS2-From", Some(name)).with("AS2-To", Some(to)).post(hub.gateway.http).unwrap()
    };
    let first = from(&message, "\"ORG A\"", "WAYBILL");
    assert!(first.text().contains(PROCESSED), "{}", first.text());
    // Names are written back in quotes where they need them, and swapped.
    let head = first.head.to_ascii_lowercase();
    assert!(head.contains("as2-from: waybill\r\n") && head.contains("as2-to: \"org a\"\r\n"), "{head}");
    // The same message, whose sender quotes otherwise: a repetition.
    for (name, to) in [("\"\\\"ORG A\\\"\"", "\"WAYBILL\""), ("ORG A", "\"\\\"WAYBILL\\\"\"")] {
        assert_eq!(from(&message, name, to).body, first.body, "{name} {to}");
    }
    assert_eq!((hub.transfers(), hub.events("message.repeated").len()), (1, 2));
    for (name, to) in [
        ("\"org a\"", "WAYBILL"),
        ("\"ORG  A\"", "WAYBILL"),
        ("ORG_A", "WAYBILL"),
        ("\"ORG A", "WAYBILL"),
        ("'ORG A'", "WAYBILL"),
        ("\"ORG A\"", "\"waybill\""),
        ("WAYBILL", "\"ORG A\""),
    ] {
        let answer = from(&message, name, to);
        let unknown = "processed/error: unknown-trading-partner\r\n";
        assert!(answer.text().contains(unknown), "{name} {to}: {}", answer.text());
        assert!(!answer.head.contains("multipart/signed"), "{}", answer.head);
    }
    assert_eq!(hub.transfers(), 1);
    hub.gateway.stop();
}

/// With or without angle brackets: a sender compares it with the bytes that it sent.
#[test]
fn a_receipt_repeats_the_message_id_as_it_came() {
    let mut hub = start("");
    for (number, id) in [
        "<1@peer>",
        "2@peer",
        "<AS2-20261127-100000@ORG A>",
        "{3F2504E0-4F89}",
        "<<4@peer>>",
        "<\"5 5\"@peer>",
    ]
    .into_iter()
    .enumerate()
    {
        let message = hub.good(&format!("{number}.bin"), b"an order").with("Message-ID", Some(id));
        let text = message.post(hub.gateway.http).unwrap().text();
        assert!(text.contains(&format!("\r\nOriginal-Message-ID: {id}\r\n")), "{id}: {text}");
        assert!(text.contains(PROCESSED), "{id}: {text}");
    }
    hub.gateway.stop();
}

/// Field by field as RFC 4130, section 7.4.3, and RFC 8098, section 3, have them. The message has no protection, so its MIC covers
/// its content without the headers.
#[test]
fn a_receipt_is_written_strictly() {
    let mut hub = start("receive.security = \"none\"");
    let (message, _) = pack(&hub, "order.bin", b"an order", "none", &["--mdn", "unsigned"]);
    let answer = message.with("Message-ID", Some("<1@peer>")).post(hub.gateway.http).unwrap();
    let (_, boundary) = answer.head.split_once("boundary=\"").unwrap();
    let boundary = boundary.split('"').next().unwrap();
    let media = "multipart/report; report-type=disposition-notification; boundary=";
    assert!(answer.head.contains(media), "{}", answer.head);
    let digest = openssl::base64::encode_block(&openssl::sha::sha256(b"an order"));
    let notification = format!(
        "\r\n--{boundary}\r\nContent-Type: message/disposition-notification\r\nContent-Transfer-Encoding: 7bit\r\n\r\n\
         Reporting-UA: Waybill\r\nOriginal-Recipient: rfc822; WAYBILL\r\nFinal-Recipient: rfc822; WAYBILL\r\n\
         Original-Message-ID: <1@peer>\r\nDisposition: automatic-action/MDN-sent-automatically; processed\r\n\
         Received-content-MIC: {digest}, sha-256\r\n\r\n--{boundary}--\r\n"
    );
    let text = answer.text();
    assert!(text.ends_with(&notification), "{text}");
    assert!(
        text.starts_with(&format!("--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n")),
        "{text}"
    );
    hub.gateway.stop();
}

/// Some partners know only the names of RFC 3851: a receipt uses them if the sender asked with one of them.
#[test]
fn a_receipt_names_its_digests_as_they_were_asked_for() {
    let mut hub = start("");
    for (number, (asked, name)) in [
        ("sha-256", "sha-256"),
        ("SHA-256", "sha-256"),
        ("sha256", "sha256"),
        ("SHA256, sha1", "sha256"),
        ("sha2_256", "sha256"),
        ("md6, sha256", "sha-256"),
    ]
    .into_iter()
    .enumerate()
    {
        let message = hub.good(&format!("{number}.bin"), b"an order");
        let answer = asking(&message, asked).post(hub.gateway.http).unwrap();
        assert!(answer.head.contains(&format!("micalg={name}")), "{asked}: {}", answer.head);
        assert!(mic(&answer).ends_with(&format!(", {name}")), "{asked}: {}", mic(&answer));
    }
    hub.gateway.stop();
}

/// What was signed is digested as its signer did; where nothing was signed, the sender's wish decides.
#[test]
fn the_mic_is_made_with_the_digest_of_the_signature() {
    let mut hub = start("receive.security = \"none\"");
    for digest in ["sha384", "sha512"] {
        for protection in ["signed", "signed encrypted"] {
            let name = format!("{digest} {protection}.bin");
            let (message, packed) = pack(&hub, &name, b"an order", protection, &["--digest", digest]);
            let answer = asking(&message, "sha-256").post(hub.gateway.http).unwrap();
            let (value, algorithm) = (packed["mic"].as_str().unwrap(), digest.replace("sha", "sha-"));
            assert_eq!(mic(&answer), format!("{value}, {algorithm}"), "{name}");
            // The receipt itself is signed as was asked.
            assert!(answer.head.contains("micalg=sha-256"), "{name}: {}", answer.head);
        }
    }
    for protection in ["encrypted", "none"] {
        let (message, _) = pack(&hub, &format!("{protection}.bin"), b"an order", protection, &[]);
        let answer = asking(&message, "sha-512, sha-256").post(hub.gateway.http).unwrap();
        assert!(mic(&answer).ends_with(", sha-512"), "{protection}: {}", mic(&answer));
    }
    hub.gateway.stop();
}

/// A sender that signs by RSA-PSS can read it, so its receipt is signed by PSS; the receipts of other senders are not.
#[test]
fn the_receipt_of_a_message_signed_by_pss_is_signed_by_pss() {
    let mut hub = start("receive.security = \"signed\"");
    for (signature, form) in
        [("pkcs1", "detached"), ("pss", "detached"), ("pkcs1", "opaque"), ("pss", "opaque")]
    {
        let name = format!("{signature} {form}.bin");
        let more = ["--rsa-signature", signature, "--signature-form", form];
        let (message, _) = pack(&hub, &name, b"an order", "signed", &more);
        let text = asking(&message, "sha-256").post(hub.gateway.http).unwrap().text();
        assert!(text.contains(PROCESSED), "{name}: {text}");
        let (_, part) = text.rsplit_once("application/pkcs7-signature").unwrap();
        let (_, base64) = part.split_once("\r\n\r\n").unwrap();
        let base64 = base64.split("\r\n--").next().unwrap().replace("\r\n", "");
        let block = openssl::base64::decode_block(&base64).unwrap();
        let pss = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
        let has = block.windows(pss.len()).any(|window| window == pss);
        assert_eq!(has, signature == "pss", "{name}");
    }
    hub.gateway.stop();
}

/// A body that is base64 and is announced as that by HTTP's own header section, or by nothing.
#[test]
fn an_encrypted_body_in_base64_is_decrypted() {
    let mut hub = start("");
    let payload = random(10_000);
    for (number, (media, encoding)) in [
        ("application/pkcs7-mime; smime-type=enveloped-data; name=smime.p7m", Some("base64")),
        ("application/x-pkcs7-mime; smime-type=enveloped-data", Some("BASE64")),
        ("application/x-pkcs7-mime", None),
        ("application/pkcs7-mime", Some("binary")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.bin");
        let message = hub.good(&name, &payload);
        let base64 = openssl::base64::encode_block(&message.body).replace('\n', "");
        let lines: Vec<u8> = base64.as_bytes().chunks(76).flat_map(|line| [line, b"\r\n"].concat()).collect();
        let message = message.with("Content-Type", Some(media)).with("Content-Transfer-Encoding", encoding);
        let answer = message.with_body(lines).post(hub.gateway.http).unwrap();
        assert!(answer.text().contains(PROCESSED), "{media} {encoding:?}: {}", answer.text());
        assert!(hub.wait_for_file(&name) == payload, "{media} {encoding:?}");
    }
    hub.gateway.stop();
}

/// A sender with `Expect: 100-continue` (RFC 9110, section 10.1.1) gets the refusal as the final status, without `100 Continue`
/// before it, and sends no body.
#[test]
fn a_sender_that_expects_100_continue_is_refused_before_it_sends_its_body() {
    let mut hub = start("receive.largest = \"1MiB\"");
    let good = hub.good("a.bin", &random(1000));
    for (what, message, status, words) in [
        ("no receiver", good.with("AS2-To", None), 400, "AS2-To is missing"),
        ("no id", good.with("Message-ID", None), 400, "Message-ID is missing"),
        ("an unknown sender", good.with("AS2-From", Some("NOBODY")), 200, "unknown-trading-partner"),
        ("too much", good.with("Content-Length", Some("2000000")), 200, "agreed limit of 1048576 bytes"),
        ("a coding", good.with("Content-Encoding", Some("br")), 415, "Content-Encoding"),
        ("no such kind of receipt", asking(&good, "x; other=required, y"), 200, "unsupported format"),
    ] {
        let mut stream = raw::connect(hub.gateway.http);
        let head = &message.headers;
        write!(
            stream,
            "POST /as2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\n{head}\r\n"
        )
        .unwrap();
        let answer = raw::answer(stream).unwrap_or_else(|| panic!("{what}: no answer"));
        assert_eq!(answer.status, status, "{what}: {} {}", answer.head, answer.text());
        assert!(answer.text().contains(words), "{what}: {}", answer.text());
    }
    hub.is_unmoved();
}

/// A partner is known that sends its message again and again after a receipt without a Content-Length.
#[test]
fn every_answer_has_a_content_length() {
    let mut hub = start("receive.security = \"none\"");
    let port = hub.gateway.http;
    let good = hub.good("a.bin", b"an order");
    let of = |message: Message| message.post(port).unwrap();
    let unsigned = pack(&hub, "b.bin", b"an order", "none", &["--mdn", "unsigned"]).0;
    let unasked = pack(&hub, "c.bin", b"an order", "none", &["--mdn", "none"]).0;
    let mut cut = good.body.clone();
    cut.truncate(cut.len() / 2);
    for (what, answer) in [
        ("a refusal", of(good.with_body(cut))),
        ("a signed receipt", of(good.clone())),
        ("the same again", of(good.clone())),
        ("an unsigned receipt", of(unsigned)),
        ("no receipt", of(unasked)),
        ("an unknown sender", of(good.with("AS2-From", Some("NOBODY")))),
        ("no message", of(good.with("AS2-To", None))),
        ("another method", raw::get(port, "/as2").unwrap()),
        ("another path", raw::get(port, "/other").unwrap()),
    ] {
        let head = answer.head.to_ascii_lowercase();
        let length = format!("content-length: {}\r\n", answer.body.len());
        assert!(head.contains(&length) && !head.contains("transfer-encoding"), "{what}: {head}");
        // No field of it goes on in a second line.
        assert!(!head.contains("\n ") && !head.contains("\n\t"), "{what}: {head}");
    }
    hub.gateway.stop();
}
