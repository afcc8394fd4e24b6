//! Decides what happens to an offer that was read: it is recorded and settled, read once more, or backed off.

use crate::guard::broke_down;
use crate::ingest::back_off::back_off;
use crate::ingest::names::check_names;
use crate::ingest::poll_error::PollError;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, READING, Reading, Whole};
use crate::ingest::record::record;
use crate::ingest::streamed;
use crate::ingest::tally::Became;
use crate::ingest::unconfirmed::NotKept;
use model::definition::SettleWhen;
use model::{Error, ErrorKind, EventKind, Result, Retry};
use std::sync::Arc;
use tokio_util::task::task_tracker::TaskTrackerToken;
use transport::{FoundOffer, OfferNotes, Source};

/// An offer that is not accepted yet. Unless it is, its source releases it, also when the poll is cancelled.
pub(crate) struct Unaccepted {
    released: Option<(Arc<PolledFlow>, Arc<dyn Source>, FoundOffer)>,
}

impl Unaccepted {
    pub(crate) fn new(polled: &Arc<PolledFlow>, source: &Arc<dyn Source>, offer: &FoundOffer) -> Self {
        Self { released: Some((Arc::clone(polled), Arc::clone(source), offer.clone())) }
    }

    /// For an offer whose file is gone.
    pub(crate) const fn gone() -> Self {
        Self { released: None }
    }

    /// The offer may be on record from now on: it keeps its claim.
    fn may_be_recorded(&mut self) {
        self.released = None;
    }

    /// Ends it: unless the offer may be on record, it is released.
    async fn end(mut self) {
        if let Some(released) = self.released.take() {
            release(released).await;
        }
    }
}

impl Drop for Unaccepted {
    fn drop(&mut self) {
        if let Some(released) = self.released.take() {
            let tasks = released.0.context.tasks.clone();
            tasks.spawn(release(released));
        }
    }
}

async fn release((polled, source, offer): (Arc<PolledFlow>, Arc<dyn Source>, FoundOffer)) {
    if let Err(error) = source.release(&offer).await {
        tracing::warn!(flow = %polled.flow.name, path = %offer.identity.path, error = %error.chain(), "a claimed file could not be released; a later poll releases it");
    }
}

/// Records what was staged, or why it was not, in its own task: if the poll is cancelled, no file may be left half
/// recorded or half settled. An error ends the poll.
pub(crate) async fn accept(
    polled: Arc<PolledFlow>,
    source: Arc<dyn Source>,
    found: Discovered,
    read: Result<Reading>,
    unaccepted: Unaccepted,
) -> Result<(), PollError> {
    let tasks = polled.context.tasks.clone();
    // The next poll of this flow must wait until this is recorded. Otherwise it would find the file unknown, and
    // record it again when this one is settled.
    let unrecorded = polled.unrecorded.token();
    let decided = tasks.spawn(async move {
        let mut unaccepted = unaccepted;
        let decided = decide(&polled, source.as_ref(), found, read, (unrecorded, &mut unaccepted)).await;
        unaccepted.end().await;
        decided
    });
    decided.await.unwrap_or_else(|_| Err(PollError::Node(broke_down("record a file"))))
}

async fn decide(
    polled: &PolledFlow,
    source: &dyn Source,
    found: Discovered,
    read: Result<Reading>,
    (unrecorded, unaccepted): (TaskTrackerToken, &mut Unaccepted),
) -> Result<(), PollError> {
    let error = match read {
        Ok(Reading::Whole(whole)) => {
            return record_and_settle(polled, source, found, whole, (unrecorded, unaccepted)).await;
        }
        Ok(Reading::Doubtful(whole)) => {
            return match is_confirmed(polled, &found.offer, &whole).await.map_err(PollError::Node)? {
                true => record_and_settle(polled, source, found, whole, (unrecorded, unaccepted)).await,
                false => doubt(polled, found, whole).await.map_err(PollError::Node),
            };
        }
        Ok(Reading::Streamed(described, length)) => {
            if let Err(error) = streamed::check_names(polled, &described) {
                return back_off(polled, found, error, None).await.map_err(PollError::Node);
            }
            unaccepted.may_be_recorded();
            return streamed::record(polled, found, described, length).await.map_err(PollError::Node);
        }
        Ok(Reading::NoRoom(lacking)) => {
            if lacking.error.retry() != Retry::Permanent {
                return Ok(());
            }
            // It can never be staged: it is refused, once.
            lacking.error.with("path", &found.offer.identity.path)
        }
        Ok(Reading::Changed(why)) => {
            if polled.is_first_miss(&found.offer) {
                polled.tally.count(Became::Changed);
                let event = polled.offer_event(EventKind::OfferChanged, &found.offer);
                polled.context.record_event(event.peer_detail("why", why)).await;
                return Ok(());
            }
            // The listing shows it unchanged, but it changed while it was read again: this must not go on forever
            // without anyone noticing.
            Error::transient(ErrorKind::IntegrityFailed, "read a file, because it changed while it was read")
                .with("path", &found.offer.identity.path)
                .with("since it was listed", why)
                .advice(
                    "find out what writes to the file while Waybill reads it; a longer stable_for may help",
                )
        }
        Err(error) => error,
    };
    match error.kind() {
        // It disappeared before it was read: another reader may take it. But a file that is listed again and
        // disappears again must not block the others forever.
        ErrorKind::NotFound if polled.is_first_miss(&found.offer) => {
            polled.tally.count(Became::Changed);
            tracing::info!(flow = %polled.flow.name, path = %found.offer.identity.path, error = %error.chain(), "a file was gone or changed before it was read");
            Ok(())
        }
        // The file of an earlier claim has the name that this one needs: it waits until that is settled.
        ErrorKind::AlreadyExists => {
            polled.tally.count(Became::Changed);
            tracing::warn!(flow = %polled.flow.name, path = %found.offer.identity.path, error = %error.chain(), "a file waits until the claim of an earlier one of its name has ended");
            Ok(())
        }
        // A failure of this node, or of the whole server, says nothing about the file.
        ErrorKind::StorageFull if error.retry() != Retry::Permanent => Err(PollError::Node(error)),
        ErrorKind::Unauthenticated | ErrorKind::TrustFailed => Err(PollError::Source(error)),
        _ => back_off(polled, found, error, None).await.map_err(PollError::Node),
    }
}

/// Records what was read, and settles its source if that is due.
async fn record_and_settle(
    polled: &PolledFlow,
    source: &dyn Source,
    found: Discovered,
    whole: Whole,
    (unrecorded, unaccepted): (TaskTrackerToken, &mut Unaccepted),
) -> Result<(), PollError> {
    // What is the only copy is taken in any case.
    let is_gone = OfferNotes::of(&whole.source_data).gone;
    if whole.hold.is_none()
        && !is_gone
        && let Err(error) = check_names(polled, &whole)
    {
        polled.discard(whole.parts).await;
        return back_off(polled, found, error, None).await.map_err(PollError::Node);
    }
    unaccepted.may_be_recorded();
    let recorded = record(polled, source, found, whole).await.map_err(PollError::Node)?;
    drop(unrecorded);
    if let Some(offer) = recorded
        && polled.poll.settle == SettleWhen::Recorded
    {
        match polled.archive() {
            Ok(archive) => polled.settler.settle(source, archive, offer).await,
            // The file is recorded; it is settled when its endpoint is defined again.
            Err(error) => {
                tracing::warn!(file = %offer.identity.path, error = %error.chain(), "a source is not settled now");
            }
        }
    }
    Ok(())
}

/// Whether an earlier doubtful reading gave the same bytes.
async fn is_confirmed(polled: &PolledFlow, found: &FoundOffer, whole: &Whole) -> Result<bool> {
    if whole.partial {
        return Ok(false);
    }
    let earlier = polled.context.store.earlier_tries(&found.identity.key()).await?;
    Ok(earlier.source_data.get(READING) == Some(&whole.fingerprint()))
}

/// Records a failed attempt: the file did not change, but what was read does not match its metadata. It is read again
/// soon, and refused in the end if each reading gives other bytes.
async fn doubt(polled: &PolledFlow, mut found: Discovered, mut whole: Whole) -> Result<()> {
    // It is renamed back.
    OfferNotes::release(&mut whole.source_data);
    found.offer.source_data.insert(READING.to_owned(), whole.fingerprint());
    found.offer.source_data.extend(whole.source_data.clone());
    let error = whole.doubt(&found.offer.identity.path);
    let wrong_size = whole.wrong_size;
    keep_reading(polled, &found, whole).await;
    back_off(polled, found, error, wrong_size).await
}

/// Keeps a reading until there is a second one. It replaces an earlier reading of the same offer.
async fn keep_reading(polled: &PolledFlow, found: &Discovered, whole: Whole) {
    match polled.unconfirmed.keep(found, whole) {
        None => {}
        Some(NotKept::Superseded(whole)) => polled.discard(whole.parts).await,
        Some(NotKept::NoRoom(reading)) => {
            let why = "too many files are waiting to be read a second time";
            polled.quarantine(&reading.offer.identity.path, reading.whole.parts, why).await;
        }
    }
}
