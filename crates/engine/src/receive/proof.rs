//! What proves a received message: from what the listener handed in to what is recorded.

use crate::context::Context;
use model::{Content, EvidenceId, OfferId, PayloadRecord, Timestamp};
use store::{EvidenceOf, NewEvidence, NewTransfer};
use transport::{Evidence, EvidenceContent};

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
    let payload = &first.transfer.payload;
    let content = evidence.content.map(|content| match content {
        EvidenceContent::Payload => payload.clone(),
        EvidenceContent::Staged(staged) => PayloadRecord {
            id: staged.id,
            length: staged.length,
            content: Content::Staged(staged.sha256),
            media_type: None,
            file_name: payload.file_name.clone(),
            staged_at: now,
        },
    });
    if evidence.keeps_content && content.is_some() {
        first.retain_for = first.retain_for.max(evidence.keep_for);
    }
    Some(NewEvidence {
        id: EvidenceId::new(context.ids.next()),
        of: EvidenceOf::Received(offer),
        transfer: first.transfer.id,
        keep_for: evidence.keep_for,
        about: evidence.about,
        pieces: evidence.pieces,
        content,
        keeps_content: evidence.keeps_content,
    })
}
