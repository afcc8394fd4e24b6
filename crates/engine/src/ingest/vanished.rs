//! Files that disappeared before they could be read a second time: their first reading is accepted.

use crate::ingest::accept::{Unaccepted, accept};
use crate::ingest::poll_error::PollError;
use crate::ingest::polled_flow::PolledFlow;
use crate::ingest::reading::{Discovered, READING, Reading};
use crate::ingest::unconfirmed::UnconfirmedReading;
use std::sync::Arc;
use store::NodeLease;
use transport::{AfterRead, Source};

/// Accepts the kept readings of files that no longer exist.
pub(crate) async fn take_vanished(
    polled: &Arc<PolledFlow>,
    source: &Arc<dyn Source>,
    lease: &NodeLease,
) -> Result<(), PollError> {
    for (key, offer) in polled.unconfirmed.offers_of(&polled.flow.name, &polled.poll.endpoint) {
        let seen = match source.look_again(&offer).await {
            Ok(seen) => seen,
            Err(error) => {
                tracing::warn!(flow = %polled.flow.name, path = %offer.identity.path, error = %error.chain(), "a file that was read could not be checked; the next poll tries it again");
                return Ok(());
            }
        };
        if matches!(seen, AfterRead::Unchanged | AfterRead::Doubtful(_)) {
            continue;
        }
        let earlier = polled.context.store.earlier_tries(&key).await.map_err(PollError::Node)?;
        let Some(UnconfirmedReading { offer, at, mut whole }) = polled.unconfirmed.remove(&key) else {
            continue;
        };
        if seen != AfterRead::Gone || earlier.source_data.get(READING) != Some(&whole.fingerprint()) {
            // Another file has its name now, or it was read again or recorded by another node.
            let why = "the file was replaced, or another node read it, before it could be read a second time";
            polled.quarantine(&offer.identity.path, whole.parts, why).await;
            continue;
        }
        whole.note_gone();
        let found = Discovered { offer, at, lease: lease.clone() };
        accept(Arc::clone(polled), Arc::clone(source), found, Ok(Reading::Whole(whole)), Unaccepted::gone())
            .await?;
    }
    Ok(())
}
