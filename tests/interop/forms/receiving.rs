//! Forms that come in: what they become, how they are acknowledged, and appendix B in the shape in which it is printed.

use super::{ACKNOWLEDGE, GISB, PEER, Sides, WE, post_file, start, usual};
use crate::hub::random;
use crate::raw::{Answer, connect};
use serde_json::{Value, json};
use std::io::{Read, Write};

#[test]
fn a_form_is_received_acknowledged_at_once_and_its_fields_are_metadata() {
    let (_peer, hub) = start(&usual(GISB));
    let fields = [
        "--field",
        "Version=1.3",
        "--field",
        "input-format=X12",
        "--field",
        "Transaction-Set=850",
        "--field",
        "refnum=0042",
        "--field",
        "Priority=1",
        "--field",
        "Agent=network",
        "--field",
        "Expiration=Fri, 30 Sep 98 23:59:59 UT",
    ];
    for (name, protection, content) in [
        ("plain.x12", "", random(300_000)),
        ("signed.x12", "signed", random(2000)),
        ("both.x12", "signed,encrypted", random(100_000)),
    ] {
        let number = format!("refnum={}", content.len());
        let own = ["--protection", protection];
        let mut more = [&own[..], &ACKNOWLEDGE, &fields].concat();
        let at = more.iter().position(|argument| *argument == "refnum=0042").unwrap();
        more[at] = &number;
        let answer = post_file(&hub, name, &content, &more);
        assert_eq!((&answer["status"], &answer["signed"]), (&json!(200), &json!(false)), "{answer}");
        assert_eq!(answer["report_type"], "GISB-Acknowledgement-Receipt", "{answer}");
        let kinds: Vec<&Value> =
            answer["parts"].as_array().unwrap().iter().map(|part| &part["kind"]).collect();
        assert_eq!(kinds, [&json!("text/html"), &json!("text/plain")], "{answer}");
        let (html, said) =
            (answer["parts"][0]["text"].as_str().unwrap(), answer["parts"][1]["text"].as_str().unwrap());
        assert!(html.contains("<TITLE>Acknowledgement Receipt Success</TITLE>"), "{html}");
        assert!(said.contains("request-status=ok*") && said.contains("Received-Content-MIC: "), "{said}");
        assert!(said.contains(&format!("Original-RefNum: {}", content.len())), "{said}");
        if let Some(mic) = answer["sent_mic"].as_str() {
            assert!(said.contains(&format!("Received-Content-MIC: {mic}, ")), "{said} {mic}");
        }
        assert_eq!(hub.wait_for_file(name), content);
        let way = hub.ended(name);
        for (key, expected) in [
            ("form_from", PEER),
            ("form_to", WE),
            ("form_version", "1.3"),
            ("form_input_format", "X12"),
            ("form_transaction_set", "850"),
            ("form_priority", "1"),
            ("form_agent", "network"),
            ("form_expiration", "1998-09-30T23:59:59+00:00"),
            ("form_input_data", name),
        ] {
            assert_eq!(way["metadata"][key], expected, "{key}: {way}");
        }
    }
    // A signed one where it was asked for.
    let signed = [
        "--field",
        "receipt-security-selection=signed-receipt-protocol=required, pkcs7-signature; signed-receipt-micalg=optional, sha-256",
    ];
    let answer = post_file(&hub, "more.x12", b"ISA", &[&ACKNOWLEDGE[..], &signed].concat());
    assert_eq!(
        (&answer["signed"], &answer["report_type"]),
        (&json!(true), &json!("GISB-Acknowledgement-Receipt"))
    );
}

#[test]
fn a_ref_num_is_used_for_one_content() {
    let (_peer, hub) = start(&usual(GISB));
    let more = [&ACKNOWLEDGE[..], &["--field", "RefNum=42"]].concat();
    let first = post_file(&hub, "first.x12", b"ISA*1", &more);
    let again = post_file(&hub, "first.x12", b"ISA*1", &more);
    assert_eq!(first["body_sha256"], again["body_sha256"], "the stored reply, byte for byte");
    let zeros =
        [&ACKNOWLEDGE[..], &["--field", "refnum=00042", "--header", "Message-ID: <other@peer>"]].concat();
    assert_eq!(post_file(&hub, "first.x12", b"ISA*1", &zeros)["body_sha256"], first["body_sha256"]);
    let other = post_file(&hub, "second.x12", b"ISA*2", &more);
    let said = other["parts"][1]["text"].as_str().unwrap();
    assert!(said.contains("request-status=error: "), "{other}");
    hub.wait_for_file("first.x12");
    assert_eq!(hub.inbox().len(), 1, "{:?}", hub.inbox());
    assert_eq!(hub.events("message.content_differs").len(), 1);
    assert_eq!(hub.events("message.repeated").len(), 2);

    // With another Message-ID it is another message, whatever it holds: "received before" would be taken for an acknowledgement.
    let named = |id: &str| {
        let header = format!("Message-ID: {id}");
        let more = [&ACKNOWLEDGE[..], &["--field", "RefNum=43", "--header", &header]].concat();
        post_file(&hub, "third.x12", b"ISA*3", &more)
    };
    let third = named("<3@peer>");
    assert_eq!(named("<3@peer>")["body_sha256"], third["body_sha256"]);
    let other = named("<4@peer>");
    let said = other["parts"][1]["text"].as_str().unwrap();
    assert!(said.contains("request-status=error: "), "{other}");
    hub.wait_for_file("third.x12");
    let refused = hub.events("message.content_differs");
    let reasons: Vec<&str> = refused.iter().filter_map(|event| event["detail"]["reason"].as_str()).collect();
    assert!(reasons.contains(&"its RefNum was used before for other content"), "{refused:?}");
    assert!(reasons.contains(&"its RefNum was used before with another Message-ID"), "{refused:?}");
    assert_eq!((refused.len(), hub.inbox().len()), (2, 2), "{:?}", hub.inbox());
    assert_eq!(hub.events("message.repeated").len(), 3);
}

#[test]
fn what_is_no_message_is_refused_with_its_reason() {
    let (_peer, hub) = start(&usual(GISB));
    for (more, words) in [
        (&["--field", "RefNum=4x"][..], "RefNum"),
        (&["--field", "Expiration=tomorrow"][..], "Expiration"),
        (&["--field", "receipt-disposition-to=1"][..], "Receipt-Report-Type"),
    ] {
        let answer = post_file(&hub, "bad.x12", b"ISA", more);
        assert_eq!(answer["status"], 400, "{answer}");
        assert!(answer["body"].as_str().unwrap().contains(words), "{answer}");
    }
    // A receipt of a type that was not agreed: an MDN says so.
    let unknown = ["--field", "receipt-disposition-to=1", "--field", "receipt-report-type=ACME-Receipt"];
    let answer = post_file(&hub, "bad.x12", b"ISA", &unknown);
    assert!(answer["body"].as_str().unwrap().contains("failed/failure: unsupported format"), "{answer}");
    assert!(hub.inbox().is_empty() && hub.events("message.refused").len() >= 4);
}

#[test]
fn a_form_larger_than_the_listener_accepts_is_refused() {
    let (_peer, hub) = start(&Sides { listener: "largest = \"1MiB\"", ..usual(GISB) });
    let answer = post_file(&hub, "large.x12", &random(2 << 20), &ACKNOWLEDGE);
    let said = answer["parts"][1]["text"].as_str().unwrap();
    assert!(said.contains("request-status=error: "), "{answer}");
    let refused = hub.events("message.refused");
    assert!(refused[0].to_string().contains("larger than 1048576 bytes"), "{refused:?}");
    assert_eq!((hub.inbox().len(), hub.transfers()), (0, 0));
    let small = random(500_000);
    post_file(&hub, "small.x12", &small, &ACKNOWLEDGE);
    assert!(hub.wait_for_file("small.x12") == small, "it came with other bytes");
}

#[test]
fn a_listener_asks_for_a_login() {
    let (_peer, hub) = start(&Sides { listener: "credential = \"gisb\"", ..usual(GISB) });
    for (login, status) in [(None, 401), (Some("acme:wrong"), 401), (Some("acme:secret word"), 200)] {
        let login: Vec<&str> = login.iter().flat_map(|login| ["--login", *login]).collect();
        let answer = post_file(&hub, "po.x12", b"ISA", &[&ACKNOWLEDGE[..], &login].concat());
        assert_eq!(answer["status"], status, "{answer}");
        if status == 401 {
            assert!(answer["headers"]["www-authenticate"].as_str().unwrap().starts_with("Basic realm="));
        }
    }
    assert_eq!(hub.wait_for_file("po.x12"), b"ISA");
    assert!(!hub.ended("po.x12").to_string().contains("secret word"));
}

/// Flows that choose by what a form says, and by its Subject.
const CHOOSING: &str = r#"enabled = false
[[flow.incoming.destination]]
endpoint = "in"
[flow.orders]
source = { listener = "as2", partner = "peer", mask = "*", where = { form_application = ["ORDERS*", "PO"] } }
[[flow.orders.destination]]
endpoint = "in"
file_name = "{metadata.form_application}-{stem}{metadata.form_agent}{ext}"
[flow.urgent]
source = { listener = "as2", partner = "peer", mask = "*", ignore_case = true, where = { as2_subject = "*urgent/*", form_version = "1.?" } }
[[flow.urgent.destination]]
endpoint = "in"
file_name = "{flow} {metadata.as2_subject}{ext}"
"#;

#[test]
fn flows_of_one_partner_choose_by_fields_of_forms_and_by_subject() {
    let (_peer, hub) = start(&Sides { flow: CHOOSING, ..usual(GISB) });
    let post = |name: &str, more: &[&str]| {
        let answer = post_file(&hub, name, name.as_bytes(), &[&ACKNOWLEDGE[..], more].concat());
        answer["parts"][1]["text"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };
    let said = post("po.x12", &["--field", "Application=ORDERS/850"]);
    assert!(said.contains("request-status=ok*"), "{said}");
    assert_eq!(hub.wait_for_file("ORDERS_850-po.x12"), b"po.x12");
    let urgent = ["--header", "Subject: Very Urgent/today", "--field", "Application=INVOIC"];
    let said = post("plan.x12", &[&urgent[..], &["--field", "Version=1.3"]].concat());
    assert!(said.contains("request-status=ok*"), "{said}");
    assert_eq!(hub.wait_for_file("urgent Very Urgent_today.x12"), b"plan.x12");

    // All conditions of a flow must be met. Why none is, the operator reads alone.
    let said = post("bill.x12", &urgent);
    assert!(said.contains("request-status=error: ") && !said.contains("orders"), "{said}");
    let refused = hub.events("message.refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    let reason = refused[0]["detail"]["reason"].as_str().unwrap();
    for words in [
        "no flow accepts bill.x12 from partner peer: ",
        "flow orders would, but form_application is \"INVOIC\", and must match \"ORDERS*\" or \"PO\"; ",
        "flow urgent would, but form_version is missing, and must match \"1.?\"",
    ] {
        assert!(reason.contains(words), "{reason}");
    }
    assert_eq!((hub.inbox().len(), hub.transfers()), (2, 2), "{:?}", hub.inbox());
    // What it shows of its source.
    let shown = hub.gateway.json(&["flow", "show", "orders"]);
    assert_eq!(shown["conditions"], json!(["form_application: ORDERS* or PO"]), "{shown}");
}

/// The form of appendix B with the header fields that are printed, in their order and spelling; what the print has lost (the
/// boundary, the values, the length) is filled in, and the message is not encrypted.
fn appendix_b(from: &str, to: &str) -> Vec<u8> {
    let field = |name: &str, value: &str| {
        format!("--GISB9876\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = [
        field("from", from),
        field("to", to),
        field("Version", "1.3"),
        field("receipt-disposition-to", from),
        field("receipt-report-type", "GISB-Acknowledgement-Receipt"),
        field("input-format", "X12"),
        "--GISB9876\r\nContent-Disposition: form-data; name=\"input-data\";\r\n filename=\"c:\\edi\\po850.x12\"\r\n\
         Content-Type: application/edi-x12\r\n\r\nISA*00*printed*IEA\r\n--GISB9876--\r\n"
            .to_owned(),
    ]
    .concat();
    let head = format!(
        "POST /as2 HTTP/1.0\r\nReferer: http://www.get.a.life/upl.htm\r\nConnection: Keep-Alive\r\nUser-Agent: brow v0.1 XYZ Corp.\r\n\
         Host: localhost\r\nAccept: image/gif, image/x-xbitmap, image/jpeg, image/pjpeg, */*\r\n\
         Content-type: multipart/form-data;\r\n boundary=GISB9876\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

#[test]
fn appendix_b_is_replayed_in_the_shape_in_which_it_is_printed() {
    let (_peer, hub) = start(&usual(GISB));
    let mut stream = connect(hub.gateway.http);
    stream.write_all(&appendix_b(PEER, WE)).unwrap();
    // It asks to be kept open: the length says where the answer ends.
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    assert!(!head.contains("transfer-encoding"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let mut rest = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut rest).unwrap();
    let answer = Answer::read([bytes, rest].concat()).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(
        head.contains(
            "content-type: multipart/report; report-type=\"gisb-acknowledgement-receipt\"; boundary=\""
        ),
        "{head}"
    );
    let text = answer.text();
    let (html, plain) =
        (text.find("Content-Type: text/html").unwrap(), text.find("Content-Type: text/plain").unwrap());
    assert!(
        html < plain && text.contains("<HTML><HEAD><TITLE>Acknowledgement Receipt Success</TITLE></HEAD>"),
        "{text}"
    );
    assert_eq!(hub.wait_for_file("po850.x12"), b"ISA*00*printed*IEA");
    assert_eq!(hub.ended("po850.x12")["metadata"]["form_input_data"], "c:\\edi\\po850.x12");
}
