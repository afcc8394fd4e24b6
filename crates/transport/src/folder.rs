//! Folders: the interface that file, SFTP, FTP and WebDAV share, and polling and safe writing over it.
//!
//! "The server" means the remote server, or this machine for a local directory.

mod adapter;
mod archived;
mod aside;
mod attributes;
mod check;
mod checksum;
mod destination;
mod done_file;
mod filter;
mod local_archive;
mod names;
pub mod options;
mod outage;
mod place;
mod polled_directory;
mod selection;
mod source;
mod sum;
mod upload;
mod walk;

/// The most bytes that a reader from [`Folder::read`] may buffer without its own lease. The code that copies from the
/// reader includes them in its lease.
pub const READER_BUFFERS: usize = 256 * 1024;

/// The key in a payload's metadata of the modification time that its file had at the source, in microseconds.
pub(crate) const SOURCE_MODIFIED: &str = "source_modified_micros";

/// Advice for a server that lets files be written but not renamed.
pub const RENAME_REFUSED: &str = "the server lets this user write files but not rename them: ask its operator for the right to rename, or set temporary = \"none\" on the flow's destination";

pub use adapter::{FolderProtocol, FolderTransport, FolderUse};
pub use archived::remove_unchanged;
pub use aside::{aside, settle_aside};
pub use attributes::{NotSet, Owner, Principal, WhyNotSet};
pub use check::{check_poll, sample_directory};
pub use checksum::{ChecksumKind, ServerChecksum};
pub use destination::{
    APPENDING, DirectoryBelow, FILE_NAME, FolderDestination, IS_FILE_PATH, LOCKED, MARKING, Overwrite,
    PUBLISHING, Verify, WRITING, WriteOptions, is_unsettled,
};
pub use done_file::DoneFile;
pub use filter::{Empty, Filter};
pub use local_archive::{ToArchive, archive_payload, path_in_archive};
pub use names::{NAME_LIMIT, check_affix, parse_directory};
pub use options::{After, Claim, Polling};
pub use place::{FolderPlace, LOCAL_ADDRESS, LoginAddress};
pub use polled_directory::PolledDirectory;
pub use source::{FolderSource, FolderSourceOptions};
pub use sum::version_of;
pub use upload::{Evidence, Upload, Written};

use sum::{SUM_CHUNK, sum};

use crate::{Probe, Watch};
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{ConnectionId, Error, ErrorKind, RemotePath, Result, Timestamp};
use std::fs::File;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, ReadBuf};

/// A tree of directories with files. Paths have the server's own form: absolute, or relative to the login directory;
/// the empty path is the login directory.
///
/// `list` and `stat` should report the same size, time and version of an unchanged file, because offers are compared
/// by them. A value that only one of them reports is not a difference. If they always differ on a server, listings
/// are compared with listings, and `stat` results with `stat` results.
#[async_trait]
pub trait Folder: Send + Sync {
    /// Begins the test of an endpoint: opens a connection for this test only and adds each step (name lookup, TCP,
    /// trust, login) to the probe. Returns the folder over that connection, for the next steps of the test; `None` if
    /// a step failed. A folder without connections adds no steps and returns itself.
    async fn probe(self: Arc<Self>, probe: &mut Probe) -> Option<Arc<dyn Folder>>;

    /// What the server supports. Where it depends on the server, this is known only after a connection was made.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn capabilities(&self) -> Result<FolderCapabilities>;

    /// Whether its files are files of this machine ([`FileReader::file`]).
    fn is_local(&self) -> bool {
        false
    }

    /// Whether the protocol can carry a path. Asks no server.
    ///
    /// # Errors
    /// `Rejected`, permanent, as every act on that path.
    fn check_path(&self, _path: &RemotePath) -> Result<()> {
        Ok(())
    }

    /// An id that distinguishes a directory from another one at the same path, for example the inode, which shows
    /// whether a file system is mounted. `None` if the server has no such id.
    ///
    /// # Errors
    /// As [`Folder::stat`].
    async fn identity(&self, _directory: &RemotePath) -> Result<Option<String>> {
        Ok(None)
    }

    /// The absolute path of a path on the server, for receipts; `None` if the server does not tell where relative ones begin.
    ///
    /// # Errors
    /// The server cannot be reached.
    async fn absolute(&self, path: &RemotePath) -> Result<Option<RemotePath>> {
        Ok(path.is_absolute().then(|| path.clone()))
    }

    /// Lists a directory as the server sends it, without `.` and `..`, in bounded memory.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, and connection errors.
    async fn list(&self, directory: &RemotePath) -> Result<BoxStream<'static, Result<Entry>>>;

    /// Begins to watch a directory for files that arrive; `None` where the server cannot tell, which is the default.
    ///
    /// # Errors
    /// It cannot be watched now.
    async fn watch(&self, _directory: &RemotePath) -> Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    /// Returns the entry at a path. A symbolic link is followed only if its target is inside the folder.
    ///
    /// # Errors
    /// `NotFound` if nothing exists there.
    async fn stat(&self, path: &RemotePath) -> Result<Entry>;

    /// Reads from an offset to the end of the data. Only the server's end-of-data answer ends the reading; a size
    /// that it reported before may be wrong.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn read(&self, path: &RemotePath, offset: u64) -> Result<FileReader>;

    /// Opens a file for reading and closes it without reading: some servers give each file only once.
    ///
    /// # Errors
    /// As [`Folder::read`].
    async fn try_open(&self, path: &RemotePath) -> Result<()> {
        self.read(path, 0).await.map(drop)
    }

    /// Begins to write a file under a temporary name; a file that already has this name is replaced.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn begin_write(&self, path: &RemotePath, length: Option<u64>) -> Result<Box<dyn Upload>>;

    /// The kind of checksum that the server takes with a file, to compare it with what it receives; `None` if it takes none,
    /// which is the default.
    fn checksum_with_upload(&self) -> Option<ChecksumKind> {
        None
    }

    /// As [`Folder::begin_write`], with the checksum of the file, of the kind that [`Folder::checksum_with_upload`] tells. An
    /// upload whose file is another one at the server fails with `IntegrityFailed`, transient. Where the server itself said
    /// that both agree, [`Written::evidence`] is [`Evidence::ServerChecksum`].
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn begin_write_with(
        &self,
        path: &RemotePath,
        length: Option<u64>,
        _checksum: &ServerChecksum,
    ) -> Result<Box<dyn Upload>> {
        self.begin_write(path, length).await
    }

    /// Begins to write a file under a name that must be free; `None` if it exists.
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

    /// Goes on with a file that a broken upload left ([`Upload::suspend`]). The bytes before `offset`, all of which are
    /// there, stay; what is written follows them and replaces what is behind them. `None` if the server cannot do this,
    /// which is the default.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn resume_write(
        &self,
        _path: &RemotePath,
        _offset: u64,
        _length: Option<u64>,
    ) -> Result<Option<Box<dyn Upload>>> {
        Ok(None)
    }

    /// Opens a file to add bytes to its end; one that is missing is created. `end` is its size as it was last seen.
    /// Nothing that is there is changed or removed, not by [`Upload::abort`] either. `None` if the protocol cannot append,
    /// which is the default.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn append(&self, _path: &RemotePath, _end: u64) -> Result<Option<Box<dyn Upload>>> {
        Ok(None)
    }

    /// Gives back a lock under which an attempt that was killed wrote a file ([`Upload::lock`]). One that is gone needs nothing. By
    /// default there are no locks.
    ///
    /// # Errors
    /// The file may still be locked.
    async fn release_lock(&self, _path: &RemotePath, _lock: &str) -> Result<()> {
        Ok(())
    }

    /// Publishes a finished upload: renames it to its final name. Uses what the server supports: rename without
    /// replacing, rename, or atomic put.
    ///
    /// # Errors
    /// Only if it is certain that nothing was published. If the answer was lost, the result is
    /// [`Published::Unknown`].
    async fn publish(&self, temporary: &RemotePath, name: &RemotePath, overwrite: bool) -> Result<Published>;

    /// Ends a replacement in several steps in which [`Folder::publish`] was interrupted. The replaced file, which was renamed
    /// ([`aside`]), is removed if the new file is published, and renamed back if it is not. Does nothing where files are
    /// replaced in one step, which is the default.
    ///
    /// # Errors
    /// The renamed file may still exist.
    async fn settle_replaced(
        &self,
        _temporary: &RemotePath,
        _name: &RemotePath,
        _is_published: bool,
    ) -> Result<()> {
        Ok(())
    }

    /// The path to which [`Folder::publish`] may rename a file that it replaces ([`aside`]); `None` where files are replaced in one
    /// step, which is the default.
    fn replaced_path(&self, _temporary: &RemotePath, _name: &RemotePath) -> Option<RemotePath> {
        None
    }

    /// Renames a file within the folder. Where the server can guarantee it, an existing file is not replaced.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, and by the protocol's codes.
    async fn rename(&self, from: &RemotePath, to: &RemotePath) -> Result<()>;

    /// Sets a file's modification time, as precisely as the server stores it; `list` and `stat` report it from then
    /// on. The content does not change. Called only with [`FolderCapabilities::set_modified`].
    ///
    /// # Errors
    /// `NotFound`; `Unsupported`, `PermissionDenied` or `Rejected` if the server does not set times.
    async fn set_modified(&self, path: &RemotePath, _modified: Timestamp) -> Result<()> {
        Err(Error::permanent(ErrorKind::Unsupported, "set the time of a file").with("path", path))
    }

    /// Asks the server to compute the checksum of a file; the best of [`ChecksumKind::BY_PREFERENCE`] that it has. `None`
    /// if it computes none, which is the default. A value that is stored beside the file, as an `ETag`, is no checksum.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn checksum(&self, _path: &RemotePath) -> Result<Option<ServerChecksum>> {
        Ok(None)
    }

    /// Removes a file. Callers that must be idempotent treat `NotFound` as success.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn remove(&self, path: &RemotePath) -> Result<()>;

    /// Removes a file only if its [`Entry::version`] is still this one, where the server can make sure of that in the same step;
    /// elsewhere, and where no version is known, as [`Folder::remove`] does, which is the default. `false`: another file has the
    /// name now, and stays.
    ///
    /// # Errors
    /// As [`Folder::remove`].
    async fn remove_version(&self, path: &RemotePath, _version: Option<&str>) -> Result<bool> {
        self.remove(path).await.map(|()| true)
    }

    /// Makes the entries of a directory durable, where the server can. Called when an earlier call may have renamed
    /// or removed a file there and was interrupted before the change was durable.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn sync_directory(&self, _directory: &RemotePath) -> Result<()> {
        Ok(())
    }

    /// Creates a directory and its parents; an existing directory is not an error.
    ///
    /// # Errors
    /// By the protocol's codes.
    async fn make_directory(&self, path: &RemotePath) -> Result<()>;
}

/// What a folder's server supports.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FolderCapabilities {
    /// Whether a rename fails if the target exists.
    pub rename_no_replace: bool,
    /// Whether the protocol can set modification times. The server may still refuse it.
    pub set_modified: bool,
}

/// A file, directory or other entry at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name within its directory (from `list`), or the requested path (from `stat`).
    pub path: RemotePath,
    /// Whether it is a file, a directory or something else.
    pub kind: EntryKind,
    /// Size in bytes.
    pub size: Option<u64>,
    /// Modification time.
    pub modified: Option<Timestamp>,
    /// An inode, ETag or similar id that changes when another file gets this name. Of a directory: the same for every path that
    /// leads to it, so that links that are shown as directories are found.
    pub version: Option<String>,
    /// The status change time (ctime) of a local file system. Unlike `modified`, programs cannot set it back. It also
    /// changes with permissions, so it is not part of an offer's identity.
    pub changed: Option<Timestamp>,
}

impl Entry {
    /// Whether nothing that the server reports tells this entry from another one at the same path.
    #[must_use]
    pub fn looks_like(&self, other: &Self) -> bool {
        (self.kind, self.size, self.modified, &self.version)
            == (other.kind, other.size, other.modified, &other.version)
    }
}

/// Kinds of entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link. Never read.
    Link,
    /// A device, pipe or socket. Never read.
    Other,
    /// The server does not report the kind. The entry is treated as a file if it cannot be listed as a directory.
    Unknown,
}

/// A file being read.
pub struct FileReader {
    /// The bytes.
    pub bytes: Box<dyn AsyncRead + Send + Unpin>,
    /// The file itself, open, if it is one of this machine and is read from its beginning.
    pub file: Option<File>,
    /// The connection over which they are read; `None` if there is none, as for a local directory.
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

/// The result of a publication.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Published {
    /// The file has its final name.
    Published,
    /// A file with this name exists, and replacing was not requested.
    Exists,
    /// The answer was lost: the caller must check.
    Unknown,
}
