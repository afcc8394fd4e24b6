//! Waiting for what will be so, and free ports.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Waits until `check` gives a value; fails the test with `what` after `patience`.
pub fn eventually<T>(what: &str, patience: Duration, check: impl FnMut() -> Option<T>) -> T {
    within(patience, check).unwrap_or_else(|| panic!("waited {patience:?} in vain for: {what}"))
}

/// Waits until `check` gives a value; `None` after `patience`, for tests that then look at what there is instead.
pub fn within<T>(patience: Duration, mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(value) = check() {
            return Some(value);
        }
        if begun.elapsed() >= patience {
            return None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A port on loopback that is free and stays so: below those that the system gives to outgoing
/// connections, where one of them could take it before the gateway is started.
pub fn free_port() -> u16 {
    static TRIED: AtomicU32 = AtomicU32::new(0);
    // Test processes begin at different places, so that two of them seldom try the same port.
    let begin = std::process::id().wrapping_mul(7919);
    loop {
        let offset = begin.wrapping_add(TRIED.fetch_add(1, Ordering::Relaxed)) % 15_000;
        let port = u16::try_from(12_000 + offset).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
