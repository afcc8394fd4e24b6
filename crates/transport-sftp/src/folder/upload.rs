//! Writing a file: many requests on their way, all answered before it counts as written.

use super::stat::{Stat, look, refine};
use super::{Lease, NumericOwner, Wanted};
use crate::protocol::client::{self, FileHandle};
use crate::protocol::exchange::Awaited;
use crate::protocol::fault::{Fault, code};
use crate::protocol::packet::{
    Attributes, OPEN_APPEND, OPEN_CREATE, OPEN_EXCLUSIVE, OPEN_TRUNCATE, OPEN_WRITE,
};
use async_trait::async_trait;
use bytes::Bytes;
use model::{ConnectionId, Error, RemotePath, Result};
use std::collections::VecDeque;
use transport::folder::{Evidence, NotSet, Upload, WhyNotSet, Written};

/// Data in one request, where the server takes as much.
const CHUNK: u32 = 128 * 1024;

/// Bytes on their way, in the SSH library's buffers or at the server.
const ROOM: u64 = 4 * 1024 * 1024;

/// A file being written.
pub(crate) struct SftpUpload {
    handle: FileHandle,
    lease: Lease,
    path: RemotePath,
    wanted: Wanted,
    chunk: usize,
    position: u64,
    asked: VecDeque<(u64, Awaited)>,
    outstanding: u64,
    /// Whether bytes are added to a file that may have been there before: it is never removed.
    is_appended: bool,
}

impl SftpUpload {
    /// Creates the file, or empties an existing one.
    pub(crate) async fn begin(lease: Lease, path: &RemotePath, wanted: Wanted) -> Result<Self> {
        lease.count();
        let flags = OPEN_WRITE | OPEN_CREATE | OPEN_TRUNCATE;
        let opened = lease.client().open(path, flags, wanted.permissions).await;
        let handle = opened.map_err(|fault| fault.error("create a file", lease.target(), Some(path)))?;
        Ok(Self::new(lease, path, wanted, handle))
    }

    /// Goes on with a file that is there.
    pub(crate) async fn resume(lease: Lease, path: &RemotePath, wanted: Wanted, offset: u64) -> Result<Self> {
        lease.count();
        let opened = lease.client().open(path, OPEN_WRITE, None).await;
        let handle = opened.map_err(|fault| fault.error("go on with a file", lease.target(), Some(path)))?;
        Ok(Self { position: offset, ..Self::new(lease, path, wanted, handle) })
    }

    /// Adds to the end of a file, which is created if it is missing. Servers that heed the flag ignore the offsets of
    /// writes, others go by them.
    pub(crate) async fn append(lease: Lease, path: &RemotePath, wanted: Wanted, end: u64) -> Result<Self> {
        lease.count();
        let flags = OPEN_WRITE | OPEN_CREATE | OPEN_APPEND;
        let opened = lease.client().open(path, flags, wanted.permissions).await;
        let handle = opened.map_err(|fault| fault.error("append to a file", lease.target(), Some(path)))?;
        // What the file had before keeps its permissions and its owner.
        let upload = Self::new(lease, path, Wanted::default(), handle);
        Ok(Self { position: end, is_appended: true, ..upload })
    }

    /// Creates the file; `None` when something has the name.
    pub(crate) async fn begin_new(lease: Lease, path: &RemotePath, wanted: Wanted) -> Result<Option<Self>> {
        lease.count();
        let flags = OPEN_WRITE | OPEN_CREATE | OPEN_EXCLUSIVE;
        match lease.client().open(path, flags, wanted.permissions).await {
            Ok(handle) => Ok(Some(Self::new(lease, path, wanted, handle))),
            Err(fault) if fault.says_taken() => Ok(None),
            Err(fault) => {
                let is_there =
                    fault.code().is_some() && matches!(look(lease.client(), path).await, Ok(Stat::Found(_)));
                if is_there {
                    Ok(None)
                } else {
                    Err(fault.error("create a file", lease.target(), Some(path)))
                }
            }
        }
    }

    fn new(lease: Lease, path: &RemotePath, wanted: Wanted, handle: FileHandle) -> Self {
        let chunk = CHUNK.min(lease.client().abilities().write_size) as usize;
        Self {
            path: path.clone(),
            wanted,
            chunk,
            position: 0,
            asked: VecDeque::new(),
            outstanding: 0,
            is_appended: false,
            lease,
            handle,
        }
    }

    /// Waits until no more than so many bytes are on their way.
    async fn settle(&mut self, most: u64) -> Result<()> {
        while self.outstanding > most {
            let Some((length, answer)) = self.asked.pop_front() else { break };
            let written = match answer.await {
                Ok(answer) => client::ok(answer),
                Err(fault) => Err(fault),
            };
            written.map_err(|fault| self.failed(WRITE, fault))?;
            self.outstanding -= length;
        }
        Ok(())
    }

    fn failed(&self, operation: &'static str, fault: Fault) -> Error {
        fault.error(operation, self.lease.target(), Some(&self.path))
    }
}

const WRITE: &str = "write a file";

const SYNC: &str = "sync a file to the server's disk";

const LEARN: &str = "check the size of a written file";

const CLOSE: &str = "close a written file";

/// Why the server has not set an attribute.
///
/// # Errors
/// The fault, where the server did not answer.
fn why_not_set(fault: Fault, lease: &Lease, path: &RemotePath) -> std::result::Result<WhyNotSet, Fault> {
    if fault.is_unanswered() {
        return Err(fault);
    }
    tracing::debug!(host = lease.target().host, %path, ?fault, "the server does not set an attribute of a file");
    Ok(match fault.code() {
        Some(code::OP_UNSUPPORTED) => WhyNotSet::Unsupported,
        Some(code::PERMISSION_DENIED | code::WRITE_PROTECT) => WhyNotSet::NotPermitted,
        _ => WhyNotSet::Refused,
    })
}

/// Sets the owner of an open file. The protocol sets user and group together, so the one that stays is asked for first.
async fn set_owner(
    lease: &Lease,
    handle: &FileHandle,
    owner: NumericOwner,
) -> std::result::Result<Option<WhyNotSet>, Fault> {
    let client = lease.client();
    let present = match owner {
        NumericOwner { user: Some(user), group: Some(group) } => Some((user, group)),
        _ => client.stat_open(handle).await?.await.and_then(client::attributes)?.owner,
    };
    let Some((user, group)) = present else { return Ok(Some(WhyNotSet::Unsupported)) };
    let owner = (owner.user.unwrap_or(user), owner.group.unwrap_or(group));
    client.set_owner(handle, owner).await.map(|()| None)
}

/// What the server shows; `None` where it does not.
fn shown(told: std::result::Result<Attributes, Fault>) -> std::result::Result<Option<Attributes>, Fault> {
    match told {
        Ok(attributes) => Ok(Some(attributes)),
        Err(Fault::Refused(_)) => Ok(None),
        Err(fault) => Err(fault),
    }
}

#[async_trait]
impl Upload for SftpUpload {
    fn connection(&self) -> Option<ConnectionId> {
        Some(self.lease.target().connection)
    }

    async fn write(&mut self, mut bytes: Bytes) -> Result<()> {
        while !bytes.is_empty() {
            let data = bytes.split_to(self.chunk.min(bytes.len()));
            let length = data.len() as u64;
            self.settle(ROOM.saturating_sub(length)).await?;
            let sent = self.lease.client().write(&self.handle, self.position, &data).await;
            let answer = sent.map_err(|fault| self.failed(WRITE, fault))?;
            self.asked.push_back((length, answer));
            self.outstanding += length;
            self.position += length;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.settle(0).await
    }

    /// The last writes, the size and the end of the file go out in one breath, as a server answers requests for one
    /// handle in their order (draft-ietf-secsh-filexfer-13, 4.1): a small file costs one round trip here.
    async fn finish(mut self: Box<Self>) -> Result<Written> {
        if self.wanted.permissions.is_some() || self.wanted.owner.is_some() {
            self.settle(0).await?;
        }
        let Self { handle, lease, path, wanted, position, mut asked, .. } = *self;
        let failed = |operation, fault: Fault| fault.error(operation, lease.target(), Some(&path));
        let client = lease.client();
        let mut not_set = NotSet::default();
        if let Some(mode) = wanted.permissions {
            // The server's own mask was put over those given when the file was created.
            let set = client.set_permissions(&handle, mode).await.map(|()| None);
            let set = set.or_else(|fault| why_not_set(fault, &lease, &path).map(Some));
            not_set.permissions = set.map_err(|fault| failed("set a file's permissions", fault))?;
        }
        if let Some(owner) = wanted.owner {
            // Last: a user who gave the file away may not change it any more.
            let set = set_owner(&lease, &handle, owner).await;
            let set = set.or_else(|fault| why_not_set(fault, &lease, &path).map(Some));
            not_set.owner = set.map_err(|fault| failed("set a file's owner", fault))?;
        }
        // Where files go as soon as they are closed, or nobody may look, this is what tells their size.
        let told = client.stat_open(&handle).await.map_err(|fault| failed(LEARN, fault))?;
        let synced = match client.abilities().fsync {
            true => Some(client.send_sync(&handle).await.map_err(|fault| failed(SYNC, fault))?),
            false => None,
        };
        let closed = client.close(handle).await.map_err(|fault| failed(CLOSE, fault))?;
        let looked = client.send_stat(&path).await.map_err(|fault| failed(LEARN, fault))?;
        while let Some((_, answer)) = asked.pop_front() {
            answer.await.and_then(client::ok).map_err(|fault| failed(WRITE, fault))?;
        }
        let before = shown(told.await.and_then(client::attributes)).map_err(|fault| failed(LEARN, fault))?;
        if let Some(synced) = synced {
            match synced.await.and_then(client::ok) {
                Ok(()) => {}
                // A server can offer it and its operator forbid it.
                Err(fault) if fault.is(code::OP_UNSUPPORTED) || fault.is(code::PERMISSION_DENIED) => {}
                Err(fault) => return Err(failed(SYNC, fault)),
            }
        }
        closed.await.and_then(client::ok).map_err(|fault| failed(CLOSE, fault))?;
        let looked = match looked.await.and_then(client::attributes) {
            // A server may show a file only once it is closed, and answer before.
            Err(Fault::Refused(_)) => client.stat(&path).await,
            answer => answer,
        };
        let (after, gone) = match looked {
            Ok(attributes) => (attributes.size, false),
            Err(fault @ Fault::Refused(_)) => (None, refine(client, fault, &path).await.says_missing()),
            Err(fault) => return Err(failed(LEARN, fault)),
        };
        let before = before.and_then(|attributes| attributes.size);
        let (size, evidence) = match (after, before) {
            (Some(after), _) => (Some(after), Evidence::Size),
            (None, Some(before)) if before == position => (Some(before), Evidence::SizeBeforeClose),
            // Servers that write behind tell the size of an open file late. The server took every byte.
            (None, Some(before)) => (None, Evidence::AcknowledgedAgainst(before)),
            (None, None) => (None, Evidence::Acknowledged),
        };
        Ok(Written { size, evidence, gone, not_set })
    }

    async fn abort(self: Box<Self>) {
        let Self { handle, lease, path, is_appended, .. } = *self;
        drop(handle);
        if is_appended {
            return;
        }
        if let Err(fault) = lease.client().remove(&path).await
            && !refine(lease.client(), fault.clone(), &path).await.says_missing()
        {
            tracing::warn!(host = lease.target().host, path = %path, ?fault, "temporary file not removed");
        }
    }

    fn acknowledged(&self) -> Option<u64> {
        Some(self.position - self.outstanding)
    }

    async fn suspend(self: Box<Self>) -> bool {
        // What is on its way is written at its own place, and is the same again.
        true
    }
}
