//! Endpoints that keep failing go offline for a while; their files wait in order.

use model::definition::Definitions;
use model::{Error, ErrorKind, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
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

    /// The endpoints that are offline after failures.
    pub(crate) fn offline(&self, now: Timestamp) -> Vec<String> {
        let states = self.states();
        let offline = states.iter().filter(|(_, state)| state.offline_until.is_some_and(|until| until > now));
        offline.map(|(name, _)| name.clone()).collect()
    }

    /// How many more deliveries may begin to each endpoint that has running ones or a limit of its own; to others,
    /// `usual`.
    pub(crate) fn rooms(&self, definitions: &Definitions, usual: usize) -> BTreeMap<String, usize> {
        let own =
            |name: &str| definitions.endpoints.get(name).and_then(|endpoint| endpoint.throttle.deliveries);
        let states = self.states();
        let busy = states.iter().filter(|(_, state)| state.in_flight > 0);
        let busy = busy
            .map(|(name, state)| (name.clone(), own(name).unwrap_or(usual).saturating_sub(state.in_flight)));
        let mut rooms: BTreeMap<String, usize> = busy.collect();
        drop(states);
        for endpoint in definitions.endpoints.values() {
            if let Some(most) = endpoint.throttle.deliveries {
                rooms.entry(endpoint.name.clone()).or_insert(most);
            }
        }
        rooms
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
        assert_eq!(health.offline(now), ["as2"]);
        assert!(health.offline(now + FIRST_OFFLINE).is_empty());
        assert_eq!(health.end("as2", Reachability::Answered, now + FIRST_OFFLINE), HealthChange::CameOnline);
    }

    #[test]
    fn a_busy_endpoint_leaves_room_for_others() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let rooms = |usual| health.rooms(&Definitions::default(), usual);
        health.begin("slow");
        health.begin("slow");
        assert_eq!(rooms(2), [("slow".to_owned(), 0)].into());
        health.begin("other");
        assert_eq!(rooms(5), [("slow".to_owned(), 3), ("other".to_owned(), 4)].into());
        health.end("slow", Reachability::Answered, now);
        assert_eq!(rooms(2)["slow"], 1);
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
        assert_eq!(health.offline(now), ["sftp"]);
        health.try_again(&["sftp"].into(), now);
        assert!(health.offline(now).is_empty());
        assert_eq!(health.observe("sftp", Reachability::Unknown, now), HealthChange::None);
        assert_eq!(health.observe("sftp", Reachability::Answered, now), HealthChange::CameOnline);
    }
}
