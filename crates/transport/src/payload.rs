//! Staged bytes, and bytes on their way into staging.

use async_trait::async_trait;
use model::{ConnectionId, PayloadId, RemotePath, Result, Sha256};
use serde_json::{Map, Value};
use std::io;
use std::ops::Range;
use tokio::io::AsyncRead;

/// A stream of a payload's bytes.
pub type PayloadReader = Box<dyn AsyncRead + Send + Unpin>;

/// A handle to staged bytes. Cheap to clone behind its `Arc`; opened any number of times.
#[async_trait]
pub trait Payload: Send + Sync {
    /// Which bytes.
    fn id(&self) -> PayloadId;

    /// How many.
    fn length(&self) -> u64;

    /// Their hash.
    fn sha256(&self) -> Sha256;

    /// The file name as received.
    fn file_name(&self) -> &RemotePath;

    /// The media type, when known.
    fn media_type(&self) -> Option<&str>;

    /// Metadata of the transfer, for destinations that pass it on.
    fn metadata(&self) -> &Map<String, Value>;

    /// Bytes of buffers that a reader from [`Payload::open`] holds: to be leased with the destination's own.
    fn reader_buffers(&self) -> usize;

    /// Reads a range; the range's end is cut to the payload's.
    ///
    /// # Errors
    /// `NotFound` when the bytes are gone, `IntegrityFailed` when staging finds them changed.
    async fn open(&self, range: Range<u64>) -> Result<PayloadReader>;

    /// The same for code that runs on a blocking thread.
    ///
    /// # Errors
    /// As [`Payload::open`].
    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn io::Read + Send>>;
}

/// A part on its way into staging. All methods block: call them on a blocking thread, or let
/// [`crate::copy_to_staging`] do it.
///
/// What was not committed is gone after a crash.
pub trait PartWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// `StorageFull`, or another local error; the part must then be dropped.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// Bytes held so far.
    fn length(&self) -> u64;

    /// Reads back some of the bytes at an offset; 0 at the end of what was appended.
    ///
    /// # Errors
    /// Local errors.
    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize>;

    /// Makes the bytes durable (file sync, rename, directory sync) and names them.
    ///
    /// # Errors
    /// Local errors; nothing is committed then.
    fn commit(self: Box<Self>) -> Result<StagedPayload>;
}

/// Bytes that are durable in staging.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedPayload {
    /// Their name.
    pub id: PayloadId,
    /// Their number.
    pub length: u64,
    /// Their hash.
    pub sha256: Sha256,
}

/// A part that is durable in staging: of an offer, of a received message, or of the answer to a delivery.
#[derive(Debug)]
pub struct StagedPart {
    /// Its bytes.
    pub staged: StagedPayload,
    /// Its name.
    pub file_name: RemotePath,
    /// Its media type, when known.
    pub media_type: Option<String>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// The connection that it came over; `None` where there is none, as for a file of this machine.
    pub connection: Option<ConnectionId>,
}
