//! Creates transfers and deliveries from staged parts and streamed files: a file that a poll read, a message that was received, a
//! payload that came with the answer to a delivery, or a receipt that is sent later.

use crate::context::Context;
use model::definition::{Definitions, Destination, Flow, OnFailure};
use model::{
    ArchivedCopy, Attachment, AuditEvent, ConnectionId, Content, Delivery, DeliveryId, DeliveryState,
    EventKind, OfferId, PayloadId, PayloadRecord, RECEIPT, RECEIPT_URL, RemotePath, TemplateValues,
    Timestamp, Transfer, TransferId, TransferKind, TransferState, receipts_flow,
};
use serde_json::{Map, Value};
use std::time::Duration;
use store::{FailureDestination, FailureRoute, NewDelivery, NewTransfer};
use transport::{Described, OutgoingReceipt, StagedPart};
use uuid::Uuid;

/// How long a reply is kept if its flow cannot be read; and the shortest time for which the answer to a message is
/// kept.
pub(crate) const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 86_400);

/// The data that all parts of one offer or message share.
pub(crate) struct Origin<'a> {
    pub(crate) offer: Option<OfferId>,
    pub(crate) endpoint: &'a str,
    pub(crate) partner: Option<&'a str>,
    pub(crate) received: Timestamp,
    /// The definitions whose flows accept it.
    pub(crate) revision: i64,
}

/// Creates one transfer of a part through a flow, a delivery for each of the flow's destinations, and the event. The
/// attachments are sent with it.
pub(crate) fn new_transfer(
    context: &Context,
    flow: &Flow,
    origin: &Origin<'_>,
    (part, attachments): (&StagedPart, &[StagedPart]),
    sequence: u32,
) -> (NewTransfer, AuditEvent) {
    let transfer = transfer_of(context, &flow.name, origin.revision, part, origin.received);
    let transfer = Transfer { sequence, ..transfer };
    let (mut new, event) = through_flow(context, flow, origin, transfer, part.connection);
    let attached = |part: &StagedPart| Attachment {
        payload: payload_of(part, origin.received),
        metadata: part.metadata.clone(),
    };
    new.attachments = attachments.iter().map(attached).collect();
    (new, event)
}

/// Creates the transfers of all parts of an offer through its flow: one of each part, or one of the first with the others
/// as its attachments, where the flow keeps them together.
pub(crate) fn new_transfers(
    context: &Context,
    flow: &Flow,
    origin: &Origin<'_>,
    parts: &[StagedPart],
) -> Vec<(NewTransfer, AuditEvent)> {
    match parts.split_first() {
        Some((first, attachments)) if flow.together => {
            vec![new_transfer(context, flow, origin, (first, attachments), 1)]
        }
        _ => {
            let each = parts.iter().zip(1_u32..);
            each.map(|(part, sequence)| new_transfer(context, flow, origin, (part, &[]), sequence)).collect()
        }
    }
}

/// Creates the transfer of a file that is streamed, its delivery and the event.
pub(crate) fn new_streamed(
    context: &Context,
    flow: &Flow,
    origin: &Origin<'_>,
    described: Described,
    length: u64,
) -> (NewTransfer, AuditEvent) {
    let payload = PayloadRecord {
        id: PayloadId::new(context.ids.next()),
        length,
        content: Content::Streamed(None),
        media_type: described.media_type,
        file_name: described.file_name,
        staged_at: origin.received,
    };
    let transfer = begun(context, &flow.name, origin.revision, payload, described.metadata);
    through_flow(context, flow, origin, transfer, None)
}

fn through_flow(
    context: &Context,
    flow: &Flow,
    origin: &Origin<'_>,
    mut transfer: Transfer,
    connection: Option<ConnectionId>,
) -> (NewTransfer, AuditEvent) {
    transfer.offer = origin.offer;
    transfer.partner = origin.partner.map(str::to_owned);
    add_metadata(flow, &mut transfer);
    let deliveries = new_deliveries(flow, &transfer, || context.ids.next());
    let event =
        arrival(context, EventKind::TransferRecorded, &transfer, connection).endpoint(origin.endpoint);
    let failure_route = failure_route(flow, origin.revision, &context.definitions());
    let attachments = Vec::new();
    (NewTransfer { transfer, deliveries, attachments, retain_for: flow.retention, failure_route }, event)
}

/// Adds to a transfer's metadata what its flow says.
pub fn add_metadata(flow: &Flow, transfer: &mut Transfer) {
    let archived = ArchivedCopy::noted(&transfer.metadata);
    let added = added_by(flow, &values_of(flow, transfer, archived.as_ref()));
    transfer.metadata.extend(added);
}

/// What a flow says of the metadata of its transfers.
pub(crate) fn added_by(flow: &Flow, values: &TemplateValues<'_>) -> Vec<(String, Value)> {
    let added = flow.metadata.iter().map(|(key, template)| {
        // Bytes of a name that are no text are written as `%E9`.
        let text = String::from_utf8(template.render(values))
            .unwrap_or_else(|bytes| RemotePath::from_bytes(bytes.into_bytes()).to_text());
        (key.clone(), Value::from(text))
    });
    added.collect()
}

/// What the fields of templates stand for.
fn values_of<'a>(
    flow: &'a Flow,
    transfer: &'a Transfer,
    archive: Option<&'a ArchivedCopy>,
) -> TemplateValues<'a> {
    let payload = &transfer.payload;
    TemplateValues {
        name: payload.file_name.file_name(),
        received: payload.staged_at,
        flow: &flow.name,
        transfer: transfer.id,
        sequence: transfer.sequence,
        failure: None,
        archive,
        metadata: &transfer.metadata,
    }
}

/// Creates a transfer's deliveries, one to each destination of its flow, due at once.
pub fn new_deliveries(flow: &Flow, transfer: &Transfer, mut ids: impl FnMut() -> Uuid) -> Vec<NewDelivery> {
    let payload = &transfer.payload;
    let due = transfer.created_at;
    let archived = ArchivedCopy::noted(&transfer.metadata);
    let to = |destination: &Destination| {
        let values = values_of(flow, transfer, archived.as_ref());
        let (file_name, counters) = match &destination.file_name {
            Some(template) => {
                let (name, counters) = template.render_open(&values);
                (payload.file_name.with_file_name(&name), counters)
            }
            None => (payload.file_name.clone(), Vec::new()),
        };
        NewDelivery {
            counters,
            has_steps: flow.steps_to(destination).next().is_some(),
            lane_continues: flow.continue_after_failure,
            delivery: Delivery {
                id: DeliveryId::new(ids()),
                transfer: transfer.id,
                destination: destination.name.clone(),
                endpoint: destination.endpoint.clone(),
                revision: None,
                file_name,
                state: DeliveryState::Pending,
                attempt: 0,
                lane: lane(flow, destination),
                due_at: due,
                expires_at: destination.expires_after.map(|wait| due + wait),
            },
        }
    };
    flow.usual_destinations().map(to).collect()
}

/// The name that a payload gets at a destination.
pub(crate) fn name_at(
    destination: &Destination,
    file_name: &RemotePath,
    values: &TemplateValues<'_>,
) -> RemotePath {
    match &destination.file_name {
        Some(template) => file_name.with_file_name(&template.render(values)),
        None => file_name.clone(),
    }
}

fn lane(flow: &Flow, destination: &Destination) -> Option<String> {
    flow.ordered.then(|| format!("{}/{}", flow.name, destination.name))
}

/// Where a transfer through a flow goes if it fails for good: through a flow of these definitions, or to the flow's own
/// destination for failures, as the flow's `revision` has it.
#[must_use]
pub fn failure_route(flow: &Flow, revision: i64, definitions: &Definitions) -> Option<FailureRoute> {
    match flow.on_failure.as_ref()? {
        OnFailure::Destination(name) => {
            let destination = flow.destinations.iter().filter(|destination| destination.name == *name);
            Some(route(flow, revision, destination, None))
        }
        OnFailure::Flow(name) => {
            let Some(other) = definitions.flows.get(name) else {
                tracing::warn!(flow = %flow.name, on_failure = name, "the flow for failures is not defined: a transfer that fails for good goes nowhere");
                return None;
            };
            // Definitions have no circle; of those before a mistake was found, this ends one.
            let is_circle = matches!(&other.on_failure, Some(OnFailure::Flow(next)) if next == &flow.name);
            let next = if is_circle { None } else { failure_route(other, definitions.revision, definitions) };
            Some(route(other, definitions.revision, other.usual_destinations(), next))
        }
    }
}

fn route<'a>(
    flow: &Flow,
    revision: i64,
    destinations: impl Iterator<Item = &'a Destination>,
    next: Option<FailureRoute>,
) -> FailureRoute {
    let to = |destination: &Destination| FailureDestination {
        destination: destination.name.clone(),
        endpoint: destination.endpoint.clone(),
        file_name: destination.file_name.as_ref().map(|template| template.as_str().to_owned()),
        time_zone: destination.file_name.as_ref().map(|template| template.zone().to_string()),
        lane: lane(flow, destination),
        lane_continues: flow.continue_after_failure,
        has_steps: flow.steps_to(destination).next().is_some(),
        expires_after: destination.expires_after,
    };
    FailureRoute {
        flow: flow.name.clone(),
        revision,
        retain_for: flow.retention,
        destinations: destinations.map(to).collect(),
        next: next.map(Box::new),
    }
}

/// What becomes of a payload that came with a delivery's answer.
#[derive(Clone, Copy)]
pub(crate) enum ReplyTo<'a> {
    /// It goes through this flow of the definitions in force, which came by this endpoint.
    Flow(&'a Flow, &'a str),
    /// It is held for a person, for this reason, and kept so long.
    Person(&'static str, Duration),
}

/// Creates the transfer of a payload that came with a delivery's answer, as a child of the transfer that was sent. It goes
/// through the flow that is named for it, whatever that takes otherwise; without one it is held for a person, and not
/// delivered by itself.
pub(crate) fn new_reply(
    context: &Context,
    parent: &Transfer,
    to: ReplyTo<'_>,
    part: &StagedPart,
) -> (NewTransfer, AuditEvent) {
    let (why, retain_for) = match to {
        ReplyTo::Flow(flow, endpoint) => {
            let revision = context.definitions().revision;
            let partner = parent.partner.as_deref();
            let origin = Origin { offer: None, endpoint, partner, received: context.now(), revision };
            let transfer = transfer_of(context, &flow.name, revision, part, origin.received);
            let transfer = Transfer { kind: TransferKind::Reply, parent: Some(parent.id), ..transfer };
            let (new, event) = through_flow(context, flow, &origin, transfer, part.connection);
            return (new, event.detail("parent", parent.id.to_string()));
        }
        ReplyTo::Person(why, retain_for) => (why, retain_for),
    };
    let transfer = Transfer {
        kind: TransferKind::Reply,
        parent: Some(parent.id),
        partner: parent.partner.clone(),
        state: TransferState::Held,
        ..transfer_of(context, &parent.flow, parent.revision, part, context.now())
    };
    let event = arrival(context, EventKind::TransferHeld, &transfer, part.connection)
        .detail("why", why)
        .detail("parent", parent.id.to_string());
    let (deliveries, attachments) = (Vec::new(), Vec::new());
    (NewTransfer { transfer, deliveries, attachments, retain_for, failure_route: None }, event)
}

/// Creates the transfer of a receipt that is sent later, and its event. It goes through no flow. Its parent is the
/// transfer that it confirms, if there is one.
pub(crate) fn new_receipt(
    context: &Context,
    receipt: OutgoingReceipt,
    offer: Option<OfferId>,
    parent: Option<TransferId>,
) -> (NewTransfer, AuditEvent) {
    let OutgoingReceipt { listener, partner, endpoint, url, part, of_other: _ } = receipt;
    let revision = context.definitions().revision;
    let mut transfer = Transfer {
        kind: TransferKind::Receipt,
        offer,
        parent,
        partner: Some(partner),
        ..transfer_of(context, &receipts_flow(&listener), revision, &part, context.now())
    };
    transfer.metadata.insert(RECEIPT_URL.to_owned(), url.into());
    let delivery = Delivery {
        id: DeliveryId::new(context.ids.next()),
        transfer: transfer.id,
        destination: RECEIPT.to_owned(),
        endpoint: endpoint.clone(),
        revision: None,
        file_name: transfer.payload.file_name.clone(),
        state: DeliveryState::Pending,
        attempt: 0,
        lane: None,
        due_at: transfer.created_at,
        expires_at: None,
    };
    let delivery = NewDelivery { delivery, counters: Vec::new(), has_steps: false, lane_continues: false };
    let event = arrival(context, EventKind::TransferRecorded, &transfer, part.connection).endpoint(&endpoint);
    let (deliveries, attachments, retain_for) = (vec![delivery], Vec::new(), DEFAULT_RETENTION);
    (NewTransfer { transfer, deliveries, attachments, retain_for, failure_route: None }, event)
}

/// Creates the transfer of a part; the caller adds how it arrived.
fn transfer_of(
    context: &Context,
    flow: &str,
    revision: i64,
    part: &StagedPart,
    received: Timestamp,
) -> Transfer {
    begun(context, flow, revision, payload_of(part, received), part.metadata.clone())
}

fn payload_of(part: &StagedPart, received: Timestamp) -> PayloadRecord {
    PayloadRecord {
        id: part.staged.id,
        length: part.staged.length,
        content: Content::Staged(part.staged.sha256),
        media_type: part.media_type.clone(),
        file_name: part.file_name.clone(),
        staged_at: received,
    }
}

/// A transfer that begins.
fn begun(
    context: &Context,
    flow: &str,
    revision: i64,
    payload: PayloadRecord,
    metadata: Map<String, Value>,
) -> Transfer {
    Transfer {
        id: TransferId::new(context.ids.next()),
        kind: TransferKind::Payload,
        flow: flow.to_owned(),
        revision,
        offer: None,
        parent: None,
        sequence: 1,
        partner: None,
        created_at: payload.staged_at,
        payload,
        state: TransferState::Staged,
        metadata,
    }
}

/// The event of a new transfer.
fn arrival(
    context: &Context,
    kind: EventKind,
    transfer: &Transfer,
    connection: Option<ConnectionId>,
) -> AuditEvent {
    let payload = &transfer.payload;
    let mut event = context
        .event(kind)
        .flow(&transfer.flow)
        .transfer(transfer.id)
        .peer_detail("file_name", payload.file_name.to_text())
        .detail("bytes", payload.length);
    if let Some(sha256) = payload.content.sha256() {
        event = event.detail("sha256", sha256.to_string());
    }
    event.partner = transfer.partner.clone();
    event.connection = connection;
    event
}
