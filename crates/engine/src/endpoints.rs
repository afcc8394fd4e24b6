//! Endpoints that keep failing are rested for a while; their files wait in order.

use model::Timestamp;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What this node knows of its endpoints' health. In memory: a restart simply tries again.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    states: Mutex<HashMap<String, EndpointState>>,
}

/// One endpoint's health.
#[derive(Clone, Debug, Default)]
pub struct EndpointState {
    /// Failures since the last success.
    pub failures: u32,
    /// Not used before then.
    pub offline_until: Option<Timestamp>,
    /// Attempts under way on this node.
    pub in_flight: usize,
}

/// Failures in a row before an endpoint is rested.
const FAILURES_BEFORE_REST: u32 = 5;
/// First rest; doubles up to the longest.
const FIRST_REST: Duration = Duration::from_secs(15);
const LONGEST_REST: Duration = Duration::from_secs(600);

/// What a result changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// Nothing worth an event.
    None,
    /// It is rested until then.
    WentOffline(Timestamp),
    /// It works again.
    CameOnline,
}

impl EndpointHealth {
    fn states(&self) -> MutexGuard<'_, HashMap<String, EndpointState>> {
        // A panic elsewhere leaves counters at worst one off; they heal with the next result.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Endpoints that must not be claimed for now: resting, or with `most` attempts under way.
    pub(crate) fn not_now(&self, now: Timestamp, most: usize) -> Vec<String> {
        self.states()
            .iter()
            .filter(|(_, state)| {
                state.in_flight >= most || state.offline_until.is_some_and(|until| until > now)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The earliest moment at which a resting endpoint may be used again.
    pub(crate) fn next_return(&self, now: Timestamp) -> Option<Timestamp> {
        self.states().values().filter_map(|state| state.offline_until).filter(|until| *until > now).min()
    }

    /// Counts an attempt in.
    pub(crate) fn begin(&self, endpoint: &str) {
        self.states().entry(endpoint.to_owned()).or_default().in_flight += 1;
    }

    /// Counts an attempt out; `reached` tells whether the endpoint itself answered.
    pub(crate) fn end(&self, endpoint: &str, reached: bool, now: Timestamp) -> Change {
        let mut states = self.states();
        let state = states.entry(endpoint.to_owned()).or_default();
        state.in_flight = state.in_flight.saturating_sub(1);
        if reached {
            let was_resting = state.offline_until.take().is_some();
            state.failures = 0;
            return if was_resting { Change::CameOnline } else { Change::None };
        }
        state.failures = state.failures.saturating_add(1);
        let resting = state.offline_until.is_some_and(|until| until > now);
        if state.failures < FAILURES_BEFORE_REST || resting {
            return Change::None;
        }
        let doublings = (state.failures - FAILURES_BEFORE_REST).min(16);
        let rest = FIRST_REST.saturating_mul(1 << doublings).min(LONGEST_REST);
        let until = now + rest;
        state.offline_until = Some(until);
        Change::WentOffline(until)
    }

    /// A copy for pages and metrics.
    #[must_use]
    pub fn snapshot(&self) -> HashMap<String, EndpointState> {
        self.states().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_after_failures_and_returns_with_a_success() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        for _ in 1..FAILURES_BEFORE_REST {
            health.begin("as2");
            assert_eq!(health.end("as2", false, now), Change::None);
        }
        assert!(matches!(health.end("as2", false, now), Change::WentOffline(_)));
        assert_eq!(health.not_now(now, 8), ["as2"]);
        assert!(health.not_now(now + FIRST_REST, 8).is_empty());
        assert_eq!(health.end("as2", true, now + FIRST_REST), Change::CameOnline);
    }

    #[test]
    fn a_busy_endpoint_leaves_room_for_others() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        health.begin("slow");
        health.begin("slow");
        assert_eq!(health.not_now(now, 2), ["slow"]);
        health.end("slow", true, now);
        assert!(health.not_now(now, 2).is_empty());
    }
}
