//! Writing a file: its bytes over a data connection, and what the server says about the file afterwards.

use super::found_out::found_out;
use super::stat::{Looked, look, refined};
use super::{FtpFolder, Lease, Transfer};
use crate::connection::{Connection, Remote};
use crate::error::{Fault, Target, not_found};
use crate::protocol::ascii::ToNetwork;
use async_trait::async_trait;
use bytes::Bytes;
use model::{ConnectionId, Error, RemotePath, Result};
use net::Pool;
use transport::folder::{Entry, Evidence, NotSet, Upload, WhyNotSet, Written};

const CREATE: &str = "create a file";
const WRITE: &str = "write a file";

/// A file being written.
pub(super) struct FtpUpload {
    /// `None` after an error: what the server says then was read already.
    transfer: Option<Transfer>,
    target: Target,
    /// The data connection.
    data: Option<ConnectionId>,
    path: RemotePath,
    permissions: Option<u32>,
    sent: u64,
    /// Where line ends are converted.
    text: Option<ToNetwork>,
    /// Whether bytes are added to a file that may have been there before: it is never removed.
    is_appended: bool,
    /// What had the name before, where that is known.
    replaced: Option<Entry>,
    /// For looking at the file where the server did not confirm it.
    pool: Pool<Remote>,
}

impl FtpUpload {
    /// Creates the file, or empties an existing one.
    pub(super) async fn begin(
        folder: &FtpFolder,
        lease: Lease,
        path: &RemotePath,
        length: Option<u64>,
    ) -> Result<Self> {
        let target = lease.target().clone();
        if let Some(length) = length.filter(|_| lease.allocates()) {
            allocate(&lease, length).await.map_err(|fault| fault.error(CREATE, &target, Some(path)))?;
        }
        Self::start(folder, lease, "STOR", path, 0).await
    }

    /// Adds to the end of a file, which is created if it is missing (RFC 959, 4.1.3).
    pub(super) async fn append(
        folder: &FtpFolder,
        lease: Lease,
        path: &RemotePath,
        end: u64,
    ) -> Result<Self> {
        let upload = Self::start(folder, lease, "APPE", path, end).await?;
        // What the file had before keeps its permissions.
        Ok(Self { is_appended: true, permissions: None, ..upload })
    }

    /// Begins a transfer whose first byte stands at an offset of the file.
    async fn start(folder: &FtpFolder, lease: Lease, verb: &str, path: &RemotePath, at: u64) -> Result<Self> {
        let target = lease.target().clone();
        match Transfer::of_path(&lease, verb, path, 0).await {
            Ok(transfer) => Ok(Self {
                data: transfer.connection(),
                transfer: Some(transfer),
                target,
                path: path.clone(),
                permissions: folder.permissions,
                sent: at,
                is_appended: false,
                text: lease.is_ascii().then(ToNetwork::default),
                replaced: None,
                pool: folder.pool.clone(),
            }),
            Err(fault) => {
                // What can be missing is the directory.
                let directory = path.parent().unwrap_or_default();
                Err(match refined(&lease, fault, &directory).await {
                    (Fault::Refused(reply), true) => not_found(reply, CREATE, &target, path),
                    (fault, _) => fault.error(CREATE, &target, Some(path)),
                })
            }
        }
    }

    /// Goes on with a file that is there, by REST and STOR (RFC 3659, 5); `None` if the server refuses it. Not by APPE:
    /// where the transfer that broke off still writes at the server, it writes the same bytes at the same place.
    pub(super) async fn resume(
        folder: &FtpFolder,
        lease: Lease,
        path: &RemotePath,
        offset: u64,
    ) -> Result<Option<Self>> {
        if lease.is_ascii() {
            return Ok(None);
        }
        let target = lease.target().clone();
        match Transfer::of_path(&lease, "STOR", path, offset).await {
            Ok(transfer) => Ok(Some(Self {
                data: transfer.connection(),
                transfer: Some(transfer),
                target,
                path: path.clone(),
                permissions: folder.permissions,
                sent: offset,
                is_appended: false,
                text: None,
                replaced: None,
                pool: folder.pool.clone(),
            })),
            Err(Fault::Refused(_)) => {
                // The next transfer over this connection must not begin at the offset.
                lease.retire("a transfer from an offset was refused");
                Ok(None)
            }
            Err(fault) => Err(fault.error("go on with a file", &target, Some(path))),
        }
    }

    fn failed(&self, fault: Fault) -> Error {
        fault.error(WRITE, &self.target, Some(&self.path))
    }

    fn over(&self) -> Fault {
        Fault::Lost("the transfer has failed already".to_owned())
    }
}

#[async_trait]
impl Upload for FtpUpload {
    fn connection(&self) -> Option<ConnectionId> {
        self.data
    }

    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let Some(transfer) = &mut self.transfer else { return Err(self.failed(self.over())) };
        let bytes = match &mut self.text {
            Some(text) => Bytes::from(text.convert(&bytes)),
            None => bytes,
        };
        let sent = transfer.write(&bytes).await;
        self.sent += bytes.len() as u64;
        sent.map_err(|fault| self.failed(fault))
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(transfer) = &mut self.transfer else { return Err(self.failed(self.over())) };
        transfer.flush().await.map_err(|fault| self.failed(fault))
    }

    fn replaces(&mut self, earlier: Entry) {
        self.replaced = Some(earlier);
    }

    async fn finish(mut self: Box<Self>) -> Result<Written> {
        let transfer = self.transfer.take().ok_or_else(|| self.failed(self.over()))?;
        let lease = match transfer.sent().await {
            Ok(lease) => lease,
            Err(fault) => {
                let replaced = self.replaced.as_ref();
                let found = found_out(&self.pool, &self.path, self.sent, replaced, fault).await;
                found.map_err(|fault| self.failed(fault))?
            }
        };
        let permissions = match self.permissions {
            Some(mode) => {
                set_permissions(&lease, &self.path, mode).await.map_err(|fault| self.failed(fault))?
            }
            None => None,
        };
        // Servers have confirmed files that they did not keep whole.
        let looked = look(&lease, &self.path).await;
        let looked = looked.map_err(|fault| {
            fault.error("check the size of a written file", &self.target, Some(&self.path))
        })?;
        let (size, evidence, gone) = match looked {
            Looked::Found(entry) => match entry.size {
                Some(size) => (Some(size), Evidence::Size, false),
                None => (None, Evidence::Acknowledged, false),
            },
            Looked::Missing(_) => (None, Evidence::Acknowledged, true),
            Looked::Refused(_) => (None, Evidence::Acknowledged, false),
        };
        Ok(Written { size, evidence, gone, not_set: NotSet { permissions, owner: None } })
    }

    async fn abort(mut self: Box<Self>) {
        let Some(transfer) = self.transfer.take() else { return };
        let removed = match transfer.give_up().await {
            Ok(_) if self.is_appended => Ok(()),
            Ok(lease) => match lease.act("DELE", &self.path).await {
                Ok(_) => Ok(()),
                // Some servers remove what was broken off by themselves.
                Err(fault) => match refined(&lease, fault, &self.path).await {
                    (_, true) => Ok(()),
                    (fault, false) => Err(fault),
                },
            },
            Err(fault) => Err(fault),
        };
        if let Err(fault) = removed {
            let error = self.failed(fault);
            tracing::warn!(path = %self.path, error = %error.chain(), "temporary file not removed");
        }
    }

    async fn suspend(mut self: Box<Self>) -> bool {
        if self.text.is_some() {
            // A place in a text is none in the file.
            self.abort().await;
            return false;
        }
        if let Some(transfer) = self.transfer.take()
            && let Err(fault) = transfer.give_up().await
        {
            tracing::debug!(path = %self.path, ?fault, "the control connection was lost with its transfer");
        }
        true
    }
}

/// ALLO: the room that a file will need (RFC 959, 4.1.3). A server without the command needs none.
async fn allocate(connection: &Connection, length: u64) -> std::result::Result<(), Fault> {
    match connection.ask("ALLO", length.to_string().as_bytes()).await? {
        reply if reply.is_done() || matches!(reply.code, 500 | 502) => Ok(()),
        reply => Err(Fault::Refused(reply)),
    }
}

/// SITE CHMOD, where the server has it.
async fn set_permissions(
    connection: &Connection,
    path: &RemotePath,
    mode: u32,
) -> std::result::Result<Option<WhyNotSet>, Fault> {
    let name = connection.argument(path)?;
    let argument = [format!("CHMOD {mode:04o} ").as_bytes(), &name].concat();
    let reply = connection.ask("SITE", &argument).await?;
    if reply.is_done() {
        return Ok(None);
    }
    let said = model::PeerText::new(&reply.said());
    tracing::debug!(host = %connection.target().host, %path, %said, "the server does not set permissions");
    Ok(Some(match reply.code {
        500..=504 => WhyNotSet::Unsupported,
        _ => WhyNotSet::Refused,
    }))
}
