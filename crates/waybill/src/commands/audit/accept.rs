//! `waybill audit accept-restored` and `audit trust`: what a person vouches for, on signed record.

use crate::cli::Output;
use crate::commands::write;
use crate::gateway::{open_command_session, open_sealer};
use crate::process::{ClockAndRandom, person};
use config::Settings;
use model::{Error, ErrorKind, Result};
use serde_json::json;
use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;
use store::Sealer;

/// Longest file that is read as a key, in bytes.
const LONGEST_KEY: u64 = 4096;

/// The node's own sealing: only where it has run before, as a key made now would prove nothing.
fn sealer(settings: &Settings, ambient: &ClockAndRandom) -> Result<Sealer> {
    let key = settings.state_directory.join("seal.key");
    if !key.exists() {
        return Err(Error::permanent(ErrorKind::NotFound, "find this node's seal key")
            .with("path", key.display())
            .advice("run this command on the node, with its settings (--config) and as its user"));
    }
    open_sealer(settings, ambient)
}

pub(crate) async fn accept(settings: &Settings, reason: &str, output: Output) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    if reason.trim().is_empty() {
        return Err(Error::permanent(ErrorKind::ConfigInvalid, "accept the audit trail as it is")
            .advice("write in --reason which backup was restored and why; the reason is recorded"));
    }
    let sealer = sealer(settings, &ambient)?;
    let store = open_command_session(settings, &ambient).await?;
    let accepted = sealer.accept(&store, reason, person(), ambient.clock.now()).await;
    store.close().await;
    let (known, found, keys) = accepted?;
    match output {
        Output::Json => write::json(&json!({
            "known": { "seal": known.seal, "digest": known.digest.to_string() },
            "found": { "seal": found.seal, "digest": found.digest.to_string() },
            "unknown_keys": keys,
        }))?,
        Output::Text => {
            write::line(format_args!(
                "accepted and recorded: the trail continues after seal {}; this node had noted seal {}:{}",
                found.seal, known.seal, known.digest
            ))?;
            if !keys.is_empty() {
                write::line(format_args!(
                    "seals up to that one with unknown keys were accepted without proof: {}",
                    keys.join(", ")
                ))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn trust(settings: &Settings, key: &Path, output: Output) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let failed = |error| Error::local_io("read a public key", error).with("path", key.display());
    let mut pem = String::new();
    let file = std::fs::File::open(key).map_err(failed)?;
    file.take(LONGEST_KEY).read_to_string(&mut pem).map_err(failed)?;
    let sealer = sealer(settings, &ambient)?;
    let store = open_command_session(settings, &ambient).await?;
    let trusted = sealer.trust_key(&store, &pem, person(), ambient.clock.now()).await;
    store.close().await;
    let id = trusted.map_err(|error| error.with("path", key.display()))?;
    match output {
        Output::Json => write::json(&json!({ "key": id }))?,
        Output::Text => write::line(format_args!("key {id} is trusted from now on; this was recorded"))?,
    }
    Ok(ExitCode::SUCCESS)
}
