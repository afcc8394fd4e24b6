//! Polls one flow's source: when, and what follows from a poll that fails. What becomes of each offer
//! is in `taking`.

use crate::adapters::Known;
use crate::endpoints::{Change, Seen};
use crate::guard::guarded;
use crate::shared::Shared;
use crate::taking::Discovered;
use futures::{StreamExt, TryStreamExt};
use model::definition::{Flow, PollSource};
use model::{Error, EventKind, Retry};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use store::NodeLease;
use tokio_util::task::TaskTracker;
use transport::{Discovery, Shutdown};

/// Longest wait after polls that failed for good, unless the flow's own interval is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Polls one flow until shutdown.
pub(crate) struct Poller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) poll: PollSource,
    /// How long the first poll waits, so that many flows do not begin at once.
    pub(crate) first_after: Duration,
    /// What was staged and is not recorded yet, also by this flow's pollers of earlier revisions.
    pub(crate) in_hand: TaskTracker,
    /// Offers that were gone or changed when they were read, and how many polls ago.
    pub(crate) missed: Mutex<HashMap<String, u8>>,
}

/// The share of each flow in the time over which the first polls of many are spread.
const SHARE: Duration = Duration::from_millis(10);

/// When a flow is first polled after a start or a revision: by its name, within its interval and a
/// moment that grows with the number of flows. A single flow waits for nobody.
fn first_after(flow: &str, every: Duration, pollers: usize) -> Duration {
    let others = u32::try_from(pollers.saturating_sub(1)).unwrap_or(u32::MAX);
    let spread = every.min(SHARE.saturating_mul(others));
    let [a, b, ..] = openssl::sha::sha256(flow.as_bytes());
    spread.mul_f64(f64::from(u16::from_be_bytes([a, b])) / 65536.0)
}

/// Whose trouble ended a poll.
pub(crate) enum Trouble {
    /// The source's.
    Source(Error),
    /// Our own: the database, the lease, staging.
    Ours(Error),
}

impl Poller {
    /// The poller of a flow, one of so many.
    pub(crate) fn new(shared: Arc<Shared>, flow: Arc<Flow>, poll: PollSource, pollers: usize) -> Arc<Self> {
        let first_after = first_after(&flow.name, poll.every, pollers);
        let in_hand = shared.in_hand().entry(flow.name.clone()).or_default().clone();
        // Closed, so that it can be waited for; what comes later is counted all the same.
        in_hand.close();
        Arc::new(Self { shared, flow, poll, first_after, in_hand, missed: Mutex::default() })
    }

    /// Polls at each interval while this node holds the source's lease. After a poll that failed for
    /// good the waits grow.
    pub(crate) async fn run(self: Arc<Self>, mut shutdown: Shutdown) {
        let clock = Arc::clone(&self.shared.services.clock);
        let mut refusals = 0_u32;
        let mut pause = self.first_after;
        loop {
            if !pause.is_zero() {
                tokio::select! {
                    () = clock.sleep(pause) => {}
                    _ = shutdown.wait_for(|ended| *ended) => break,
                }
            }
            let begun = clock.monotonic();
            tokio::select! {
                // What is being recorded or settled goes on in tasks of its own; the rest is dropped.
                refused = self.poll_if_ours() => match refused {
                    Some(true) => refusals = refusals.saturating_add(1),
                    Some(false) => refusals = 0,
                    None => {}
                },
                _ = shutdown.wait_for(|ended| *ended) => break,
            }
            let spent = clock.monotonic().saturating_sub(begun);
            let every = self.poll.every;
            let grown = every.saturating_mul(1 << refusals.min(16)).min(LONGEST_WAIT).max(every);
            pause = grown.saturating_sub(spent);
        }
        self.shared.unstable.forget_flow(&self.flow.name);
        let lease = self.shared.lease.current();
        if let Err(error) = self.shared.store.release_source(&lease, &self.source_name()).await {
            tracing::warn!(flow = %self.flow.name, error = %error.chain(), "the source's lease was not given back; it lapses by itself");
        }
    }

    pub(crate) fn source_name(&self) -> String {
        format!("flow/{}", self.flow.name)
    }

    /// Polls once, if it is this node's to do. Answers whether it failed for good; `None` when nothing
    /// was learned.
    async fn poll_if_ours(self: &Arc<Self>) -> Option<bool> {
        let shared = &self.shared;
        self.in_hand.wait().await;
        let lease = shared.lease.current();
        match shared.store.acquire_source(&lease, &self.source_name(), shared.now()).await {
            Ok(true) => {}
            Ok(false) => {
                // Another node polls it, and counts.
                self.shared.unstable.forget_flow(&self.flow.name);
                return None;
            }
            Err(error) => {
                tracing::warn!(flow = %self.flow.name, error = %error.chain(), "the source's lease could not be asked for");
                return None;
            }
        }
        if shared.health.not_now(shared.now(), usize::MAX).contains(&self.poll.endpoint) {
            return None;
        }
        let polled = guarded("poll a source", async { Ok(self.poll_once(&lease).await) }).await;
        let (error, seen) = match polled.unwrap_or_else(|error| Err(Trouble::Source(error))) {
            Ok(()) => (None, Seen::Reached),
            Err(Trouble::Source(error)) => {
                let seen = Seen::of(&error);
                (Some(error), seen)
            }
            Err(Trouble::Ours(error)) => (Some(error), Seen::Nothing),
        };
        let change = shared.health.saw(&self.poll.endpoint, seen, shared.now());
        if let Some(error) = &error {
            tracing::warn!(flow = %self.flow.name, endpoint = %self.poll.endpoint, error = %error.chain(), "a poll failed");
            let event = shared.event(EventKind::PollFailed).flow(&self.flow.name);
            shared.record(event.endpoint(&self.poll.endpoint).error(error)).await;
        }
        shared.record_health(&self.poll.endpoint, change).await;
        Some(error.is_some_and(|error| error.retry() == Retry::Permanent))
    }

    async fn poll_once(self: &Arc<Self>, lease: &NodeLease) -> Result<(), Trouble> {
        self.forget_missed();
        let (endpoint, transport) = self.shared.endpoint(&self.poll.endpoint).map_err(Trouble::Source)?;
        let source = transport
            .source(endpoint, Arc::clone(&self.flow), self.shared.services.clone())
            .map_err(Trouble::Source)?;
        let known = Arc::new(Known {
            store: self.shared.store.clone(),
            flow: self.flow.name.clone(),
            endpoint: self.poll.endpoint.clone(),
            listing: self.shared.now(),
            unstable: Arc::clone(&self.shared.unstable),
            failed: AtomicBool::new(false),
        });
        let trouble = |error| match known.failed.load(Ordering::SeqCst) {
            true => Trouble::Ours(error),
            false => Trouble::Source(error),
        };
        let offers = source.discover(Discovery { known: Arc::clone(&known) as _ }).await.map_err(trouble)?;
        // The listing came: that a file is gone is not that the whole place is away.
        self.take_kept(&source, lease).await?;
        // What came before an error stands: it is taken before the poll fails.
        let broken = Arc::new(Mutex::new(None));
        let offers = offers.scan(Arc::clone(&broken), |broken, item| {
            std::future::ready(match item {
                Ok(found) => Some(found),
                Err(error) => {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    None
                }
            })
        });
        let most = self.shared.settings.stagings_at_once;
        let staged = offers.map(|offer| {
            let (poller, source) = (Arc::clone(self), Arc::clone(&source));
            let found = Discovered { offer, at: self.shared.now(), lease: lease.clone() };
            let known_at = known.listing;
            async move {
                let read = poller.read(source.as_ref(), &found.offer).await;
                poller.note_unstable(&found.offer, &read, known_at);
                (found, read)
            }
        });
        let take = |(found, read)| Arc::clone(self).hand_over(Arc::clone(&source), found, read);
        // Staging runs ahead in both cases. In an ordered flow recording keeps the order of the
        // offers; otherwise whatever is staged first is recorded first.
        if self.flow.ordered {
            staged.buffered(most).map(Ok).try_for_each(take).await?;
        } else {
            staged.buffer_unordered(most).map(Ok).try_for_each_concurrent(most, take).await?;
        }
        self.warn_of_unstable(known.listing).await;
        let broken = broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        broken.map_or(Ok(()), |error| Err(trouble(error)))
    }
}

impl Shared {
    /// Writes an endpoint's going and coming to the audit trail.
    pub(crate) async fn record_health(&self, endpoint: &str, change: Change) {
        let event = match change {
            Change::None => return,
            Change::WentOffline(until) => self
                .event(EventKind::EndpointOffline)
                .detail("until", until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            Change::CameOnline => self.event(EventKind::EndpointOnline),
        };
        self.record(event.endpoint(endpoint)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_polls_are_spread_over_a_moment() {
        let minute = Duration::from_secs(60);
        assert_eq!(first_after("orders", minute, 1), Duration::ZERO);
        let many: Vec<_> = (0..1000).map(|n| first_after(&format!("flow-{n}"), minute, 1000)).collect();
        assert!(many.iter().all(|wait| *wait < Duration::from_secs(10)));
        for second in 0..10 {
            let in_it = many.iter().filter(|wait| wait.as_secs() == second).count();
            assert!((50..200).contains(&in_it), "{in_it} in second {second}");
        }
        assert_eq!(many[7], first_after("flow-7", minute, 1000), "the same at each start");
        let often = Duration::from_secs(2);
        assert!((0..1000).all(|n| first_after(&format!("flow-{n}"), often, 1000) < often));
    }
}
