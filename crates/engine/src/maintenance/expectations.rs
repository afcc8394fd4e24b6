//! Files that flows expect by a time of the day.

use crate::context::Context;
use crate::maintenance::repeat::Maintenance;
use async_trait::async_trait;
use model::definition::{Definitions, Flow, FlowSource};
use model::schedule::{Expectation, ExpectedDay, Schedule};
use model::{AuditEvent, EventKind, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::JudgedDay;

/// Tells, once a day over all nodes, which flows miss files that they expected, and when these came after all.
pub(crate) struct Expectations {
    context: Arc<Context>,
    /// The last day of each flow of which nothing more is to be told.
    done: Mutex<BTreeMap<String, String>>,
}

impl Expectations {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, done: Mutex::default() }
    }

    fn done(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a flow expects, and when it polls.
fn expected(flow: &Flow) -> Option<(Expectation, &Schedule)> {
    match &flow.source {
        FlowSource::Poll(poll) if flow.enabled => Some((poll.expect?, &poll.schedule)),
        _ => None,
    }
}

#[async_trait]
impl Maintenance for Expectations {
    fn name(&self) -> &'static str {
        "expected files"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(30)
    }

    async fn run(&self) -> Result<()> {
        let definitions = self.context.definitions();
        let expecting: Vec<_> = definitions
            .flows
            .values()
            .filter_map(|flow| expected(flow).map(|(expectation, schedule)| (flow, expectation, schedule)))
            .collect();
        let names: BTreeSet<&str> = expecting.iter().map(|(flow, ..)| flow.name.as_str()).collect();
        self.forget_others(&definitions, &names).await?;
        for (flow, expectation, schedule) in expecting {
            let Some(expected) = expectation.last_day(schedule, self.context.now()) else { continue };
            let since = definitions.flows_since.get(&flow.name).copied();
            self.judge(&flow.name, expectation, expected, since).await?;
        }
        Ok(())
    }
}

impl Expectations {
    /// Forgets what is recorded of flows that expect nothing, or are not polled, any more. A node that does not have the newest
    /// revision yet forgets nothing: it does not know all flows, and who polls them records a thing once.
    async fn forget_others(&self, definitions: &Definitions, expecting: &BTreeSet<&str>) -> Result<()> {
        let (store, revision) = (&self.context.store, definitions.revision);
        let polled = definitions
            .flows
            .values()
            .filter(|flow| flow.enabled && matches!(flow.source, FlowSource::Poll(_)));
        let polled = polled.map(|flow| flow.name.as_str()).collect();
        store.forget_expectations_but(revision, expecting).await?;
        store.forget_failing_polls_but(revision, &polled).await?;
        store.forget_waiting_for_room_but(revision, &polled).await?;
        store.forget_claims_left_but(revision, &polled).await
    }

    async fn judge(
        &self,
        flow: &str,
        expectation: Expectation,
        expected: ExpectedDay,
        since: Option<i64>,
    ) -> Result<()> {
        let (store, day) = (&self.context.store, expected.day.to_string());
        if self.done().get(flow) == Some(&day) {
            return Ok(());
        }
        let at_least = u64::from(expectation.at_least);
        let is_done = match store.last_judged(flow).await? {
            Some(last) if last.day == day && !last.is_missing => true,
            Some(last) if last.day == day => {
                let taken = store.files_taken(flow, expected.from, self.context.now(), at_least).await?;
                let event = self.event(EventKind::FlowFilesArrived, flow, expectation, expected);
                taken >= at_least && {
                    store.files_arrived(flow, &day, vec![event]).await?;
                    true
                }
            }
            // Of a flow that was not in force as it is, nothing was expected.
            _ if self.is_newer(since, expected).await? => true,
            _ => {
                let found = store.files_taken(flow, expected.from, expected.by, at_least).await?;
                let by = expected.by;
                let judged = JudgedDay { flow: flow.to_owned(), day: day.clone(), by, at_least, found };
                let is_missing = judged.is_missing();
                let event = self.event(EventKind::FlowFilesMissing, flow, expectation, expected);
                let event = event.detail("found", found);
                let told = store.judge_day(judged, if is_missing { vec![event] } else { Vec::new() }).await?;
                if told && is_missing {
                    tracing::warn!(flow, %expectation, found, "expected files are missing");
                }
                !is_missing
            }
        };
        if is_done {
            self.done().insert(flow.to_owned(), day);
        }
        Ok(())
    }

    /// Whether a flow is in force only since after the time of a day.
    async fn is_newer(&self, since: Option<i64>, expected: ExpectedDay) -> Result<bool> {
        let Some(number) = since else { return Ok(false) };
        let revision = self.context.store.revision(number).await?;
        Ok(revision.is_some_and(|revision| revision.at > expected.by))
    }

    fn event(
        &self,
        kind: EventKind,
        flow: &str,
        expectation: Expectation,
        expected: ExpectedDay,
    ) -> AuditEvent {
        let event = self.context.event(kind).flow(flow).detail("expected", expectation.to_string());
        event.detail("day", expected.day.to_string()).detail("at_least", u64::from(expectation.at_least))
    }
}
