//! Named points at which a crash test kills or stops the process.
//!
//! `WAYBILL_CRASH_AT=record.before:3` kills the process, like a power failure, when it passes the point
//! `record.before` for the third time. `WAYBILL_STOP_AT=deliver.noted:1` stops it there (SIGSTOP), beyond its lease,
//! until the test continues it. Without the feature `crash-points` this does nothing.

/// Passes a named point.
#[cfg(not(feature = "crash-points"))]
pub const fn point(_name: &'static str) {}

/// Passes a named point; kills or stops the process there if the test requested it.
#[cfg(feature = "crash-points")]
pub fn point(name: &'static str) {
    use rustix::process::Signal;

    static CRASH: wanted::Wanted = wanted::Wanted::new();
    static STOP: wanted::Wanted = wanted::Wanted::new();

    if CRASH.is_here("WAYBILL_CRASH_AT", name) {
        // SIGKILL cannot be caught, so no destructor runs.
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
        loop {
            std::thread::park();
        }
    }
    if STOP.is_here("WAYBILL_STOP_AT", name) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
    }
}

#[cfg(feature = "crash-points")]
mod wanted {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A point that an environment variable names, and how often it was passed.
    pub(super) struct Wanted {
        point: OnceLock<Option<(String, u32)>>,
        passed: AtomicU32,
    }

    impl Wanted {
        pub(super) const fn new() -> Self {
            Self { point: OnceLock::new(), passed: AtomicU32::new(0) }
        }

        /// Whether this is the requested pass.
        pub(super) fn is_here(&self, variable: &str, name: &str) -> bool {
            let wanted = self.point.get_or_init(|| {
                let setting = std::env::var(variable).ok()?;
                let (point, count) = setting.split_once(':').unwrap_or((&setting, "1"));
                Some((point.to_owned(), count.parse().unwrap_or(1)))
            });
            matches!(wanted, Some((point, count))
                if point == name && self.passed.fetch_add(1, Ordering::SeqCst) + 1 == *count)
        }
    }
}
