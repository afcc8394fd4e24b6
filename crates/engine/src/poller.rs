//! Polls one flow's source: find offers, stage them, record them, settle them.

use crate::adapters::Known;
use crate::crash;
use crate::endpoints::Change;
use crate::recording::{Origin, StagedPart};
use crate::shared::Shared;
use futures::TryStreamExt;
use model::definition::{Flow, PollSource, SettleWhen};
use model::{Error, ErrorKind, EventKind, Offer, OfferId, OfferState, Result, Retry, Timestamp};
use std::sync::Arc;
use store::{OfferFailed, RecordOffer, Recorded};
use transport::{Discovery, FoundOffer, PartWriter, Shutdown, Source, copy_to_staging};

/// Polls one flow until shutdown.
pub(crate) struct Poller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) flow: Arc<Flow>,
    pub(crate) poll: PollSource,
}

/// A copied part that is not yet durable.
struct CopiedPart {
    writer: Box<dyn PartWriter>,
    part: transport::Part,
}

impl Poller {
    /// Polls at each interval while this node holds the source's lease.
    pub(crate) async fn run(self, mut shutdown: Shutdown) {
        let source_name = self.source_name();
        loop {
            let begun = self.shared.services.clock.monotonic();
            tokio::select! {
                () = self.poll_if_ours(&source_name) => {}
                _ = shutdown.wait_for(|ended| *ended) => break,
            }
            let spent = self.shared.services.clock.monotonic().saturating_sub(begun);
            tokio::select! {
                () = self.shared.services.clock.sleep(self.poll.every.saturating_sub(spent)) => {}
                _ = shutdown.wait_for(|ended| *ended) => break,
            }
        }
        let lease = self.shared.lease.current();
        if let Err(error) = self.shared.store.release_source(&lease, &source_name).await {
            tracing::warn!(flow = %self.flow.name, error = %error.chain(), "the source's lease was not given back; it lapses by itself");
        }
    }

    fn source_name(&self) -> String {
        format!("flow/{}", self.flow.name)
    }

    async fn poll_if_ours(&self, source_name: &str) {
        let lease = self.shared.lease.current();
        match self.shared.store.acquire_source(&lease, source_name, self.shared.now()).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(flow = %self.flow.name, error = %error.chain(), "the source's lease could not be asked for");
                return;
            }
        }
        let now = self.shared.now();
        if self.shared.health.not_now(now, usize::MAX).contains(&self.poll.endpoint) {
            return;
        }
        let result = self.poll_once(source_name).await;
        let reached = result.as_ref().err().is_none_or(|error| error.retry() == Retry::Permanent);
        self.shared.health.begin(&self.poll.endpoint);
        let change = self.shared.health.end(&self.poll.endpoint, reached, self.shared.now());
        if let Err(error) = result {
            tracing::warn!(flow = %self.flow.name, endpoint = %self.poll.endpoint, error = %error.chain(), "a poll failed");
            let event = self.shared.event(EventKind::PollFailed).flow(&self.flow.name);
            self.shared.record(event.endpoint(&self.poll.endpoint).error(&error)).await;
        }
        self.shared.record_health(&self.poll.endpoint, change).await;
    }

    async fn poll_once(&self, source_name: &str) -> Result<()> {
        let (endpoint, transport) = self.shared.endpoint(&self.poll.endpoint)?;
        let source = transport.source(endpoint, Arc::clone(&self.flow), self.shared.services.clone())?;
        let known = Known {
            store: self.shared.store.clone(),
            flow: self.flow.name.clone(),
            endpoint: self.poll.endpoint.clone(),
            listing: self.shared.now(),
        };
        let offers = source.discover(Discovery { known: Arc::new(known) }).await?;
        let most = self.shared.settings.stagings_at_once;
        let source = &source;
        let staged = offers.map_ok(|found| async move {
            let staged = self.stage(source.as_ref(), &found).await;
            Ok((found, staged))
        });
        // Staging runs ahead in both cases. In an ordered flow recording keeps the order of the
        // offers; otherwise whatever is staged first is recorded first.
        if self.flow.ordered {
            staged
                .try_buffered(most)
                .try_for_each(|(found, staged)| self.take(source.as_ref(), found, staged, source_name))
                .await
        } else {
            staged
                .try_buffer_unordered(most)
                .try_for_each_concurrent(most, |(found, staged)| {
                    self.take(source.as_ref(), found, staged, source_name)
                })
                .await
        }
    }

    /// Copies an offer's parts into staging and makes them durable, provided it did not change
    /// meanwhile.
    async fn stage(&self, source: &dyn Source, found: &FoundOffer) -> Result<Option<Vec<StagedPart>>> {
        crash::point("stage.begin");
        let mut parts = source.open(found).await?;
        let mut copied = Vec::new();
        while let Some(mut part) = parts.try_next().await? {
            let writer = self.shared.services.staging.begin()?;
            let reader = std::mem::replace(&mut part.reader, Box::new(tokio::io::empty()));
            let path = found.identity.path.clone();
            let copy = copy_to_staging(reader, writer, &self.shared.services.budget, move |error| {
                read_failed(&path, error)
            });
            copied.push(CopiedPart { writer: copy.await?.writer, part });
        }
        drop(parts);
        crash::point("stage.copied");
        let cut_short = match (copied.as_slice(), found.identity.size) {
            ([only], Some(size)) => only.writer.length() != size,
            _ => false,
        };
        if cut_short || !source.unchanged(found).await? {
            return Ok(None);
        }
        let sealed = tokio::task::spawn_blocking(move || {
            copied
                .into_iter()
                .map(|CopiedPart { writer, part }| {
                    Ok(StagedPart {
                        staged: writer.seal()?,
                        file_name: part.file_name,
                        media_type: part.media_type,
                        metadata: part.metadata,
                    })
                })
                .collect::<Result<Vec<_>>>()
        });
        let sealed = sealed.await.map_err(|error| {
            Error::transient(ErrorKind::Internal, "seal a staged file").caused_by(error)
        })??;
        crash::point("stage.sealed");
        Ok(Some(sealed))
    }

    /// Records what was staged, or why it was not. An error ends the poll.
    async fn take(
        &self,
        source: &dyn Source,
        found: FoundOffer,
        staged: Result<Option<Vec<StagedPart>>>,
        source_name: &str,
    ) -> Result<()> {
        match staged {
            Ok(Some(parts)) => self.record(source, found, parts, source_name).await,
            Ok(None) => {
                let event = self.offer_event(EventKind::OfferChanged, &found);
                self.shared.record(event).await;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                // Gone before it was ours: whoever took it had the right to.
                tracing::info!(flow = %self.flow.name, path = %found.identity.path, "a file was gone before it was read");
                Ok(())
            }
            Err(error) => self.back_off(found, error).await,
        }
    }

    async fn record(
        &self,
        source: &dyn Source,
        found: FoundOffer,
        parts: Vec<StagedPart>,
        source_name: &str,
    ) -> Result<()> {
        let lease = self.shared.lease.current();
        self.shared.lease.may_act(lease.epoch)?;
        let received = self.shared.now();
        let offer = self.new_offer(found, received);
        let origin = Origin { offer: Some(offer.id), endpoint: &self.poll.endpoint, partner: None, received };
        let (transfers, events): (Vec<_>, Vec<_>) = parts
            .iter()
            .zip(1_u32..)
            .map(|(part, sequence)| self.shared.new_transfer(&self.flow, &origin, part, sequence))
            .unzip();
        let path = offer.identity.path.clone();
        crash::point("record.before");
        let recorded = self
            .shared
            .store
            .record_offer(RecordOffer {
                lease,
                source: Some(source_name.to_owned()),
                offer: offer.clone(),
                settle_when: Some(self.poll.settle),
                transfers,
                events,
                now: received,
            })
            .await?;
        crash::point("record.after");
        match recorded {
            Recorded::Recorded => {
                tracing::info!(flow = %self.flow.name, file = %path, "taken");
                if self.poll.settle == SettleWhen::Recorded {
                    self.shared.settle(source, offer).await;
                }
                Ok(())
            }
            Recorded::AlreadyRecorded => {
                // These bytes have no row and never will: the same file is ours by another copy.
                self.discard(parts).await;
                Ok(())
            }
            Recorded::LeaseLost => {
                self.discard(parts).await;
                Err(Error::transient(ErrorKind::Unreachable, "go on with this poll")
                    .with("flow", &self.flow.name)
                    .advice("another node polls this source now; nothing needs to be done"))
            }
        }
    }

    async fn discard(&self, parts: Vec<StagedPart>) {
        let staging = self.shared.staging.clone();
        let removed = tokio::task::spawn_blocking(move || {
            parts.iter().try_for_each(|part| staging.remove(part.staged.id))
        });
        if let Ok(Err(error)) = removed.await {
            tracing::warn!(error = %error.chain(), "staged bytes that nobody needs were not removed; the sweep sets them aside");
        }
    }

    async fn back_off(&self, found: FoundOffer, error: Error) -> Result<()> {
        let now = self.shared.now();
        // Our own trouble says nothing about the file: the next poll simply tries it again.
        if error.kind() == ErrorKind::StorageFull {
            return Err(error);
        }
        let failures = self.shared.store.offer_failures(&found.identity.key()).await?.saturating_add(1);
        let wait = match error.retry() {
            Retry::Permanent if error.kind() != ErrorKind::PermissionDenied => None,
            _ => self.poll.retry.wait_after(failures, self.shared.jitter()),
        };
        let kind = if wait.is_some() { EventKind::OfferBackedOff } else { EventKind::OfferRefused };
        let event = self.offer_event(kind, &found).error(&error).detail("failures", failures);
        tracing::warn!(flow = %self.flow.name, file = %found.identity.path, failures, error = %error.chain(), "a file could not be staged");
        self.shared
            .store
            .offer_failed(OfferFailed {
                offer: self.new_offer(found, now),
                next_at: wait.map(|wait| now + wait),
                error: error.chain(),
                settle_refused: self.poll.error_directory.is_some(),
                events: vec![event],
                now,
            })
            .await
            .map(drop)
    }

    fn new_offer(&self, found: FoundOffer, found_at: Timestamp) -> Offer {
        Offer {
            id: OfferId::new(self.shared.ids.next()),
            identity: found.identity,
            state: OfferState::Staging,
            found_at,
            failures: 0,
            source_data: found.source_data,
        }
    }

    fn offer_event(&self, kind: EventKind, found: &FoundOffer) -> model::AuditEvent {
        self.shared
            .event(kind)
            .flow(&self.flow.name)
            .endpoint(&self.poll.endpoint)
            .detail("path", found.identity.path.to_text())
    }
}

/// An error of a part's stream. A transport wraps its own [`Error`] in the I/O error where it can tell
/// more; anything else is a broken stream, worth another try.
fn read_failed(path: &model::RemotePath, error: std::io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::transient(ErrorKind::Unreachable, "read a file to its end")
            .with("path", path)
            .caused_by(error),
    }
}

impl Shared {
    /// Writes an endpoint's going and coming to the audit trail.
    pub(crate) async fn record_health(&self, endpoint: &str, change: Change) {
        let event = match change {
            Change::None => return,
            Change::WentOffline(until) => self
                .event(EventKind::EndpointOffline)
                .detail("until", until.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
            Change::CameOnline => self.event(EventKind::EndpointOnline),
        };
        self.record(event.endpoint(endpoint)).await;
    }
}
