//! Time that a test sets, and randomness that a test can repeat.

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta};
use model::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use transport::{Clock, Random};

/// A clock that stands still until a test moves it. The time of day and the monotonic time are moved
/// together by [`FixedClock::advance`]; [`FixedClock::set`] moves the time of day alone, as a clock
/// that was wrong and is put right.
pub struct FixedClock {
    moment: watch::Sender<Moment>,
    sleepers: watch::Sender<usize>,
}

#[derive(Clone, Copy)]
struct Moment {
    now: Timestamp,
    monotonic: Duration,
}

impl FixedClock {
    /// A clock that shows this time of day, at monotonic time zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self {
            moment: watch::Sender::new(Moment { now: whole_micros(now), monotonic: Duration::ZERO }),
            sleepers: watch::Sender::new(0),
        }
    }

    /// Lets time pass; whoever sleeps until then or earlier wakes.
    pub fn advance(&self, by: Duration) {
        self.moment.send_modify(|moment| {
            moment.now += TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX);
            moment.monotonic += by;
        });
    }

    /// Sets the time of day, and leaves the monotonic time as it is.
    pub fn set(&self, now: Timestamp) {
        self.moment.send_modify(|moment| moment.now = whole_micros(now));
    }

    /// How many sleep now.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        *self.sleepers.borrow()
    }

    /// Waits until at least this many sleep, so that a test knows that advancing will wake them.
    pub async fn wait_for_sleepers(&self, at_least: usize) {
        // The sender is ours, so the channel cannot close while this waits.
        let _ = self.sleepers.subscribe().wait_for(|sleeping| *sleeping >= at_least).await;
    }
}

impl Default for FixedClock {
    /// 1 March 2026, noon.
    fn default() -> Self {
        Self::at(DateTime::from_timestamp(1_772_366_400, 0).unwrap_or_default())
    }
}

#[async_trait]
impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        self.moment.borrow().now
    }

    fn monotonic(&self) -> Duration {
        self.moment.borrow().monotonic
    }

    async fn sleep(&self, duration: Duration) {
        let mut moments = self.moment.subscribe();
        let wake_at = self.monotonic().saturating_add(duration);
        let _sleeper = Sleeper::new(&self.sleepers);
        let _ = moments.wait_for(|moment| moment.monotonic >= wake_at).await;
    }
}

/// Counts a sleeper for as long as it sleeps, also when it is cancelled.
struct Sleeper<'a>(&'a watch::Sender<usize>);

impl<'a> Sleeper<'a> {
    fn new(count: &'a watch::Sender<usize>) -> Self {
        count.send_modify(|n| *n += 1);
        Self(count)
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

fn whole_micros(at: Timestamp) -> Timestamp {
    DateTime::from_timestamp_micros(at.timestamp_micros()).unwrap_or(at)
}

/// Random bytes that follow from a seed (SplitMix64). Not fit for keys, other than a test's.
pub struct SeededRandom(Mutex<u64>);

impl SeededRandom {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(seed))
    }

    /// The next 64 bits.
    pub fn next(&self) -> u64 {
        let mut state: MutexGuard<'_, u64> = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to but not including `end`; 0 when `end` is 0.
    pub fn below(&self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// This many bytes.
    pub fn bytes(&self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes);
        bytes
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_sleeper_wakes_when_the_clock_passes_it() {
        let clock = Arc::new(FixedClock::default());
        let sleeping = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(60)).await }
        });
        clock.wait_for_sleepers(1).await;
        clock.advance(Duration::from_secs(59));
        tokio::task::yield_now().await;
        assert!(!sleeping.is_finished());
        clock.advance(Duration::from_secs(1));
        sleeping.await.unwrap();
        assert_eq!(clock.sleepers(), 0);
        assert_eq!(clock.monotonic(), Duration::from_secs(60));
    }

    #[tokio::test]
    async fn setting_the_time_of_day_wakes_nobody_and_moves_no_monotonic_time() {
        let clock = FixedClock::default();
        let later = clock.now() + TimeDelta::days(400);
        clock.set(later);
        assert_eq!((clock.now(), clock.monotonic()), (later, Duration::ZERO));
        let sleep = clock.sleep(Duration::from_millis(1));
        assert!(tokio::time::timeout(Duration::from_millis(20), sleep).await.is_err());
        assert_eq!(clock.sleepers(), 0);
    }

    #[test]
    fn a_seed_gives_the_same_sequence_and_uuids_of_version_seven() {
        let (one, other) = (SeededRandom::new(7), SeededRandom::new(7));
        assert_eq!(one.bytes(100), other.bytes(100));
        let now = FixedClock::default().now();
        let (first, second) = (one.uuid(now), one.uuid(now));
        assert_eq!((first, first.get_version_num()), (other.uuid(now), 7));
        assert_ne!(first, second);
        assert!((0..1000).all(|_| (0.0..1.0).contains(&one.unit()) && one.below(3) < 3));
    }
}
