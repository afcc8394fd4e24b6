//! `/transfers/{id}`: one transfer's waybill, its whole way.

mod attachments;
mod delivery;
mod made;
mod on_the_wire;
mod route_diagram;
mod source_badge;
mod steps;

use crate::pages::evidence::evidence_path;
use crate::pages::mdn::mdn_path;
use crate::pages::waybill::attachments::AttachmentSection;
use crate::pages::waybill::delivery::DeliverySection;
use crate::pages::waybill::made::{MadeSection, OpenSteps, sent};
use crate::pages::waybill::on_the_wire::OnTheWire;
use crate::pages::waybill::route_diagram::{Picture, Stop, draw};
use crate::pages::waybill::source_badge::source_badge;
use crate::pages::waybill::steps::{Step, steps};
use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::connection_table::ConnectionTable;
use crate::web::event_table::EventTable;
use crate::web::facts::{Facts, facts};
use crate::web::format::{
    Moment, Size, between, grouped, one_line, path_text, safe_text, size_text, unreadable_rows,
};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use crate::web::transfer_table::{TransferTable, kind_word};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use model::{DeliveryState, Permission, TELL_PARTNER, TransferId, TransferKind};
use std::sync::Arc;
use store::{DeliveryView, EvidenceView, KeptMdn, Waybill, WhichMdn};

#[derive(Template)]
#[template(path = "waybill.html")]
struct WaybillPage {
    layout: Layout,
    name: String,
    body: WaybillBody,
}

#[derive(Template)]
#[template(path = "waybill_body.html")]
struct WaybillBody {
    id: String,
    name: String,
    badge: Badge,
    kind: Option<&'static str>,
    /// What `flow` names: a flow, or of a receipt the listener that made it.
    by: &'static str,
    flow: String,
    /// The flow's title, as the definitions in force have it.
    title: Option<String>,
    partner: Option<String>,
    recorded: Moment,
    took: Option<String>,
    pictures: [Picture; 2],
    steps: Vec<Step>,
    size: Size,
    sha256: Option<String>,
    streamed: bool,
    media_type: Option<String>,
    removed: Option<Moment>,
    attachments: Vec<AttachmentSection>,
    made: Vec<MadeSection>,
    open_steps: Option<OpenSteps>,
    metadata: Facts,
    deliveries: Vec<DeliverySection>,
    /// Where the MDN is downloaded that we sent.
    sent_mdn: Option<String>,
    /// Whether it goes out later, as a transfer of its own.
    receipt_comes_later: bool,
    evidence: Vec<EvidenceLine>,
    connections: ConnectionTable,
    /// In more than one part when some between them are left out.
    events: Vec<EventTable>,
    left_out: Option<String>,
    /// The other files of the same message.
    came_with: TransferTable,
    parent: Option<TransferTable>,
    children: TransferTable,
    more_children: bool,
    unreadable: Vec<String>,
    reads_audit: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for WaybillBody {}

/// What proves a message of the transfer.
struct EvidenceLine {
    /// Where it is downloaded; `None` without the permission, or once it is removed.
    path: Option<String>,
    /// Of which message.
    message: String,
    kept_until: Moment,
    removed: Option<Moment>,
}

impl EvidenceLine {
    fn new(transfer: TransferId, kept: &EvidenceView, may_export: bool) -> Self {
        let id = kept.about.get("message_id").and_then(|id| id.as_str());
        Self {
            path: (may_export && kept.removed_at.is_none()).then(|| evidence_path(transfer, kept)),
            message: id.map(safe_text).unwrap_or_default(),
            kept_until: Moment(kept.keep_until),
            removed: kept.removed_at.map(Moment),
        }
    }
}

/// `GET /transfers/{id}`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let none = || PageError::no_such("transfer");
    let id = path_id(&id).map(TransferId::new).ok_or_else(none)?;
    let waybill = state.store.waybill(id).await?.ok_or_else(none)?;
    let metadata = state.store.transfer(id).await?.map(|transfer| facts(&transfer.metadata).into());
    let mdns = state.store.mdns(id).await?;
    let may_export = auth.may(Permission::ExportEvidence);
    let evidence = state.store.evidence_of(id).await?;
    let evidence = evidence.iter().map(|kept| EvidenceLine::new(id, kept, may_export)).collect();
    let reads_audit = auth.may(Permission::ViewAudit);
    let flows = state.defined_flows().await?;
    let title = flows.get(&waybill.transfer.flow).and_then(|flow| flow.title.clone());
    let mut body = body(&state, &waybill, &mdns, metadata.unwrap_or_default(), reads_audit);
    for (section, delivery) in body.deliveries.iter_mut().zip(&waybill.deliveries) {
        section.on_the_wire = OnTheWire::of(&state.store, delivery).await;
    }
    let body = WaybillBody { title, evidence, ..body };
    if auth.fragment {
        return Ok(Html(body.render()?).into_response());
    }
    let page = WaybillPage { layout: auth.layout(Section::Transfers), name: body.name.clone(), body };
    Ok(Html(page.render()?).into_response())
}

fn body(
    state: &AppState,
    waybill: &Waybill,
    mdns: &[KeptMdn],
    metadata: Facts,
    reads_audit: bool,
) -> WaybillBody {
    let now = state.now();
    let transfer = &waybill.transfer;
    let (first, last) = waybill.events.split_at(waybill.gap.map_or(waybill.events.len(), |gap| gap.after));
    let events = [first, last].into_iter().filter(|part| !part.is_empty());
    WaybillBody {
        id: transfer.id.to_string(),
        name: path_text(&transfer.file_name),
        badge: Badge::transfer(transfer.state),
        kind: kind_word(transfer.kind),
        by: match transfer.kind {
            TransferKind::Receipt => "Sent by",
            TransferKind::ByHand => "Sent by hand to",
            TransferKind::Payload | TransferKind::Reply | TransferKind::Failure => "Flow",
        },
        flow: transfer.flow.clone(),
        title: None,
        partner: transfer.partner.clone(),
        recorded: Moment(transfer.created_at),
        took: transfer.ended_at.map(|end| between(transfer.created_at, end)),
        pictures: pictures(waybill),
        steps: steps(waybill),
        size: Size(transfer.length),
        sha256: transfer.content.sha256().map(|hash| hash.to_string()),
        streamed: transfer.content.is_streamed(),
        media_type: transfer.media_type.as_deref().map(safe_text),
        removed: transfer.payload_removed_at.map(Moment),
        attachments: waybill.attachments.iter().map(AttachmentSection::new).collect(),
        made: waybill.made.iter().map(MadeSection::new).collect(),
        open_steps: waybill.processing.as_ref().and_then(OpenSteps::of),
        metadata,
        deliveries: waybill
            .deliveries
            .iter()
            .map(|one| DeliverySection {
                sends: sent(waybill, one),
                tell_partner: tell_partner(waybill, one),
                ..DeliverySection::new(transfer.id, one, mdns, now)
            })
            .collect(),
        sent_mdn: mdns
            .iter()
            .find(|kept| kept.which == WhichMdn::Sent)
            .map(|kept| mdn_path(transfer.id, kept.which)),
        receipt_comes_later: transfer.kind == TransferKind::Receipt
            || waybill.children.iter().any(|child| child.kind == TransferKind::Receipt),
        evidence: Vec::new(),
        connections: ConnectionTable::new("Connections of this transfer", &waybill.connections, now),
        events: events
            .map(|part| EventTable::new("Audit events of this transfer, oldest first", part, false))
            .collect(),
        left_out: waybill.gap.map(|gap| grouped(gap.count)),
        came_with: TransferTable::new("Transfers of the same message", &waybill.came_with),
        parent: waybill.parent.as_ref().map(|parent| TransferTable::new("The parent transfer", [parent])),
        children: TransferTable::new("Child transfers", &waybill.children),
        more_children: waybill.more_children,
        unreadable: unreadable_rows("a part of this waybill", &waybill.unreadable),
        reads_audit,
        at: Moment(now),
    }
}

/// What the operator can tell the partner about a delivery that is not delivered.
fn tell_partner(waybill: &Waybill, delivery: &DeliveryView) -> Option<String> {
    if delivery.state == DeliveryState::Delivered {
        return None;
    }
    let mut theirs = waybill.events.iter().rev().filter(|event| event.delivery == Some(delivery.id));
    theirs.find_map(|event| event.detail.get(TELL_PARTNER)?.as_str()).map(safe_text)
}

fn pictures(waybill: &Waybill) -> [Picture; 2] {
    let transfer = &waybill.transfer;
    let source = match (waybill.source(), &waybill.parent) {
        (Some(offer), _) => Stop {
            caption: "Source".to_owned(),
            title: safe_text(&offer.endpoint),
            text: path_text(&offer.path),
            badge: source_badge(offer.state),
        },
        (None, Some(parent)) => Stop {
            caption: "Parent transfer".to_owned(),
            title: path_text(&parent.file_name),
            text: safe_text(&parent.flow),
            badge: Badge::transfer(parent.state),
        },
        (None, None) if transfer.kind == TransferKind::ByHand => Stop {
            caption: "Source".to_owned(),
            title: "Sent by hand".to_owned(),
            text: safe_text(&transfer.flow),
            badge: Badge::new(Tone::Good, Icon::Check, "Recorded"),
        },
        // Of a message that was refused, or that proposed a certificate, there is no transfer.
        (None, None) if transfer.kind == TransferKind::Receipt => Stop {
            caption: "Source".to_owned(),
            title: "Made by the gateway".to_owned(),
            text: safe_text(&transfer.flow),
            badge: Badge::new(Tone::Good, Icon::Check, "Recorded"),
        },
        (None, None) => Stop {
            caption: "Source".to_owned(),
            title: safe_text(&transfer.flow),
            text: "no longer stored".to_owned(),
            badge: Badge::new(Tone::Quiet, Icon::Info, "Unknown"),
        },
    };
    let size = size_text(transfer.length);
    let streamed = transfer.content.is_streamed();
    let staged = Stop {
        caption: if streamed { "Streamed" } else { "Staged" }.to_owned(),
        title: path_text(&transfer.file_name),
        text: match transfer.content.sha256().map(|hash| hash.to_string()) {
            Some(hash) => format!("{size}, SHA-256 {}…", &hash[..8]),
            None => size,
        },
        badge: match transfer.payload_removed_at {
            _ if streamed => Badge::new(Tone::Quiet, Icon::Info, "Not kept"),
            None => Badge::new(Tone::Good, Icon::File, "Stored"),
            Some(_) => Badge::new(Tone::Quiet, Icon::Remove, "Deleted"),
        },
    };
    let count = waybill.deliveries.len();
    let deliveries: Vec<Stop> = waybill
        .deliveries
        .iter()
        .enumerate()
        .map(|(place, delivery)| Stop {
            caption: if count == 1 {
                "Delivery".to_owned()
            } else {
                format!("Delivery {} of {count}", place + 1)
            },
            title: safe_text(&delivery.endpoint),
            text: delivery.receipt.as_ref().map_or_else(
                || match delivery.attempts.len() {
                    0 => path_text(&delivery.file_name),
                    1 => "1 attempt".to_owned(),
                    more => format!("{more} attempts"),
                },
                |receipt| one_line(&receipt.summary),
            ),
            badge: Badge::delivery(delivery.state),
        })
        .collect();
    draw(&source, &staged, &deliveries)
}
