//! The example of the first draft of AS2 (draft-ietf-ediint-as2, May 2002, appendix C.1), replayed as it is printed: an absolute
//! request target, folded fields, `rsa-md5`, a boundary and a protocol without a subtype in quotes, and its very length.

use crate::hub::Hub;
use crate::raw::{Answer, connect};
use std::fs;
use std::io::{Read, Write};
use std::process::Command;

/// The head as it is printed.
const HEAD: &str = "POST https://tp2server.company2.com/cgi-bin/tp1drawer.pl HTTP/1.1\r\n\
Host: tp2server.company2.com\r\n\
AS2-To: zzzcompany2\r\n\
AS2-From: zzzcompany1\r\n\
AS2-Version: 1.0\r\n\
From: ediadmin@company1.com\r\n\
Date: Tue, 06 Nov 2001 12:53:01 UT\r\n\
Subject: Purchase orders for 6 November 2001\r\n\
Message-Id: <20011106@company1.com>\r\n\
Disposition-Notification-To: tp1@company1.com\r\n\
Disposition-Notification-Options: signed-receipt-protocol=optional,\r\n    pkcs7-signature; signed-receipt-micalg=optional,rsa-md5\r\n\
Content-Type: multipart/signed; boundary=\"20011106RsXgYlvCNW\";\r\n    protocol=application/pkcs7-signature; micalg=rsa-md5\r\n\
Content-Length: 3056\r\n\r\n";

const BOUNDARY: &str = "--20011106RsXgYlvCNW";

/// The part that is signed: the data fills the message up to the printed length.
fn signed_part(data: &str) -> String {
    format!(
        "Content-Type: application/edi-x12\r\nContent-Disposition: Attachment; filename=rfc1767.dat\r\n\r\n{data}"
    )
}

/// The whole body of a message with this data.
fn body(hub: &Hub, data: &str) -> Vec<u8> {
    let file = hub.root.path().join("signed-part");
    fs::write(&file, signed_part(data)).unwrap();
    let mut command = Command::new("openssl");
    command.args(["cms", "-sign", "-binary", "-outform", "DER", "-md", "md5", "-in"]).arg(&file);
    command.arg("-signer").arg(&hub.peer_certificate).arg("-inkey").arg(&hub.peer_key);
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let before = format!(
        "{BOUNDARY}\r\n{}\r\n{BOUNDARY}\r\nContent-Type: application/pkcs7-signature\r\n\r\n",
        signed_part(data)
    );
    [before.as_bytes(), &done.stdout, format!("\r\n{BOUNDARY}--\r\n").as_bytes()].concat()
}

/// An answer on a connection that stays open.
fn answer(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).unwrap();
    let mut rest = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut rest).unwrap();
    Answer::read([bytes, rest].concat()).unwrap()
}

#[test]
fn appendix_c_1_is_replayed_as_it_is_printed() {
    let mut hub = Hub::alone();
    let definitions = format!(
        r#"[identity.company2.as2]
id = "zzzcompany2"
keys = ["company2"]
[key.company2]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[partner.company1.as2]
id = "zzzcompany1"
certificates = ["company1"]
receive.security = "signed"
legacy = true
[certificate.company1]
pem = "${{file:{root}/keys/peer.cert.pem}}"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[listener.drawer]
transport = "as2"
server = "partners"
path = "/cgi-bin/tp1drawer.pl"
[flow.orders]
source = {{ listener = "drawer", partner = "company1", mask = "*" }}
[[flow.orders.destination]]
endpoint = "in"
"#,
        root = hub.root.path().display()
    );
    hub.gateway.define("hub.toml", &definitions);
    hub.gateway.start();
    // The length of the signature is that of its certificate and key: the data makes up the rest.
    let data = |fill: usize| format!("  ISA*00*{}~IEA*1*000000001~", "X".repeat(fill));
    let least = body(&hub, &data(0)).len();
    let fill = 3056_usize.checked_sub(least).expect("the signature leaves room for data");
    let data = data(fill);
    let body = body(&hub, &data);
    assert_eq!(body.len(), 3056);
    let mut stream = connect(hub.gateway.http);
    stream.write_all(&[HEAD.as_bytes(), &body].concat()).unwrap();
    let answer = answer(stream);
    let text = answer.text();
    assert!(
        answer.status == 200 && text.contains("MDN-sent-automatically; processed\r\n"),
        "{} {text}",
        answer.head
    );
    assert!(text.contains("Original-Message-ID: <20011106@company1.com>\r\n"), "{text}");
    assert!(answer.head.to_lowercase().contains("multipart/signed"), "{}", answer.head);
    let digest =
        openssl::hash::hash(openssl::hash::MessageDigest::md5(), signed_part(&data).as_bytes()).unwrap();
    let mic = format!("Received-content-MIC: {}, ", openssl::base64::encode_block(&digest));
    assert!(text.contains(&mic), "{mic}: {text}");
    assert_eq!(hub.wait_for_file("rfc1767.dat"), data.as_bytes());
    let way = hub.ended("rfc1767.dat");
    assert_eq!(way["metadata"]["as2_subject"], "Purchase orders for 6 November 2001", "{way}");
    // MD5 is allowed with this partner, and on record.
    assert!(!hub.events("message.legacy_used").is_empty());
    hub.gateway.stop();
}
