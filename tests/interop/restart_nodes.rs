//! A message that goes on at another node: two gateways on one PostgreSQL database and one staging area.

use crate::hub::{Hub, PATIENCE, random};
use crate::raw::Message;
use crate::restart_wire::{begin, held, is_processed, rest};
use std::fs;
use std::io::Read;
use std::net::TcpStream;
use suites::{Gateway, GatewayBuilder, KeyPair, eventually, fresh_database, query};

/// Two nodes with the same definitions; the first one is the hub's.
struct Nodes {
    hub: Hub,
    two: Gateway,
    url: String,
}

impl Nodes {
    fn start() -> Self {
        let root = tempfile::Builder::new().prefix("waybill-interop-").tempdir().unwrap();
        let keys = root.path().join("keys");
        let (own, peer) = (KeyPair::make(&keys, "waybill"), KeyPair::make(&keys, "peer"));
        for folder in ["out", "in", "errors"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let url = fresh_database("restart_nodes");
        let node = |name| {
            let node = GatewayBuilder::new(root.path(), name).database(Some(&url));
            node.staging(&root.path().join("staging")).settings("[audit]\nseal_every = \"1s\"").build()
        };
        let (one, two) = (node("one"), node("two"));
        let (peer_key, peer_certificate) = (peer.key, peer.certificate);
        let hub = Hub { gateway: one, root, own, peer_key, peer_certificate };
        hub.define("http://127.0.0.1:9/as2", "receive.restart.smallest = 0");
        let text = fs::read_to_string(hub.gateway.directory().join("definitions/hub.toml")).unwrap();
        two.define("hub.toml", &text);
        let mut nodes = Self { hub, two, url };
        nodes.hub.gateway.start();
        nodes.two.start();
        nodes
    }

    /// Bytes that are on record of messages that have arrived in part.
    fn recorded(&self) -> u64 {
        let sql = "select cast(coalesce(sum(durable), 0) as bigint) from partial_messages";
        query(&self.url, sql).first().map_or(0, |row| row.parse().unwrap())
    }

    /// Sends some of a message to the first node, over a connection that then hangs, until enough to go on with is on record.
    fn hangs(&self, message: &Message) -> TcpStream {
        let stream = begin(self.hub.gateway.http, message, 0, message.body.len() / 4 * 3);
        eventually("1 MiB of it is on record", PATIENCE, || (self.recorded() >= 1 << 20).then_some(()));
        stream
    }

    /// The rest goes to the second node, and the file arrives once.
    fn goes_on_at_two(&self, message: &Message, name: &str, payload: &[u8]) {
        let is = held(self.two.http);
        assert!(is > 0 && is <= (message.body.len() / 4 * 3) as u64, "{is}");
        is_processed(&rest(message, is).post(self.two.http).unwrap());
        assert!(self.hub.wait_for_file(name) == payload, "it came with other bytes");
        assert_eq!(self.hub.transfers(), 1);
        // Whichever node is asked, it was answered.
        let total = message.body.len() as u64;
        assert_eq!((held(self.two.http), held(self.two.http)), (total, total));
    }
}

#[test]
fn a_message_that_broke_off_at_one_node_goes_on_at_the_other() {
    let nodes = Nodes::start();
    let payload = random(2 << 20);
    let message = nodes.hub.good("broken.bin", &payload);
    drop(nodes.hangs(&message));
    nodes.goes_on_at_two(&message, "broken.bin", &payload);
    assert_eq!(held(nodes.hub.gateway.http), message.body.len() as u64);
    // Its answer was lost, say: the first node gives the stored one.
    is_processed(&rest(&message, message.body.len() as u64 - 1).post(nodes.hub.gateway.http).unwrap());
    assert_eq!(nodes.hub.transfers(), 1);
}

#[test]
fn a_connection_that_hangs_at_one_node_is_given_up_when_the_other_takes_its_message_over() {
    let nodes = Nodes::start();
    let payload = random(2 << 20);
    let message = nodes.hub.good("hangs.bin", &payload);
    let mut hanging = nodes.hangs(&message);
    nodes.goes_on_at_two(&message, "hangs.bin", &payload);
    let mut said = Vec::new();
    drop(hanging.read_to_end(&mut said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn a_node_that_was_stopped_past_its_lease_adds_nothing_to_a_message_when_it_goes_on() {
    let nodes = Nodes::start();
    let payload = random(2 << 20);
    let message = nodes.hub.good("stopped.bin", &payload);
    let mut hanging = nodes.hangs(&message);
    nodes.hub.gateway.signal("STOP");
    // The rest waits at the second node until the lease of the first one has ended.
    let is = held(nodes.two.http);
    let answer = rest(&message, is).post(nodes.two.http).unwrap();
    nodes.hub.gateway.signal("CONT");
    is_processed(&answer);
    drop(std::io::Write::write_all(&mut hanging, &message.body[message.body.len() / 4 * 3..]));
    let mut said = Vec::new();
    drop(hanging.read_to_end(&mut said));
    assert!(!String::from_utf8_lossy(&said).contains("; processed"), "{}", String::from_utf8_lossy(&said));
    assert!(nodes.hub.wait_for_file("stopped.bin") == payload, "it came with other bytes");
    assert_eq!(nodes.hub.transfers(), 1);
    assert_eq!(held(nodes.two.http), message.body.len() as u64);
}
