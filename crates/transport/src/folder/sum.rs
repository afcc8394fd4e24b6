//! The length and digest of a file at a folder's place.

use bytes::BytesMut;
use model::{Error, Result, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The number of bytes that are read at a time.
pub(super) const SUM_CHUNK: usize = 128 * 1024;

/// The length in bytes and the SHA-256 of what a reader gives to its end. The caller holds a lease for [`SUM_CHUNK`] bytes
/// and the reader's buffers.
///
/// # Errors
/// By the folder's codes.
pub(super) async fn sum(mut reader: impl AsyncRead + Unpin) -> Result<(u64, Sha256)> {
    let mut chunk = BytesMut::with_capacity(SUM_CHUNK);
    let (mut bytes, mut hash) = (0, openssl::sha::Sha256::new());
    loop {
        chunk.clear();
        let read = reader.read_buf(&mut chunk).await.map_err(|error| {
            let local = |error| Error::local_io("read back a file that was written", error);
            error.downcast::<Error>().unwrap_or_else(local)
        })?;
        if read == 0 {
            return Ok((bytes, Sha256(hash.finish())));
        }
        bytes += read as u64;
        hash.update(&chunk);
    }
}

/// Reads the next chunk. Only the last one is shorter than [`SUM_CHUNK`].
///
/// # Errors
/// The folder's own, or that of the stream.
pub(super) async fn fill(reader: &mut (impl AsyncRead + Unpin)) -> Result<BytesMut> {
    let mut chunk = BytesMut::with_capacity(SUM_CHUNK);
    while chunk.len() < SUM_CHUNK {
        let room = (SUM_CHUNK - chunk.len()) as u64;
        let read = (&mut *reader).take(room).read_buf(&mut chunk).await.map_err(|error| {
            let local = |error| Error::local_io("read a file to compare it", error);
            error.downcast::<Error>().unwrap_or_else(local)
        })?;
        if read == 0 {
            break;
        }
    }
    Ok(chunk)
}

/// The longest version of a file that is kept as the server states it, in bytes; usual ones have less than a hundred.
const VERSION_LIMIT: usize = 200;

/// A text of the server as the version of a file: of a long one the digest, because polls keep the versions of many files.
pub fn version_of(text: &str) -> String {
    match text.len() > VERSION_LIMIT {
        true => format!("sha256:{}", Sha256(openssl::sha::sha256(text.as_bytes()))),
        false => text.to_owned(),
    }
}
