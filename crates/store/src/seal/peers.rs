//! The public keys of the nodes that share a staging directory.
//!
//! Each node puts the public half of its seal key there, and so learns the others'. The directory is the
//! nodes' own and no part of the database: a hand that can only write the database cannot pass a key of its
//! own off as a node's.

use super::{SealKey, TrustedKeys};
use crate::whole_file::place;
use model::{Error, Result};
use std::collections::BTreeMap;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::path::{Path, PathBuf};

/// Most keys that are read.
const KEYS: usize = 1000;
/// Longest file that is read, in bytes; a public key has 113.
const LONGEST: u64 = 4096;

/// The directory with the keys.
#[derive(Clone, Debug)]
pub(crate) struct PeerKeys(PathBuf);

impl PeerKeys {
    /// `seal-keys` in the directory that all nodes share.
    pub(crate) fn within(shared: &Path) -> Self {
        Self(shared.join("seal-keys"))
    }

    /// Puts a node's key there.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub(crate) fn publish(&self, key: &SealKey) -> Result<()> {
        let path = self.0.join(format!("{}.pub", key.id()));
        let failed = |error| {
            Error::local_io("show the other nodes this node's seal key", error).with("path", path.display())
        };
        std::fs::create_dir_all(&self.0).map_err(failed)?;
        if std::fs::read(&path).ok().as_deref() == Some(key.public_pem().as_bytes()) {
            return Ok(());
        }
        place(&path, key.public_pem().as_bytes(), 0o644, true).map_err(failed)
    }

    /// All keys that lie there, by id; what is no key is passed over with a warning.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn read(&self) -> Result<BTreeMap<String, String>> {
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
            let mut pem = String::new();
            let read =
                std::fs::File::open(&path).and_then(|file| file.take(LONGEST).read_to_string(&mut pem));
            match read.map_err(failed).and_then(|_| TrustedKeys::id_of_pem(pem.as_bytes())) {
                Ok(id) => drop(keys.insert(id, pem)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = error.chain(), "this is no node's seal key");
                }
            }
        }
        Ok(keys)
    }
}
