//! Copies a file of this machine into the gateway's staging, in constant memory. What a command that is killed leaves there has
//! no record: the sweep takes it away.

use super::CHUNK;
use super::progress::ProgressLine;
use config::Settings;
use model::{Error, ErrorKind, PayloadId, Result};
use staging::{StagedPayload, Staging};
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// Between two looks at how much is copied.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Refuses to stage a file that the gateway could not read: one that root writes belongs to root.
///
/// # Errors
/// `PermissionDenied`: staging belongs to another user.
pub(super) fn check_user(settings: &Settings) -> Result<()> {
    let directory = &settings.staging.directory;
    // Where there is none yet, it is made by whoever comes first.
    let Ok(found) = std::fs::metadata(directory) else { return Ok(()) };
    let (owner, user) = (found.uid(), rustix::process::geteuid());
    if !user.is_root() || owner == user.as_raw() {
        return Ok(());
    }
    Err(Error::permanent(ErrorKind::PermissionDenied, "stage a file for the gateway")
        .with("directory", directory.display())
        .with("owner", owner)
        .advice("run the command as the user of the gateway's service, such as `sudo -u waybill waybill as2 send …`"))
}

/// Copies and hashes a file, with a bar at the terminal. Ctrl-C ends it, and leaves nothing behind.
///
/// # Errors
/// The file cannot be read, or changed meanwhile; staging has no room; Ctrl-C.
pub(super) async fn stage(
    staging: &Staging,
    id: PayloadId,
    path: &Path,
    line: &mut ProgressLine,
) -> Result<StagedPayload> {
    let copied = Arc::new(AtomicU64::new(0));
    let stop = Arc::new(AtomicBool::new(false));
    let copying = Copying {
        staging: staging.clone(),
        id,
        path: path.to_owned(),
        copied: Arc::clone(&copied),
        stop: Arc::clone(&stop),
    };
    let (file, before) = copying.open()?;
    let total = before.len();
    let failed = |error: tokio::task::JoinError| {
        Error::permanent(ErrorKind::Internal, "stage a file").caused_by(error)
    };
    let mut work = tokio::task::spawn_blocking(move || copying.run(file, &before));
    loop {
        tokio::select! {
            done = &mut work => {
                line.clear();
                let staged = done.map_err(failed)??;
                if !stop.load(Ordering::SeqCst) {
                    return Ok(staged);
                }
                // Pressed while the last bytes became durable.
                let staging = staging.clone();
                tokio::task::spawn_blocking(move || staging.remove(staged.id)).await.map_err(failed)??;
                return Err(interrupted());
            }
            // Without a handler Ctrl-C ends the process, which leaves a part for the sweep.
            Ok(()) = tokio::signal::ctrl_c() => stop.store(true, Ordering::SeqCst),
            () = tokio::time::sleep(LOOK_EVERY) => {
                line.bar("copying to staging", copied.load(Ordering::Relaxed).min(total), total);
            }
        }
    }
}

fn interrupted() -> Error {
    Error::permanent(ErrorKind::Rejected, "send a file")
        .advice("it was interrupted: nothing is recorded, and nothing is sent")
}

struct Copying {
    staging: Staging,
    id: PayloadId,
    path: PathBuf,
    copied: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Copying {
    fn failed(&self, what: &'static str, error: std::io::Error) -> Error {
        Error::local_io(what, error).with("path", self.path.display())
    }

    fn open(&self) -> Result<(File, Metadata)> {
        let no_file = || {
            Error::permanent(ErrorKind::ConfigInvalid, "send a file")
                .with("path", self.path.display())
                .advice("it is no file: name a file")
        };
        // A named pipe would be waited for until another program opens it.
        if std::fs::metadata(&self.path).is_ok_and(|found| !found.is_file()) {
            return Err(no_file());
        }
        let file = File::open(&self.path).map_err(|error| self.failed("open the file", error))?;
        let found = file.metadata().map_err(|error| self.failed("look at the file", error))?;
        if !found.is_file() {
            return Err(no_file());
        }
        self.staging.check_room(found.len())?;
        Ok((file, found))
    }

    /// Dropped before it is committed, the part is removed.
    fn run(&self, mut file: File, before: &Metadata) -> Result<StagedPayload> {
        let mut part = self.staging.begin(self.id)?;
        let mut chunk = vec![0; CHUNK];
        loop {
            if self.stop.load(Ordering::SeqCst) {
                return Err(interrupted());
            }
            let count = file.read(&mut chunk).map_err(|error| self.failed("read the file", error))?;
            // One that grows meanwhile is not read to an end that it may never have.
            if count == 0 || part.length() > before.len() {
                break;
            }
            part.append(&chunk[..count])?;
            self.copied.fetch_add(count as u64, Ordering::Relaxed);
        }
        let after = file.metadata().map_err(|error| self.failed("look at the file", error))?;
        let changed = after.len() != before.len()
            || (after.mtime(), after.mtime_nsec()) != (before.mtime(), before.mtime_nsec());
        if changed || part.length() != before.len() {
            return Err(Error::permanent(ErrorKind::IntegrityFailed, "send a file")
                .with("path", self.path.display())
                .advice(
                    "it changed while it was read: wait until it is written completely, and send it again",
                ));
        }
        part.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use staging::RealDisk;

    fn copying(root: &Path, path: PathBuf) -> Copying {
        let settings = staging::Settings { min_free: 0, ..staging::Settings::default() };
        Copying {
            staging: Staging::open(&root.join("staging"), Arc::new(RealDisk), settings).unwrap(),
            id: PayloadId::new(uuid::Uuid::now_v7()),
            path,
            copied: Arc::default(),
            stop: Arc::default(),
        }
    }

    #[test]
    fn a_file_is_staged_with_its_hash() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("po.edi");
        let bytes = vec![7; CHUNK * 2 + 5];
        std::fs::write(&path, &bytes).unwrap();
        let copying = copying(root.path(), path);
        let (file, before) = copying.open().unwrap();
        let staged = copying.run(file, &before).unwrap();
        assert_eq!((staged.length, staged.sha256.0), (bytes.len() as u64, openssl::sha::sha256(&bytes)));
        assert_eq!(copying.copied.load(Ordering::Relaxed), staged.length);
        assert!(copying.staging.holds(copying.id).unwrap());
    }

    #[test]
    fn what_is_interrupted_or_changes_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("po.edi");
        std::fs::write(&path, b"an order").unwrap();
        let copying = copying(root.path(), path.clone());
        let (file, before) = copying.open().unwrap();
        std::fs::write(&path, b"another, longer order").unwrap();
        let error = copying.run(file, &before).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IntegrityFailed);
        let (file, before) = copying.open().unwrap();
        copying.stop.store(true, Ordering::SeqCst);
        assert!(copying.run(file, &before).unwrap_err().chain().contains("nothing is sent"));
        assert!(!copying.staging.holds(copying.id).unwrap());
        let directory = Copying { path: root.path().to_owned(), ..copying };
        assert!(directory.open().unwrap_err().chain().contains("name a file"));
    }
}
