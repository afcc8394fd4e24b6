//! `waybill audit verify` and `audit export-seals`: the proof, and the copy that makes it whole.

use super::timestamps::Stamps;
use crate::cli::values::sha256;
use crate::cli::{Output, Verify};
use crate::commands::{FOUND_WRONG, write};
use crate::gateway::open_guest;
use crate::process::Ambient;
use config::Settings;
use model::{Error, ErrorKind, Result, Sha256};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{MarkFile, RowOptions, Timestamped, TrustedKeys, VerifyOptions};

/// Longest line of exported seals, in bytes; a seal has a few hundred, its time stamp up to 128 KiB.
const LONGEST_LINE: u64 = 256 << 10;

/// Writes the seals from a number on, a line each.
pub(crate) async fn export_seals(settings: &Settings, from: i64) -> Result<ExitCode> {
    let store = open_guest(settings, &Ambient::default()).await?;
    let written = store.export_seals(from, write::line).await;
    store.close().await;
    written.map(|_| ExitCode::SUCCESS)
}

/// The keys whose seals are believed. Reads alone: a key made here would prove nothing.
fn trusted(settings: &Settings, trust: &[PathBuf]) -> Result<TrustedKeys> {
    let mut trusted = TrustedKeys::new();
    let own = settings.state_directory.join("seal.key.pub");
    let failed =
        |path: &Path, error| Error::local_io("read a public key", error).with("path", path.display());
    match std::fs::read(&own) {
        Ok(pem) => drop(trusted.add_pem(&pem).map_err(|error| error.with("path", own.display()))?),
        Err(error) if error.kind() != IoErrorKind::NotFound => return Err(failed(&own, error)),
        Err(_) if trust.is_empty() => {
            return Err(Error::permanent(ErrorKind::NotFound, "find a key to verify with")
                .with("path", own.display())
                .advice("name the public half of the node's seal key (seal.key.pub) with --trust"));
        }
        Err(_) => {}
    }
    for path in trust {
        let pem = std::fs::read(path).map_err(|error| failed(path, error))?;
        trusted.add_pem(&pem).map_err(|error| error.with("path", path.display()))?;
    }
    Ok(trusted)
}

/// Number and digest of each seal in a file that `audit export-seals` wrote; their time stamps are checked.
fn exported(path: &Path, stamps: &mut Stamps) -> Result<Vec<(i64, Sha256)>> {
    let failed = |error| Error::local_io("read exported seals", error).with("path", path.display());
    let mut reader = BufReader::new(File::open(path).map_err(failed)?);
    let mut seals = Vec::new();
    for number in 1_u64.. {
        let mut line = Vec::new();
        if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
            break;
        }
        let seal = serde_json::from_slice::<Value>(&line).ok();
        let seal = seal.and_then(|seal| {
            let token = match &seal["timestamp"] {
                Value::Null => None,
                token => Some(unhex(token.as_str()?)?),
            };
            Some((seal["seq"].as_i64()?, sha256(seal["digest"].as_str()?)?, token))
        });
        let (seal, digest, token) = seal.ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "read exported seals")
                .with("path", path.display())
                .with("line", number)
                .advice("each line is one seal, as `audit export-seals` wrote it")
        })?;
        if let Some(token) = token {
            stamps.check(&Timestamped { seal, digest: Some(digest), token });
        }
        seals.push((seal, digest));
    }
    Ok(seals)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let bytes = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    bytes.collect()
}

pub(crate) async fn verify(settings: &Settings, wanted: Verify, output: Output) -> Result<ExitCode> {
    let mut trusted = trusted(settings, &wanted.trust)?;
    // Noted outside the database: it is used without being asked for.
    let file = MarkFile::within(&settings.state_directory);
    let (mark, unread) = match file.read() {
        Ok(mark) => (mark, None),
        Err(error) if error.kind() == ErrorKind::IntegrityFailed => (None, Some(error.chain())),
        Err(error) => return Err(error),
    };
    let note_is_unread = unread.is_some();
    if let Some(mark) = &mark {
        mark.trust(&mut trusted)?;
    }
    let mut stamps = Stamps::new(settings, wanted.timestamp_certificates.as_deref())?;
    let mut expected = wanted.expect;
    for path in &wanted.seals {
        expected.append(&mut exported(path, &mut stamps)?);
    }
    let store = open_guest(settings, &Ambient::default()).await?;
    let noted = mark.as_ref().map(|mark| mark.newest.seal);
    let options = VerifyOptions { trusted, expected, mark, ..VerifyOptions::default() };
    let mut told = 0;
    let report = store
        .verify_audit(&options, |report| {
            // Long work shows progress, on standard error, so that results can be piped.
            if output == Output::Text && report.events >= told + 100_000 {
                told = report.events;
                write::note(format_args!("{} events in {} seals …", report.events, report.seals));
            }
        })
        .await;
    let rows = match (&report, wanted.records) {
        (Ok(_), true) => {
            let of = RowOptions { from: wanted.span.from, to: wanted.span.to };
            let mut told = 0;
            let rows = store.verify_rows(&of, &options, |rows| {
                if output == Output::Text && rows.compared() >= told + 100_000 {
                    told = rows.compared();
                    eprintln!("{told} rows …");
                }
            });
            Some(rows.await)
        }
        _ => None,
    };
    let stamped = stamps.check_all(&store).await;
    store.close().await;
    stamped?;
    let (report, rows) = (report?, rows.transpose()?);
    let of_rows = rows.iter().flat_map(|rows| rows.findings.iter().map(ToString::to_string));
    let findings: Vec<String> = unread
        .into_iter()
        .chain(report.findings.iter().map(ToString::to_string))
        .chain(of_rows)
        .chain(stamps.findings.iter().cloned())
        .collect();
    let holds = findings.is_empty();
    let trail_holds = report.holds() && !note_is_unread;
    match output {
        Output::Json => write::json(&json!({
            "holds": holds, "seals": report.seals, "events": report.events,
            "removed": report.removed, "unsealed": report.unsealed, "findings": findings,
            "noted": noted, "given_up": report.given_up, "vouched_keys": report.vouched,
            "timestamps": stamps.json(),
            "more_findings": report.more_findings + stamps.more_findings + rows.as_ref().map_or(0, |rows| rows.more_findings),
            "rows": rows.as_ref().map(|rows| json!({
                "compared": rows.rows, "unsealed": rows.unsealed, "retired": rows.retired,
            })),
            "newest": report.newest.map(|(number, digest)| json!({ "seal": number, "digest": digest.to_string() })),
        }))?,
        Output::Text => {
            findings.iter().try_for_each(write::line)?;
            let verdict = if trail_holds {
                "the audit trail is as it was sealed"
            } else {
                "the audit trail was changed"
            };
            write::line(format_args!(
                "{verdict}: {} events under {} seals, {} not sealed yet, {} removed by retention",
                report.events, report.seals, report.unsealed, report.removed
            ))?;
            if let Some(rows) = &rows {
                let verdict = if rows.holds() { "the rows agree" } else { "rows do not agree" };
                write::line(format_args!(
                    "{verdict} with their events: {} compared, {} of them with events not sealed yet, {} whose \
                     events were removed by retention",
                    rows.compared(),
                    rows.unsealed,
                    rows.retired
                ))?;
            }
            if let Some(line) = stamps.line() {
                write::line(line)?;
            }
            match noted {
                Some(seal) => write::line(format_args!(
                    "compared with seal {seal}, noted in {}",
                    file.path().display()
                ))?,
                None => write::line(format_args!(
                    "compared with no note of a node: there is no {}",
                    file.path().display()
                ))?,
            }
            if report.given_up > 0 {
                write::line(format_args!(
                    "{} seals were given up when a restored database was accepted, by signed record",
                    report.given_up
                ))?;
            }
            if report.is_behind_note() {
                write::line(
                    "if an older backup of the database was restored on purpose: \
                     `waybill audit accept-restored --reason TEXT`",
                )?;
            }
            if let Some((number, digest)) = report.newest {
                write::line(format_args!(
                    "newest seal: {number}:{digest} (keep it elsewhere: `audit verify --expect` proves later that nothing was cut off)"
                ))?;
            }
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}
