//! Reading a file: what comes over the data connection, until the server says that it was all.

use super::found_out::found_out;
use super::{Lease, Transfer, failed};
use crate::connection::Remote;
use crate::error::Fault;
use crate::protocol::ascii::FromNetwork;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream;
use model::{RemotePath, Result};
use net::Pool;
use std::io;
use tokio_util::io::StreamReader;
use transport::folder::FileReader;

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
) -> Result<FileReader> {
    // A place in a text is none in the file.
    let text = lease.is_ascii().then(|| Text { convert: FromNetwork::default(), skip: offset });
    let from = if text.is_some() { 0 } else { offset };
    let transfer = match Transfer::of_path(&lease, "RETR", path, from).await {
        Ok(transfer) => transfer,
        Err(fault) => {
            let error = failed(&lease, fault, "open a file to read it", path).await;
            if from > 0 {
                // The next transfer over this connection must not begin at the offset.
                lease.retire("a transfer from an offset was refused");
            }
            return Err(error);
        }
    };
    let target = lease.target().clone();
    let connection = transfer.connection();
    // The connection is free again when the file is at its end, though the reader may be kept.
    drop(lease);
    let (transfer, buffer) = (Some(transfer), BytesMut::new());
    let reading = Reading { transfer, text, buffer, read: offset, pool: pool.clone(), path: path.clone() };
    let chunks = stream::try_unfold((Some(reading), target), |(reading, target)| async move {
        let Some(reading) = reading else { return Ok(None) };
        let path = reading.path.clone();
        match reading.next().await {
            Ok(Some((bytes, reading))) => Ok(Some((bytes, (Some(reading), target)))),
            Ok(None) => Ok(None),
            Err(fault) => Err(io::Error::other(fault.error(OPERATION, &target, Some(&path)))),
        }
    });
    Ok(FileReader { bytes: Box::new(StreamReader::new(chunks.boxed())), file: None, connection })
}

/// A text whose line ends are converted.
struct Text {
    convert: FromNetwork,
    /// What is left of the bytes before the place where reading begins.
    skip: u64,
}

impl Text {
    fn shown(&mut self, bytes: &[u8]) -> Vec<u8> {
        let converted = self.convert.convert(bytes);
        self.skipped(converted)
    }

    fn rest(&mut self) -> Vec<u8> {
        let rest = self.convert.end();
        self.skipped(rest)
    }

    fn skipped(&mut self, mut converted: Vec<u8>) -> Vec<u8> {
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(converted.len());
        self.skip -= skipped as u64;
        converted.drain(..skipped);
        converted
    }
}

struct Reading {
    /// `None` after the end of the data.
    transfer: Option<Transfer>,
    text: Option<Text>,
    /// Its room is free again when what was read has been taken.
    buffer: BytesMut,
    /// How far the file was read.
    read: u64,
    /// For looking at the file where the server did not confirm its end.
    pool: Pool<Remote>,
    path: RemotePath,
}

impl Reading {
    /// The next bytes; `None` when the server has confirmed the end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Fault> {
        loop {
            let Some(transfer) = &mut self.transfer else { return Ok(None) };
            let chunk = transfer.read(&mut self.buffer).await?;
            if chunk.is_empty() {
                self.received().await?;
                let rest = self.text.as_mut().map(Text::rest).unwrap_or_default();
                return Ok((!rest.is_empty()).then(|| (Bytes::from(rest), self)));
            }
            self.read += chunk.len() as u64;
            let bytes = match &mut self.text {
                Some(text) => Bytes::from(text.shown(&chunk)),
                None => chunk.freeze(),
            };
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
        }
    }
    /// Waits until the server has said that the data was all.
    async fn received(&mut self) -> Result<(), Fault> {
        let Some(transfer) = self.transfer.take() else { return Ok(()) };
        if let Err(fault) = transfer.received().await {
            found_out(&self.pool, &self.path, self.read, None, fault).await?;
        }
        Ok(())
    }
}
