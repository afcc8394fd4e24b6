//! Named points at which a crash test kills the process.
//!
//! `WAYBILL_CRASH_AT=record.before:3` kills the process, as a power switch would, when it passes the
//! point `record.before` for the third time. Without the feature `crash-points` there is nothing here.

/// Passes a named point.
#[cfg(not(feature = "crash-points"))]
pub(crate) const fn point(_name: &'static str) {}

/// Passes a named point; dies there when the test said so.
#[cfg(feature = "crash-points")]
pub(crate) fn point(name: &'static str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static PASSED: AtomicU32 = AtomicU32::new(0);

    let wanted = WANTED.get_or_init(|| {
        let setting = std::env::var("WAYBILL_CRASH_AT").ok()?;
        let (point, count) = setting.split_once(':').unwrap_or((&setting, "1"));
        Some((point.to_owned(), count.parse().unwrap_or(1)))
    });
    if let Some((point, count)) = wanted
        && point == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *count
    {
        // A kill that cannot be caught, so that no destructor tidies up.
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
