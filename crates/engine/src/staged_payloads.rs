//! Staged payloads, for what reads or makes them besides the engine itself.

use crate::staged::staged;
use model::{PayloadId, PayloadRecord, Result, Sha256};
use staging::Staging;
use std::io::Read;

/// Reads staged payloads, and stages small ones. Cheap to clone.
#[derive(Clone)]
pub struct StagedPayloads(Staging);

impl StagedPayloads {
    /// Of this staging area.
    #[must_use]
    pub fn new(staging: Staging) -> Self {
        Self(staging)
    }

    /// The whole of a payload. The last read fails if the bytes do not have its hash. Blocks.
    ///
    /// # Errors
    /// `NotFound` when its bytes are gone, `Unsupported` when they were never staged.
    pub fn open(&self, payload: &PayloadRecord) -> Result<Box<dyn Read + Send>> {
        Ok(Box::new(self.0.read_verified(&staged(payload)?)?))
    }

    /// Stages a few bytes under a new id, durably; returns their hash. Until a row refers to them, the sweep takes them for
    /// left behind after a day. Blocks.
    ///
    /// # Errors
    /// `StorageFull`, and other local errors.
    pub fn stage(&self, id: PayloadId, bytes: &[u8]) -> Result<Sha256> {
        self.0.check_room(bytes.len() as u64)?;
        let mut part = self.0.begin(id)?;
        part.append(bytes)?;
        Ok(part.commit()?.sha256)
    }

    /// Removes staged bytes that no row refers to. Blocks.
    ///
    /// # Errors
    /// Local errors.
    pub fn remove(&self, id: PayloadId) -> Result<()> {
        self.0.remove(id)
    }
}
