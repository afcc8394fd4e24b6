//! Claims deliveries that are due and hands each to an attempt.

use crate::shared::Shared;
use model::Result;
use std::sync::Arc;
use std::time::Duration;
use store::ClaimFilter;
use tokio::sync::Semaphore;
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
    let mut woken = shared.store.wakeups();
    loop {
        // A wake-up between the claim and the wait must not be lost: mark what is seen before looking.
        woken.mark_unchanged();
        let claimed = match claim(&shared, &slots, &attempts).await {
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
        let slot_free = async {
            if slots.available_permits() == 0 {
                drop(slots.acquire().await);
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            _ = woken.changed() => {}
            () = slot_free => {}
            () = shared.services.clock.sleep(pause) => {}
            _ = shutdown.wait_for(|ended| *ended) => break,
        }
    }
    attempts.close();
    attempts.wait().await;
}

async fn claim(shared: &Arc<Shared>, slots: &Arc<Semaphore>, attempts: &TaskTracker) -> Result<usize> {
    let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX).min(MOST_CLAIMED);
    let lease = shared.lease.current();
    if free == 0 || shared.lease.may_act(lease.epoch).is_err() {
        return Ok(0);
    }
    let now = shared.now();
    let not_now = shared.health.not_now(now, shared.settings.deliveries_per_endpoint);
    let filter = ClaimFilter { skip_endpoints: not_now };
    let claimed = shared.store.claim(&lease, free, filter, now).await?;
    let count = claimed.len();
    for delivery in claimed {
        // Only this loop takes slots, and it claimed no more than were free.
        let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { break };
        let shared = Arc::clone(shared);
        shared.health.begin(&delivery.delivery.endpoint);
        attempts.spawn(async move {
            shared.attempt(delivery).await;
            drop(slot);
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
