//! Folders: what file, SFTP, FTP and WebDAV have in common, and polling and safe writing over it.

mod adapter;
mod check;
mod destination;
mod names;
pub mod options;
mod place;
mod selection;
mod source;
mod walk;

/// Bytes of buffers that a reader from [`Folder::read`] may hold without a lease of its own: whoever copies
/// from it takes them with its own.
pub const READER_BUFFERS: usize = 256 * 1024;

/// What a person can do where files can be written and are refused their names.
pub const RENAME_REFUSED: &str = "the server lets this user write files but not rename them: ask its operator for the right to rename, or set temporary = \"none\" on the flow's destination";

pub use adapter::{FolderProtocol, FolderTransport, FolderUse};
pub use check::check_poll;
pub use destination::{FolderDestination, Overwrite, PUBLISHING, WRITING, WriteOptions};
pub use names::{NAME_LIMIT, check_affix, parse_directory};
pub use options::{After, Polling};
pub use place::FolderPlace;
pub use source::{FolderSource, FolderSourceOptions};

use crate::Probe;
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Timestamp};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// A place with files in directories. Paths are as the place itself takes them: absolute, or relative
/// to where a login starts; the empty path is that start itself.
///
/// `list` and `stat` should tell the same size, time and version of an unchanged file: offers are compared by
/// them. What only one of them tells contradicts nothing. Where they contradict each other, listings are compared
/// with listings, and looks with looks.
#[async_trait]
pub trait Folder: Send + Sync {
    /// Begins the test of an endpoint: makes a connection for the test alone and adds each step of that, such as name, TCP,
    /// trust and login. Answers the folder over that connection, with which the test goes on; `None` where a step failed.
    /// A place without connections adds nothing and answers itself.
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>>;

    /// What the place can do. Asked after a connection was made where it depends on the server.
    ///
    /// # Errors
    /// The place cannot be reached.
    async fn capabilities(&self) -> Result<FolderCapabilities>;

    /// What tells a directory from another that takes its path: of a file system that is mounted there or not, the
    /// inode. `None` where the place cannot tell.
    ///
    /// # Errors
    /// As [`Folder::stat`].
    async fn identity(&self, _directory: &RemotePath) -> Result<Option<String>> {
        Ok(None)
    }

    /// Lists a directory as the server sends it, without `.` and `..`, in bounded memory.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, and what breaks connections.
    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>>;

    /// What lies at a path, symbolic links followed only where that leads to no place outside.
    ///
    /// # Errors
    /// `NotFound` when nothing does.
    async fn stat(&self, path: &RemotePath) -> Result<Entry>;

    /// Reads from an offset to the end of the data, which is where the place says that there is no more: a size
    /// that it states elsewhere may be wrong.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader>;

    /// Opens a file as for reading, and closes it without reading: a mailbox may give each file only once.
    ///
    /// # Errors
    /// As [`Folder::read`].
    async fn try_open(&self, path: &RemotePath) -> Result<()> {
        self.read(path, 0).await.map(drop)
    }

    /// Begins to write a new file; what lies there under that name is replaced. The name is a
    /// temporary one.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>>;

    /// Begins to write a file under a name that must be free; `None` when it is taken.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn begin_new_write(
        &self,
        path: &RemotePath,
        length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        match self.stat(path).await {
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.begin_write(path, length).await.map(Some)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a finished upload its name. Decides by capability how: rename without replacing, rename,
    /// atomic put.
    ///
    /// # Errors
    /// Only when nothing was published for sure; [`Published::Unknown`] when an answer was lost.
    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published>;

    /// Renames a file within the place, replacing nothing where the server can promise it.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, and by the protocol's codes.
    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()>;

    /// Sets when a file was last changed, as exactly as the place keeps times: what is told of it afterwards. Its
    /// bytes stay. Only where [`FolderCapabilities::set_modified`].
    ///
    /// # Errors
    /// `NotFound`; `Unsupported`, `PermissionDenied` or `Rejected` when the place does not set times.
    async fn set_modified(&self, path: &RemotePath, _modified: Timestamp) -> Result<()> {
        Err(Error::permanent(ErrorKind::Unsupported, "set the time of a file").with("path", path))
    }

    /// Removes a file. Idempotent callers treat `NotFound` as done.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn remove(&self, path: &RemotePath) -> Result<()>;

    /// Makes durable which names a directory holds, where the place can: asked when a name is found given or gone by
    /// an earlier call, which may have been cut off before it was durable.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn sync_directory(&self, _directory: &RemotePath) -> Result<()> {
        Ok(())
    }

    /// Makes a directory and those above it; one that exists is fine.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn make_directory(&self, path: &RemotePath) -> Result<()>;
}

/// What a folder can do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FolderCapabilities {
    /// A rename that fails when the target exists.
    pub rename_no_replace: bool,
    /// Times of files can be set, as far as the protocol knows: a server may refuse it all the same.
    pub set_modified: bool,
}

/// What lies at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name within its directory (from `list`), or the path asked for (from `stat`).
    pub path: RemotePath,
    /// File, directory or neither.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Last change.
    pub modified: Option<Timestamp>,
    /// An inode, etag or the like, that changes when another file takes the name.
    pub version: Option<String>,
    /// When the system last noted any change to the file, which a program cannot set back as it can `modified`: a
    /// local file system's ctime. It also changes with permissions, so it is no part of an offer's identity.
    pub changed: Option<Timestamp>,
}

/// Kinds of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link: never taken.
    Link,
    /// A device, pipe or socket: never taken.
    Other,
    /// The place does not tell. It is taken for a file if it cannot be listed as a directory.
    Unknown,
}

/// A file being read.
pub struct FileReader {
    /// The bytes.
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
    /// The connection that they come over; `None` where there is none, as for a directory of this machine.
    pub connection: Option<ConnectionId>,
}

impl AsyncRead for FileReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.bytes).poll_read(context, buffer)
    }
}

/// A file being written under a temporary name.
#[async_trait]
pub trait Upload: Send {
    /// The connection that the bytes go over; `None` where there is none, as for a directory of this machine.
    fn connection(&self) -> Option<ConnectionId>;

    /// Writes the next bytes.
    ///
    /// # Errors
    /// By the protocol's codes; the upload must then be aborted or dropped.
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<()>;

    /// Waits until all bytes written so far are acknowledged, and durable where they are on this machine.
    ///
    /// # Errors
    /// As [`Upload::write`].
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the file: all bytes acknowledged and, where the place can, synced. Tells what the place shows of it.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn finish(self: Box<Self>) -> Result<Written>;

    /// Gives up and removes the temporary file as far as possible.
    async fn abort(self: Box<Self>);
}

/// What a place shows of a file that was written, all of whose bytes it acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Written {
    /// Its size there; `None` where nobody may look.
    pub size: Option<u64>,
    /// By what it is known that the file is whole.
    pub evidence: Evidence,
    /// Whether it was taken away as soon as it was closed.
    pub gone: bool,
}

impl Written {
    /// A file that lies there with this size.
    #[must_use]
    pub fn there(size: u64) -> Self {
        Self { size: Some(size), evidence: Evidence::Size, gone: false }
    }
}

/// By what it is known that a written file is whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// Its size, told after it was closed.
    Size,
    /// Its size, told before it was closed: afterwards nobody may look, or it was taken.
    SizeBeforeClose,
    /// Its end, read after it was closed; the place states this size, which is wrong.
    End(u64),
    /// The acknowledgement of every write: nobody may look at all.
    Acknowledged,
    /// The acknowledgement of every write. The place told this size, which is another, before the file was closed or as
    /// it was; afterwards nobody may look, or it was taken. Places that count late do so.
    AcknowledgedAgainst(u64),
}

impl Evidence {
    /// The words of a receipt.
    #[must_use]
    pub fn words(self) -> Cow<'static, str> {
        match self {
            Self::Size => "size after closing".into(),
            Self::SizeBeforeClose => "size before closing".into(),
            Self::End(stated) => format!("the end of the file was read after closing; the server reports a wrong size of {stated} bytes").into(),
            Self::Acknowledged => "every write was acknowledged; the server shows no sizes".into(),
            Self::AcknowledgedAgainst(told) => {
                format!("every write was acknowledged; the server reported another size, {told} bytes").into()
            }
        }
    }
}

/// How publishing ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// The file has its name.
    Published,
    /// The name is taken, and replacing was not asked for.
    Exists,
    /// The answer was lost: the caller finds out by looking.
    Unknown,
}
