//! Recording an offer that was read: after the commit, Waybill is responsible for the file.

use crate::context::Context;
use crate::crash;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, Whole, with_sizes};
use crate::ingest::tally::Became;
use crate::transfers::{Origin, new_transfers};
use model::{
    ArchivedCopy, AuditEvent, Error, ErrorKind, EventKind, IdentityRule, Offer, OfferId, Result, Severity,
    SkipReason, TransferState,
};
use store::{KnownContent, RecordOffer, Recorded};
use transport::{FoundOffer, OfferNotes, Source, StagedPart};

/// Records the offer; `None` if it was already recorded.
pub(crate) async fn record(
    polled: &PolledFlow,
    source: &dyn Source,
    mut found: Discovered,
    whole: Whole,
) -> Result<Option<Offer>> {
    let lease = found.lease.clone();
    polled.context.lease.may_act(lease.epoch)?;
    let received = polled.context.now();
    let contradicted = contradicted(polled, &found.offer, &whole);
    let (key, is_gone) = (found.offer.identity.key(), OfferNotes::of(&whole.source_data).gone);
    let path = found.offer.identity.path.clone();
    let sha256 = OfferNotes::of(&whole.source_data).sha256;
    let Whole { mut parts, source_data, hold, .. } = whole;
    found.offer.source_data.extend(source_data);
    let offer = found.into_offer(OfferId::new(polled.context.ids.next()));
    note_archive(polled, source, &offer, &mut parts);
    let origin = Origin {
        offer: Some(offer.id),
        endpoint: &polled.poll.endpoint,
        partner: None,
        received,
        revision: polled.revision,
    };
    let (mut transfers, mut events): (Vec<_>, Vec<_>) =
        new_transfers(&polled.context, &polled.flow, &origin, &parts).into_iter().unzip();
    events.extend(contradicted);
    if let Some(why) = &hold {
        for transfer in transfers.iter_mut().map(|new| &mut new.transfer) {
            transfer.state = TransferState::Held;
            let event =
                polled.context.event(EventKind::TransferHeld).flow(&polled.flow.name).transfer(transfer.id);
            events.push(event.detail("why", why.as_str()).severity(Severity::Warning));
        }
    }
    let content = sha256.filter(|_| offer.identity.rule == IdentityRule::Content).map(|sha256| {
        let event = polled.event(EventKind::OfferDuplicate).detail("path", path.to_text());
        KnownContent { sha256, events: vec![event.detail("sha256", sha256.to_string())] }
    });
    crash::point("record.before");
    let offer_record = RecordOffer {
        lease,
        source: Some(polled.source_name()),
        offer: offer.clone(),
        settle_when: Some(polled.poll.settle),
        done_file: OfferNotes::of(&offer.source_data).done_file,
        needs_payload: !matches!(polled.archive(), Ok(None)),
        transfers,
        events,
        content,
        now: received,
    };
    // After an error the staged bytes stay: a row may refer to them. If not, the sweep finds them.
    let recorded = write(&polled.context, offer_record).await?;
    crash::point("record.after");
    match recorded {
        Recorded::Recorded => {
            polled.tally.count(Became::Taken);
            drop_reading(polled, &key).await;
            polled.unstable.forget(&polled.flow.name, &offer.identity.path);
            tracing::info!(flow = %polled.flow.name, file = %offer.identity.path, "taken");
            Ok(Some(offer))
        }
        Recorded::Duplicate => {
            polled.tally.skip(SkipReason::Known);
            drop_reading(polled, &key).await;
            polled.discard(parts).await;
            tracing::info!(flow = %polled.flow.name, file = %offer.identity.path, "the content was taken before; not transferred again");
            Ok(Some(offer))
        }
        Recorded::AlreadyRecorded => {
            // These bytes have no row and never will: the same file was recorded with another copy.
            drop_reading(polled, &key).await;
            polled.discard(parts).await;
            Ok(None)
        }
        Recorded::LeaseLost => {
            if is_gone {
                let why = "the source allows each file to be read only once, and the lease of this node ended before the file was recorded";
                polled.quarantine(&path, parts, why).await;
            } else {
                polled.discard(parts).await;
            }
            Err(Error::transient(ErrorKind::Unreachable, "continue this poll")
                .with("flow", &polled.flow.name)
                .advice("another node polls this source now; nothing needs to be done"))
        }
    }
}

/// Notes where the copy of a file will be in the flow's archive, for names and for people. Of an offer with several parts
/// it is known only afterwards.
fn note_archive(polled: &PolledFlow, source: &dyn Source, offer: &Offer, parts: &mut [StagedPart]) {
    let [part] = parts else { return };
    let path = match polled.archive() {
        Ok(Some(archive)) => archive.path(offer, &part.file_name),
        _ => source.archive_path(offer),
    };
    if let Some(path) = path {
        ArchivedCopy::new(path, part.staged.sha256).note(&mut part.metadata);
    }
}

/// Drops the kept reading of an offer that was recorded.
async fn drop_reading(polled: &PolledFlow, key: &str) {
    if let Some(reading) = polled.unconfirmed.remove(key) {
        polled.discard(reading.whole.parts).await;
    }
}

/// Writes the record. If the answer was lost, the records with these ids decide, not the answer to a repetition.
pub(crate) async fn write(context: &Context, record: RecordOffer) -> Result<Recorded> {
    let write = || context.store.record_offer(record.clone());
    let (epoch, first) = (record.lease.epoch, record.transfers.first().map(|new| new.transfer.id));
    let answer = context.write_until_known("a file that was read", epoch, write).await?;
    match (answer, first) {
        (Recorded::Recorded, _) | (_, None) => Ok(answer),
        (_, Some(id)) if context.store.transfer(id).await?.is_some() => Ok(Recorded::Recorded),
        _ => Ok(answer),
    }
}

/// The event about a file that is accepted although its source reports something else.
fn contradicted(polled: &PolledFlow, found: &FoundOffer, whole: &Whole) -> Option<AuditEvent> {
    if whole.wrong_size.is_none() && whole.contradiction.is_none() {
        return None;
    }
    let mut event = with_sizes(polled.offer_event(EventKind::OfferMismatch, found), whole.wrong_size);
    event.connection = whole.connection();
    if let Some(words) = &whole.contradiction {
        event = event.peer_detail("why", words.clone());
    }
    tracing::warn!(
        flow = %polled.flow.name, path = %found.identity.path,
        stated_bytes = whole.wrong_size.map(|size| size.stated), read_bytes = whole.wrong_size.map(|size| size.read),
        contradiction = whole.contradiction, "a file is accepted although what its source reports does not match what was read"
    );
    Some(event)
}
