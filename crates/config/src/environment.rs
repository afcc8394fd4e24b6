//! Everything outside the documents that checking them asks: variables, files, the time.

use model::Timestamp;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// What the process lives in. A parameter, so that checking can be tested and repeated.
pub trait Environment {
    /// An environment variable; `None` when it is not set or not UTF-8.
    fn variable(&self, name: &str) -> Option<String>;

    /// The path with every symbolic link followed.
    ///
    /// # Errors
    /// The operating system's.
    fn real_path(&self, path: &Path) -> io::Result<PathBuf>;

    /// A regular file, at most `limit` bytes of it.
    ///
    /// # Errors
    /// The operating system's; `InvalidInput` when it is not a regular file.
    fn read(&self, path: &Path, limit: u64) -> io::Result<ReadFile>;

    /// Now: certificates expire.
    fn now(&self) -> Timestamp;
}

/// A file's content.
#[derive(Clone)]
pub struct ReadFile {
    /// Its bytes, cut at the limit.
    pub bytes: Vec<u8>,
    /// Whether users of other groups may read it.
    pub readable_by_all: bool,
}

/// The real process, at a moment.
#[derive(Clone, Copy, Debug)]
pub struct ProcessEnvironment {
    now: Timestamp,
}

impl ProcessEnvironment {
    /// The process as seen at `now`.
    #[must_use]
    pub const fn at(now: Timestamp) -> Self {
        Self { now }
    }
}

impl Environment for ProcessEnvironment {
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn real_path(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<ReadFile> {
        let (file, metadata) = open_regular(path)?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        Ok(ReadFile { bytes, readable_by_all: readable_by_all(&metadata) })
    }

    fn now(&self) -> Timestamp {
        self.now
    }
}

/// Opens a regular file. Nothing else is waited for: not a named pipe's writer, nor a device.
pub(crate) fn open_regular(path: &Path) -> io::Result<(File, Metadata)> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    let file = options.open(path)?;
    // Asked of what was opened: the name may lead elsewhere by now.
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, metadata))
}

#[cfg(unix)]
fn readable_by_all(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o004 != 0
}

#[cfg(not(unix))]
fn readable_by_all(_: &std::fs::Metadata) -> bool {
    false
}
