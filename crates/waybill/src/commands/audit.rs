//! `waybill audit search|verify`.

use super::pages::{Pages, Row, Writer};
use super::{FOUND_WRONG, write};
use crate::cli::Output;
use crate::gateway::open_guest;
use crate::process::Ambient;
use config::Settings;
use model::{Error, Result, TransferId};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use store::{EventFilter, EventView, SealKey, Store, TrustedKeys, VerifyOptions};

/// Which events are wanted.
pub(crate) struct Wanted {
    pub(crate) kind: Option<String>,
    pub(crate) flow: Option<String>,
    pub(crate) transfer: Option<TransferId>,
    pub(crate) text: Option<String>,
    pub(crate) limit: u32,
}

pub(crate) async fn search(settings: &Settings, wanted: Wanted, output: Output) -> Result<ExitCode> {
    let filter = EventFilter {
        kind: wanted.kind,
        flow: wanted.flow,
        transfer: wanted.transfer,
        text: wanted.text,
        ..EventFilter::default()
    };
    let store = open_guest(settings, &Ambient::default()).await?;
    let written = write_all(&store, &filter, wanted.limit, output).await;
    store.close().await;
    written.map(|()| ExitCode::SUCCESS)
}

async fn write_all(store: &Store, filter: &EventFilter, limit: u32, output: Output) -> Result<()> {
    let (mut pages, mut writer) = (Pages::up_to(limit), Writer::new::<EventView>(output));
    while let Some(page) = pages.next() {
        writer.page(&pages.take(store.events(filter, page).await?))?;
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

pub(crate) async fn verify(settings: &Settings, trust: &[PathBuf], output: Output) -> Result<ExitCode> {
    let key = SealKey::load_or_create(&settings.state_directory.join("seal.key"))?;
    let mut trusted = TrustedKeys::of(&key)?;
    for path in trust {
        let pem = std::fs::read(path)
            .map_err(|error| Error::local_io("read a public key", error).with("path", path.display()))?;
        trusted.add_pem(&pem)?;
    }
    let store = open_guest(settings, &Ambient::default()).await?;
    let options = VerifyOptions { trusted, ..VerifyOptions::default() };
    let mut told = 0;
    let report = store
        .verify_audit(&options, |report| {
            // Long work shows progress, on standard error, so that results can be piped.
            if output == Output::Text && report.events >= told + 100_000 {
                told = report.events;
                eprintln!("{} events in {} seals …", report.events, report.seals);
            }
        })
        .await;
    store.close().await;
    let report = report?;
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    match output {
        Output::Json => write::json(&json!({
            "holds": report.holds(), "seals": report.seals, "events": report.events,
            "removed": report.removed, "unsealed": report.unsealed, "findings": findings,
            "more_findings": report.more_findings,
            "newest": report.newest.map(|(number, digest)| json!({ "seal": number, "digest": digest.to_string() })),
        }))?,
        Output::Text => {
            findings.iter().try_for_each(write::line)?;
            let verdict = if report.holds() {
                "the audit trail is as it was sealed"
            } else {
                "the audit trail was changed"
            };
            write::line(format_args!(
                "{verdict}: {} events under {} seals, {} not sealed yet, {} removed by retention",
                report.events, report.seals, report.unsealed, report.removed
            ))?;
            if let Some((number, digest)) = report.newest {
                write::line(format_args!(
                    "newest seal: {number}:{digest} (keep it elsewhere to prove later that nothing was cut off)"
                ))?;
            }
        }
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

/// One event on one line.
pub(crate) fn event_line(event: &EventView) -> String {
    let places = [
        ("flow", &event.flow),
        ("endpoint", &event.endpoint),
        ("partner", &event.partner),
        ("peer", &event.peer),
    ];
    let places =
        places.iter().filter_map(|(name, value)| value.as_ref().map(|value| format!(" {name}={value}")));
    let detail =
        event.detail.iter().filter(|(key, _)| *key != "mdn").map(|(key, value)| format!(" {key}={value}"));
    let transfer = event.transfer.map(|id| format!(" transfer={id}")).unwrap_or_default();
    format!(
        "{}  {:<22}{}{transfer}{}",
        write::time(event.at),
        event.kind,
        places.collect::<String>(),
        detail.collect::<String>()
    )
}

pub(crate) fn event_json(event: &EventView) -> Value {
    json!({
        "id": event.id, "at": event.at, "node": event.node, "kind": event.kind, "severity": event.severity,
        "actor": event.actor, "flow": event.flow, "endpoint": event.endpoint, "partner": event.partner,
        "transfer": event.transfer, "delivery": event.delivery, "connection": event.connection,
        "peer": event.peer, "detail": event.detail,
    })
}
