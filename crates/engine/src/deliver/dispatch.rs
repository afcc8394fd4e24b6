//! Claims deliveries that are due and starts an attempt for each.

use crate::claim_loop::{self, Attempts, Claims, LONGEST_PAUSE};
use crate::context::Context;
use crate::deliver::attempt::attempt;
use crate::deliver::hours::Hours;
use crate::deliver::pools::WorkerPools;
use async_trait::async_trait;
use model::Result;
use model::definition::Definitions;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use store::{ClaimFilter, NodeLease};
use tokio::sync::watch;
use transport::Shutdown;

/// The most deliveries in one claim.
const MOST_CLAIMED: u32 = 64;

/// Claims deliveries and starts attempts until shutdown, then waits for running attempts.
pub(crate) async fn dispatch(context: Arc<Context>, shutdown: Shutdown) {
    let (pools, hours) = (WorkerPools::default(), Hours::default());
    let deliveries = Deliveries { context: Arc::clone(&context), pools, hours };
    claim_loop::run(&context, deliveries, shutdown).await;
}

struct Deliveries {
    context: Arc<Context>,
    pools: WorkerPools,
    hours: Hours,
}

#[async_trait]
impl Claims for Deliveries {
    const WHAT: &'static str = "deliveries";

    fn wakeups(&self) -> watch::Receiver<u64> {
        self.context.store.wakeups()
    }

    async fn claim(&self, lease: &NodeLease, attempts: &Attempts) -> Result<usize> {
        let Self { context, pools, hours } = self;
        // One object: a revision that comes in between only leaves its deliveries to the next claim.
        let definitions = context.definitions();
        let pool_rooms = pools.rooms(&definitions, context.settings.deliveries_at_once);
        let free = pool_rooms.rooms.values().fold(0_usize, |sum, room| sum.saturating_add(*room));
        let free = u32::try_from(free).unwrap_or(u32::MAX);
        if free == 0 {
            return Ok(0);
        }
        let now = context.now();
        let room = context.settings.deliveries_per_endpoint;
        let rooms = context.health.rooms(&definitions, room);
        let mut skip_sources = context.health.offline(now);
        skip_sources.extend(context.endpoints_of_other_nodes());
        skip_sources.extend(context.all_set_offline(&definitions));
        let mut skip_endpoints = skip_sources.clone();
        skip_endpoints.extend(rooms.iter().filter(|(_, room)| **room == 0).map(|(name, _)| name.clone()));
        let filter = ClaimFilter {
            skip_endpoints,
            skip_sources,
            closed: hours.follow(context, &definitions, now).await?,
            revision: definitions.revision,
            rooms,
            room,
            pools: pool_rooms.clone(),
            priorities: priorities(&definitions),
        };
        let claimed = context.store.claim(lease, free.min(MOST_CLAIMED), filter, now).await?;
        let count = claimed.len();
        for delivery in claimed {
            let slot = pools.enter(pool_rooms.pool(&delivery.delivery.endpoint, &delivery.transfer.flow));
            let context = Arc::clone(context);
            context.health.begin(&delivery.delivery.endpoint);
            attempts.start(async move {
                attempt(&context, delivery).await;
                drop(slot);
            });
        }
        Ok(count)
    }

    async fn pause(&self) -> Duration {
        pause(&self.context).await
    }
}

/// The destinations that say how urgent their deliveries are, each as `flow/destination`.
fn priorities(definitions: &Definitions) -> BTreeMap<String, u8> {
    let flows = definitions.flows.values();
    let destinations = flows.flat_map(|flow| flow.destinations.iter().map(move |to| (flow, to)));
    destinations
        .filter_map(|(flow, to)| Some((format!("{}/{}", flow.name, to.name), to.priority()?)))
        .collect()
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
