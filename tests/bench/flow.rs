//! The whole way of many small files: sshd → Acme → AS2 → Globex → directory.

use crate::pair::pair;
use crate::way;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use suites::{Gateway, eventually};

const BYTES: usize = 4096;

pub(crate) fn run() {
    let files: usize =
        std::env::var("WAYBILL_BENCH_FILES").ok().and_then(|text| text.parse().ok()).unwrap_or(2000);
    let runs = [("SQLite", one(files, false)), ("PostgreSQL", one(files, true))];
    println!("| {files} files of 4 KiB | SQLite | PostgreSQL |\n|---|---|---|");
    let row = |name: &str, value: &dyn Fn(&Run) -> String| {
        println!("| {name} | {} | {} |", value(&runs[0].1), value(&runs[1].1));
    };
    row("files/s", &|run| format!("{:.0}", files as f64 / run.arrived));
    row("all receipts recorded after", &|run| format!("{:.1} s", run.settled));
    let names = ["transactions a file, sender", "transactions a file, receiver", "log syncs a file, both"];
    for (at, name) in names.into_iter().enumerate() {
        row(name, &|run| run.database.map_or("syncs: see below".into(), |each| format!("{:.2}", each[at])));
    }
    for (at, name) in ["sender", "receiver", "sshd"].into_iter().enumerate() {
        row(&format!("processor time a file, {name}"), &|run| format!("{:.2} ms", run.processor[at]));
    }
    for (at, (name, _)) in runs[0].1.steps.iter().enumerate() {
        row(name, &|run| format!("{:.1} ms", run.steps[at].1));
    }
    syncs(files.min(500));
}

/// What one run showed.
struct Run {
    /// Seconds from the sender's start until all files were there.
    arrived: f64,
    /// Seconds from the sender's start until all receipts were recorded.
    settled: f64,
    /// Milliseconds a file: sender, receiver, sshd.
    processor: [f64; 3],
    /// PostgreSQL only, a file: transactions of the sender and of the receiver, and syncs of the server's log.
    database: Option<[f64; 3]>,
    steps: Vec<(&'static str, f64)>,
}

fn one(files: usize, postgres: bool) -> Run {
    let mut pair = pair(postgres);
    drop_files(&pair.folder(), files);
    pair.globex.start();
    let databases = [&pair.acme, &pair.globex].map(Gateway::database_url);
    let counted = || {
        postgres.then(|| {
            let [sender, receiver] = [way::commits(&databases[0]), way::commits(&databases[1])];
            [sender[0], receiver[0], receiver[1]]
        })
    };
    let counted_before = counted();
    let begun = Instant::now();
    pair.acme.start();
    let sshd = pair.sshd.pid();
    let used = || {
        let sshd = way::processor_ms_below(sshd);
        [way::processor_ms(pair.acme.pid()), way::processor_ms(pair.globex.pid()), sshd]
    };
    let before = used();
    let warehouse = pair.warehouse();
    eventually("all files are there", Duration::from_secs(300), || {
        (count(&warehouse) >= files).then_some(())
    });
    let arrived = begun.elapsed().as_secs_f64();
    let limit = files.to_string();
    eventually("all receipts are recorded", Duration::from_secs(300), || {
        let listed = pair.acme.json(&["transfer", "list", "--state", "completed", "--limit", &limit]);
        (listed.as_array().unwrap().len() >= files).then_some(())
    });
    let settled = begun.elapsed().as_secs_f64();
    let after = used();
    let each = |total: f64| total / files as f64;
    let database =
        counted().zip(counted_before).map(|(after, before)| [0, 1, 2].map(|at| each(after[at] - before[at])));
    let processor = [0, 1, 2].map(|at| each(after[at] - before[at]));
    Run { arrived, settled, processor, database, steps: way::steps(&pair, files) }
}

/// Syncs for each file on both sides, by what is synced; a run of its own, as tracing slows it.
fn syncs(files: usize) {
    let mut pair = pair(false);
    drop_files(&pair.folder(), files);
    pair.globex.start();
    let globex = trace(pair.globex.pid(), &pair.root.path().join("globex.trace"));
    pair.acme.spawn();
    let acme = trace(pair.acme.pid(), &pair.root.path().join("acme.trace"));
    let warehouse = pair.warehouse();
    eventually("all files are there", Duration::from_secs(600), || {
        (count(&warehouse) >= files).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3));
    println!("\n| syncs a file, SQLite ({files} files) | sender | receiver |\n|---|---|---|");
    let read = |mut tracer: Child, name: &str| {
        drop(Command::new("kill").arg(tracer.id().to_string()).status());
        drop(tracer.wait());
        by_kind(&std::fs::read_to_string(pair.root.path().join(name)).unwrap())
    };
    let (acme, globex) = (read(acme, "acme.trace"), read(globex, "globex.trace"));
    for kind in ["payload", "staging directory", "database commit", "destination", "journal", "other"] {
        let per_file = |counts: &BTreeMap<&str, usize>| *counts.get(kind).unwrap_or(&0) as f64 / files as f64;
        println!("| {kind} | {:.2} | {:.2} |", per_file(&acme), per_file(&globex));
    }
}

pub(crate) fn trace(pid: u32, out: &Path) -> Child {
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-qq", "-e", "trace=fsync,fdatasync", "-p", &pid.to_string(), "-o"]).arg(out);
    command.stderr(Stdio::null()).spawn().expect("strace is installed by the tests' set-up")
}

pub(crate) fn by_kind(trace: &str) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for line in trace.lines().filter(|line| line.contains("sync(")) {
        let kind = if line.contains("/partial/") {
            "payload"
        } else if line.contains("/payloads") {
            "staging directory"
        } else if line.contains("-wal>") || line.contains(".db>") {
            "database commit"
        } else if line.contains("/warehouse") {
            "destination"
        } else if line.contains("/journal/") {
            "journal"
        } else {
            "other"
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    counts
}

pub(crate) fn drop_files(folder: &Path, files: usize) {
    for number in 0..files {
        let mut bytes = vec![0; BYTES];
        openssl::rand::rand_bytes(&mut bytes).unwrap();
        std::fs::write(folder.join(format!("order-{number:05}.edi")), bytes).unwrap();
    }
}

pub(crate) fn count(directory: &Path) -> usize {
    let names = std::fs::read_dir(directory).unwrap().filter_map(Result::ok).map(|entry| entry.file_name());
    names.filter(|name| !name.to_string_lossy().starts_with('.')).count()
}
