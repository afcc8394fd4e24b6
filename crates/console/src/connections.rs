//! `/connections`: every socket, live and past.

use crate::detail::{Fact, Facts};
use crate::door::session::FRAGMENT;
use crate::frame::{Frame, Section};
use crate::problem::Problem;
use crate::query::{Asked, CONSOLE, Chip, Pager, Reading, ended, live_every};
use crate::show::{
    Badge, Icon, Moment, ShortId, Size, Tone, between, direction, duration_text, one_line, safe_text,
    unreadable_rows,
};
use crate::site::{Site, path_id};
use crate::transfers::{Choice, shown_or_not, times};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::HeaderMap;
use model::{Certificate, ConnectionId, Direction, Protocol, Security, Timestamp};
use std::sync::Arc;
use store::{ConnectionFilter, ConnectionView, EventFilter, Page};

const PATH: &str = "/connections";

/// A connection in a list.
pub(crate) struct ConnectionLine {
    pub(crate) id: ShortId,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) protocol: String,
    pub(crate) way: Icon,
    pub(crate) way_word: &'static str,
    pub(crate) purpose: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) host: String,
    pub(crate) remote: String,
    pub(crate) secure: bool,
    pub(crate) security: String,
    pub(crate) bytes_in: Option<Size>,
    pub(crate) bytes_out: Option<Size>,
    pub(crate) opened: Moment,
    pub(crate) lasted: String,
    /// Whether its reason is worth a line of the list.
    pub(crate) failed: bool,
    pub(crate) reason: Option<String>,
}

impl ConnectionLine {
    pub(crate) fn new(connection: &ConnectionView, now: Timestamp) -> Self {
        let (way, way_word) = connection.direction.map_or((Icon::Link, "Unknown direction"), direction);
        let text = |value: &Option<String>| value.as_deref().map(safe_text).unwrap_or_default();
        let remote = text(&connection.remote);
        let host = text(&connection.host);
        Self {
            id: ShortId(connection.id.uuid()),
            url: format!("{PATH}/{}", connection.id),
            badge: badge(connection),
            protocol: connection.protocol.map_or("?", protocol_word).to_owned(),
            way,
            way_word,
            purpose: connection.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
            endpoint: connection.endpoint.clone(),
            host: if host.is_empty() { remote.clone() } else { host },
            remote,
            secure: matches!(connection.security, Some(Security::Tls { .. } | Security::Ssh { .. })),
            security: security_word(connection),
            bytes_in: connection.bytes_in.map(Size),
            bytes_out: connection.bytes_out.map(Size),
            opened: Moment(connection.opened_at),
            lasted: lasted(connection, now),
            failed: connection.failed == Some(true),
            reason: connection.reason.as_deref().map(one_line).filter(|reason| !reason.is_empty()),
        }
    }
}

fn lasted(connection: &ConnectionView, now: Timestamp) -> String {
    connection
        .duration
        .map_or_else(|| between(connection.opened_at, connection.closed_at.unwrap_or(now)), duration_text)
}

fn badge(connection: &ConnectionView) -> Badge {
    match (connection.closed_at, connection.failed) {
        // Its node has not been heard of since: nobody knows whether it is up.
        (None, _) if connection.lost_at.is_some() => Badge::new(Tone::Warn, Icon::Link, "Lost sight of"),
        (None, _) => Badge::new(Tone::Busy, Icon::Link, "Live"),
        (Some(_), Some(true)) => Badge::new(Tone::Bad, Icon::Cross, "Failed"),
        (Some(_), _) => Badge::new(Tone::Quiet, Icon::Check, "Ended"),
    }
}

const fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Sftp => "SFTP",
        Protocol::Ftp => "FTP",
        Protocol::Http => "HTTP",
        Protocol::As2 => "AS2",
        Protocol::Webdav => "WebDAV",
        Protocol::Smtp => "SMTP",
        Protocol::Imap => "IMAP",
        Protocol::Pop3 => "POP3",
        Protocol::Syslog => "syslog",
    }
}

fn security_word(connection: &ConnectionView) -> String {
    match &connection.security {
        None if never_came_up(connection) => "Never came up".to_owned(),
        None => "Unknown".to_owned(),
        Some(Security::None) => "Not protected".to_owned(),
        Some(Security::Tls { version, .. }) => safe_text(version).replace("TLSv", "TLS "),
        Some(Security::Ssh { host_key_type, .. }) => format!("SSH, {}", safe_text(host_key_type)),
    }
}

/// Of a connection that came up it is known how it is protected, of one whose end alone is known not even who
/// opened it.
fn never_came_up(connection: &ConnectionView) -> bool {
    connection.security.is_none() && connection.direction.is_some()
}

#[derive(Template)]
#[template(path = "connections_list.html")]
struct ConnectionsList {
    rows: Vec<ConnectionLine>,
    ended: Option<String>,
    unreadable: Vec<String>,
    pager: Pager,
    filtered: bool,
    at: Moment,
}

impl askama::filters::HtmlSafe for ConnectionsList {}

#[derive(Template)]
#[template(path = "connections.html")]
struct ConnectionsPage {
    frame: Frame,
    asked: Asked,
    live: Option<bool>,
    failed: bool,
    all_url: String,
    live_url: String,
    ended_url: String,
    failed_url: String,
    protocols: Vec<Choice>,
    directions: Vec<Choice>,
    times: Vec<Choice>,
    console: Vec<Choice>,
    chips: Vec<Chip>,
    problems: Vec<String>,
    live_every: u32,
    more: bool,
    list: ConnectionsList,
}

fn yes_or_no(word: &str) -> Option<(bool, String)> {
    match word {
        "yes" => Some((true, "yes".to_owned())),
        "no" => Some((false, "no".to_owned())),
        _ => None,
    }
}

fn filter(reading: &mut Reading<'_>, now: Timestamp) -> ConnectionFilter {
    let live = reading.word("live", "Live", yes_or_no);
    let failed = reading.word("failed", "Failed", yes_or_no);
    let endpoint = reading.text("endpoint", "Endpoint");
    let protocol = reading.word("protocol", "Protocol", |word| {
        Protocol::parse(word).map(|protocol| (protocol, protocol_word(protocol).to_owned()))
    });
    let way = reading.word("direction", "Direction", |word| {
        Direction::parse(word).map(|way| (way, direction(way).1.to_owned()))
    });
    let address = reading.text("address", "Host or address");
    let span = reading.span(now, address.is_some() && live != Some(true));
    ConnectionFilter {
        live,
        endpoint,
        protocol,
        direction: way,
        address,
        failed,
        without_console: false,
        from: span.from,
        to: span.to,
    }
}

/// `GET /connections`
pub(crate) async fn page(
    State(site): State<Arc<Site>>,
    frame: Frame,
    asked: Asked,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = site.now();
    let mut reading = Reading::new(&asked, PATH);
    let mut filter = filter(&mut reading, now);
    let through_text = filter.address.is_some();
    reading.tell_index(site.store.text_index(), through_text);
    let page = reading.page();
    let filtered = !reading.chips.is_empty();
    filter.without_console = reading.without_console();
    let (chips, problems) = (reading.chips, reading.problems);
    let found = site.store.connections(&filter, page).await?;
    let list = ConnectionsList {
        rows: found.rows.iter().map(|row| ConnectionLine::new(row, now)).collect(),
        unreadable: unreadable_rows("connection", &found.unreadable),
        pager: Pager::new(&asked, PATH, found.next),
        ended: ended(found.ended_after),
        filtered,
        at: Moment(now),
    };
    if headers.contains_key(FRAGMENT) {
        return Ok(Html(list.render()?).into_response());
    }
    let tab = |live: Option<&str>, failed: Option<&str>| {
        asked.url(PATH, &[("after", None), ("trail", None), ("live", live), ("failed", failed)])
    };
    let page = ConnectionsPage {
        frame: frame.at(Section::Connections),
        live: filter.live,
        failed: filter.failed == Some(true),
        all_url: tab(None, None),
        live_url: tab(Some("yes"), None),
        ended_url: tab(Some("no"), None),
        failed_url: tab(None, Some("yes")),
        protocols: Protocol::ALL
            .iter()
            .map(|protocol| Choice {
                value: protocol.as_str(),
                shown: protocol_word(*protocol),
                chosen: filter.protocol == Some(*protocol),
            })
            .collect(),
        directions: Direction::ALL
            .iter()
            .map(|way| Choice {
                value: way.as_str(),
                shown: direction(*way).1,
                chosen: filter.direction == Some(*way),
            })
            .collect(),
        times: times(&asked),
        console: shown_or_not(&asked),
        chips,
        problems,
        live_every: live_every(through_text),
        more: ["from", "to", "direction", CONSOLE].iter().any(|key| asked.get(key).is_some()),
        asked,
        list,
    };
    Ok(Html(page.render()?).into_response())
}

#[derive(Template)]
#[template(path = "connection.html")]
struct ConnectionPage {
    frame: Frame,
    line: ConnectionLine,
    full_id: String,
    addresses: Facts,
    protection: Facts,
    certificate: Option<CertificateShown>,
    requests: Option<String>,
    closed: Option<Moment>,
    node: String,
    events: Vec<crate::events::EventLine>,
    more_events: bool,
    reads_audit: bool,
}

struct CertificateShown {
    facts: Facts,
    not_before: Moment,
    not_after: Moment,
}

/// Events that a connection's page shows.
const EVENTS: u32 = 100;

/// `GET /connections/{id}`
pub(crate) async fn detail(
    State(site): State<Arc<Site>>,
    frame: Frame,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = path_id(&id).map(ConnectionId::new).ok_or_else(|| Problem::no_such("connection"))?;
    let connection = site.store.connection(id).await?.ok_or_else(|| Problem::no_such("connection"))?;
    let reads_audit = frame.visitor.as_ref().is_some_and(crate::door::Visitor::reads_audit);
    let (events, more_events) = if reads_audit {
        let filter = EventFilter { connection: Some(id), ..EventFilter::default() };
        let found = site.store.events(&filter, Page::first(EVENTS)).await?;
        (found.rows, found.next.is_some())
    } else {
        (Vec::new(), false)
    };
    let (protection, certificate) = protection(&connection);
    let page = ConnectionPage {
        frame: frame.at(Section::Connections),
        line: ConnectionLine::new(&connection, site.now()),
        full_id: connection.id.to_string(),
        addresses: addresses(&connection).into(),
        protection: protection.into(),
        certificate,
        requests: connection.requests.map(crate::show::grouped),
        closed: connection.closed_at.map(Moment),
        node: connection.node,
        events: events.iter().map(crate::events::EventLine::new).collect(),
        more_events,
        reads_audit,
    };
    Ok(Html(page.render()?).into_response())
}

fn addresses(connection: &ConnectionView) -> Vec<Fact> {
    [
        ("Host asked for", &connection.host),
        ("Remote address", &connection.remote),
        ("Local address", &connection.local),
        ("Proxy", &connection.proxy),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.as_deref().map(|value| Fact::new(name, safe_text(value))))
    .collect()
}

fn protection(connection: &ConnectionView) -> (Vec<Fact>, Option<CertificateShown>) {
    let fact = |name: &str, value: &str| Fact::new(name, safe_text(value));
    match &connection.security {
        None if never_came_up(connection) => {
            (vec![fact("Protection", "None: no connection came up, and nothing was sent")], None)
        }
        None => (vec![fact("Protection", "Not known: only the connection's end is on record")], None),
        Some(Security::None) => (vec![fact("Protection", "None: bytes travel in the clear")], None),
        Some(Security::Tls { version, cipher, peer }) => {
            (vec![fact("Protection", version), fact("Cipher", cipher)], peer.as_deref().map(certificate))
        }
        Some(Security::Ssh { host_key_type, host_key, kex, cipher, mac, server }) => {
            let mac = if mac.is_empty() { "in the cipher (AEAD)" } else { mac };
            let facts = vec![
                fact("Protection", "SSH"),
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

fn certificate(shown: &Certificate) -> CertificateShown {
    let fact = |name: &str, value: &str| Fact::new(name, safe_text(value));
    CertificateShown {
        facts: vec![
            fact("Subject", shown.subject.as_str()),
            fact("Issuer", shown.issuer.as_str()),
            fact("Serial number", &shown.serial),
            fact("SHA-256", &shown.sha256),
        ]
        .into(),
        not_before: Moment(shown.not_before),
        not_after: Moment(shown.not_after),
    }
}
