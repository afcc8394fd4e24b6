//! Staged payloads, for whoever reads them besides deliveries.

use crate::staged::staged;
use model::{PayloadRecord, Result};
use staging::Staging;
use std::io::Read;

/// Reads staged payloads. Cheap to clone.
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
}
