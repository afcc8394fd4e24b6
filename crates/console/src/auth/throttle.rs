//! Failed logins delay further attempts. They lock nobody out.
//!
//! Failures are counted per user and address, per address, and per user. Further attempts at the same user from the
//! same address wait in a queue, one after the other; all other attempts wait for a second at most. A user who has
//! logged in from an address before waits only for failures of that user from that address, in a queue that one
//! address cannot fill. A user who is logged in does not wait. An attempt that is given up before its password was
//! checked does not count.

use crate::auth::client_address::limit_address;
use model::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Failures that cost nothing: of one user from one address, of an address, of a user from everywhere.
const FREE: [u32; 3] = [5, 25, 100];
/// The wait after one failure more; it doubles with every ten up to [`LONGEST_STEP`].
const FIRST_STEP: Duration = Duration::from_millis(250);
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// Longest queue of one user's attempts from one address.
const LONGEST_QUEUE: Duration = Duration::from_secs(60);
/// The same where the user has logged in from that address before, and where each step is the first one: more
/// turns than an address may have connections.
const LONGEST_KNOWN: Duration = Duration::from_secs(75);
/// After so long without a failure all is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Entries kept at most, and users and addresses known to belong together; those longest unused go first.
const MOST: usize = 4096;

/// Failed logins, in memory: bounded, and gone with a restart.
#[derive(Default)]
pub(crate) struct Throttle {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Key, Entry>,
    /// Who has logged in from where.
    known: HashMap<(String, IpAddr), Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(String, IpAddr),
    Address(IpAddr),
    User(String),
}

#[derive(Clone, Copy)]
struct Entry {
    failures: u32,
    last: Timestamp,
    /// When the next attempt has its turn.
    next: Timestamp,
}

/// When an attempt may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Turn {
    /// How long to wait first.
    pub(crate) wait: Duration,
    /// The user has logged in from there before, or is logged in.
    pub(crate) known: bool,
    /// Whether it is the first one that is delayed. Only this one is put on record: a flood of logins must not become
    /// a flood of events.
    pub(crate) first: bool,
}

/// An attempt whose password was not looked at yet: it gives its turn back when it is dropped.
#[must_use]
pub(crate) struct Attempt<'a> {
    throttle: &'a Throttle,
    user: String,
    address: IpAddr,
    /// Its step in the queue of its pair.
    step: Duration,
    pub(crate) turn: Turn,
    made: bool,
}

impl Attempt<'_> {
    /// The password was looked at: the attempt counts.
    pub(crate) fn made(mut self) {
        self.made = true;
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.made {
            return;
        }
        let mut state = self.throttle.state();
        let pair = Key::Pair(self.user.clone(), self.address);
        if let Some(pair) = state.entries.get_mut(&pair) {
            pair.next -= self.step;
        }
        for key in [pair, Key::Address(self.address), Key::User(self.user.clone())] {
            if let Some(entry) = state.entries.get_mut(&key) {
                entry.failures = entry.failures.saturating_sub(1);
            }
        }
    }
}

/// The queue is full; it has room again after this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct QueueFull(pub(crate) Duration);

impl Throttle {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves counts that are at worst one off.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt as failed until [`Throttle::succeeded`] says otherwise or it is given up, so that
    /// attempts at the same time are counted each, and tells when it has its turn. `logged_in`: it comes with a session of that user.
    pub(crate) fn attempt(
        &self,
        user: &str,
        peer: Option<SocketAddr>,
        logged_in: bool,
        now: Timestamp,
    ) -> Result<Attempt<'_>, QueueFull> {
        let mut state = self.state();
        let (user, address) = (user.to_lowercase(), limit_address(peer));
        let known = state.known.contains_key(&(user.clone(), address));
        let pair = state.entry(Key::Pair(user.clone(), address), now);
        let mut of_pair = step(pair.failures, FREE[0]).filter(|_| !logged_in);
        let mut longest = LONGEST_QUEUE;
        if known {
            of_pair = of_pair.map(|step| step.min(FIRST_STEP));
            longest = LONGEST_KNOWN;
        }
        let turn = pair.next.max(now);
        let queued = between(now, turn);
        if of_pair.is_some() && queued >= longest {
            return Err(QueueFull(queued - longest + LONGEST_STEP));
        }
        let mut wait = of_pair.map_or(Duration::ZERO, |step| {
            pair.next = turn + step;
            queued + step
        });
        let mut first = pair.failures == FREE[0];
        pair.count(now);
        let known = known || logged_in;
        for (key, free) in [(Key::Address(address), FREE[1]), (Key::User(user.clone()), FREE[2])] {
            let entry = state.entry(key, now);
            if !known {
                wait = wait.max(step(entry.failures, free).unwrap_or_default());
                first |= entry.failures == free;
            }
            entry.count(now);
        }
        drop(state);
        let (step, turn) = (of_pair.unwrap_or_default(), Turn { wait, known, first });
        Ok(Attempt { throttle: self, user, address, step, turn, made: false })
    }

    /// Takes the count of the attempt back, and forgives the user's earlier ones from there; those of the address
    /// stay: who knows one password may be guessing others.
    pub(crate) fn succeeded(&self, user: &str, peer: Option<SocketAddr>, now: Timestamp) {
        let mut state = self.state();
        let (user, address) = (user.to_lowercase(), limit_address(peer));
        state.entries.remove(&Key::Pair(user.clone(), address));
        for key in [Key::Address(address), Key::User(user.clone())] {
            if let Some(entry) = state.entries.get_mut(&key) {
                entry.failures = entry.failures.saturating_sub(1);
            }
        }
        make_room(&mut state.known, |last| *last);
        state.known.insert((user, address), now);
    }
}

impl State {
    fn entry(&mut self, key: Key, now: Timestamp) -> &mut Entry {
        if !self.entries.contains_key(&key) {
            make_room(&mut self.entries, |entry| entry.last);
        }
        let entry = self.entries.entry(key).or_insert(Entry { failures: 0, last: now, next: now });
        if between(entry.last, now) >= FORGET_AFTER {
            *entry = Entry { failures: 0, last: now, next: now };
        }
        entry
    }
}

impl Entry {
    fn count(&mut self, now: Timestamp) {
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }
}

/// What an attempt waits after so many failures.
fn step(failures: u32, free: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(free)?;
    Some((FIRST_STEP * (1 << (beyond / 10).min(8))).min(LONGEST_STEP))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

/// A quarter at once, so that a flood does not sort them each time.
fn make_room<K: Eq + std::hash::Hash, V>(all: &mut HashMap<K, V>, last: impl Fn(&V) -> Timestamp) {
    if all.len() < MOST {
        return;
    }
    let mut lasts: Vec<Timestamp> = all.values().map(&last).collect();
    lasts.sort_unstable();
    let mut surplus = MOST / 4;
    let newest_out = lasts[surplus];
    all.retain(|_, value| {
        let out = surplus > 0 && last(value) <= newest_out;
        surplus -= usize::from(out);
        !out
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        chrono::DateTime::from_timestamp_millis(1_793_491_200_000 + millis).unwrap()
    }

    fn peer(last: u8) -> Option<SocketAddr> {
        Some(SocketAddr::from(([192, 0, 2, last], 4000)))
    }

    fn made(
        throttle: &Throttle,
        user: &str,
        from: Option<SocketAddr>,
        logged_in: bool,
        now: i64,
    ) -> Result<Turn, QueueFull> {
        let attempt = throttle.attempt(user, from, logged_in, at(now))?;
        let turn = attempt.turn;
        attempt.made();
        Ok(turn)
    }

    fn wait(throttle: &Throttle, user: &str, from: u8, now: i64) -> u64 {
        u64::try_from(made(throttle, user, peer(from), false, now).unwrap().wait.as_millis()).unwrap()
    }

    #[test]
    fn attempts_at_one_user_from_one_address_queue() {
        let throttle = Throttle::default();
        let waits: Vec<u64> = (0..9).map(|_| wait(&throttle, "ada", 1, 0)).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 250, 500, 750, 1000]);
        // One after the other each waits a step, which grows to a second.
        let mut now = 60_000;
        let steps: Vec<u64> = (0..40)
            .map(|_| {
                let wait = wait(&throttle, "ada", 1, now);
                now += 5_000;
                wait
            })
            .collect();
        assert_eq!((steps[0], steps[20], steps[39]), (250, 1000, 1000));
        // Other names, and other cases of the same.
        assert_eq!(wait(&throttle, "ADA", 1, now), 1000);
        assert_eq!(wait(&throttle, "ada", 2, now), 0);
        assert_eq!(wait(&throttle, "ada", 1, now + 16 * 60_000), 0);
    }

    #[test]
    fn the_queue_is_bounded_and_its_beginning_told_once() {
        let throttle = Throttle::default();
        let turns: Vec<_> = (0..300).map(|_| made(&throttle, "ada", peer(1), false, 0)).collect();
        let waiting = turns.iter().flatten().filter(|turn| !turn.wait.is_zero()).count();
        assert!((60..200).contains(&waiting), "{waiting}");
        let longest = turns.iter().flatten().map(|turn| turn.wait).max().unwrap();
        assert!(longest <= LONGEST_QUEUE + LONGEST_STEP, "{longest:?}");
        assert!(turns.last().unwrap().is_err());
        assert!(turns.iter().flatten().filter(|turn| turn.first).count() <= 3);
        // It moves on.
        assert!(made(&throttle, "ada", peer(1), false, 5_000).is_ok());
    }

    #[test]
    fn strangers_cost_others_a_moment_at_most() {
        let throttle = Throttle::default();
        // From one address, at users of all names.
        for n in 0..10_000 {
            made(&throttle, &format!("user{n}"), peer(1), false, n).unwrap();
        }
        assert_eq!(wait(&throttle, "ada", 1, 10_000), 1000);
        assert_eq!(wait(&throttle, "ada", 2, 10_000), 0);
        // From everywhere, at one user.
        for n in 0..10_000_u32 {
            let from = Some(SocketAddr::from((n.to_be_bytes(), 1)));
            made(&throttle, "ada", from, false, 10_000 + i64::from(n)).unwrap();
        }
        assert_eq!(wait(&throttle, "ada", 3, 20_000), 1000);
        assert_eq!(wait(&throttle, "grace", 3, 20_000), 0);
        // Who has logged in from there, or is logged in, does not wait for them.
        throttle.succeeded("ada", peer(3), at(20_000));
        assert_eq!(wait(&throttle, "ada", 3, 20_000), 0);
        assert_eq!(made(&throttle, "ada", peer(4), true, 20_000).unwrap().wait, Duration::ZERO);
    }

    #[test]
    fn a_success_forgives_the_user_and_not_the_address() {
        let throttle = Throttle::default();
        for _ in 0..9 {
            wait(&throttle, "ada", 1, 0);
        }
        throttle.succeeded("ada", peer(1), at(0));
        for n in 0..17 {
            wait(&throttle, &format!("user{n}"), 1, 0);
        }
        assert_eq!(wait(&throttle, "grace", 1, 0), 250);
        assert_eq!(wait(&throttle, "ada", 1, 0), 0);
    }

    /// From one's own address, at one's own name, on as many connections as an address may have.
    #[test]
    fn neither_the_known_nor_the_logged_in_are_refused() {
        let throttle = Throttle::default();
        throttle.succeeded("ada", peer(1), at(0));
        let waiting: Vec<_> =
            (0..256).map(|_| throttle.attempt("ada", peer(1), false, at(0)).ok().unwrap()).collect();
        let turn = made(&throttle, "ada", peer(1), false, 0).unwrap();
        assert!(turn.known && turn.wait < LONGEST_KNOWN, "{turn:?}");
        assert_eq!(made(&throttle, "ada", peer(1), true, 0).unwrap().wait, Duration::ZERO);
        drop(waiting);
        // The two that were made cost nothing yet, and the turns of those who left are free again.
        assert_eq!(made(&throttle, "ada", peer(1), false, 1_000).unwrap().wait, Duration::ZERO);
    }

    #[test]
    fn who_leaves_gives_the_turn_back() {
        let throttle = Throttle::default();
        let waiting: Vec<_> =
            (0..300).filter_map(|_| throttle.attempt("ada", peer(1), false, at(0)).ok()).collect();
        assert!(made(&throttle, "ada", peer(1), false, 0).is_err());
        drop(waiting);
        assert_eq!(wait(&throttle, "ada", 1, 0), 0);
        assert_eq!(throttle.state().entries[&Key::User("ada".into())].failures, 1);
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..10_000_u32 {
            let address = Some(SocketAddr::from((n.to_be_bytes(), 1)));
            made(&throttle, "ada", address, false, 0).unwrap();
            throttle.succeeded("ada", address, at(0));
        }
        let state = throttle.state();
        assert!(state.entries.len() <= MOST && state.known.len() <= MOST);
    }
}
