//! What becomes of one offer: staged, recorded, settled; or backed off, and refused in the end.

use crate::crash;
use crate::guard::{broke_down, guarded};
use crate::poller::{Poller, Trouble};
use crate::recording::{Origin, StagedPart};
use futures::TryStreamExt;
use model::definition::SettleWhen;
use model::{AuditEvent, Error, ErrorKind, EventKind, Offer, OfferId, OfferState, Result, Retry, Timestamp};
use serde_json::json;
use std::sync::{Arc, PoisonError};
use store::{NodeLease, OfferFailed, RecordOffer, Recorded};
use tokio_util::task::task_tracker::TaskTrackerToken;
use transport::folder::CAUSE;
use transport::{FoundOffer, PartWriter, Source, copy_to_staging};

/// An offer, when its source's listing gave it, and the lease under which it was asked for: found under one
/// life of the node, it is not recorded under the next, when others may have taken it in between.
pub(crate) struct Discovered {
    pub(crate) offer: FoundOffer,
    pub(crate) at: Timestamp,
    pub(crate) lease: NodeLease,
}

/// A copied part that is not yet durable.
struct CopiedPart {
    writer: Box<dyn PartWriter>,
    part: transport::Part,
}

/// What staging an offer came to; `None` when it changed meanwhile.
type Staged = Result<Option<Vec<StagedPart>>>;

impl Poller {
    /// Copies an offer's parts into staging and makes them durable, provided it did not change
    /// meanwhile.
    pub(crate) async fn stage(&self, source: &dyn Source, found: &FoundOffer) -> Staged {
        guarded("read a file", self.copy_and_seal(source, found)).await
    }

    async fn copy_and_seal(&self, source: &dyn Source, found: &FoundOffer) -> Staged {
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
        if copied.is_empty() {
            return Err(Error::permanent(ErrorKind::Rejected, "take an offer that holds no file")
                .with("path", &found.identity.path));
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

    /// Records what was staged, or why it was not, in a task of its own: a poll that is ended must not
    /// leave a file half recorded or half settled. An error ends the poll.
    pub(crate) async fn hand_over(
        self: Arc<Self>,
        source: Arc<dyn Source>,
        found: Discovered,
        staged: Staged,
    ) -> Result<(), Trouble> {
        let tasks = self.shared.tasks.clone();
        // Until it is recorded, the next poll of this flow must not look: it would find the file unknown,
        // and record it once more when this one is settled.
        let in_hand = self.in_hand.token();
        let taken = tasks.spawn(async move { self.take(source.as_ref(), found, staged, in_hand).await });
        taken.await.unwrap_or_else(|_| Err(Trouble::Ours(broke_down("record a file"))))
    }

    async fn take(
        &self,
        source: &dyn Source,
        found: Discovered,
        staged: Staged,
        in_hand: TaskTrackerToken,
    ) -> Result<(), Trouble> {
        let error = match staged {
            Ok(Some(parts)) => {
                let recorded = self.record(found, parts).await.map_err(Trouble::Ours)?;
                drop(in_hand);
                if let Some(offer) = recorded
                    && self.poll.settle == SettleWhen::Recorded
                {
                    self.shared.settle(source, offer).await;
                }
                return Ok(());
            }
            Ok(None) => {
                let event = self.offer_event(EventKind::OfferChanged, &found.offer);
                self.shared.record(event).await;
                return Ok(());
            }
            Err(error) => error,
        };
        match error.kind() {
            // Gone before it was ours: whoever took it had the right to. One that is listed again and
            // gone again is not, and must not stand before the others for ever.
            ErrorKind::NotFound if self.is_gone(&found.offer) => {
                tracing::info!(flow = %self.flow.name, path = %found.offer.identity.path, "a file was gone before it was read");
                Ok(())
            }
            // Trouble of our own, or with the place as a whole, says nothing about the file.
            ErrorKind::StorageFull => Err(Trouble::Ours(error)),
            ErrorKind::Unauthenticated | ErrorKind::TrustFailed => Err(Trouble::Source(error)),
            _ => self.back_off(found, error).await.map_err(Trouble::Ours),
        }
    }

    /// Notes that an offer was gone; false when it was so at the last poll already.
    fn is_gone(&self, found: &FoundOffer) -> bool {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.insert(found.identity.key(), 0).is_none()
    }

    /// Forgets offers that were gone and have not come back.
    pub(crate) fn forget_gone(&self) {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|_, polls| {
            *polls = polls.saturating_add(1);
            *polls < 3
        });
    }

    /// Makes it ours; `None` when it was so already.
    async fn record(&self, found: Discovered, parts: Vec<StagedPart>) -> Result<Option<Offer>> {
        let lease = found.lease.clone();
        self.shared.lease.may_act(lease.epoch)?;
        let received = self.shared.now();
        let offer = self.new_offer(found);
        let origin = Origin { offer: Some(offer.id), endpoint: &self.poll.endpoint, partner: None, received };
        let (transfers, events): (Vec<_>, Vec<_>) = parts
            .iter()
            .zip(1_u32..)
            .map(|(part, sequence)| self.shared.new_transfer(&self.flow, &origin, part, sequence))
            .unzip();
        crash::point("record.before");
        let record = RecordOffer {
            lease,
            source: Some(self.source_name()),
            offer: offer.clone(),
            settle_when: Some(self.poll.settle),
            transfers,
            events,
            now: received,
        };
        // An error leaves the staged bytes alone: they may have a row. If not, the sweep finds them.
        let recorded = self.shared.record_offer(record).await?;
        crash::point("record.after");
        match recorded {
            Recorded::Recorded => {
                tracing::info!(flow = %self.flow.name, file = %offer.identity.path, "taken");
                Ok(Some(offer))
            }
            Recorded::AlreadyRecorded => {
                // These bytes have no row and never will: the same file is ours by another copy.
                self.discard(parts).await;
                Ok(None)
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
        self.shared.discard(parts.into_iter().map(|part| part.staged.id).collect()).await;
    }

    async fn back_off(&self, mut found: Discovered, error: Error) -> Result<()> {
        let now = self.shared.now();
        let failures = self.shared.store.offer_failures(&found.offer.identity.key()).await?.saturating_add(1);
        let wait = match error.retry() {
            Retry::Permanent if error.kind() != ErrorKind::PermissionDenied => None,
            _ => self.poll.retry.wait_after(failures, self.shared.jitter()),
        };
        let kind = if wait.is_some() { EventKind::OfferBackedOff } else { EventKind::OfferRefused };
        let event = self.offer_event(kind, &found.offer).error(&error).detail("failures", failures);
        tracing::warn!(flow = %self.flow.name, file = %found.offer.identity.path, failures, error = %error.chain(), "a file could not be staged");
        if wait.is_none() {
            // The source puts it beside the file in the error directory.
            found.offer.source_data.insert(CAUSE.to_owned(), json!(error.chain()));
        }
        self.shared
            .store
            .offer_failed(OfferFailed {
                offer: self.new_offer(found),
                next_at: wait.map(|wait| now + wait),
                error: error.chain(),
                settle_refused: self.poll.error_directory.is_some(),
                events: vec![event],
                now,
            })
            .await
            .map(drop)
    }

    fn new_offer(&self, Discovered { offer: found, at, .. }: Discovered) -> Offer {
        Offer {
            id: OfferId::new(self.shared.ids.next()),
            identity: found.identity,
            state: OfferState::Staging,
            found_at: at,
            failures: 0,
            source_data: found.source_data,
        }
    }

    fn offer_event(&self, kind: EventKind, found: &FoundOffer) -> AuditEvent {
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
