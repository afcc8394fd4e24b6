//! From one directory of this machine to another, with all that is synced and recorded: files a second, and syncs and
//! transactions a file.
//!
//! `WAYBILL_BENCH_FILES` (10,000).

use crate::flow::{by_kind, count, drop_files, trace};
use crate::measure::processor_time;
use crate::way;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use suites::{Gateway, GatewayBuilder, eventually, fresh_database};

pub(crate) fn run() {
    let files: usize =
        std::env::var("WAYBILL_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(10_000);
    println!("| {files} files of 4 KiB, directory to directory | SQLite | PostgreSQL |\n|---|---|---|");
    let runs = [false, true].map(|postgres| one(files, postgres, false));
    println!("| files/s | {:.0} | {:.0} |", files as f64 / runs[0].seconds, files as f64 / runs[1].seconds);
    let processor = |run: &Run| run.processor.as_secs_f64() * 1000.0 / files as f64;
    println!("| processor time a file | {:.2} ms | {:.2} ms |", processor(&runs[0]), processor(&runs[1]));
    let transactions = runs[1].transactions.unwrap_or_default().map(|total| total / files as f64);
    println!("| transactions a file | syncs: below | {:.2} |", transactions[0]);
    println!("| syncs of the database's log a file | below | {:.2} |", transactions[1]);
    let files = files.min(1000);
    let traced = [false, true].map(|postgres| one(files, postgres, true));
    println!(
        "\n| syncs a file of the gateway ({files} files, traced) | SQLite | PostgreSQL |\n|---|---|---|"
    );
    for kind in ["payload", "staging directory", "database commit", "destination", "journal", "other"] {
        let per_file = |run: &Run| *run.syncs.get(kind).unwrap_or(&0) as f64 / files as f64;
        println!("| {kind} | {:.2} | {:.2} |", per_file(&traced[0]), per_file(&traced[1]));
    }
}

struct Run {
    seconds: f64,
    processor: Duration,
    /// PostgreSQL only: transactions, and syncs of its log.
    transactions: Option<[f64; 2]>,
    syncs: std::collections::BTreeMap<&'static str, usize>,
}

fn one(files: usize, postgres: bool, traced: bool) -> Run {
    let place = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "warehouse"].map(|name| place.path().join(name));
    std::fs::create_dir(&from).unwrap();
    std::fs::create_dir(&to).unwrap();
    drop_files(&from, files);
    let database = postgres.then(|| fresh_database("local"));
    let mut gateway = GatewayBuilder::new(place.path(), "gateway").database(database.as_deref()).build();
    gateway.define("flow.toml", &document(&from, &to));
    let counted = |gateway: &Gateway| postgres.then(|| way::commits(&gateway.database_url()));
    let before = counted(&gateway);
    let begun = Instant::now();
    gateway.spawn();
    let out = place.path().join("trace");
    let tracer: Option<Child> = traced.then(|| trace(gateway.pid(), &out));
    eventually("all files are there", Duration::from_secs(1800), || (count(&to) >= files).then_some(()));
    let seconds = begun.elapsed().as_secs_f64();
    let processor = processor_time(gateway.pid());
    // Receipts are recorded, and sources settled.
    std::thread::sleep(Duration::from_secs(3));
    let transactions =
        counted(&gateway).zip(before).map(|(after, before)| [0, 1].map(|at| after[at] - before[at]));
    let syncs = tracer.map(|mut tracer| {
        drop(Command::new("kill").arg(tracer.id().to_string()).status());
        drop(tracer.wait());
        by_kind(&std::fs::read_to_string(&out).unwrap())
    });
    Run { seconds, processor, transactions, syncs: syncs.unwrap_or_default() }
}

fn document(from: &Path, to: &Path) -> String {
    format!(
        "[endpoint.from]\ntransport = \"file\"\nurl = \"file://{}\"\n[endpoint.to]\ntransport = \"file\"\nurl = \"file://{}\"\n\
         [flow.copy]\nsource = {{ endpoint = \"from\", mask = \"*\", every = \"2s\", stable_for = \"0s\", read_limit = 0, after = \"delete\" }}\n\
         [[flow.copy.destination]]\nendpoint = \"to\"\n",
        from.display(),
        to.display()
    )
}
