//! What proves a message that was sent: from what the transport handed in, during the attempt or with a receipt that came
//! later, to what is recorded.

use crate::context::Context;
use crate::staged::discard;
use model::{Content, Delivery, EvidenceId, PayloadRecord, Timestamp, Transfer};
use store::{EvidenceOf, NewEvidence};
use transport::{Evidence, EvidenceContent};

/// The evidence of a delivery of this transfer, which sent this payload.
pub(crate) fn of_delivery(
    context: &Context,
    (transfer, delivery, payload): (&Transfer, &Delivery, &PayloadRecord),
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
            file_name: delivery.file_name.clone(),
            staged_at: now,
        },
    });
    NewEvidence {
        id: EvidenceId::new(context.ids.next()),
        of: EvidenceOf::Sent(delivery.id),
        transfer: transfer.id,
        keep_for: evidence.keep_for,
        about: evidence.about,
        pieces: evidence.pieces,
        content,
        keeps_content: evidence.keeps_content,
    }
}

/// Removes the staged bytes of evidence that is not recorded, because its attempt did not deliver.
pub(crate) async fn drop_staged(context: &Context, evidence: Option<Evidence>) {
    let staged = evidence.as_ref().and_then(Evidence::staged).map(|staged| staged.id);
    if let Some(staged) = staged {
        discard(&context.staging, vec![staged]).await;
    }
}
