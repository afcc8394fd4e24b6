//! AS2 from one gateway to another over HTTPS, both sides with certificates.

use std::fs;
use suites::pair::{PATIENCE, Pair, Terms, files_in, put};
use suites::{Gateway, KeyPair, eventually};

/// A pair where Globex's server has a certificate for `localhost` and asks for one of Acme's.
fn pair() -> Pair {
    let pair = Pair::new(&Terms::default());
    let tls = pair.root.path().join("tls");
    for name in ["localhost", "acme-tls", "other"] {
        KeyPair::make(&tls, name);
    }
    let mut settings = fs::read_to_string(pair.globex.config()).unwrap();
    settings.push_str(&format!(
        "[listen.http.partners.tls]\ncertificate = \"{tls}/localhost.cert.pem\"\nprivate_key = \"{tls}/localhost.key.pem\"\n\
         client_certificates = \"required\"\nclient_authorities = \"{tls}/acme-tls.cert.pem\"\n",
        tls = tls.display(),
    ));
    fs::write(pair.globex.config(), settings).unwrap();
    pair
}

/// Acme's definitions, its AS2 over HTTPS with these options.
fn define(pair: &Pair, options: &str) {
    let port = pair.globex.http;
    let plain = format!("url = \"http://127.0.0.1:{port}/as2\"\n");
    let document = pair.acme_document(&Terms::default());
    assert!(document.contains(&plain));
    let secure = format!("url = \"https://localhost:{port}/as2\"\n{options}\n");
    let tls = pair.root.path().join("tls");
    let tls = tls.display();
    let certificates = format!(
        "[certificate.globex-tls]\npem = \"${{file:{tls}/localhost.cert.pem}}\"\n\
         [certificate.other]\npem = \"${{file:{tls}/other.cert.pem}}\"\n\
         [key.acme-tls]\nprivate_key = \"${{file:{tls}/acme-tls.key.pem}}\"\n\
         certificate = \"${{file:{tls}/acme-tls.cert.pem}}\"\n"
    );
    pair.acme.define("acme.toml", &document.replace(&plain, &secure));
    pair.acme.define("tls.toml", &certificates);
}

/// That a connection with these words is on record.
fn on_record(gateway: &Gateway, words: &[&str]) {
    eventually(&format!("a connection with {words:?}"), PATIENCE, || {
        let rows: Vec<String> = gateway.connections().iter().map(|row| format!("{row:?}")).collect();
        rows.iter().any(|row| words.iter().all(|word| row.contains(word))).then_some(())
    });
}

#[test]
fn both_sides_show_certificates_and_have_each_others_on_record() {
    let mut pair = pair();
    define(&pair, "trust.authorities = [\"globex-tls\"]\ntls.client_key = \"acme-tls\"");
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    assert_eq!(pair.wait_for_files(1), [("order.edi".to_owned(), b"an order".to_vec())]);
    pair.acme.wait_for("completed", 1, PATIENCE);
    on_record(&pair.acme, &["localhost:", "TLSv1.3", "CN=localhost"]);
    on_record(&pair.globex, &["localhost", "TLSv1.3", "CN=acme-tls"]);
}

#[test]
fn a_server_that_is_not_trusted_gets_nothing_and_a_client_without_a_certificate_is_refused() {
    let mut pair = pair();
    define(&pair, "trust.authorities = [\"other\"]");
    put(&pair.folder(), b"order.edi", b"an order");
    pair.start();
    let waiting = pair.wait_for_event("delivery.retrying", "trust the server").to_string();
    assert!(waiting.contains("CN=localhost") && waiting.contains("waits_for_access"), "{waiting}");
    pair.acme.stop();
    assert!(files_in(&pair.warehouse()).is_empty());

    define(&pair, "trust.authorities = [\"globex-tls\"]");
    put(&pair.folder(), b"second.edi", b"another order");
    pair.acme.start();
    on_record(&pair.globex, &["this server requires a client certificate"]);
    pair.acme.stop();
    assert!(files_in(&pair.warehouse()).is_empty());

    // As soon as both agree messages go through, those that waited among them.
    define(&pair, "trust.authorities = [\"globex-tls\"]\ntls.client_key = \"acme-tls\"");
    put(&pair.folder(), b"third.edi", b"a third order");
    pair.acme.start();
    let mut came = pair.wait_for_files(3);
    came.sort();
    let sent: [(&str, &[u8]); 3] =
        [("order.edi", b"an order"), ("second.edi", b"another order"), ("third.edi", b"a third order")];
    assert!(came.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).eq(sent), "{came:?}");
}
