//! Endpoints that keep failing go offline for a while; their files wait in order.

use model::{Error, ErrorKind, Timestamp};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The health of the endpoints, as this node knows it. Kept in memory: after a restart every endpoint is tried again.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    states: Mutex<HashMap<String, EndpointState>>,
}

/// One endpoint's health.
#[derive(Clone, Debug, Default)]
pub struct EndpointState {
    /// The number of failures since the last success.
    pub failures: u32,
    /// It is not used before this time.
    pub offline_until: Option<Timestamp>,
    /// The number of running attempts on this node.
    pub in_flight: usize,
}

/// Failures in a row before an endpoint goes offline.
const FAILURES_BEFORE_OFFLINE: u32 = 5;
/// How long it is offline the first time. The time doubles up to the longest.
const FIRST_OFFLINE: Duration = Duration::from_secs(15);
const LONGEST_OFFLINE: Duration = Duration::from_secs(600);
/// The same if it refuses our login or cannot prove its identity: only a person can fix that, and repeated logins
/// often lock accounts.
const FIRST_OFFLINE_REFUSED: Duration = Duration::from_secs(60);
const LONGEST_OFFLINE_REFUSED: Duration = Duration::from_secs(3600);

/// What the use of an endpoint showed about the endpoint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reachability {
    /// It answered, with success or an error.
    Answered,
    /// It did not answer, or asked us to try again later.
    NoAnswer,
    /// It refused our login, or could not prove its identity.
    AccessRefused,
    /// Nothing: the use ended for reasons on this node.
    Unknown,
}

impl Reachability {
    /// What a transport's error shows.
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled => Self::NoAnswer,
            ErrorKind::Unauthenticated | ErrorKind::TrustFailed => Self::AccessRefused,
            ErrorKind::StorageFull | ErrorKind::Internal | ErrorKind::ConfigInvalid => Self::Unknown,
            _ => Self::Answered,
        }
    }
}

/// The change that an observation caused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HealthChange {
    /// None that needs an event.
    None,
    /// It is offline until this time.
    WentOffline(Timestamp),
    /// It is online again.
    CameOnline,
}

impl EndpointHealth {
    fn states(&self) -> MutexGuard<'_, HashMap<String, EndpointState>> {
        // After a panic elsewhere a counter is wrong by at most one; the next result corrects it.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoints that must not be used now: those that are offline, and those with `most` running attempts.
    pub(crate) fn unavailable(&self, now: Timestamp, most: usize) -> Vec<String> {
        self.states()
            .iter()
            .filter(|(_, state)| {
                state.in_flight >= most || state.offline_until.is_some_and(|until| until > now)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The time until which an endpoint is offline after failures.
    pub(crate) fn offline_until(&self, endpoint: &str, now: Timestamp) -> Option<Timestamp> {
        let states = self.states();
        states.get(endpoint).and_then(|state| state.offline_until).filter(|until| *until > now)
    }

    /// The earliest time at which an offline endpoint may be used again.
    pub(crate) fn next_return(&self, now: Timestamp) -> Option<Timestamp> {
        self.states().values().filter_map(|state| state.offline_until).filter(|until| *until > now).min()
    }

    /// Counts a started attempt.
    pub(crate) fn begin(&self, endpoint: &str) {
        self.states().entry(endpoint.to_owned()).or_default().in_flight += 1;
    }

    /// How many more attempts may be started at the same time so that no endpoint gets more than `most`, whichever
    /// endpoints the attempts use.
    pub(crate) fn free_slots(&self, most: usize) -> usize {
        let states = self.states();
        let rooms = states.values().map(|state| most.saturating_sub(state.in_flight));
        rooms.filter(|room| *room > 0).min().unwrap_or(most)
    }

    /// Counts a finished attempt.
    pub(crate) fn end(&self, endpoint: &str, reachability: Reachability, now: Timestamp) -> HealthChange {
        if let Some(state) = self.states().get_mut(endpoint) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        self.observe(endpoint, reachability, now)
    }

    /// Records what the use of an endpoint showed about it.
    pub(crate) fn observe(&self, endpoint: &str, reachability: Reachability, now: Timestamp) -> HealthChange {
        let mut states = self.states();
        let state = states.entry(endpoint.to_owned()).or_default();
        let (before, first, longest) = match reachability {
            Reachability::Unknown => return HealthChange::None,
            Reachability::Answered => {
                let was_offline = state.offline_until.take().is_some();
                state.failures = 0;
                return if was_offline { HealthChange::CameOnline } else { HealthChange::None };
            }
            Reachability::NoAnswer => (FAILURES_BEFORE_OFFLINE, FIRST_OFFLINE, LONGEST_OFFLINE),
            Reachability::AccessRefused => (1, FIRST_OFFLINE_REFUSED, LONGEST_OFFLINE_REFUSED),
        };
        state.failures = state.failures.saturating_add(1);
        let is_offline = state.offline_until.is_some_and(|until| until > now);
        if state.failures < before || is_offline {
            return HealthChange::None;
        }
        let doublings = (state.failures - before).min(16);
        let until = now + first.saturating_mul(1 << doublings).min(longest);
        state.offline_until = Some(until);
        HealthChange::WentOffline(until)
    }

    /// Lets these endpoints be tried again at once: their definitions have changed, and that may have fixed the
    /// failure.
    pub(crate) fn try_again(&self, endpoints: &BTreeSet<&str>, now: Timestamp) {
        let mut states = self.states();
        for (_, state) in states.iter_mut().filter(|(name, _)| endpoints.contains(name.as_str())) {
            // The next result decides whether it is online; until then its failures count as before.
            state.offline_until = state.offline_until.map(|until| until.min(now));
        }
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
    fn goes_offline_after_failures_and_returns_with_a_success() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        for _ in 1..FAILURES_BEFORE_OFFLINE {
            health.begin("as2");
            assert_eq!(health.end("as2", Reachability::NoAnswer, now), HealthChange::None);
        }
        assert!(matches!(health.end("as2", Reachability::NoAnswer, now), HealthChange::WentOffline(_)));
        assert_eq!(health.unavailable(now, 8), ["as2"]);
        assert!(health.unavailable(now + FIRST_OFFLINE, 8).is_empty());
        assert_eq!(health.end("as2", Reachability::Answered, now + FIRST_OFFLINE), HealthChange::CameOnline);
    }

    #[test]
    fn a_busy_endpoint_leaves_room_for_others() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        health.begin("slow");
        health.begin("slow");
        assert_eq!(health.unavailable(now, 2), ["slow"]);
        health.begin("other");
        assert_eq!((health.free_slots(2), health.free_slots(5)), (1, 3));
        health.end("slow", Reachability::Answered, now);
        assert!(health.unavailable(now, 2).is_empty());
    }

    #[test]
    fn one_that_refuses_access_goes_offline_at_once_and_longer_each_time() {
        let health = EndpointHealth::default();
        let mut now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let HealthChange::WentOffline(until) = health.observe("sftp", Reachability::AccessRefused, now)
            else {
                panic!("not offline")
            };
            waits.push((until - now).num_seconds());
            now = until;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        health.observe("sftp", Reachability::AccessRefused, now);
        health.try_again(&["other"].into(), now);
        assert_eq!(health.unavailable(now, 1), ["sftp"]);
        health.try_again(&["sftp"].into(), now);
        assert!(health.unavailable(now, 1).is_empty());
        assert_eq!(health.observe("sftp", Reachability::Unknown, now), HealthChange::None);
        assert_eq!(health.observe("sftp", Reachability::Answered, now), HealthChange::CameOnline);
    }
}
