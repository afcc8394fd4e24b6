//! `/connections/{id}`: one connection with its addresses, its encryption and its audit events.

use crate::state::{AppState, path_id};
use crate::web::access::{Authorized, ViewTransfers};
use crate::web::connection_table::{CONNECTIONS, ConnectionRow, was_never_established};
use crate::web::event_table::EventTable;
use crate::web::facts::{Fact, Facts};
use crate::web::format::{Moment, ShortId, grouped, safe_text};
use crate::web::layout::{Layout, Section};
use crate::web::page_error::PageError;
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use model::{Certificate, ConnectionId, Direction, Permission, Protocol, Security};
use std::sync::Arc;
use store::{ConnectionView, EventFilter, Page};

#[derive(Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    layout: Layout,
    row: ConnectionRow,
    full_id: String,
    addresses: Facts,
    encryption: Facts,
    certificate: Option<CertificateFacts>,
    requests: Option<String>,
    closed: Option<Moment>,
    /// The page of the connection over which this data connection was agreed on.
    control: Option<ConnectionLink>,
    /// The list of its data connections, if it may have some.
    data: Option<String>,
    node: String,
    events: EventTable,
    more_events: bool,
    reads_audit: bool,
}

struct ConnectionLink {
    id: ShortId,
    url: String,
}

struct CertificateFacts {
    facts: Facts,
    not_before: Moment,
    not_after: Moment,
}

/// Events that a connection's page shows.
const EVENTS: u32 = 100;

/// `GET /connections/{id}`
pub(crate) async fn page(
    auth: Authorized<ViewTransfers>,
    State(state): State<Arc<AppState>>,
    Path(id): Path<String>,
) -> Result<Response, PageError> {
    let id = path_id(&id).map(ConnectionId::new).ok_or_else(|| PageError::no_such("connection"))?;
    let connection = state.store.connection(id).await?.ok_or_else(|| PageError::no_such("connection"))?;
    let reads_audit = auth.may(Permission::ViewAudit);
    let (events, more_events) = if reads_audit {
        let filter = EventFilter { connection: Some(id), ..EventFilter::default() };
        let found = state.store.events(&filter, Page::first(EVENTS)).await?;
        (found.rows, found.next.is_some())
    } else {
        (Vec::new(), false)
    };
    let (encryption, certificate) = encryption(&connection);
    let page = ConnectionPage {
        layout: auth.layout(Section::Connections),
        row: ConnectionRow::new(&connection, state.now()),
        full_id: connection.id.to_string(),
        addresses: addresses(&connection).into(),
        encryption: encryption.into(),
        certificate,
        requests: connection.requests.map(grouped),
        closed: connection.closed_at.map(Moment),
        control: connection.control.map(|control| ConnectionLink {
            id: ShortId(control.uuid()),
            url: format!("{CONNECTIONS}/{control}"),
        }),
        data: has_data(&connection).then(|| format!("{CONNECTIONS}?control={}", connection.id)),
        node: connection.node,
        events: EventTable::new("Audit events of this connection, newest first", &events, true),
        more_events,
        reads_audit,
    };
    Ok(Html(page.render()?).into_response())
}

/// Whether data connections may belong to it: those of FTP's control connections do.
fn has_data(connection: &ConnectionView) -> bool {
    connection.protocol == Some(Protocol::Ftp) && connection.control.is_none()
}

fn addresses(connection: &ConnectionView) -> Vec<Fact> {
    // The proxy finds the host's address: what is on record is the proxy's own.
    let tunnelled = connection.proxy.is_some() && connection.direction == Some(Direction::Outbound);
    let (remote, proxy) = if tunnelled {
        let unknown = "Unknown: the proxy found it. Keep the proxy's own log, which names it, as well";
        (("Remote address", Some(unknown)), ("Proxy's address", connection.remote.as_deref()))
    } else {
        (("Remote address", connection.remote.as_deref()), ("Proxy's address", None))
    };
    [
        ("Requested host", connection.host.as_deref()),
        remote,
        ("Local address", connection.local.as_deref()),
        ("Proxy", connection.proxy.as_deref()),
        proxy,
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| Fact::new(name, safe_text(value))))
    .collect()
}

fn encryption(connection: &ConnectionView) -> (Vec<Fact>, Option<CertificateFacts>) {
    let fact = |name: &str, value: &str| Fact::new(name, safe_text(value));
    match &connection.security {
        None if was_never_established(connection) => {
            (vec![fact("Encryption", "None: the connection was not established")], None)
        }
        None => (vec![fact("Encryption", "Unknown: only the end of the connection was recorded")], None),
        Some(Security::None) => (vec![fact("Encryption", "None: data is sent unencrypted")], None),
        Some(Security::Tls { version, cipher, peer }) => {
            (vec![fact("Encryption", version), fact("Cipher", cipher)], peer.as_deref().map(certificate))
        }
        Some(Security::Ssh { host_key_type, host_key, kex, cipher, mac, server }) => {
            let mac = if mac.is_empty() { "part of the cipher (AEAD)" } else { mac };
            let facts = vec![
                fact("Encryption", "SSH"),
                fact("Host key", host_key),
                fact("Host key type", host_key_type),
                fact("Key exchange", kex),
                fact("Cipher", cipher),
                fact("MAC", mac),
                fact("Server", server.as_str()),
            ];
            (facts, None)
        }
    }
}

fn certificate(certificate: &Certificate) -> CertificateFacts {
    let fact = |name: &str, value: &str| Fact::new(name, safe_text(value));
    CertificateFacts {
        facts: vec![
            fact("Subject", certificate.subject.as_str()),
            fact("Issuer", certificate.issuer.as_str()),
            fact("Serial number", &certificate.serial),
            fact("SHA-256", &certificate.sha256),
        ]
        .into(),
        not_before: Moment(certificate.not_before),
        not_after: Moment(certificate.not_after),
    }
}
