//! Runs the pollers of this node's flows, and follows the definitions.

use crate::context::Context;
use crate::ingest::poll::Poller;
use crate::ingest::polled_flow::{PolledFlow, Polling};
use crate::ingest::settle::Settler;
use crate::ingest::unconfirmed::UnconfirmedReadings;
use crate::ingest::unstable::UnstableFiles;
use model::definition::{Definitions, FlowSource};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;
use tokio_util::task::TaskTracker;
use transport::Shutdown;

/// The pollers of this node's flows.
pub(crate) struct Pollers {
    polling: Polling,
    /// By flow, what was staged and is not recorded yet.
    unrecorded: HashMap<String, TaskTracker>,
}

impl Pollers {
    pub(crate) fn new(context: Arc<Context>, settler: Arc<Settler>, unstable: Arc<UnstableFiles>) -> Self {
        let unconfirmed = Arc::new(UnconfirmedReadings::default());
        Self { polling: Polling { context, settler, unstable, unconfirmed }, unrecorded: HashMap::new() }
    }

    /// Runs one poller for each enabled polled flow; a new revision ends them and starts the new ones.
    pub(crate) async fn run(
        mut self,
        mut definitions: watch::Receiver<Arc<Definitions>>,
        mut shutdown: Shutdown,
    ) {
        let context = Arc::clone(&self.polling.context);
        loop {
            let current = Arc::clone(&definitions.borrow_and_update());
            let (stop, stopped) = watch::channel(false);
            let pollers = TaskTracker::new();
            // No poller runs now: what is empty stays so, and flows that are gone are forgotten.
            self.unrecorded.retain(|_, unrecorded| !unrecorded.is_empty());
            let polled =
                current.flows.values().filter(|flow| flow.enabled).filter_map(|flow| match &flow.source {
                    FlowSource::Poll(poll) => Some((flow, poll)),
                    FlowSource::Receive(_) => None,
                });
            let ours = polled.filter(|(_, poll)| {
                current.endpoints.get(&poll.endpoint).is_none_or(|endpoint| context.may_use(endpoint))
            });
            let ours: Vec<_> = ours.collect();
            for (flow, poll) in &ours {
                let unrecorded = self.unrecorded.entry(flow.name.clone()).or_default().clone();
                // Closed, so that it can be waited for; what comes later is counted all the same.
                unrecorded.close();
                let polled =
                    PolledFlow::new(self.polling.clone(), Arc::clone(flow), (*poll).clone(), unrecorded);
                pollers.spawn(Poller::new(polled, ours.len()).run(stopped.clone()));
            }
            let ended = tokio::select! {
                changed = definitions.changed() => changed.is_err(),
                _ = shutdown.wait_for(|ended| *ended) => true,
            };
            stop.send_replace(true);
            pollers.close();
            pollers.wait().await;
            if ended {
                return;
            }
            context.health.bring_all_online(context.now());
        }
    }
}
