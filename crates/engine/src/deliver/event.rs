//! The events of an attempt.

use crate::context::Context;
use model::{AuditEvent, EventKind};
use store::Claimed;

/// An event of an attempt.
pub(super) fn event_of(context: &Context, claimed: &Claimed, kind: EventKind) -> AuditEvent {
    let event = context
        .event(kind)
        .flow(&claimed.transfer.flow)
        .endpoint(&claimed.delivery.endpoint)
        .transfer(claimed.transfer.id)
        .delivery(claimed.delivery.id)
        .detail("attempt", claimed.claim.attempt);
    match &claimed.transfer.partner {
        Some(partner) => event.partner(partner),
        None => event,
    }
}
