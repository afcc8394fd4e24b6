//! `waybill transfer list|show`.

mod act;

pub(crate) use act::act;

use super::pages::{Pages, Row, Writer, unreadable_line};
use super::{evidence, receipt, text_search, unknown_name, write};
use crate::cli::{ListTransfers, Output, WhichTransfers};
use crate::gateway::open_command_session;
use crate::process::ClockAndRandom;
use config::Settings;
use model::schema::Section;
use model::{
    Content, DeliveryState, Lifecycle, Protocol, Purpose, Result, TELL_PARTNER, Timestamp, TransferId,
    TransferKind, quoted,
};
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use store::{
    AttachmentView, ConnectionView, DeliveryView, EvidenceView, KeptMdn, MadeView, ProcessingView, Store,
    TransferFilter, TransferView, Waybill,
};

pub(crate) async fn list(settings: &Settings, wanted: ListTransfers, output: Output) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let filter = filter(&wanted.which, ambient.clock.now());
    let store = open_command_session(settings, &ambient).await?;
    text_search::tell_index(&store, filter.searches());
    let written = write_all(&store, &filter, wanted.limit, output).await;
    store.close().await;
    written.map(|()| ExitCode::SUCCESS)
}

/// The filter of a list; what searches looks through the last day unless options say otherwise.
fn filter(which: &WhichTransfers, now: Timestamp) -> TransferFilter {
    let filter = filter_as_given(which);
    let (from, to) = text_search::span(&which.span, filter.searches(), now);
    TransferFilter { from, to, ..filter }
}

/// The filter that options ask for.
fn filter_as_given(which: &WhichTransfers) -> TransferFilter {
    TransferFilter {
        state: which.state,
        failed: which.any_failed,
        flow: which.flow.clone(),
        partner: which.partner.clone(),
        endpoint: which.endpoint.clone(),
        name_contains: which.file.clone(),
        name_mask: which.mask.clone(),
        from: which.span.from,
        to: which.span.to,
        ..TransferFilter::default()
    }
}

impl WhichTransfers {
    /// Whether no option was given.
    fn is_empty(&self) -> bool {
        let Self { state, any_failed, flow, partner, endpoint, file, mask, span } = self;
        let texts = [flow, partner, endpoint, file, mask];
        let times = [span.from, span.to];
        state.is_none()
            && !any_failed
            && texts.iter().all(|text| text.is_none())
            && times.iter().all(Option::is_none)
    }
}

async fn write_all(store: &Store, filter: &TransferFilter, limit: u32, output: Output) -> Result<()> {
    let (mut pages, mut writer) = (Pages::up_to(limit), Writer::new::<TransferView>(output));
    while let Some(page) = pages.next() {
        let listing = text_search::whole(store.transfers(filter, page).await?, "search file names")?;
        writer.page(&pages.take(listing))?;
    }
    if writer.is_empty() {
        unknown_name::tell(store, &[(Section::FLOW, filter.flow.as_deref())]).await;
    }
    writer.end::<TransferView>(&pages)
}

impl Row for TransferView {
    const NAME: &'static str = "transfers";
    const COLUMNS: &'static [&'static str] =
        &["TRANSFER", "RECORDED", "STATE", "FLOW", "DELIVERED", "BYTES", "FILE"];

    fn json(&self) -> Value {
        transfer_json(self)
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.to_string(),
            write::time(self.created_at),
            self.state.to_string(),
            self.flow.clone(),
            format!("{}/{}", self.delivered, self.deliveries),
            self.length.to_string(),
            quoted(&self.file_name.to_text()).to_string(),
        ]
    }
}

pub(crate) async fn show(settings: &Settings, id: TransferId, output: Output) -> Result<ExitCode> {
    let store = open_command_session(settings, &ClockAndRandom::default()).await?;
    let found = shown(&store, id).await;
    store.close().await;
    let shown = found?.ok_or_else(|| unknown_name::transfer(id))?;
    match output {
        Output::Json => write::json(&waybill_json(&shown))?,
        Output::Text => text(&shown)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// What `transfer show` shows.
struct Shown {
    waybill: Waybill,
    metadata: Map<String, Value>,
    mdns: Vec<KeptMdn>,
    evidence: Vec<EvidenceView>,
}

async fn shown(store: &Store, id: TransferId) -> Result<Option<Shown>> {
    let Some(waybill) = store.waybill(id).await? else { return Ok(None) };
    let metadata = store.transfer(id).await?.map(|transfer| transfer.metadata).unwrap_or_default();
    let (mdns, evidence) = (store.mdns(id).await?, store.evidence_of(id).await?);
    Ok(Some(Shown { waybill, metadata, mdns, evidence }))
}

fn text(Shown { waybill, metadata, mdns, evidence }: &Shown) -> Result<()> {
    let transfer = &waybill.transfer;
    let name = transfer.file_name.to_text();
    write::line(format_args!("{}  {}  {}", quoted(&name), transfer.state, transfer.id))?;
    let way = match transfer.kind {
        TransferKind::Receipt => "receipt, by",
        TransferKind::ByHand => "sent by hand, to",
        TransferKind::Payload | TransferKind::Reply | TransferKind::Failure => "flow",
    };
    write::line(format_args!(
        "  {way} {} of revision {}, {} bytes, {}",
        transfer.flow,
        transfer.revision,
        transfer.length,
        content(transfer.content)
    ))?;
    for (key, value) in metadata.iter().filter(|(_, value)| !value.is_null()) {
        let value = match value {
            Value::String(text) => quoted(text).to_string(),
            other => quoted(&other.to_string()).to_string(),
        };
        write::line(format_args!("  metadata {}: {value}", quoted(key)))?;
    }
    together(waybill)?;
    steps(waybill)?;
    if let Some(parent) = &waybill.parent {
        write::line(format_args!("  made from transfer {}", parent.id))?;
    }
    for child in &waybill.children {
        write::line(format_args!("  made into transfer {}: {} {}", child.id, child.kind, child.state))?;
    }
    if let Some(offer) = waybill.source() {
        write::line(format_args!(
            "  from {} at {}, found {}, source {}",
            quoted(&offer.path.to_text()),
            offer.endpoint,
            write::time(offer.found_at),
            offer.state
        ))?;
        if let Some(error) = &offer.error {
            write::line(format_args!("    the source could not be settled: {error}"))?;
        }
    }
    for delivery in &waybill.deliveries {
        write::line(format_args!(
            "  to {} as {}: {}",
            delivery.destination,
            quoted(&delivery.file_name.to_text()),
            delivery.state
        ))?;
        if let Some(opens) = delivery.opens_at.filter(|_| !delivery.state.is_final()) {
            let opens = write::time(opens);
            write::line(format_args!("    waits until {opens}, when the hours of its destination begin"))?;
        }
        if let Some(deadline) = delivery.receipt_deadline {
            let deadline = write::time(deadline);
            write::line(format_args!("    waits for its receipt until {deadline}"))?;
        }
        if let Some(revision) = delivery.revision {
            write::line(format_args!(
                "    goes through the flow of revision {revision} since it was retried"
            ))?;
        }
        for attempt in &delivery.attempts {
            let outcome = attempt.outcome.as_deref().unwrap_or("under way");
            let words = attempt.error.as_deref().unwrap_or_default();
            write::line(format_args!(
                "    attempt {} at {} on {}: {outcome} {words}",
                attempt.number,
                write::time(attempt.started_at),
                attempt.node
            ))?;
        }
        if let Some(receipt) = &delivery.receipt {
            write::line(format_args!("    receipt ({}) {}", receipt.kind, receipt.summary))?;
        }
        if let Some(words) = tell_partner(waybill, delivery) {
            write::line(format_args!("    to tell the partner: {words}"))?;
        }
    }
    for connection in &waybill.connections {
        write::line(format_args!("  connection {}", connection_line(connection)))?;
    }
    for kept in mdns {
        write::line(format_args!(
            "  MDN ({}): `{}`",
            kept.which.as_str(),
            receipt::command(transfer.id, kept)
        ))?;
    }
    for kept in evidence {
        match kept.removed_at {
            None => write::line(format_args!(
                "  evidence, kept until {}: `{}`",
                write::time(kept.keep_until),
                evidence::command(transfer.id, kept)
            ))?,
            Some(removed) => {
                write::line(format_args!("  evidence {} was removed at {}", kept.id, write::time(removed)))?
            }
        }
    }
    for row in &waybill.unreadable {
        write::line(format_args!("  {}", unreadable_line(row)))?;
    }
    for (at, event) in waybill.events.iter().enumerate() {
        if let Some(gap) = waybill.gap.filter(|gap| gap.after == at) {
            write::line(format_args!(
                "  … {} events are left out here; `waybill audit search --transfer {}` finds all",
                gap.count, transfer.id
            ))?;
        }
        write::line(format_args!("  {}", super::audit::event_line(event)))?;
    }
    Ok(())
}

/// What the operator can tell the partner about a delivery that is not delivered.
fn tell_partner<'a>(waybill: &'a Waybill, delivery: &DeliveryView) -> Option<&'a str> {
    if delivery.state == DeliveryState::Delivered {
        return None;
    }
    let mut theirs = waybill.events.iter().rev().filter(|event| event.delivery == Some(delivery.id));
    theirs.find_map(|event| event.detail.get(TELL_PARTNER)?.as_str())
}

/// The hash of a payload, and where its bytes are.
fn content(content: Content) -> String {
    match content {
        Content::Staged(sha256) => format!("SHA-256 {sha256}"),
        Content::Streamed(Some(sha256)) => format!("SHA-256 {sha256}; streamed, not kept"),
        Content::Streamed(None) => "streamed, not kept; its SHA-256 is known once it is delivered".to_owned(),
    }
}

/// What a connection is, for one line: `0192… ftp, data, at acme-orders, 192.0.2.7:20, control 0192…`.
fn connection_line(connection: &ConnectionView) -> String {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(connection.protocol.map(|protocol| protocol.as_str().to_owned()));
    parts.extend(connection.purpose.map(|purpose| purpose.as_str().to_owned()));
    parts.extend(connection.endpoint.as_ref().map(|endpoint| format!("at {}", quoted(endpoint))));
    let place = connection.host.as_ref().or(connection.remote.as_ref());
    parts.extend(place.map(|place| quoted(place).to_string()));
    parts.extend(connection.control.map(|control| format!("control {control}")));
    format!("{} {}", connection.id, parts.join(", "))
}

/// The files that are sent with the payload, and those that came with it as transfers of their own.
fn together(waybill: &Waybill) -> Result<()> {
    for attachment in &waybill.attachments {
        let name = attachment.file_name.to_text();
        let sha256 = attachment.sha256.map(|hash| format!(", SHA-256 {hash}")).unwrap_or_default();
        let line = format!("  attachment {}: {} bytes{sha256}", quoted(&name), attachment.length);
        write::line(format_args!("{line}"))?;
    }
    for other in &waybill.came_with {
        let name = other.file_name.to_text();
        write::line(format_args!("  came together with {} ({}), {}", quoted(&name), other.id, other.state))?;
    }
    Ok(())
}

/// What steps made of the payload, and how far they are.
fn steps(waybill: &Waybill) -> Result<()> {
    for made in &waybill.made {
        write::line(format_args!("  {} at {}:", made.made_by, write::time(made.made_at)))?;
        write::line(format_args!("    of {} bytes, SHA-256 {}", made.parent_length, made.parent_sha256))?;
        write::line(format_args!("    made {} bytes, SHA-256 {}", made.length, made.sha256))?;
    }
    match &waybill.processing {
        Some(ProcessingView { node: Some(node), attempts, .. }) => {
            write::line(format_args!("  node {node} does the steps of its flow, attempt {attempts}"))
        }
        Some(ProcessingView { due_at: Some(due), error, .. }) => {
            let error = error.as_deref().map(|error| format!("; the last attempt failed: {error}"));
            write::line(format_args!(
                "  the steps of its flow are due {}{}",
                write::time(*due),
                error.unwrap_or_default()
            ))
        }
        _ => Ok(()),
    }
}

fn transfer_json(transfer: &TransferView) -> Value {
    json!({
        "id": transfer.id, "flow": transfer.flow, "revision": transfer.revision, "partner": transfer.partner, "state": transfer.state.as_str(),
        "file_name": transfer.file_name.to_text(), "bytes": transfer.length,
        "sha256": transfer.content.sha256().map(|hash| hash.to_string()), "streamed": transfer.content.is_streamed(),
        "media_type": transfer.media_type, "recorded": transfer.created_at, "ended": transfer.ended_at,
        "deliveries": transfer.deliveries, "delivered": transfer.delivered, "kind": transfer.kind.as_str(),
        "parent": transfer.parent,
    })
}

fn delivery_json(delivery: &DeliveryView) -> Value {
    let attempts: Vec<Value> = delivery
        .attempts
        .iter()
        .map(|a| json!({ "number": a.number, "node": a.node, "started": a.started_at, "ended": a.ended_at, "outcome": a.outcome, "error": a.error }))
        .collect();
    json!({
        "id": delivery.id, "destination": delivery.destination, "endpoint": delivery.endpoint, "revision": delivery.revision,
        "file_name": delivery.file_name.to_text(), "state": delivery.state.as_str(), "attempts": attempts,
        "receipt": delivery.receipt, "error": delivery.error, "payload": delivery.payload,
        "due": delivery.due_at, "waits_for_hours_until": delivery.opens_at,
    })
}

fn waybill_json(Shown { waybill, metadata, mdns, evidence }: &Shown) -> Value {
    let mut json = transfer_json(&waybill.transfer);
    json["metadata"] = Value::Object(metadata.clone());
    json["deliveries"] = waybill.deliveries.iter().map(delivery_json).collect();
    let made = |made: &MadeView| {
        json!({
            "step": made.made_by, "payload": made.payload, "bytes": made.length, "sha256": made.sha256.to_string(),
            "media_type": made.media_type, "made": made.made_at,
            "parent": { "payload": made.parent, "bytes": made.parent_length, "sha256": made.parent_sha256.to_string() },
        })
    };
    json["payload"] = json!(waybill.transfer.payload);
    json["steps"] = waybill.made.iter().map(made).collect();
    let attachment = |one: &AttachmentView| {
        json!({
            "payload": one.payload, "file_name": one.file_name.to_text(), "bytes": one.length,
            "sha256": one.sha256.map(|hash| hash.to_string()), "media_type": one.media_type, "removed": one.removed_at,
        })
    };
    json["attachments"] = waybill.attachments.iter().map(attachment).collect();
    json["came_with"] = waybill.came_with.iter().map(transfer_json).collect();
    if let Some(steps) = &waybill.processing {
        json["processing"] = json!({
            "due": steps.due_at, "node": steps.node, "attempts": steps.attempts, "error": steps.error,
        });
    }
    let mdn = |kept: &KeptMdn| json!({ "which": kept.which.as_str(), "delivery": kept.which.delivery(), "attempt": kept.attempt });
    let connection = |connection: &ConnectionView| {
        json!({
            "id": connection.id, "protocol": connection.protocol.map(Protocol::as_str),
            "purpose": connection.purpose.map(Purpose::as_str), "endpoint": connection.endpoint,
            "host": connection.host, "remote": connection.remote, "control": connection.control,
        })
    };
    json["connections"] = waybill.connections.iter().map(connection).collect();
    json["children"] = waybill.children.iter().map(transfer_json).collect();
    json["mdns"] = mdns.iter().map(mdn).collect();
    let proof = |kept: &EvidenceView| {
        json!({
            "id": kept.id, "delivery": kept.delivery, "recorded": kept.recorded_at, "kept_until": kept.keep_until,
            "removed": kept.removed_at,
        })
    };
    json["evidence"] = evidence.iter().map(proof).collect();
    json["events"] = waybill.events.iter().map(super::audit::event_json).collect();
    json["events_left_out"] = waybill.gap.map_or(0, |gap| gap.count).into();
    let unreadable = |row: &store::UnreadableRow| json!({ "id": row.id, "at": row.at, "error": row.error });
    json["unreadable"] = waybill.unreadable.iter().map(unreadable).collect();
    if let Some(offer) = waybill.source() {
        json["source"] = json!({ "endpoint": offer.endpoint, "path": offer.path.to_text(), "state": offer.state.as_str(), "found": offer.found_at });
    }
    json
}
