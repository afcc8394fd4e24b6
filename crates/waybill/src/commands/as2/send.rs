//! `waybill as2 send`: a file that the running gateway delivers, followed until its receipt.
//!
//! The command copies the file into the gateway's staging, then records it as a transfer in one transaction: killed before that,
//! nothing is recorded. From there on the gateway has it, whatever becomes of the command.

use super::CHUNK;
use super::follow::{Followed, follow};
use super::progress::{ProgressLine, size};
use super::stage::{check_user, stage};
use crate::cli::{Output, SendFile};
use crate::commands::operation::beside_store;
use crate::commands::write::as_far_as_read;
use crate::commands::{FOUND_WRONG, write};
use crate::gateway::open_staging;
use crate::process::ClockAndRandom;
use config::Settings;
use control::{Caller, ChooseEndpoint, ChosenEndpoint, Control, FileToSend, SentFile};
use model::{
    ByHand, Error, ErrorKind, PayloadId, PayloadRecord, RemotePath, Result, Retry, Sha256, Transfer,
    TransferId, duration_text, quoted,
};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use store::Store;

pub(crate) async fn send(settings: &Settings, wanted: &SendFile, output: Output) -> Result<ExitCode> {
    let name = match &wanted.name {
        Some(name) => name.clone(),
        None => own_name(&wanted.file)?,
    };
    FileToSend::check(&name, wanted.media_type.as_deref(), wanted.subject.as_deref())?;
    check_user(settings)?;
    beside_store(settings, async |store, control, caller| {
        let sent = record(settings, &store, (&control, &caller), wanted, name, output).await?;
        if wanted.no_wait {
            if output == Output::Json {
                as_far_as_read(write::json(&as_json(&sent, None)))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let followed = follow(&store, sent.transfer, wanted.wait, output == Output::Text).await?;
        as_far_as_read(match output {
            Output::Json => write::json(&as_json(&sent, Some(&followed))),
            Output::Text => tell(&sent, &followed, wanted),
        })?;
        Ok(if followed.is_delivered() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
    })
    .await
}

/// The name of the file without its directory.
fn own_name(path: &Path) -> Result<String> {
    let name = path.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).ok_or_else(|| {
        Error::permanent(ErrorKind::ConfigInvalid, "send a file")
            .with("path", path.display())
            .advice("its name is no text: give the partner another one with --name")
    })
}

/// Stages the file and records its transfer. Where that fails, nothing of it is left in staging.
async fn record(
    settings: &Settings,
    store: &Store,
    (control, caller): (&Control, &Caller),
    wanted: &SendFile,
    file_name: String,
    output: Output,
) -> Result<SentFile> {
    let to = ChooseEndpoint {
        transport: transport_as2::SPEC.name.to_owned(),
        partner: wanted.partner.clone(),
        endpoint: wanted.endpoint.clone(),
        identity: wanted.identity.clone(),
    };
    let to = control.choose_endpoint(caller, &to).await?;
    if let Some(request) = wanted.request
        && let Some(known) = store.transfer(TransferId::new(request)).await?
    {
        let path = wanted.file.clone();
        let content = known.payload.clone();
        let is_same = tokio::task::spawn_blocking(move || has_content(&path, &content)).await;
        let is_same = is_same.map_err(|error| {
            Error::permanent(ErrorKind::Internal, "compare a file with an earlier one").caused_by(error)
        })??;
        return repeated(&known, &to, &file_name, is_same);
    }
    let staging = open_staging(settings, store).await?;
    let ambient = ClockAndRandom::default();
    let id = || ambient.random.uuid(ambient.clock.now());
    let mut line = ProgressLine::new(output == Output::Text);
    let staged = stage(&staging, PayloadId::new(id()), &wanted.file, &mut line).await?;
    let file = FileToSend {
        file_name,
        media_type: wanted.media_type.clone(),
        subject: wanted.subject.clone(),
        payload: staged.id,
        length: staged.length,
        sha256: staged.sha256,
        request: wanted.request.unwrap_or_else(id),
        reason: wanted.reason.clone(),
    };
    let sent = match control.send_file(caller, &to, &file).await {
        // It may be recorded, and need the bytes.
        Err(error) if error.retry() == Retry::Ambiguous => {
            return Err(error.with("transfer", file.request).advice(
                "whether the file is recorded is not known: `waybill transfer show` says it; repeat the command with --request",
            ));
        }
        Err(error) => {
            let removed = tokio::task::spawn_blocking(move || staging.remove(staged.id)).await;
            return Err(match removed {
                Ok(Ok(())) => error,
                Ok(Err(failed)) => error.with("the staged bytes were not removed", failed.chain()),
                Err(failed) => error.with("the staged bytes were not removed", failed),
            });
        }
        Ok(sent) => sent,
    };
    if output == Output::Text {
        as_far_as_read(write::line(format_args!(
            "{} ({}) is recorded as transfer {} to endpoint {}",
            quoted(&file.file_name),
            size(file.length),
            sent.transfer,
            sent.endpoint
        )))?;
    }
    Ok(sent)
}

/// Whether a file has the content that was recorded.
fn has_content(path: &Path, recorded: &PayloadRecord) -> Result<bool> {
    let failed =
        |what: &'static str, error: std::io::Error| Error::local_io(what, error).with("path", path.display());
    let mut file = File::open(path).map_err(|error| failed("open the file", error))?;
    let found = file.metadata().map_err(|error| failed("look at the file", error))?;
    if found.len() != recorded.length {
        return Ok(false);
    }
    let (mut hasher, mut chunk) = (openssl::sha::Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk).map_err(|error| failed("read the file", error))? {
            0 => break,
            count => hasher.update(&chunk[..count]),
        }
    }
    let digest = Sha256(hasher.finish());
    Ok(recorded.content.sha256().is_some_and(|recorded| recorded == digest))
}

/// What the same request recorded before.
fn repeated(known: &Transfer, to: &ChosenEndpoint, file_name: &str, is_same: bool) -> Result<SentFile> {
    let by_hand = ByHand { endpoint: &to.endpoint, is_test: false };
    let has_name = known.payload.file_name == RemotePath::from(file_name);
    if known.flow != by_hand.flow() || !has_name || !is_same {
        return Err(Error::permanent(ErrorKind::AlreadyExists, "send a file")
            .with("request", known.id)
            .with("its file", quoted(&known.payload.file_name.to_text()))
            .advice("this request sent another file: choose another --request, or leave it out"));
    }
    let (endpoint, partner) = (to.endpoint.clone(), to.partner.clone());
    Ok(SentFile { transfer: known.id, endpoint, partner, recorded: false })
}

fn tell(sent: &SentFile, followed: &Followed, wanted: &SendFile) -> Result<()> {
    if !followed.ended {
        return write::line(format_args!(
            "it has not ended (followed for {} at most) and goes on without this command: `waybill transfer show {}`; \
             `waybill transfer cancel {1}` gives it up",
            duration_text(wanted.wait),
            sent.transfer
        ));
    }
    if let Some(words) = followed.tell_partner() {
        write::line(format_args!("to tell the partner: {words}"))?;
    }
    write::line(format_args!("all of it: `waybill transfer show {}`", sent.transfer))
}

fn as_json(sent: &SentFile, followed: Option<&Followed>) -> Value {
    let mut json = json!({
        "transfer": sent.transfer, "endpoint": sent.endpoint, "partner": sent.partner, "recorded": sent.recorded,
    });
    let Some(followed) = followed else { return json };
    json["ended"] = followed.ended.into();
    json["tell_partner"] = followed.tell_partner().into();
    if let Some(delivery) = followed.delivery() {
        json["state"] = delivery.state.as_str().into();
        json["attempts"] = delivery.attempts.len().into();
        json["error"] = delivery.error.as_deref().into();
        json["error_kind"] = delivery.error_kind.as_deref().into();
        json["receipt"] = json!(delivery.receipt.as_ref().map(|receipt| json!({
            "kind": receipt.kind.as_str(), "at": receipt.at, "summary": receipt.summary, "detail": receipt.detail,
        })));
    }
    json
}
