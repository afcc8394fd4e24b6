//! Runs the pollers of this node's flows, and follows the definitions.

use crate::context::Context;
use crate::ingest::claimed::ClaimedFiles;
use crate::ingest::poll::Poller;
use crate::ingest::polled_flow::{PolledFlow, Polling};
use crate::ingest::room::StagingRoom;
use crate::ingest::settle::Settler;
use crate::ingest::unconfirmed::UnconfirmedReadings;
use crate::ingest::unstable::UnstableFiles;
use model::definition::{Definitions, Flow, FlowSource};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// The pollers of this node's flows.
pub(crate) struct Pollers {
    polling: Polling,
    /// The numbers of offers that are staged and not recorded yet, by flow.
    unrecorded: HashMap<String, TaskTracker>,
    /// The pollers, by flow.
    running: HashMap<String, Running>,
}

/// A flow's poller.
struct Running {
    flow: Arc<Flow>,
    stop: watch::Sender<bool>,
    task: TaskTracker,
}

impl Running {
    async fn end(self) {
        self.stop.send_replace(true);
        self.task.close();
        self.task.wait().await;
    }
}

impl Pollers {
    pub(crate) fn new(
        context: Arc<Context>,
        settler: Arc<Settler>,
        unstable: Arc<UnstableFiles>,
        claimed: Arc<ClaimedFiles>,
        staging_room: Arc<StagingRoom>,
    ) -> Self {
        let unconfirmed = Arc::new(UnconfirmedReadings::default());
        let polling = Polling { context, settler, unstable, unconfirmed, claimed, staging_room };
        Self { polling, unrecorded: HashMap::new(), running: HashMap::new() }
    }

    /// Runs one poller for each enabled polled flow that is not paused and whose endpoint is not set offline. A new
    /// revision stops the pollers of flows that it changed or removed, and starts those of new and changed flows; the
    /// others continue. Endpoints that it changed are tried again.
    pub(crate) async fn run(
        mut self,
        mut definitions: watch::Receiver<Arc<Definitions>>,
        mut shutdown: Shutdown,
    ) {
        let mut suspensions = self.polling.context.suspensions.subscribe();
        let mut current = Arc::clone(&definitions.borrow_and_update());
        self.polling.context.health.follow(&current);
        self.follow(&current).await;
        loop {
            let ended = tokio::select! {
                changed = definitions.changed() => changed.is_err(),
                changed = suspensions.changed() => changed.is_err(),
                _ = shutdown.wait_for(|ended| *ended) => true,
            };
            if ended {
                for (_, running) in self.running.drain() {
                    running.end().await;
                }
                return;
            }
            let before = std::mem::replace(&mut current, Arc::clone(&definitions.borrow_and_update()));
            let context = &self.polling.context;
            context.health.follow(&current);
            context.try_again(&current.changed_endpoints(&before)).await;
            self.follow(&current).await;
        }
    }

    /// Stops and starts pollers to match these definitions.
    async fn follow(&mut self, definitions: &Definitions) {
        let polled = definitions.flows.values().filter(|flow| flow.enabled);
        let polled = polled.filter_map(|flow| match &flow.source {
            FlowSource::Poll(poll) => Some((flow, poll)),
            FlowSource::Receive(_) => None,
        });
        let suspensions = self.polling.context.suspensions();
        let ours = polled.filter(|(flow, poll)| {
            let endpoint = definitions.endpoints.get(&poll.endpoint);
            endpoint.is_none_or(|endpoint| self.polling.context.may_use(endpoint))
                && suspensions.flow(&flow.name).is_none()
                && self.polling.context.set_offline(definitions, &poll.endpoint).is_none()
        });
        let ours: BTreeMap<&str, _> = ours.map(|(flow, poll)| (flow.name.as_str(), (flow, poll))).collect();
        let goes_on = |name: &String, running: &Running| {
            ours.get(name.as_str()).is_some_and(|(flow, _)| **flow == running.flow)
        };
        let ending: Vec<String> = self
            .running
            .iter()
            .filter(|(name, running)| !goes_on(name, running))
            .map(|(name, _)| name.clone())
            .collect();
        for name in ending {
            if let Some(running) = self.running.remove(&name) {
                running.end().await;
            }
        }
        // An empty counter without a poller stays empty, so counters of removed flows are dropped.
        let running = &self.running;
        self.unrecorded.retain(|name, unrecorded| running.contains_key(name) || !unrecorded.is_empty());
        let count = ours.len();
        for (flow, poll) in ours.into_values() {
            if self.running.contains_key(&flow.name) {
                continue;
            }
            let unrecorded = self.unrecorded.entry(flow.name.clone()).or_default().clone();
            // A closed tracker can be waited for; tasks that are added later still count.
            unrecorded.close();
            let of = (Arc::clone(flow), definitions.revision);
            let polled = PolledFlow::new(self.polling.clone(), of, poll.clone(), unrecorded);
            let (stop, stopped) = watch::channel(false);
            let task = TaskTracker::new();
            task.spawn(Poller::new(polled, count).run(stopped));
            self.running.insert(flow.name.clone(), Running { flow: Arc::clone(flow), stop, task });
        }
    }
}
