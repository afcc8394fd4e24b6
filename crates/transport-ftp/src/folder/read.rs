//! Reading a file: what comes over the data connection, until the server says that it was all.

use super::found_out::found_out;
use super::{Lease, Transfer, failed};
use crate::connection::Remote;
use crate::error::Fault;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream;
use model::RemotePath;
use model::Result;
use net::Pool;
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
    pool: &Pool<Remote>,
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
    let reading = Reading { transfer, read: offset, pool: pool.clone(), path: path.clone() };
    let chunks = stream::try_unfold((Some(reading), target), |(reading, target)| async move {
        let Some(reading) = reading else { return Ok(None) };
        let path = reading.path.clone();
        match reading.next().await {
            Ok(Some((bytes, reading))) => Ok(Some((bytes, (Some(reading), target)))),
            Ok(None) => Ok(None),
            Err(fault) => Err(io::Error::other(fault.error(OPERATION, &target, Some(&path)))),
        }
    });
    Ok(Box::new(StreamReader::new(chunks.boxed())))
}

struct Reading {
    transfer: Transfer,
    /// How far the file was read.
    read: u64,
    /// For looking at the file where the server did not confirm its end.
    pool: Pool<Remote>,
    path: RemotePath,
}

impl Reading {
    /// The next bytes; `None` when the server has confirmed the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        let mut chunk = vec![0; CHUNK];
        let count = self.transfer.read(&mut chunk).await?;
        if count == 0 {
            if let Err(fault) = self.transfer.received().await {
                found_out(&self.pool, &self.path, self.read, fault).await?;
            }
            return Ok(None);
        }
        chunk.truncate(count);
        self.read += count as u64;
        Ok(Some((Bytes::from(chunk), self)))
    }
}
