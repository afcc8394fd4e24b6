//! AS2 over HTTPS: from an implementation that shares no code with Waybill, and with a certificate that is renewed
//! while a message is received.

use crate::hub::{Hub, PATIENCE, random};
use crate::raw::Answer;
use openssl::ssl::{SslConnector, SslMethod, SslStream};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use suites::{KeyPair, eventually};

/// A hub whose HTTP server has a certificate for `localhost`, in files below its root.
fn hub(client_certificates: &str) -> Hub {
    let hub = Hub::knowing_its_root(|root| {
        let tls = root.join("tls");
        KeyPair::make(&tls, "localhost");
        KeyPair::make(&tls, "client");
        let tls = tls.display();
        format!(
            "[listen.http.partners.tls]\ncertificate = \"{tls}/localhost.cert.pem\"\nprivate_key = \"{tls}/localhost.key.pem\"\n\
             client_certificates = \"{client_certificates}\"\nclient_authorities = \"{tls}/client.cert.pem\"\n"
        )
    });
    hub.define("http://127.0.0.1:9/as2", "");
    hub
}

/// A TLS connection to the hub that asks for `localhost`, and the certificate that it was shown.
fn connect(hub: &Hub, client: Option<&KeyPair>) -> std::io::Result<(SslStream<TcpStream>, Vec<u8>)> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(openssl::ssl::SslVerifyMode::NONE);
    if let Some(pair) = client {
        builder.set_certificate_file(&pair.certificate, openssl::ssl::SslFiletype::PEM).unwrap();
        builder.set_private_key_file(&pair.key, openssl::ssl::SslFiletype::PEM).unwrap();
    }
    let socket = TcpStream::connect(("127.0.0.1", hub.gateway.http))?;
    socket.set_read_timeout(Some(Duration::from_secs(60)))?;
    let stream = builder.build().connect("localhost", socket).map_err(std::io::Error::other)?;
    let shown = stream.ssl().peer_certificate().unwrap().to_pem().unwrap();
    Ok((stream, shown))
}

fn answer(mut stream: SslStream<TcpStream>) -> Option<Answer> {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes));
    Answer::read(bytes)
}

fn head(headers: &str) -> String {
    format!("POST /as2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n")
}

#[test]
fn a_partner_on_pyas2lib_sends_over_https() {
    let mut hub = hub("off");
    hub.gateway.start();
    assert!(hub.gateway.log().contains("https://127.0.0.1:"), "{}", hub.gateway.log());
    let (file, bytes) = (hub.root.path().join("order.bin"), random(40_000));
    fs::write(&file, &bytes).unwrap();
    let url = format!("https://localhost:{}/as2", hub.gateway.http);
    let trusted = hub.root.path().join("tls/localhost.cert.pem");
    let octets = ["--content-type", "application/octet-stream"];
    let said = hub.send_to(&url, Some(&trusted), file.to_str().unwrap(), &octets);
    assert_eq!(
        (&said["http_status"], &said["mic_matched"], &said["mdn_verified"]),
        (&200.into(), &true.into(), &true.into()),
        "{said}"
    );
    assert_eq!(hub.wait_for_file("order.bin"), bytes);
    let named = |host: &str| host.starts_with("localhost");
    let row = eventually("the connection is on record", PATIENCE, || {
        let rows = hub.gateway.connections();
        rows.into_iter().find(|row| row.host.as_deref().is_some_and(named))
    });
    assert!(format!("{:?}", row.security).contains("TLSv1."), "{row:?}");
}

#[test]
fn a_certificate_is_renewed_while_a_large_message_is_received() {
    let mut hub = hub("off");
    hub.gateway.start();
    let payload = random(24 << 20);
    let message = hub.good("large.bin", &payload);
    let (mut stream, before) = connect(&hub, None).unwrap();
    stream.write_all(head(&message.headers).as_bytes()).unwrap();
    let half = message.body.len() / 2;
    stream.write_all(&message.body[..half]).unwrap();

    // What does not fit is not shown; what fits is, without a restart.
    let tls = hub.root.path().join("tls");
    let renewed = KeyPair::make(&hub.root.path().join("renewed"), "localhost");
    replace(&renewed.certificate, &tls.join("localhost.cert.pem"));
    eventually("the mismatch is told", PATIENCE, || {
        hub.gateway
            .log()
            .contains("the certificate does not belong to the private key: give the key's own certificate")
            .then_some(())
    });
    assert_eq!(connect(&hub, None).unwrap().1, before);
    replace(&renewed.key, &tls.join("localhost.key.pem"));
    let after = fs::read(&renewed.certificate).unwrap();
    eventually("the new certificate is shown", PATIENCE, || {
        (connect(&hub, None).ok()?.1 == after).then_some(())
    });

    stream.write_all(&message.body[half..]).unwrap();
    let answer = answer(stream).unwrap();
    assert!(answer.status == 200 && answer.text().contains("; processed\r\n"), "{}", answer.text());
    assert_eq!(hub.wait_for_file("large.bin"), payload);
}

/// As tools that renew certificates do: a new file takes the old one's name.
fn replace(new: &Path, old: &Path) {
    let beside = old.with_extension("new");
    fs::copy(new, &beside).unwrap();
    fs::rename(beside, old).unwrap();
}

#[test]
fn clients_without_a_trusted_certificate_are_refused_and_those_with_one_stand_on_record() {
    let mut hub = hub("required");
    hub.gateway.start();
    let message = hub.good("order.bin", b"an order");
    let stranger = KeyPair::make(&hub.root.path().join("stranger"), "stranger");
    for client in [None, Some(&stranger)] {
        // In TLS 1.3 the client learns of it with its first read.
        let refused = connect(&hub, client).map(|(mut stream, _)| {
            drop(stream.write_all(head(&message.headers).as_bytes()));
            drop(stream.write_all(&message.body));
            answer(stream)
        });
        assert!(!matches!(refused, Ok(Some(_))), "{refused:?}");
    }
    let tls = hub.root.path().join("tls");
    let client = KeyPair { key: tls.join("client.key.pem"), certificate: tls.join("client.cert.pem") };
    let (mut stream, _) = connect(&hub, Some(&client)).unwrap();
    stream.write_all(head(&message.headers).as_bytes()).unwrap();
    stream.write_all(&message.body).unwrap();
    let answer = answer(stream).unwrap();
    assert!(answer.text().contains("; processed\r\n"), "{}", answer.text());
    assert_eq!(hub.wait_for_file("order.bin"), b"an order");

    let rows = eventually("all ends are on record", PATIENCE, || {
        let rows = hub.gateway.connections();
        (rows.iter().filter(|row| row.failed == Some(true)).count() >= 2).then_some(rows)
    });
    for words in ["this server requires a client certificate", "trust the client's certificate"] {
        assert!(rows.iter().any(|row| format!("{row:?}").contains(words)), "{words}: {rows:#?}");
    }
    assert!(rows.iter().any(|row| format!("{:?}", row.security).contains("CN=client")), "{rows:#?}");
}

#[test]
fn a_server_whose_certificate_cannot_be_used_is_down_and_says_why_until_it_can() {
    let mut hub = hub("off");
    let tls = hub.root.path().join("tls");
    let expired = KeyPair::make_valid(&hub.root.path().join("expired"), "localhost", -30, -1);
    let (good, good_key) =
        (fs::read(tls.join("localhost.cert.pem")).unwrap(), fs::read(tls.join("localhost.key.pem")).unwrap());
    replace(&expired.certificate, &tls.join("localhost.cert.pem"));
    replace(&expired.key, &tls.join("localhost.key.pem"));
    hub.gateway.spawn();
    hub.gateway.wait_until_not_ready("it has expired: renew it");
    fs::write(tls.join("localhost.key.pem"), good_key).unwrap();
    fs::write(tls.join("localhost.cert.pem"), good).unwrap();
    hub.gateway.wait_until_ready();
    assert!(connect(&hub, None).is_ok());
}
