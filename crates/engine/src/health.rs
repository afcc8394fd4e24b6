//! Endpoints that keep failing go offline for a while; their files wait in order. Endpoints that lead to one server and
//! account in the same way ([`Access`]) go offline and come back together: what one meets, all would.

use model::definition::{Access, Definitions, Endpoint, OfflineRule};
use model::{Error, ErrorKind, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The health of the endpoints, as this node knows it. What went offline is in the database too, for lists and for the time
/// after a restart; addresses are kept in memory only.
#[derive(Debug, Default)]
pub struct EndpointHealth {
    states: Mutex<HashMap<String, EndpointState>>,
    /// The same of the addresses of endpoints that have several, by endpoint and address.
    addresses: Mutex<HashMap<(String, String), EndpointState>>,
    /// The names of all endpoints with the same access, by the name of each; none for an endpoint that has its own.
    together: Mutex<HashMap<String, Arc<[String]>>>,
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
            ErrorKind::Busy | ErrorKind::StorageFull | ErrorKind::Internal | ErrorKind::ConfigInvalid => {
                Self::Unknown
            }
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

impl EndpointState {
    fn observe(
        &mut self,
        rule: Option<&OfflineRule>,
        reachability: Reachability,
        now: Timestamp,
    ) -> HealthChange {
        let (first, longest) = match reachability {
            Reachability::Unknown => return HealthChange::None,
            Reachability::Answered => {
                let was_offline = self.offline_until.take().is_some();
                self.failures = 0;
                return if was_offline { HealthChange::CameOnline } else { HealthChange::None };
            }
            Reachability::NoAnswer => (FIRST_OFFLINE, LONGEST_OFFLINE),
            Reachability::AccessRefused => (FIRST_OFFLINE_REFUSED, LONGEST_OFFLINE_REFUSED),
        };
        self.failures = self.failures.saturating_add(1);
        let Some(rule) = rule else { return HealthChange::None };
        let before = if reachability == Reachability::AccessRefused { 1 } else { rule.after };
        let is_offline = self.offline_until.is_some_and(|until| until > now);
        if self.failures < before || is_offline {
            return HealthChange::None;
        }
        let doublings = (self.failures - before).min(16);
        let grown = first.saturating_mul(1 << doublings).min(longest);
        let until = now + rule.lasts.unwrap_or(grown);
        self.offline_until = Some(until);
        HealthChange::WentOffline(until)
    }
}

impl EndpointHealth {
    fn states(&self) -> MutexGuard<'_, HashMap<String, EndpointState>> {
        // After a panic elsewhere a counter is wrong by at most one; the next result corrects it.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn addresses(&self) -> MutexGuard<'_, HashMap<(String, String), EndpointState>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// When a delivery whose access an endpoint has refused may be tried again: at once where the endpoint is offline, as
    /// nothing is tried there until it returns; otherwise (it never goes offline) after a wait that grows with the
    /// refusals.
    pub(crate) fn after_refusal(&self, endpoint: &str, now: Timestamp) -> Timestamp {
        let states = self.states();
        let Some(state) = states.get(endpoint) else { return now + FIRST_OFFLINE_REFUSED };
        if state.offline_until.is_some_and(|until| until > now) {
            return now;
        }
        let doublings = state.failures.saturating_sub(1).min(16);
        now + FIRST_OFFLINE_REFUSED.saturating_mul(1 << doublings).min(LONGEST_OFFLINE_REFUSED)
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
    pub(crate) fn end(&self, endpoint: &str) {
        if let Some(state) = self.states().get_mut(endpoint) {
            state.in_flight = state.in_flight.saturating_sub(1);
        }
    }

    /// Takes note of which endpoints lead to the same account. One that never goes offline does not with others either.
    pub(crate) fn follow(&self, definitions: &Definitions) {
        let mut by_server: HashMap<String, Vec<(Access, Vec<String>)>> = HashMap::new();
        let goes_with_others =
            |endpoint: &&Arc<Endpoint>| endpoint.urls.len() == 1 && endpoint.offline.is_some();
        for endpoint in definitions.endpoints.values().filter(goes_with_others) {
            let access = Access::of(endpoint, definitions);
            if access.server().is_empty() {
                continue;
            }
            let groups = by_server.entry(access.server().to_owned()).or_default();
            match groups.iter_mut().find(|(other, _)| *other == access) {
                Some((_, names)) => names.push(endpoint.name.clone()),
                None => groups.push((access, vec![endpoint.name.clone()])),
            }
        }
        let mut together = HashMap::new();
        for (_, names) in by_server.into_values().flatten().filter(|(_, names)| names.len() > 1) {
            let names: Arc<[String]> = names.into();
            together.extend(names.iter().map(|name| (name.clone(), Arc::clone(&names))));
        }
        *self.together.lock().unwrap_or_else(PoisonError::into_inner) = together;
    }

    /// The names of the other endpoints that go offline with this one.
    pub(crate) fn with(&self, endpoint: &str) -> Vec<String> {
        let together = self.together.lock().unwrap_or_else(PoisonError::into_inner);
        let names = together.get(endpoint).into_iter().flat_map(|names| names.iter());
        names.filter(|name| *name != endpoint).cloned().collect()
    }

    /// Records what the use of an endpoint showed about it, and so about those with the same access; `rule` says when it goes
    /// offline.
    pub(crate) fn observe(
        &self,
        endpoint: &str,
        rule: Option<&OfflineRule>,
        reachability: Reachability,
        now: Timestamp,
    ) -> HealthChange {
        let others = self.with(endpoint);
        let mut states = self.states();
        let state = states.entry(endpoint.to_owned()).or_default();
        let change = state.observe(rule, reachability, now);
        let (failures, offline_until) = (state.failures, state.offline_until);
        for other in others {
            let state = states.entry(other).or_default();
            (state.failures, state.offline_until) = (failures, offline_until);
        }
        change
    }

    /// The same for one of an endpoint's addresses.
    pub(crate) fn observe_address(
        &self,
        (endpoint, address): (&str, &str),
        rule: Option<&OfflineRule>,
        reachability: Reachability,
        now: Timestamp,
    ) -> HealthChange {
        let key = (endpoint.to_owned(), address.to_owned());
        self.addresses().entry(key).or_default().observe(rule, reachability, now)
    }

    /// Whether one of an endpoint's addresses is offline.
    pub(crate) fn is_address_offline(&self, endpoint: &str, address: &str, now: Timestamp) -> bool {
        let key = (endpoint.to_owned(), address.to_owned());
        self.addresses().get(&key).and_then(|state| state.offline_until).is_some_and(|until| until > now)
    }

    /// Takes over what was known of an endpoint before a restart.
    pub(crate) fn restore(&self, endpoint: &str, failures: u32, offline_until: Timestamp) {
        let mut states = self.states();
        let state = states.entry(endpoint.to_owned()).or_default();
        (state.failures, state.offline_until) = (failures, Some(offline_until));
    }

    /// How often an endpoint has failed in a row.
    pub(crate) fn failures(&self, endpoint: &str) -> u32 {
        self.states().get(endpoint).map_or(0, |state| state.failures)
    }

    /// Lets these endpoints be tried again at once: their definitions have changed, and that may have fixed the
    /// failure. Returns those that were offline.
    pub(crate) fn try_again(&self, endpoints: &BTreeSet<&str>, now: Timestamp) -> Vec<String> {
        // The next result decides whether it is online; until then its failures count as before.
        let again = |state: &mut EndpointState| {
            state.offline_until = state.offline_until.map(|until| until.min(now));
        };
        let mut states = self.states();
        let mut were_offline = Vec::new();
        for (name, state) in states.iter_mut().filter(|(name, _)| endpoints.contains(name.as_str())) {
            if state.offline_until.is_some_and(|until| until > now) {
                were_offline.push(name.clone());
            }
            again(state);
        }
        drop(states);
        let mut addresses = self.addresses();
        let of = addresses.iter_mut().filter(|((name, _), _)| endpoints.contains(name.as_str()));
        of.for_each(|(_, state)| again(state));
        were_offline
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

    const RULE: Option<&OfflineRule> = Some(&OfflineRule { after: 5, lasts: None });

    #[test]
    fn goes_offline_after_failures_and_returns_with_a_success() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let observe = |rule, reachability, at| health.observe("as2", rule, reachability, at);
        for _ in 1..5 {
            assert_eq!(observe(RULE, Reachability::NoAnswer, now), HealthChange::None);
        }
        assert!(matches!(observe(RULE, Reachability::NoAnswer, now), HealthChange::WentOffline(_)));
        assert_eq!(health.offline(now), ["as2"]);
        assert!(health.offline(now + FIRST_OFFLINE).is_empty());
        assert_eq!(observe(RULE, Reachability::Answered, now + FIRST_OFFLINE), HealthChange::CameOnline);
        // By a rule of its own, or never.
        let rule = OfflineRule { after: 2, lasts: Some(Duration::from_secs(300)) };
        assert_eq!(observe(Some(&rule), Reachability::NoAnswer, now), HealthChange::None);
        for at in [now, now + Duration::from_secs(300)] {
            let until = at + Duration::from_secs(300);
            assert_eq!(observe(Some(&rule), Reachability::NoAnswer, at), HealthChange::WentOffline(until));
        }
        observe(RULE, Reachability::Answered, now);
        for _ in 0..20 {
            assert_eq!(observe(None, Reachability::AccessRefused, now), HealthChange::None);
        }
        assert!(health.offline(now).is_empty());
    }

    #[test]
    fn each_address_goes_offline_by_itself() {
        let health = EndpointHealth::default();
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        health.observe_address(("sftp", "a"), RULE, Reachability::AccessRefused, now);
        assert!(health.is_address_offline("sftp", "a", now) && !health.is_address_offline("sftp", "b", now));
        assert!(health.offline(now).is_empty());
        health.try_again(&["sftp"].into(), now);
        assert!(!health.is_address_offline("sftp", "a", now));
    }

    #[test]
    fn a_busy_endpoint_leaves_room_for_others() {
        let health = EndpointHealth::default();
        let rooms = |usual| health.rooms(&Definitions::default(), usual);
        health.begin("slow");
        health.begin("slow");
        assert_eq!(rooms(2), [("slow".to_owned(), 0)].into());
        health.begin("other");
        assert_eq!(rooms(5), [("slow".to_owned(), 3), ("other".to_owned(), 4)].into());
        health.end("slow");
        assert_eq!(rooms(2)["slow"], 1);
    }

    #[test]
    fn one_that_refuses_access_goes_offline_at_once_and_longer_each_time() {
        let health = EndpointHealth::default();
        let mut now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        let mut waits = Vec::new();
        for _ in 0..8 {
            let HealthChange::WentOffline(until) =
                health.observe("sftp", RULE, Reachability::AccessRefused, now)
            else {
                panic!("not offline")
            };
            waits.push((until - now).num_seconds());
            now = until;
        }
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        health.observe("sftp", RULE, Reachability::AccessRefused, now);
        health.try_again(&["other"].into(), now);
        assert_eq!(health.offline(now), ["sftp"]);
        health.try_again(&["sftp"].into(), now);
        assert!(health.offline(now).is_empty());
        assert_eq!(health.after_refusal("never", now), now + FIRST_OFFLINE_REFUSED);
        health.observe("never", None, Reachability::AccessRefused, now);
        health.observe("never", None, Reachability::AccessRefused, now);
        assert_eq!(health.after_refusal("never", now), now + 2 * FIRST_OFFLINE_REFUSED);
        assert_eq!(health.observe("sftp", RULE, Reachability::Unknown, now), HealthChange::None);
        assert_eq!(health.observe("sftp", RULE, Reachability::Answered, now), HealthChange::CameOnline);
    }

    #[test]
    fn endpoints_that_lead_to_one_account_go_offline_and_come_back_together() {
        use model::definition::EndpointUrl;
        use model::schema::{Value, Values};
        let mut definitions = Definitions::default();
        for (name, url, user) in [
            ("orders", "sftp://partner.example/orders", "acme"),
            ("invoices", "sftp://PARTNER.example:22/invoices", "acme"),
            ("other-user", "sftp://partner.example/orders", "globex"),
            ("other-port", "sftp://partner.example:2222/orders", "acme"),
            ("here", "file:///srv/a", "acme"),
            ("here-too", "file:///srv/b", "acme"),
        ] {
            let endpoint = Endpoint {
                name: name.into(),
                transport: "fake".into(),
                urls: vec![EndpointUrl { url: url.parse().unwrap(), weight: 1 }],
                node: None,
                pool: None,
                throttle: model::definition::Throttle::default(),
                balance: model::definition::Balance::RoundRobin,
                offline: RULE.copied(),
                options: Values::of([("username", Value::Text(user.into()))]),
            };
            definitions.endpoints.insert(name.into(), Arc::new(endpoint));
        }
        let health = EndpointHealth::default();
        health.follow(&definitions);
        let now = chrono::DateTime::from_timestamp(0, 0).unwrap();
        health.observe("orders", RULE, Reachability::AccessRefused, now);
        let offline = |name: &str| health.offline_until(name, now).is_some();
        assert!(offline("orders") && offline("invoices"));
        assert!(!offline("other-user") && !offline("other-port"));
        assert_eq!(health.with("invoices"), ["orders"]);
        assert!(health.with("here").is_empty());
        let never = Endpoint {
            name: "never".into(),
            offline: None,
            ..Endpoint::clone(&definitions.endpoints["orders"])
        };
        definitions.endpoints.insert("never".into(), Arc::new(never));
        health.follow(&definitions);
        assert!(health.with("never").is_empty() && health.with("invoices") == ["orders"]);
        assert_eq!(health.observe("invoices", RULE, Reachability::Answered, now), HealthChange::CameOnline);
        assert!(!offline("orders") && !offline("invoices"));
        // Failures of both count together, and a success of one ends them.
        for _ in 2..RULE.unwrap().after {
            health.observe("orders", RULE, Reachability::NoAnswer, now);
        }
        health.observe("invoices", RULE, Reachability::NoAnswer, now);
        assert!(matches!(
            health.observe("orders", RULE, Reachability::NoAnswer, now),
            HealthChange::WentOffline(_)
        ));
    }
}
