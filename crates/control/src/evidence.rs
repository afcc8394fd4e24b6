//! Evidence packages: all that proves one message, in one file that can be checked offline.

mod crlf;
mod package;

pub use crlf::CrlfReader;
pub use package::{
    CANONICAL, CONTENT, EVENTS, EvidencePackage, MANIFEST, PackageFile, README, RECEIPT_BYTES, RECEIPT_FILE,
    RECEIPT_PGP_SIGNATURE, RECEIPT_SIGNATURE, ReceiptParts, SEALS, covered_files, path_of, receipt_parts,
};

use crate::{Caller, Control};
use engine::StagedPayloads;
use model::{Error, ErrorKind, EventKind, EvidenceId, Permission, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Longest file that is read as a public key, in bytes.
const LONGEST_KEY: u64 = 4096;
/// The most keys of nodes that are looked at.
const KEYS: usize = 1000;

/// Evidence to be saved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExportEvidence {
    /// Which.
    pub evidence: EvidenceId,
}

impl Control {
    /// Puts together all that proves one message; [`EvidencePackage::write`] writes it. That somebody saved it is recorded.
    ///
    /// # Errors
    /// The caller may not save evidence; there is none of this id, or it was removed at the end of its retention; the
    /// database failed.
    pub async fn export_evidence(
        &self,
        caller: &Caller,
        payloads: &StagedPayloads,
        request: &ExportEvidence,
    ) -> Result<EvidencePackage> {
        const OPERATION: &str = "save the evidence of a message";
        caller.require(Permission::ExportEvidence)?;
        let store = &self.0.store;
        let unknown = || Error::permanent(ErrorKind::NotFound, OPERATION).with("evidence", request.evidence);
        let evidence = store.evidence(request.evidence).await?.ok_or_else(unknown)?;
        if let Some(removed) = evidence.view.removed_at {
            return Err(unknown()
                .with("removed", removed)
                .advice("it was removed at the end of its retention (evidence.retention of the partner)"));
        }
        let of_message = evidence.transfers.iter().map(|transfer| transfer.id);
        // What became of a receipt that was sent later is part of the record.
        let transfers: Vec<_> = of_message.chain(evidence.receipt_transfers.iter().copied()).collect();
        // The other deliveries of a file that went to several partners are theirs to know.
        let sealed = store.sealed_events(&transfers, evidence.view.delivery).await?;
        let wanted: BTreeSet<String> = sealed.seals.values().map(|seal| seal.key_id.clone()).collect();
        let settings = &self.0.settings;
        let directories = [settings.state_directory.clone(), settings.staging.directory.join("seal-keys")];
        let keys = tokio::task::spawn_blocking(move || seal_keys(&directories, &wanted))
            .await
            .map_err(|error| Error::transient(ErrorKind::Internal, OPERATION).caused_by(error))?;
        let message_id = evidence.view.about.get("message_id").and_then(|id| id.as_str());
        let mut event = self
            .event(EventKind::EvidenceExported)
            .by(caller.actor.clone())
            .transfer(evidence.view.transfer)
            .detail("evidence", request.evidence.to_string())
            .detail("message_id", message_id);
        event.delivery = evidence.view.delivery;
        store.append_events(vec![event]).await?;
        Ok(EvidencePackage::new(evidence, sealed, keys, payloads.clone(), (self.0.now)()))
    }
}

/// The public keys with these ids among the `.pub` files of directories, PEM by id. A directory that cannot be read has
/// none: the package says which key is missing.
fn seal_keys(directories: &[PathBuf], wanted: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(directory) else { continue };
        for path in entries.take(KEYS).filter_map(|entry| Some(entry.ok()?.path())) {
            if path.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            let small = path.metadata().is_ok_and(|file| file.is_file() && file.len() <= LONGEST_KEY);
            let pem = if small { std::fs::read(&path).ok() } else { None };
            let Some(pem) = pem.and_then(|pem| String::from_utf8(pem).ok()) else { continue };
            if let Ok(id) = store::TrustedKeys::id_of_pem(pem.as_bytes())
                && wanted.contains(&id)
            {
                keys.insert(id, pem);
            }
        }
    }
    keys
}
