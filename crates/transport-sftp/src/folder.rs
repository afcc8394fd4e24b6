//! An SFTP server's directories as a [`Folder`].
//!
//! Renaming is the draft's RENAME, which fails when the target exists. Not every server keeps to that,
//! so the target is looked for first; on OpenSSH the server itself refuses what appears in between.
//! Replacing is `posix-rename@openssh.com`, in one step, where it is offered.

use crate::error::{Fault, code};
use crate::list::{self, entry};
use crate::pool::{Lease, Pool};
use crate::read;
use crate::upload::SftpUpload;
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, RemotePath, Result, Retry};
use std::sync::Arc;
use tokio::io::AsyncRead;
use transport::folder::{Entry, Folder, FolderCapabilities, Published, Upload};

/// A folder over pooled connections.
pub(crate) struct SftpFolder {
    pool: Arc<Pool>,
}

impl SftpFolder {
    pub(crate) fn new(pool: Arc<Pool>) -> Self {
        Self { pool }
    }

    async fn take(&self) -> Result<Lease> {
        let lease = self.pool.take().await?;
        lease.count();
        Ok(lease)
    }
}

/// Whether something lies at a path, whatever it is.
async fn exists(lease: &Lease, path: &RemotePath) -> std::result::Result<bool, Fault> {
    match lease.client().stat(path).await {
        Ok(_) => Ok(true),
        Err(fault) if fault.is(code::NO_SUCH_FILE) || fault.is(code::NO_SUCH_PATH) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// How a rename ended that did not fail.
enum Renamed {
    Done,
    Exists,
    /// The answer was lost.
    Unknown(Fault),
}

async fn rename_without_replacing(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, Fault> {
    if exists(lease, to).await? {
        return Ok(Renamed::Exists);
    }
    match lease.client().rename(from, to).await {
        Ok(()) => Ok(Renamed::Done),
        Err(fault) if fault.is(code::FILE_ALREADY_EXISTS) => Ok(Renamed::Exists),
        // "Failure" can be anything; a target that is there now tells which.
        Err(fault) if fault.is(code::FAILURE) => match exists(lease, to).await {
            Ok(true) => Ok(Renamed::Exists),
            _ => Err(fault),
        },
        Err(fault) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Err(fault) => Err(fault),
    }
}

async fn rename_replacing(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, Fault> {
    let answer = if lease.client().abilities().posix_rename {
        lease.client().replace(from, to).await
    } else {
        match rename_without_replacing(lease, from, to).await? {
            Renamed::Exists => {}
            other => return Ok(other),
        }
        // In two steps, as the server has no better: for a moment there is no file of that name. What
        // is to take its place must be there first.
        lease.client().stat(from).await?;
        lease.client().remove(to).await?;
        lease.client().rename(from, to).await
    };
    match answer {
        Ok(()) => Ok(Renamed::Done),
        Err(fault) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Err(fault) => Err(fault),
    }
}

#[async_trait]
impl Folder for SftpFolder {
    async fn capabilities(&self) -> Result<FolderCapabilities> {
        let lease = self.pool.take().await?;
        Ok(FolderCapabilities {
            rename_no_replace: true,
            rename_replace: lease.client().abilities().posix_rename,
            modified: true,
            directories: true,
        })
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        list::list(self.pool.take().await?, directory).await
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        let lease = self.take().await?;
        let told = lease
            .client()
            .stat(path)
            .await
            .map_err(|fault| fault.error("look at a file", lease.target(), Some(path)))?;
        Ok(entry(path.clone(), &told, b""))
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<Box<dyn AsyncRead + Send + Unpin>> {
        let budget = self.pool.remote().services.budget.clone();
        read::open(self.pool.take().await?, path, offset, budget).await
    }

    async fn begin_write(&self, path: &RemotePath, _length: Option<u64>) -> Result<Box<dyn Upload>> {
        let permissions = self.pool.remote().settings.permissions;
        Ok(Box::new(SftpUpload::begin(self.pool.take().await?, path, permissions).await?))
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        let lease = self.take().await?;
        let renamed = if overwrite {
            rename_replacing(&lease, temporary, name).await
        } else {
            rename_without_replacing(&lease, temporary, name).await
        };
        match renamed {
            Ok(Renamed::Done) => Ok(Published::Published),
            Ok(Renamed::Exists) => Ok(Published::Exists),
            Ok(Renamed::Unknown(_)) => Ok(Published::Unknown),
            Err(fault) => {
                let error = fault.error("give a file its name", lease.target(), Some(name));
                Err(error.with("temporary", temporary))
            }
        }
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        const OPERATION: &str = "rename a file";
        match rename_without_replacing(&lease, from, to).await {
            Ok(Renamed::Done) => Ok(()),
            Ok(Renamed::Exists) => Err(Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                .with("host", lease.target())
                .with("path", from)
                .with("to", to)
                .advice("the name is taken")),
            Ok(Renamed::Unknown(fault)) => {
                let error = fault.error(OPERATION, lease.target(), Some(from)).with("to", to);
                Err(error.retry_as(Retry::Ambiguous))
            }
            Err(fault) => Err(fault.error(OPERATION, lease.target(), Some(from)).with("to", to)),
        }
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        let removed = lease.client().remove(path).await;
        removed.map_err(|fault| fault.error("delete a file", lease.target(), Some(path)))
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        let mut made = RemotePath::from_bytes(if path.is_absolute() { &b"/"[..] } else { b"" });
        for part in path.parts() {
            made = made.join(&RemotePath::from_bytes(part));
            let fault = match lease.client().make_directory(&made).await {
                Ok(()) => continue,
                Err(fault) => fault,
            };
            // One that is there is refused as "Failure", one above us as forbidden: both are fine if
            // they are there. Links to directories are, so the look is into it.
            let is_there = !fault.is_unanswered() && lease.client().open_directory(&made).await.is_ok();
            if !is_there {
                return Err(fault.error("make a directory", lease.target(), Some(&made)));
            }
        }
        Ok(())
    }
}
