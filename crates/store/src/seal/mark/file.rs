//! The file of a node's notes, and its lock.

use super::SealMark;
use crate::slow_disk::{SlowDisk, read_regular};
use crate::whole_file::place;
use model::{Error, ErrorKind, Result};
use serde_json::Value;
use std::fs::{File, TryLockError};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Largest file that is read, in bytes: a node's note has a few hundred for each node.
const LARGEST: u64 = 1 << 20;
/// How often a lock that another process holds is tried, and the time between two attempts.
const LOOKS: u32 = 600;
const LOOK: Duration = Duration::from_millis(50);

/// The file of a node's notes, `seals.json` in its state directory.
#[derive(Clone, Debug)]
pub struct MarkFile {
    path: PathBuf,
    disk: SlowDisk,
}

/// The right to change the notes: only one process at a time has it.
pub(crate) struct MarkLock(Arc<File>);

impl MarkFile {
    /// The file in a state directory; nothing is read or made.
    #[must_use]
    pub fn within(state_directory: &Path) -> Self {
        Self { path: state_directory.join("seals.json"), disk: SlowDisk::default() }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the notes; `None` if none were ever written.
    ///
    /// # Errors
    /// They cannot be read, or this version does not understand them ([`ErrorKind::IntegrityFailed`]).
    pub async fn read(&self) -> Result<Option<SealMark>> {
        const OPERATION: &str = "read the node's note of its newest seal";
        let path = self.path.clone();
        let work = move || {
            let failed = |error| Error::local_io(OPERATION, error).with("path", path.display());
            let unread = || {
                Error::permanent(ErrorKind::IntegrityFailed, OPERATION).with("path", path.display()).advice(
                    "the file was changed: restore it from a backup of the state directory, or, if you are \
                    sure that nobody tampered with the trail, accept the trail as it is with `waybill audit \
                    accept-restored`",
                )
            };
            let bytes = match read_regular(&path, LARGEST) {
                Ok(bytes) if bytes.len() as u64 > LARGEST => return Err(unread()),
                Ok(bytes) => bytes,
                Err(error) if error.kind() == IoErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == IoErrorKind::InvalidInput => {
                    return Err(unread().caused_by(error));
                }
                Err(error) => return Err(failed(error)),
            };
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| unread().caused_by(error))?;
            SealMark::of_json(&value).map(Some).ok_or_else(unread)
        };
        self.disk.run(OPERATION, &self.path, work).await
    }

    /// Writes the notes durably and atomically. The lock is held until the disk has answered, even if the caller no
    /// longer waits.
    ///
    /// # Errors
    /// The disk did not take it, or did not confirm.
    pub(crate) async fn write(&self, mark: &SealMark, lock: &MarkLock) -> Result<()> {
        const OPERATION: &str = "write the node's note of its newest seal";
        let (path, text) = (self.path.clone(), format!("{:#}\n", mark.json()));
        let lock = Arc::clone(&lock.0);
        let work = move || {
            let placed = place(&path, text.as_bytes(), 0o644, true);
            drop(lock);
            placed.map_err(|error| Error::local_io(OPERATION, error).with("path", path.display()))
        };
        self.disk.run(OPERATION, &self.path, work).await
    }

    /// Prevents other processes (a command beside the gateway) from changing the notes in the meantime.
    ///
    /// # Errors
    /// The state directory cannot be written, or another process holds the lock for half a minute.
    pub(crate) async fn lock(&self) -> Result<MarkLock> {
        const OPERATION: &str = "lock the node's note of its newest seal";
        let path = self.path.with_extension("lock");
        let failed = |path: &Path, error| Error::local_io(OPERATION, error).with("path", path.display());
        for _ in 0..LOOKS {
            let wanted = path.clone();
            let work = move || {
                let file = File::create(&wanted).map_err(|error| failed(&wanted, error))?;
                match file.try_lock() {
                    Ok(()) => Ok(Some(file)),
                    Err(TryLockError::WouldBlock) => Ok(None),
                    Err(TryLockError::Error(error)) => Err(failed(&wanted, error)),
                }
            };
            if let Some(file) = self.disk.run(OPERATION, &path, work).await? {
                return Ok(MarkLock(Arc::new(file)));
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(Error::transient(ErrorKind::Timeout, OPERATION)
            .with("path", path.display())
            .advice("another process of Waybill has locked it; perhaps a command hangs"))
    }
}
