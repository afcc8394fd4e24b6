//! The file of a packed message: written beside its place under a temporary name, and under its own name
//! only when it is whole.

use super::file_error;
use model::{Error, ErrorKind, Result};
use smime::threads::{Queue, WriteBehind};
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A message on its way to a file. Dropped without [`MessageFile::publish`], it leaves nothing; what was
/// under its name before is there still.
pub(crate) struct MessageFile {
    place: PathBuf,
    temporary: PathBuf,
    file: WriteBehind<File>,
    count: u64,
}

impl MessageFile {
    /// Begins a message that is to be at `place`, made of a payload.
    ///
    /// # Errors
    /// The place is the payload's own, or no place for a file; nothing is written then.
    pub(crate) fn begin(place: &Path, payload: &Metadata) -> Result<Self> {
        let failed = |error| file_error("create the message file", place, error);
        let refused = |advice: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "create the message file")
                .with("path", place.display())
                .advice(advice)
        };
        match fs::metadata(place) {
            Ok(there) if (there.dev(), there.ino()) == (payload.dev(), payload.ino()) => {
                return Err(refused(
                    "this is the payload file, which would be overwritten: choose another file with --out",
                ));
            }
            Ok(there) if !there.is_file() => {
                return Err(refused("it exists and is not a regular file: choose another file with --out"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty());
        let temporary =
            directory.unwrap_or(Path::new(".")).join(format!(".waybill-{}.part", std::process::id()));
        let file = File::create_new(&temporary).map_err(failed)?;
        let file = WriteBehind::new(file, Queue::OF_A_COMMAND).map_err(failed)?;
        Ok(Self { place: place.to_owned(), temporary, file, count: 0 })
    }

    /// Gives the message its name once it is on the disk; its length in bytes.
    ///
    /// # Errors
    /// It could not be written; nothing is left of it then.
    pub(crate) fn publish(mut self) -> Result<u64> {
        let written = self.file.finish().and_then(|file| file.sync_all());
        let published = written.and_then(|()| fs::rename(&self.temporary, &self.place));
        published.map_err(|error| file_error("write the message", &self.place, error))?;
        Ok(self.count)
    }
}

impl Write for MessageFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for MessageFile {
    fn drop(&mut self) {
        match fs::remove_file(&self.temporary) {
            // It has its own name by now.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(path = %self.temporary.display(), %error, "a temporary file could not be removed");
            }
            Ok(()) => {}
        }
    }
}
