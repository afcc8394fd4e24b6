//! Certificate Exchange Messaging (draft-meadors-certificate-exchange-14), against a peer written from the draft alone: what a
//! partner proposes, what we announce, and what nobody should send.

use crate::hub::{Hub, PATIENCE, received, tell};
use openssl::hash::MessageDigest;
use openssl::x509::X509;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use suites::{KeyPair, Server, eventually, repository};

/// A gateway and the peer, with a new key on each side.
struct Exchange {
    peer: Server,
    hub: Hub,
    own: KeyPair,
    theirs: KeyPair,
}

impl Exchange {
    fn new(agreement: &str) -> Self {
        let peer = Server::start("cem_peer", &[]);
        let hub = Hub::for_peer(&peer);
        let keys = hub.root.path().join("keys");
        let (own, theirs) = (KeyPair::make(&keys, "waybill-new"), KeyPair::make(&keys, "peer-new"));
        let newer = json!([theirs.key, theirs.certificate]);
        tell(&peer, &json!({ "partner_cert": hub.own.certificate, "newer": newer }));
        let mut found = Self { peer, hub, own, theirs };
        found.define("\"peer\"", agreement);
        found.hub.gateway.start();
        found
    }

    fn define(&mut self, certificates: &str, agreement: &str) {
        let text = format!(
            r#"[identity.waybill.as2]
id = "WAYBILL"
keys = ["waybill", {{ name = "waybill-new", from = "2099-01-01T00:00:00Z" }}]
[key.waybill]
private_key = "${{file:{root}/keys/waybill.key.pem}}"
certificate = "${{file:{root}/keys/waybill.cert.pem}}"
[key.waybill-new]
private_key = "${{file:{root}/keys/waybill-new.key.pem}}"
certificate = "${{file:{root}/keys/waybill-new.cert.pem}}"
[certificate.peer]
pem = "${{file:{root}/keys/peer.cert.pem}}"
[certificate.peer-new]
pem = "${{file:{root}/keys/peer-new.cert.pem}}"
[partner.peer.as2]
id = "PEER"
certificates = [{certificates}]
{agreement}
[endpoint.peer-as2]
transport = "as2"
partner = "peer"
identity = "waybill"
url = "{url}"
[endpoint.in]
transport = "file"
url = "file://{root}/in"
[listener.as2]
transport = "as2"
server = "partners"
[flow.incoming]
source = {{ listener = "as2", partner = "peer", mask = "*" }}
[[flow.incoming.destination]]
endpoint = "in"
"#,
            root = self.hub.root.path().display(),
            url = self.peer.text("url"),
        );
        self.hub.gateway.define("hub.toml", &text);
    }

    /// The peer proposes its new certificate; gives what it says of the receipt.
    fn propose(&self, request_id: &str, more: &[&str]) -> Value {
        self.propose_with(request_id, (&self.hub.peer_key, &self.hub.peer_certificate), more)
    }

    fn propose_with(&self, request_id: &str, (key, certificate): (&Path, &Path), more: &[&str]) -> Value {
        let output = Command::new(repository().join("tests/servers/cem_peer.sh"))
            .args(["request", "--to-url", &self.hub.url(), "--request-id", request_id, "--key"])
            .arg(key)
            .arg("--cert")
            .arg(certificate)
            .arg("--partner-cert")
            .arg(&self.hub.own.certificate)
            .arg("--new-cert")
            .arg(&self.theirs.certificate)
            .args(more)
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    fn listed(&self) -> Value {
        self.hub.gateway.json(&["cert", "proposals"])
    }

    /// Waits until the only proposal stands so.
    fn stands(&self, state: &str) -> Value {
        eventually(&format!("the proposal is {state}\n{}", self.hub.gateway.log()), PATIENCE, || {
            let proposal = self.listed()["proposals"][0].clone();
            (proposal["state"] == state).then_some(proposal)
        })
    }

    /// Waits for the peer to receive a document of this kind.
    fn arrived(&self, kind: &str) -> Value {
        eventually(&format!("the peer has {kind}\n{}", self.hub.gateway.log()), PATIENCE, || {
            received(&self.peer).into_iter().find(|line| line["kind"] == kind)
        })
    }

    /// Nothing of it went through a flow.
    fn made_no_transfer_of_a_flow(&self) {
        let found = self.hub.gateway.json(&["transfer", "list", "--limit", "1000"]);
        let flows: Vec<&Value> = found.as_array().unwrap().iter().map(|one| &one["flow"]).collect();
        assert!(flows.iter().all(|flow| **flow == json!("endpoint:peer-as2")), "{flows:?}");
        assert!(self.hub.inbox().is_empty(), "{:?}", self.hub.inbox());
    }
}

const PROCESSED: &str = "automatic-action/MDN-sent-automatically; processed";
const RESPONSE: &str = "EDIINTCertificateExchangeResponse";
const REQUEST: &str = "EDIINTCertificateExchangeRequest";

#[test]
fn a_proposal_waits_for_a_person_and_for_the_definitions() {
    let mut exchange = Exchange::new("");
    let until = "2099-01-01T00:00:00Z";
    let said = exchange.propose("r-1", &["--respond-by", until]);
    assert_eq!((&said["status"], &said["disposition"]), (&json!(200), &json!(PROCESSED)), "{said}");
    let proposal = exchange.stands("waiting");
    assert_eq!(proposal["certificates"][0]["fingerprint"], said["fingerprint"], "{proposal}");
    assert_eq!(proposal["certificates"][0]["usages"], json!(["digitalSignature", "keyEncipherment"]));
    assert_eq!((&proposal["signed_with"], &proposal["in_force"]), (&json!("peer"), &json!(false)));
    let event = exchange.hub.events("certificate.proposed").remove(0);
    assert_eq!((&event["partner"], &event["detail"]["fingerprint"]), (&json!("peer"), &said["fingerprint"]));
    // What is proposed is not used: the new key signs nothing that is accepted.
    let new = (exchange.theirs.key.clone(), exchange.theirs.certificate.clone());
    let refused = exchange.propose_with("r-2", (&new.0, &new.1), &[]);
    assert!(refused["disposition"].as_str().unwrap().ends_with("authentication-failed"), "{refused}");

    // The definitions come from a directory: they are not changed, and what to write there is said.
    let id = proposal["id"].as_str().unwrap();
    let accepted = exchange.hub.gateway.json(&["cert", "accept", id, "--reason", "compared by telephone"]);
    let to_write = accepted["to_write"].as_str().unwrap();
    assert!(to_write.contains("certificates = [\"peer\", { "), "{to_write}");
    assert!(to_write.contains("name = \"peer-new\""), "the certificate is defined already: {to_write}");
    assert_eq!(accepted["revision"], Value::Null);
    exchange.stands("agreed");
    assert!(received(&exchange.peer).is_empty(), "nothing is answered before it is in force");

    exchange.hub.gateway.stop();
    exchange.define("\"peer\", { name = \"peer-new\", from = \"2020-01-01T00:00:00Z\" }", "");
    exchange.hub.gateway.start();
    let answered = exchange.stands("accepted");
    assert!(answered["response"].is_string() && answered["in_force"] == true, "{answered}");
    let response = exchange.arrived(RESPONSE);
    assert_eq!((&response["request_id"], &response["name"]), (&json!("r-1"), &json!("WAYBILL")));
    assert_eq!(response["responses"][0]["status"], "Accepted");
    assert_eq!(response["responses"][0]["serial"], said["serial"]);
    assert!(response["features"].as_str().unwrap().contains("CEM"), "{response}");
    // Now the new key signs: by the rules of every certificate of the list.
    let by_new = exchange.propose_with("r-3", (&new.0, &new.1), &["--usage", "tlsClient"]);
    assert_eq!(by_new["disposition"], PROCESSED, "{by_new}");
    exchange.made_no_transfer_of_a_flow();
}

#[test]
fn a_rejection_reaches_the_partner_with_its_reason() {
    let exchange = Exchange::new("");
    exchange.propose("r-1", &[]);
    let id = exchange.stands("waiting")["id"].as_str().unwrap().to_owned();
    let reason = "the fingerprint is not the one that you told us <&>";
    exchange.hub.gateway.json(&["cert", "reject", &id, "--reason", reason]);
    let response = exchange.arrived(RESPONSE);
    assert_eq!(response["responses"][0]["status"], "Rejected");
    assert_eq!(response["responses"][0]["reason"], reason);
    exchange.stands("rejected");
    assert_eq!(exchange.hub.events("certificate.rejected").len(), 2, "decided, and answered");
    exchange.made_no_transfer_of_a_flow();
}

#[test]
fn a_policy_rejects_by_itself() {
    let exchange = Exchange::new("certificate_exchange = \"refuse\"");
    exchange.propose("r-1", &[]);
    assert_eq!(exchange.arrived(RESPONSE)["responses"][0]["status"], "Rejected");
    exchange.stands("rejected");
}

#[test]
fn a_policy_accepts_what_the_definitions_then_have() {
    let mut exchange = Exchange::new("certificate_exchange = \"accept\"");
    exchange.propose("r-1", &[]);
    exchange.stands("agreed");
    exchange.hub.gateway.stop();
    exchange.define(
        "\"peer\", { name = \"peer-new\", from = \"2099-01-01T00:00:00Z\" }",
        "certificate_exchange = \"accept\"",
    );
    exchange.hub.gateway.start();
    exchange.stands("accepted");
    assert_eq!(exchange.arrived(RESPONSE)["responses"][0]["status"], "Accepted");
}

#[test]
fn a_policy_accepts_nothing_that_an_old_certificate_signed() {
    let mut exchange = Exchange::new("");
    exchange.hub.gateway.stop();
    let other = KeyPair::make(&exchange.hub.root.path().join("keys"), "other");
    let agreement = format!(
        "certificate_exchange = \"accept\"\n[certificate.other]\npem = \"${{file:{}}}\"",
        other.certificate.display()
    );
    exchange.define("\"peer\", { name = \"other\", from = \"2020-01-01T00:00:00Z\" }", &agreement);
    exchange.hub.gateway.start();
    exchange.propose("r-1", &[]);
    let proposal = exchange.stands("waiting");
    assert_eq!(
        (&proposal["policy"], &proposal["signed_with"]),
        (&json!("ask"), &json!("peer")),
        "{proposal}"
    );
}

#[test]
fn what_nobody_should_send_proposes_nothing() {
    let exchange = Exchange::new("[partner.peer.as2.receive]\nsecurity = \"none\"");
    let foreign = KeyPair::make(&exchange.hub.root.path().join("keys"), "foreign");
    let eleven = ["--count", "11"];
    for (what, options) in [
        ("unsigned, though other messages need no signature", &["--unsigned"][..]),
        ("the name of another partner", &["--name", "OTHER"]),
        ("a document type with an entity", &["--doctype"]),
        ("a list that is too long", &eleven),
        ("the same certificate twice", &["--count", "2"]),
        ("another serial number", &["--serial", "99999999999999"]),
        ("a part that is not there", &["--content-id", "nowhere@cem-peer"]),
        ("a usage that does not exist", &["--usage", "everything"]),
        ("a date that is none", &["--respond-by", "soon"]),
    ] {
        let said = exchange.propose("r-bad", options);
        let disposition = said["disposition"].as_str().unwrap_or_default();
        assert!(disposition.contains("processed/error"), "{what}: {said}");
    }
    let said = exchange.propose_with("r-bad", (&foreign.key, &foreign.certificate), &[]);
    assert!(said["disposition"].as_str().unwrap().ends_with("authentication-failed"), "{said}");
    assert_eq!(exchange.listed()["proposals"], json!([]), "{}", exchange.listed());
    assert!(exchange.hub.events("message.refused").len() >= 10);

    // The same message twice is answered as before; the same request in a new message changes nothing.
    for message in ["<1@peer>", "<1@peer>", "<2@peer>"] {
        let said =
            exchange.propose("r-1", &["--message-id", message, "--originated", "2026-01-01T00:00:00+00:00"]);
        assert_eq!(said["disposition"], PROCESSED, "{message}: {said}");
    }
    assert_eq!(exchange.hub.events("certificate.ignored").len(), 1, "a repetition is answered as it was");
    let other = ["--message-id", "<1@peer>", "--usage", "tlsServer"];
    let said = exchange.propose("r-1", &other);
    assert!(said["disposition"].as_str().unwrap().contains("processed/error"), "{said}");
    // Nor does another one under its id.
    exchange.propose("r-1", &["--usage", "tlsServer"]);
    let listed = exchange.listed();
    assert_eq!(listed["proposals"].as_array().unwrap().len(), 1, "{listed}");
    let usages = &listed["proposals"][0]["certificates"][0]["usages"];
    assert_eq!(*usages, json!(["digitalSignature", "keyEncipherment"]));
    assert!(exchange.hub.events("certificate.ignored").len() >= 2);
    exchange.made_no_transfer_of_a_flow();
}

fn fingerprint(certificate: &Path) -> String {
    let certificate = X509::from_pem(&std::fs::read(certificate).unwrap()).unwrap();
    let digest = certificate.digest(MessageDigest::sha256()).unwrap();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Announces our new certificate, and waits until the partner has answered so.
fn announced(exchange: &Exchange, state: &str) -> Value {
    let url = exchange.hub.url();
    let arguments = ["cert", "announce", "waybill-new", "--partner", "peer", "--response-url", &url];
    let announced = exchange.hub.gateway.json(&arguments);
    assert_eq!((&announced["state"], &announced["key"]), (&json!("waiting"), &json!("waybill-new")));
    eventually(&format!("the announcement is {state}\n{}", exchange.hub.gateway.log()), PATIENCE, || {
        let found = exchange.listed()["announcements"][0].clone();
        (found["state"] == state).then_some(found)
    })
}

#[test]
fn our_new_certificate_is_announced_and_the_answer_shown() {
    let exchange = Exchange::new("");
    tell(&exchange.peer, &json!({ "answer": "Accepted" }));
    let found = announced(&exchange, "accepted");
    assert_eq!((&found["sent"], &found["reason"]), (&json!(1), &Value::Null), "{found}");
    let request = exchange.arrived(REQUEST);
    assert_eq!((&request["name"], &request["request_id"]), (&json!("WAYBILL"), &found["request_id"]));
    let asked = &request["requests"][0];
    assert_eq!((&asked["fingerprint"], &asked["serial"]), (&found["fingerprint"], &found["serial"]));
    assert_eq!(asked["fingerprint"], fingerprint(&exchange.own.certificate));
    assert_eq!(asked["usages"], json!(["digitalSignature", "keyEncipherment"]));
    assert_eq!(asked["response_url"], exchange.hub.url());
    let event = exchange.hub.events("certificate.answered").remove(0);
    assert_eq!((&event["partner"], &event["detail"]["answer"]), (&json!("peer"), &json!("accepted")));
    exchange.made_no_transfer_of_a_flow();
}

#[test]
fn a_partner_may_reject_our_certificate_and_answers_for_others_change_nothing() {
    let exchange = Exchange::new("");
    // An answer to no request of ours, for another certificate, and under another name.
    for wrong in
        [json!({ "request_id": "other" }), json!({ "serial": "99999999999999" }), json!({ "name": "OTHER" })]
    {
        let mut told = json!({ "answer": "Accepted", "request_id": null, "serial": null, "name": "PEER" });
        told.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
        tell(&exchange.peer, &told);
        let before = posted(&exchange);
        let url = exchange.hub.url();
        let arguments = ["cert", "announce", "waybill-new", "--partner", "peer", "--response-url", &url];
        exchange.hub.gateway.json(&arguments);
        eventually(&format!("the peer has answered {wrong}"), PATIENCE, || {
            (posted(&exchange) > before).then_some(())
        });
        assert_eq!(exchange.listed()["announcements"][0]["state"], "waiting", "{wrong}");
    }
    assert_eq!(exchange.hub.events("certificate.ignored").len(), 2);
    tell(
        &exchange.peer,
        &json!({ "answer": "Rejected", "reason": "too short", "request_id": null, "serial": null, "name": "PEER" }),
    );
    assert_eq!(announced(&exchange, "rejected")["reason"], "too short");
    exchange.made_no_transfer_of_a_flow();
}

fn posted(exchange: &Exchange) -> usize {
    received(&exchange.peer).iter().filter(|line| line["posted"] == true).count()
}
