//! Measuring processes.

use std::process::Child;
use std::time::{Duration, Instant};

/// How often a measurement is repeated.
pub(crate) const RUNS: usize = 5;

/// The middle of several.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The number in an environment variable, or the usual one.
pub(crate) fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
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

/// What a piece of work took.
pub(crate) struct Used {
    /// From its beginning to its end.
    pub(crate) took: Duration,
    /// Processor time of the process, in all its threads.
    pub(crate) processor: Duration,
    /// Peak of the process's resident memory, in MiB.
    pub(crate) memory: f64,
}

/// A process at work.
pub(crate) struct Work {
    pid: u32,
    processor: Duration,
    begun: Instant,
}

impl Work {
    /// Begins now.
    pub(crate) fn begin(pid: u32) -> Self {
        Self { pid, processor: processor_time(pid), begun: Instant::now() }
    }

    /// Ends now.
    pub(crate) fn end(self) -> Used {
        let (took, now) = (self.begun.elapsed(), processor_time(self.pid));
        let memory = status_kib(self.pid, "VmHWM").unwrap() as f64 / 1024.0;
        Used { took, processor: now.saturating_sub(self.processor), memory }
    }
}

/// Waits for a child that was just started, and has to succeed.
pub(crate) fn watch(mut child: Child) -> Used {
    let begun = Instant::now();
    let (mut peak, mut processor) = (0, Duration::ZERO);
    loop {
        // Both are lost with the child: they are those of a few milliseconds before its end.
        peak = status_kib(child.id(), "VmHWM").unwrap_or(0).max(peak);
        processor = processor_time(child.id()).max(processor);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "the child failed: {status}");
            return Used { took: begun.elapsed(), processor, memory: peak as f64 / 1024.0 };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
