//! `cert proposals`, `accept`, `reject` and `announce`: certificates that partners propose, and ours that are announced to them.
//! Decisions are recorded here; a running gateway answers the partner, and sends announcements.

use super::super::operation::{as_json, beside};
use super::super::write;
use crate::cli::{AnnounceCertificate, DecideProposal, Output};
use config::Settings;
use control::{Caller, CertificateExchanges, Control, DecideCertificates, ProposalDetail};
use model::{AnnouncementState, CertificateProposal, CertificateUsage, Result};
use std::process::ExitCode;

/// `cert proposals`
pub(in crate::commands) async fn proposals(settings: &Settings, output: Output) -> Result<ExitCode> {
    let operation = |control: Control, caller: Caller| async move {
        let definitions = control.usable_definitions().await?;
        control.certificate_exchanges(&caller, &definitions).await
    };
    let found: CertificateExchanges = beside(settings, operation).await?;
    match output {
        Output::Json => write::json(&as_json(&found)?)?,
        Output::Text => tell(&found)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The columns of proposals.
const PROPOSED: &[&str] = &["ID", "PARTNER", "STATE", "ANSWER BY", "SUBJECT", "SHA-256"];

fn tell(found: &CertificateExchanges) -> Result<()> {
    if found.proposals.is_empty() {
        write::line("no partner has proposed certificates")?;
    } else {
        let rows = found.proposals.iter().map(|detail| {
            let proposal = &detail.proposal;
            vec![
                proposal.id.to_string(),
                proposal.partner.clone(),
                state(detail),
                proposal.respond_by().map_or_else(|| "-".to_owned(), write::time),
                of_all(proposal, |one| format!("{} ({})", one.subject, words(&one.usages))),
                of_all(proposal, |one| one.fingerprint.clone()),
            ]
        });
        write::Columns::new(PROPOSED).write(rows.collect())?;
    }
    for detail in &found.proposals {
        if let Some(text) = &detail.to_write {
            write::line(format_args!(
                "\nto accept {} of partner {}:",
                detail.proposal.id, detail.proposal.partner
            ))?;
            write::line(text)?;
        }
    }
    if found.announcements.is_empty() {
        return Ok(());
    }
    write::line("\nannounced by us:")?;
    let rows = found.announcements.iter().map(|one| {
        let state = match (one.state, &one.reason) {
            (AnnouncementState::Rejected, Some(reason)) => format!("rejected: {reason}"),
            (state, _) => state.to_string(),
        };
        vec![
            one.key.clone(),
            one.partner.clone(),
            state,
            write::time(one.respond_by),
            one.sent.to_string(),
            one.fingerprint.clone(),
        ]
    });
    write::Columns::new(&["KEY", "PARTNER", "STATE", "ANSWER BY", "SENT", "SHA-256"]).write(rows.collect())
}

fn state(detail: &ProposalDetail) -> String {
    let state = detail.proposal.state;
    if detail.wants_a_person() && detail.proposal.decided_at.is_some() {
        return "agreed, not in force".to_owned();
    }
    match detail.is_unanswered {
        true => format!("{state}, cannot be answered"),
        false => state.to_string(),
    }
}

fn of_all(proposal: &CertificateProposal, text: impl Fn(&model::ProposedCertificate) -> String) -> String {
    proposal.certificates.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn words(usages: &[CertificateUsage]) -> String {
    usages.iter().map(|usage| usage.as_str()).collect::<Vec<_>>().join(", ")
}

/// `cert accept`
pub(in crate::commands) async fn accept(
    settings: &Settings,
    wanted: DecideProposal,
    output: Output,
) -> Result<ExitCode> {
    let request = DecideCertificates { id: wanted.id, reason: wanted.reason };
    let operation = |control: Control, caller: Caller| async move {
        control.accept_certificates(&caller, &request).await
    };
    let accepted = beside(settings, operation).await?;
    if output == Output::Json {
        write::json(&as_json(&accepted)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let partner = &accepted.proposal.partner;
    match (&accepted.to_write, accepted.revision) {
        (Some(text), _) => {
            write::note(format_args!(
                "accepted; partner {partner} comes from a directory: write this there, and the partner is answered once it is in force"
            ));
            write::line(text)?;
        }
        (None, Some(revision)) => write::line(format_args!(
            "accepted: revision {revision} has the certificates; partner {partner} is answered once it is in force"
        ))?,
        (None, None) => {
            write::line(format_args!(
                "accepted; nothing changes in the definitions; partner {partner} is answered"
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `cert reject`
pub(in crate::commands) async fn reject(
    settings: &Settings,
    wanted: DecideProposal,
    output: Output,
) -> Result<ExitCode> {
    let request = DecideCertificates { id: wanted.id, reason: wanted.reason };
    let operation = |control: Control, caller: Caller| async move {
        control.reject_certificates(&caller, &request).await
    };
    let rejected = beside(settings, operation).await?;
    match output {
        Output::Json => write::json(&as_json(&rejected)?)?,
        Output::Text => {
            write::line(format_args!(
                "rejected: nothing of it is used; partner {} is answered",
                rejected.partner
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// `cert announce`
pub(in crate::commands) async fn announce(
    settings: &Settings,
    wanted: AnnounceCertificate,
    output: Output,
) -> Result<ExitCode> {
    let request = control::AnnounceCertificate {
        transport: transport_as2::SPEC.name.to_owned(),
        key: wanted.key,
        partner: wanted.partner,
        endpoint: wanted.endpoint,
        usages: wanted.usage,
        respond_by: wanted.respond_by,
        response_url: wanted.response_url,
    };
    let operation = |control: Control, caller: Caller| async move {
        let definitions = control.usable_definitions().await?;
        control.announce_certificate(&caller, &definitions, &request).await
    };
    let announced = beside(settings, operation).await?;
    match output {
        Output::Json => write::json(&as_json(&announced)?)?,
        Output::Text => write::line(format_args!(
            "the certificate of key {} is announced to partner {}: a running gateway sends it to endpoint {}, and again \
             until the partner answers or until {}; `waybill cert proposals` shows the answer",
            announced.key,
            announced.partner,
            announced.endpoint,
            write::time(announced.respond_by)
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}
