//! Claims deliveries that are due and hands each to an attempt.

use crate::shared::Shared;
use model::{Result, Retry};
use std::sync::Arc;
use std::time::Duration;
use store::ClaimFilter;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// Longest time without a look at the database: wake-ups may be lost, polling is the truth.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Most deliveries taken by one claim.
const MOST_CLAIMED: u32 = 64;

/// Claims and attempts until shutdown, then waits for the attempts under way.
pub(crate) async fn dispatch(shared: Arc<Shared>, mut shutdown: Shutdown) {
    let slots = Arc::new(Semaphore::new(shared.settings.deliveries_at_once));
    let attempts = TaskTracker::new();
    // Told whenever an attempt ends: its place is free, in all and at its endpoint.
    let freed = Arc::new(Notify::new());
    let mut woken = shared.store.wakeups();
    loop {
        // A wake-up between the claim and the wait must not be lost: mark what is seen before looking.
        woken.mark_unchanged();
        let claimed = match claim(&shared, &slots, &attempts, &freed).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "deliveries could not be claimed");
                0
            }
        };
        if *shutdown.borrow() {
            break;
        }
        if claimed > 0 && slots.available_permits() > 0 {
            continue;
        }
        let pause = pause(&shared).await;
        tokio::select! {
            _ = woken.changed() => {}
            () = freed.notified() => {}
            () = shared.services.clock.sleep(pause) => {}
            _ = shutdown.wait_for(|ended| *ended) => break,
        }
    }
    attempts.close();
    attempts.wait().await;
}

async fn claim(
    shared: &Arc<Shared>,
    slots: &Arc<Semaphore>,
    attempts: &TaskTracker,
    freed: &Arc<Notify>,
) -> Result<usize> {
    let most = shared.settings.deliveries_per_endpoint;
    let free = u32::try_from(slots.available_permits().min(shared.health.room(most))).unwrap_or(u32::MAX);
    let lease = shared.lease.current();
    if free == 0 || shared.lease.is_doubtful(lease.epoch) || shared.lease.may_act(lease.epoch).is_err() {
        return Ok(0);
    }
    let now = shared.now();
    let mut skip_endpoints = shared.health.not_now(now, most);
    skip_endpoints.extend(shared.elsewhere());
    let claimed =
        shared.store.claim(&lease, free.min(MOST_CLAIMED), ClaimFilter { skip_endpoints }, now).await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(error) => {
            if error.retry() == Retry::Ambiguous {
                // Deliveries may be ours without our knowing which: nobody would ever attempt them.
                shared.lease.doubt(lease.epoch);
            }
            return Err(error);
        }
    };
    let count = claimed.len();
    for delivery in claimed {
        // Only this loop takes slots, and it claimed no more than were free.
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
        let (shared, freed) = (Arc::clone(shared), Arc::clone(freed));
        shared.health.begin(&delivery.delivery.endpoint);
        attempts.spawn(async move {
            shared.attempt(delivery).await;
            drop(slot);
            freed.notify_one();
        });
    }
    Ok(count)
}

/// How long until something becomes due.
async fn pause(shared: &Shared) -> Duration {
    let now = shared.now();
    let due = shared.store.next_due().await.unwrap_or(None);
    let earliest = [due, shared.health.next_return(now)].into_iter().flatten().filter(|at| *at > now).min();
    earliest
        .and_then(|at| (at - now).to_std().ok())
        .map_or(LONGEST_PAUSE, |wait| wait.min(LONGEST_PAUSE))
        .max(Duration::from_millis(5))
}
