//! `waybill endpoint list|test|offline|online`.

use super::operation::{as_json, beside, with_control, with_endpoints};
use super::{FOUND_WRONG, write};
use crate::cli::{Endpoint, Output};
use crate::command_session::open_or_make;
use crate::process::ClockAndRandom;
use config::Settings;
use control::{
    Control, EndpointDetail, EndpointList, EndpointTest, EndpointUse, ListEndpoints, SetOffline, SetOnline,
    TestEndpoint,
};
use model::{Result, Suspension};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;
use store::FailingEndpoint;

async fn test(
    settings: &Settings,
    name: String,
    directory: Option<&Path>,
    output: Output,
) -> Result<ExitCode> {
    let request = TestEndpoint { endpoint: name };
    let operation = |control: Control, caller, trial| async move {
        control.test_endpoint(&caller, &trial, &request).await
    };
    let tested = with_endpoints(settings, directory, operation).await?;
    write::as_far_as_read(match output {
        Output::Json => write::json(&as_json(&tested)?),
        Output::Text => text(&tested).and_then(|()| offered(settings, &tested)),
    })?;
    Ok(if tested.passed { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

/// What a person may do about host keys that are not on file.
fn offered(settings: &Settings, tested: &EndpointTest) -> Result<()> {
    for key in &tested.offered_host_keys {
        write::line(format_args!("{} showed {} {}", key.listed_host(), key.key_type, key.fingerprint))?;
        write::line(format_args!(
            "  after comparing it: waybill known-host add --offered {}",
            key.fingerprint
        ))?;
    }
    if !tested.offered_host_keys.is_empty() {
        let listen = &settings.listen;
        let own = || format!("http://{}/", listen.console);
        let url = listen.console_url.as_ref().map_or_else(own, ToString::to_string);
        write::line(format_args!("  or in the console: {}/known-hosts", url.trim_end_matches('/')))?;
    }
    Ok(())
}

fn text(tested: &EndpointTest) -> Result<()> {
    let of_roles = tested.steps.chunk_by(|a, b| (a.role, &a.address) == (b.role, &b.address));
    of_roles.filter_map(|steps| Some((steps.first()?, steps))).try_for_each(|(first, steps)| {
        let address = first.address.as_deref().map(|address| format!(" at {address}")).unwrap_or_default();
        write::line(format_args!("{} as a {}{address}:", tested.endpoint, first.role.as_str()))?;
        steps.iter().try_for_each(|step| {
            let mark = if step.passed { "ok" } else { "FAILED" };
            write::line(format_args!(
                "{mark:<7}{:<12}{:>6} ms  {}",
                step.step.as_str(),
                step.millis,
                step.words
            ))
        })
    })
}

pub(crate) async fn run(settings: Settings, command: Endpoint, output: Output) -> Result<ExitCode> {
    match command {
        Endpoint::Test { name, definitions } => test(&settings, name, definitions.as_deref(), output).await,
        Endpoint::List { definitions } => {
            let request = ListEndpoints { directory: definitions };
            let operation =
                |control: Control, caller| async move { control.endpoints(&caller, &request).await };
            // Documents can be listed before the first start.
            let ambient = ClockAndRandom::default();
            let store = open_or_make(&settings, &ambient).await?;
            list(&with_control(&settings, store, &ambient, operation).await?, output)
        }
        Endpoint::Offline { name, reason } => {
            let request = SetOffline { endpoint: name, reason };
            let operation = |control: Control, caller| async move {
                control.set_endpoint_offline(&caller, &request).await
            };
            let offline = beside(&settings, operation).await?;
            match output {
                Output::Json => write::json(&as_json(&offline)?)?,
                Output::Text => write::line(format_args!(
                    "endpoint {} is offline: nothing is tried there until `waybill endpoint online {0}`",
                    offline.name
                ))?,
            }
            Ok(ExitCode::SUCCESS)
        }
        Endpoint::Online { name, reason } => {
            let request = SetOnline { endpoint: name.clone(), reason };
            let operation = |control: Control, caller| async move {
                control.set_endpoint_online(&caller, &request).await
            };
            let ended = beside(&settings, operation).await?;
            match (output, &ended) {
                (Output::Json, _) => write::json(&json!({ "endpoint": name, "ended": as_json(&ended)? }))?,
                (Output::Text, Some(ended)) => {
                    write::line(format_args!("endpoint {name} is online; it had been {}", ended.words()))?;
                }
                (Output::Text, None) => write::line(format_args!(
                    "nobody had set endpoint {name} offline; if failures had, it is tried again now"
                ))?,
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn list(list: &EndpointList, output: Output) -> Result<ExitCode> {
    if output == Output::Json {
        write::json(&as_json(&list.endpoints)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let uses = |endpoint: &EndpointDetail| {
        let uses = endpoint.used_by.iter().map(|used: &EndpointUse| {
            let role = if used.source { "source" } else { "destination" };
            format!("{} ({role})", used.flow)
        });
        let behind = endpoint.leads_to.iter().map(|other| format!("endpoint {other} (jump)"));
        let uses: Vec<String> = uses.chain(behind).collect();
        if uses.is_empty() { "no flow".to_owned() } else { uses.join(", ") }
    };
    let row = |endpoint: &EndpointDetail| {
        vec![endpoint.name.clone(), endpoint.transport.clone(), uses(endpoint), state(endpoint)]
    };
    let rows: Vec<Vec<String>> = list.endpoints.iter().map(row).collect();
    if rows.is_empty() {
        write::line("no endpoints")?;
    }
    write::Columns::new(&["ENDPOINT", "TRANSPORT", "USED BY", "STATE"]).write(rows)?;
    Ok(ExitCode::SUCCESS)
}

/// Who or what took an endpoint offline, or `-`.
fn state(endpoint: &EndpointDetail) -> String {
    let by_failures = |failing: &FailingEndpoint| {
        let FailingEndpoint { node, since, until, error, .. } = failing;
        let error = error.as_deref().map(|error| format!(": {error}")).unwrap_or_default();
        let (since, until) = (write::time(*since), write::time(*until));
        format!("offline on node {node} after failures since {since}, until {until}{error}")
    };
    let by_hand = endpoint.offline.as_ref().map(Suspension::words);
    let through = endpoint.reached_through.as_ref();
    let through = through.map(|other| format!("reached through {}, which was {}", other.name, other.words()));
    let states: Vec<String> =
        by_hand.into_iter().chain(through).chain(endpoint.failing.iter().map(by_failures)).collect();
    if states.is_empty() { "-".to_owned() } else { states.join("; ") }
}
