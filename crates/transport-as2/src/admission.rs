//! How many messages are read at once. Who sends one is not proved before its last byte: strangers must
//! not take the buffers, threads and descriptors that deliveries and other partners need.
//!
//! A message gets a place once its first bytes are there, and its sender must keep to the least pace of any
//! body. The messages of one client address, and those that name one partner, have a share of all places
//! only: who waits for its own share takes nothing from anybody else.

use crate::streaming::STREAM_BUFFERS;
use model::{Error, ErrorKind, Result};
use net::http::client_network;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use transport::{BufferBudget, BufferLease};

/// Each message that is read holds a thread of the blocking pool, which has 512 and other work to do.
const MOST_PLACES: usize = 256;
/// Files of all messages together that are open until their message is proved, the first of each apart.
pub(crate) const MORE_PARTS: usize = 256;

/// How long a message waits for a place. Its sender is then told to come again: many give up a minute after
/// the last byte that they sent.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The places for messages on their way in.
pub(crate) struct Admission {
    budget: BufferBudget,
    places: Semaphore,
    of_client: Shares<IpAddr>,
    of_partner: Shares<String>,
    /// Messages that wait for a place.
    waiting: AtomicUsize,
    more_parts: Arc<Semaphore>,
    longest_wait: Duration,
}

/// A place, given back when dropped.
pub(crate) struct Admitted<'a> {
    _client: OwnedSemaphorePermit,
    _partner: OwnedSemaphorePermit,
    _place: SemaphorePermit<'a>,
    _room: BufferLease,
}

impl Admission {
    /// As many places as half the budget carries; an eighth of them for one client, half for one partner.
    pub(crate) fn new(budget: &BufferBudget) -> Self {
        let places = places(budget.total());
        Self {
            places: Semaphore::new(places),
            of_client: Shares::new(places / 8),
            of_partner: Shares::new(places / 2),
            waiting: AtomicUsize::new(0),
            budget: budget.clone(),
            more_parts: Arc::new(Semaphore::new(MORE_PARTS)),
            longest_wait: LONGEST_WAIT,
        }
    }

    /// Waits for a place and its buffers, for a message from this address that names this partner.
    ///
    /// # Errors
    /// `Throttled`: there was none for [`LONGEST_WAIT`]. The process ends.
    pub(crate) async fn enter(&self, client: IpAddr, partner: &str) -> Result<Admitted<'_>> {
        let entered = tokio::time::timeout(self.longest_wait, self.wait_in_line(client, partner)).await;
        entered.unwrap_or_else(|_| {
            Err(Error::transient(ErrorKind::Throttled, "read a message")
                .with("waited", format!("{} s", self.longest_wait.as_secs()))
                .with("client_places", self.of_client.each)
                .with("partner_places", self.of_partner.each)
                .advice("too many messages are being received at the same time: from this address, from this partner, or in all"))
        })
    }

    async fn wait_in_line(&self, client: IpAddr, partner: &str) -> Result<Admitted<'_>> {
        let _waits = Waits::new(&self.waiting);
        let ended = |error| {
            Error::transient(ErrorKind::Internal, "wait until a message may be read").caused_by(error)
        };
        // Always in this order, so that nobody holds what another one waits for.
        let of_client = self.of_client.of(client_network(client)).acquire_owned().await.map_err(ended)?;
        let of_partner = self.of_partner.of(partner.to_owned()).acquire_owned().await.map_err(ended)?;
        let place = self.places.acquire().await.map_err(ended)?;
        let room = self.budget.take(STREAM_BUFFERS).await;
        Ok(Admitted { _client: of_client, _partner: of_partner, _place: place, _room: room })
    }

    /// Whether messages wait for a place: whoever has one and stalls may have to give it up.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// The places for parts, [`MORE_PARTS`] of them.
    pub(crate) fn more_parts(&self) -> Arc<Semaphore> {
        Arc::clone(&self.more_parts)
    }
}

fn places(budget: u64) -> usize {
    usize::try_from(budget / 2 / STREAM_BUFFERS as u64).unwrap_or(MOST_PLACES).clamp(1, MOST_PLACES)
}

/// Counts somebody as waiting until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A few places for each key, as long as somebody has or wants one of them.
pub(crate) struct Shares<K> {
    each: usize,
    keys: Mutex<HashMap<K, Weak<Semaphore>>>,
}

/// Keys whose places nobody wants any more are looked for when there are so many.
const MANY_KEYS: usize = 256;

impl<K: Eq + Hash> Shares<K> {
    /// So many places for each, at least one.
    pub(crate) fn new(each: usize) -> Self {
        Self { each: each.max(1), keys: Mutex::default() }
    }

    pub(crate) fn of(&self, key: K) -> Arc<Semaphore> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= MANY_KEYS {
            keys.retain(|_, share| share.strong_count() > 0);
        }
        let share = keys.entry(key).or_default();
        share.upgrade().unwrap_or_else(|| {
            let new = Arc::new(Semaphore::new(self.each));
            *share = Arc::downgrade(&new);
            new
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    fn client(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[test]
    fn messages_coming_in_never_take_the_whole_budget() {
        for (budget, expected) in [(24 << 20, 8), (384 << 20, 128), (1 << 20, 1), (0, 1), (64 << 30, 256)] {
            assert_eq!(places(budget), expected, "{budget}");
        }
    }

    #[tokio::test]
    async fn a_place_takes_its_buffers_and_gives_them_back() {
        let budget = BufferBudget::new(4 * STREAM_BUFFERS as u64);
        let admission = Admission::new(&budget);
        let held = [
            admission.enter(client(1), "acme").await.unwrap(),
            admission.enter(client(2), "globex").await.unwrap(),
        ];
        assert_eq!(budget.free(), budget.total() / 2);
        // The third waits.
        let mut third = Box::pin(admission.enter(client(3), "initech"));
        assert!((&mut third).now_or_never().is_none());
        assert!(admission.is_crowded());
        drop(held);
        assert!(third.await.is_ok());
        assert_eq!(budget.free(), budget.total());
        assert!(!admission.is_crowded());
    }

    /// A small budget, and strangers who take all they can get, from a few addresses in one partner's name.
    #[tokio::test]
    async fn neither_a_client_nor_a_partners_name_takes_the_places_of_others() {
        let admission = Admission::new(&BufferBudget::new(24 << 20));
        let try_enter =
            |from: u8, partner: &'static str| admission.enter(client(from), partner).now_or_never();
        let mut held = Vec::new();
        for from in 1..=4 {
            held.extend((0..20).filter_map(|_| try_enter(from, "acme")));
        }
        assert_eq!(held.len(), 4, "half of the eight places, one for each address");
        held.extend((0..20).filter_map(|_| try_enter(1, "globex")));
        assert_eq!(held.len(), 4, "the first address has its share");
        // Partners from elsewhere go on, the one in whose name it is done from the next place that is free.
        for (from, partner) in [(11, "globex"), (12, "initech")] {
            assert!(try_enter(from, "acme").is_none());
            assert!(try_enter(from, partner).is_some());
        }
        drop(held.remove(0));
        assert!(try_enter(11, "acme").is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_place_without_end() {
        let mut admission = Admission::new(&BufferBudget::new(16 << 20));
        admission.longest_wait = Duration::from_millis(10);
        let held = admission.enter(client(1), "acme").await.unwrap();
        let error = admission.enter(client(1), "globex").await.err().unwrap();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Throttled, model::Retry::Transient));
        assert!(!admission.is_crowded());
        drop(held);
        assert!(admission.enter(client(1), "globex").await.is_ok());
    }

    #[tokio::test]
    async fn shares_that_nobody_wants_are_forgotten() {
        let shares = Shares::new(1);
        let kept = shares.of(0_usize);
        for key in 1..10_000 {
            drop(shares.of(key));
        }
        assert!(shares.keys.lock().unwrap().len() <= MANY_KEYS);
        assert!(Arc::ptr_eq(&kept, &shares.of(0)));
    }
}
