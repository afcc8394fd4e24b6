//! Two nodes on one PostgreSQL and one staging area: one is killed, one is stopped past its lease and
//! goes on, one is cut from the database. Nothing is lost, and nothing is delivered twice.

use crate::books::Books;
use crate::kills::flow;
use crate::random;
use crate::traffic::{Route, Traffic};
use crate::victim::tail;
use std::net::SocketAddr;
use std::time::Duration;
use suites::{Gateway, GatewayBuilder, eventually, fresh_database};
use tempfile::TempDir;
use testkit::proxy::{Behaviour, FaultProxy};

/// The lease of the harness, and what its end takes to be noticed.
const PAST_THE_LEASE: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(30);

struct Pair {
    _root: TempDir,
    url: String,
    one: Gateway,
    two: Gateway,
}

impl Pair {
    /// Two nodes with the same definitions; each reaches the database at one of `urls`.
    fn new(url: String, urls: [&str; 2]) -> (Self, Traffic) {
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
        let (mut one, mut two) = (node("one", urls[0]), node("two", urls[1]));
        one.start();
        two.start();
        let traffic = Traffic::begin(root.path(), vec![fast, lane]);
        (Self { _root: root, url, one, two }, traffic)
    }

    fn log(&self) -> String {
        format!("{}\n{}", tail(&self.one), tail(&self.two))
    }

    /// Everything came once and in order, and the books say so.
    fn check(mut self, traffic: Traffic, what: &str) {
        traffic.settle(Duration::from_secs(60), &|| self.log());
        traffic.assert_in_order("lane", &|| self.log());
        Books { gateway: &self.two, url: Some(&self.url) }.wait_until_settled();
        assert!(self.one.stop().success() && self.two.stop().success(), "{}", self.log());
        let books = Books { gateway: &self.two, url: Some(&self.url) };
        let (files, _) = traffic.counts();
        books.assert_complete(files, &traffic.account());
        books.assert_connections_closed();
        // Each node has learned the other's key: nothing need be named.
        let report = self.two.json(&["audit", "verify", "--records"]);
        assert_eq!(report["holds"], serde_json::Value::Bool(true), "{report}\n{}", self.log());
        println!(
            "{what}: {files} files once and whole, attempts by node {:?}, audit {report}",
            books.ask(
                "select node, coalesce(outcome, 'none'), count(*) from attempts group by 1, 2 order by 1, 2"
            ),
        );
    }
}

#[test]
fn one_of_two_nodes_is_killed() {
    let url = fresh_database("nodes");
    let (mut pair, traffic) = Pair::new(url.clone(), [&url, &url]);
    for round in 0..if crate::long() { 20 } else { 4 } {
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
    pair.check(traffic, "killed");
}

#[test]
fn one_of_two_nodes_is_stopped_past_its_lease_and_goes_on() {
    let url = fresh_database("nodes");
    let (pair, traffic) = Pair::new(url.clone(), [&url, &url]);
    for round in 0..if crate::long() { 20 } else { 4 } {
        traffic.flows(10, PATIENCE, &|| pair.log());
        std::thread::sleep(Duration::from_millis(random(1500)));
        let victim = if round % 2 == 0 { &pair.one } else { &pair.two };
        victim.signal("STOP");
        std::thread::sleep(PAST_THE_LEASE);
        traffic.flows(40, PATIENCE, &|| pair.log());
        victim.signal("CONT");
    }
    pair.check(traffic, "stopped");
}

/// Where a node is stopped in the middle of work that another one is bound to take over: first the
/// points at which a late act would do most harm, which CI goes through.
const POINTS: [&str; 10] = [
    "record.before",
    "settle.before",
    "deliver.noted",
    "deliver.before_act",
    "deliver.sent",
    "stage.committed",
    "record.after",
    "settle.after",
    "deliver.claimed",
    "finish.before",
];

#[test]
fn a_node_that_was_stopped_in_the_middle_of_its_work_does_nothing_twice() {
    let url = fresh_database("nodes");
    let (mut pair, traffic) = Pair::new(url.clone(), [&url, &url]);
    let points = if crate::long() { &POINTS[..] } else { &POINTS[..5] };
    for (round, point) in points.iter().enumerate() {
        let other = if round % 2 == 0 { &mut pair.two } else { &mut pair.one };
        // Alone, so that the work is this node's.
        other.kill();
        let victim = if round % 2 == 0 { &mut pair.one } else { &mut pair.two };
        victim.kill();
        victim.set_variable("WAYBILL_STOP_AT", Some(&format!("{point}:{}", 1 + random(3))));
        victim.spawn();
        let pid = victim.pid();
        eventually(&format!("a stop at {point}"), PATIENCE, || is_stopped(pid).then_some(()));
        victim.set_variable("WAYBILL_STOP_AT", None);
        let other = if round % 2 == 0 { &mut pair.two } else { &mut pair.one };
        other.start();
        std::thread::sleep(PAST_THE_LEASE);
        traffic.flows(40, PATIENCE, &|| pair.log());
        let victim = if round % 2 == 0 { &pair.one } else { &pair.two };
        victim.signal("CONT");
        traffic.flows(40, PATIENCE, &|| pair.log());
    }
    pair.check(traffic, "stopped at points");
}

fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.starts_with('T')
}

#[test]
fn one_of_two_nodes_is_cut_from_the_database() {
    let url = fresh_database("nodes");
    let (server, rest) = address(&url);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let proxies = [(); 2].map(|()| runtime.block_on(FaultProxy::before(server)).unwrap());
    let through = [0, 1].map(|at: usize| format!("postgres://waybill@{}/{rest}", proxies[at].address()));
    let (pair, traffic) = Pair::new(url, [&through[0], &through[1]]);
    for round in 0..if crate::long() { 20 } else { 4 } {
        traffic.flows(10, PATIENCE, &|| pair.log());
        std::thread::sleep(Duration::from_millis(random(1500)));
        let how = if round < 2 { Behaviour::BlackHole } else { Behaviour::HalfOpen };
        runtime.block_on(proxies[round % 2].set(how)).unwrap();
        std::thread::sleep(PAST_THE_LEASE);
        traffic.flows(40, PATIENCE, &|| pair.log());
        runtime.block_on(proxies[round % 2].set(Behaviour::Pass)).unwrap();
    }
    pair.check(traffic, "cut");
}

/// The address in a database's URL, and the database's name.
pub fn address(url: &str) -> (SocketAddr, String) {
    let rest = url.split_once('@').unwrap().1;
    let (address, name) = rest.split_once('/').unwrap();
    (address.parse().unwrap(), name.to_owned())
}
