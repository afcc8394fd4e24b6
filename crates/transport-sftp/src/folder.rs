//! An SFTP server's directories as a [`Folder`].
//!
//! Renaming uses the draft's RENAME, which fails if the target exists. OpenSSH follows that in one step. Not every
//! server does, so on others the target is checked first, if the server shows it.
//! Replacing uses `posix-rename@openssh.com`, in one step, if the server offers it.

mod list;
mod read;
mod space;
mod stat;
mod upload;

use crate::connection::{Connection, Remote};
use crate::protocol::fault::{Fault, code};
use async_trait::async_trait;
use futures::stream::BoxStream;
use list::entry;
use model::{Error, ErrorKind, Probe, Purpose, RemotePath, Result, Retry, Timestamp};
use net::{Pool, PoolLease, PooledConnection};
use stat::{Stat, look, refine};
use std::sync::{Arc, Mutex, PoisonError};
use transport::folder::{
    ChecksumKind, Entry, EntryKind, FileReader, Folder, FolderCapabilities, FolderUse, Published,
    RENAME_REFUSED, ServerChecksum, Upload, aside, settle_aside,
};

/// The use of a connection for an operation.
type Lease = PoolLease<Connection>;

/// What written files are given; with `None` the server decides.
#[derive(Clone, Copy, Default)]
pub(crate) struct Wanted {
    permissions: Option<u32>,
    owner: Option<NumericOwner>,
}

/// Who owns written files. The protocol knows numbers alone; one that is not given stays as it is.
#[derive(Clone, Copy)]
struct NumericOwner {
    user: Option<u32>,
    group: Option<u32>,
}

/// A folder over pooled connections.
pub(crate) struct SftpFolder {
    pool: Pool<Remote>,
    /// What written files are given.
    wanted: Wanted,
    /// What computes a file's SHA-256 at the server, where SFTP cannot be asked for it.
    checksum_command: Option<Arc<str>>,
    /// A poll's connection, from its first operation to its last: a folder is opened for each poll.
    held: Option<Mutex<Option<Lease>>>,
}

impl SftpFolder {
    /// A folder whose files are given what this use of it asks for.
    pub(crate) fn new(pool: Pool<Remote>, opened: FolderUse) -> Self {
        let held = (opened.purpose == Purpose::Poll).then(Mutex::default);
        let owner = opened.owner.map(|owner| NumericOwner {
            user: owner.user.and_then(|user| user.id()),
            group: owner.group.and_then(|group| group.id()),
        });
        let wanted = Wanted { permissions: opened.permissions, owner };
        Self { pool, wanted, checksum_command: None, held }
    }

    /// The same, which computes checksums by this command on servers without `check-file`.
    pub(crate) fn with_checksum_command(self, command: Option<&str>) -> Self {
        Self { checksum_command: command.map(Into::into), ..self }
    }

    /// A connection: for a poll the one that it began with, as long as that lives.
    async fn lease(&self) -> Result<Lease> {
        let Some(held) = &self.held else { return self.pool.take().await };
        let current = || held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = current().as_ref().filter(|lease| !lease.is_lost()) {
            return Ok(lease.clone());
        }
        let lease = self.pool.take().await?;
        let mut current = current();
        match current.as_ref().filter(|other| !other.is_lost()) {
            // Another operation of this poll was quicker.
            Some(other) => Ok(other.clone()),
            None => Ok(current.insert(lease).clone()),
        }
    }

    /// The same, counted as an operation.
    async fn take(&self) -> Result<Lease> {
        let lease = self.lease().await?;
        lease.count();
        Ok(lease)
    }
}

/// The error of an operation. It is `NotFound` if the server refused without a clear reason and no file exists at the
/// path.
async fn missing_told<T>(lease: &Lease, result: Result<T>, path: &RemotePath) -> Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::Rejected => match look(lease.client(), path).await {
            Ok(Stat::Missing(fault)) => {
                let told = fault.error("open a path", lease.target(), Some(path));
                Err(told.caused_by(error))
            }
            _ => Err(error),
        },
        other => other,
    }
}

/// The result of a rename that did not fail.
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
    let client = lease.client();
    // A target that the server does not show may still be tried: RENAME itself refuses an existing name.
    if !client.abilities().rename_refuses && matches!(look(client, to).await?, Stat::Found(_)) {
        return Ok(Renamed::Exists);
    }
    match client.rename(from, to).await {
        Ok(()) => Ok(Renamed::Done),
        Err(fault) if fault.says_taken() => Ok(Renamed::Exists),
        // "Failure" can mean anything; whether the target exists now decides. Where no answer tells that, nothing is known.
        Err(fault) if fault.is_vague() => {
            let there = match look(client, to).await {
                Err(silence) if silence.is_unanswered() => return Ok(Renamed::Unknown(silence)),
                looked => matches!(looked, Ok(Stat::Found(_))),
            };
            if there {
                return Ok(match look(client, from).await {
                    // The rename took effect anyway.
                    Ok(Stat::Missing(_)) => Renamed::Unknown(fault),
                    Err(silence) if silence.is_unanswered() => Renamed::Unknown(silence),
                    _ => Renamed::Exists,
                });
            }
            let fault = refine(client, fault, from).await;
            Err(refine(client, fault, &to.parent().unwrap_or_default()).await)
        }
        Err(fault) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Err(fault) => Err(fault),
    }
}

async fn rename_replacing(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, Fault> {
    let in_one_step = match lease.client().abilities().posix_rename {
        true => Some(lease.client().replace(from, to).await),
        false => None,
    };
    let answer = match in_one_step {
        // A server can offer it and its operator forbid it.
        Some(Err(fault)) if fault.is(code::OP_UNSUPPORTED) => None,
        answer => answer,
    };
    match answer {
        None => replace_in_steps(lease, from, to).await,
        Some(Ok(())) => Ok(Renamed::Done),
        Some(Err(fault)) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Some(Err(fault)) => Err(fault),
    }
}

/// For servers that have no better way: the file that is replaced is renamed first, and deleted last, since a server that
/// lets an account delete files may still refuse to rename them. For a moment there is no file of that name.
async fn replace_in_steps(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, Fault> {
    let client = lease.client();
    let aside = aside(to, from);
    match rename_without_replacing(lease, from, to).await? {
        Renamed::Exists => {}
        Renamed::Done => {
            // An earlier attempt may have been cut off between the steps.
            let _ = client.remove(&aside).await;
            return Ok(Renamed::Done);
        }
        Renamed::Unknown(fault) => return Ok(Renamed::Unknown(fault)),
    }
    if let Stat::Missing(fault) = look(client, from).await? {
        return Err(fault);
    }
    let mut moved = client.rename(to, &aside).await;
    if moved.as_ref().is_err_and(|fault| !fault.is_unanswered()) && client.remove(&aside).await.is_ok() {
        // What an earlier attempt left had the name.
        moved = client.rename(to, &aside).await;
    }
    match moved {
        Ok(()) => {}
        Err(fault) if fault.is_unanswered() => return Ok(Renamed::Unknown(fault)),
        Err(fault) => return Err(fault),
    }
    match client.rename(from, to).await {
        Ok(()) => {
            match client.remove(&aside).await {
                Ok(()) => {}
                // The caller looks over another connection, and settles what is left.
                Err(fault) if fault.is_unanswered() => return Ok(Renamed::Unknown(fault)),
                Err(fault) => {
                    tracing::warn!(host = lease.target().host, path = %aside, ?fault, "a replaced file was renamed and cannot be deleted");
                }
            }
            Ok(Renamed::Done)
        }
        Err(fault) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Err(fault) => {
            if let Err(back) = client.rename(&aside, to).await {
                tracing::warn!(host = lease.target().host, path = %to, now = %aside, fault = ?back, "a file that was not replaced cannot be renamed back");
            }
            Err(fault)
        }
    }
}

#[async_trait]
impl Folder for SftpFolder {
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
        let remote = self.pool.connector();
        let connection = remote.connect_for_test(self.pool.endpoint(), probe).await?;
        // The pool lives as long as the folder, and the connection as long as the pool.
        let limits = remote.settings.limits;
        let pool = Pool::new(Arc::clone(remote), self.pool.endpoint(), Purpose::Test, limits);
        drop(pool.admit(connection));
        let checksum_command = self.checksum_command.clone();
        Some(Arc::new(Self { pool, wanted: self.wanted, checksum_command, held: None }))
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        Ok(FolderCapabilities { rename_no_replace: true, set_modified: true })
    }

    async fn absolute(&self, path: &RemotePath) -> Result<Option<RemotePath>> {
        // Paths of Windows begin with a drive.
        let has_drive = matches!(path.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic());
        if path.is_absolute() || has_drive {
            return Ok(Some(path.clone()));
        }
        Ok(self.lease().await?.start().await?.map(|start| start.join(path)))
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let lease = self.lease().await?;
        missing_told(&lease, list::list(lease.clone(), directory).await, directory).await
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        let lease = self.take().await?;
        let looked = look(lease.client(), path).await;
        match looked {
            Ok(Stat::Found(told)) => Ok(entry(path.clone(), &told, b"")),
            Ok(Stat::Missing(fault) | Stat::Refused(fault)) | Err(fault) => {
                Err(fault.error("look at a file", lease.target(), Some(path)))
            }
        }
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        let budget = self.pool.connector().services.budget.clone();
        let lease = self.lease().await?;
        let bytes = missing_told(&lease, read::open(lease.clone(), path, offset, budget).await, path).await?;
        Ok(FileReader { bytes, connection: Some(lease.target().connection), file: None })
    }

    async fn try_open(&self, path: &RemotePath) -> Result<()> {
        read::try_open(self.take().await?, path).await
    }

    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        let lease = self.lease().await?;
        space::check(&lease, path, length).await?;
        let begun = upload::SftpUpload::begin(lease.clone(), path, self.wanted).await;
        Ok(Box::new(missing_told(&lease, begun, &path.parent().unwrap_or_default()).await?))
    }

    async fn begin_new_write(
        &self,
        path: &RemotePath,
        length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let lease = self.lease().await?;
        space::check(&lease, path, length).await?;
        let begun = upload::SftpUpload::begin_new(lease.clone(), path, self.wanted).await;
        let begun = missing_told(&lease, begun, &path.parent().unwrap_or_default()).await?;
        Ok(begun.map(|upload| Box::new(upload) as Box<dyn Upload>))
    }

    async fn resume_write(
        &self,
        path: &RemotePath,
        offset: u64,
        _length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let lease = self.lease().await?;
        let resumed = upload::SftpUpload::resume(lease.clone(), path, self.wanted, offset).await;
        Ok(Some(Box::new(missing_told(&lease, resumed, path).await?)))
    }

    async fn append(&self, path: &RemotePath, end: u64) -> Result<Option<Box<dyn Upload>>> {
        let lease = self.lease().await?;
        let begun = upload::SftpUpload::append(lease.clone(), path, self.wanted, end).await;
        Ok(Some(Box::new(missing_told(&lease, begun, &path.parent().unwrap_or_default()).await?)))
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
                let error = fault.error("publish a file", lease.target(), Some(name));
                let error = error.with("temporary", temporary);
                Err(match error.kind() {
                    // Servers answer so for a missing right more often than for a full disk.
                    ErrorKind::Rejected => error.advice(format!(
                        "{RENAME_REFUSED}; if other users can rename files there, check for a full disk or \
                        quota"
                    )),
                    ErrorKind::PermissionDenied | ErrorKind::Unsupported => error.advice(RENAME_REFUSED),
                    _ => error,
                })
            }
        }
    }

    async fn settle_replaced(
        &self,
        temporary: &RemotePath,
        name: &RemotePath,
        is_published: bool,
    ) -> Result<()> {
        settle_aside(self, temporary, name, is_published).await
    }

    fn replaced_path(&self, temporary: &RemotePath, name: &RemotePath) -> Option<RemotePath> {
        Some(aside(name, temporary))
    }

    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        const OPERATION: &str = "rename a file";
        match rename_without_replacing(&lease, from, to).await {
            Ok(Renamed::Done) => Ok(()),
            Ok(Renamed::Exists) => Err(Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                .with("host", &lease.target().host)
                .on_connection(lease.target().connection)
                .with("path", from)
                .with("to", to)
                .advice("a file of that name exists already")),
            Ok(Renamed::Unknown(fault)) => {
                let error = fault.error(OPERATION, lease.target(), Some(from)).with("to", to);
                Err(error.retry_as(Retry::Ambiguous))
            }
            Err(fault) => Err(fault.error(OPERATION, lease.target(), Some(from)).with("to", to)),
        }
    }

    async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<()> {
        const OPERATION: &str = "set the time of a file";
        // Version 3 has 32 bits for it.
        let Ok(seconds) = u32::try_from(modified.timestamp()) else {
            return Err(Error::permanent(ErrorKind::Unsupported, OPERATION)
                .with("path", path)
                .with("time", modified)
                .advice("SFTP version 3 can express times from 1970 to 2106 only"));
        };
        let lease = self.take().await?;
        match lease.client().set_modified(path, seconds).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                let fault = refine(lease.client(), fault, path).await;
                Err(fault.error(OPERATION, lease.target(), Some(path)))
            }
        }
    }

    async fn checksum(&self, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        let lease = self.take().await?;
        let (algorithm, value) = match lease.client().check_file(path, b"sha256,sha512,sha1,md5").await {
            Ok(checked) => checked,
            Err(Fault::Refused(_)) => {
                let Some(command) = &self.checksum_command else { return Ok(None) };
                // Shells begin at the user's home, SFTP perhaps elsewhere.
                let path = self.absolute(path).await?.unwrap_or_else(|| path.clone());
                return lease.sha256_by(command, &path).await;
            }
            Err(fault) => {
                return Err(fault.error("compute the checksum of a file", lease.target(), Some(path)));
            }
        };
        let kind = match &algorithm.to_ascii_lowercase()[..] {
            b"sha256" => ChecksumKind::Sha256,
            b"sha512" => ChecksumKind::Sha512,
            b"sha1" => ChecksumKind::Sha1,
            b"md5" => ChecksumKind::Md5,
            _ => return Ok(None),
        };
        // As a string, with its length before it, or as bare bytes.
        let value = match value.len().checked_sub(kind.length()) {
            Some(0 | 4) => value[value.len() - kind.length()..].to_vec(),
            _ => return Ok(None),
        };
        Ok(Some(ServerChecksum { kind, value }))
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        match lease.client().remove(path).await {
            Ok(()) => Ok(()),
            Err(fault) => {
                let fault = refine(lease.client(), fault, path).await;
                Err(fault.error("delete a file", lease.target(), Some(path)))
            }
        }
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
            // An existing directory is refused as "Failure", one above the login directory as forbidden: both are
            // fine if they exist. Links to directories are fine too, so links are followed.
            if fault.is_unanswered() {
                return Err(fault.error("make a directory", lease.target(), Some(&made)));
            }
            if lease.client().open_directory(&made).await.is_ok() {
                continue;
            }
            // If it may not be checked either, the write will show it.
            let is_there = match look(lease.client(), &made).await {
                Ok(Stat::Found(told)) => {
                    list::kind(&told, b"").is_none_or(|kind| kind == EntryKind::Directory)
                }
                Ok(Stat::Refused(_)) => {
                    fault.is_vague() || fault.says_taken() || fault.is(code::PERMISSION_DENIED)
                }
                Ok(Stat::Missing(_)) | Err(_) => false,
            };
            if !is_there {
                return Err(fault.error("make a directory", lease.target(), Some(&made)));
            }
        }
        Ok(())
    }
}
