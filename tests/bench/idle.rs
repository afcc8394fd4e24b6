//! Start to ready, and resident memory at rest, with many flows; and what it costs to follow a revision that changes one
//! of them.

use crate::measure::{RUNS, median, processor_time, status_kib};
use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database, query};

const FLOWS: usize = 1000;

pub(crate) fn run() {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let place = tempfile::tempdir().unwrap();
        let mut gateway = GatewayBuilder::new(place.path(), "many").build();
        gateway.define("flows.toml", &flows(place.path()));
        let begun = Instant::now();
        gateway.start();
        starts.push(begun.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_secs(10));
        memory.push(status_kib(gateway.pid(), "VmRSS").unwrap() as f64 / 1024.0);
    }
    println!("| {FLOWS} flows | |\n|---|---|");
    println!(
        "| start to ready | {:.2} s |\n| resident memory at rest | {:.0} MiB |",
        median(starts),
        median(memory)
    );
    follow();
}

/// Time between two polls of each flow while a revision is followed.
const EVERY: Duration = Duration::from_secs(60);
/// How long is measured from a revision on, and as long without one.
const SPAN: Duration = Duration::from_secs(4);

/// A revision that changes one of many flows, on two nodes of one PostgreSQL.
fn follow() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let database = fresh_database("bench_follow");
    let mut nodes = ["n1", "n2"].map(|name| {
        GatewayBuilder::new(root, name).database(Some(&database)).staging(&root.join("staging")).build()
    });
    for node in &mut nodes {
        node.start();
    }
    let directory = root.join("definitions");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("flows.toml"), flows(root)).unwrap();
    let change = |round: usize| {
        // A file of its own: what is measured is what the nodes do.
        let text = format!(
            "[endpoint.changing]\ntransport = \"file\"\nurl = \"file://{0}/in-changing\"\n[flow.changing]\ntitle = \"{round}\"\n\
             source = {{ endpoint = \"changing\", every = \"60s\", after = \"delete\", error_directory = \"{0}/bad\" }}\n\
             [[flow.changing.destination]]\nendpoint = \"out-0\"\n",
            root.display()
        );
        std::fs::write(directory.join("changing.toml"), text).unwrap();
        apply(&nodes[0], &directory);
        round as i64 + 1
    };
    in_force(&database, change(0));
    // Until each flow was polled once, and the nodes are at rest.
    std::thread::sleep(EVERY / 2);
    let (mut until, mut used) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    let mut rounds = 1..;
    for round in rounds.by_ref().take(RUNS) {
        let at_rest = spent_in(&nodes, SPAN, || {});
        let mut revision = 0;
        let following = spent_in(&nodes, SPAN, || revision = change(round));
        for (node, seconds) in in_force(&database, revision).into_iter().enumerate() {
            until[node].push(seconds);
            used[node].push((following[node].saturating_sub(at_rest[node])).as_secs_f64() * 1000.0);
        }
    }
    // Each of the others has a file to take when the revision comes: its poll takes it in its own time.
    for number in 0..FLOWS {
        std::fs::write(root.join(format!("in-{number}/order")), "an order").unwrap();
    }
    let begun = Instant::now();
    change(rounds.next().unwrap());
    // A poll that was put off comes within another interval.
    let (mut in_time, mut taken) = (0, 0);
    while begun.elapsed() < EVERY * 3 && taken < FLOWS {
        std::thread::sleep(Duration::from_secs(1));
        taken = (0..FLOWS).filter(|number| !root.join(format!("in-{number}/order")).exists()).count();
        if begun.elapsed() < EVERY + Duration::from_secs(3) {
            in_time = taken;
        }
    }
    println!("\n| a revision that changes one of {FLOWS} flows, 2 nodes | n1 | n2 |\n|---|---|---|");
    let [first, second] = until.map(median);
    println!("| until it is in force | {first:.2} s | {second:.2} s |");
    let [first, second] = used.map(median);
    println!("| processor time for it | {first:.0} ms | {second:.0} ms |");
    println!("| polls of the others that did not come in time | {} of {FLOWS} | |", FLOWS - in_time);
}

fn apply(gateway: &Gateway, directory: &Path) {
    let config = gateway.config();
    let (status, out, error) =
        suites::run(&["--config", config.to_str().unwrap(), "apply", directory.to_str().unwrap()]);
    assert!(status.success(), "{out} {error}");
}

/// Processor time that each node uses in a span that begins with an act.
fn spent_in(nodes: &[Gateway; 2], span: Duration, act: impl FnOnce()) -> [Duration; 2] {
    let now = || [0, 1].map(|node| processor_time(nodes[node].pid()));
    let before = now();
    let begun = Instant::now();
    act();
    std::thread::sleep(span.saturating_sub(begun.elapsed()));
    let after = now();
    [0, 1].map(|node| after[node].saturating_sub(before[node]))
}

/// Waits until a revision is in force on both nodes: seconds from its making, by the nodes' own clock.
fn in_force(database: &str, revision: i64) -> Vec<f64> {
    eventually("the revision in force on both nodes", Duration::from_secs(60), || {
        let found = query(
            database,
            &format!(
                "SELECT extract(epoch FROM n.since_at - r.applied_at) FROM node_revisions n \
                 JOIN revisions r ON r.number = n.revision WHERE n.revision = {revision} ORDER BY n.node"
            ),
        );
        (found.len() == 2).then(|| found.iter().map(|seconds| seconds.parse().unwrap()).collect())
    })
}

fn flows(root: &Path) -> String {
    let mut text = String::new();
    for number in 0..FLOWS {
        for side in ["in", "out"] {
            let directory = root.join(format!("{side}-{number}"));
            std::fs::create_dir_all(&directory).unwrap();
            writeln!(
                text,
                "[endpoint.{side}-{number}]\ntransport = \"file\"\nurl = \"file://{}\"",
                directory.display()
            )
            .unwrap();
        }
        let errors = root.join(format!("errors-{number}"));
        writeln!(
            text,
            "[flow.f-{number}]\nsource = {{ endpoint = \"in-{number}\", every = \"60s\", stable_for = \"0s\", after = \"delete\", error_directory = \"{}\" }}\n\
             [[flow.f-{number}.destination]]\nendpoint = \"out-{number}\"",
            errors.display()
        )
        .unwrap();
    }
    text
}
