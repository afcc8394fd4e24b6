//! Runs of flows that people request: started and finished under this node's lease, and recorded with their results.

use crate::ingest::polled_flow::PolledFlow;
use model::{EventKind, PollReport, Severity};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::{FlowRunResult, NodeLease, OpenFlowRun};
use tokio::sync::watch;
use uuid::Uuid;

/// The open runs of one flow, as this node knows them.
pub(crate) struct RunsOfFlow {
    flow: String,
    open: watch::Receiver<Arc<Vec<OpenFlowRun>>>,
    /// Runs that are finished here and may still be listed for a moment.
    done: BTreeSet<Uuid>,
}

impl RunsOfFlow {
    pub(crate) fn new(polled: &PolledFlow) -> Self {
        let open = polled.context.flow_runs.subscribe();
        Self { flow: polled.flow.name.clone(), open, done: BTreeSet::new() }
    }

    /// Waits until a person requests a run of the flow.
    pub(crate) async fn asked_for(&mut self) -> Vec<OpenFlowRun> {
        let Self { flow, open, done } = self;
        let is_new = |run: &&OpenFlowRun| run.flow == *flow && !done.contains(&run.id);
        let found = open
            .wait_for(|open| open.iter().any(|run| is_new(&run)))
            .await
            .map(|open| open.iter().filter(is_new).cloned().collect());
        match found {
            Ok(runs) => runs,
            // The engine is stopping.
            Err(_) => std::future::pending().await,
        }
    }

    /// Forgets runs that were started here or are over.
    pub(crate) fn are_done(&mut self, runs: &[OpenFlowRun]) {
        let open = self.open.borrow();
        self.done.retain(|id| open.iter().any(|run| run.id == *id));
        drop(open);
        self.done.extend(runs.iter().map(|run| run.id));
    }
}

/// Starts runs; returns those that this node executes.
pub(crate) async fn begin(polled: &PolledFlow, asked: &[OpenFlowRun], lease: &NodeLease) -> Vec<OpenFlowRun> {
    let mut begun = Vec::new();
    for run in asked {
        match polled.context.store.begin_flow_run(run.id, lease, polled.context.now()).await {
            Ok(true) => begun.push(run.clone()),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(flow = %polled.flow.name, error = %error.chain(), "a requested run of a flow could not begin");
            }
        }
    }
    begun
}

/// Records the end of runs. A failure is logged: the person who requested the run then sees no result.
pub(crate) async fn end(
    polled: &PolledFlow,
    runs: Vec<OpenFlowRun>,
    lease: &NodeLease,
    result: &FlowRunResult,
) {
    for run in runs {
        let event = polled.event(EventKind::FlowRun).by(run.by).detail("run", run.id.to_string());
        let counted = |report: &PollReport| {
            let PollReport { taken, backed_off, refused, changed, skipped } = report;
            let left: u64 = skipped.iter().map(|count| count.files).sum();
            [("taken", taken), ("backed_off", backed_off), ("refused", refused), ("changed", changed)]
                .into_iter()
                .map(|(key, count)| (key, *count))
                .chain([("left", left)])
                .collect::<Vec<_>>()
        };
        let (event, counts) = match result {
            FlowRunResult::Polled(report) => (event, counted(report)),
            FlowRunResult::Failed { error, report } => {
                (event.peer_detail("error", error).severity(Severity::Warning), counted(report))
            }
            FlowRunResult::EndpointOffline { until } => {
                let until = until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
                let event = event.detail("outcome", "its endpoint is offline after failures");
                (event.detail("until", until).severity(Severity::Warning), Vec::new())
            }
        };
        let event = counts.into_iter().fold(event, |event, (key, count)| event.detail(key, count));
        let (store, now) = (&polled.context.store, polled.context.now());
        let write = || store.end_flow_run(run.id, lease, result.clone(), now, vec![event.clone()]);
        if let Err(error) = polled.context.write_until_done("the end of a run", lease.epoch, write).await {
            tracing::warn!(flow = %polled.flow.name, error = %error.chain(), "the result of a requested run of a flow could not be recorded");
        }
    }
}
