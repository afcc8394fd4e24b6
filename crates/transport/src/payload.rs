//! Staged bytes, and bytes on their way into staging.

use async_trait::async_trait;
use model::{ConnectionId, PayloadId, RemotePath, Result, Sha256};
use serde_json::{Map, Value};
use std::io;
use std::ops::Range;
use tokio::io::AsyncRead;

/// A stream of a payload's bytes.
pub type PayloadReader = Box<dyn AsyncRead + Send + Unpin>;

/// A handle to staged bytes, which can be opened any number of times. Cheap to clone behind its `Arc`.
#[async_trait]
pub trait Payload: Send + Sync {
    /// The payload's id.
    fn id(&self) -> PayloadId;

    /// The length in bytes.
    fn length(&self) -> u64;

    /// The SHA-256 of the bytes.
    fn sha256(&self) -> Sha256;

    /// The file name as received.
    fn file_name(&self) -> &RemotePath;

    /// The media type, when known.
    fn media_type(&self) -> Option<&str>;

    /// Metadata of the transfer, for destinations that pass it on.
    fn metadata(&self) -> &Map<String, Value>;

    /// The size in bytes of the buffers that a reader from [`Payload::open`] holds. The destination leases
    /// them with its own.
    fn reader_buffers(&self) -> usize;

    /// Reads a range. If the range goes past the end of the payload, it is shortened.
    ///
    /// # Errors
    /// `NotFound` if the bytes were removed, `IntegrityFailed` if they have changed in staging.
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
/// A part that was not committed is lost after a crash.
pub trait PartWriter: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// `StorageFull`, or another local error; the part must then be dropped.
    fn append(&mut self, bytes: &[u8]) -> Result<()>;

    /// The number of bytes written so far.
    fn length(&self) -> u64;

    /// Reads some of the written bytes again, from an offset. Returns 0 at the end.
    ///
    /// # Errors
    /// Local errors.
    fn read_at(&self, into: &mut [u8], offset: u64) -> Result<usize>;

    /// Makes the bytes durable (file sync, rename, directory sync) and returns their id, length and hash.
    ///
    /// # Errors
    /// Local errors; nothing is committed then.
    fn commit(self: Box<Self>) -> Result<StagedPayload>;
}

/// Bytes that are durable in staging.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StagedPayload {
    /// The payload's id.
    pub id: PayloadId,
    /// The length in bytes.
    pub length: u64,
    /// The SHA-256 of the bytes.
    pub sha256: Sha256,
}

/// A part that is durable in staging. It belongs to an offer, a received message, or the answer to a
/// delivery.
#[derive(Debug)]
pub struct StagedPart {
    /// The bytes.
    pub staged: StagedPayload,
    /// Its name.
    pub file_name: RemotePath,
    /// Its media type, when known.
    pub media_type: Option<String>,
    /// Its metadata.
    pub metadata: Map<String, Value>,
    /// The connection over which it was received; `None` if there was none, as for a file of this machine.
    pub connection: Option<ConnectionId>,
}
