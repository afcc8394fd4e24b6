//! nginx and HAProxy as reverse proxies: in front of our listener and of a partner, and what they answer in its place.

use crate::hub::{Hub, PATIENCE, random, received, sha256, start_peer, tell};
use serde_json::{Value, json};
use std::fs;
use suites::Server;

fn front(server: &str, to: u16, more: &[&str]) -> Server {
    let to = to.to_string();
    Server::start("front", &[&["--server", server, "--to", &to][..], more].concat())
}

/// A hub that sends to this peer by another URL.
fn hub(peer: &Server, url: &str) -> Hub {
    let mut hub = Hub::for_peer(peer);
    tell(peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(url, "");
    hub.gateway.start();
    hub
}

fn attempts(way: &Value) -> Vec<&Value> {
    way["deliveries"][0]["attempts"].as_array().unwrap().iter().collect()
}

#[test]
fn messages_come_in_through_nginx_and_haproxy() {
    let peer = start_peer();
    let mut hub = Hub::for_peer(&peer);
    hub.define("http://127.0.0.1:9/as2", "");
    hub.gateway.start();
    let fronts =
        [("nginx", &[][..]), ("haproxy", &[][..]), ("nginx", &["--tls"][..]), ("haproxy", &["--tls"][..])];
    for (number, (server, more)) in fronts.into_iter().enumerate() {
        let front = front(server, hub.gateway.http, more);
        let (name, bytes) = (format!("order-{number}.bin"), random(40_000));
        let file = hub.root.path().join(&name);
        fs::write(&file, &bytes).unwrap();
        let trusted = front.info["certificate"].as_str().map(std::path::Path::new);
        let octets = ["--content-type", "application/octet-stream"];
        let url = format!("{}/as2", front.text("url"));
        let said = hub.send_to(&url, trusted, file.to_str().unwrap(), &octets);
        assert_eq!(
            (&said["http_status"], &said["mic_matched"], &said["mdn_verified"]),
            (&200.into(), &true.into(), &true.into()),
            "{server} {more:?}: {said}"
        );
        assert_eq!(hub.wait_for_file(&name), bytes);
    }
}

#[test]
fn messages_go_out_through_the_proxies_of_a_partner() {
    let peer = start_peer();
    for server in ["nginx", "haproxy"] {
        let front = front(server, peer.port(), &[]);
        let hub = hub(&peer, &format!("{}/as2", front.text("url")));
        let bytes = random(300_000);
        hub.put("order.bin", &bytes);
        let way = hub.ended("order.bin");
        assert_eq!((&way["state"], attempts(&way).len()), (&json!("completed"), 1), "{way}");
        assert_eq!(received(&peer).last().unwrap()["sha256"], sha256(&bytes));
    }
}

#[test]
fn a_server_of_tls_1_2_with_an_old_cipher_is_reached_by_naming_it() {
    let peer = start_peer();
    let old = "ssl_protocols TLSv1.2; ssl_ciphers AES128-SHA;";
    let front = front("nginx", peer.port(), &["--tls", "--server-extra", old]);
    let mut hub = Hub::for_peer(&peer);
    tell(&peer, &json!({ "partner_cert": hub.own.certificate }));
    hub.define(&format!("{}/as2", front.text("url")), "");
    let document = hub.gateway.directory().join("definitions/hub.toml");
    let text = fs::read_to_string(&document).unwrap();
    let option = "media_type = \"application/octet-stream\"\n";
    assert!(text.contains(option));
    let lines = "trust.authorities = \"front\"\ntls.max = \"1.2\"\ntls.ciphers = [\"AES128-SHA\"]\n";
    let certificate = hub.root.path().join("front.pem");
    fs::copy(front.text("certificate"), &certificate).unwrap();
    let front_certificate = format!("[certificate.front]\npem = \"${{file:{}}}\"\n", certificate.display());
    fs::write(document, text.replace(option, &format!("{option}{lines}")) + &front_certificate).unwrap();
    hub.gateway.start();
    hub.put("order.bin", b"an order");
    let way = hub.ended("order.bin");
    assert_eq!(way["state"], "completed", "{way}");
    let rows: Vec<String> =
        hub.gateway.connections().iter().map(|row| format!("{:?}", row.security)).collect();
    assert!(rows.iter().any(|row| row.contains("TLSv1.2") && row.contains("AES128-SHA")), "{rows:?}");
}

#[test]
fn a_message_that_the_proxy_finds_too_large_is_not_sent_again() {
    let peer = start_peer();
    let front = front("nginx", peer.port(), &["--extra", "client_max_body_size 10k;"]);
    let hub = hub(&peer, &format!("{}/as2", front.text("url")));
    hub.put("large.bin", &random(50_000));
    let way = hub.ended("large.bin");
    assert_eq!((&way["state"], attempts(&way).len()), (&json!("failed"), 1), "{way}");
    let error = attempts(&way)[0]["error"].as_str().unwrap();
    assert!(error.contains("413") && error.contains("does not accept files of this size"), "{error}");
    assert!(received(&peer).is_empty());
}

#[test]
fn what_a_proxy_answers_for_a_partner_that_is_away_is_tried_again_until_it_is_back() {
    // Between the partner's proxy and its AS2 system is another one, which can be away.
    for (server, more, between, status) in
        [("nginx", &[][..], "haproxy", "502"), ("haproxy", &["--extra", "retries 0"][..], "nginx", "503")]
    {
        let peer = start_peer();
        let between = front(between, peer.port(), &[]);
        let front = front(server, between.port(), more);
        let mut hub = hub(&peer, &format!("{}/as2", front.text("url")));
        hub.gateway.stop();
        let document = hub.gateway.directory().join("definitions/hub.toml");
        let text = fs::read_to_string(&document).unwrap();
        assert!(text.contains("attempts = 6,"));
        fs::write(document, text.replace("attempts = 6,", "attempts = 60,")).unwrap();
        between.command("kill", &[]);
        hub.gateway.start();
        hub.put("order.bin", b"an order");
        suites::eventually("an attempt has failed", PATIENCE, || {
            (!hub.events("delivery.retrying").is_empty()).then_some(())
        });
        between.command("restart", &[]);
        let way = hub.ended("order.bin");
        assert_eq!(way["state"], "completed", "{way}");
        let attempts = attempts(&way);
        assert!(attempts.len() >= 2, "{way}");
        assert!(attempts[0]["error"].as_str().unwrap().contains(status), "{way}");
        assert_eq!(received(&peer).len(), 1);
    }
}

#[test]
fn after_a_proxy_waited_too_long_the_message_goes_again_and_gets_the_first_ones_receipt() {
    for (server, more) in
        [("nginx", ["--extra", "proxy_read_timeout 1s;"]), ("haproxy", ["--extra", "timeout server 1s"])]
    {
        let peer = start_peer();
        let front = front(server, peer.port(), &more);
        let hub = hub(&peer, &format!("{}/as2", front.text("url")));
        tell(&peer, &json!({ "delay": 3, "times": 1 }));
        hub.put("order.bin", b"an order");
        let way = hub.ended("order.bin");
        assert_eq!(way["state"], "completed", "{way}");
        assert!(attempts(&way)[0]["error"].as_str().unwrap().contains("504"), "{way}");
        let seen = received(&peer);
        assert!(seen.len() >= 2, "{seen:?}");
        assert_eq!(seen[0]["message_id"], seen[1]["message_id"]);
        assert_eq!(seen[0]["raw_sha256"], seen[1]["raw_sha256"]);
        assert_eq!(seen[1]["answer"], "stored mdn", "{}", seen[1]);
    }
}
