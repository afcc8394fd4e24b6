//! `cert show`: certificates that are defined, or those of a file, and what uses them.

use super::super::operation::{as_json, with_control};
use super::passphrase::Passphrase;
use super::read::{Contents, contents};
use super::write;
use crate::cli::{Output, ShowCertificate};
use crate::command_session::open_or_make;
use crate::gateway::missing_database;
use crate::process::ClockAndRandom;
use config::{CertificateFacts, Settings};
use control::{CertificateList, ListCertificates};
use model::{Result, Timestamp};
use serde_json::json;
use std::path::Path;
use std::process::ExitCode;

pub(in crate::commands) async fn show(
    settings: &Settings,
    wanted: ShowCertificate,
    output: Output,
) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let now = ambient.clock.now();
    let which = wanted.which.as_deref();
    if let Some(file) = which.map(Path::new).filter(|path| is_file(path)) {
        let passphrase = Passphrase::new(wanted.passphrase_file.as_deref(), "--passphrase-file");
        let found = contents(file, &passphrase)?;
        return show_file(settings, &wanted, &found, now, output).await;
    }
    let list = defined(settings, &wanted, &ambient).await?;
    list.problems.iter().for_each(write::note);
    match (which, output) {
        (None, Output::Json) => write::json(&as_json(&list.certificates)?)?,
        (None, Output::Text) => table(&list, now)?,
        (Some(name), Output::Json) => write::json(&as_json(&list.find(name)?)?)?,
        (Some(name), Output::Text) => {
            let found = list.find(name)?;
            let many = found.len() > 1;
            for (at, one) in found.into_iter().enumerate() {
                let holder = one.holder();
                let title = if many { format!("{holder} ({})", one.position + 1) } else { holder };
                let uses: Vec<String> = one.used_by.iter().map(ToString::to_string).collect();
                card(at, &title, &one.facts, &uses, now)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether a word is the path of a file: a definition's name has no slash.
fn is_file(path: &Path) -> bool {
    path.is_file() || path.as_os_str().as_encoded_bytes().contains(&b'/')
}

async fn defined(
    settings: &Settings,
    wanted: &ShowCertificate,
    ambient: &ClockAndRandom,
) -> Result<CertificateList> {
    let store = open_or_make(settings, ambient).await?;
    let request = ListCertificates { directory: wanted.definitions.clone() };
    let operation =
        |control: control::Control, caller| async move { control.certificates(&caller, &request).await };
    with_control(settings, store, ambient, operation).await
}

/// The certificates of a file, and which definitions hold the same ones.
async fn show_file(
    settings: &Settings,
    wanted: &ShowCertificate,
    found: &Contents,
    now: Timestamp,
    output: Output,
) -> Result<ExitCode> {
    let list = if wanted.definitions.is_none() && missing_database(settings).is_some() {
        // Before the first start nothing uses anything.
        CertificateList::default()
    } else {
        defined(settings, wanted, &ClockAndRandom::default()).await.unwrap_or_else(|error| {
            write::note(format_args!("what uses them is not known: {}", error.chain()));
            CertificateList::default()
        })
    };
    let uses = |facts: &CertificateFacts| -> Vec<String> {
        let same = list.certificates.iter().filter(|one| one.facts.sha256 == facts.sha256);
        same.flat_map(|one| std::iter::once(one.holder()).chain(one.used_by.iter().map(ToString::to_string)))
            .collect()
    };
    let facts: Vec<_> = found.certificates.iter().map(|one| CertificateFacts::of(one)).collect();
    if output == Output::Json {
        let certificates: Vec<_> =
            facts.iter().map(|facts| json!({ "certificate": facts, "used_by": uses(facts) })).collect();
        write::json(&json!({ "private_key": found.key.is_some(), "certificates": certificates }))?;
        return Ok(ExitCode::SUCCESS);
    }
    for (at, facts) in facts.iter().enumerate() {
        card(at, &format!("{}", at + 1), facts, &uses(facts), now)?;
    }
    if let Some(key) = &found.key {
        write::line(format_args!("{:<15}{}", "private key", config::key_name(key)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn table(list: &CertificateList, now: Timestamp) -> Result<()> {
    if list.certificates.is_empty() {
        write::line("no certificates")?;
    }
    // Authorities of keys are shown with their key.
    let rows = list.certificates.iter().filter(|one| one.position == 0).map(|one| {
        let uses: Vec<String> = one.used_by.iter().map(ToString::to_string).collect();
        vec![
            one.holder(),
            one.facts.key.clone(),
            ends(&one.facts, now),
            one.facts.subject.clone(),
            if uses.is_empty() { "-".to_owned() } else { uses.join(", ") },
        ]
    });
    write::Columns::new(&["CERTIFICATE", "KEY", "VALID UNTIL", "SUBJECT", "USED BY"]).write(rows.collect())
}

fn card(at: usize, title: &str, facts: &CertificateFacts, uses: &[String], now: Timestamp) -> Result<()> {
    if at > 0 {
        write::line("")?;
    }
    let issuer = if facts.self_signed { "itself".to_owned() } else { facts.issuer.clone() };
    let or_dash = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(", ") };
    let allowed = if facts.uses.is_empty() { "any".to_owned() } else { facts.uses.join(", ") };
    for (what, value) in [
        ("certificate", title.to_owned()),
        ("subject", facts.subject.clone()),
        ("other names", or_dash(&facts.names)),
        ("issuer", issuer),
        ("serial", facts.serial.clone()),
        ("valid from", write::time(facts.not_before)),
        ("valid until", ends(facts, now)),
        ("key", facts.key.clone()),
        ("key may", allowed),
        ("signature", facts.signature.clone()),
        ("SHA-256", facts.sha256.clone()),
        ("SHA-1", facts.sha1.clone()),
        ("used by", or_dash(uses)),
    ] {
        write::line(format_args!("{what:<15}{value}"))?;
    }
    Ok(())
}

/// The end of a certificate's validity, and how far it is.
fn ends(facts: &CertificateFacts, now: Timestamp) -> String {
    let until = write::time(facts.not_after);
    match (facts.not_after - now).num_days() {
        _ if facts.not_after < now => format!("{until} (expired)"),
        _ if facts.not_before > now => format!("{until} (not valid yet)"),
        1 => format!("{until} (in 1 day)"),
        days => format!("{until} (in {days} days)"),
    }
}
