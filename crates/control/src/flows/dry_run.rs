//! Looking at what a poll of a flow's source would do.

use crate::suspensions::find_among;
use crate::{Caller, Control, PollTimes};
use engine::{DryRun, FileLeft, FileSeen, StepSeen, Trial};
use model::definition::FlowSource;
use model::{
    Error, ErrorKind, EventKind, Permission, Result, Severity, SkipCount, SkipReason, Suspension,
    SuspensionKind, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A flow whose source is looked at.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DryRunFlow {
    /// Its name.
    pub flow: String,
}

/// What a poll would do now.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DryRunAnswer {
    /// The flow.
    pub flow: String,
    /// The endpoint that it polls.
    pub endpoint: String,
    /// What it would take, in the order of processing; then what it would leave, as a poll meets it. At most 100,000 of
    /// each.
    pub files: Vec<DryRunFile>,
    /// How many it would take.
    pub takes: u64,
    /// How many it would leave for each reason.
    pub skipped: Vec<SkipCount>,
    /// How many are counted and not listed, because there are more.
    pub not_listed: u64,
    /// The steps that would be done to each file that it would take.
    pub steps: Vec<DryRunStep>,
    /// Who paused the flow: nothing is taken until it is resumed.
    pub paused: Option<Suspension>,
    /// Who set the source's endpoint offline: it is not polled until it is set online.
    pub source_offline: Option<Suspension>,
    /// Whether the flow's definition enables it.
    pub enabled: bool,
    /// When polls begin.
    pub polls: PollTimes,
}

/// A step that would be done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DryRunStep {
    /// What it does, in one line.
    pub does: String,
    /// The destination that it is done for; `None`: all of them.
    pub destination: Option<String>,
}

/// A file, or something else that a listing shows.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct DryRunFile {
    /// Its path.
    pub path: String,
    /// Its size in bytes, where the place tells it.
    pub size: Option<u64>,
    /// When it was changed last, where the place tells it.
    pub modified: Option<Timestamp>,
    /// Why it would be left where it is; `None` for a file that would be taken.
    pub left: Option<SkipReason>,
    /// When it is tried again, where that is known.
    pub next: Option<Timestamp>,
    /// Why it could not be taken, of one that was tried.
    pub error: Option<String>,
}

impl Control {
    /// Looks at a flow's source as a poll would do it now, and takes nothing: nothing is changed there or in the database,
    /// apart from the record of who looked.
    ///
    /// # Errors
    /// The caller may not operate flows; `NotFound`; the flow does not poll, or polls what only another node reaches; the
    /// source cannot be asked; the database failed.
    pub async fn dry_run_flow(
        &self,
        caller: &Caller,
        trial: &Trial,
        request: &DryRunFlow,
    ) -> Result<DryRunAnswer> {
        const OPERATION: &str = "check a flow's source";
        caller.require(Permission::OperateFlows)?;
        let name = &request.flow;
        let definitions = trial.definitions();
        let unknown = || Error::permanent(ErrorKind::NotFound, OPERATION).with("flow", name);
        find_among(OPERATION, SuspensionKind::Flow, name, definitions.flows.keys().map(String::as_str))?;
        let flow = definitions.flows.get(name).ok_or_else(unknown)?;
        let (endpoint, node, schedule) = match &flow.source {
            FlowSource::Poll(poll) => {
                let endpoint = definitions.endpoints.get(&poll.endpoint);
                (poll.endpoint.clone(), endpoint.and_then(|endpoint| endpoint.node.clone()), &poll.schedule)
            }
            FlowSource::Receive(_) => {
                return Err(Error::permanent(ErrorKind::Rejected, OPERATION)
                    .with("flow", name)
                    .advice("it receives from a listener, so there is nothing to poll"));
            }
        };
        if let Some(node) = node.filter(|node| *node != self.0.settings.node.as_str()) {
            return Err(Error::permanent(ErrorKind::Rejected, OPERATION)
                .with("flow", name)
                .with("endpoint", &endpoint)
                .with("node", node)
                .advice("only that node reaches the endpoint: run the command there"));
        }
        let looked = trial.dry_run(name).await;
        let event = self.event(EventKind::FlowDryRun).by(caller.actor.clone()).flow(name).endpoint(&endpoint);
        let event = match &looked {
            Ok(looked) => event.detail("takes", looked.takes.len()),
            Err(error) => event.error(error).severity(Severity::Warning),
        };
        self.0.store.append_events(vec![event]).await?;
        let DryRun { takes, leaves, skipped, not_listed, steps } = looked?;
        let suspensions = self.0.store.suspensions().await?;
        let suspended = |kind, name: &str| {
            suspensions.iter().find(|found| found.kind == kind && found.name == name).cloned()
        };
        Ok(DryRunAnswer {
            flow: name.clone(),
            takes: takes.len() as u64,
            files: takes
                .into_iter()
                .map(DryRunFile::from)
                .chain(leaves.into_iter().map(DryRunFile::from))
                .collect(),
            skipped,
            not_listed,
            steps: steps.into_iter().map(DryRunStep::from).collect(),
            paused: suspended(SuspensionKind::Flow, name),
            source_offline: suspended(SuspensionKind::Endpoint, &endpoint),
            endpoint,
            enabled: flow.enabled,
            polls: PollTimes::of(schedule, (self.0.now)()),
        })
    }
}

impl From<FileSeen> for DryRunFile {
    fn from(seen: FileSeen) -> Self {
        let FileSeen { path, size, modified } = seen;
        Self { path: path.to_text(), size, modified, left: None, next: None, error: None }
    }
}

impl From<StepSeen> for DryRunStep {
    fn from(StepSeen { does, destination }: StepSeen) -> Self {
        Self { does, destination }
    }
}

impl From<FileLeft> for DryRunFile {
    fn from(left: FileLeft) -> Self {
        let FileLeft { file, why, next, error } = left;
        Self { left: Some(why), next, error, ..Self::from(file) }
    }
}
