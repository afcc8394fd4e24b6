//! An FTP server's directories as a [`Folder`].
//!
//! RNTO replaces what has the name on most servers, and FTP has no other rename: a name that must be free is looked for
//! first. Between the look and the rename another program can still take it.

mod checksum;
mod found_out;
mod list;
mod read;
mod stat;
mod upload;

use crate::connection::{Connection, Remote, Transfer};
use crate::error::{Fault, not_found};
use crate::protocol::listing::written;
use crate::protocol::path::argument;
use crate::protocol::reply::Reply;
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Error, ErrorKind, Probe, Purpose, RemotePath, Result, Retry, Timestamp};
use net::{Pool, PoolLease};
use stat::{Looked, look, refined};
use std::sync::{Arc, OnceLock};
use transport::folder::{
    Entry, FileReader, Folder, FolderCapabilities, Published, RENAME_REFUSED, ServerChecksum, Upload, aside,
    settle_aside,
};

/// The use of a connection for an operation.
type Lease = PoolLease<Connection>;

/// A folder over pooled connections.
pub(crate) struct FtpFolder {
    pool: Pool<Remote>,
    /// Of files that are written; `None` leaves them to the server.
    permissions: Option<u32>,
    /// Where logins start, since the first one.
    start: OnceLock<RemotePath>,
}

impl FtpFolder {
    /// Files that it writes get these permissions, where some are given.
    pub(crate) const fn new(pool: Pool<Remote>, permissions: Option<u32>) -> Self {
        Self { pool, permissions, start: OnceLock::new() }
    }

    async fn take(&self) -> Result<Lease> {
        let lease = self.pool.take().await?;
        lease.count();
        self.start.get_or_init(|| lease.login_directory().clone());
        Ok(lease)
    }
}

/// The error of an operation on a path, as `NotFound` where nothing is at the path.
async fn failed(lease: &Lease, fault: Fault, operation: &'static str, path: &RemotePath) -> Error {
    match refined(lease, fault, path).await {
        (Fault::Refused(reply), true) => not_found(reply, operation, lease.target(), path),
        (fault, _) => fault.error(operation, lease.target(), Some(path)),
    }
}

/// How a rename ended that did not fail.
enum Renamed {
    Done,
    Exists,
    /// The answer was lost.
    Unknown(Fault),
}

/// Why a rename failed: what the server refused, and whether it was the first of both commands.
struct NotRenamed {
    fault: Fault,
    is_source: bool,
}

/// RNFR and RNTO, which replace on most servers.
async fn rename(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, NotRenamed> {
    let source = |fault| NotRenamed { fault, is_source: true };
    let target = |fault| NotRenamed { fault, is_source: false };
    let name = lease.argument(to).map_err(target)?;
    let reply = lease.ask_of("RNFR", from).await.map_err(source)?;
    if !reply.wants_more() {
        return Err(source(Fault::Refused(reply)));
    }
    match lease.ask("RNTO", &name).await {
        Ok(reply) if reply.is_done() => Ok(Renamed::Done),
        Ok(reply) => Err(target(Fault::Refused(reply))),
        Err(fault) if fault.is_unanswered() => Ok(Renamed::Unknown(fault)),
        Err(fault) => Err(target(fault)),
    }
}

async fn rename_without_replacing(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, NotRenamed> {
    let looked = look(lease, to).await.map_err(|fault| NotRenamed { fault, is_source: true })?;
    if matches!(looked, Looked::Found(_)) {
        return Ok(Renamed::Exists);
    }
    match rename(lease, from, to).await {
        // It appeared in between, and the server replaces nothing.
        Err(NotRenamed { fault: Fault::Refused(reply), is_source: false }) => {
            match is_there(lease, to).await? {
                true => Ok(Renamed::Exists),
                false => Err(NotRenamed { fault: Fault::Refused(reply), is_source: false }),
            }
        }
        other => other,
    }
}

/// Whether a file is at a path, asked after a rename was refused. Without an answer the refusal says nothing: it may be
/// because of a file that is to be replaced, and is no reason to give up.
async fn is_there(lease: &Lease, path: &RemotePath) -> std::result::Result<bool, NotRenamed> {
    match look(lease, path).await {
        Ok(looked) => Ok(matches!(looked, Looked::Found(_))),
        Err(fault) => Err(NotRenamed { fault, is_source: true }),
    }
}

async fn rename_replacing(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
) -> std::result::Result<Renamed, NotRenamed> {
    match rename(lease, from, to).await {
        Err(NotRenamed { fault: Fault::Refused(reply), is_source: false }) => {
            if !is_there(lease, to).await? || !is_there(lease, from).await? {
                return Err(NotRenamed { fault: Fault::Refused(reply), is_source: false });
            }
            replace_in_steps(lease, from, to, reply).await
        }
        other => other,
    }
}

/// For servers that refuse a name that is taken: the file that is replaced is renamed first, and deleted last, since a
/// server that lets an account delete files may still refuse to rename them. For a moment there is no file of that name.
async fn replace_in_steps(
    lease: &Lease,
    from: &RemotePath,
    to: &RemotePath,
    refused: Reply,
) -> std::result::Result<Renamed, NotRenamed> {
    let aside = aside(to, from);
    // What an earlier attempt left there, between the steps.
    let _ = lease.act("DELE", &aside).await;
    match rename(lease, to, &aside).await {
        Ok(Renamed::Done) => {}
        Err(NotRenamed { fault: Fault::Refused(_), .. }) => {
            return Err(NotRenamed { fault: Fault::Refused(refused), is_source: false });
        }
        other => return other,
    }
    match rename(lease, from, to).await {
        Ok(Renamed::Done) => {
            match lease.act("DELE", &aside).await {
                Ok(_) => {}
                // The caller looks over another connection, and settles what is left.
                Err(fault) if fault.is_unanswered() => return Ok(Renamed::Unknown(fault)),
                Err(fault) => {
                    tracing::warn!(host = %lease.target().host, path = %aside, ?fault, "a replaced file was renamed and cannot be deleted");
                }
            }
            Ok(Renamed::Done)
        }
        Err(NotRenamed { fault: Fault::Refused(reply), is_source }) => {
            if !matches!(rename(lease, &aside, to).await, Ok(Renamed::Done)) {
                tracing::warn!(host = %lease.target().host, path = %to, now = %aside, "a file that was not replaced cannot be renamed back");
            }
            Err(NotRenamed { fault: Fault::Refused(reply), is_source })
        }
        other => other,
    }
}

impl NotRenamed {
    async fn error(
        self,
        lease: &Lease,
        operation: &'static str,
        from: &RemotePath,
        to: &RemotePath,
    ) -> Error {
        let error = if self.is_source {
            failed(lease, self.fault, operation, from).await
        } else {
            // What may be missing is the directory of the new name.
            let directory = to.parent().unwrap_or_default();
            match refined(lease, self.fault, &directory).await {
                (Fault::Refused(reply), true) => not_found(reply, operation, lease.target(), &directory),
                (fault, _) => fault.error(operation, lease.target(), Some(from)),
            }
        };
        error.with("to", to)
    }
}

#[async_trait]
impl Folder for FtpFolder {
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>> {
        let remote = self.pool.connector();
        let connection = remote.connect_for_test(self.pool.endpoint(), probe).await?;
        // The pool lives as long as the folder, and the connection as long as the pool.
        let limits = remote.settings.limits;
        let pool = Pool::new(Arc::clone(remote), self.pool.endpoint(), Purpose::Test, limits);
        drop(pool.admit(connection));
        Some(Arc::new(Self::new(pool, self.permissions)))
    }

    fn check_path(&self, path: &RemotePath) -> Result<()> {
        let names = self.pool.connector().settings.names;
        argument(&RemotePath::default(), path, names).map(drop).map_err(|why| {
            Error::permanent(ErrorKind::Rejected, "name a file in an FTP command")
                .with("endpoint", self.pool.endpoint())
                .with("path", path)
                .advice(why.advice())
        })
    }

    async fn capabilities(&self) -> Result<FolderCapabilities> {
        let lease = self.pool.take().await?;
        Ok(FolderCapabilities { rename_no_replace: false, set_modified: lease.features().mfmt })
    }

    async fn absolute(&self, path: &RemotePath) -> Result<Option<RemotePath>> {
        // No connection is waited for: whoever asks has used one.
        Ok(match self.start.get() {
            Some(start) => Some(start.join(path)),
            None => path.is_absolute().then(|| path.clone()),
        })
    }

    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>> {
        let lease = self.take().await?;
        let fault = match list::list(&lease, directory).await {
            Ok(entries) => return Ok(entries),
            Err(fault) => fault,
        };
        let error = failed(&lease, fault, list::OPERATION, directory).await;
        Err(if error.kind() == ErrorKind::NotFound && !directory.is_absolute() {
            error.advice("the path is relative to the login directory; write two slashes after the host for an absolute path")
        } else {
            error
        })
    }

    async fn stat(&self, path: &RemotePath) -> Result<Entry> {
        const OPERATION: &str = "look at a file";
        let lease = self.take().await?;
        match look(&lease, path).await {
            Ok(Looked::Found(entry)) => Ok(entry),
            Ok(Looked::Missing(reply)) => Err(not_found(reply, OPERATION, lease.target(), path)),
            Ok(Looked::Refused(reply)) => {
                Err(Fault::Refused(reply).error(OPERATION, lease.target(), Some(path)))
            }
            Err(fault) => Err(fault.error(OPERATION, lease.target(), Some(path))),
        }
    }

    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader> {
        let lease = self.take().await?;
        read::open(&self.pool, lease, path, offset).await
    }

    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>> {
        let lease = self.take().await?;
        Ok(Box::new(upload::FtpUpload::begin(self, lease, path, length).await?))
    }

    async fn resume_write(
        &self,
        path: &RemotePath,
        offset: u64,
        _length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        let lease = self.take().await?;
        let resumed = upload::FtpUpload::resume(self, lease, path, offset).await?;
        Ok(resumed.map(|upload| Box::new(upload) as Box<dyn Upload>))
    }

    async fn append(&self, path: &RemotePath, end: u64) -> Result<Option<Box<dyn Upload>>> {
        let lease = self.take().await?;
        Ok(Some(Box::new(upload::FtpUpload::append(self, lease, path, end).await?)))
    }

    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published> {
        const OPERATION: &str = "publish a file";
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
            Err(not) => {
                let error = not.error(&lease, OPERATION, temporary, name).await;
                Err(match error.kind() {
                    ErrorKind::PermissionDenied | ErrorKind::Unsupported | ErrorKind::Rejected => {
                        error.advice(RENAME_REFUSED)
                    }
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
        const OPERATION: &str = "rename a file";
        let lease = self.take().await?;
        match rename_without_replacing(&lease, from, to).await {
            Ok(Renamed::Done) => Ok(()),
            Ok(Renamed::Exists) => Err(lease.on_connection(
                Error::permanent(ErrorKind::AlreadyExists, OPERATION)
                    .with("path", from)
                    .with("to", to)
                    .advice("a file of that name exists already"),
            )),
            Ok(Renamed::Unknown(fault)) => {
                let error = fault.error(OPERATION, lease.target(), Some(from)).with("to", to);
                Err(error.retry_as(Retry::Ambiguous))
            }
            Err(not) => Err(not.error(&lease, OPERATION, from, to).await),
        }
    }

    async fn set_modified(&self, path: &RemotePath, modified: Timestamp) -> Result<()> {
        const OPERATION: &str = "set the time of a file";
        let lease = self.take().await?;
        let unsupported = |advice: &'static str| {
            lease.on_connection(
                Error::permanent(ErrorKind::Unsupported, OPERATION)
                    .with("path", path)
                    .with("time", modified)
                    .advice(advice),
            )
        };
        if !lease.features().mfmt {
            return Err(unsupported("the server does not offer MFMT, the command that sets times"));
        }
        let time =
            written(modified).ok_or_else(|| unsupported("MFMT can express the years 0 to 9999 only"))?;
        let name =
            lease.argument(path).map_err(|fault| fault.error(OPERATION, lease.target(), Some(path)))?;
        let argument = [time.as_bytes(), b" ", &name].concat();
        match lease.ask("MFMT", &argument).await {
            Ok(reply) if reply.is_done() => Ok(()),
            Ok(reply) => Err(failed(&lease, Fault::Refused(reply), OPERATION, path).await),
            Err(fault) => Err(fault.error(OPERATION, lease.target(), Some(path))),
        }
    }

    async fn checksum(&self, path: &RemotePath) -> Result<Option<ServerChecksum>> {
        let lease = self.take().await?;
        let computed = checksum::checksum(&lease, path).await;
        computed.map_err(|fault| fault.error("compute the checksum of a file", lease.target(), Some(path)))
    }

    async fn remove(&self, path: &RemotePath) -> Result<()> {
        let lease = self.take().await?;
        match lease.act("DELE", path).await {
            Ok(_) => Ok(()),
            Err(fault) => Err(failed(&lease, fault, "delete a file", path).await),
        }
    }

    async fn make_directory(&self, path: &RemotePath) -> Result<()> {
        const OPERATION: &str = "make a directory";
        let lease = self.take().await?;
        let wrong = |fault: Fault, at: &RemotePath| fault.error(OPERATION, lease.target(), Some(at));
        if lease.ask_of("CWD", path).await.map_err(|fault| wrong(fault, path))?.is_done() {
            return Ok(());
        }
        let mut made = RemotePath::from_bytes(if path.is_absolute() { &b"/"[..] } else { b"" });
        for part in path.parts() {
            made = made.join(&RemotePath::from_bytes(part));
            let reply = lease.ask_of("MKD", &made).await.map_err(|fault| wrong(fault, &made))?;
            // One that is there is refused, and so is one above us: both are fine if they are there.
            if !reply.is_done()
                && !lease.ask_of("CWD", &made).await.map_err(|fault| wrong(fault, &made))?.is_done()
            {
                return Err(wrong(Fault::Refused(reply), &made));
            }
        }
        Ok(())
    }
}
