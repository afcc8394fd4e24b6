//! For machines, without login: `/healthz`, `/readyz`, `/metrics`.
//!
//! `/metrics` is open to this machine itself. To others, and to what came through a reverse proxy, it
//! is open as a page is: to users who are logged in. A Prometheus elsewhere reads it through an agent or a
//! tunnel on this machine.

mod exposition;
mod process;

use crate::probes::exposition::Exposition;
use crate::state::AppState;
use crate::state::node_status::EndpointStatus;
use crate::web::session::current_user;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, FORWARDED, HeaderName};
use http::{Extensions, HeaderMap, StatusCode};
use model::{DeliveryState, Lifecycle, Permission, Result, SuspensionKind, Timestamp, TransferState};
use net::http::{ListenerNumbers, PeerInfo};
use std::sync::Arc;
use std::time::Duration;
use store::{NodeRevision, Overview, StoreMetrics};

/// How long the database may take to be called there: Prometheus gives a scrape 10 s.
const DATABASE_WITHIN: Duration = Duration::from_secs(2);

/// `GET /healthz`: the process lives and answers.
pub(crate) async fn healthz() -> Response {
    plain(StatusCode::OK, "ok\n".to_owned())
}

/// `GET /readyz`: work can be taken in; or the reasons why not, one a line.
pub(crate) async fn readyz(State(state): State<Arc<AppState>>) -> Response {
    let mut reasons = Vec::new();
    match tokio::time::timeout(DATABASE_WITHIN, state.store.ready()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => reasons.push(format!("database: {}", error.chain())),
        Err(_) => reasons.push("database: no answer within 2 s".to_owned()),
    }
    if let Some(journal) = state.node.journal().filter(|journal| journal.backlog_bytes >= journal.most_bytes)
    {
        reasons.push(format!(
            "journal: {} bytes are waiting for the database, the limit is {}",
            journal.backlog_bytes, journal.most_bytes
        ));
    }
    if let Some(staging) = state.node.staging().filter(|staging| staging.free_bytes < staging.min_free_bytes)
    {
        reasons
            .push(format!("staging: {} bytes free, {} required", staging.free_bytes, staging.min_free_bytes));
    }
    reasons.extend(state.node.not_ready());
    if reasons.is_empty() {
        return plain(StatusCode::OK, "ready\n".to_owned());
    }
    plain(StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n")
}

/// `GET /metrics`, in Prometheus's text format.
pub(crate) async fn metrics(
    State(state): State<Arc<AppState>>,
    headers: HeaderMap,
    extensions: Extensions,
) -> Response {
    if !is_local(&headers, &extensions) && !may_read(&state, &headers).await {
        return plain(
            StatusCode::FORBIDDEN,
            "Only this machine and logged-in users can read the metrics.\n".to_owned(),
        );
    }
    let mut text = Exposition::default();
    own_numbers(&state, &mut text);
    match tokio::time::timeout(DATABASE_WITHIN, DatabaseNumbers::read(&state)).await {
        Ok(Ok(numbers)) => {
            numbers.write(&mut text);
            text.gauge("waybill_database_up", "Whether the database answered.", 1);
        }
        answer => {
            let error = match answer {
                Ok(Err(error)) => error.chain(),
                _ => "no answer within 2 s".to_owned(),
            };
            tracing::warn!(error, "the database's numbers are missing in the metrics");
            text.gauge("waybill_database_up", "Whether the database answered.", 0);
        }
    }
    let media_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(CONTENT_TYPE, media_type)], text.into_text()).into_response()
}

/// Not when the database does not say so in time.
async fn may_read(state: &AppState, headers: &HeaderMap) -> bool {
    let user = tokio::time::timeout(DATABASE_WITHIN, current_user(state, headers)).await;
    matches!(user, Ok(Ok(Some(user))) if user.role.may(Permission::ViewTransfers))
}

fn plain(status: StatusCode, text: String) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

fn is_local(headers: &HeaderMap, extensions: &Extensions) -> bool {
    let forwarded = headers.contains_key(FORWARDED)
        || headers.contains_key(HeaderName::from_static("x-forwarded-for"))
        || headers.contains_key(HeaderName::from_static("x-real-ip"));
    let loopback = |peer: &PeerInfo| peer.proxy.is_none() && peer.remote.ip().to_canonical().is_loopback();
    extensions.get::<PeerInfo>().is_some_and(loopback) && !forwarded
}

fn own_numbers(state: &AppState, text: &mut Exposition) {
    let settings = &state.settings;
    text.gauge_of(
        "waybill_build_info",
        "Version and node, always 1.",
        &[("version", &settings.version), ("node", settings.node.as_str())],
        1,
    );
    text.gauge(
        "waybill_start_time_seconds",
        "When this process started, in seconds since 1970.",
        state.started.timestamp(),
    );
    let help = "Whether the audit trail has an alarm: altered, unknown key, or events that cannot be sealed.";
    text.gauge("waybill_audit_alarm", help, u64::from(state.node.audit_alarm().is_some()));
    if let Some(bytes) = process::resident_bytes() {
        text.gauge("process_resident_memory_bytes", "Memory in use.", bytes);
    }
    if let Some(count) = process::open_files() {
        text.gauge("process_open_fds", "Open file descriptors.", count);
    }
    if let Some(journal) = state.node.journal() {
        let help = "Bytes of the connection journal that are not in the database yet.";
        text.gauge("waybill_journal_backlog_bytes", help, journal.backlog_bytes);
    }
    if let Some(staging) = state.node.staging() {
        text.gauge("waybill_staging_free_bytes", "Bytes free for staging.", staging.free_bytes);
    }
    endpoint_numbers(state, text);
    suspended(state, text);
    listener_numbers(&state.node.listeners(), text);
}

/// What each listen address has seen since it was bound.
fn listener_numbers(listeners: &[ListenerNumbers], text: &mut Exposition) {
    let labels =
        |of: &ListenerNumbers| [("listener", of.listener.clone()), ("address", of.address.to_string())];
    for of in listeners {
        let [listener, address] = &labels(of);
        let labels = [(listener.0, listener.1.as_str()), (address.0, address.1.as_str())];
        text.gauge_of("waybill_listener_connections", "Connections that are open.", &labels, of.open);
    }
    let mut counter = |name, help, value: fn(&ListenerNumbers) -> u64| {
        for of in listeners {
            let [listener, address] = &labels(of);
            let labels = [(listener.0, listener.1.as_str()), (address.0, address.1.as_str())];
            text.counter_of(name, help, &labels, value(of));
        }
    };
    counter(
        "waybill_listener_accepted_total",
        "Connections accepted, including those that were refused afterwards.",
        |of| of.accepted,
    );
    counter("waybill_listener_closed_idle_total", "Idle connections closed to make room for others.", |of| {
        of.closed_for_others
    });
    counter("waybill_listener_received_bytes_total", "Bytes read from connections.", |of| of.bytes_in);
    counter("waybill_listener_sent_bytes_total", "Bytes written to connections.", |of| of.bytes_out);
    counter("waybill_listener_requests_total", "Requests.", |of| of.requests);
    counter("waybill_listener_refused_requests_total", "Requests answered with 400 or more.", |of| {
        of.requests_refused
    });
    for of in listeners {
        let [listener, address] = &labels(of);
        for (reason, count) in [("client", of.refused_client), ("listener", of.refused_listener)] {
            let labels =
                [(listener.0, listener.1.as_str()), (address.0, address.1.as_str()), ("limit_of", reason)];
            let help = "Connections refused because the client or the address had too many.";
            text.counter_of("waybill_listener_refused_total", help, &labels, count);
        }
    }
}

/// What people have paused or set offline, as this node follows it.
fn suspended(state: &AppState, text: &mut Exposition) {
    let suspensions = state.node.suspensions();
    for (kind, name, help) in [
        (SuspensionKind::Flow, "waybill_flow_paused", "Flows that a person paused, as this node knows it."),
        (
            SuspensionKind::Endpoint,
            "waybill_endpoint_set_offline",
            "Endpoints that a person set offline, as this node knows it.",
        ),
    ] {
        for suspension in suspensions.iter().filter(|suspension| suspension.kind == kind) {
            text.gauge_of(name, help, &[(kind.as_str(), suspension.name.as_str())], 1);
        }
    }
}

/// Each number of all endpoints before the next: the format wants a name's lines together.
fn endpoint_numbers(state: &AppState, text: &mut Exposition) {
    let (now, endpoints) = (state.now(), state.node.endpoints());
    let mut gauge = |name, help, value: fn(&EndpointStatus, Timestamp) -> u64| {
        for endpoint in &endpoints {
            text.gauge_of(name, help, &[("endpoint", endpoint.name.as_str())], value(endpoint, now));
        }
    };
    gauge("waybill_endpoint_offline", "Whether an endpoint is offline after failures.", |endpoint, now| {
        u64::from(endpoint.offline_until.is_some_and(|until| until > now))
    });
    gauge("waybill_endpoint_failures", "Failures of an endpoint since its last success.", |endpoint, _| {
        u64::from(endpoint.failures)
    });
    gauge("waybill_endpoint_in_flight", "Running attempts to an endpoint.", |endpoint, _| {
        endpoint.in_flight as u64
    });
}

/// What the database knows, read whole before any of it is written.
struct DatabaseNumbers {
    now: Timestamp,
    numbers: StoreMetrics,
    overview: Arc<Overview>,
    newest: i64,
    revisions: Vec<NodeRevision>,
}

impl DatabaseNumbers {
    async fn read(state: &AppState) -> Result<Self> {
        let now = state.now();
        let numbers = state.store.metrics(now).await?;
        let newest = state.store.current_revision_number().await?;
        let revisions = state.store.node_revisions(now).await?;
        Ok(Self { now, numbers, overview: state.overview().await?.overview, newest, revisions })
    }

    fn write(&self, text: &mut Exposition) {
        let Self { now, numbers, overview, newest, revisions } = self;
        text.gauge("waybill_revision", "The newest revision of the definitions.", *newest);
        for node in revisions.iter().filter(|node| node.lives) {
            let help = "The revision that is in force on each living node.";
            text.gauge_of("waybill_revision_in_force", help, &[("node", node.node.as_str())], node.revision);
        }
        for state in DeliveryState::ALL.iter().filter(|state| !state.is_final()) {
            let count = numbers.deliveries.iter().find(|(found, _)| found == state).map_or(0, |(_, n)| *n);
            let help = "Deliveries that are not final, by state.";
            text.gauge_of("waybill_deliveries", help, &[("state", state.as_str())], count);
        }
        for state in TransferState::ALL {
            let count = overview.transfers.iter().find(|(found, _)| found == state).map_or(0, |(_, n)| *n);
            let help = "Transfers by state; final ones of the last 24 hours.";
            text.gauge_of("waybill_transfers", help, &[("state", state.as_str())], count);
        }
        let age = numbers.oldest_due.and_then(|due| (*now - due).to_std().ok()).unwrap_or_default();
        let help = "How long the oldest unclaimed delivery has been due, in seconds.";
        text.gauge("waybill_oldest_due_seconds", help, age.as_secs_f64());
        let help = "Files whose source must still be settled (deleted, archived, moved or marked).";
        text.gauge("waybill_offers_to_settle", help, numbers.offers_to_settle);
        text.gauge("waybill_live_connections", "Open connections.", numbers.live_connections);
        let help = "Messages that have arrived in part, whose senders may go on.";
        text.gauge("waybill_partial_messages", help, numbers.partial_messages);
        let help = "Bytes held of messages that have arrived in part.";
        text.gauge("waybill_partial_message_bytes", help, numbers.partial_bytes);
        let lag = &numbers.seal_lag;
        text.gauge("waybill_seal_lag_seconds", "Age of the oldest event not sealed.", lag.lag.as_secs_f64());
        let help = "Audit events not sealed yet, counted up to 100,000.";
        text.gauge("waybill_unsealed_events", help, lag.events);
    }
}
