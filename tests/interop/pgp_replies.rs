//! Answers by PGP/MIME: receipts and payloads of a partner that the test plays, signed and encrypted by GnuPG.

use crate::evidence::{outcomes, save, verify};
use crate::hub::{Hub, PATIENCE, random};
use crate::pgp::{Gpg, define, two};
use crate::raw::post;
use crate::vectors::answers::{Heard, Partner, http};
use serde_json::{Value, json};
use std::fs;
use std::sync::{Arc, Mutex};
use suites::eventually;

const OTHER: &str = "other@waybill.example";

/// An entity: its media type, and its body.
struct Entity {
    media: String,
    body: String,
}

impl Entity {
    /// As it stands in another one.
    fn whole(&self) -> String {
        format!("Content-Type: {}\r\n\r\n{}", self.media, self.body)
    }

    fn file(name: &str, content: &str) -> Self {
        let disposition = format!("Content-Disposition: attachment; filename={name}");
        let media = format!("application/edifact\r\n{disposition}");
        Self { media, body: content.to_owned() }
    }

    /// A receipt for a message, with the MIC of what it signed.
    fn receipt(message: &Heard) -> Self {
        let id = message.field("Message-ID").unwrap();
        let body = format!(
            "--report\r\nContent-Type: text/plain\r\n\r\nWords.\r\n\
             --report\r\nContent-Type: message/disposition-notification\r\n\r\n\
             Final-Recipient: rfc822; OTHER\r\nOriginal-Message-ID: {id}\r\n\
             Disposition: automatic-action/MDN-sent-automatically; processed\r\n\
             Received-content-MIC: {}, sha-256\r\n\r\n--report--\r\n",
            mic(signed_part(&message.head, &message.body))
        );
        let media = "multipart/report; report-type=disposition-notification; boundary=\"report\"".to_owned();
        Self { media, body }
    }

    fn mixed(parts: &[Self]) -> Self {
        let mut body = String::new();
        for part in parts {
            body.push_str(&format!("--mixed\r\n{}\r\n", part.whole()));
        }
        body.push_str("--mixed--\r\n");
        Self { media: "multipart/mixed; boundary=\"mixed\"".to_owned(), body }
    }

    /// Signed by the key of this user.
    fn signed(&self, gpg: &Gpg, user: &str) -> Self {
        let content = self.whole();
        let sign = ["--armor", "--digest-algo", "SHA256", "-u", user, "--detach-sign"];
        let signature = String::from_utf8(gpg.run(&sign, content.as_bytes())).unwrap();
        let body = format!(
            "--signed\r\n{content}\r\n--signed\r\nContent-Type: application/pgp-signature\r\n\r\n{signature}\r\n--signed--\r\n"
        );
        let kind = "multipart/signed; protocol=\"application/pgp-signature\"";
        Self { media: format!("{kind}; micalg=pgp-sha256; boundary=\"signed\""), body }
    }

    /// Encrypted for us, and signed by the partner in the same object where that is said.
    fn encrypted(&self, gpg: &Gpg, is_signed: bool) -> Self {
        let mut arguments =
            vec!["--armor", "--digest-algo", "SHA256", "-r", "one@waybill.example", "--encrypt"];
        if is_signed {
            arguments.extend(["-u", OTHER, "--sign"]);
        }
        let object = String::from_utf8(gpg.run(&arguments, self.whole().as_bytes())).unwrap();
        let body = format!(
            "--object\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n\
             --object\r\nContent-Type: application/octet-stream\r\n\r\n{object}\r\n--object--\r\n"
        );
        let kind = "multipart/encrypted; protocol=\"application/pgp-encrypted\"";
        Self { media: format!("{kind}; boundary=\"object\""), body }
    }
}

/// What the signature of a `multipart/signed` covers.
fn signed_part<'a>(head: &str, body: &'a [u8]) -> &'a [u8] {
    let boundary = boundary(head);
    let begin = format!("--{boundary}\r\n");
    let end = format!("\r\n--{boundary}\r\n");
    let content = body.strip_prefix(begin.as_bytes()).unwrap();
    let at = content.windows(end.len()).position(|window| window == end.as_bytes()).unwrap();
    &content[..at]
}

fn boundary(head: &str) -> &str {
    let boundary = head.split("boundary=").nth(1).unwrap();
    boundary.trim_start_matches('"').split(['"', '\r', '\n', ';']).next().unwrap()
}

fn mic(content: &[u8]) -> String {
    openssl::base64::encode_block(&openssl::sha::sha256(content))
}

/// Whether GnuPG takes the signature of a `multipart/signed` for that of the partner or of ours.
fn verifies(gpg: &Gpg, (head, body): (&str, &[u8]), at: &Hub) {
    let text = String::from_utf8_lossy(body);
    let signature = at.root.path().join("signature.asc");
    let begins = text.find("-----BEGIN PGP SIGNATURE").unwrap_or_else(|| panic!("{text}"));
    let ends = text[begins..].find(&format!("--{}", boundary(head))).unwrap();
    fs::write(&signature, &text[begins..begins + ends]).unwrap();
    gpg.run(&["--verify", signature.to_str().unwrap(), "-"], signed_part(head, body));
}

/// Text that does not become much shorter by compression.
fn text(length: usize) -> String {
    openssl::base64::encode_block(&random(length))
}

/// What the partner answers next: the form, and the content of its file.
type Told = Arc<Mutex<(String, String)>>;

/// A partner that answers each message in the form that it is told.
fn partner(gpg: &Arc<Gpg>, told: &Told) -> Partner {
    // The home of GnuPG ends with the test, the thread of the partner does not.
    let (gpg, told) = (Arc::downgrade(gpg), Arc::clone(told));
    Partner::start(move |message| {
        let gpg = gpg.upgrade().unwrap();
        let (form, content) = told.lock().unwrap().clone();
        // One that waits for its receipt, or has sent one, gets no more than a status.
        if form == "later" || String::from_utf8_lossy(&message.body).contains("disposition-notification") {
            return http("200 OK", "", "");
        }
        let quote = Entity::file(&format!("quote-{form}.edi"), &content);
        let receipt = || Entity::receipt(message);
        let beside = |payload: Entity| Entity::mixed(&[receipt().signed(&gpg, OTHER), payload]);
        let answer = match form.as_str() {
            "both" | "large" => beside(quote.encrypted(&gpg, true)),
            "asks" => beside(quote.signed(&gpg, OTHER)),
            "nested" => beside(quote.signed(&gpg, OTHER).encrypted(&gpg, false)),
            "covered" => Entity::mixed(&[receipt(), quote]).signed(&gpg, OTHER),
            "in-one" => Entity::mixed(&[receipt(), quote]).encrypted(&gpg, true),
            "receipt" => receipt().signed(&gpg, OTHER).encrypted(&gpg, false),
            "unsigned" => beside(quote.encrypted(&gpg, false)),
            "stranger" => beside(quote.signed(&gpg, "one@waybill.example")),
            "changed" => {
                let mut signed = quote.signed(&gpg, OTHER);
                signed.body = signed.body.replace("edifact", "edifacts");
                beside(signed)
            }
            "alone" => quote.encrypted(&gpg, true),
            "broken" => {
                let mut object = quote.encrypted(&gpg, true);
                let is_letter = |at: &usize| object.body.as_bytes()[*at].is_ascii_alphanumeric();
                let at = (object.body.len() / 2..).find(is_letter).unwrap();
                let other = if object.body[at..].starts_with('A') { "B" } else { "A" };
                object.body.replace_range(at..=at, other);
                object
            }
            other => panic!("{other}"),
        };
        let mut fields = format!(
            "AS2-Version: 1.0\r\nAS2-From: OTHER\r\nAS2-To: ONE\r\nMessage-ID: <{form}@other>\r\nContent-Type: {}\r\n",
            answer.media
        );
        if form == "asks" {
            fields.push_str(
                "Disposition-Notification-To: other\r\nDisposition-Notification-Options: \
                 signed-receipt-protocol=required, pgp-signature; signed-receipt-micalg=optional, sha-256\r\n",
            );
        }
        http("200 OK", &fields, &answer.body)
    })
}

/// Our side, whose flow `incoming` takes what the partner answers.
fn start(agreement: &str) -> (Arc<Gpg>, Hub, Partner, Told) {
    let (gpg, mut hub, _) = two([("ed25519", "cv25519"), ("rsa3072", "rsa3072")]);
    let (gpg, told) = (Arc::new(gpg), Told::default());
    let partner = partner(&gpg, &told);
    let here = hub.url();
    let agreement = agreement.replace("HERE", &here);
    let protection = "send.packaging = \"pgp\"\nsend.security = \"signed\"";
    define(&hub, "ONE", "OTHER", &partner.url, &format!("{protection}\n{agreement}"));
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let defined = fs::read_to_string(&document).unwrap();
    let destination = "\nendpoint = \"peer-as2\"\n";
    assert_eq!(defined.matches(destination).count(), 1, "{defined}");
    let answered = format!("{destination}response = {{ flow = \"incoming\" }}\n");
    fs::write(document, defined.replace(destination, &answered)).unwrap();
    hub.gateway.start();
    (gpg, hub, partner, told)
}

/// Sends a file that is answered in this form, and gives its way, and the content of the answer's file.
fn answered(hub: &Hub, told: &Told, form: &str, length: usize) -> (Value, String) {
    let content = text(length);
    *told.lock().unwrap() = (form.to_owned(), content.clone());
    hub.put(&format!("{form}.bin"), &random(2000));
    let way = hub.ended(&format!("{form}.bin"));
    assert_eq!(way["state"], "completed", "{form}: {way}");
    assert_eq!(way["deliveries"][0]["attempts"].as_array().unwrap().len(), 1, "{form}: {way}");
    (way, content)
}

/// Waits for a POST whose body holds these words.
fn came(partner: &Partner, words: &str) -> Heard {
    let holds = |heard: &Heard| String::from_utf8_lossy(&heard.body).contains(words);
    eventually(words, PATIENCE, || partner.heard().into_iter().find(holds))
}

fn is_proved_by_pgp(form: &str, way: &Value) {
    let detail = &way["deliveries"][0]["receipt"]["detail"];
    assert_eq!((&detail["signed"], &detail["mic_matched"]), (&json!(true), &json!(true)), "{form}: {way}");
    assert_eq!(detail["signed_with"], "theirs", "{form}: {way}");
}

/// The receipt of a delivery as it is kept: header fields and body.
fn kept_receipt(hub: &Hub, way: &Value) -> (String, Vec<u8>) {
    let (config, id) = (hub.gateway.config(), way["id"].as_str().unwrap());
    let (status, kept, error) =
        suites::run(&["--config", config.to_str().unwrap(), "transfer", "receipt", id]);
    assert!(status.success(), "{error}");
    let (head, body) = kept.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{kept}"));
    (head.to_owned(), body.as_bytes().to_vec())
}

#[test]
fn payloads_in_answers_are_decrypted_and_verified_as_those_in_posts() {
    let (gpg, mut hub, partner, told) = start("receive.security = \"signed\"");
    let mut kept = Vec::new();
    // The answer with the last one is far larger than any receipt.
    for (form, length) in
        [("both", 2000), ("nested", 2000), ("covered", 2000), ("in-one", 2000), ("large", 3 << 20)]
    {
        let (way, content) = answered(&hub, &told, form, length);
        is_proved_by_pgp(form, &way);
        let name = format!("quote-{form}.edi");
        assert!(hub.wait_for_file(&name) == content.as_bytes(), "{form}");
        let reply = hub.ended(&name);
        assert_eq!((&reply["kind"], &reply["parent"]), (&json!("reply"), &way["id"]), "{form}: {reply}");
        let metadata = &reply["metadata"];
        assert_eq!(metadata["as2_message_id"], format!("<{form}@other>"), "{form}: {reply}");
        assert!(metadata["as2_signer"].is_string(), "{form}: {reply}");
        assert_eq!(metadata["as2_cipher"].is_string(), form != "covered", "{form}: {reply}");
        kept.push((form, reply["id"].as_str().unwrap().to_owned()));
        // The receipt that is kept is one of its own that GnuPG verifies. A signature inside an object is no armour.
        if form != "in-one" {
            let (head, body) = kept_receipt(&hub, &way);
            verifies(&gpg, (&head, &body), &hub);
        }
    }
    // A receipt alone may be encrypted, too.
    let (way, _) = answered(&hub, &told, "receipt", 0);
    is_proved_by_pgp("receipt", &way);
    assert!(hub.events("message.refused").is_empty(), "{:?}", hub.events("message.refused"));

    // What an answer asks for is a receipt in a POST of its own, signed by our key.
    let (_, content) = answered(&hub, &told, "asks", 2000);
    assert!(hub.wait_for_file("quote-asks.edi") == content.as_bytes());
    let receipt = came(&partner, "<asks@other>");
    let said = String::from_utf8_lossy(&receipt.body);
    let expected = mic(Entity::file("quote-asks.edi", &content).whole().as_bytes());
    assert!(said.contains("; processed") && said.contains(&expected), "{expected}: {said}");
    verifies(&gpg, (&receipt.head, &receipt.body), &hub);

    // What proves them is kept.
    assert!(hub.gateway.stop().success());
    let sender = hub.root.path().join("keys/OTHER.public.asc");
    for (form, id) in kept {
        let package = save(&hub, &id, &format!("{form}.zip"));
        let (code, said) = verify(&package, &["--sender", sender.to_str().unwrap()]);
        assert_eq!(code, 0, "{form}: {said}");
        for check in ["files", "content", "signature", "MIC", "events"] {
            assert_eq!(outcomes(&said, check), ["holds"], "{form}, {check}: {said}");
        }
    }
}

#[test]
fn payloads_in_answers_that_prove_less_than_agreed_are_refused_and_on_record() {
    let (_gpg, hub, _partner, told) = start("receive.security = \"signed\"");
    for (number, (form, cause)) in
        [("unsigned", "not signed"), ("stranger", "not one of"), ("changed", "")].into_iter().enumerate()
    {
        let (way, _) = answered(&hub, &told, form, 2000);
        is_proved_by_pgp(form, &way);
        let refused = hub.events("message.refused");
        assert_eq!(refused.len(), number + 1, "{form}: {refused:?}");
        let detail = &refused[0]["detail"];
        assert!(detail["reason"].as_str().unwrap().contains(cause), "{form}: {detail}");
    }
    assert!(hub.inbox().is_empty(), "{:?}", hub.inbox());
}

#[test]
fn an_answer_by_pgp_without_a_receipt_is_read_where_none_was_asked_for() {
    let (_gpg, hub, _partner, told) = start("mdn.ask = \"none\"");
    let (way, content) = answered(&hub, &told, "alone", 2000);
    assert_eq!(way["deliveries"][0]["receipt"]["kind"], "http_status", "{way}");
    assert!(hub.wait_for_file("quote-alone.edi") == content.as_bytes());
    // What cannot be read is not dropped in silence.
    answered(&hub, &told, "broken", 2000);
    let refused = hub.events("message.refused");
    assert!(refused.len() == 1 && refused[0].to_string().contains("decryption-failed"), "{refused:?}");
    assert_eq!(hub.inbox().len(), 1, "{:?}", hub.inbox());
}

#[test]
fn a_receipt_by_pgp_beside_a_message_that_is_posted_is_verified() {
    let (gpg, hub, partner, told) = start("mdn.reply_to = \"listener:as2\"\nmdn.url = \"HERE\"");
    *told.lock().unwrap() = ("later".to_owned(), String::new());
    for (form, signer) in [("known", OTHER), ("unknown", "one@waybill.example")] {
        hub.put(&format!("{form}.bin"), &random(2000));
        let message = came(&partner, &format!("filename={form}.bin"));
        let content = text(2000);
        let name = format!("quote-{form}.edi");
        let quote = Entity::file(&name, &content).encrypted(&gpg, true);
        let body = Entity::mixed(&[Entity::receipt(&message).signed(&gpg, signer), quote]);
        let fields = format!(
            "AS2-Version: 1.0\r\nAS2-From: OTHER\r\nAS2-To: ONE\r\nMessage-ID: <{form}@other>\r\nMIME-Version: 1.0\r\n\
             Content-Type: {}\r\nContent-Length: {}\r\n",
            body.media,
            body.body.len()
        );
        let answer = post(hub.gateway.http, &fields, body.body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{form}: {}", answer.text());
        assert!(hub.wait_for_file(&name) == content.as_bytes(), "{form}");
        let metadata = &hub.ended(&name)["metadata"];
        assert!(metadata["as2_signer"].is_string() && metadata["as2_cipher"].is_string(), "{metadata}");
        if form == "known" {
            let way = hub.ended("known.bin");
            assert_eq!(way["state"], "completed", "{way}");
            is_proved_by_pgp(form, &way);
            let (head, body) = kept_receipt(&hub, &way);
            verifies(&gpg, (&head, &body), &hub);
        } else {
            // A signature by another key proves nothing.
            let found = hub.gateway.json(&["transfer", "list", "--file", "unknown.bin"]);
            assert_ne!(found[0]["state"], "completed", "{found}");
        }
    }
}
