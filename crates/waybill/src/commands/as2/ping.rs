//! `waybill as2 ping`: a small test message to a partner, with its way explained.

use super::follow::{Followed, follow};
use super::stage::check_user;
use crate::cli::{Output, PingPartner};
use crate::commands::operation::{as_json, beside_store};
use crate::commands::write::as_far_as_read;
use crate::commands::{FOUND_WRONG, write};
use crate::gateway::open_staging;
use config::Settings;
use control::{ChooseEndpoint, Explained, SentFile, StepStanding, explain};
use engine::StagedPayloads;
use model::{Result, duration_text};
use serde_json::json;
use std::process::ExitCode;

pub(crate) async fn ping(settings: &Settings, wanted: &PingPartner, output: Output) -> Result<ExitCode> {
    check_user(settings)?;
    beside_store(settings, async |store, control, caller| {
        let to = ChooseEndpoint {
            transport: transport_as2::SPEC.name.to_owned(),
            partner: wanted.partner.clone(),
            endpoint: wanted.endpoint.clone(),
            identity: wanted.identity.clone(),
        };
        let to = control.choose_endpoint(&caller, &to).await?;
        let payloads = StagedPayloads::new(open_staging(settings, &store).await?);
        let sent = control.send_test_message(&caller, &payloads, &to).await?;
        if output == Output::Text {
            as_far_as_read(write::line(format_args!(
                "a test message is recorded as transfer {} to endpoint {}",
                sent.transfer, sent.endpoint
            )))?;
        }
        let followed = follow(&store, sent.transfer, wanted.wait, false).await?;
        let explained = followed.waybill.as_ref().and_then(explain);
        as_far_as_read(match output {
            Output::Json => json(&sent, explained.as_ref()),
            Output::Text => tell(&sent, &followed, explained.as_ref(), wanted),
        })?;
        Ok(if followed.is_delivered() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
    })
    .await
}

fn json(sent: &SentFile, explained: Option<&Explained>) -> Result<()> {
    let mut json = json!({
        "transfer": sent.transfer, "endpoint": sent.endpoint, "partner": sent.partner,
    });
    if let Some(explained) = explained {
        json["way"] = as_json(explained)?;
    }
    write::json(&json)
}

fn tell(
    sent: &SentFile,
    followed: &Followed,
    explained: Option<&Explained>,
    wanted: &PingPartner,
) -> Result<()> {
    for step in explained.iter().flat_map(|explained| &explained.steps) {
        let line = format!("  {:<10} {:<12} {}", step.step.as_str(), step.standing.as_str(), step.words);
        write::line(line.trim_end())?;
        if let Some(advice) = step.advice.filter(|_| step.standing == StepStanding::Failed) {
            write::line(format_args!("  {:<10} what to do:  {advice}", ""))?;
        }
    }
    if let Some(words) = explained.and_then(|explained| explained.tell_partner.as_deref()) {
        write::line(format_args!("to tell the partner: {words}"))?;
    }
    let name = sent.partner.as_deref().unwrap_or(&sent.endpoint);
    if followed.is_delivered() {
        return write::line(format_args!("{name} has the test message, and proved it as agreed"));
    }
    if followed.ended {
        return write::line(format_args!(
            "{name} does not have the test message; it is not tried again: `waybill transfer show {}`",
            sent.transfer
        ));
    }
    write::line(format_args!(
        "the test message has not ended after {}: `waybill transfer show {}`",
        duration_text(wanted.wait),
        sent.transfer
    ))
}
