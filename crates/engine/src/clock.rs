//! The real clock and real randomness.

use async_trait::async_trait;
use chrono::{SubsecRound, Utc};
use model::Timestamp;
use std::time::{Duration, Instant};
use transport::{Clock, Random};

/// The system's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    fn now(&self) -> Timestamp {
        Utc::now().trunc_subsecs(6)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Randomness from OpenSSL's generator.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) {
        // OpenSSL's generator fails only if the system has no entropy. Predictable bytes would be worse than
        // stopping: ids would repeat, and boundaries could be guessed.
        if openssl::rand::rand_bytes(bytes).is_err() {
            tracing::error!(
                "the system's random number generator failed; Waybill stops, because it cannot work safely without it"
            );
            std::process::abort();
        }
    }
}
