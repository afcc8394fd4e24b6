//! `waybill endpoint test`: every step of reaching an endpoint.

use super::{FOUND_WRONG, write};
use crate::cli::Output;
use crate::command_session::CommandSession;
use config::Settings;
use model::definition::{Definitions, Destination, FlowSource};
use model::{Error, ErrorKind, Result, did_you_mean};
use serde_json::{Value, json};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use transport::{Probe, ProbeStep};

pub(crate) async fn test(
    settings: Settings,
    name: &str,
    directory: Option<&Path>,
    output: Output,
) -> Result<ExitCode> {
    let session = CommandSession::open(&settings, directory).await?;
    let probes = probes(&session, name).await;
    session.close().await?;
    let probes = probes?;
    let passed = probes.iter().all(|(_, probe)| probe.passed());
    write::as_far_as_read(match output {
        Output::Json => write::json(&as_json(name, passed, &probes)),
        Output::Text => probes.iter().try_for_each(|(role, probe)| text(name, role, probe)),
    })?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

/// Lists the endpoints with what flows do with them.
pub(crate) async fn list(settings: &Settings, directory: Option<&Path>, output: Output) -> Result<ExitCode> {
    let definitions = crate::command_session::definitions_alone(settings, directory).await?;
    let rows = definitions.endpoints.values().map(|endpoint| (endpoint, uses(&definitions, &endpoint.name)));
    match output {
        Output::Json => {
            let rows: Vec<Value> = rows
                .map(|(endpoint, uses)| json!({ "name": endpoint.name, "transport": endpoint.transport, "used_by": uses }))
                .collect();
            write::json(&rows.into())?;
        }
        Output::Text => {
            let rows: Vec<Vec<String>> = rows
                .map(|(endpoint, uses)| {
                    let uses = if uses.is_empty() { "no flow".to_owned() } else { uses.join(", ") };
                    vec![endpoint.name.clone(), endpoint.transport.clone(), uses]
                })
                .collect();
            if rows.is_empty() {
                write::line("no endpoints")?;
            }
            write::Columns::new(&["ENDPOINT", "TRANSPORT", "USED BY"]).write(rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The flows that poll an endpoint or deliver to it.
fn uses(definitions: &Definitions, name: &str) -> Vec<String> {
    let mut uses = Vec::new();
    for flow in definitions.flows.values() {
        if matches!(&flow.source, FlowSource::Poll(poll) if poll.endpoint == name) {
            uses.push(format!("{} (source)", flow.name));
        }
        if flow.destinations.iter().any(|destination| destination.endpoint == name) {
            uses.push(format!("{} (destination)", flow.name));
        }
    }
    uses
}

fn words(step: &ProbeStep) -> String {
    step.result.as_ref().map_or_else(Error::chain, Clone::clone)
}

fn text(name: &str, role: &str, probe: &Probe) -> Result<()> {
    write::line(format_args!("{name} as a {role}:"))?;
    probe.steps.iter().try_for_each(|step| {
        let mark = if step.result.is_ok() { "ok" } else { "FAILED" };
        write::line(format_args!(
            "{mark:<7}{:<12}{:>6} ms  {}",
            step.name,
            step.took.as_millis(),
            words(step)
        ))
    })
}

fn as_json(name: &str, passed: bool, probes: &[(&str, Probe)]) -> Value {
    let steps = probes.iter().flat_map(|(role, probe)| probe.steps.iter().map(move |step| (role, step)));
    let steps: Vec<Value> = steps
        .map(|(role, step)| {
            json!({
                "role": role, "step": step.name, "passed": step.result.is_ok(),
                "millis": u64::try_from(step.took.as_millis()).unwrap_or(u64::MAX), "words": words(step),
            })
        })
        .collect();
    json!({ "endpoint": name, "passed": passed, "steps": steps })
}

/// Tests an endpoint in each role that a flow gives it; one that no flow uses, as a destination where
/// it can be one.
async fn probes(session: &CommandSession, name: &str) -> Result<Vec<(&'static str, Probe)>> {
    let services = session.services.clone();
    let definitions = services.directory.definitions();
    let endpoint = definitions.endpoints.get(name).ok_or_else(|| {
        let names = definitions.endpoints.keys().map(String::as_str);
        let near = did_you_mean(name, names);
        let near = near.trim_start_matches("; ");
        let advice = match (definitions.endpoints.len(), near) {
            (0, _) => "no endpoint is defined".to_owned(),
            (1, near) => format!("{near} `waybill endpoint list` shows the one that is defined"),
            (many, near) => format!("{near} `waybill endpoint list` shows all {many}"),
        };
        Error::permanent(ErrorKind::NotFound, "find the endpoint")
            .with("endpoint", name)
            .advice(advice.trim_start().to_owned())
    })?;
    let transport = session.transports.get(&endpoint.transport);
    let transport =
        transport.ok_or_else(|| Error::permanent(ErrorKind::ConfigInvalid, "find a transport"))?;
    let mut probes = Vec::new();
    let polling = definitions.flows.values().find(|flow| match &flow.source {
        FlowSource::Poll(poll) => poll.endpoint == name,
        FlowSource::Receive(_) => false,
    });
    if let Some(flow) = polling {
        let source = transport.source(Arc::clone(endpoint), Arc::clone(flow), services.clone())?;
        probes.push(("source", source.probe().await));
    }
    let mut destinations = definitions.flows.values().flat_map(|flow| &flow.destinations);
    let delivering = destinations.find(|destination| destination.endpoint == name);
    if delivering.is_some() || probes.is_empty() {
        let defined = match delivering {
            Some(destination) => destination.clone(),
            None => Destination::usual(name, name, transport.spec())?,
        };
        let destination = transport.destination(Arc::clone(endpoint), &defined, services)?;
        probes.push(("destination", destination.probe().await));
    }
    Ok(probes)
}
