//! One flow whose source is polled, and the state that all polled flows of this node share.

use crate::context::Context;
use crate::ingest::archive::FlowArchive;
use crate::ingest::claimed::ClaimedFiles;
use crate::ingest::settle::Settler;
use crate::ingest::tally::Tally;
use crate::ingest::unconfirmed::UnconfirmedReadings;
use crate::ingest::unstable::UnstableFiles;
use crate::staged::discard;
use model::definition::{Flow, PollSource};
use model::{AuditEvent, Error, EventKind, PeerText, RemotePath, Result, Severity};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use store::{FLOW_SOURCE, FailedPoll};
use tokio_util::task::TaskTracker;
use transport::FoundOffer;
use transport::StagedPart;

/// The state that the polled flows of this node share.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) context: Arc<Context>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) unstable: Arc<UnstableFiles>,
    pub(crate) unconfirmed: Arc<UnconfirmedReadings>,
    pub(crate) claimed: Arc<ClaimedFiles>,
}

/// A flow whose source is polled.
pub(crate) struct PolledFlow {
    pub(crate) context: Arc<Context>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) unstable: Arc<UnstableFiles>,
    pub(crate) unconfirmed: Arc<UnconfirmedReadings>,
    pub(crate) claimed: Arc<ClaimedFiles>,
    pub(crate) flow: Arc<Flow>,
    /// A revision at which the flow is as it is here.
    pub(crate) revision: i64,
    pub(crate) poll: PollSource,
    /// The number of offers that are staged and not recorded yet, including those of this flow's pollers of earlier
    /// revisions.
    pub(crate) unrecorded: TaskTracker,
    /// Counts the files of the running poll by result.
    pub(crate) tally: Arc<Tally>,
    /// Whether the database may hold that the flow's polls fail.
    may_be_failing: AtomicBool,
    /// Offers that no longer existed or had changed when they were opened, and how many polls ago.
    missed: Mutex<HashMap<String, u8>>,
}

impl PolledFlow {
    pub(crate) fn new(
        polling: Polling,
        (flow, revision): (Arc<Flow>, i64),
        poll: PollSource,
        unrecorded: TaskTracker,
    ) -> Self {
        let Polling { context, settler, unstable, unconfirmed, claimed } = polling;
        let (tally, missed) = (Arc::default(), Mutex::default());
        Self {
            context,
            settler,
            unstable,
            unconfirmed,
            claimed,
            flow,
            revision,
            poll,
            unrecorded,
            tally,
            may_be_failing: AtomicBool::new(true),
            missed,
        }
    }

    /// The name of the lease for polling this flow's source.
    pub(crate) fn source_name(&self) -> String {
        format!("{FLOW_SOURCE}{}", self.flow.name)
    }

    /// Whether the source moves refused files to an error directory. False while its endpoint is not defined.
    pub(crate) fn moves_refused(&self) -> bool {
        let endpoint = self.context.endpoint(&self.poll.endpoint);
        endpoint.is_ok_and(|(_, transport)| transport.poll_effects(&self.poll).moves_refused)
    }

    /// The archive on this machine that the flow's files are copied to, if it has one.
    ///
    /// # Errors
    /// Its endpoint is not defined any more, so it is not known what becomes of its files.
    pub(crate) fn archive(&self) -> Result<Option<FlowArchive>> {
        let (_, transport) = self.context.endpoint(&self.poll.endpoint)?;
        Ok(FlowArchive::of(transport.as_ref(), &self.flow))
    }

    /// Records that a poll failed.
    pub(crate) async fn failed(&self, error: &Error) {
        let event = self.event(EventKind::PollFailed).error(error);
        let failed = FailedPoll {
            flow: self.flow.name.clone(),
            endpoint: self.poll.endpoint.clone(),
            node: self.context.lease.current().node,
            at: self.context.now(),
            error: PeerText::from(error.chain().as_str()).as_str().to_owned(),
        };
        if let Err(unwritten) = self.context.store.poll_failed(failed, event).await {
            tracing::error!(flow = %self.flow.name, error = %unwritten.chain(), "that a poll failed could not be recorded");
        }
        self.may_be_failing.store(true, Ordering::Relaxed);
    }

    /// Records that a poll succeeded, where the one before may not have.
    pub(crate) async fn succeeded(&self) {
        if !self.may_be_failing.load(Ordering::Relaxed) {
            return;
        }
        match self.context.store.poll_succeeded(&self.flow.name).await {
            Ok(()) => self.may_be_failing.store(false, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(flow = %self.flow.name, error = %error.chain(), "that a poll succeeded could not be recorded");
            }
        }
    }

    pub(crate) fn event(&self, kind: EventKind) -> AuditEvent {
        self.context.event(kind).flow(&self.flow.name).endpoint(&self.poll.endpoint)
    }

    pub(crate) fn offer_event(&self, kind: EventKind, found: &FoundOffer) -> AuditEvent {
        self.event(kind).detail("path", found.identity.path.to_text())
    }

    /// Notes that an offer no longer existed or had changed when it was opened; false if that was already so at the
    /// last poll.
    pub(crate) fn is_first_miss(&self, found: &FoundOffer) -> bool {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.insert(found.identity.key(), 0).is_none()
    }

    /// Forgets offers that had disappeared or changed and are no longer listed unchanged.
    pub(crate) fn forget_missed(&self) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.retain(|_, polls| {
            *polls = polls.saturating_add(1);
            *polls < 3
        });
    }

    /// Removes parts that certainly have no row in the database.
    pub(crate) async fn discard(&self, parts: Vec<StagedPart>) {
        discard(&self.context.staging, parts.into_iter().map(|part| part.staged.id).collect()).await;
    }

    /// Moves parts that may be the only copy of a file to quarantine, and writes an event.
    pub(crate) async fn quarantine(&self, path: &RemotePath, parts: Vec<StagedPart>, why: &'static str) {
        for part in parts {
            let (id, bytes) = (part.staged.id, part.staged.length);
            let staging = self.context.staging.clone();
            let moved = tokio::task::spawn_blocking(move || staging.quarantine(id)).await;
            if let Ok(Err(error)) = &moved {
                tracing::warn!(payload = %id, error = %error.chain(), "staged bytes could not be moved to quarantine; the sweep tries again");
            }
            tracing::error!(flow = %self.flow.name, %path, payload = %id, bytes, why, "a file that was read is not accepted; its bytes were moved to quarantine");
            let event = self.event(EventKind::PayloadQuarantined).detail("path", path.to_text());
            let event = event.detail("payload", id.to_string()).detail("bytes", bytes).detail("why", why);
            self.context.record_event(event.severity(Severity::Error)).await;
        }
    }
}
