//! `waybill flow list|show|run|pause|resume`.

use super::operation::{as_json, beside, with_endpoints};
use super::{FOUND_WRONG, write};
use crate::cli::{Flow, Output};
use config::Settings;
use control::{
    Control, DryRunAnswer, DryRunFlow, FlowDetail, FlowList, FlowRunAnswer, FlowSourceDetail, PauseFlow,
    PollTimes, ResumeFlow, RunFlow,
};
use model::{PollReport, Result, SkipCount, SkipReason, Suspension, quoted};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use store::{ClaimsLeft, FailingPoll, MissingFiles, WaitingForRoom};

pub(crate) async fn run(settings: &Settings, command: Flow, output: Output) -> Result<ExitCode> {
    match command {
        Flow::List => {
            let operation = |control: Control, caller| async move { control.flows(&caller).await };
            list(&beside(settings, operation).await?, output)?;
        }
        Flow::Show { name } => {
            let operation = |control: Control, caller| async move { control.flow(&caller, &name).await };
            let flow = beside(settings, operation).await?;
            told(&flow, output, show)?;
        }
        Flow::Run { name, dry_run: true, definitions, .. } => {
            return dry_run(settings, name, definitions.as_deref(), output).await;
        }
        Flow::Run { name, wait, .. } => {
            let request = RunFlow { flow: name, wait_seconds: wait.as_secs().max(1) };
            let operation = {
                let request = request.clone();
                |control: Control, caller| async move { control.run_flow(&caller, &request).await }
            };
            let answer = beside(settings, operation).await?;
            write::as_far_as_read(told(&answer, output, |answer| ran(&request, answer)))?;
            return Ok(if answer.succeeded() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) });
        }
        Flow::Pause { name, reason } => {
            let request = PauseFlow { flow: name, reason };
            let operation =
                |control: Control, caller| async move { control.pause_flow(&caller, &request).await };
            let paused = beside(settings, operation).await?;
            told(&paused, output, |paused: &Suspension| {
                let name = &paused.name;
                write::line(format_args!(
                    "flow {name} is paused: it takes no new files until `waybill flow resume {name}`"
                ))
            })?;
        }
        Flow::Resume { name, reason } => {
            let request = ResumeFlow { flow: name, reason };
            let operation =
                |control: Control, caller| async move { control.resume_flow(&caller, &request).await };
            let ended = beside(settings, operation).await?;
            told(&ended, output, |ended: &Suspension| {
                write::line(format_args!("flow {} is resumed; it had been {}", ended.name, ended.words()))
            })?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn dry_run(
    settings: &Settings,
    name: String,
    directory: Option<&Path>,
    output: Output,
) -> Result<ExitCode> {
    let request = DryRunFlow { flow: name };
    let operation = |control: Control, caller, trial| async move {
        control.dry_run_flow(&caller, &trial, &request).await
    };
    let answer = with_endpoints(settings, directory, operation).await?;
    told(&answer, output, looked)?;
    Ok(ExitCode::SUCCESS)
}

fn looked(answer: &DryRunAnswer) -> Result<()> {
    for file in &answer.files {
        let what = file.left.map_or("take", SkipReason::as_str);
        let size = file.size.map(|size| format!("  {size} bytes")).unwrap_or_default();
        let modified = file.modified.map(|at| format!("  {}", write::time(at))).unwrap_or_default();
        let next = file.next.map(|at| format!("  tried again {}", write::time(at))).unwrap_or_default();
        let error = file.error.as_deref().map(|error| format!("  {error}")).unwrap_or_default();
        write::line(format_args!("{what:<15} {}{size}{modified}{next}{error}", quoted(&file.path)))?;
    }
    if answer.not_listed > 0 {
        write::line(format_args!("… and {} more", answer.not_listed))?;
    }
    write::line(format_args!("A poll of {} would take {} now.", answer.endpoint, files(answer.takes)))?;
    skipped(&answer.skipped)?;
    for step in &answer.steps {
        let to = step.destination.as_ref().map(|to| format!(" for destination {to}")).unwrap_or_default();
        write::line(format_args!("  step{to}: {}", step.does))?;
    }
    for suspension in answer.paused.iter().chain(&answer.source_offline) {
        let (kind, name) = (suspension.kind, &suspension.name);
        write::line(format_args!("No poll takes anything: {kind} {name} is {}.", suspension.words()))?;
    }
    if !answer.enabled {
        write::line(format_args!("No poll takes anything: flow {} is disabled.", answer.flow))?;
    }
    write::line(format_args!("It polls {}; {}.", answer.polls.schedule, next_poll(&answer.polls)))
}

/// When the next poll comes, and why there is none now.
fn next_poll(polls: &PollTimes) -> String {
    let next = match polls.next {
        Some(next) => format!("the next poll begins {}", write::time(next)),
        None if polls.running => "polls begin now".to_owned(),
        None => "no poll is to come".to_owned(),
    };
    match polls.closed_words {
        Some(words) => format!("no poll begins now, because {words}; {next}"),
        None => next,
    }
}

fn files(count: u64) -> String {
    if count == 1 { "1 file".to_owned() } else { format!("{count} files") }
}

fn skipped(counts: &[SkipCount]) -> Result<()> {
    let line =
        |count: &SkipCount| write::line(format_args!("  {} left: {}", count.files, count.reason.words()));
    counts.iter().try_for_each(line)
}

/// What a run came to, for people.
fn ran(request: &RunFlow, answer: &FlowRunAnswer) -> Result<()> {
    let name = &request.flow;
    let counts = |report: &PollReport| {
        let PollReport { taken, backed_off, refused, changed, skipped: left } = report;
        write::line(format_args!("  taken: {}", files(*taken)))?;
        for (count, words) in [
            (backed_off, "could not be read, tried again later"),
            (refused, "could not be read, given up"),
            (changed, "gone or changed when they were read"),
        ] {
            if *count > 0 {
                write::line(format_args!("  {}: {words}", files(*count)))?;
            }
        }
        skipped(left)
    };
    match answer {
        FlowRunAnswer::Polled { node, report } => {
            write::line(format_args!("flow {name} was run on node {node}"))?;
            counts(report)
        }
        FlowRunAnswer::Failed { node, error, report } => {
            write::line(format_args!("the run of flow {name} on node {node} failed: {error}"))?;
            counts(report)
        }
        FlowRunAnswer::EndpointOffline { node, until } => write::line(format_args!(
            "flow {name} was not run: on node {node} its source is offline after failures, until {}; `waybill endpoint \
             online` ends that",
            write::time(*until)
        )),
        FlowRunAnswer::Running { node } => write::line(format_args!(
            "node {node} runs flow {name}, and had not ended after {} s; `waybill audit search --kind flow.run --flow \
             {name}` shows its end",
            request.wait_seconds
        )),
        FlowRunAnswer::NotBegun => write::line(format_args!(
            "no node began to run flow {name} within {} s: none that polls its source is running",
            request.wait_seconds
        )),
    }
}

fn told<T: Serialize>(answer: &T, output: Output, text: impl FnOnce(&T) -> Result<()>) -> Result<()> {
    match output {
        Output::Json => write::json(&as_json(answer)?),
        Output::Text => text(answer),
    }
}

fn list(list: &FlowList, output: Output) -> Result<()> {
    if output == Output::Json {
        return write::json(&as_json(&list.flows)?);
    }
    let row = |flow: &FlowDetail| {
        let source = flow.source.as_ref().map_or("-", FlowSourceDetail::name).to_owned();
        let title = flow.title.as_deref().map_or_else(|| "-".to_owned(), |title| quoted(title).to_string());
        vec![flow.name.clone(), title, source, flow.destinations.join(", "), state(flow)]
    };
    let rows: Vec<Vec<String>> = list.flows.iter().map(row).collect();
    if rows.is_empty() {
        write::line("no flows")?;
    }
    write::Columns::new(&["FLOW", "TITLE", "FROM", "TO", "STATE"]).write(rows)
}

fn state(flow: &FlowDetail) -> String {
    let failing = flow.failing.as_ref().map(polls_failing);
    let missing = flow.missing.as_ref().map(files_missing);
    let waiting = flow.waiting_for_room.as_ref().map(files_wait_for_room);
    let left = flow.claims_left.as_ref().map(claims_left);
    let all: Vec<String> =
        [Some(doing(flow)), failing, waiting, left, missing].into_iter().flatten().collect();
    all.join("; ")
}

/// That the last poll failed, and why.
fn polls_failing(failing: &FailingPoll) -> String {
    let FailingPoll { since, failures, error, .. } = failing;
    match failures {
        1 => format!("its last poll failed, at {}: {error}", write::time(*since)),
        _ => format!("its last {failures} polls failed, since {}: {error}", write::time(*since)),
    }
}

/// How many files wait for room, and the largest.
fn files_wait_for_room(waiting: &WaitingForRoom) -> String {
    let WaitingForRoom { node, since, files, largest, bytes, .. } = waiting;
    let largest = largest.to_text();
    let largest = quoted(&largest);
    let which = match files {
        1 => format!("1 file waits for room in staging on node {node}"),
        files => format!("{files} files wait for room in staging on node {node}"),
    };
    format!("{which}, since {}: the largest, {largest}, needs {bytes} bytes", write::time(*since))
}

/// How many claims were left behind, and when they are released.
fn claims_left(left: &ClaimsLeft) -> String {
    let ClaimsLeft { since, released, files, path, .. } = left;
    let (path, since) = (path.to_text(), write::time(*since));
    let path = quoted(&path);
    let released = write::time(*released);
    match files {
        1 => format!(
            "1 file is claimed (.stage) and not taken, since {since}: {path}; released {released} at the earliest"
        ),
        files => format!(
            "{files} files are claimed (.stage) and not taken, since {since}: {path} and others; released {released} at the earliest"
        ),
    }
}

/// Which expected files have not come.
fn files_missing(missing: &MissingFiles) -> String {
    let MissingFiles { day, by, at_least, found, .. } = missing;
    format!(
        "files are missing: {} expected on {day} by {}, {found} taken by then",
        at_least,
        write::time(*by)
    )
}

/// What it does now.
fn doing(flow: &FlowDetail) -> String {
    match (&flow.paused, flow.defined, flow.enabled, &flow.source_offline) {
        (Some(paused), true, ..) => paused.words(),
        (Some(paused), false, ..) => format!("not defined; {}", paused.words()),
        (None, _, false, _) => "disabled".to_owned(),
        (None, _, true, Some(offline)) => format!("source {}: {}", offline.name, offline.words()),
        (None, _, true, None) => {
            let node =
                flow.polled_by.as_ref().map_or_else(|| "-".to_owned(), |node| format!("polled by {node}"));
            match flow.polls.as_ref().and_then(|polls| polls.next) {
                Some(next) => format!("{node}; next poll {}", write::time(next)),
                None => node,
            }
        }
    }
}

fn show(flow: &FlowDetail) -> Result<()> {
    write::line(format_args!("flow {}", flow.name))?;
    if let Some(title) = &flow.title {
        write::line(format_args!("  title: {}", quoted(title)))?;
    }
    match &flow.source {
        Some(FlowSourceDetail::Endpoint(name)) => write::line(format_args!("  polls endpoint {name}"))?,
        Some(FlowSourceDetail::Listener(name)) => write::line(format_args!("  receives by listener {name}"))?,
        None => {}
    }
    for condition in &flow.conditions {
        write::line(format_args!("  takes files with the metadata {condition}"))?;
    }
    if let Some(polls) = &flow.polls {
        match polls.running {
            true => write::line(format_args!("  polls {}", polls.schedule))?,
            false => write::line(format_args!("  polls {}; {}", polls.schedule, next_poll(polls)))?,
        }
    }
    for step in &flow.steps {
        write::line(format_args!("  does step {step}"))?;
    }
    for destination in &flow.destinations {
        write::line(format_args!("  delivers to endpoint {destination}"))?;
    }
    if let Some(name) = &flow.on_failure {
        write::line(format_args!("  hands what could not be delivered to {name}"))?;
    }
    write::line(format_args!("  state: {}", state(flow)))
}
