//! An offer that could not be staged: it is tried again later, and refused in the end.

use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, READING, WrongSize, with_sizes};
use crate::ingest::tally::Became;
use crate::ingest::unconfirmed::UnconfirmedReading;
use model::{Error, ErrorKind, EventKind, OfferId, Result, Retry};
use std::time::Duration;
use store::OfferFailed;
use transport::OfferNotes;

/// Records a failed attempt to stage an offer and the time of the next one, or that the offer is refused.
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
    // After a first doubtful reading there is a second one, after the stability time of the flow.
    let is_first_reading = found.offer.source_data.contains_key(READING) && failures == 1;
    let soon = polled.poll.schedule.interval().map_or(Duration::ZERO, |interval| interval / 2);
    let wait = wait.map(|wait| if is_first_reading { wait.min(soon) } else { wait });
    if !found.offer.source_data.contains_key(READING)
        && let Some(reading) = earlier.source_data.get(READING)
    {
        // If the connection breaks in between, the first reading is kept for comparison.
        found.offer.source_data.insert(READING.to_owned(), reading.clone());
    }
    let kind = if wait.is_some() { EventKind::OfferBackedOff } else { EventKind::OfferRefused };
    let event = polled.offer_event(kind, &found.offer).error(&error).detail("failures", failures);
    let event = with_sizes(event, wrong_size);
    polled.tally.count(if wait.is_some() { Became::BackedOff } else { Became::Refused });
    tracing::warn!(flow = %polled.flow.name, file = %found.offer.identity.path, failures, error = %error.chain(), "a file could not be staged");
    if wait.is_none() {
        // The source writes it to a file beside the refused file in the error directory.
        OfferNotes::change(&mut found.offer.source_data, |notes| notes.cause = Some(error.chain()));
        // The file exists, or existed when it was read: it is refused and stays at its source.
        give_up_reading(polled, &found.offer.identity.key()).await;
    }
    polled
        .context
        .store
        .offer_failed(OfferFailed {
            done_file: OfferNotes::of(&found.offer.source_data).done_file,
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

/// Drops the kept reading of an offer that was refused and is still at its source. If it could not be checked whether
/// the file still exists, the reading is moved to quarantine.
async fn give_up_reading(polled: &PolledFlow, key: &str) {
    let Some(UnconfirmedReading { offer, whole, .. }) = polled.unconfirmed.remove(key) else { return };
    if whole.unseen {
        let why = "the file was refused, and its source could not be asked whether it is still there";
        polled.quarantine(&offer.identity.path, whole.parts, why).await;
    } else {
        polled.discard(whole.parts).await;
    }
}
