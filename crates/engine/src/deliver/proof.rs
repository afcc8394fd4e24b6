//! What proves a message that was sent: from what the transport handed in, during the attempt or with a receipt that came
//! later, to what is recorded.

use crate::context::Context;
use crate::proof::new_evidence;
use crate::staged::discard;
use model::{Delivery, PayloadRecord, Timestamp, Transfer};
use store::{EvidenceOf, NewEvidence};
use transport::Evidence;

/// The evidence of a delivery of this transfer, which sent this payload.
pub(crate) fn of_delivery(
    context: &Context,
    (transfer, delivery, payload): (&Transfer, &Delivery, &PayloadRecord),
    evidence: Evidence,
    now: Timestamp,
) -> NewEvidence {
    let carried = (payload, &delivery.file_name);
    new_evidence(context, EvidenceOf::Sent(delivery.id), transfer.id, carried, evidence, now)
}

/// Removes the staged bytes of evidence that is not recorded, because its attempt did not deliver.
pub(crate) async fn drop_staged(context: &Context, evidence: Option<Evidence>) {
    let staged = evidence.as_ref().and_then(Evidence::staged).map(|staged| staged.id);
    if let Some(staged) = staged {
        discard(&context.staging, vec![staged]).await;
    }
}
