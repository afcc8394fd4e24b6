//! Where a file's time goes: processor time of each process, commits, and how long each step of its way
//! took, as the waybills tell it.

use crate::measure::median;
use crate::pair::Pair;
use model::Timestamp;
use serde_json::Value;
use std::process::Command;
use suites::Gateway;

/// Waybills looked at, evenly spread over all.
const LOOKED_AT: usize = 100;

/// Processor time of a process and of its children that have ended, in milliseconds.
pub(crate) fn processor_ms(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name, in brackets, may hold spaces.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime, stime, cutime, cstime (proc(5): fields 14 to 17), in ticks of 10 ms.
    fields[11..15].iter().map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() * 10.0
}

/// The same of a process and of all below it: an sshd works in one process for each connection.
pub(crate) fn processor_ms_below(pid: u32) -> f64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below: f64 =
        children.split_whitespace().map(|child| processor_ms_below(child.parse().unwrap())).sum();
    processor_ms(pid) + below
}

/// Transactions of a PostgreSQL database so far, those that only read included, and syncs of its server's log.
pub(crate) fn commits(url: &str) -> [f64; 2] {
    // A server process tells its numbers up to a second late.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let query =
        "SELECT xact_commit, wal_sync FROM pg_stat_database, pg_stat_wal WHERE datname = current_database()";
    let output = Command::new("psql").args(["-XAtF,", "-c", query, url]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (commits, syncs) = text.trim().split_once(',').unwrap();
    [commits.parse().unwrap(), syncs.parse().unwrap()]
}

/// The steps of the files' way, with the median of what each took.
pub(crate) fn steps(pair: &Pair, files: usize) -> Vec<(&'static str, f64)> {
    let sender = Spans::read(&pair.acme, files);
    let receiver = Spans::read(&pair.globex, files);
    vec![
        ("sender: found → staged and recorded", sender.taking),
        ("sender: recorded → first attempt", sender.waiting),
        ("sender: attempt (AS2 there and its receipt back)", sender.attempt),
        ("receiver: recorded → first attempt", receiver.waiting),
        ("receiver: attempt (written to the directory)", receiver.attempt),
    ]
}

/// Medians in milliseconds.
struct Spans {
    taking: f64,
    waiting: f64,
    attempt: f64,
}

impl Spans {
    fn read(gateway: &Gateway, files: usize) -> Self {
        let limit = files.to_string();
        let listed = gateway.json(&["transfer", "list", "--limit", &limit]);
        let listed = listed.as_array().unwrap();
        let (mut taking, mut waiting, mut attempts) = (Vec::new(), Vec::new(), Vec::new());
        for row in listed.iter().step_by((listed.len() / LOOKED_AT).max(1)) {
            let shown = gateway.json(&["transfer", "show", row["id"].as_str().unwrap()]);
            let recorded = moment(&shown["recorded"]).unwrap();
            if let Some(found) = moment(&shown["source"]["found"]) {
                taking.push(recorded - found);
            }
            let attempt = &shown["deliveries"][0]["attempts"][0];
            let (Some(started), Some(ended)) = (moment(&attempt["started"]), moment(&attempt["ended"]))
            else {
                continue;
            };
            waiting.push(started - recorded);
            attempts.push(ended - started);
        }
        let middle = |spans: Vec<f64>| if spans.is_empty() { f64::NAN } else { median(spans) };
        Self { taking: middle(taking), waiting: middle(waiting), attempt: middle(attempts) }
    }
}

fn moment(value: &Value) -> Option<f64> {
    let at: Timestamp = value.as_str()?.parse().ok()?;
    Some(at.timestamp_micros() as f64 / 1000.0)
}
