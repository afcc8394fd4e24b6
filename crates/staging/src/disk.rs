//! The file layer that staging stands on: just the calls it needs, so that a test can put a disk
//! below it that forgets what was not synced, or that is full.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

/// The names in a directory, in no order, read as they are asked for.
pub type Listing = Box<dyn Iterator<Item = io::Result<OsString>> + Send>;

/// Files and directories. Errors are the operating system's own.
#[allow(clippy::missing_errors_doc)]
pub trait Disk: Send + Sync {
    /// Creates a file that must not exist, for reading and writing. `mode` holds its permissions.
    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading.
    fn open_read(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Creates a directory; its parent must exist. `mode` holds its permissions.
    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()>;

    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file within the file system; fails with `AlreadyExists` where `to` exists.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; fails with `AlreadyExists` where `to` exists.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// The metadata of a name; symbolic links are not followed.
    fn stat(&self, path: &Path) -> io::Result<Stat>;

    /// The names in a directory, without `.` and `..`.
    fn list(&self, path: &Path) -> io::Result<Listing>;

    /// Room on the file system that holds `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file.
#[allow(clippy::missing_errors_doc)]
pub trait DiskFile: Send + Sync {
    /// Writes some of the bytes at an offset, in one system call; returns how many.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;

    /// Reads some bytes at an offset, in one system call; 0 at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Makes content and length durable; not the file's name.
    fn sync(&self) -> io::Result<()>;

    /// Cuts or extends the file.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// What is open.
    fn stat(&self) -> io::Result<Stat>;

    /// Takes the file's lock until this handle is dropped, over all processes; `false` when another
    /// holds it. Where the file system has no locks, every try succeeds.
    fn try_lock(&self) -> io::Result<bool>;

    /// Makes this empty file share the source's blocks, as they are at one moment; `None` where the file system cannot. Then
    /// nothing was changed. With it comes another handle of this file, to read from its beginning what it holds now.
    fn reflink(&self, source: &File) -> io::Result<Option<File>> {
        let _ = source;
        Ok(None)
    }

    /// Hint: start writing a range to the medium, so that a later sync has less to wait for.
    fn start_writeback(&self, offset: u64, length: u64) {
        let _ = (offset, length);
    }

    /// Hint: the file will be read from front to back.
    fn expect_sequential(&self) {}
}

/// What a file or directory is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Length in bytes.
    pub length: u64,
    /// When content, length or names last changed (ctime), in microseconds since 1970, UTC.
    pub changed_micros: i64,
    /// The file system it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// How many names it has.
    pub links: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// Room on a file system, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What this process may still write.
    pub free: u64,
    /// All there is.
    pub total: u64,
}
