//! Measuring child processes.

use std::process::Child;
use std::time::{Duration, Instant};

/// How often a measurement is repeated.
pub(crate) const RUNS: usize = 5;

/// The middle of several.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A value of `/proc/PID/status`, in KiB.
pub(crate) fn status_kib(pid: u32, key: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// The processor time that a process has used so far, in all its threads.
pub(crate) fn processor_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold spaces: utime and stime are the 14th and 15th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

/// Waits for a child: how long it took, and its peak of resident memory in MiB.
pub(crate) fn watch(mut child: Child) -> (Duration, f64) {
    let begun = Instant::now();
    let mut peak = 0;
    loop {
        peak = status_kib(child.id(), "VmHWM").unwrap_or(0).max(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child failed: {status}");
            return (begun.elapsed(), peak as f64 / 1024.0);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
