//! Endpoints that keep failing are rested for a while; their files wait in order.

use model::{Error, ErrorKind, Timestamp};
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
/// The same where it does not let us in, or is not whom we expect: only a person can mend that, and
/// knocking often locks accounts.
const FIRST_REST_REFUSED: Duration = Duration::from_secs(60);
const LONGEST_REST_REFUSED: Duration = Duration::from_secs(3600);

/// What a use of an endpoint tells of the endpoint itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Seen {
    /// It answered, whatever it said.
    Reached,
    /// It did not answer, or asked to be left alone.
    Silent,
    /// It did not let us in, or could not prove who it is.
    Refused,
    /// The use ended for reasons of our own.
    Nothing,
}

impl Seen {
    /// What an error of a transport tells.
    pub(crate) fn of(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unreachable | ErrorKind::Timeout | ErrorKind::Throttled => Self::Silent,
            ErrorKind::Unauthenticated | ErrorKind::TrustFailed => Self::Refused,
            ErrorKind::StorageFull | ErrorKind::Internal | ErrorKind::ConfigInvalid => Self::Nothing,
            _ => Self::Reached,
        }
    }
}

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

    /// How many more attempts may begin at once, so that no endpoint gets more than `most`, whichever
    /// the attempts are for.
    pub(crate) fn room(&self, most: usize) -> usize {
        let states = self.states();
        let rooms = states.values().map(|state| most.saturating_sub(state.in_flight));
        rooms.filter(|room| *room > 0).min().unwrap_or(most)
    }

    /// Counts an attempt out.
    pub(crate) fn end(&self, endpoint: &str, seen: Seen, now: Timestamp) -> Change {
        if let Some(state) = self.states().get_mut(endpoint) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
        self.saw(endpoint, seen, now)
    }

    /// Takes in what a use of an endpoint told of it.
    pub(crate) fn saw(&self, endpoint: &str, seen: Seen, now: Timestamp) -> Change {
        let mut states = self.states();
        let state = states.entry(endpoint.to_owned()).or_default();
        let (before, first, longest) = match seen {
            Seen::Nothing => return Change::None,
            Seen::Reached => {
                let was_resting = state.offline_until.take().is_some();
                state.failures = 0;
                return if was_resting { Change::CameOnline } else { Change::None };
            }
            Seen::Silent => (FAILURES_BEFORE_REST, FIRST_REST, LONGEST_REST),
            Seen::Refused => (1, FIRST_REST_REFUSED, LONGEST_REST_REFUSED),
        };
        state.failures = state.failures.saturating_add(1);
        let resting = state.offline_until.is_some_and(|until| until > now);
        if state.failures < before || resting {
            return Change::None;
        }
        let doublings = (state.failures - before).min(16);
        let until = now + first.saturating_mul(1 << doublings).min(longest);
        state.offline_until = Some(until);
        Change::WentOffline(until)
    }

    /// Ends all rests: the definitions have changed, perhaps just what was wrong.
    pub(crate) fn end_rests(&self, now: Timestamp) {
        for state in self.states().values_mut() {
            // The next result says whether it is online; until then it counts as it did.
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
    fn rests_after_failures_and_returns_with_a_success() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        for _ in 1..FAILURES_BEFORE_REST {
            health.begin("as2");
            assert_eq!(health.end("as2", Seen::Silent, now), Change::None);
        }
        assert!(matches!(health.end("as2", Seen::Silent, now), Change::WentOffline(_)));
        assert_eq!(health.not_now(now, 8), ["as2"]);
        assert!(health.not_now(now + FIRST_REST, 8).is_empty());
        assert_eq!(health.end("as2", Seen::Reached, now + FIRST_REST), Change::CameOnline);
    }

    #[test]
    fn a_busy_endpoint_leaves_room_for_others() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        health.begin("slow");
        health.begin("slow");
        assert_eq!(health.not_now(now, 2), ["slow"]);
        health.begin("other");
        assert_eq!((health.room(2), health.room(5)), (1, 3));
        health.end("slow", Seen::Reached, now);
        assert!(health.not_now(now, 2).is_empty());
    }

    #[test]
    fn one_that_does_not_let_us_in_is_rested_at_once_and_longer_each_time() {
        let health = EndpointHealth::default();
        let mut now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let mut rests = Vec::new();
        for _ in 0..8 {
            let Change::WentOffline(until) = health.saw("sftp", Seen::Refused, now) else {
                panic!("not rested")
            };
            rests.push((until - now).num_seconds());
            now = until;
        }
        assert_eq!(rests, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        health.saw("sftp", Seen::Refused, now);
        health.end_rests(now);
        assert!(health.not_now(now, 1).is_empty());
        assert_eq!(health.saw("sftp", Seen::Nothing, now), Change::None);
        assert_eq!(health.saw("sftp", Seen::Reached, now), Change::CameOnline);
    }
}
