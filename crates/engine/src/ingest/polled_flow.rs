//! One flow whose source is polled, and the state that all polled flows of this node share.

use crate::context::Context;
use crate::ingest::archive::FlowArchive;
use crate::ingest::claimed::ClaimedFiles;
use crate::ingest::reading::Reading;
use crate::ingest::room::{NoRoom, RoomOfFlow, StagingRoom};
use crate::ingest::settle::Settler;
use crate::ingest::tally::Tally;
use crate::ingest::unconfirmed::UnconfirmedReadings;
use crate::ingest::unstable::UnstableFiles;
use crate::staged::discard;
use model::definition::{self, Flow, PollSource};
use model::{
    AuditEvent, Error, ErrorKind, EventKind, PeerText, RemotePath, Result, Retry, Severity, SkipReason,
};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{FLOW_SOURCE, FailedPoll};
use tokio_util::task::TaskTracker;
use transport::{FoundOffer, OfferNotes, PendingFiles, StagedPart};

/// The state that the polled flows of this node share.
#[derive(Clone)]
pub(crate) struct Polling {
    pub(crate) context: Arc<Context>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) unstable: Arc<UnstableFiles>,
    pub(crate) unconfirmed: Arc<UnconfirmedReadings>,
    pub(crate) claimed: Arc<ClaimedFiles>,
    pub(crate) staging_room: Arc<StagingRoom>,
}

/// What is made once for all files of a poll: with the definitions that are in force when it is first needed.
#[derive(Default)]
struct Made {
    archive: Option<Option<FlowArchive>>,
    destinations: Option<Destinations>,
}

/// The destinations of a flow in their order; `None` for one whose endpoint cannot be used now.
pub(crate) type Destinations = Arc<Vec<Option<Arc<dyn transport::Destination>>>>;

/// A flow whose source is polled.
pub(crate) struct PolledFlow {
    pub(crate) context: Arc<Context>,
    pub(crate) settler: Arc<Settler>,
    pub(crate) unstable: Arc<UnstableFiles>,
    pub(crate) unconfirmed: Arc<UnconfirmedReadings>,
    pub(crate) claimed: Arc<ClaimedFiles>,
    pub(crate) staging_room: Arc<StagingRoom>,
    /// The files that wait for room in staging.
    pub(crate) room: Arc<RoomOfFlow>,
    pub(crate) flow: Arc<Flow>,
    /// A revision at which the flow is as it is here.
    pub(crate) revision: i64,
    pub(crate) poll: PollSource,
    /// The number of offers that are staged and not recorded yet, including those of this flow's pollers of earlier
    /// revisions.
    pub(crate) unrecorded: TaskTracker,
    /// Counts the files of the running poll by result.
    pub(crate) tally: Arc<Tally>,
    /// The files that the last poll did not take, because they may still be being written.
    pub(crate) pending: Arc<PendingFiles>,
    /// Whether the database may hold that the flow's polls fail.
    may_be_failing: AtomicBool,
    /// Offers that no longer existed or had changed when they were opened, and how many polls ago.
    missed: Mutex<HashMap<String, u8>>,
    /// What is made once for all files of a poll.
    made: Mutex<Made>,
    /// Whether it was told that another node polls than the preferred one.
    instead_of_preferred: AtomicBool,
}

impl PolledFlow {
    pub(crate) fn new(
        polling: Polling,
        (flow, revision): (Arc<Flow>, i64),
        poll: PollSource,
        unrecorded: TaskTracker,
    ) -> Self {
        let Polling { context, settler, unstable, unconfirmed, claimed, staging_room } = polling;
        let (tally, missed) = (Arc::default(), Mutex::default());
        Self {
            context,
            settler,
            unstable,
            unconfirmed,
            claimed,
            staging_room,
            room: Arc::default(),
            flow,
            revision,
            poll,
            unrecorded,
            tally,
            pending: Arc::default(),
            may_be_failing: AtomicBool::new(true),
            missed,
            made: Mutex::default(),
            instead_of_preferred: AtomicBool::new(false),
        }
    }

    /// Begins or ends a poll: what was made for its files is made anew for the next one.
    pub(crate) fn forget_made(&self) {
        drop(std::mem::take(&mut *self.made()));
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The destinations, for questions about names.
    pub(crate) fn destinations(&self) -> Destinations {
        let mut made = self.made();
        let make = || {
            let context = &self.context;
            let one = |destination: &definition::Destination| {
                let (endpoint, transport) = context.endpoint(&destination.endpoint).ok()?;
                let endpoint = context.addresses.first(&endpoint);
                transport.destination(endpoint, destination, context.services.clone()).ok()
            };
            Arc::new(self.flow.destinations.iter().map(one).collect())
        };
        Arc::clone(made.destinations.get_or_insert_with(make))
    }

    /// Since which revision the flow is as it is here.
    pub(crate) fn flow_since(&self) -> i64 {
        let definitions = self.context.definitions();
        definitions.flows_since.get(&self.flow.name).copied().unwrap_or(self.revision)
    }

    /// Tells once that this node polls the source because the preferred one refused the flow's revision.
    pub(crate) async fn tell_of_preferred_node(&self) {
        let context = &self.context;
        let Some(preferred) =
            self.poll.preferred_node.as_ref().filter(|node| **node != context.settings.node)
        else {
            return;
        };
        let problem = match context.store.refusal_of(preferred, self.flow_since(), context.now()).await {
            Ok(problem) => problem,
            Err(error) => {
                tracing::warn!(flow = %self.flow.name, error = %error.chain(), "it is not known why the preferred node does not poll");
                return;
            }
        };
        let was_told = self.instead_of_preferred.swap(problem.is_some(), Ordering::SeqCst);
        if let Some(problem) = problem.filter(|_| !was_told) {
            tracing::warn!(flow = %self.flow.name, %preferred, %problem, "this node polls the source: the preferred one refused the flow's revision");
            let event = self.event(EventKind::FlowPreferredNodeBehind);
            let event = event.detail("preferred_node", preferred.as_str()).detail("problem", problem);
            context.record_event(event).await;
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
        if let Some(archive) = &self.made().archive {
            return Ok(archive.clone());
        }
        let (_, transport) = self.context.endpoint(&self.poll.endpoint)?;
        let archive = FlowArchive::of(transport.as_ref(), &self.flow);
        self.made().archive = Some(archive.clone());
        Ok(archive)
    }

    /// Records that a poll failed.
    pub(crate) async fn failed(&self, error: &Error) {
        let event = self.event(EventKind::PollFailed).error(error);
        let failed = FailedPoll {
            flow: self.flow.name.clone(),
            endpoint: self.poll.endpoint.clone(),
            node: self.context.lease.current().node,
            at: event.at,
            error: PeerText::from(error.chain().as_str()).as_str().to_owned(),
        };
        if let Err(unwritten) = self.context.store.poll_failed(failed, event).await {
            tracing::error!(flow = %self.flow.name, error = %unwritten.chain(), "that a poll failed could not be recorded");
        }
        self.may_be_failing.store(true, Ordering::Relaxed);
    }

    /// Another node polls the flow, and may record that its polls fail, or that its files wait.
    pub(crate) fn is_polled_elsewhere(&self) {
        self.room.recorded(None);
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

    /// In an ordered flow, whether an offer waits because an earlier one of the same poll waits for room.
    pub(crate) fn waits_behind_others(&self, found: &FoundOffer) -> Option<NoRoom> {
        (self.flow.ordered && self.room.any()).then(|| NoRoom {
            needed: found.identity.size.unwrap_or(0),
            error: Error::transient(ErrorKind::StorageFull, "stage a file before an earlier one of its flow"),
        })
    }

    /// Counts an offer that waits at its source until staging has room for it.
    pub(crate) fn count_without_room(&self, found: &FoundOffer, lacking: &NoRoom) {
        if lacking.error.retry() == Retry::Permanent {
            return;
        }
        let identity = &found.identity;
        self.tally.skip(SkipReason::NoRoom);
        self.room.count(&identity.path, identity.key(), identity.size, lacking.needed);
        tracing::debug!(flow = %self.flow.name, path = %identity.path, error = %lacking.error.chain(), "a file waits for room in staging");
    }

    /// Removes what was read of an offer that is not recorded because an earlier one of its poll was not. What may be the
    /// only copy stays in staging, and the sweep sets it aside.
    pub(crate) async fn discard_unrecorded(&self, found: &FoundOffer, read: Result<Reading>) {
        if !matches!(read, Ok(Reading::NoRoom(_)))
            && let Some(lacking) = self.waits_behind_others(found)
        {
            self.count_without_room(found, &lacking);
        }
        if let Ok(Reading::Whole(whole) | Reading::Doubtful(whole)) = read
            && !whole.unseen
            && !OfferNotes::of(&whole.source_data).gone
        {
            self.discard(whole.parts).await;
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
