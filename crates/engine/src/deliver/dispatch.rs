//! Claims deliveries that are due and starts an attempt for each.

use crate::context::Context;
use crate::deliver::attempt::attempt;
use crate::deliver::pools::WorkerPools;
use model::definition::Definitions;
use model::{Result, Retry, Timestamp};
use std::sync::Arc;
use std::time::Duration;
use store::ClaimFilter;
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// The longest time between two queries. Wake-ups may be lost, and other processes that write to an SQLite file send
/// none, so polling is what guarantees progress.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// The most deliveries in one claim.
const MOST_CLAIMED: u32 = 64;

/// Claims deliveries and starts attempts until shutdown, then waits for running attempts.
pub(crate) async fn dispatch(context: Arc<Context>, mut shutdown: Shutdown) {
    let pools = WorkerPools::default();
    let attempts = TaskTracker::new();
    // Notified when an attempt ends, which frees a slot in its pool and at its endpoint.
    let freed = Arc::new(Notify::new());
    let mut woken = context.store.wakeups();
    let mut suspensions = context.suspensions.subscribe();
    loop {
        // A wake-up between the claim and the wait must not be lost, so the current value is marked as seen before
        // the query.
        woken.mark_unchanged();
        let claimed = match claim(&context, &pools, &attempts, &freed).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = %error.chain(), "deliveries could not be claimed");
                0
            }
        };
        if *shutdown.borrow() {
            break;
        }
        if claimed > 0 {
            continue;
        }
        let pause = pause(&context).await;
        tokio::select! {
            _ = woken.changed() => {}
            _ = suspensions.changed() => {}
            () = freed.notified() => {}
            () = context.services.clock.sleep(pause) => {}
            _ = shutdown.wait_for(|ended| *ended) => break,
        }
    }
    attempts.close();
    attempts.wait().await;
}

async fn claim(
    context: &Arc<Context>,
    pools: &WorkerPools,
    attempts: &TaskTracker,
    freed: &Arc<Notify>,
) -> Result<usize> {
    // One object: a revision that comes in between only leaves its deliveries to the next claim.
    let definitions = context.definitions();
    let pool_rooms = pools.rooms(&definitions, context.settings.deliveries_at_once);
    let free = pool_rooms.rooms.values().fold(0_usize, |sum, room| sum.saturating_add(*room));
    let free = u32::try_from(free).unwrap_or(u32::MAX);
    let lease = context.lease.current();
    if free == 0 || context.lease.is_doubtful(lease.epoch) || context.lease.may_act(lease.epoch).is_err() {
        return Ok(0);
    }
    let now = context.now();
    let room = context.settings.deliveries_per_endpoint;
    let rooms = context.health.rooms(&definitions, room);
    let mut skip_sources = context.health.offline(now);
    skip_sources.extend(context.endpoints_of_other_nodes());
    skip_sources.extend(context.suspensions().endpoints().map(str::to_owned));
    let mut skip_endpoints = skip_sources.clone();
    skip_endpoints.extend(rooms.iter().filter(|(_, room)| **room == 0).map(|(name, _)| name.clone()));
    let filter = ClaimFilter {
        skip_endpoints,
        skip_sources,
        closed: closed(&definitions, now),
        revision: definitions.revision,
        rooms,
        room,
        pools: pool_rooms.clone(),
    };
    let claimed = context.store.claim(&lease, free.min(MOST_CLAIMED), filter, now).await;
    let claimed = match claimed {
        Ok(claimed) => claimed,
        Err(error) => {
            if error.retry() == Retry::Ambiguous {
                // Deliveries may be claimed by this node without its knowing which: nobody would attempt them.
                context.lease.doubt(lease.epoch);
            }
            return Err(error);
        }
    };
    let count = claimed.len();
    for delivery in claimed {
        let slot = pools.enter(pool_rooms.pool(&delivery.delivery.endpoint, &delivery.transfer.flow));
        let (context, freed) = (Arc::clone(context), Arc::clone(freed));
        context.health.begin(&delivery.delivery.endpoint);
        attempts.spawn(async move {
            attempt(&context, delivery).await;
            drop(slot);
            freed.notify_one();
        });
    }
    Ok(count)
}

/// The destinations outside whose hours it is, each as `flow/destination`.
fn closed(definitions: &Definitions, now: Timestamp) -> Vec<String> {
    let mut closed = Vec::new();
    for flow in definitions.flows.values() {
        let restricted = flow
            .destinations
            .iter()
            .filter(|to| !to.hours.is_unrestricted() && to.hours.closed_at(now).is_some());
        closed.extend(restricted.map(|to| format!("{}/{}", flow.name, to.name)));
    }
    closed
}

/// The time until the next delivery is due.
async fn pause(context: &Context) -> Duration {
    let now = context.now();
    let due = context.store.next_due().await.unwrap_or(None);
    let earliest = [due, context.health.next_return(now)].into_iter().flatten().filter(|at| *at > now).min();
    earliest
        .and_then(|at| (at - now).to_std().ok())
        .map_or(LONGEST_PAUSE, |wait| wait.min(LONGEST_PAUSE))
        .max(Duration::from_millis(5))
}
