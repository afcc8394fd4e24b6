//! Audit events as a table.

use crate::web::badge::{Badge, Icon, Tone};
use crate::web::facts::{Fact, Facts, facts};
use crate::web::format::{Moment, ShortId, one_line, safe_text};
use askama::Template;
use model::{Severity, Step};
use serde_json::Value;
use store::EventView;
use url::form_urlencoded::byte_serialize;
use uuid::Uuid;

/// A table of audit events.
#[derive(Template)]
#[template(path = "event_table.html")]
pub(crate) struct EventTable {
    caption: &'static str,
    pub(crate) rows: Vec<EventRow>,
    /// Whether flow, endpoint and transfer are shown: not where they are the same for all.
    references: bool,
}

impl askama::filters::HtmlSafe for EventTable {}

impl EventTable {
    pub(crate) fn new(caption: &'static str, rows: &[EventView], references: bool) -> Self {
        Self { caption, rows: rows.iter().map(EventRow::new).collect(), references }
    }
}

/// An event in a list.
pub(crate) struct EventRow {
    /// Its id, by which a list that is refreshed knows it again.
    pub(crate) key: Uuid,
    pub(crate) at: Moment,
    pub(crate) badge: Badge,
    pub(crate) kind: String,
    pub(crate) summary: String,
    pub(crate) flow: Option<String>,
    pub(crate) endpoint: Option<String>,
    pub(crate) transfer: Option<ShortId>,
    pub(crate) connection: Option<ShortId>,
    /// Where a person decides about a host key that was not trusted.
    pub(crate) host_keys: Option<String>,
    /// Who, where, and the detail.
    pub(crate) facts: Facts,
}

impl EventRow {
    pub(crate) fn new(event: &EventView) -> Self {
        let mut all =
            vec![Fact::new("Actor", safe_text(&event.actor)), Fact::new("Node", safe_text(&event.node))];
        let optional = [
            ("Peer", &event.peer),
            ("Partner", &event.partner),
            ("Endpoint", &event.endpoint),
            ("Flow", &event.flow),
        ];
        all.extend(
            optional
                .into_iter()
                .filter_map(|(name, value)| value.as_deref().map(|value| Fact::new(name, safe_text(value)))),
        );
        if let Some(delivery) = event.delivery {
            all.push(Fact::new("Delivery", delivery.to_string()));
        }
        all.push(Fact::new("Event", event.id.to_string()));
        all.extend(facts(&event.detail));
        Self {
            key: event.id.uuid(),
            at: Moment(event.at),
            badge: Severity::parse(&event.severity)
                .map_or(Badge::new(Tone::Quiet, Icon::Info, "Unknown"), Badge::severity),
            kind: safe_text(&event.kind),
            summary: one_line(&event.summary()),
            flow: event.flow.clone(),
            endpoint: event.endpoint.clone(),
            transfer: event.transfer.map(|id| ShortId(id.uuid())),
            connection: event.connection.map(|id| ShortId(id.uuid())),
            host_keys: host_keys(event),
            facts: all.into(),
        }
    }
}

/// The page of known hosts, for an event about a server whose host key was not trusted.
fn host_keys(event: &EventView) -> Option<String> {
    let failed_at = event.detail.get("failed_at").and_then(Value::as_str);
    if failed_at != Some(Step::HostKey.as_str()) {
        return None;
    }
    let search = event.endpoint.as_deref().unwrap_or_default();
    Some(format!("/known-hosts?search={}", byte_serialize(search.as_bytes()).collect::<String>()))
}
