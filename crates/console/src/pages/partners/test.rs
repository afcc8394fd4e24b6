//! Test messages to a partner: the form that sends one, and the page that explains its way.

use super::{endpoints_of, partner_path};
use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, OperateTransfers, ViewTransfers};
use crate::web::badge::{Badge, Icon, Tone};
use crate::web::format::{Moment, one_line, safe_text};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, Path, State};
use axum::response::{Html, IntoResponse, Redirect, Response};
use control::{Caller, ChooseEndpoint, ExchangeStep, Explained, StepStanding, explain};
use http::StatusCode;
use model::definition::Definitions;
use model::{Actor, ByHand, DeliveryState, Error, ErrorKind, Step, TransferId};
use serde::Deserialize;
use std::sync::Arc;

/// An endpoint to which test messages can be sent.
pub(super) struct TestTarget {
    pub(super) endpoint: String,
    /// Where the form goes.
    pub(super) action: String,
}

impl TestTarget {
    /// Those of a partner.
    pub(super) fn all(definitions: &Definitions, partner: &str) -> Vec<Self> {
        let action = format!("{}/test", partner_path(partner));
        let target = |name: &String| Self { endpoint: name.clone(), action: action.clone() };
        endpoints_of(definitions, partner).iter().map(|endpoint| target(&endpoint.name)).collect()
    }
}

#[derive(Deserialize)]
pub(crate) struct TestForm {
    endpoint: String,
}

/// `POST /partners/{name}/test`
pub(crate) async fn send(
    auth: Authorized<OperateTransfers>,
    State(state): State<Arc<AppState>>,
    Path(name): Path<String>,
    form: Result<Form<TestForm>, FormRejection>,
) -> Result<Response, PageError> {
    let Form(form) = form.map_err(|_| PageError::bad_request("The form is incomplete."))?;
    let definitions = state.node.definitions();
    let endpoint = definitions.endpoints.get(&form.endpoint).ok_or_else(|| PageError::no_such("endpoint"))?;
    let control = state.node.control().ok_or_else(PageError::not_found)?;
    let payloads = state.node.payloads().ok_or_else(PageError::not_found)?;
    let caller = Caller { actor: Actor::User(auth.user.name.clone()), role: auth.user.role };
    let request = ChooseEndpoint {
        transport: endpoint.transport.clone(),
        partner: Some(name.clone()),
        endpoint: Some(form.endpoint),
        identity: None,
    };
    let to = control.choose_endpoint(&caller, &request).await.map_err(not_sent)?;
    let sent = control.send_test_message(&caller, &payloads, &to).await.map_err(not_sent)?;
    Ok(Redirect::to(&format!("{}/tests/{}", partner_path(&name), sent.transfer)).into_response())
}

/// Why no test message was sent. What a person can change is shown as it is.
fn not_sent(error: Error) -> PageError {
    match error.kind() {
        ErrorKind::ConfigInvalid | ErrorKind::NotFound | ErrorKind::Rejected | ErrorKind::StorageFull => {
            let advice =
                error.advised().unwrap_or("See the definitions of the partner and its endpoint.").to_owned();
            let title = "The test message was not sent";
            PageError::new(StatusCode::UNPROCESSABLE_ENTITY, title, error.chain(), advice)
        }
        _ => error.into(),
    }
}

#[derive(Template)]
#[template(path = "partner_test.html")]
struct TestPage {
    layout: Layout,
    partner: String,
    url: String,
    body: TestBody,
}

#[derive(Template)]
#[template(path = "partner_test_body.html")]
struct TestBody {
    badge: Badge,
    transfer: String,
    endpoint: String,
    sent: Moment,
    steps: Vec<StepLine>,
    receipt_until: Option<Moment>,
    tell_partner: Option<String>,
    verdict: &'static str,
    at: Moment,
}

impl askama::filters::HtmlSafe for TestBody {}

struct StepLine {
    badge: Badge,
    title: &'static str,
    text: String,
    advice: Option<&'static str>,
}

impl StepLine {
    fn new(step: &ExchangeStep) -> Self {
        let badge = match step.standing {
            StepStanding::Passed => Badge::new(Tone::Good, Icon::Check, "Passed"),
            StepStanding::Failed => Badge::new(Tone::Bad, Icon::Cross, "Failed"),
            StepStanding::Open => Badge::new(Tone::Busy, Icon::Clock, "Waiting"),
            StepStanding::NotReached => Badge::new(Tone::Quiet, Icon::Stop, "Not reached"),
        };
        Self { badge, title: title(step.step), text: one_line(&step.words), advice: step.advice }
    }
}

const fn title(step: Step) -> &'static str {
    match step {
        Step::Keys => "Keys and certificates",
        Step::Name => "Find the host's address",
        Step::Proxy => "Connect through the proxy",
        Step::Tcp => "Connect (TCP)",
        Step::Tls => "Protect the connection (TLS)",
        Step::Status => "Send the message, HTTP status",
        Step::Receipt => "Receipt (MDN)",
        Step::Signature => "Signature of the receipt",
        Step::Mic => "Content named by the receipt (MIC)",
        _ => "Other",
    }
}

/// `GET /partners/{name}/tests/{transfer}`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path((name, transfer)): Path<(String, String)>,
) -> Result<Response, PageError> {
    let none = || PageError::no_such("test message");
    let id = path_id(&transfer).map(TransferId::new).ok_or_else(none)?;
    let waybill = state.store.waybill(id).await?.ok_or_else(none)?;
    let is_test = ByHand::of(&waybill.transfer.flow).is_some_and(|sent| sent.is_test);
    if !is_test || waybill.transfer.partner.as_deref() != Some(name.as_str()) {
        return Err(none());
    }
    let explained = explain(&waybill).ok_or_else(none)?;
    let endpoint = waybill.deliveries.first().map(|delivery| delivery.endpoint.clone()).unwrap_or_default();
    let body = TestBody {
        badge: Badge::delivery(explained.state),
        transfer: id.to_string(),
        endpoint: safe_text(&endpoint),
        sent: Moment(waybill.transfer.created_at),
        steps: explained.steps.iter().map(StepLine::new).collect(),
        receipt_until: explained.receipt_until.map(Moment),
        verdict: verdict(&explained),
        tell_partner: explained.tell_partner,
        at: Moment(state.now()),
    };
    if auth.fragment {
        return Ok(Html(body.render()?).into_response());
    }
    let (layout, url) = (auth.layout(Section::Partners), partner_path(&name));
    Ok(Html(TestPage { layout, partner: name, url, body }.render()?).into_response())
}

fn verdict(explained: &Explained) -> &'static str {
    match (explained.passed, explained.state) {
        (Some(true), _) => "The partner has the test message, and proved it as agreed.",
        (Some(false), DeliveryState::Cancelled) => "The test message was cancelled.",
        (Some(false), _) => "The partner does not have the test message. It is not tried again.",
        (None, DeliveryState::AwaitingReceipt) => {
            "The partner's server took the message. Its receipt comes later."
        }
        (None, _) => "The test message is on its way.",
    }
}
