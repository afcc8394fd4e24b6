//! File to file, one gateway, killed at every step of a transfer's way and at random moments.
//!
//! Two flows: one as fast as it goes, one ordered and with a step. The second one's files must also appear in order.

use crate::Database;
use crate::books::Books;
use crate::traffic::{Route, Traffic};
use crate::victim::{Death, plan, start_and_die, tail};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::{Gateway, GatewayBuilder};

/// Every point that a file passes between two folders.
pub const POINTS: [&str; 15] = [
    "stage.begin",
    "stage.copied",
    "stage.committed",
    "record.before",
    "record.after",
    "settle.before",
    "settle.after",
    "deliver.claimed",
    "deliver.noting",
    "deliver.noted",
    "deliver.before_act",
    "deliver.sent",
    "finish.before",
    "finish.after",
    "retain.marked",
];

#[test]
fn kills_on_sqlite() {
    run(Database::Sqlite);
}

#[test]
fn kills_on_postgres() {
    run(Database::Postgres);
}

/// A flow between the folders of a route.
pub fn flow(route: &Route, more: &str) -> String {
    let Route { name, into, out, .. } = route;
    let (into, out) = (into.display(), out.display());
    format!(
        r#"
[endpoint.{name}-in]
transport = "file"
url = "file://{into}"
[endpoint.{name}-out]
transport = "file"
url = "file://{out}"
[flow.{name}]
{more}
source = {{ endpoint = "{name}-in", mask = "*", every = "1s", stable_for = "0s", read_limit = 0, order = "arrival", after = "delete", error_directory = "{into}-bad" }}
[[flow.{name}.destination]]
endpoint = "{name}-out"
retry = {{ attempts = 1000, first = "1s", longest = "2s" }}
"#
    )
}

fn run(database: Database) {
    let root = tempfile::tempdir().unwrap();
    let url = database.url("kills");
    let fast = Route::make(root.path(), "fast", 1 << 20, 30);
    let lane = Route::make(root.path(), "lane", 32 << 10, 15);
    // Each byte into itself: what matters is that its files are staged once more, and keep their order.
    let lane_options = r#"ordered = true
steps = [{ convert_charset = { from = "ISO-8859-1", to = "ISO-8859-1" } }]"#;
    let gateway =
        gateway(root.path(), url.as_deref(), &[(&fast, "retention = \"1s\""), (&lane, lane_options)]);
    let traffic = Traffic::begin(root.path(), vec![fast, lane]);
    Ordeal { database, url: url.as_deref(), points: &POINTS, kills: 20, ordered: Some("lane") }
        .undergo(gateway, traffic);
}

/// Kills of one gateway, and what must be true after them.
pub struct Ordeal<'a> {
    /// Where the gateway keeps its books.
    pub database: Database,
    /// That database, unless SQLite.
    pub url: Option<&'a str>,
    /// Each must have killed it once.
    pub points: &'a [&'static str],
    /// In CI; at least one for each point.
    pub kills: usize,
    /// The route whose files must appear in the order in which they were given.
    pub ordered: Option<&'a str>,
}

impl Ordeal<'_> {
    /// Kills the gateway again and again while files go through it; in the end each has arrived, once and whole.
    pub fn undergo(self, mut gateway: Gateway, traffic: Traffic) {
        let begun = Instant::now();
        let mut missed: BTreeSet<&str> = self.points.iter().copied().collect();
        let mut deaths = Vec::new();
        let mut die = |gateway: &mut Gateway, death| {
            let as_asked = start_and_die(gateway, death);
            if let (Death::At(point, _), true) = (death, as_asked) {
                missed.remove(point);
            }
            deaths.push((death, as_asked));
            missed.clone()
        };
        let mut left = BTreeSet::new();
        for death in plan(self.points, crate::kills(self.kills)) {
            left = die(&mut gateway, death);
        }
        // A point with a count may have been out of reach in the time it had. What is to be removed at a start must have
        // been delivered by a start before, which may have died early: the second round follows one that did not.
        for _ in 0..2 {
            for point in left.clone() {
                // And it must be past its retention by then.
                std::thread::sleep(Duration::from_millis(1500));
                left = die(&mut gateway, Death::At(point, 1));
            }
        }
        let log = |gateway: &Gateway| format!("{deaths:?}\n{}", tail(gateway));
        assert!(left.is_empty(), "never reached: {left:?}\n{}\n{}", traffic.account(), log(&gateway));
        let killing = begun.elapsed();

        gateway.start();
        traffic.settle(Duration::from_secs(60), &|| log(&gateway));
        if let Some(route) = self.ordered {
            traffic.assert_in_order(route, &|| log(&gateway));
        }
        Books { gateway: &gateway, url: self.url }.wait_until_settled();
        assert!(gateway.stop().success(), "{}", log(&gateway));
        let books = Books { gateway: &gateway, url: self.url };
        let (files, _) = traffic.counts();
        books.assert_complete(files, &traffic.account());
        books.assert_connections_closed();
        let report = books.assert_audit();
        println!(
            "{:?}: {} kills in {killing:?}, {} of them at a named point, {files} files once and whole, {} given \
             up claims taken again, audit {report}",
            self.database,
            deaths.len(),
            deaths.iter().filter(|(death, as_asked)| *as_asked && matches!(death, Death::At(..))).count(),
            books.count("select count(*) from attempts where outcome <> 'delivered'"),
        );
    }
}

/// A gateway with flows between folders.
pub fn gateway(root: &Path, url: Option<&str>, flows: &[(&Route, &str)]) -> Gateway {
    let gateway =
        GatewayBuilder::new(root, "gateway").database(url).settings("[audit]\nseal_every = \"2s\"").build();
    gateway.define("flows.toml", &flows.iter().map(|(route, more)| flow(route, more)).collect::<String>());
    gateway
}
