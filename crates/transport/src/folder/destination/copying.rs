//! Copying a payload into an upload.

use crate::PayloadReader;
use crate::folder::Upload;
use bytes::{Bytes, BytesMut};
use model::{Error, Result};
use tokio::io::AsyncReadExt;

/// The number of bytes that are read from staging and sent at a time. Two such buffers are in use.
pub(super) const CHUNK: usize = 256 * 1024;

/// Copies to the end. The next chunk is read while this one is written.
pub(in crate::folder) async fn copy(mut reader: PayloadReader, upload: &mut dyn Upload) -> Result<u64> {
    let mut copied = 0;
    let mut chunk = fill(&mut reader).await?;
    while !chunk.is_empty() {
        copied += chunk.len() as u64;
        let (written, next) = tokio::join!(upload.write(chunk), fill(&mut reader));
        written?;
        chunk = next?;
    }
    Ok(copied)
}

/// The error of a payload's reader: that of a streamed file's source, or one of staging.
fn read_failed(error: std::io::Error) -> Error {
    error.downcast::<Error>().unwrap_or_else(|error| Error::local_io("read a payload from staging", error))
}

async fn fill(reader: &mut PayloadReader) -> Result<Bytes> {
    let mut chunk = BytesMut::with_capacity(CHUNK);
    while chunk.len() < CHUNK {
        let room = CHUNK - chunk.len();
        let read = (&mut *reader).take(room as u64).read_buf(&mut chunk).await.map_err(read_failed)?;
        if read == 0 {
            break;
        }
    }
    Ok(chunk.freeze())
}
