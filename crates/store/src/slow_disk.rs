//! File operations that may never return: on a shared file system whose server does not answer, or on a file
//! that is not a regular file.

use model::{Error, ErrorKind, Result};
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// The longest wait for one operation.
const PATIENCE: Duration = Duration::from_secs(30);

/// One location on disk, for one user of it. Operations run on a separate thread, one at a time, and are not waited
/// for longer than 30 seconds. While one does not return, further ones fail soon: there is never more than one
/// thread.
#[derive(Clone, Debug)]
pub struct SlowDisk {
    turn: Arc<Semaphore>,
    patience: Duration,
}

impl Default for SlowDisk {
    fn default() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), patience: PATIENCE }
    }
}

impl SlowDisk {
    /// Runs an operation.
    ///
    /// # Errors
    /// The operation's own; [`ErrorKind::Timeout`] if it, or an earlier one, does not return. It may still be
    /// completed later.
    pub async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        path: &Path,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let late = |what: &str| {
            Error::transient(ErrorKind::Timeout, operation)
                .with("path", path.display())
                .with("waited", what)
                .advice(
                    "the file system does not answer: check its server and the system log of this machine",
                )
        };
        // An operation that is no longer waited for may be about to end.
        let turn = Arc::clone(&self.turn).acquire_owned();
        let Ok(Ok(turn)) = tokio::time::timeout(self.patience / 20, turn).await else {
            return Err(late("not tried: an earlier access still hangs"));
        };
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work()
        });
        match tokio::time::timeout(self.patience, work).await {
            Ok(done) => {
                done.map_err(|error| Error::transient(ErrorKind::Internal, operation).caused_by(error))?
            }
            Err(_) => Err(late(&format!("{} s", self.patience.as_secs()))),
        }
    }
}

/// Reads a complete regular file, at most this number of bytes and one more. Other kinds of files are not read.
///
/// # Errors
/// It cannot be read; [`io::ErrorKind::InvalidInput`] when it is not a regular file.
pub(crate) fn read_regular(path: &Path, at_most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(OpenOptions::new().read(true), path)?
        .take(at_most.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Opens a regular file; does not wait for a pipe or a device.
///
/// # Errors
/// It cannot be opened; [`io::ErrorKind::InvalidInput`] when it is not a regular file.
pub fn open_regular(options: &mut OpenOptions, path: &Path) -> io::Result<std::fs::File> {
    let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let file = options.custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[tokio::test]
    async fn work_that_hangs_is_left_behind_once() {
        let disk = SlowDisk { patience: Duration::from_millis(20), ..SlowDisk::default() };
        let (end, hung) = std::sync::mpsc::channel::<()>();
        let path = Path::new("/shared");
        let first = disk.run("wait", path, move || Ok(hung.recv().is_err())).await.unwrap_err();
        assert_eq!(first.kind(), ErrorKind::Timeout);
        assert!(first.chain().contains("/shared"), "{}", first.chain());
        let second = disk.run("wait", path, || Ok(())).await.unwrap_err();
        assert_eq!(second.kind(), ErrorKind::Timeout, "it has no thread of its own");
        drop(end);
        while disk.run("wait", path, || Ok(())).await.is_err() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let pipe = directory.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert_eq!(read_regular(&pipe, 10).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(open_regular(OpenOptions::new().append(true), &pipe).is_err());
        assert!(read_regular(Path::new("/dev/zero"), 10).is_err());
        assert!(read_regular(directory.path(), 10).is_err());
        let file = directory.path().join("file");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_regular(&file, 10).unwrap().len(), 10);
        assert_eq!(read_regular(&file, 5).unwrap().len(), 6);
    }
}
