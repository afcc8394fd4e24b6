//! Files that are not staged: a poll records them as they were found, and their deliveries read them.

use crate::crash;
use crate::ingest::names::check_name;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, Reading};
use crate::ingest::record::write;
use crate::ingest::tally::Became;
use crate::transfers::{Origin, new_streamed};
use model::definition::SettleWhen;
use model::{Error, ErrorKind, OfferId, Result};
use store::{RecordOffer, Recorded};
use transport::{Described, FoundOffer, OfferNotes, Source};

/// What is known of a file without opening it.
///
/// # Errors
/// The flow refuses the file, or it cannot be streamed.
pub(crate) fn describe(source: &dyn Source, found: &FoundOffer) -> Result<Reading> {
    let described = source.describe(found)?;
    let length = found.identity.size.ok_or_else(|| {
        Error::permanent(ErrorKind::Unsupported, "stream a file whose size its server does not report")
            .with("endpoint", &found.identity.endpoint)
            .with("path", &found.identity.path)
            .advice("only its size shows that it was read to its end; remove 'stream' from the flow's source")
    })?;
    Ok(Reading::Streamed(described, length))
}

/// Asks the destination about the name that the file would get there.
///
/// # Errors
/// Permanent: it cannot carry the name.
pub(crate) fn check_names(polled: &PolledFlow, described: &Described) -> Result<()> {
    check_name(polled, (&described.file_name, &described.metadata), 1)
}

/// Records the offer with its transfer. From then on its delivery is due; its source is settled when that has ended.
pub(crate) async fn record(
    polled: &PolledFlow,
    found: Discovered,
    described: Described,
    length: u64,
) -> Result<()> {
    let lease = found.lease.clone();
    polled.context.lease.may_act(lease.epoch)?;
    let now = polled.context.now();
    let offer = found.into_offer(OfferId::new(polled.context.ids.next()));
    let origin = Origin {
        offer: Some(offer.id),
        endpoint: &polled.poll.endpoint,
        partner: None,
        received: now,
        revision: polled.revision,
    };
    let (transfer, event) = new_streamed(&polled.context, &polled.flow, &origin, described, length);
    crash::point("record.before");
    let record = RecordOffer {
        lease,
        source: Some(polled.source_name()),
        offer: offer.clone(),
        settle_when: Some(SettleWhen::AfterDelivery),
        done_file: OfferNotes::of(&offer.source_data).done_file,
        needs_payload: false,
        transfers: vec![transfer],
        events: vec![event],
        content: None,
        now,
    };
    let recorded = write(&polled.context, record).await?;
    crash::point("record.after");
    match recorded {
        Recorded::Recorded => {
            polled.tally.count(Became::Taken);
            polled.unstable.forget(&polled.flow.name, &offer.identity.path);
            tracing::info!(flow = %polled.flow.name, file = %offer.identity.path, "recorded, to be streamed");
            Ok(())
        }
        // Without a content, nothing is a duplicate.
        Recorded::Duplicate | Recorded::AlreadyRecorded => Ok(()),
        Recorded::LeaseLost => Err(Error::transient(ErrorKind::Unreachable, "continue this poll")
            .with("flow", &polled.flow.name)
            .advice("another node polls this source now; nothing needs to be done")),
    }
}
