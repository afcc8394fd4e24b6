//! Reading a file: what comes over the data connection, until the server says that it was all.

use super::{Lease, Transfer, failed};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use model::RemotePath;
use model::Result;
use std::io;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

/// Read from the data connection at a time; half of what a reader may hold.
const CHUNK: usize = transport::folder::READER_BUFFERS / 2;

const OPERATION: &str = "read a file";

/// Opens a file and reads it from an offset to its end.
///
/// # Errors
/// By the server's codes.
pub(super) async fn open(
    lease: Lease,
    path: &RemotePath,
    offset: u64,
) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
    let transfer = match Transfer::of_path(&lease, "RETR", path, offset).await {
        Ok(transfer) => transfer,
        Err(fault) => return Err(failed(&lease, fault, "open a file to read it", path).await),
    };
    let target = lease.target().clone();
    // The connection is free again when the file is at its end, though the reader may be kept.
    drop(lease);
    let state = (Some(transfer), target, path.clone());
    let chunks = stream::try_unfold(state, |(transfer, target, path)| async move {
        let Some(transfer) = transfer else { return Ok(None) };
        match next(transfer).await {
            Ok(Some((bytes, transfer))) => Ok(Some((bytes, (Some(transfer), target, path)))),
            Ok(None) => Ok(None),
            Err(fault) => Err(io::Error::other(fault.error(OPERATION, &target, Some(&path)))),
        }
    });
    Ok(Box::new(StreamReader::new(chunks.boxed())))
}

/// The next bytes; `None` when the server has confirmed the end.
async fn next(mut transfer: Transfer) -> Result<Option<(Bytes, Transfer)>, crate::error::Fault> {
    let mut chunk = vec![0; CHUNK];
    let count = transfer.read(&mut chunk).await?;
    if count == 0 {
        transfer.received().await?;
        return Ok(None);
    }
    chunk.truncate(count);
    Ok(Some((Bytes::from(chunk), transfer)))
}
