//! Writing a file: many requests on their way, all answered before it counts as written.

use crate::client::{self, FileHandle};
use crate::error::{Fault, code};
use crate::exchange::Awaited;
use crate::look::refine;
use crate::packet::{OPEN_CREATE, OPEN_TRUNCATE, OPEN_WRITE};
use crate::pool::Lease;
use async_trait::async_trait;
use bytes::Bytes;
use model::{Error, ErrorKind, RemotePath, Result};
use std::collections::VecDeque;
use transport::folder::Upload;

/// Data in one request, where the server takes as much.
const CHUNK: u32 = 128 * 1024;

/// Bytes on their way, in the SSH library's buffers or at the server.
const ROOM: u64 = 4 * 1024 * 1024;

/// A file being written.
pub(crate) struct SftpUpload {
    handle: FileHandle,
    lease: Lease,
    path: RemotePath,
    permissions: Option<u32>,
    chunk: usize,
    position: u64,
    asked: VecDeque<(u64, Awaited)>,
    outstanding: u64,
}

impl SftpUpload {
    /// Creates the file, or empties the one that lies there.
    pub(crate) async fn begin(lease: Lease, path: &RemotePath, permissions: Option<u32>) -> Result<Self> {
        lease.count();
        let handle = lease
            .client()
            .open(path, OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE, permissions)
            .await
            .map_err(|fault| fault.error("create a file", lease.target(), Some(path)))?;
        let chunk = CHUNK.min(lease.client().abilities().write_size) as usize;
        Ok(Self {
            path: path.clone(),
            permissions,
            chunk,
            position: 0,
            asked: VecDeque::new(),
            outstanding: 0,
            lease,
            handle,
        })
    }

    /// Waits until no more than so many bytes are on their way.
    async fn settle(&mut self, most: u64) -> Result<()> {
        while self.outstanding > most {
            let Some((length, answer)) = self.asked.pop_front() else { break };
            let written = match answer.await {
                Ok(answer) => client::ok(answer),
                Err(fault) => Err(fault),
            };
            written.map_err(|fault| self.failed("write a file", fault))?;
            self.outstanding -= length;
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, fault: Fault) -> Error {
        fault.error(operation, self.lease.target(), Some(&self.path))
    }
}

#[async_trait]
impl Upload for SftpUpload {
    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let data = bytes.split_to(self.chunk.min(bytes.len()));
            let length = data.len() as u64;
            self.settle(ROOM.saturating_sub(length)).await?;
            let sent = self.lease.client().write(&self.handle, self.position, &data).await;
            let answer = sent.map_err(|fault| self.failed("write a file", fault))?;
            self.asked.push_back((length, answer));
            self.outstanding += length;
            self.position += length;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<u64> {
        self.settle(0).await?;
        let Self { handle, lease, path, permissions, .. } = *self;
        let failed = |operation, fault: Fault| fault.error(operation, lease.target(), Some(&path));
        let client = lease.client();
        if let Some(mode) = permissions
            // The server's own mask was put over those given when the file was created.
            && let Err(fault) = client.set_permissions(&handle, mode).await
        {
            if fault.is_unanswered() {
                return Err(failed("set a file's permissions", fault));
            }
            tracing::debug!(host = lease.target(), path = %path, ?fault, "the server does not set permissions");
        }
        if client.abilities().fsync {
            match client.sync(&handle).await {
                Ok(()) => {}
                Err(fault) if fault.is(code::OP_UNSUPPORTED) => {}
                Err(fault) => return Err(failed("sync a file to the server's disk", fault)),
            }
        }
        client.close(handle).await.map_err(|fault| failed("close a written file", fault))?;
        let told =
            client.stat(&path).await.map_err(|fault| failed("learn the size of a written file", fault))?;
        told.size.ok_or_else(|| {
            Error::permanent(ErrorKind::Unsupported, "learn the size of a written file")
                .with("host", lease.target())
                .with("path", &path)
                .advice("the server tells no sizes, so that nothing can be verified")
        })
    }

    async fn abort(self: Box<Self>) {
        let Self { handle, lease, path, .. } = *self;
        drop(handle);
        if let Err(fault) = lease.client().remove(&path).await
            && !refine(lease.client(), fault.clone(), &path).await.says_missing()
        {
            tracing::warn!(host = lease.target(), path = %path, ?fault, "temporary file not removed");
        }
    }
}
