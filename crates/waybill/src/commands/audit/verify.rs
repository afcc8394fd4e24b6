//! `waybill audit verify` and `audit export-seals`: the proof, and the copy that makes it whole.

use super::timestamps::Stamps;
use crate::cli::{Output, Verify};
use crate::commands::{FOUND_WRONG, write};
use crate::gateway::open_command_session;
use crate::process::ClockAndRandom;
use config::Settings;
use model::{Error, ErrorKind, Result};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{CopiedSeal, MarkFile, RowOptions, Timestamped, TrustedKeys, VerifyOptions};

/// Longest line of exported seals, in bytes; a seal has a few hundred, its time stamp up to 128 KiB.
const LONGEST_LINE: u64 = 256 << 10;
/// Lines of copies that are named because they are no whole seals.
const TORN: usize = 100;

/// Writes the seals from a number on, a line each.
pub(crate) async fn export_seals(settings: &Settings, from: i64) -> Result<ExitCode> {
    let store = open_command_session(settings, &ClockAndRandom::default()).await?;
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
                .advice("give the public half of the node's seal key (seal.key.pub) with --trust"));
        }
        Err(_) => {}
    }
    for path in trust {
        let pem = std::fs::read(path).map_err(|error| failed(path, error))?;
        trusted.add_pem(&pem).map_err(|error| error.with("path", path.display()))?;
    }
    Ok(trusted)
}

/// The lines of files that hold seals.
#[derive(Default)]
struct Copied {
    seals: Vec<CopiedSeal>,
    /// Lines that are no whole seal.
    torn: Vec<String>,
    more_torn: u64,
}

impl Copied {
    /// Reads a file that `audit export-seals` or `audit.seal_file` wrote; the time stamps in it are checked. A line that
    /// a crash or a full disk cut off is passed over, and told.
    fn read(&mut self, path: &Path, stamps: &mut Stamps) -> Result<()> {
        let failed = |error| Error::local_io("read exported seals", error).with("path", path.display());
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let (before, mut torn) = (self.seals.len(), None);
        for number in 1_u64.. {
            let mut line = Vec::new();
            if reader.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let value = serde_json::from_slice::<Value>(&line).ok();
            match value.and_then(|value| Some((CopiedSeal::read(&value)?, token(&value)?))) {
                Some((copied, token)) => {
                    if let Some(token) = token {
                        let (seal, digest) = (copied.seal, Some(copied.digest));
                        stamps.check(&Timestamped { seal, digest, token });
                    }
                    self.seals.push(copied);
                }
                None => {
                    torn = torn.or(Some(number));
                    if self.torn.len() < TORN {
                        self.torn.push(format!("{}, line {number}", path.display()));
                    } else {
                        self.more_torn += 1;
                    }
                }
            }
        }
        match torn {
            Some(line) if self.seals.len() == before => {
                Err(Error::permanent(ErrorKind::ConfigInvalid, "read exported seals")
                    .with("path", path.display())
                    .with("line", line)
                    .advice("each line is one seal, as `audit export-seals` wrote it"))
            }
            _ => Ok(()),
        }
    }
}

/// The time stamp of an exported seal, if it has one; `None` when it cannot be read.
fn token(seal: &Value) -> Option<Option<Vec<u8>>> {
    match &seal["timestamp"] {
        Value::Null => Some(None),
        token => unhex(token.as_str()?).map(Some),
    }
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
    let (mark, unread) = match file.read().await {
        Ok(mark) => (mark, None),
        Err(error) if error.kind() == ErrorKind::IntegrityFailed => (None, Some(error.chain())),
        Err(error) => return Err(error),
    };
    let note_is_unread = unread.is_some();
    if let Some(mark) = &mark {
        mark.trust(&mut trusted)?;
    }
    let mut stamps = Stamps::new(settings, wanted.timestamp_certificates.as_deref())?;
    let mut copied = Copied::default();
    for path in &wanted.seals {
        copied.read(path, &mut stamps)?;
    }
    let store = open_command_session(settings, &ClockAndRandom::default()).await?;
    let noted = mark.as_ref().map(|mark| mark.newest.seal);
    let (expected, copies) = (wanted.expect, copied.seals);
    let options = VerifyOptions { trusted, expected, copies, mark, ..VerifyOptions::default() };
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
    let by_number: Vec<i64> = report.by_number.iter().map(|(seal, _)| *seal).collect();
    match output {
        Output::Json => write::json(&json!({
            "holds": holds, "seals": report.seals, "events": report.events,
            "removed": report.removed, "unsealed": report.unsealed, "findings": findings,
            "noted": noted, "given_up": report.given_up, "given_up_by_number": by_number, "vouched_keys": report.vouched,
            "accepted": report.accepted, "accepted_keys": report.accepted_keys,
            "timestamps": stamps.json(), "torn_lines": copied.torn, "more_torn_lines": copied.more_torn,
            "more_findings": report.more_findings + stamps.more_findings + rows.as_ref().map_or(0, |rows| rows.more_findings),
            "rows": rows.as_ref().map(|rows| json!({
                "compared": rows.rows, "unsealed": rows.unsealed, "retired": rows.retired, "skipped": rows.skipped,
            })),
            "newest": report.newest.map(|(number, digest)| json!({ "seal": number, "digest": digest.to_string() })),
        }))?,
        Output::Text => {
            findings.iter().try_for_each(write::line)?;
            copied.torn.iter().try_for_each(|torn| {
                write::line(format_args!(
                    "warning: {torn}: not a complete seal; skipped (perhaps written during a crash or with \
                    a full disk)"
                ))
            })?;
            if copied.more_torn > 0 {
                write::line(format_args!("warning: {} more lines are not complete seals", copied.more_torn))?;
            }
            let verdict = if trail_holds {
                "the audit trail is as it was sealed"
            } else if report.is_only_unsealed() && !note_is_unread {
                "the audit trail is as it was sealed, but its newest events cannot be sealed"
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
                if !rows.skipped.is_empty() {
                    write::line(format_args!(
                        "not compared: {}, which have no time; leave out --from and --to to compare them",
                        rows.skipped.join(" and ")
                    ))?;
                }
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
                    "not compared with a node's note: {} does not exist",
                    file.path().display()
                ))?,
            }
            if report.given_up > 0 {
                write::line(format_args!(
                    "{} seals were discarded when a restored database was accepted, as a signed record shows",
                    report.given_up
                ))?;
            }
            report.by_number.iter().try_for_each(|(seal, accepted)| {
                write::line(format_args!(
                    "warning: by its number, seal {seal} (--expect) is one of those discarded at {}. If it \
                    was created later, the end of the trail was removed: compare with a copy of the seals \
                    (--seals)",
                    accepted.format("%Y-%m-%d %H:%M:%SZ")
                ))
            })?;
            if report.accepted > 0 {
                write::line(format_args!(
                    "{} seals and records are signed with unknown keys ({}), which were accepted in a \
                    signed record: nothing proves that one of your nodes created them",
                    report.accepted,
                    report.accepted_keys.join(", ")
                ))?;
            }
            if report.is_behind_note() {
                write::line(
                    "if you restored an older backup of the database on purpose, run `waybill audit \
                    accept-restored --reason TEXT`",
                )?;
            }
            if let Some((number, digest)) = report.newest {
                write::line(format_args!(
                    "newest seal: {number}:{digest} (write it down elsewhere: `audit verify --expect` can \
                    show later that no newer part of the trail was removed)"
                ))?;
            }
        }
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}
