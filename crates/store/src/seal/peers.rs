//! The public keys of the nodes that share a staging directory.
//!
//! Each node writes its public seal key there, and reads the others'. The directory is not part of the database: a
//! person who can only write to the database cannot add a key as a node's.

use super::{SealKey, TrustedKeys};
use crate::slow_disk::{SlowDisk, read_regular};
use crate::whole_file::place;
use model::{Error, Result};
use std::collections::BTreeMap;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

/// Most keys that are read.
const KEYS: usize = 1000;
/// Longest file that is read, in bytes; a public key has 113.
const LONGEST: u64 = 4096;

/// The directory with the keys. It may be on another machine, and not answer.
#[derive(Clone, Debug)]
pub(crate) struct PeerKeys {
    directory: PathBuf,
    disk: SlowDisk,
}

impl PeerKeys {
    /// `seal-keys` in the directory that all nodes share.
    pub(crate) fn within(shared: &Path) -> Self {
        Self { directory: shared.join("seal-keys"), disk: SlowDisk::default() }
    }

    /// Writes a node's key there, and returns all keys in the directory, by id; an invalid key is skipped with a
    /// warning.
    ///
    /// # Errors
    /// The directory cannot be written or read, or does not answer.
    pub(crate) async fn exchange(&self, key: &SealKey) -> Result<BTreeMap<String, String>> {
        let at = Directory(self.directory.clone());
        let (id, pem) = (key.id().to_owned(), key.public_pem().to_owned());
        let work = move || {
            at.publish(&id, &pem)?;
            at.read()
        };
        self.disk.run("exchange the nodes' seal keys", &self.directory, work).await
    }
}

struct Directory(PathBuf);

impl Directory {
    fn publish(&self, id: &str, pem: &str) -> Result<()> {
        let path = self.0.join(format!("{id}.pub"));
        let failed = |error| {
            Error::local_io("publish this node's seal key for the other nodes", error)
                .with("path", path.display())
        };
        // The directory alone, not the staging directory above it: where that is missing, a file system is not mounted.
        match std::fs::create_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.map_err(failed)?,
        }
        if read_regular(&path, LONGEST).ok().as_deref() == Some(pem.as_bytes()) {
            return Ok(());
        }
        place(&path, pem.as_bytes(), 0o644, true).map_err(failed)
    }

    fn read(&self) -> Result<BTreeMap<String, String>> {
        let failed =
            |error| Error::local_io("read the other nodes' seal keys", error).with("path", self.0.display());
        let entries = match std::fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut keys = BTreeMap::new();
        for entry in entries.take(KEYS) {
            let path = entry.map_err(failed)?.path();
            if path.extension().is_none_or(|extension| extension != "pub") {
                continue;
            }
            let read = read_regular(&path, LONGEST).map_err(failed);
            match read.and_then(|pem| Ok((TrustedKeys::id_of_pem(&pem)?, pem))) {
                Ok((id, pem)) => drop(keys.insert(id, String::from_utf8_lossy(&pem).into_owned())),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = error.chain(), "this file is not a seal key of a node");
                }
            }
        }
        Ok(keys)
    }
}
