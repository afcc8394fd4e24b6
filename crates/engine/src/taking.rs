//! What becomes of an offer that was read: recorded, settled; or backed off, and refused in the end.

use crate::crash;
use crate::guard::broke_down;
use crate::poller::{Poller, Trouble};
use crate::reading::{Reading, Whole, WrongSize};
use crate::recording::{Origin, StagedPart};
use model::definition::SettleWhen;
use model::{
    AuditEvent, Error, ErrorKind, EventKind, Offer, OfferId, OfferState, Result, Retry, Severity, Timestamp,
    TransferState,
};
use serde_json::json;
use std::sync::{Arc, PoisonError};
use store::{NodeLease, OfferFailed, RecordOffer, Recorded};
use tokio_util::task::task_tracker::TaskTrackerToken;
use transport::folder::{CAUSE, GONE};
use transport::{FoundOffer, Source};

/// An offer, when its source's listing gave it, and the lease under which it was asked for: found under one
/// life of the node, it is not recorded under the next, when others may have taken it in between.
pub(crate) struct Discovered {
    pub(crate) offer: FoundOffer,
    pub(crate) at: Timestamp,
    pub(crate) lease: NodeLease,
}

/// The key in `source_data` of what a doubtful reading gave, to be compared with the next one.
pub(crate) const READING: &str = "reading";

impl Poller {
    /// Records what was staged, or why it was not, in a task of its own: a poll that is ended must not
    /// leave a file half recorded or half settled. An error ends the poll.
    pub(crate) async fn hand_over(
        self: Arc<Self>,
        source: Arc<dyn Source>,
        found: Discovered,
        read: Result<Reading>,
    ) -> Result<(), Trouble> {
        let tasks = self.shared.tasks.clone();
        // Until it is recorded, the next poll of this flow must not look: it would find the file unknown,
        // and record it once more when this one is settled.
        let in_hand = self.in_hand.token();
        let taken = tasks.spawn(async move { self.take(source.as_ref(), found, read, in_hand).await });
        taken.await.unwrap_or_else(|_| Err(Trouble::Ours(broke_down("record a file"))))
    }

    async fn take(
        &self,
        source: &dyn Source,
        found: Discovered,
        read: Result<Reading>,
        in_hand: TaskTrackerToken,
    ) -> Result<(), Trouble> {
        let error = match read {
            Ok(Reading::Whole(whole)) => return self.keep(source, found, whole, in_hand).await,
            Ok(Reading::Doubtful(whole)) => {
                return match self.is_confirmed(&found.offer, &whole).await.map_err(Trouble::Ours)? {
                    true => self.keep(source, found, whole, in_hand).await,
                    false => self.doubt(found, whole).await.map_err(Trouble::Ours),
                };
            }
            Ok(Reading::Changed(why)) => {
                if self.is_first_miss(&found.offer) {
                    let event = self.offer_event(EventKind::OfferChanged, &found.offer);
                    self.shared.record(event.peer_detail("why", why)).await;
                    return Ok(());
                }
                // Listed as before, and changed while it was read once more: it must not go on for ever unseen.
                Error::transient(ErrorKind::IntegrityFailed, "read a file that stays as it was listed")
                    .with("path", &found.offer.identity.path)
                    .with("since it was listed", why)
                    .advice("find out what writes to the file while it may be taken; a longer stable_for may help")
            }
            Err(error) => error,
        };
        match error.kind() {
            // Gone before it was ours: whoever took it had the right to. One that is listed again and
            // gone again is not, and must not stand before the others for ever.
            ErrorKind::NotFound if self.is_first_miss(&found.offer) => {
                tracing::info!(flow = %self.flow.name, path = %found.offer.identity.path, error = %error.chain(), "a file was gone or changed before it was read");
                Ok(())
            }
            // Trouble of our own, or with the place as a whole, says nothing about the file.
            ErrorKind::StorageFull => Err(Trouble::Ours(error)),
            ErrorKind::Unauthenticated | ErrorKind::TrustFailed => Err(Trouble::Source(error)),
            _ => self.back_off(found, error, None).await.map_err(Trouble::Ours),
        }
    }

    /// Makes ours what was read, and settles its source if that is due.
    pub(crate) async fn keep(
        &self,
        source: &dyn Source,
        found: Discovered,
        whole: Whole,
        in_hand: TaskTrackerToken,
    ) -> Result<(), Trouble> {
        let recorded = self.record(found, whole).await.map_err(Trouble::Ours)?;
        drop(in_hand);
        if let Some(offer) = recorded
            && self.poll.settle == SettleWhen::Recorded
        {
            self.shared.settle(source, offer).await;
        }
        Ok(())
    }

    /// Whether an earlier doubtful reading gave the same bytes.
    async fn is_confirmed(&self, found: &FoundOffer, whole: &Whole) -> Result<bool> {
        if whole.partial {
            return Ok(false);
        }
        let earlier = self.shared.store.earlier_tries(&found.identity.key()).await?;
        Ok(earlier.source_data.get(READING) == Some(&whole.fingerprint()))
    }

    /// A failed attempt: nothing about the file changed, but what was read does not fit what is told of it. It is
    /// read once more soon, and refused in the end if each reading gives other bytes.
    async fn doubt(&self, mut found: Discovered, whole: Whole) -> Result<()> {
        found.offer.source_data.insert(READING.to_owned(), whole.fingerprint());
        found.offer.source_data.extend(whole.source_data.clone());
        let error = whole.doubt(&found.offer.identity.path);
        let wrong_size = whole.wrong_size;
        self.keep_reading(&found, whole).await;
        self.back_off(found, error, wrong_size).await
    }

    /// Notes that an offer was gone or changed when it was read; false when it was so at the last poll already.
    fn is_first_miss(&self, found: &FoundOffer) -> bool {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.insert(found.identity.key(), 0).is_none()
    }

    /// Forgets offers that were gone or changed and are no longer listed as they were.
    pub(crate) fn forget_missed(&self) {
        let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
        missed.retain(|_, polls| {
            *polls = polls.saturating_add(1);
            *polls < 3
        });
    }

    /// Makes it ours; `None` when it was so already.
    async fn record(&self, mut found: Discovered, whole: Whole) -> Result<Option<Offer>> {
        let lease = found.lease.clone();
        self.shared.lease.may_act(lease.epoch)?;
        let received = self.shared.now();
        let contradicted = self.contradicted(&found.offer, &whole);
        let (key, is_gone) = (found.offer.identity.key(), whole.source_data.contains_key(GONE));
        let path = found.offer.identity.path.clone();
        let Whole { parts, source_data, hold, .. } = whole;
        found.offer.source_data.extend(source_data);
        let offer = self.new_offer(found);
        let origin = Origin { offer: Some(offer.id), endpoint: &self.poll.endpoint, partner: None, received };
        let (mut transfers, mut events): (Vec<_>, Vec<_>) = parts
            .iter()
            .zip(1_u32..)
            .map(|(part, sequence)| self.shared.new_transfer(&self.flow, &origin, part, sequence))
            .unzip();
        events.extend(contradicted);
        if let Some(why) = &hold {
            for transfer in transfers.iter_mut().map(|new| &mut new.transfer) {
                transfer.state = TransferState::Held;
                let event =
                    self.shared.event(EventKind::TransferHeld).flow(&self.flow.name).transfer(transfer.id);
                events.push(event.detail("why", why.as_str()).severity(Severity::Warning));
            }
        }
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
                self.drop_reading(&key).await;
                self.shared.unstable.forget(&self.flow.name, &offer.identity.path);
                tracing::info!(flow = %self.flow.name, file = %offer.identity.path, "taken");
                Ok(Some(offer))
            }
            Recorded::AlreadyRecorded => {
                // These bytes have no row and never will: the same file is ours by another copy.
                self.drop_reading(&key).await;
                self.discard(parts).await;
                Ok(None)
            }
            Recorded::LeaseLost => {
                if is_gone {
                    let why = "the source gave the file only once, and the lease of this node ended before it was recorded";
                    self.set_aside(&path, parts, why).await;
                } else {
                    self.discard(parts).await;
                }
                Err(Error::transient(ErrorKind::Unreachable, "go on with this poll")
                    .with("flow", &self.flow.name)
                    .advice("another node polls this source now; nothing needs to be done"))
            }
        }
    }

    pub(crate) async fn discard(&self, parts: Vec<StagedPart>) {
        self.shared.discard(parts.into_iter().map(|part| part.staged.id).collect()).await;
    }

    /// What a file that is taken all the same was not told to be.
    fn contradicted(&self, found: &FoundOffer, whole: &Whole) -> Option<AuditEvent> {
        if whole.wrong_size.is_none() && whole.contradiction.is_none() {
            return None;
        }
        let mut event = with_sizes(self.offer_event(EventKind::OfferContradicted, found), whole.wrong_size);
        event.connection = whole.connection();
        if let Some(words) = &whole.contradiction {
            event = event.peer_detail("why", words.clone());
        }
        tracing::warn!(
            flow = %self.flow.name, path = %found.identity.path,
            stated_bytes = whole.wrong_size.map(|size| size.stated), read_bytes = whole.wrong_size.map(|size| size.read),
            contradiction = whole.contradiction, "a file is taken although what its source tells of it does not fit what was read"
        );
        Some(event)
    }

    async fn back_off(
        &self,
        mut found: Discovered,
        error: Error,
        wrong_size: Option<WrongSize>,
    ) -> Result<()> {
        let now = self.shared.now();
        let earlier = self.shared.store.earlier_tries(&found.offer.identity.key()).await?;
        let failures = earlier.failures.saturating_add(1);
        let wait = match error.retry() {
            Retry::Permanent if error.kind() != ErrorKind::PermissionDenied => None,
            _ => self.poll.retry.wait_after(failures, self.shared.jitter()),
        };
        // A first doubt is cleared up by a second reading, after the time in which a file must not change.
        let is_first_reading = found.offer.source_data.contains_key(READING) && failures == 1;
        let wait = wait.map(|wait| if is_first_reading { wait.min(self.poll.stable_for) } else { wait });
        if !found.offer.source_data.contains_key(READING)
            && let Some(reading) = earlier.source_data.get(READING)
        {
            // A connection that broke in between leaves the first reading to be compared with.
            found.offer.source_data.insert(READING.to_owned(), reading.clone());
        }
        let kind = if wait.is_some() { EventKind::OfferBackedOff } else { EventKind::OfferRefused };
        let event = self.offer_event(kind, &found.offer).error(&error).detail("failures", failures);
        let event = with_sizes(event, wrong_size);
        tracing::warn!(flow = %self.flow.name, file = %found.offer.identity.path, failures, error = %error.chain(), "a file could not be staged");
        if wait.is_none() {
            // The source puts it beside the file in the error directory.
            found.offer.source_data.insert(CAUSE.to_owned(), json!(error.chain()));
            // The file is there, or was when it was read: it is given up as it lies there.
            self.give_up_reading(&found.offer.identity.key()).await;
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

    pub(crate) fn offer_event(&self, kind: EventKind, found: &FoundOffer) -> AuditEvent {
        self.shared
            .event(kind)
            .flow(&self.flow.name)
            .endpoint(&self.poll.endpoint)
            .detail("path", found.identity.path.to_text())
    }
}

/// The event with both sizes, where they differ.
fn with_sizes(event: AuditEvent, wrong_size: Option<WrongSize>) -> AuditEvent {
    match wrong_size {
        Some(size) => event.detail("stated_bytes", size.stated).detail("read_bytes", size.read),
        None => event,
    }
}
