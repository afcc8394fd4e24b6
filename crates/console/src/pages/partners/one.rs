//! `/partners/{name}`: one partner: what was agreed, what is used, what was exchanged, what failed and why.

use super::certificates::{Shown, next_change, shown};
use super::test::TestTarget;
use super::{Obstacles, agreed, endpoints_of, ids, in_use, newest};
use crate::state::AppState;
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::badge::Badge;
use crate::web::facts::{Fact, Facts};
use crate::web::format::{Moment, one_line, path_text, safe_text, unreadable_rows};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use crate::web::transfer_table::TransferTable;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use control::Caller;
use model::definition::{Definitions, EndpointUrl, Partner};
use model::{Actor, DeliveryState, EventKind, Permission, Result as ModelResult, TELL_PARTNER};
use std::sync::Arc;
use store::{EventFilter, EventView, Page, SentExchange};

/// Exchanges that are shown of each direction.
const SHOWN: u32 = 25;

/// Awaited receipts and failures that are shown.
const FEW: u32 = 10;

/// Failed deliveries whose events are looked up.
const EXPLAINED: usize = 5;

#[derive(Template)]
#[template(path = "partner.html")]
struct PartnerPage {
    layout: Layout,
    name: String,
    title: Option<String>,
    /// Where test messages can be sent; empty without the permission.
    tests: Vec<TestTarget>,
    body: PartnerBody,
}

#[derive(Template)]
#[template(path = "partner_body.html")]
struct PartnerBody {
    standing: Badge,
    why: Option<String>,
    names: Facts,
    endpoints: Vec<EndpointLine>,
    /// By transport; `None` without the permission to see definitions.
    agreed: Option<Vec<Agreement>>,
    used_sent: Facts,
    used_received: Facts,
    certificates: Option<Certificates>,
    awaited: Vec<SentLine>,
    failures: Vec<Failure>,
    sent: Vec<SentLine>,
    received: TransferTable,
    received_all: String,
    unreadable: Vec<String>,
    at: Moment,
}

impl askama::filters::HtmlSafe for PartnerBody {}

struct EndpointLine {
    name: String,
    url: String,
    /// Our name there, such as `ACME (identity acme)`.
    identity: Option<String>,
    all: String,
}

struct Agreement {
    transport: String,
    facts: Facts,
}

struct Certificates {
    list: Vec<Shown>,
    next: Option<(Moment, String)>,
}

/// A file that was sent.
struct SentLine {
    key: String,
    url: String,
    name: String,
    badge: Badge,
    at: Moment,
    endpoint: String,
    result: String,
    deadline: Option<Moment>,
}

/// What failed, with what to tell the partner.
struct Failure {
    key: String,
    at: Moment,
    what: String,
    url: Option<String>,
    text: String,
    would_match: Option<String>,
    tell_partner: Option<String>,
}

impl SentLine {
    fn new(sent: &SentExchange) -> Self {
        let result = match sent.state {
            DeliveryState::Delivered => sent.receipt.as_deref(),
            _ => sent.error.as_deref(),
        };
        Self {
            key: sent.delivery.to_string(),
            url: format!("/transfers/{}", sent.transfer),
            name: path_text(&sent.file_name),
            badge: Badge::delivery(sent.state),
            at: Moment(sent.created_at),
            endpoint: safe_text(&sent.endpoint),
            result: result.map(one_line).unwrap_or_default(),
            deadline: sent
                .receipt_deadline
                .filter(|_| sent.state == DeliveryState::AwaitingReceipt)
                .map(Moment),
        }
    }
}

impl Failure {
    /// Of an event about what the partner sent.
    fn of_event(event: &EventView) -> Self {
        let text = |key: &str| event.detail.get(key).and_then(|value| value.as_str()).map(safe_text);
        let what = match EventKind::parse(&event.kind) {
            Some(EventKind::MessageRefused) => "A message of the partner was refused",
            Some(EventKind::CertificateFallback) => "A key or certificate was used outside its time",
            _ => "A receipt of the partner proved nothing",
        };
        Self {
            key: event.id.to_string(),
            at: Moment(event.at),
            what: what.to_owned(),
            url: event.transfer.map(|transfer| format!("/transfers/{transfer}")),
            text: one_line(&event.summary()),
            would_match: text("would_match"),
            tell_partner: text(TELL_PARTNER),
        }
    }

    /// Of a delivery, with the event of its last failure.
    fn of_delivery(sent: &SentExchange, event: Option<&EventView>) -> Self {
        let told = event.and_then(|event| event.detail.get(TELL_PARTNER)?.as_str());
        Self {
            key: sent.delivery.to_string(),
            at: Moment(sent.updated_at),
            what: format!("{} was not delivered", path_text(&sent.file_name)),
            url: Some(format!("/transfers/{}", sent.transfer)),
            text: sent.error.as_deref().map(one_line).unwrap_or_default(),
            would_match: None,
            tell_partner: told.map(safe_text),
        }
    }
}

/// `GET /partners/{name}`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let definitions = state.node.definitions();
    let partner = definitions.partners.get(&name).ok_or_else(|| PageError::no_such("partner"))?;
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    let sees_definitions = auth.may(Permission::ViewDefinitions).then_some(&caller);
    let body = body(&state, &definitions, partner, sees_definitions).await?;
    if auth.fragment {
        return Ok(Html(body.render()?).into_response());
    }
    let may_test = auth.may(Permission::OperateTransfers);
    let page = PartnerPage {
        name: partner.name.clone(),
        title: partner.title.clone(),
        tests: if may_test { TestTarget::all(&definitions, &partner.name) } else { Vec::new() },
        layout: auth.layout(Section::Partners),
        body,
    };
    Ok(Html(page.render()?).into_response())
}

async fn body(
    state: &AppState,
    definitions: &Definitions,
    partner: &Partner,
    sees_definitions: Option<&Caller>,
) -> Result<PartnerBody, PageError> {
    let (store, now) = (&state.store, state.now());
    let endpoints = endpoints_of(definitions, &partner.name);
    let names: Vec<String> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let (sent, mut failed) = store.sent_to(&names, SHOWN).await?;
    let (received, unreadable) = store.received_from(&partner.name, SHOWN).await?;
    failed.extend(unreadable);
    let (awaited, unreadable) = store.awaiting_receipts(&names, FEW).await?;
    failed.extend(unreadable);
    let (troubles, unreadable) = store.partner_troubles(&partner.name, FEW).await?;
    failed.extend(unreadable);
    let mut failures: Vec<Failure> = troubles.iter().map(Failure::of_event).collect();
    failures.extend(undelivered(state, &sent).await?);
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.at.0));
    let has_received = !received.is_empty();
    let standing = Obstacles::of(state);
    let (standing, why) =
        standing.standing(names.iter().map(String::as_str), newest(&sent, &endpoints), has_received);
    let mut identities: Vec<&str> =
        endpoints.iter().filter_map(|endpoint| endpoint.options.text("identity")).collect();
    identities.sort_unstable();
    identities.dedup();
    let line = |endpoint: &&Arc<model::definition::Endpoint>| EndpointLine {
        name: endpoint.name.clone(),
        url: endpoint.urls.iter().map(EndpointUrl::shown).collect::<Vec<_>>().join(", "),
        identity: endpoint.options.text("identity").map(|name| {
            let identity = definitions.identities.get(name).and_then(|known| known.side(&endpoint.transport));
            let id = identity.and_then(|side| side.text("id")).unwrap_or(name);
            format!("{id} (identity {name})")
        }),
        all: format!("/transfers?endpoint={}", urlencoded(&endpoint.name)),
    };
    let agreement = |(transport, side): (&String, &model::schema::Values)| Agreement {
        transport: transport.clone(),
        facts: agreed::fields(side).into(),
    };
    Ok(PartnerBody {
        standing,
        why,
        names: facts_of(partner),
        endpoints: endpoints.iter().map(line).collect(),
        agreed: sees_definitions.map(|_| partner.agreements.iter().map(agreement).collect()),
        used_sent: in_use::sent(&sent).into(),
        used_received: in_use::received(&received).into(),
        certificates: match sees_definitions {
            Some(caller) => certificates(state, caller, definitions, (&partner.name, &identities)).await?,
            None => None,
        },
        awaited: awaited.iter().map(SentLine::new).collect(),
        failures,
        sent: sent.iter().map(SentLine::new).collect(),
        received: TransferTable::new("Received, newest first", received.iter().map(|one| &one.transfer)),
        received_all: format!("/transfers?partner={}", urlencoded(&partner.name)),
        unreadable: unreadable_rows("an exchange", &failed),
        at: Moment(now),
    })
}

fn urlencoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn facts_of(partner: &Partner) -> Facts {
    let mut facts: Vec<Fact> = ids(partner)
        .into_iter()
        .map(|(transport, id)| Fact::new(&format!("Name in {transport}"), safe_text(&id)))
        .collect();
    facts.extend(partner.contact.as_deref().map(|contact| Fact::new("Contact", safe_text(contact))));
    facts.into()
}

/// What could not be delivered lately, with what to tell the partner.
async fn undelivered(state: &AppState, sent: &[SentExchange]) -> ModelResult<Vec<Failure>> {
    use DeliveryState::{Expired, Failed, Retrying};
    let failed = sent.iter().filter(|sent| matches!(sent.state, Failed | Expired | Retrying));
    let mut failures = Vec::new();
    for sent in failed.take(EXPLAINED) {
        let event = last_failure(state, sent).await?;
        failures.push(Failure::of_delivery(sent, event.as_ref()));
    }
    Ok(failures)
}

/// The event of a delivery's last failure, among the last events of its transfer: asked for by its kind as well, a database may
/// look through all failures there are.
async fn last_failure(state: &AppState, sent: &SentExchange) -> ModelResult<Option<EventView>> {
    const LOOKED_AT: u32 = 50;
    let filter = EventFilter { transfer: Some(sent.transfer), ..EventFilter::default() };
    let events = state.store.events(&filter, Page::first(LOOKED_AT)).await?.rows;
    let is_failure = |event: &EventView| {
        let kind = EventKind::parse(&event.kind);
        event.delivery == Some(sent.delivery)
            && matches!(kind, Some(EventKind::DeliveryFailed | EventKind::DeliveryRetrying))
    };
    Ok(events.into_iter().find(is_failure))
}

async fn certificates(
    state: &AppState,
    caller: &Caller,
    definitions: &Definitions,
    (partner, identities): (&str, &[&str]),
) -> Result<Option<Certificates>, PageError> {
    let Some(control) = state.node.control() else { return Ok(None) };
    let list = control.certificates_of(caller, definitions).await?;
    let now = state.now();
    Ok(Some(Certificates {
        next: next_change(&list, partner, identities, now),
        list: shown(&list, partner, identities, now),
    }))
}
