//! The time that an incoming body may take.

use model::{Error, ErrorKind};
use std::time::Duration;

/// The minimum pace of a body: every byte that arrives extends the allowed time. Only the time in which its reader
/// waits counts, so a slow reader on our side is not counted against the sender.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    grace: Duration,
    bytes_per_second: u64,
    received: u64,
    waited: Duration,
}

impl Pace {
    /// A body that may take `grace`, and a further second for this number of bytes.
    pub(super) fn new(grace: Duration, bytes_per_second: u64) -> Self {
        Self { grace, bytes_per_second: bytes_per_second.max(1), received: 0, waited: Duration::ZERO }
    }

    /// Counts bytes, and how long the reader waited for them.
    pub(super) fn note(&mut self, bytes: usize, waited: Duration) {
        self.received = self.received.saturating_add(bytes as u64);
        self.waited = self.waited.saturating_add(waited);
    }

    /// How long the next bytes may take.
    pub(super) fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.received.saturating_mul(1000) / self.bytes_per_second);
        self.grace.saturating_add(earned).saturating_sub(self.waited)
    }

    /// The error of a body that arrived too slowly.
    pub(super) fn too_slow(&self, operation: &'static str) -> Error {
        Error::transient(ErrorKind::Timeout, operation)
            .with("received", format!("{} bytes", self.received))
            .with("least", format!("{} bytes/s", self.bytes_per_second))
            .advice("the peer sends too slowly")
    }
}

#[cfg(test)]
mod tests {
    use super::Pace;
    use std::time::Duration;

    #[test]
    fn every_byte_earns_time_and_waiting_takes_it() {
        let second = Duration::from_secs(1);
        let mut pace = Pace::new(60 * second, 4096);
        pace.note(1, 50 * second);
        assert_eq!(pace.left().as_secs(), 10);
        // Single bytes now and then extend the time by almost nothing.
        pace.note(1, 9 * second);
        assert_eq!(pace.left().as_secs(), 1);
        pace.note(4096 * 100, second);
        assert_eq!(pace.left().as_secs(), 100);
        pace.note(0, 200 * second);
        assert_eq!(pace.left(), Duration::ZERO);
        // Neither a body of any length nor a rate of zero overflows.
        pace.note(usize::MAX, second);
        assert!(pace.left() > second);
        assert_eq!(Pace::new(second, 0).left(), second);
    }
}
