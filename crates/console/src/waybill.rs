//! `/transfers/{id}`: one transfer's waybill, its whole way.

mod delivery;
mod steps;

use crate::connections::ConnectionLine;
use crate::detail::{Facts, facts};
use crate::door::session::FRAGMENT;
use crate::events::EventLine;
use crate::frame::{Frame, Section};
use crate::mdn::mdn_path;
use crate::problem::Problem;
use crate::route_picture::{Picture, Stop, draw};
use crate::show::{
    Badge, Icon, Moment, Size, Tone, between, grouped, one_line, path_text, safe_text, size_text,
    unreadable_rows,
};
use crate::site::{Site, path_id};
use crate::transfers::{TransferLine, kind_word};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use delivery::DeliveryShown;
use http::HeaderMap;
use model::{OfferState, TransferId};
use std::sync::Arc;
use steps::Step;
use store::{KeptMdn, Waybill, WhichMdn};

#[derive(Template)]
#[template(path = "waybill.html")]
struct WaybillPage {
    frame: Frame,
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
    flow: String,
    partner: Option<String>,
    recorded: Moment,
    took: Option<String>,
    pictures: [Picture; 2],
    steps: Vec<Step>,
    size: Size,
    sha256: String,
    media_type: Option<String>,
    removed: Option<Moment>,
    metadata: Facts,
    deliveries: Vec<DeliveryShown>,
    /// Where the MDN is downloaded that we sent.
    sent_mdn: Option<String>,
    connections: Vec<ConnectionLine>,
    /// In more than one part when some between them are left out.
    events: Vec<Vec<EventLine>>,
    left_out: Option<String>,
    parent: Option<TransferLine>,
    children: Vec<TransferLine>,
    more_children: bool,
    unreadable: Vec<String>,
    reads_audit: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for WaybillBody {}

/// `GET /transfers/{id}`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let none = || Problem::no_such("transfer");
    let id = path_id(&id).map(TransferId::new).ok_or_else(none)?;
    let waybill = site.store.waybill(id).await?.ok_or_else(none)?;
    let metadata = site.store.transfer(id).await?.map(|transfer| facts(&transfer.metadata).into());
    let reads_audit = frame.visitor.as_ref().is_some_and(crate::door::Visitor::reads_audit);
    let mdns = site.store.mdns(id).await?;
    let body = body(&site, &waybill, &mdns, metadata.unwrap_or_default(), reads_audit);
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(body.render()?).into_response());
    }
    let page = WaybillPage { frame: frame.at(Section::Transfers), name: body.name.clone(), body };
    Ok(Html(page.render()?).into_response())
}

fn body(site: &Site, waybill: &Waybill, mdns: &[KeptMdn], metadata: Facts, reads_audit: bool) -> WaybillBody {
    let now = site.now();
    let transfer = &waybill.transfer;
    let (first, last) = waybill.events.split_at(waybill.gap.map_or(waybill.events.len(), |gap| gap.after));
    let events = [first, last].into_iter().filter(|part| !part.is_empty());
    WaybillBody {
        id: transfer.id.to_string(),
        name: path_text(&transfer.file_name),
        badge: Badge::transfer(transfer.state),
        kind: kind_word(transfer.kind),
        flow: transfer.flow.clone(),
        partner: transfer.partner.clone(),
        recorded: Moment(transfer.created_at),
        took: transfer.ended_at.map(|end| between(transfer.created_at, end)),
        pictures: pictures(waybill),
        steps: steps::steps(waybill),
        size: Size(transfer.length),
        sha256: transfer.sha256.to_string(),
        media_type: transfer.media_type.as_deref().map(safe_text),
        removed: transfer.payload_removed_at.map(Moment),
        metadata,
        deliveries: waybill
            .deliveries
            .iter()
            .map(|one| DeliveryShown::new(transfer.id, one, mdns, now))
            .collect(),
        sent_mdn: mdns
            .iter()
            .find(|kept| kept.which == WhichMdn::Sent)
            .map(|kept| mdn_path(transfer.id, kept.which)),
        connections: waybill.connections.iter().map(|row| ConnectionLine::new(row, now)).collect(),
        events: events.map(|part| part.iter().map(EventLine::new).collect()).collect(),
        left_out: waybill.gap.map(|gap| grouped(gap.count)),
        parent: waybill.parent.as_ref().map(TransferLine::new),
        children: waybill.children.iter().map(TransferLine::new).collect(),
        more_children: waybill.more_children,
        unreadable: unreadable_rows("row of this waybill", &waybill.unreadable),
        reads_audit,
        at: Moment(now),
    }
}

/// How far the source has been told.
fn settled(state: OfferState) -> Badge {
    match state {
        OfferState::Settled => Badge::new(Tone::Good, Icon::Check, "Settled"),
        OfferState::Recorded => Badge::new(Tone::Quiet, Icon::Clock, "Not settled yet"),
        OfferState::Settling => Badge::new(Tone::Busy, Icon::Moving, "Being settled"),
        OfferState::Refused => Badge::new(Tone::Bad, Icon::Cross, "Refused"),
        OfferState::BackedOff => Badge::new(Tone::Warn, Icon::Repeat, "Backed off"),
        OfferState::Seen => Badge::new(Tone::Quiet, Icon::Info, "Seen"),
        OfferState::Staging => Badge::new(Tone::Busy, Icon::Moving, "Staging"),
    }
}

fn pictures(waybill: &Waybill) -> [Picture; 2] {
    let transfer = &waybill.transfer;
    let source = match (&waybill.offer, &waybill.parent) {
        (Some(offer), _) => Stop {
            caption: "Source".to_owned(),
            title: safe_text(&offer.endpoint),
            text: path_text(&offer.path),
            badge: settled(offer.state),
        },
        (None, Some(parent)) => Stop {
            caption: "Made from a transfer".to_owned(),
            title: path_text(&parent.file_name),
            text: safe_text(&parent.flow),
            badge: Badge::transfer(parent.state),
        },
        (None, None) => Stop {
            caption: "Source".to_owned(),
            title: safe_text(&transfer.flow),
            text: "not on record any more".to_owned(),
            badge: Badge::new(Tone::Quiet, Icon::Info, "Unknown"),
        },
    };
    let hash = transfer.sha256.to_string();
    let staged = Stop {
        caption: "Staged".to_owned(),
        title: path_text(&transfer.file_name),
        text: format!("{}, SHA-256 {}…", size_text(transfer.length), &hash[..8]),
        badge: match transfer.payload_removed_at {
            None => Badge::new(Tone::Good, Icon::File, "Kept"),
            Some(_) => Badge::new(Tone::Quiet, Icon::Remove, "Removed"),
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
