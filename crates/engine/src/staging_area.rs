//! Staging, in the shapes of the transport contract.

use crate::adapters::Ids;
use async_trait::async_trait;
use model::{PayloadId, PayloadRecord, RemotePath, Result, Sha256};
use serde_json::{Map, Value};
use staging::{PartFile, Staging};
use std::ops::Range;
use transport::{PartWriter, Payload, PayloadReader, StagedPayload, StagingArea};

/// Lends staging to transports.
#[derive(Clone)]
pub(crate) struct Area {
    pub(crate) staging: Staging,
    pub(crate) ids: Ids,
}

impl StagingArea for Area {
    fn begin(&self) -> Result<Box<dyn PartWriter>> {
        let part = self.staging.begin(PayloadId::new(self.ids.next()))?;
        Ok(Box::new(StagedPart(part)))
    }
}

/// A part file behind the contract's trait.
struct StagedPart(PartFile);

impl PartWriter for StagedPart {
    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.append(bytes)
    }

    fn length(&self) -> u64 {
        self.0.length()
    }

    fn seal(self: Box<Self>) -> Result<StagedPayload> {
        let sealed = self.0.seal()?;
        Ok(StagedPayload { id: sealed.id, length: sealed.length, sha256: sealed.sha256 })
    }
}

/// A staged payload, as a destination sees it.
pub(crate) struct StagedBytes {
    pub(crate) staging: Staging,
    pub(crate) record: PayloadRecord,
    pub(crate) metadata: Map<String, Value>,
}

#[async_trait]
impl Payload for StagedBytes {
    fn id(&self) -> PayloadId {
        self.record.id
    }

    fn length(&self) -> u64 {
        self.record.length
    }

    fn sha256(&self) -> Sha256 {
        self.record.sha256
    }

    fn file_name(&self) -> &RemotePath {
        &self.record.file_name
    }

    fn media_type(&self) -> Option<&str> {
        self.record.media_type.as_deref()
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        let staged = self.staged();
        Ok(Box::new(self.staging.stream(&staged, range).await?))
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn std::io::Read + Send>> {
        Ok(Box::new(self.staging.read(&self.staged(), range)?))
    }
}

impl StagedBytes {
    fn staged(&self) -> staging::StagedPayload {
        let PayloadRecord { id, length, sha256, .. } = self.record;
        staging::StagedPayload { id, length, sha256 }
    }
}
