//! `waybill plan`, `apply`, `revisions`, `rollback`, `export`: the definitions and their revisions.

use super::operation::{as_json, beside, with_control};
use super::{FOUND_WRONG, write};
use crate::cli::{DirectoryArgs, Output};
use crate::command_session::open_or_make;
use crate::process::ClockAndRandom;
use config::{ExportedFile, Settings};
use control::{Applied, Apply, ExportRequest, ForgetKey, PlanRequest, RevisionLine, RollBack};
use model::{Error, ErrorKind, Result};
use serde::Serialize;
use serde_json::json;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

/// Exit code of a plan that would change something.
const WOULD_CHANGE: u8 = 3;

fn request(planned: DirectoryArgs) -> PlanRequest {
    let DirectoryArgs { directory, origin, take_over, keep_credentials, reuse_secrets, allow_empty, overlay } =
        planned;
    PlanRequest { directory, origin, take_over, keep_credentials, reuse_secrets, allow_empty, overlay }
}

/// The command that applies what was planned, unless somebody changes something meanwhile.
fn apply_command(request: &PlanRequest, base: i64) -> String {
    let quoted = |text: &str| {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%".contains(c);
        if !text.is_empty() && text.chars().all(is_plain) {
            text.to_owned()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    let mut command = format!("waybill apply {} --base {base}", quoted(&request.directory.to_string_lossy()));
    if let Some(origin) = &request.origin {
        command.push_str(&format!(" --origin {}", quoted(origin)));
    }
    for (given, option) in [
        (request.take_over, " --take-over"),
        (request.keep_credentials, " --keep-credentials"),
        (request.reuse_secrets, " --reuse-secrets"),
        (request.allow_empty, " --allow-empty"),
    ] {
        command.push_str(if given { option } else { "" });
    }
    if let Some(overlay) = &request.overlay {
        command.push_str(&format!(" --overlay {}", quoted(&overlay.to_string_lossy())));
    }
    command
}

fn told(answer: &(impl Display + Serialize), output: Output) -> Result<()> {
    write::as_far_as_read(match output {
        Output::Text => write::line(answer),
        Output::Json => write::json(&as_json(answer)?),
    })
}

pub(crate) async fn plan(settings: &Settings, planned: DirectoryArgs, output: Output) -> Result<ExitCode> {
    let request = request(planned);
    let asked = request.clone();
    // Before the first apply there is nothing to compare with, and perhaps no database yet.
    let ambient = ClockAndRandom::default();
    let store = open_or_make(settings, &ambient).await?;
    let answer = with_control(settings, store, &ambient, |control, caller| async move {
        control.plan(&caller, &asked).await
    });
    let answer = answer.await?;
    told(&answer, output)?;
    if matches!(output, Output::Text) && answer.valid && !answer.plan.is_empty() {
        let base = answer.plan.base;
        write::as_far_as_read(write::line(format_args!(
            "Compared with revision {base}. To apply exactly this:\n{}",
            apply_command(&request, base)
        )))?;
    }
    Ok(match (answer.valid, answer.plan.is_empty()) {
        (false, _) => ExitCode::from(FOUND_WRONG),
        (true, true) => ExitCode::SUCCESS,
        (true, false) => ExitCode::from(WOULD_CHANGE),
    })
}

pub(crate) async fn apply(
    settings: &Settings,
    planned: DirectoryArgs,
    base: Option<i64>,
    output: Output,
) -> Result<ExitCode> {
    let ambient = ClockAndRandom::default();
    let store = open_or_make(settings, &ambient).await?;
    let request = Apply { plan: request(planned), base };
    let applied = with_control(settings, store, &ambient, |control, caller| async move {
        control.apply(&caller, &request).await
    });
    outcome(&applied.await?, output)
}

pub(crate) async fn roll_back(
    settings: &Settings,
    to: i64,
    base: Option<i64>,
    output: Output,
) -> Result<ExitCode> {
    let applied =
        beside(
            settings,
            |control, caller| async move { control.roll_back(&caller, RollBack { to, base }).await },
        );
    outcome(&applied.await?, output)
}

fn outcome(applied: &Applied, output: Output) -> Result<ExitCode> {
    told(applied, output)?;
    Ok(if applied.is_in_force() { ExitCode::SUCCESS } else { ExitCode::from(FOUND_WRONG) })
}

pub(crate) async fn list(settings: &Settings, limit: u32, output: Output) -> Result<ExitCode> {
    let all =
        beside(settings, |control, caller| async move { control.revisions(&caller, None, limit).await });
    let all = all.await?;
    match output {
        Output::Json => write::json(&as_json(&all)?)?,
        Output::Text if all.is_empty() => write::line("no revision yet")?,
        Output::Text => {
            let rows = all.iter().map(row).collect();
            write::Columns::new(&["REVISION", "TIME", "BY", "HOW", "CHANGES"]).write(rows)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn row(line: &RevisionLine) -> Vec<String> {
    vec![
        line.number.to_string(),
        write::time(line.at),
        line.author.clone(),
        line.how.to_owned(),
        line.summary.clone(),
    ]
}

pub(crate) async fn show(settings: &Settings, number: i64, output: Output) -> Result<ExitCode> {
    let shown =
        beside(settings, |control, caller| async move { control.show_revision(&caller, number).await });
    let shown = shown.await?;
    match output {
        Output::Json => write::json(&as_json(&shown)?)?,
        Output::Text => {
            let line = &shown.line;
            let from = line.source.as_ref().map_or_else(String::new, |source| format!(" from {source}"));
            write::line(format_args!(
                "Revision {} of {}, {} by {}{from}",
                line.number,
                write::time(line.at),
                line.how,
                line.author
            ))?;
            write::line(&shown.changes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rotate(settings: &Settings, output: Output) -> Result<ExitCode> {
    let done =
        beside(settings, |control, caller| async move { control.rotate_master_key(&caller).await }).await?;
    match output {
        Output::Json => write::json(&as_json(&done)?)?,
        Output::Text => write::line(format_args!(
            "All stored secrets are encrypted with master key {}; {} of them used another key before.",
            done.key, done.secrets
        ))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn forget(settings: &Settings, key: String, yes: bool, output: Output) -> Result<ExitCode> {
    let request = ForgetKey { key, confirmed: yes };
    let done =
        beside(settings, |control, caller| async move { control.forget_master_key(&caller, &request).await });
    let done = done.await?;
    match output {
        Output::Json => write::json(&as_json(&done)?)?,
        Output::Text => {
            for field in &done.in_force {
                write::line(format_args!("{field}: in force; write it again"))?;
            }
            for field in &done.earlier {
                write::line(format_args!("{field}: in earlier revisions alone"))?;
            }
            let (count, key) = (done.secrets, &done.key);
            write::line(if done.forgotten {
                format!("Master key {key} is forgotten, and {count} secrets with it.")
            } else {
                format!(
                    "{count} secrets are encrypted with master key {key}. With --yes they are removed for good."
                )
            })?;
        }
    }
    Ok(if done.forgotten { ExitCode::SUCCESS } else { ExitCode::from(WOULD_CHANGE) })
}

pub(crate) async fn export(
    settings: &Settings,
    directory: &Path,
    request: ExportRequest,
    output: Output,
) -> Result<ExitCode> {
    refuse_documents(directory)?;
    let files = beside(settings, |control, caller| async move { control.export(&caller, &request).await });
    let files = files.await?;
    std::fs::create_dir_all(directory).map_err(|error| failed(error, directory))?;
    for file in &files {
        place(directory, file)?;
    }
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    match output {
        Output::Json => write::json(&json!({ "directory": directory, "files": names }))?,
        Output::Text => {
            for name in names {
                write::line(directory.join(name).display())?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: std::io::Error, path: &Path) -> Error {
    Error::local_io("export the definitions", error).with("path", path.display())
}

/// What is in the directory already would be read with what is exported.
fn refuse_documents(directory: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error, directory)),
    };
    for entry in entries {
        let path = entry.map_err(|error| failed(error, directory))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            return Err(Error::permanent(ErrorKind::AlreadyExists, "export the definitions")
                .with("path", path.display())
                .advice("choose a directory without *.toml files: export does not overwrite files"));
        }
    }
    Ok(())
}

fn place(directory: &Path, file: &ExportedFile) -> Result<()> {
    let path = directory.join(&file.name);
    if file.name.contains(['/', '\0']) || path.file_name().is_none_or(|name| name != file.name.as_str()) {
        return Err(Error::permanent(ErrorKind::Internal, "export the definitions")
            .with("file", &file.name)
            .advice("the database contains a file name that is not a plain name"));
    }
    let written = std::fs::File::create_new(&path)
        .and_then(|mut out| std::io::Write::write_all(&mut out, file.text.as_bytes()));
    written.map_err(|error| failed(error, &path))
}
