//! Two nodes on one PostgreSQL and one staging area: one is killed, one is stopped past its lease and
//! goes on, one is cut from the database. Nothing is lost, and nothing is delivered twice.

use crate::books::Books;
use crate::kills::flow;
use crate::random;
use crate::traffic::{Route, Traffic};
use crate::victim::tail;
use std::net::SocketAddr;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, fresh_database};
use tempfile::TempDir;
use testkit::proxy::{Behaviour, FaultProxy};

/// The lease of the harness, and what its end takes to be noticed.
const PAST_THE_LEASE: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(30);

struct Pair {
    root: TempDir,
    url: String,
    one: Gateway,
    two: Gateway,
}

impl Pair {
    /// Two nodes with the same definitions; the first one reaches the database at `first_url`.
    fn new(url: String, first_url: &str) -> (Self, Traffic) {
        let root = tempfile::tempdir().unwrap();
        let fast = Route::make(root.path(), "fast", 256 << 10, 30);
        let lane = Route::make(root.path(), "lane", 32 << 10, 10);
        let definitions = format!("{}{}", flow(&fast, ""), flow(&lane, "ordered = true"));
        let node = |name, url| {
            let node = GatewayBuilder::new(root.path(), name)
                .database(Some(url))
                .staging(&root.path().join("staging"))
                .variable("NO_COLOR", "1")
                .settings("[audit]\nseal_every = \"2s\"")
                .build();
            node.define("flows.toml", &definitions);
            node
        };
        let (mut one, mut two) = (node("one", first_url), node("two", &url));
        one.start();
        two.start();
        let traffic = Traffic::begin(root.path(), vec![fast, lane]);
        (Self { root, url, one, two }, traffic)
    }

    fn log(&self) -> String {
        format!("{}\n{}", tail(&self.one), tail(&self.two))
    }

    /// Everything came once and in order, and the books say so.
    fn check(mut self, traffic: &Traffic, what: &str) {
        traffic.settle(Duration::from_secs(60), &|| self.log());
        traffic.assert_in_order("lane", &|| self.log());
        assert!(self.one.stop().success() && self.two.stop().success(), "{}", self.log());
        let books = Books { gateway: &self.two, url: Some(&self.url) };
        let (files, _) = traffic.counts();
        books.assert_complete(files, &traffic.account());
        books.assert_connections_closed();
        let trust = self.trusted();
        let mut verify = vec!["audit", "verify"];
        trust.iter().for_each(|key| verify.extend(["--trust", key]));
        let report = self.two.json(&verify);
        assert_eq!(report["holds"], serde_json::Value::Bool(true), "{report}\n{}", self.log());
        println!(
            "{what}: {files} files once and whole, attempts by node {:?}, audit {report}",
            books.ask(
                "select node, coalesce(outcome, 'none'), count(*) from attempts group by 1, 2 order by 1, 2"
            ),
        );
    }

    /// The other node's public seal keys.
    fn trusted(&self) -> Vec<String> {
        let key = std::fs::read(self.one.directory().join("state/seal.key")).unwrap();
        let public = self.root.path().join("one.pub");
        let key = openssl::pkey::PKey::private_key_from_pem(&key).unwrap();
        std::fs::write(&public, key.public_key_to_pem().unwrap()).unwrap();
        vec![public.to_str().unwrap().to_owned()]
    }
}

#[test]
fn one_of_two_nodes_is_killed() {
    let url = fresh_database("nodes");
    let (mut pair, traffic) = Pair::new(url.clone(), &url);
    for round in 0..crate::kills(4) {
        traffic.flows(10, PATIENCE, &|| pair.log());
        std::thread::sleep(Duration::from_millis(random(1500)));
        let victim = if round % 2 == 0 { &mut pair.one } else { &mut pair.two };
        victim.kill();
        if round < 2 {
            // Nobody restarts it: the other one takes over when the lease has lapsed, whatever was claimed.
            std::thread::sleep(PAST_THE_LEASE);
            traffic.flows(40, PATIENCE, &|| pair.log());
        }
        let victim = if round % 2 == 0 { &mut pair.one } else { &mut pair.two };
        victim.start();
    }
    pair.check(&traffic, "killed");
}

#[test]
fn one_of_two_nodes_is_stopped_past_its_lease_and_goes_on() {
    let url = fresh_database("nodes");
    let (pair, traffic) = Pair::new(url.clone(), &url);
    for round in 0..if crate::long() { 20 } else { 4 } {
        traffic.flows(10, PATIENCE, &|| pair.log());
        std::thread::sleep(Duration::from_millis(random(1500)));
        let victim = if round % 2 == 0 { &pair.one } else { &pair.two };
        victim.signal("STOP");
        std::thread::sleep(PAST_THE_LEASE);
        traffic.flows(40, PATIENCE, &|| pair.log());
        victim.signal("CONT");
    }
    pair.check(&traffic, "stopped");
}

#[test]
fn one_of_two_nodes_is_cut_from_the_database() {
    let url = fresh_database("nodes");
    let (server, rest) = address(&url);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxy = runtime.block_on(FaultProxy::before(server)).unwrap();
    let through = format!("postgres://waybill@{}/{rest}", proxy.address());
    let (pair, traffic) = Pair::new(url, &through);
    for round in 0..if crate::long() { 20 } else { 3 } {
        traffic.flows(10, PATIENCE, &|| pair.log());
        std::thread::sleep(Duration::from_millis(random(1500)));
        let how = if round % 2 == 0 { Behaviour::BlackHole } else { Behaviour::HalfOpen };
        runtime.block_on(proxy.set(how)).unwrap();
        std::thread::sleep(PAST_THE_LEASE);
        traffic.flows(40, PATIENCE, &|| pair.log());
        runtime.block_on(proxy.set(Behaviour::Pass)).unwrap();
    }
    pair.check(&traffic, "cut");
}

/// The address in a database's URL, and the database's name.
pub fn address(url: &str) -> (SocketAddr, String) {
    let rest = url.split_once('@').unwrap().1;
    let (address, name) = rest.split_once('/').unwrap();
    (address.parse().unwrap(), name.to_owned())
}
