//! Connections as a table.

use crate::web::badge::{Badge, Icon, Tone, direction};
use crate::web::format::{Moment, ShortId, Size, between, duration_text, one_line, safe_text};
use askama::Template;
use model::{Protocol, Security, Timestamp};
use store::ConnectionView;

/// The path of the list.
pub(crate) const CONNECTIONS: &str = "/connections";

/// A table of connections.
#[derive(Template)]
#[template(path = "connection_table.html")]
pub(crate) struct ConnectionTable {
    caption: &'static str,
    pub(crate) rows: Vec<ConnectionRow>,
}

impl askama::filters::HtmlSafe for ConnectionTable {}

impl ConnectionTable {
    pub(crate) fn new(caption: &'static str, rows: &[ConnectionView], now: Timestamp) -> Self {
        Self { caption, rows: rows.iter().map(|row| ConnectionRow::new(row, now)).collect() }
    }
}

/// A connection in a list.
pub(crate) struct ConnectionRow {
    pub(crate) id: ShortId,
    pub(crate) url: String,
    pub(crate) badge: Badge,
    pub(crate) protocol: String,
    pub(crate) direction: Icon,
    pub(crate) direction_word: &'static str,
    pub(crate) purpose: String,
    pub(crate) endpoint: Option<String>,
    pub(crate) host: String,
    pub(crate) remote: String,
    pub(crate) secure: bool,
    pub(crate) security: String,
    pub(crate) bytes_in: Option<Size>,
    pub(crate) bytes_out: Option<Size>,
    pub(crate) opened: Moment,
    pub(crate) duration: String,
    /// Whether its reason is worth a line of the list.
    pub(crate) failed: bool,
    pub(crate) reason: Option<String>,
}

impl ConnectionRow {
    pub(crate) fn new(connection: &ConnectionView, now: Timestamp) -> Self {
        let (icon, direction_word) =
            connection.direction.map_or((Icon::Link, "Unknown direction"), direction);
        let text = |value: &Option<String>| value.as_deref().map(safe_text).unwrap_or_default();
        let remote = text(&connection.remote);
        let host = text(&connection.host);
        Self {
            id: ShortId(connection.id.uuid()),
            url: format!("{CONNECTIONS}/{}", connection.id),
            badge: badge(connection),
            protocol: connection.protocol.map_or("?", protocol_name).to_owned(),
            direction: icon,
            direction_word,
            purpose: connection.purpose.map(|purpose| purpose.to_string()).unwrap_or_default(),
            endpoint: connection.endpoint.clone(),
            host: if host.is_empty() { remote.clone() } else { host },
            remote,
            secure: matches!(connection.security, Some(Security::Tls { .. } | Security::Ssh { .. })),
            security: security_word(connection),
            bytes_in: connection.bytes_in.map(Size),
            bytes_out: connection.bytes_out.map(Size),
            opened: Moment(connection.opened_at),
            duration: duration(connection, now),
            failed: connection.failed == Some(true),
            reason: connection.reason.as_deref().map(one_line).filter(|reason| !reason.is_empty()),
        }
    }
}

fn duration(connection: &ConnectionView, now: Timestamp) -> String {
    connection
        .duration
        .map_or_else(|| between(connection.opened_at, connection.closed_at.unwrap_or(now)), duration_text)
}

fn badge(connection: &ConnectionView) -> Badge {
    match (connection.closed_at, connection.failed) {
        // Its node has not been heard of since: nobody knows whether it is up.
        (None, _) if connection.lost_at.is_some() => Badge::new(Tone::Warn, Icon::Link, "Unknown"),
        (None, _) => Badge::new(Tone::Busy, Icon::Link, "Open"),
        (Some(_), Some(true)) => Badge::new(Tone::Bad, Icon::Cross, "Failed"),
        (Some(_), _) => Badge::new(Tone::Quiet, Icon::Check, "Closed"),
    }
}

pub(crate) const fn protocol_name(protocol: Protocol) -> &'static str {
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
        None if was_never_established(connection) => "Not established".to_owned(),
        None => "Unknown".to_owned(),
        Some(Security::None) => "Not encrypted".to_owned(),
        Some(Security::Tls { version, .. }) => safe_text(version).replace("TLSv", "TLS "),
        Some(Security::Ssh { host_key_type, .. }) => format!("SSH, {}", safe_text(host_key_type)),
    }
}

/// Whether the connection could not be opened. Of one that was opened the encryption is known; of one whose end
/// alone is on record, not even the direction.
pub(crate) fn was_never_established(connection: &ConnectionView) -> bool {
    connection.security.is_none() && connection.direction.is_some()
}
