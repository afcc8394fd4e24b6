//! Certificates that end soon: an event once over all nodes, a row on each node's overview until one replaces it.

use serde_json::Value;
use std::path::Path;
use suites::pair::PATIENCE;
use suites::{Gateway, GatewayBuilder, KeyPair, eventually, fresh_database};

fn events(node: &Gateway, kind: &str) -> Vec<Value> {
    node.json(&["audit", "search", "--kind", kind]).as_array().unwrap().clone()
}

fn key(root: &Path, name: &str) -> String {
    let keys = root.join("keys");
    format!(
        "[key.{name}]\nprivate_key = \"${{file:{keys}/{name}.key.pem}}\"\ncertificate = \"${{file:{keys}/{name}.cert.pem}}\"\n",
        keys = keys.display()
    )
}

/// Acme's keys as given, Globex' certificate, and one that nobody uses.
fn define(nodes: &[Gateway], root: &Path, keys: &[&str], list: &str) {
    let made: String = keys.iter().map(|name| key(root, name)).collect();
    let globex = root.join("keys/globex.cert.pem");
    let spare = root.join("keys/spare.cert.pem");
    let text = format!(
        "{made}[identity.acme.as2]\nid = \"ACME\"\nkeys = [{list}]\n[partner.globex.as2]\nid = \"GLOBEX\"\ncertificates = [\"globex\"]\n\
         [certificate.globex]\npem = \"${{file:{}}}\"\n[certificate.spare]\npem = \"${{file:{}}}\"\n\
         [partner.initech.as2]\nid = \"INITECH\"\ncertificates = [\"initech\"]\n[certificate.initech]\npem = \"${{file:{}}}\"\n",
        globex.display(),
        spare.display(),
        root.join("keys/initech.cert.pem").display()
    );
    nodes.iter().for_each(|node| node.define("parties.toml", &text));
}

fn ends_are_told(database: Option<&str>, count: usize) {
    let root = tempfile::Builder::new().prefix("waybill-e2e-").tempdir().unwrap();
    let place = root.path();
    for (name, from, until) in [
        ("acme-2026", -300, 5),
        ("acme-2027", -1, 500),
        ("globex", -300, 45),
        ("spare", -300, 3),
        ("initech", -300, -2),
    ] {
        KeyPair::make_valid(&place.join("keys"), name, from, until);
    }
    let mut nodes: Vec<Gateway> = (0..count)
        .map(|number| {
            let node = GatewayBuilder::new(place, &format!("n{number}")).database(database);
            let mut node = node.staging(&place.join("staging")).build();
            node.serve_with(&["--origin", "shared"]);
            node
        })
        .collect();
    define(&nodes, place, &["acme-2026", "acme-2027"], "\"acme-2026\"");
    nodes.iter_mut().for_each(Gateway::start);
    // The link of the node that started last is the one that counts.
    let session = nodes[count - 1].first_login();
    // Its cookie's name has the port of the console that gave it.
    let (_, token) = session.split_once('=').unwrap();
    let overview = |node: &Gateway| node.page("/", &format!("waybill_session_{}={token}", node.console));
    let shown = |node: &Gateway, words: &str| {
        eventually(&format!("the overview says {words}"), PATIENCE, || {
            overview(node).contains(words).then_some(())
        });
    };
    for node in &nodes {
        shown(node, "The certificate key.acme-2026 ends in 4 days");
        shown(node, "The certificate certificate.globex ends in 44 days");
        assert!(!overview(node).contains("certificate.spare"), "nobody uses it");
    }
    // Each node has looked at them by now, and after a start anew looks again.
    assert!(nodes[0].stop().success());
    nodes[0].start();
    shown(&nodes[0], "The certificate key.acme-2026 ends in 4 days");
    let told = events(&nodes[0], "certificate.expires");
    let mut found: Vec<(String, i64)> = told
        .iter()
        .map(|event| {
            let detail = &event["detail"];
            assert_eq!(event["severity"], "warning", "{event}");
            (detail["certificate"].as_str().unwrap().to_owned(), detail["threshold_days"].as_i64().unwrap())
        })
        .collect();
    found.sort();
    assert_eq!(found, [("certificate.globex".to_owned(), 60), ("key.acme-2026".to_owned(), 7)], "{told:#?}");
    assert!(told.iter().any(|event| event["detail"]["used_by"] == "identity.acme (as2.keys)"), "{told:#?}");
    let ended = events(&nodes[0], "certificate.expired");
    assert_eq!(ended.len(), 1, "{ended:#?}");
    assert_eq!(ended[0]["detail"]["certificate"], "certificate.initech", "{ended:#?}");

    // The next key is named beside it: nothing is left to do.
    define(&nodes, place, &["acme-2026", "acme-2027"], "\"acme-2026\", \"acme-2027\"");
    nodes[0].signal("HUP");
    for node in &nodes {
        eventually("the row of a replaced key goes", PATIENCE, || {
            let page = overview(node);
            (!page.contains("key.acme-2026") && page.contains("certificate.globex ends in")).then_some(())
        });
    }
    assert_eq!(events(&nodes[0], "certificate.expires").len(), 2);
}

#[test]
fn the_ends_of_certificates_are_told_on_sqlite() {
    ends_are_told(None, 1);
}

#[test]
fn two_nodes_tell_the_ends_of_certificates_once() {
    ends_are_told(Some(&fresh_database("ends")), 2);
}
