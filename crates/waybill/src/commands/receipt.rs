//! `waybill transfer receipt`: saves the bytes of an MDN, so that its signature can be checked.

use super::write;
use crate::cli::{MdnKind, TransferReceipt};
use crate::gateway::open_command_session;
use crate::process::ClockAndRandom;
use config::Settings;
use model::{Error, ErrorKind, Result, TransferId};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use store::{KeptMdn, Store, WhichMdn};

pub(crate) async fn receipt(settings: &Settings, wanted: TransferReceipt) -> Result<ExitCode> {
    let store = open_command_session(settings, &ClockAndRandom::default()).await?;
    let found = find(&store, &wanted).await;
    store.close().await;
    let entity = found?;
    match &wanted.out {
        Some(file) => write_new(file, &entity)?,
        None => write::bytes(&entity)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The one MDN that was asked for.
async fn find(store: &Store, wanted: &TransferReceipt) -> Result<Vec<u8>> {
    let id = wanted.id;
    let mut kept = store.mdns(id).await?;
    kept.retain(|one| wanted.which.is_none_or(|kind| kind.is(one.which)));
    kept.retain(|one| wanted.delivery.is_none_or(|delivery| one.which.delivery() == Some(delivery)));
    let which = match kept.as_slice() {
        [one] => one.which,
        [] if store.transfer(id).await?.is_none() => return Err(super::unknown_name::transfer(id)),
        [] => return Err(none(id)),
        several => {
            let each: Vec<String> = several.iter().map(|one| command(id, one)).collect();
            return Err(Error::permanent(ErrorKind::Rejected, "choose one of several MDNs")
                .with("transfer", id)
                .advice(format!("say which:\n{}", each.join("\n"))));
        }
    };
    // Its bytes may have gone at the end of their retention since.
    store.mdn(id, which).await?.ok_or_else(|| none(id))
}

fn none(id: TransferId) -> Error {
    Error::permanent(ErrorKind::NotFound, "find an MDN").with("transfer", id).advice(
        "no MDN is stored for your options: the partner sent none, or the sender asked for none; `waybill \
        transfer show` lists the receipts",
    )
}

/// The command that writes an MDN.
pub(super) fn command(id: TransferId, kept: &KeptMdn) -> String {
    let delivery =
        kept.which.delivery().map(|delivery| format!(" --delivery {delivery}")).unwrap_or_default();
    format!("waybill transfer receipt {id} --which {}{delivery}", kept.which.as_str())
}

impl MdnKind {
    fn is(self, which: WhichMdn) -> bool {
        matches!(
            (self, which),
            (Self::Accepted, WhichMdn::Accepted(_))
                | (Self::NotAccepted, WhichMdn::NotAccepted(_))
                | (Self::Contradicted, WhichMdn::Contradicted(_))
                | (Self::Sent, WhichMdn::Sent)
        )
    }
}

/// Writes a file that was not there before; nothing is left of one that could not be written.
fn write_new(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| {
        let there = error.kind() == std::io::ErrorKind::AlreadyExists;
        let error = Error::local_io("write the MDN", error).with("path", path.display());
        if there { error.advice("choose another file with --out, or remove this one first") } else { error }
    };
    let mut file = File::create_new(path).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(|error| {
        drop(fs::remove_file(path));
        failed(error)
    })
}
