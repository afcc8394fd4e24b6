//! `waybill transfer evidence`: saves all that proves one message in a file.

use super::{operation, unknown_name, write};
use crate::cli::{Output, TransferEvidence};
use crate::gateway::open_staging;
use config::Settings;
use control::{EvidencePackage, ExportEvidence, PackageFile};
use engine::StagedPayloads;
use model::{Error, ErrorKind, EvidenceId, Result, TransferId};
use serde_json::json;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use store::{EvidenceView, Store};

pub(crate) async fn save(settings: &Settings, wanted: TransferEvidence, output: Output) -> Result<ExitCode> {
    let (path, files) = operation::beside_store(settings, async |store, control, caller| {
        let evidence = find(&store, &wanted).await?;
        let payloads = StagedPayloads::new(open_staging(settings, &store).await?);
        let package = control.export_evidence(&caller, &payloads, &ExportEvidence { evidence }).await?;
        let path = wanted.out.clone().unwrap_or_else(|| PathBuf::from(package.file_name()));
        let to = path.clone();
        let written = tokio::task::spawn_blocking(move || write_new(&to, &package)).await;
        let files = written.map_err(|error| {
            Error::permanent(ErrorKind::Internal, "write an evidence package").caused_by(error)
        })??;
        Ok((path, files))
    })
    .await?;
    tell(&path, &files, output)?;
    Ok(ExitCode::SUCCESS)
}

fn tell(path: &Path, files: &[PackageFile], output: Output) -> Result<()> {
    match output {
        Output::Json => {
            let file = |file: &PackageFile| json!({ "path": file.path, "bytes": file.bytes, "sha256": file.sha256.to_string() });
            write::json(
                &json!({ "file": path.display().to_string(), "holds": files.iter().map(file).collect::<Vec<_>>() }),
            )
        }
        Output::Text => {
            for file in files {
                write::line(format_args!("  {}, {} bytes", file.path, file.bytes))?;
            }
            write::line(format_args!("{} was saved; check it with `waybill as2 verify {0}`", path.display()))
        }
    }
}

/// The one evidence that was asked for.
async fn find(store: &Store, wanted: &TransferEvidence) -> Result<EvidenceId> {
    let id = wanted.id;
    let mut kept = store.evidence_of(id).await?;
    kept.retain(|one| wanted.evidence.is_none_or(|evidence| one.id == evidence));
    kept.retain(|one| wanted.delivery.is_none_or(|delivery| one.delivery == Some(delivery)));
    match kept.as_slice() {
        [one] => Ok(one.id),
        [] if store.transfer(id).await?.is_none() => Err(unknown_name::transfer(id)),
        [] => Err(Error::permanent(ErrorKind::NotFound, "find the evidence of a message")
            .with("transfer", id)
            .advice(
                "nothing is kept for your options: the file did not come or go by AS2, it was not delivered yet, or \
                evidence.retention of the partner is \"0s\"",
            )),
        several => {
            let each: Vec<String> = several.iter().map(|one| command(id, one)).collect();
            Err(Error::permanent(ErrorKind::Rejected, "choose the evidence of one of several messages")
                .with("transfer", id)
                .advice(format!("say which:\n{}", each.join("\n"))))
        }
    }
}

/// The command that saves an evidence.
pub(super) fn command(id: TransferId, kept: &EvidenceView) -> String {
    format!("waybill transfer evidence {id} --evidence {}", kept.id)
}

/// Writes a file that was not there before; nothing is left of one that could not be written.
fn write_new(path: &Path, package: &EvidencePackage) -> Result<Vec<PackageFile>> {
    let failed = |error: std::io::Error| {
        let there = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::local_io("write an evidence package", error).with("path", path.display());
        if there { error.advice("choose another file with --out, or remove this one first") } else { error }
    };
    let mut file = BufWriter::new(File::create_new(path).map_err(failed)?);
    let written =
        package.write(&mut file).map_err(|error| error.with("path", path.display())).and_then(|files| {
            file.flush().and_then(|()| file.get_ref().sync_all()).map(|()| files).map_err(failed)
        });
    if written.is_err() {
        drop(fs::remove_file(path));
    }
    written
}
