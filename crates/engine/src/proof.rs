//! What proves a message: from what the transport handed in to what is recorded.

use crate::context::Context;
use model::{Content, EvidenceId, OfferId, PayloadRecord, RemotePath, Timestamp, TransferId};
use store::{EvidenceOf, NewEvidence, NewTransfer};
use transport::{Evidence, EvidenceContent};

/// The evidence of a message of this transfer, which carried this payload under this name.
pub(crate) fn new_evidence(
    context: &Context,
    of: EvidenceOf,
    transfer: TransferId,
    (payload, file_name): (&PayloadRecord, &RemotePath),
    evidence: Evidence,
    now: Timestamp,
) -> NewEvidence {
    let content = evidence.content.map(|content| match content {
        EvidenceContent::Payload => payload.clone(),
        EvidenceContent::Staged(staged) => PayloadRecord {
            id: staged.id,
            length: staged.length,
            content: Content::Staged(staged.sha256),
            media_type: None,
            file_name: file_name.clone(),
            staged_at: now,
        },
    });
    NewEvidence {
        id: EvidenceId::new(context.ids.next()),
        of,
        transfer,
        keep_for: evidence.keep_for,
        about: evidence.about,
        pieces: evidence.pieces,
        content,
        keeps_content: evidence.keeps_content,
    }
}

/// The evidence of a received message, of which these transfers are made. The first of them keeps its payloads as long as the
/// evidence where that keeps its content. `None` without a transfer.
pub(crate) fn of_received(
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
