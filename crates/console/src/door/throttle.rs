//! Guessing passwords takes longer with each failure.

use super::counted;
use model::Timestamp;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Failures that cost nothing: of one user from one address, and of all users from one address.
const FREE_PER_USER: u32 = 5;
const FREE_PER_ADDRESS: u32 = 25;
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After so long without a failure all is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(15 * 60);
/// Entries kept at most; those that were longest unused go first.
const MOST: usize = 4096;

/// Failed logins by user and address, in memory: bounded, and gone with a restart.
#[derive(Default)]
pub(crate) struct Throttle {
    entries: Mutex<HashMap<Key, Entry>>,
}

/// `None`: all users from that address.
type Key = (Option<String>, IpAddr);

struct Entry {
    failures: u32,
    last: Timestamp,
    until: Timestamp,
    /// Whether an attempt was refused in the present wait.
    refused: bool,
}

/// An attempt that comes too soon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TooSoon {
    /// How long to wait.
    pub(crate) wait: Duration,
    /// Whether it is the first in this wait: told once, for whoever floods the login must not flood the
    /// trail.
    pub(crate) first: bool,
}

impl Throttle {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        // A panic elsewhere leaves counts that are at worst one off.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an attempt as failed until [`Throttle::succeeded`] says otherwise, so that attempts at the
    /// same time are counted each; or answers how long to wait first.
    pub(crate) fn attempt(
        &self,
        user: &str,
        peer: Option<SocketAddr>,
        now: Timestamp,
    ) -> Result<(), TooSoon> {
        let mut entries = self.entries();
        let keys = keys(user, peer);
        let mut too_soon: Option<TooSoon> = None;
        for (key, _) in &keys {
            let Some(entry) = entries.get_mut(key) else { continue };
            let Some(wait) = (entry.until - now).to_std().ok().filter(|wait| !wait.is_zero()) else {
                continue;
            };
            let first = !std::mem::replace(&mut entry.refused, true);
            let other = too_soon.unwrap_or(TooSoon { wait, first });
            too_soon = Some(TooSoon { wait: wait.max(other.wait), first: first || other.first });
        }
        if let Some(too_soon) = too_soon {
            return Err(too_soon);
        }
        for (key, free) in keys {
            make_room(&mut entries, now);
            let entry =
                entries.entry(key).or_insert(Entry { failures: 0, last: now, until: now, refused: false });
            if since(entry.last, now) >= FORGET_AFTER {
                entry.failures = 0;
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.last = now;
            if entry.failures >= free {
                let wait = Duration::from_secs(1 << (entry.failures - free).min(5)).min(LONGEST_WAIT);
                entry.until = now + wait;
                entry.refused = false;
            }
        }
        Ok(())
    }

    /// Takes the count of the attempt back, and forgives the user's earlier ones; those of the address
    /// stay: who knows one password may be guessing others.
    pub(crate) fn succeeded(&self, user: &str, peer: Option<SocketAddr>) {
        let mut entries = self.entries();
        let [(of_user, _), (of_address, _)] = keys(user, peer);
        entries.remove(&of_user);
        if let Some(entry) = entries.get_mut(&of_address) {
            entry.failures = entry.failures.saturating_sub(1);
            entry.until = entry.last;
        }
    }
}

fn keys(user: &str, peer: Option<SocketAddr>) -> [(Key, u32); 2] {
    let address = counted(peer);
    [((Some(user.to_lowercase()), address), FREE_PER_USER), ((None, address), FREE_PER_ADDRESS)]
}

fn since(last: Timestamp, now: Timestamp) -> Duration {
    (now - last).to_std().unwrap_or_default()
}

fn make_room(entries: &mut HashMap<Key, Entry>, now: Timestamp) {
    if entries.len() < MOST {
        return;
    }
    entries.retain(|_, entry| since(entry.last, now) < FORGET_AFTER);
    if entries.len() < MOST {
        return;
    }
    // A quarter at once, so that a flood does not sort them each time.
    let mut lasts: Vec<Timestamp> = entries.values().map(|entry| entry.last).collect();
    lasts.sort_unstable();
    let mut surplus = MOST / 4;
    let newest_out = lasts[surplus];
    entries.retain(|_, entry| {
        let out = surplus > 0 && entry.last <= newest_out;
        surplus -= usize::from(out);
        !out
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        chrono::DateTime::from_timestamp(1_793_491_200 + seconds, 0).unwrap()
    }

    fn peer(last: u8) -> Option<SocketAddr> {
        Some(SocketAddr::from(([192, 0, 2, last], 4000)))
    }

    #[test]
    fn waits_grow_to_half_a_minute_and_end() {
        let throttle = Throttle::default();
        let mut now = 0;
        for _ in 0..5 {
            throttle.attempt("ada", peer(1), at(now)).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..8 {
            let TooSoon { wait, first } = throttle.attempt("ada", peer(1), at(now)).unwrap_err();
            assert!(first, "each wait is told");
            assert!(!throttle.attempt("ada", peer(1), at(now)).unwrap_err().first, "and once");
            waits.push(wait.as_secs());
            now += i64::try_from(wait.as_secs()).unwrap();
            throttle.attempt("ada", peer(1), at(now)).unwrap();
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
        throttle.attempt("ada", peer(2), at(now)).unwrap();
        throttle.attempt("ada", peer(1), at(now + 1000)).unwrap();
        throttle.attempt("ada", peer(1), at(now + 1000)).unwrap();
    }

    #[test]
    fn a_success_forgives_the_user_and_not_the_address() {
        let throttle = Throttle::default();
        for _ in 0..4 {
            throttle.attempt("ada", peer(1), at(0)).unwrap();
        }
        throttle.succeeded("ada", peer(1));
        for n in 0..22 {
            throttle.attempt(&format!("user{n}"), peer(1), at(0)).unwrap();
        }
        throttle.attempt("ada", peer(1), at(0)).unwrap_err();
    }

    #[test]
    fn memory_is_bounded() {
        let throttle = Throttle::default();
        for n in 0..10_000_u32 {
            let address = SocketAddr::from((n.to_be_bytes(), 1));
            throttle.attempt("ada", Some(address), at(0)).unwrap();
        }
        assert!(throttle.entries().len() <= MOST);
    }
}
