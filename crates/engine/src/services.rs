//! Implements the services of the transport contract with the database and staging.

use crate::ids::Ids;
use async_trait::async_trait;
use model::{AuditEvent, PayloadId, Result};
use staging::{PartFile, Staging};
use std::fs::File;
use store::Store;
use transport::{AuditLog, PartWriter, StagedPayload, StagingArea};

/// The audit trail behind the contract's trait.
pub(crate) struct StoreAudit(pub(crate) Store);

#[async_trait]
impl AuditLog for StoreAudit {
    async fn record(&self, events: Vec<AuditEvent>) -> Result<()> {
        self.0.append_events(events).await
    }
}

/// Implements staging for transports.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) staging: Staging,
    pub(crate) ids: Ids,
}

impl StagingArea for Area {
    fn begin(&self) -> Result<Box<dyn PartWriter>> {
        let part = self.staging.begin(PayloadId::new(self.ids.next()))?;
        Ok(Box::new(StagedFile(part)))
    }
}

/// A part file behind the contract's trait.
struct StagedFile(PartFile);

impl PartWriter for StagedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.append(bytes)
    }

    fn share_blocks(&mut self, source: &File) -> Result<Option<File>> {
        self.0.share_blocks(source)
    }

    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize> {
        self.0.read_at(into, offset)
    }

    fn commit(self: Box<Self>) -> Result<StagedPayload> {
        let committed = self.0.commit()?;
        Ok(StagedPayload { id: committed.id, length: committed.length, sha256: committed.sha256 })
    }
}
