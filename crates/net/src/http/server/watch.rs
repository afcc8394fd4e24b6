//! The time limits for a client.

use super::exchange::Exchange;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// The state of a connection, for the task that checks its time limits.
#[derive(Default)]
pub(super) struct Activity {
    /// The number of requests whose answer is not written yet: 0 or 1.
    pub(super) under_way: AtomicUsize,
    /// Counts requests, so that a request that came and went between two checks is noticed.
    pub(super) served: AtomicUsize,
    pub(super) recorded: AtomicBool,
    /// Whether its request waits ([`super::Standby`]): 0, or more.
    pub(super) waiting: AtomicUsize,
}

/// What a client was late with.
pub(super) enum Late {
    Idle,
    Failed(&'static str),
}

impl Exchange {
    /// Resolves when the client is late.
    pub(super) async fn watch(&self) -> Late {
        let limits = &self.limits;
        let meter = self.handle.meter();
        let shortest =
            [limits.first_byte_timeout, limits.header_timeout, limits.idle_timeout, limits.write_timeout];
        let shortest = shortest.into_iter().min().unwrap_or_default();
        let tick = (shortest / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
        // A new connection must first send a head.
        let mut head_since = Some(Instant::now());
        let mut quiet_since = Instant::now();
        let mut heard = meter.bytes_in();
        let mut served = 0;
        let mut written = (meter.bytes_out(), Instant::now());
        // What came before (a PROXY header, the TLS handshake) does not count as sent by the client.
        let (begun, silent) = (Instant::now(), meter.bytes_in());
        loop {
            tokio::time::sleep(tick).await;
            let now = Instant::now();
            if meter.bytes_out() != written.0 || !meter.is_write_blocked() {
                written = (meter.bytes_out(), now);
            } else if now - written.1 > limits.write_timeout {
                return Late::Failed("the client does not read its answer");
            }
            let count = self.state.served.load(Ordering::Relaxed);
            if self.state.under_way.load(Ordering::Relaxed) > 0 || count != served {
                (head_since, quiet_since, heard, served) = (None, now, meter.bytes_in(), count);
                continue;
            }
            if meter.bytes_in() != heard && head_since.is_none() {
                head_since = Some(now);
            }
            if count == 0 && meter.bytes_in() == silent && now - begun > limits.first_byte_timeout {
                return Late::Failed("nothing was sent");
            }
            match head_since {
                Some(since) if now - since > limits.header_timeout => {
                    return Late::Failed("the request's header did not arrive in time");
                }
                None if now - quiet_since > limits.idle_timeout => return Late::Idle,
                _ => {}
            }
        }
    }
}
