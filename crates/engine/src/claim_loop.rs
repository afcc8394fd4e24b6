//! The loop of whatever claims work in the database and starts an attempt for each claim: deliveries, and steps of flows.

use crate::context::Context;
use async_trait::async_trait;
use model::{Error, Result, Retry};
use std::sync::Arc;
use std::time::Duration;
use store::NodeLease;
use tokio::sync::{Notify, watch};
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// The longest time between two queries. Wake-ups may be lost, and other processes that write to an SQLite file send
/// none, so polling is what guarantees progress.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What is claimed.
#[async_trait]
pub(crate) trait Claims: Send + Sync {
    /// What could not be claimed, for the log.
    const WHAT: &'static str;

    /// Tells when there may be something to claim.
    fn wakeups(&self) -> watch::Receiver<u64>;

    /// Claims what is due and there is room for, and starts an attempt for each. Returns their number.
    async fn claim(&self, lease: &NodeLease, attempts: &Attempts) -> Result<usize>;

    /// The time until the next query.
    async fn pause(&self) -> Duration {
        LONGEST_PAUSE
    }
}

/// The attempts that are running.
#[derive(Default)]
pub(crate) struct Attempts {
    running: TaskTracker,
    /// Notified when one ends, which makes room for another.
    freed: Arc<Notify>,
}

impl Attempts {
    /// How many are running.
    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    /// Starts one.
    pub(crate) fn start(&self, attempt: impl Future<Output = ()> + Send + 'static) {
        let freed = Arc::clone(&self.freed);
        let running = self.running.token();
        tokio::spawn(async move {
            attempt.await;
            // Before the next claim counts.
            drop(running);
            freed.notify_one();
        });
    }
}

/// Claims and starts attempts until shutdown, then waits for running attempts.
pub(crate) async fn run<C: Claims>(context: &Context, claims: C, mut shutdown: Shutdown) {
    let attempts = Attempts::default();
    let mut woken = claims.wakeups();
    let mut suspensions = context.suspensions.subscribe();
    loop {
        // A wake-up between the claim and the wait must not be lost, so the current value is marked as seen before
        // the query.
        woken.mark_unchanged();
        let claimed = match claim(context, &claims, &attempts).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(what = C::WHAT, error = %error.chain(), "could not be claimed");
                0
            }
        };
        if *shutdown.borrow() {
            break;
        }
        if claimed > 0 {
            continue;
        }
        let pause = claims.pause().await;
        tokio::select! {
            _ = woken.changed() => {}
            _ = suspensions.changed() => {}
            () = attempts.freed.notified() => {}
            () = context.services.clock.sleep(pause) => {}
            _ = shutdown.wait_for(|ended| *ended) => break,
        }
    }
    attempts.running.close();
    attempts.running.wait().await;
}

async fn claim<C: Claims>(context: &Context, claims: &C, attempts: &Attempts) -> Result<usize> {
    let lease = context.lease.current();
    if context.lease.is_doubtful(lease.epoch) || context.lease.may_act(lease.epoch).is_err() {
        return Ok(0);
    }
    let doubt = |error: &Error| {
        if error.retry() == Retry::Ambiguous {
            // The claim may have been committed although its answer was lost: then this node holds claims that it does not know
            // of, and no other node may take them over while this one's lease lasts.
            context.lease.doubt(lease.epoch);
        }
    };
    claims.claim(&lease, attempts).await.inspect_err(doubt)
}
