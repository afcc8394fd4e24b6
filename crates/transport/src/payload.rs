//! Bytes that are delivered, and bytes on their way into staging.

use async_trait::async_trait;
use model::{ConnectionId, Error, ErrorKind, PayloadId, PayloadRecord, RemotePath, Result, Sha256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fs::File;
use std::io;
use std::ops::Range;
use tokio::io::AsyncRead;

/// A stream of a payload's bytes.
pub type PayloadReader = Box<dyn AsyncRead + Send + Unpin>;

/// A handle to the bytes of a delivery: staged ones, which can be opened any number of times, or a file at its source that
/// is read while it is sent ([`Payload::is_streamed`]). Cheap to clone behind its `Arc`.
#[async_trait]
pub trait Payload: Send + Sync {
    /// What the database knows of it.
    fn record(&self) -> &PayloadRecord;

    /// The payload's id.
    fn id(&self) -> PayloadId {
        self.record().id
    }

    /// The length in bytes. A reader of a streamed payload that gets another number of bytes ends with an error.
    fn length(&self) -> u64 {
        self.record().length
    }

    /// The SHA-256 of the bytes; of a streamed payload, only after its whole content was read.
    fn sha256(&self) -> Option<Sha256>;

    /// Whether the bytes are not staged: then they can be read only whole and once in an attempt, and
    /// [`Payload::confirm`] must be called before anything is published.
    fn is_streamed(&self) -> bool {
        false
    }

    /// Makes sure, after the last byte was read, that the bytes are those of the file that was found, and returns their
    /// SHA-256. Call it before anything is published, and while no connection of the destination is in use: it may need
    /// one to the source.
    ///
    /// # Errors
    /// Of a streamed payload: the file was changed while it was read, or its source does not answer. Nothing may be
    /// published.
    async fn confirm(&self) -> Result<Sha256> {
        self.sha256().ok_or_else(|| {
            Error::permanent(ErrorKind::Internal, "know the hash of a payload").with("payload", self.id())
        })
    }

    /// The file name as received.
    fn file_name(&self) -> &RemotePath {
        &self.record().file_name
    }

    /// The media type, when known.
    fn media_type(&self) -> Option<&str> {
        self.record().media_type.as_deref()
    }

    /// Metadata of the transfer, for destinations that pass it on.
    fn metadata(&self) -> &Map<String, Value>;

    /// The size in bytes of the buffers that a reader from [`Payload::open`] holds. The destination leases
    /// them with its own.
    fn reader_buffers(&self) -> usize;

    /// Reads a range. If the range goes past the end of the payload, it is shortened. A streamed payload takes a connection
    /// to its source: open it before a connection to the destination is taken, so that no two deliveries wait for
    /// each other's connections.
    ///
    /// # Errors
    /// `NotFound` if the bytes were removed, `IntegrityFailed` if they have changed in staging; those of
    /// [`crate::Source::open`] for a streamed payload.
    async fn open(&self, range: Range<u64>) -> Result<PayloadReader>;

    /// The same for code that runs on a blocking thread.
    ///
    /// # Errors
    /// As [`Payload::open`].
    fn open_blocking(&self, range: Range<u64>) -> Result<Box<dyn io::Read + Send>>;

    /// A reader of what was written of this payload: reading back keeps to the endpoint's bandwidth too.
    fn read_back(&self, reader: PayloadReader) -> PayloadReader {
        reader
    }
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

    /// Takes over the content of a local file by sharing its blocks, as they are at one moment, in place of writing them. `None`,
    /// which is the default, where staging cannot: nothing was changed then, and the file is copied. Otherwise the answer reads
    /// the part's own bytes: they are appended to it, to their end, and so hashed and counted without being written again. Blocks.
    ///
    /// # Errors
    /// Local errors; the part must then be dropped.
    fn share_blocks(&mut self, source: &File) -> Result<Option<File>> {
        let _ = source;
        Ok(None)
    }

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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
