//! What proves a received message: from what the listener handed in to what is recorded.

use crate::context::Context;
use crate::proof::new_evidence;
use model::{OfferId, Timestamp};
use store::{EvidenceOf, NewEvidence, NewTransfer};
use transport::Evidence;

/// The evidence of a message, of which these transfers are made. The first of them keeps its payloads as long as the
/// evidence where that keeps its content. `None` without a transfer.
pub(crate) fn of_message(
    context: &Context,
    offer: OfferId,
    transfers: &mut [NewTransfer],
    evidence: Evidence,
    now: Timestamp,
) -> Option<NewEvidence> {
    let first = transfers.first_mut()?;
    if evidence.keeps_content && evidence.content.is_some() {
        first.retain_for = first.retain_for.max(evidence.keep_for);
    }
    let (transfer, payload) = (first.transfer.id, &first.transfer.payload);
    let of = EvidenceOf::Received(offer);
    Some(new_evidence(context, of, transfer, (payload, &payload.file_name), evidence, now))
}
