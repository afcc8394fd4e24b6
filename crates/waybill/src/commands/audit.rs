//! `waybill audit search|verify|accept-restored|trust|export-seals`.

mod accept;
mod timestamps;
mod verify;

pub(crate) use accept::{accept, trust};
pub(crate) use verify::{export_seals, verify};

use super::pages::{Pages, Row, Writer};
use super::{text_search, unknown_name, write};
use crate::cli::{Output, SearchEvents};
use crate::gateway::open_command_session;
use crate::process::ClockAndRandom;
use config::Settings;
use model::schema::Section;
use model::{EventKind, Result, quoted};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::process::ExitCode;
use store::{EventFilter, EventView, Store};

pub(crate) async fn search(settings: &Settings, wanted: SearchEvents, output: Output) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let through_text = wanted.text.is_some() && wanted.transfer.is_none() && wanted.connection.is_none();
    let (from, to) = text_search::span(&wanted.span, through_text, ambient.clock.now());
    let filter = EventFilter {
        kind: wanted.kind,
        severity: wanted.severity,
        flow: wanted.flow,
        endpoint: wanted.endpoint,
        transfer: wanted.transfer,
        connection: wanted.connection,
        actor: wanted.actor,
        text: wanted.text,
        without_console: false,
        from,
        to,
    };
    let store = open_command_session(settings, &ambient).await?;
    text_search::tell_index(&store, through_text);
    let written = write_all(&store, &filter, wanted.limit, output).await;
    store.close().await;
    written.map(|()| ExitCode::SUCCESS)
}

async fn write_all(store: &Store, filter: &EventFilter, limit: u32, output: Output) -> Result<()> {
    let (mut pages, mut writer) = (Pages::up_to(limit), Writer::new::<EventView>(output));
    while let Some(page) = pages.next() {
        let listing = text_search::whole(store.events(filter, page).await?, "search the audit trail")?;
        writer.page(&pages.take(listing))?;
    }
    if writer.is_empty() {
        let asked =
            [(Section::FLOW, filter.flow.as_deref()), (Section::ENDPOINT, filter.endpoint.as_deref())];
        unknown_name::tell(store, &asked).await;
    }
    writer.end::<EventView>(&pages)
}

impl Row for EventView {
    const NAME: &'static str = "events";
    const COLUMNS: &'static [&'static str] = &[];

    fn json(&self) -> Value {
        event_json(self)
    }

    fn cells(&self) -> Vec<String> {
        vec![event_line(self)]
    }
}

/// One event on one line.
pub(crate) fn event_line(event: &EventView) -> String {
    let severity = (event.severity != "info").then(|| event.severity.clone());
    let places = [
        ("severity", &severity),
        ("flow", &event.flow),
        ("endpoint", &event.endpoint),
        ("partner", &event.partner),
        ("peer", &event.peer),
    ];
    let places = places
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!(" {name}={}", quoted(value))));
    let detail = event
        .detail
        .iter()
        .filter(|(key, _)| *key != "mdn")
        .map(|(key, value)| format!(" {key}={}", quoted(&words(value))));
    let transfer = event.transfer.map(|id| format!(" transfer={id}")).unwrap_or_default();
    let connection = event.connection.map(|id| format!(" connection={id}")).unwrap_or_default();
    format!(
        "{}  {:<22} actor={}{}{transfer}{connection}{}",
        write::time(event.at),
        event.kind,
        quoted(&event.actor),
        places.collect::<String>(),
        detail.collect::<String>()
    )
}

/// A text as it is, anything else as JSON.
fn words(value: &Value) -> Cow<'_, str> {
    value.as_str().map_or_else(|| value.to_string().into(), Cow::from)
}

/// Every kind of event, a line each, for `audit search --kind`.
pub(crate) fn kinds(output: Output) -> Result<ExitCode> {
    let kinds = EventKind::ALL.iter().map(|kind| kind.as_str());
    match output {
        Output::Json => write::json(&kinds.collect())?,
        Output::Text => kinds.into_iter().try_for_each(write::line)?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn event_json(event: &EventView) -> Value {
    json!({
        "id": event.id, "at": event.at, "node": event.node, "kind": event.kind, "severity": event.severity,
        "actor": event.actor, "flow": event.flow, "endpoint": event.endpoint, "partner": event.partner,
        "transfer": event.transfer, "delivery": event.delivery, "connection": event.connection,
        "peer": event.peer, "detail": event.detail,
    })
}
