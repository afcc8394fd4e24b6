//! Messages as HTML forms and generalized receipts, both ways, against a partner that was written from "HTTP Transport for Secure
//! EDI" alone and speaks HTTP/1.0; and its appendix B, replayed in the shape in which it is printed.

mod receiving;

use crate::hub::{Hub, PATIENCE, random, received, sha256, tell};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use suites::{Server, eventually, repository};

const WE: &str = "123456789";
const PEER: &str = "987654321";

/// Our side: D-U-N-S names, files that go out, files that come in. `flow` is said of the flow that takes them, `listener` of
/// the listener, `destination` of where files go out.
struct Sides<'a> {
    agreement: &'a str,
    flow: &'a str,
    listener: &'a str,
    destination: &'a str,
}

impl Sides<'_> {
    fn define(&self, hub: &Hub, peer_url: &str) {
        let Sides { agreement, flow, listener, destination } = self;
        let secret = hub.root.path().join("keys/password");
        fs::write(&secret, "secret word").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            r#"[identity.waybill.as2]
id = "{WE}"
keys = ["waybill"]
[key.waybill]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[partner.peer.as2]
id = "{PEER}"
certificates = ["peer"]
form.post = true
form.version = "1.3"
form.input_format = "X12"
{agreement}
[certificate.peer]
pem = "${{file:{root}/keys/peer.cert.pem}}"
[credential.gisb]
username = "acme"
password = "${{file:{root}/keys/password}}"
[endpoint.out]
transport = "file"
url = "file://{root}/out"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[endpoint.peer-as2]
transport = "as2"
partner = "peer"
identity = "waybill"
url = "{peer_url}"
media_type = "application/edi-x12"
credential = "gisb"
[flow.outgoing]
source = {{ endpoint = "out", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, after = "delete", error_directory = "{root}/errors" }}
[[flow.outgoing.destination]]
endpoint = "peer-as2"
retry = {{ attempts = 6, first = "1s", longest = "1s" }}
{destination}
[listener.as2]
transport = "as2"
server = "partners"
{listener}
[flow.incoming]
source = {{ listener = "as2", partner = "peer", mask = "*" }}
{flow}
"#,
            root = hub.root.path().display(),
        );
        hub.gateway.define("hub.toml", &text);
    }
}

const INTO_FOLDER: &str = "[[flow.incoming.destination]]\nendpoint = \"in\"\n";

fn start(sides: &Sides<'_>) -> (Server, Hub) {
    let peer = Server::start("gisb_peer", &[]);
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    sides.define(&hub, peer.text("url"));
    hub.gateway.start();
    (peer, hub)
}

const GISB: &str =
    "mdn.ask = \"unsigned\"\nmdn.report_type = \"GISB-Acknowledgement-Receipt\"\nreceive.security = \"none\"";

fn usual(agreement: &str) -> Sides<'_> {
    Sides { agreement, flow: INTO_FOLDER, listener: "", destination: "" }
}

/// Posts a form as the peer, and gives what the peer says of the answer.
fn post(hub: &Hub, more: &[&str]) -> Value {
    let output = Command::new(repository().join("tests/servers/gisb_peer.sh"))
        .args(["send", "--to-url", &hub.url()])
        .arg("--key")
        .arg(&hub.peer_key)
        .arg("--cert")
        .arg(&hub.peer_certificate)
        .arg("--partner-cert")
        .arg(&hub.own.certificate)
        .args(more)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said)
        .unwrap_or_else(|e| panic!("{more:?}: {e}: {said}\n{}", String::from_utf8_lossy(&output.stderr)))
}

/// Posts a file with these fields beside who sends it to whom.
fn post_file(hub: &Hub, name: &str, content: &[u8], more: &[&str]) -> Value {
    let file = hub.root.path().join("posted").join(name);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    let (from, to) = (format!("from={PEER}"), format!("to={WE}"));
    let own = ["--file", file.to_str().unwrap(), "--field", &from, "--field", &to];
    post(hub, &[&own[..], more].concat())
}

const ACKNOWLEDGE: [&str; 4] = [
    "--field",
    "receipt-disposition-to=987654321",
    "--field",
    "receipt-report-type=GISB-Acknowledgement-Receipt",
];

/// The peer's lines of forms.
fn forms(peer: &Server, count: usize) -> Vec<Value> {
    eventually(&format!("{count} forms; there are {:?}", received(peer)), PATIENCE, || {
        let all: Vec<Value> =
            received(peer).into_iter().filter(|line| line["notification"] != true).collect();
        (all.len() >= count).then_some(all)
    })
}

fn detail(way: &Value) -> &Value {
    &way["deliveries"][0]["receipt"]["detail"]
}

#[test]
fn a_form_goes_out_with_its_fields_and_its_receipt_proves_it() {
    let fields =
        "priority = 2\nform = { transaction_set = \"850\", expires_after = \"1h\", user_param = \"x\" }";
    let (peer, hub) = start(&Sides { destination: fields, ..usual(GISB) });
    for (number, mic) in ["header", "xml", "none"].into_iter().enumerate() {
        tell(&peer, &json!({ "mic": mic }));
        let (name, content) = (format!("po-{mic}.x12"), random(150_000));
        hub.put(&name, &content);
        let way = hub.ended(&name);
        assert_eq!(way["state"], "completed", "{mic}: {way}");
        assert_eq!(detail(&way)["mic_matched"], json!(mic != "none"), "{mic}: {way}");
        let form = forms(&peer, number + 1)[number].clone();
        let said = &form["fields"];
        for (field, expected) in [
            ("from", WE),
            ("to", PEER),
            ("version", "1.3"),
            ("input-format", "X12"),
            ("transaction-set", "850"),
            ("priority", "2"),
            ("userparam", "x"),
            ("receipt-disposition-to", WE),
            ("receipt-report-type", "GISB-Acknowledgement-Receipt"),
            ("filename", &name),
        ] {
            assert_eq!(said[field], expected, "{field}: {form}");
        }
        assert!(said["refnum"].as_str().unwrap().parse::<u64>().is_ok(), "{form}");
        assert!(said["expiration"].as_str().unwrap().ends_with("GMT"), "{form}");
        assert_eq!((&form["signed"], &form["encrypted"]), (&json!(true), &json!(true)), "{form}");
        assert_eq!((&form["sha256"], &form["as2_from"]), (&json!(sha256(&content)), &Value::Null), "{form}");
    }
    // Every number is another one.
    let numbers: Vec<Value> = forms(&peer, 3).iter().map(|form| form["fields"]["refnum"].clone()).collect();
    assert!(numbers[0] != numbers[1] && numbers[1] != numbers[2], "{numbers:?}");
}

#[test]
fn a_receipt_that_refuses_or_has_other_bytes_fails_the_delivery() {
    let (peer, hub) = start(&usual(GISB));
    for (behaviour, words) in [
        (json!({ "status": "EEDM105: no such partner" }), "EEDM105: no such partner"),
        (json!({ "mic": "wrong" }), "their MIC"),
    ] {
        tell(&peer, &json!({ "reset": true }));
        tell(&peer, &behaviour);
        let name = format!("po-{}.x12", words.len());
        hub.put(&name, &random(2000));
        let way = hub.ended(&name);
        assert_eq!(way["state"], "failed", "{way}");
        assert!(way.to_string().contains(words), "{way}");
    }
    // Without an answer the same form goes out again, with its number.
    tell(&peer, &json!({ "reset": true, "answer": "nothing" }));
    let before = forms(&peer, 2).len();
    hub.put("again.x12", &random(2000));
    let lost = forms(&peer, before + 1)[before].clone();
    tell(&peer, &json!({ "reset": true }));
    let way = hub.ended("again.x12");
    assert_eq!(way["state"], "completed", "{way}");
    let again = forms(&peer, before + 2)[before + 1].clone();
    for same in ["fields", "message_id", "sha256"] {
        assert_eq!(lost[same], again[same], "{same}");
    }
}

#[test]
fn receipts_are_signed_where_that_was_agreed_and_a_login_is_given_where_it_is_asked_for() {
    let agreement = GISB.replace("\"unsigned\"", "\"signed\"");
    let (peer, hub) = start(&usual(&agreement));
    tell(&peer, &json!({ "signed": true, "login": "acme:secret word" }));
    hub.put("po.x12", &random(2000));
    let way = hub.ended("po.x12");
    assert_eq!((&way["state"], &detail(&way)["signed"]), (&json!("completed"), &json!(true)), "{way}");
    let form = forms(&peer, 1)[0].clone();
    let asked = form["fields"]["receipt-security-selection"].as_str().unwrap().to_owned();
    assert!(asked.starts_with("signed-receipt-protocol=required, pkcs7-signature"), "{asked}");
    tell(&peer, &json!({ "signed": false }));
    hub.put("unsigned.x12", &random(2000));
    let way = hub.ended("unsigned.x12");
    assert!(way["state"] == "failed" && way.to_string().contains("unsigned receipt"), "{way}");
}

#[test]
fn an_mdn_is_asked_for_in_a_form_as_well() {
    let hub_agreement = "mdn.ask = \"none\"\nreceive.security = \"none\"";
    let (peer, hub) = start(&usual(hub_agreement));
    hub.put("po.x12", &random(2000));
    let way = hub.ended("po.x12");
    assert_eq!(way["deliveries"][0]["receipt"]["kind"], "http_status", "{way}");
    assert_eq!(forms(&peer, 1)[0]["fields"]["receipt-report-type"], Value::Null);
    // And of us: the identifier is no mail address.
    let asked = ["--field", "disposition-notification-to=987654321", "--field", "RefNum=7"];
    let answer = post_file(&hub, "mdn.x12", b"ISA*00", &asked);
    assert_eq!(
        (&answer["status"], &answer["report_type"]),
        (&json!(200), &json!("disposition-notification"))
    );
    assert!(answer["body"].as_str().unwrap().contains("MDN-sent-automatically; processed"), "{answer}");
    assert_eq!(hub.wait_for_file("mdn.x12"), b"ISA*00");
}

#[test]
fn types_of_receipts_are_configuration() {
    let agreement = format!(
        "{GISB}\nreports = [{{ type = \"ACME-Receipt\", syntax = \"xml\", success = [\"taken\"], returns = [\"Transaction-Set\"] }}]"
    )
    .replace("\"GISB-Acknowledgement-Receipt\"", "\"ACME-Receipt\"");
    let (peer, hub) = start(&usual(&agreement));
    let asked = [
        "--field",
        "receipt-disposition-to=1",
        "--field",
        "receipt-report-type=ACME-Receipt",
        "--field",
        "transaction-set=850",
    ];
    let answer = post_file(&hub, "in.x12", b"ISA", &asked);
    assert_eq!(answer["report_type"], "ACME-Receipt", "{answer}");
    let part = &answer["parts"][1];
    assert_eq!(part["kind"], "application/xml", "{answer}");
    for element in [
        "<requeststatus>taken</requeststatus>",
        "<OriginalTransactionSet>850</OriginalTransactionSet>",
        "<ReceivedContentMic algid=",
    ] {
        assert!(part["text"].as_str().unwrap().contains(element), "{answer}");
    }
    for (status, state) in [("taken", "completed"), ("ok", "failed")] {
        tell(&peer, &json!({ "status": status }));
        let name = format!("{status}.x12");
        hub.put(&name, &random(2000));
        assert_eq!(hub.ended(&name)["state"], state, "{status}");
    }
}

#[test]
fn the_sender_is_notified_where_a_flow_fails_after_the_acknowledgement() {
    let flow = "on_failure = \"notify\"\n\
        [[flow.incoming.destination]]\nname = \"nowhere\"\nendpoint = \"nowhere\"\nretry = { attempts = 1 }\n\
        [[flow.incoming.destination]]\nname = \"notify\"\nendpoint = \"peer-as2\"\nerror_notification = true\n\
        [endpoint.nowhere]\ntransport = \"as2\"\nurl = \"http://127.0.0.1:1/as2\"\npartner = \"peer\"\nidentity = \"waybill\"\n";
    let (peer, hub) = start(&Sides { flow, ..usual(GISB) });
    let more = [&ACKNOWLEDGE[..], &["--field", "RefNum=42", "--header", "Message-ID: <po-1@peer>"]].concat();
    let answer = post_file(&hub, "po.x12", b"ISA*00", &more);
    assert!(answer["parts"][1]["text"].as_str().unwrap().contains("request-status=ok*"), "{answer}");
    let line = eventually("the peer was notified", PATIENCE, || {
        received(&peer).into_iter().find(|line| line["notification"] == true)
    });
    assert_eq!(line["report_type"], "GISB-Error-Notification", "{line}");
    assert_eq!(line["kinds"], json!(["text/html", "text/plain"]), "{line}");
    let fields = &line["fields"];
    assert_eq!(
        (&fields["from"], &fields["to"], &fields["input-format"]),
        (&json!(WE), &json!(PEER), &json!("error"))
    );
    let said = line["said"].as_str().unwrap();
    assert!(said.contains("request-status=error: ") && said.contains("Original-RefNum: 42"), "{said}");
    assert!(said.contains("Original-Message-ID: <po-1@peer>"), "{said}");
    // Names of our own systems are none of the partner's.
    assert!(!said.contains("127.0.0.1") && !said.contains("nowhere"), "{said}");
    assert_eq!(received(&peer).iter().filter(|line| line["notification"] == true).count(), 1);
}

#[test]
fn a_notification_fails_the_delivery_that_was_acknowledged() {
    let (peer, hub) = start(&usual(GISB));
    for (number, by) in ["Original-Message-ID", "Original-RefNum"].into_iter().enumerate() {
        let name = format!("po-{number}.x12");
        hub.put(&name, &random(2000));
        assert_eq!(hub.ended(&name)["state"], "completed");
        let form = forms(&peer, number + 1)[number].clone();
        let value = if number == 0 { &form["message_id"] } else { &form["fields"]["refnum"] };
        let line = format!("{by}: {}", value.as_str().unwrap());
        let (from, to) = (format!("from={PEER}"), format!("to={WE}"));
        let answer = post(
            &hub,
            &["--notify", &line, "--field", &from, "--field", &to, "--field", "input-format=error"],
        );
        assert_eq!(answer["status"], 200, "{answer}");
        let way = eventually("the delivery has failed", PATIENCE, || {
            let way = hub.ended(&name);
            (way["state"] == "failed").then_some(way)
        });
        assert!(way.to_string().contains("EEDM999"), "{by}: {way}");
    }
    // Also where the form went out more than once, as its first acknowledgement was lost.
    tell(&peer, &json!({ "answer": "nothing" }));
    hub.put("po-again.x12", &random(2000));
    let form = forms(&peer, 3)[2].clone();
    tell(&peer, &json!({ "reset": true }));
    assert_eq!(hub.ended("po-again.x12")["state"], "completed");
    let line = format!("Original-Message-ID: {}", form["message_id"].as_str().unwrap());
    let (from, to) = (format!("from={PEER}"), format!("to={WE}"));
    let answer =
        post(&hub, &["--notify", &line, "--field", &from, "--field", &to, "--field", "input-format=error"]);
    assert_eq!(answer["status"], 200, "{answer}");
    eventually("the delivery that took two attempts has failed", PATIENCE, || {
        (hub.ended("po-again.x12")["state"] == "failed").then_some(())
    });
    // About no message of ours.
    let (from, to) = (format!("from={PEER}"), format!("to={WE}"));
    let unknown =
        ["--notify", "Original-RefNum: 1", "--field", &from, "--field", &to, "--field", "input-format=error"];
    assert_eq!(post(&hub, &unknown)["status"], 400);
    assert!(!hub.events("receipt.unmatched").is_empty());
}

#[test]
fn a_notification_by_the_number_of_an_earlier_form_does_not_fail_the_one_in_its_place() {
    let (peer, mut hub) = start(&usual(GISB));
    tell(&peer, &json!({ "status": "EEDM105: no such partner" }));
    hub.put("po.x12", &random(2000));
    let way = hub.ended("po.x12");
    assert_eq!(way["state"], "failed", "{way}");
    let refused = forms(&peer, 1)[0].clone();
    // Under other terms it goes out as another form.
    hub.gateway.stop();
    let agreement = format!("{GISB}\nsend.cipher = \"aes128-cbc\"");
    usual(&agreement).define(&hub, peer.text("url"));
    hub.gateway.start();
    tell(&peer, &json!({ "reset": true }));
    let config = hub.gateway.config();
    let id = way["id"].as_str().unwrap();
    let (status, out, error) = suites::run(&["--config", config.to_str().unwrap(), "transfer", "retry", id]);
    assert!(status.success(), "{out} {error}");
    let sent = forms(&peer, 2)[1].clone();
    assert_eq!(hub.ended("po.x12")["state"], "completed");
    let number = |form: &Value| form["fields"]["refnum"].as_str().unwrap().to_owned();
    assert_ne!(number(&refused), number(&sent));

    let notify = |number: &str| {
        let line = format!("Original-RefNum: {number}");
        let (from, to) = (format!("from={PEER}"), format!("to={WE}"));
        let fields = ["--field", &from, "--field", &to, "--field", "input-format=error"];
        post(&hub, &[&["--notify", &line][..], &fields].concat())
    };
    assert_eq!(notify(&number(&refused))["status"], 200);
    assert_eq!(hub.events("receipt.ignored").len(), 1);
    assert_eq!(hub.ended("po.x12")["state"], "completed");
    assert_eq!(notify(&number(&sent))["status"], 200);
    assert_eq!(hub.ended("po.x12")["state"], "failed");
}
