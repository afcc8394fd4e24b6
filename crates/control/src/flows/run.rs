//! Running a flow at once.

use crate::{Caller, Control};
use model::{Error, ErrorKind, EventKind, Permission, PollReport, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use store::{FlowRunResult, NewFlowRun};

/// Time between two queries for the answer.
const QUERY_EVERY: Duration = Duration::from_millis(200);

/// Longest wait for the answer.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A flow to be run at once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RunFlow {
    /// Its name.
    pub flow: String,
    /// How long to wait for the answer, in seconds, at most an hour. A run that no node has begun by then is not begun
    /// any more; one that has begun goes on.
    pub wait_seconds: u64,
}

/// What a run came to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum FlowRunAnswer {
    /// The source was polled.
    Polled {
        /// The node that polled it.
        node: String,
        /// What became of the files that it found.
        report: PollReport,
    },
    /// The poll failed.
    Failed {
        /// The node that polled it.
        node: String,
        /// The reason.
        error: String,
        /// What had become of files by then.
        report: PollReport,
    },
    /// The source's endpoint is offline after failures on the node that polls it, and was not tried.
    EndpointOffline {
        /// The node.
        node: String,
        /// Until when.
        until: Timestamp,
    },
    /// A node has begun it, and had not ended it when the wait was over: it goes on, and `flow.run` in the audit trail
    /// tells its end.
    Running {
        /// The node.
        node: String,
    },
    /// No node that polls the flow's source runs, or none could begin within the wait. It is not begun any more.
    NotBegun,
}

impl FlowRunAnswer {
    /// Whether the source was polled without an error.
    #[must_use]
    pub const fn succeeded(&self) -> bool {
        matches!(self, Self::Polled { .. })
    }
}

impl Control {
    /// Polls a flow's source at once, on whichever node polls it, and answers what was found.
    ///
    /// # Errors
    /// The caller may not operate flows; `NotFound`; `Rejected` for a flow that is paused, disabled or receives, and one
    /// whose source was set offline; the database failed.
    pub async fn run_flow(&self, caller: &Caller, request: &RunFlow) -> Result<FlowRunAnswer> {
        const OPERATION: &str = "run a flow";
        caller.require(Permission::OperateFlows)?;
        let flow = self.flow(caller, &request.flow).await?;
        let rejected = |advice: String| {
            Error::permanent(ErrorKind::Rejected, OPERATION).with("flow", &flow.name).advice(advice)
        };
        if let Some(paused) = &flow.paused {
            let resume = format!("`waybill flow resume {}` resumes it", flow.name);
            return Err(rejected(format!("it is {}; {resume}", paused.words())));
        }
        if !flow.enabled {
            return Err(rejected("its definition has enabled = false".to_owned()));
        }
        if let Some(offline) = &flow.source_offline {
            let online = format!("`waybill endpoint online {}` ends that", offline.name);
            return Err(rejected(format!("its source {} was {}; {online}", offline.name, offline.words())));
        }
        if !flow.is_polled() {
            return Err(rejected("it receives from a listener, so there is nothing to poll".to_owned()));
        }
        let wait = Duration::from_secs(request.wait_seconds).min(LONGEST_WAIT);
        let (id, at) = ((self.0.ids)(), (self.0.now)());
        let event = self.event(EventKind::FlowRunRequested).by(caller.actor.clone()).flow(&flow.name);
        let run = NewFlowRun {
            id,
            flow: flow.name.clone(),
            by: caller.actor.clone(),
            at,
            begin_by: at + wait,
            events: vec![event.detail("run", id.to_string())],
        };
        self.0.store.request_flow_run(run).await?;
        let answered = tokio::time::timeout(wait, async {
            loop {
                let run = self.0.store.flow_run(id).await?;
                if let Some((node, result)) = run.and_then(|run| Some((run.node?, run.ended?.1))) {
                    return Ok(answer(node, result));
                }
                tokio::time::sleep(QUERY_EVERY).await;
            }
        });
        match answered.await {
            Ok(answer) => answer,
            Err(_) => {
                let run = self.0.store.flow_run(id).await?;
                Ok(match run.map(|run| (run.node, run.ended)) {
                    Some((Some(node), Some((_, result)))) => answer(node, result),
                    Some((Some(node), None)) => FlowRunAnswer::Running { node },
                    _ => FlowRunAnswer::NotBegun,
                })
            }
        }
    }
}

fn answer(node: String, result: FlowRunResult) -> FlowRunAnswer {
    match result {
        FlowRunResult::Polled(report) => FlowRunAnswer::Polled { node, report },
        FlowRunResult::Failed { error, report } => FlowRunAnswer::Failed { node, error, report },
        FlowRunResult::EndpointOffline { until } => FlowRunAnswer::EndpointOffline { node, until },
    }
}
