//! `waybill key generate`: a new master key; `key list|show|export`: the public halves of the keys that are defined.

use super::operation::{as_json, with_control};
use super::write;
use crate::cli::Output;
use crate::command_session::open_or_make;
use crate::process::ClockAndRandom;
use config::Settings;
use control::{Caller, Control, KeyDetail, ListKeys};
use model::definition::PublicKey;
use model::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::process::ExitCode;
use store::MasterKeys;

pub(crate) fn generate() -> Result<ExitCode> {
    let mut key = [0; MasterKeys::LENGTH];
    openssl::rand::rand_bytes(&mut key)
        .map_err(|error| Error::permanent(ErrorKind::Internal, "generate a master key").caused_by(error))?;
    write::line(openssl::base64::encode_block(&key))?;
    Ok(ExitCode::SUCCESS)
}

async fn ask<T, F: Future<Output = Result<T>>>(
    settings: &Settings,
    operation: impl FnOnce(Control, Caller) -> F,
) -> Result<T> {
    // Documents can be looked at before the first start.
    let ambient = ClockAndRandom::default();
    let store = open_or_make(settings, &ambient).await?;
    with_control(settings, store, &ambient, operation).await
}

async fn find(settings: &Settings, name: String, directory: Option<PathBuf>) -> Result<KeyDetail> {
    let request = ListKeys { directory };
    ask(settings, |control, caller| async move { control.key(&caller, &request, &name).await }).await
}

pub(crate) async fn list(
    settings: &Settings,
    directory: Option<PathBuf>,
    output: Output,
) -> Result<ExitCode> {
    let request = ListKeys { directory };
    let keys = ask(settings, |control, caller| async move { control.keys(&caller, &request).await }).await?;
    if output == Output::Json {
        write::json(&as_json(&keys)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    if keys.is_empty() {
        write::line("no keys")?;
    }
    let rows = keys.iter().map(|key| {
        let (algorithm, fingerprint) = match (&key.public, &key.problem) {
            (Some(public), _) => (public.algorithm.clone(), public.fingerprint.clone()),
            (None, Some(problem)) => ("-".to_owned(), problem.clone()),
            (None, None) => ("-".to_owned(), "-".to_owned()),
        };
        vec![key.name.clone(), algorithm, fingerprint, used_by(key)]
    });
    write::Columns::new(&["KEY", "TYPE", "FINGERPRINT", "USED BY"]).write(rows.collect::<Vec<_>>())?;
    Ok(ExitCode::SUCCESS)
}

fn used_by(key: &KeyDetail) -> String {
    if key.used_by.is_empty() { "-".to_owned() } else { key.used_by.join(", ") }
}

pub(crate) async fn show(
    settings: &Settings,
    name: String,
    directory: Option<PathBuf>,
    output: Output,
) -> Result<ExitCode> {
    let key = find(settings, name, directory).await?;
    if output == Output::Json {
        write::json(&as_json(&key)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let public = public(&key)?;
    for (what, value) in [
        ("key", key.name.as_str()),
        ("type", &public.algorithm),
        ("fingerprint", &public.fingerprint),
        ("used by", &used_by(&key)),
        ("authorized_keys", &public.authorized_keys_line(&key.name)),
        ("known_hosts", &public.known_hosts_line("HOST")),
    ] {
        write::line(format_args!("{what:<17}{value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn export(
    settings: &Settings,
    name: String,
    hosts: Option<String>,
    directory: Option<PathBuf>,
) -> Result<ExitCode> {
    if let Some(hosts) = hosts.as_deref().filter(|hosts| !are_hosts(hosts)) {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "write a line of known_hosts")
            .with("host", hosts)
            .advice(
                "give names and addresses, separated by commas, without spaces; with a port as [host]:port",
            ));
    }
    let key = find(settings, name, directory).await?;
    let public = public(&key)?;
    write::line(match hosts {
        Some(hosts) => public.known_hosts_line(&hosts),
        None => public.authorized_keys_line(&key.name),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Whether they may begin a line of `known_hosts`.
fn are_hosts(hosts: &str) -> bool {
    let good = |c: char| c.is_ascii_graphic() && !matches!(c, '#' | '|' | '@' | '"');
    !hosts.is_empty() && hosts.chars().all(good)
}

fn public(key: &KeyDetail) -> Result<&PublicKey> {
    key.public.as_ref().ok_or_else(|| {
        let error =
            Error::permanent(ErrorKind::Unsupported, "show the key in OpenSSH's form").with("key", &key.name);
        match &key.problem {
            Some(problem) => error.caused_by(problem.clone()),
            None => error.advice("no transport of this build logs in with such keys"),
        }
    })
}
