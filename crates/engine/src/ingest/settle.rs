//! Settling sources: recorded files are deleted, archived, moved or kept there.

use crate::context::Context;
use crate::crash;
use crate::guard::guarded;
use crate::history::FlowAt;
use crate::ingest::archive::{Archived, FlowArchive};
use model::definition::RetryPolicy;
use model::{Error, EventKind, Offer, OfferId, Outcome, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::{ArchiveSite, Done, NodeLease, OfferToSettle};
use transport::{OfferNotes, Settled, Shutdown, Source};

/// The most offers in one round.
const BATCH: u32 = 100;
/// Wait between two queries if nothing was due.
const PAUSE: Duration = Duration::from_secs(5);
/// How often settling is tried: practically without limit. The file is already recorded; only its copy at the source
/// remains, and a person sees it in the list.
const PATIENCE: RetryPolicy =
    RetryPolicy { attempts: u32::MAX, first: Duration::from_secs(10), longest: Duration::from_secs(3600) };

/// Settles the sources of this node's offers.
pub(crate) struct Settler {
    context: Arc<Context>,
    /// Offers that are being settled now.
    in_progress: Mutex<HashSet<OfferId>>,
}

impl Settler {
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, in_progress: Mutex::default() }
    }

    fn in_progress(&self) -> MutexGuard<'_, HashSet<OfferId>> {
        // Each entry is removed by its own guard, even after a panic.
        self.in_progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Settles an offer right after it was recorded. A failure is recorded with the offer, and
    /// [`settle_due`](Self::settle_due) tries again.
    pub(crate) async fn settle(&self, source: &dyn Source, archive: Option<FlowArchive>, offer: Offer) {
        self.settle_as(Ok((source, archive)), offer, Outcome::Taken).await;
    }

    /// Settles what is due, until shutdown: after a restart, a failure, or the last delivery.
    pub(crate) async fn settle_due(self: Arc<Self>, mut shutdown: Shutdown) {
        loop {
            let more = match guarded("settle sources", self.settle_round()).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::warn!(error = %error.chain(), "sources that wait to be settled could not be read");
                    false
                }
            };
            if !more {
                tokio::select! {
                    () = self.context.services.clock.sleep(PAUSE) => {}
                    _ = shutdown.wait_for(|ended| *ended) => return,
                }
            } else if *shutdown.borrow() {
                return;
            }
        }
    }

    /// Settles one batch. Returns whether there is more to do at once: never if nothing could be settled.
    async fn settle_round(&self) -> Result<bool> {
        let (mut most, mut settled) = (0, false);
        let now = self.context.now();
        for (flow, endpoint) in self.context.store.sources_to_settle(now).await? {
            let definitions = self.context.definitions();
            // If the endpoint is not defined, the offer waits until it is. If it is bound to another node, its folder
            // looks empty from here, and a missing file would count as settled.
            let place = definitions.endpoints.get(&endpoint);
            if !place.is_some_and(|endpoint| self.context.may_use(endpoint)) {
                continue;
            }
            let due = self.context.store.offers_to_settle(&flow, &endpoint, now, BATCH).await?;
            most = most.max(due.len());
            for OfferToSettle { offer, outcome, revision } in due {
                // A file without a transfer is settled by the flow in force; if that was removed, it is not settled.
                let flow = match (revision, definitions.flows.get(&flow)) {
                    (Some(revision), _) => self.context.flow_at(&flow, revision).await,
                    (None, Some(flow)) => Ok(FlowAt::of(flow, &definitions)),
                    (None, None) => continue,
                };
                let source = flow.and_then(|flow| self.source_of(&offer, &flow));
                let source = source.as_ref().map(|(source, archive)| (source.as_ref(), archive.clone()));
                settled |= self.settle_as(source, offer, outcome).await;
            }
        }
        Ok(settled && most >= BATCH as usize)
    }

    fn source_of(&self, offer: &Offer, at: &FlowAt) -> Result<(Arc<dyn Source>, Option<FlowArchive>)> {
        let (endpoint, transport) = self.context.endpoint(&offer.identity.endpoint)?;
        at.speaks(&endpoint.name, transport.spec().name)?;
        let archive = FlowArchive::of(transport.as_ref(), &at.flow);
        let source = transport.source(endpoint, Arc::clone(&at.flow), self.context.services.clone())?;
        Ok((source, archive))
    }

    /// Once settling has started, this node must record its result: it waits for whatever prevents the record, unless
    /// it loses its lease and another node settles the offer. Returns whether the source was settled.
    async fn settle_as(
        &self,
        source: Result<(&dyn Source, Option<FlowArchive>), &Error>,
        mut offer: Offer,
        outcome: Outcome,
    ) -> bool {
        // It stays due: the next round tries it when the endpoint is online.
        let definitions = self.context.definitions();
        if self.context.set_offline(&definitions, &offer.identity.endpoint).is_some() {
            return false;
        }
        // The poller that recorded it and the settling round must not both settle it: the second could delete a new
        // file with the same name.
        let Some(_in_progress) = InProgress::begin(self, offer.id) else { return false };
        let lease = self.context.lease.current();
        if self.context.lease.may_act(lease.epoch).is_err() {
            return false;
        }
        let begin = || self.context.store.begin_settle(offer.id, &lease, self.context.now());
        match self.context.write_until_done("the beginning of settling a source", lease.epoch, begin).await {
            Ok(true) => {}
            Ok(false) => return false,
            Err(error) => {
                tracing::warn!(file = %offer.identity.path, error = %error.chain(), "settling a source could not begin; it will be tried again");
                return false;
            }
        }
        let (source, archive) = match source {
            Ok(found) => found,
            Err(error) => {
                self.settle_failed(&offer, error, &lease).await;
                return false;
            }
        };
        let settled = tokio::select! {
            settled = self.settle_source(source, archive.as_ref(), &mut offer, outcome, lease.epoch) => settled,
            () = self.context.lease.lost(lease.epoch) => {
                log_lost(&offer);
                return false;
            }
        };
        match &settled {
            Ok((settled, archived)) => self.record_settled(&offer, settled, archived, &lease).await,
            Err(error) => self.settle_failed(&offer, error, &lease).await,
        }
        settled.is_ok()
    }

    async fn settle_source(
        &self,
        source: &dyn Source,
        archive: Option<&FlowArchive>,
        offer: &mut Offer,
        outcome: Outcome,
        epoch: i64,
    ) -> Result<(Settled, Archived)> {
        if outcome == Outcome::Refused
            && OfferNotes::of(&offer.source_data).cause.is_none()
            && let Some(cause) = self.context.store.offer_failure(offer.id).await?
        {
            OfferNotes::change(&mut offer.source_data, |notes| notes.cause = Some(cause));
        }
        let mut archived = Archived::default();
        if let Some(archive) = archive.filter(|_| outcome == Outcome::Taken) {
            archived = archive.copy(&self.context, offer).await?;
            crash::point("settle.archived");
            // They are on record before anything happens at the source: another node may settle it in the end, and
            // would know nothing of them.
            let records = std::mem::take(&mut archived.records);
            if !records.is_empty() {
                self.context.store.record_archived(records, self.context.now()).await?;
            }
        }
        crash::point("settle.before");
        // Another node may have settled it in the meantime, and a new file may have its name.
        self.context.lease.may_act(epoch)?;
        let settled = guarded("settle a source", source.settle(offer, outcome)).await;
        crash::point("settle.after");
        let settled = settled?;
        if let Settled::Archived { files, keep_for } = &settled {
            for file in files {
                let site = ArchiveSite::Endpoint(offer.identity.endpoint.clone());
                archived.add(&self.context, offer, site, file.clone(), Some(*keep_for));
            }
        }
        Ok((settled, archived))
    }

    async fn record_settled(&self, offer: &Offer, settled: &Settled, archived: &Archived, lease: &NodeLease) {
        let mut event = self
            .context
            .event(EventKind::OfferSettled)
            .flow(&offer.identity.flow)
            .endpoint(&offer.identity.endpoint)
            .detail("path", offer.identity.path.to_text())
            .detail(
                "outcome",
                match settled {
                    Settled::Done | Settled::Archived { .. } => "done",
                    Settled::Kept => "kept",
                    Settled::Gone => "gone",
                    Settled::Changed => "changed",
                },
            );
        if let Some(paths) = archived.paths() {
            event = event.detail("archived", paths);
        }
        if *settled == Settled::Changed {
            event = event.severity(model::Severity::Warning).detail(
                "note",
                "the file there is not the one that was read: it was left there and will be offered as a \
                new file",
            );
        }
        let kept = *settled == Settled::Kept;
        let write = || {
            let (records, events) = (archived.records.clone(), vec![event.clone()]);
            self.context.store.settled(offer.id, lease, kept, records, events, self.context.now())
        };
        match self.context.write_until_done("the settling of a source", lease.epoch, write).await {
            Ok(Done::Done) => {}
            Ok(Done::ClaimLost) => log_lost(offer),
            Err(error) => {
                tracing::warn!(file = %offer.identity.path, error = %error.chain(), "the settling of a source was not recorded; the source is settled again later");
            }
        }
    }

    async fn settle_failed(&self, offer: &Offer, error: &Error, lease: &NodeLease) {
        let wait = PATIENCE.wait_after(offer.failures.saturating_add(1), self.context.jitter());
        let next = self.context.now() + wait.unwrap_or(PATIENCE.longest);
        let event = self
            .context
            .event(EventKind::SettleFailed)
            .flow(&offer.identity.flow)
            .endpoint(&offer.identity.endpoint)
            .detail("path", offer.identity.path.to_text())
            .error(error);
        tracing::warn!(flow = %offer.identity.flow, file = %offer.identity.path, error = %error.chain(), "a source could not be settled");
        let why = error.chain();
        let write = || {
            self.context.store.settle_failed(
                offer.id,
                lease,
                next,
                &why,
                vec![event.clone()],
                self.context.now(),
            )
        };
        match self.context.write_until_done("the failed settling of a source", lease.epoch, write).await {
            Ok(Done::Done) => {}
            Ok(Done::ClaimLost) => log_lost(offer),
            Err(error) => {
                tracing::warn!(file = %offer.identity.path, error = %error.chain(), "the failed settling of a source was not recorded; settling is tried again");
            }
        }
    }
}

fn log_lost(offer: &Offer) {
    tracing::warn!(flow = %offer.identity.flow, file = %offer.identity.path, "another node is settling this file's source; nothing needs to be done");
}

/// An offer that is being settled on this node.
struct InProgress<'a>(&'a Settler, OfferId);

impl<'a> InProgress<'a> {
    /// `None` if it is already being settled.
    fn begin(settler: &'a Settler, offer: OfferId) -> Option<Self> {
        let new = settler.in_progress().insert(offer);
        new.then(|| Self(settler, offer))
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.in_progress().remove(&self.1);
    }
}
