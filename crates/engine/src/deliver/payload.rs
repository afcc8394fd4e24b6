//! The staged bytes that destinations read.

use crate::pace::Pace;
use crate::staged::staged;
use async_trait::async_trait;
use model::{PayloadRecord, Result, Sha256};
use serde_json::{Map, Value};
use staging::Staging;
use std::ops::Range;
use tokio::runtime::Handle;
use transport::{Payload, PayloadReader};

/// A staged payload, as destinations read it.
pub(crate) struct StagedBytes {
    staging: Staging,
    record: PayloadRecord,
    staged: staging::StagedPayload,
    metadata: Map<String, Value>,
    /// How quickly it may be read.
    pace: Pace,
    /// Where blocking readers wait for their turn.
    runtime: Handle,
}

impl StagedBytes {
    /// A payload's bytes in staging, which are read at this pace. Called within a runtime.
    ///
    /// # Errors
    /// The payload was streamed: it has none.
    pub(crate) fn new(
        staging: Staging,
        record: PayloadRecord,
        metadata: Map<String, Value>,
        pace: Pace,
    ) -> Result<Self> {
        let staged = staged(&record)?;
        Ok(Self { staging, record, staged, metadata, pace, runtime: Handle::current() })
    }
}

#[async_trait]
impl Payload for StagedBytes {
    fn record(&self) -> &PayloadRecord {
        &self.record
    }

    fn sha256(&self) -> Option<Sha256> {
        Some(self.staged.sha256)
    }

    fn metadata(&self) -> &Map<String, Value> {
        &self.metadata
    }

    fn reader_buffers(&self) -> usize {
        staging::STREAM_BUFFERS
    }

    /// A reader of the whole payload verifies its hash: if it differs, reading ends with an error.
    async fn open(&self, range: Range<u64>) -> Result<PayloadReader> {
        let staged = &self.staged;
        if self.is_whole(&range) {
            return Ok(Box::new(self.pace.reader(self.staging.stream_verified(staged).await?)));
        }
        Ok(Box::new(self.pace.reader(self.staging.stream(staged, range).await?)))
    }

    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn std::io::Read + Send>> {
        let runtime = self.runtime.clone();
        if self.is_whole(&range) {
            return Ok(Box::new(self.pace.blocking(self.staging.read_verified(&self.staged)?, runtime)));
        }
        Ok(Box::new(self.pace.blocking(self.staging.read(&self.staged, range)?, runtime)))
    }

    fn read_back(&self, reader: PayloadReader) -> PayloadReader {
        Box::new(self.pace.reader(reader))
    }
}

impl StagedBytes {
    fn is_whole(&self, range: &Range<u64>) -> bool {
        range.start == 0 && range.end >= self.record.length
    }
}
