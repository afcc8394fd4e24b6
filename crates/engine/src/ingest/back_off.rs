//! An offer that could not be taken: tried again later, refused in the end.

use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, READING, WrongSize, with_sizes};
use crate::ingest::tally::Became;
use crate::ingest::unconfirmed::UnconfirmedReading;
use model::{Error, ErrorKind, EventKind, OfferId, Result, Retry};
use store::OfferFailed;
use transport::OfferNotes;

/// Records a failed attempt to take an offer, and when the next one is due; or that it is refused.
pub(crate) async fn back_off(
    polled: &PolledFlow,
    mut found: Discovered,
    error: Error,
    wrong_size: Option<WrongSize>,
) -> Result<()> {
    let now = polled.context.now();
    let earlier = polled.context.store.earlier_tries(&found.offer.identity.key()).await?;
    let failures = earlier.failures.saturating_add(1);
    let wait = match error.retry() {
        Retry::Permanent if error.kind() != ErrorKind::PermissionDenied => None,
        _ => polled.poll.retry.wait_after(failures, polled.context.jitter()),
    };
    // A first doubt is cleared up by a second reading, after the time in which a file must not change.
    let is_first_reading = found.offer.source_data.contains_key(READING) && failures == 1;
    let wait = wait.map(|wait| if is_first_reading { wait.min(polled.poll.every / 2) } else { wait });
    if !found.offer.source_data.contains_key(READING)
        && let Some(reading) = earlier.source_data.get(READING)
    {
        // A connection that broke in between leaves the first reading to be compared with.
        found.offer.source_data.insert(READING.to_owned(), reading.clone());
    }
    let kind = if wait.is_some() { EventKind::OfferBackedOff } else { EventKind::OfferRefused };
    let event = polled.offer_event(kind, &found.offer).error(&error).detail("failures", failures);
    let event = with_sizes(event, wrong_size);
    polled.tally.count(if wait.is_some() { Became::BackedOff } else { Became::Refused });
    tracing::warn!(flow = %polled.flow.name, file = %found.offer.identity.path, failures, error = %error.chain(), "a file could not be staged");
    if wait.is_none() {
        // The source puts it beside the file in the error directory.
        OfferNotes::change(&mut found.offer.source_data, |notes| notes.cause = Some(error.chain()));
        // The file is there, or was when it was read: it is given up as it lies there.
        give_up_reading(polled, &found.offer.identity.key()).await;
    }
    polled
        .context
        .store
        .offer_failed(OfferFailed {
            offer: found.into_offer(OfferId::new(polled.context.ids.next())),
            next_at: wait.map(|wait| now + wait),
            error: error.chain(),
            settle_refused: polled.moves_refused(),
            events: vec![event],
            now,
        })
        .await
        .map(drop)
}

/// Drops the kept reading of an offer that was given up as it lies at its source. One after which nobody could look
/// whether the file is still there is set aside instead.
async fn give_up_reading(polled: &PolledFlow, key: &str) {
    let Some(UnconfirmedReading { offer, whole, .. }) = polled.unconfirmed.remove(key) else { return };
    if whole.unseen {
        let why = "the file was refused, and its source could not be asked whether it is still there";
        polled.quarantine(&offer.identity.path, whole.parts, why).await;
    } else {
        polled.discard(whole.parts).await;
    }
}
