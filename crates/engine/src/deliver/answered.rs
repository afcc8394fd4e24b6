//! What came in the answer to a delivery: the transfers that are made of it, and the message that it was.

use crate::context::Context;
use crate::deliver::event::event_of;
use crate::history::FlowAt;
use crate::proof::of_received;
use crate::replies::write_reply;
use crate::transfers::{DEFAULT_RETENTION, ReplyTo, new_receipt, new_reply};
use model::definition::Destination;
use model::{AuditEvent, EventKind, Offer, OfferId, OfferIdentity, OfferState};
use serde_json::Map;
use store::{Claimed, NewAnswerMessage, NewTransfer};
use transport::{AnswerMessage, Reply};

/// What is recorded of an answer that holds payloads.
pub(super) struct Replied {
    pub(super) transfers: Vec<NewTransfer>,
    pub(super) events: Vec<AuditEvent>,
    /// The message that they are.
    pub(super) message: Option<NewAnswerMessage>,
}

/// The transfers of what came with the answer, with those of the receipts that are sent for it, and their events. They go
/// through the flow that the delivery's destination names for them, as it is now; without one they are held for a person.
pub(super) fn replied(
    context: &Context,
    claimed: &Claimed,
    flow: Option<&FlowAt>,
    replies: Vec<Reply>,
) -> Replied {
    let definitions = context.definitions();
    let retain_for = flow.map_or(DEFAULT_RETENTION, |at| at.flow.retention);
    let destinations = flow.map(|at| at.flow.destinations.as_slice()).unwrap_or_default();
    let own = destinations.iter().find(|other| other.name == claimed.delivery.destination);
    let to = match own.and_then(Destination::response_flow) {
        Some(name) => match definitions.flows.get(name) {
            Some(flow) => ReplyTo::Flow(flow, &claimed.delivery.endpoint),
            None => ReplyTo::Person(FLOW_IS_GONE, retain_for),
        },
        None => ReplyTo::Person(NO_FLOW, retain_for),
    };
    let (mut transfers, mut events, mut message) = (Vec::new(), Vec::new(), None);
    for Reply { part, receipt, message: of_answer } in replies {
        let (mut reply, arrival) = new_reply(context, &claimed.transfer, to, &part);
        if let (None, Some(of_answer)) = (&message, of_answer) {
            message = Some(of_message(context, claimed, to, of_answer, &mut reply));
        }
        let receipt = receipt.map(|receipt| new_receipt(context, receipt, None, Some(reply.transfer.id)));
        for (transfer, event) in std::iter::once((reply, arrival)).chain(receipt) {
            transfers.push(transfer);
            events.push(event);
        }
    }
    Replied { transfers, events, message }
}

/// What is recorded of the message in an answer, of which this is the first payload.
fn of_message(
    context: &Context,
    claimed: &Claimed,
    to: ReplyTo<'_>,
    message: AnswerMessage,
    first: &mut NewTransfer,
) -> NewAnswerMessage {
    let AnswerMessage { key, message_id, reply, content, is_remembered, evidence } = message;
    let now = context.now();
    let event = |kind| {
        event_of(context, claimed, kind).peer_detail("key", &key).peer_detail("message_id", &message_id)
    };
    let differs = event(EventKind::MessageContentDiffers)
        .detail("taken_from_answer", true)
        .detail("reason", "another message was received under its Message-ID before");
    let payload = &first.transfer.payload;
    let offer = Offer {
        id: OfferId::new(context.ids.next()),
        identity: OfferIdentity {
            flow: String::new(),
            endpoint: claimed.delivery.endpoint.clone(),
            path: payload.file_name.clone(),
            size: Some(payload.length),
            modified: Some(now),
            version: Some(key.clone()),
            rule: model::IdentityRule::default(),
        },
        state: OfferState::Staging,
        found_at: now,
        failures: 0,
        source_data: Map::new(),
    };
    let proved = std::slice::from_mut(first);
    let evidence = evidence.and_then(|evidence| of_received(context, offer.id, proved, evidence, now));
    NewAnswerMessage {
        offer,
        // A copy that comes by POST may have a flow.
        is_remembered: is_remembered && matches!(to, ReplyTo::Flow(..)),
        evidence,
        reply: write_reply(&reply),
        content,
        repeated: event(EventKind::MessageRepeated),
        differs,
        key,
    }
}

/// Why a payload that came with an answer is held.
const NO_FLOW: &str =
    "it came in the answer to a delivery, and the flow's destination names no flow for answers (response)";
const FLOW_IS_GONE: &str = "it came in the answer to a delivery, and the flow that the destination names for answers (response) \
    is no longer defined";
