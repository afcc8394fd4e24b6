//! New files: each is written whole, none takes the place of another, and after an error none is left.

use model::{Error, ErrorKind, Result};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The mode of a file that only its owner can read.
pub(super) const PRIVATE: u32 = 0o600;
/// The mode of a file that everybody can read.
pub(super) const PUBLIC: u32 = 0o644;

/// Files that a command makes in one directory. Dropped without [`NewFiles::keep`], they are removed.
pub(super) struct NewFiles {
    directory: PathBuf,
    written: Vec<PathBuf>,
}

impl NewFiles {
    /// Begins in a directory, which is made if it is missing.
    ///
    /// # Errors
    /// It cannot be made; definitions could not name files in it.
    pub(super) fn below(directory: &Path) -> Result<Self> {
        let failed =
            |error| Error::local_io("use the directory", error).with("directory", directory.display());
        fs::create_dir_all(directory).map_err(failed)?;
        let directory = directory.canonicalize().map_err(failed)?;
        super::reference::reference(&directory)?;
        Ok(Self { directory, written: Vec::new() })
    }

    /// Refuses names that are taken, before any work is done.
    ///
    /// # Errors
    /// `AlreadyExists`.
    pub(super) fn refuse_existing<'a>(&self, names: impl IntoIterator<Item = &'a str>) -> Result<()> {
        for name in names {
            let path = self.directory.join(name);
            // A link that leads nowhere is a file as well.
            if path.symlink_metadata().is_ok() {
                return Err(taken(&path));
            }
        }
        Ok(())
    }

    /// Writes a file; its absolute path.
    ///
    /// # Errors
    /// `AlreadyExists`; it cannot be written.
    pub(super) fn write(&mut self, name: &str, bytes: &[u8], mode: u32) -> Result<PathBuf> {
        let path = self.directory.join(name);
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => taken(&path),
            _ => Error::local_io("write a file", error).with("path", path.display()),
        };
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode).open(&path).map_err(failed)?;
        self.written.push(path.clone());
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(path)
    }

    /// Keeps the files, which are on the disk with their names then; their paths.
    ///
    /// # Errors
    /// The directory cannot be written to the disk.
    pub(super) fn keep(mut self) -> Result<Vec<PathBuf>> {
        File::open(&self.directory).and_then(|directory| directory.sync_all()).map_err(|error| {
            Error::local_io("write the directory to the disk", error)
                .with("directory", self.directory.display())
        })?;
        Ok(std::mem::take(&mut self.written))
    }
}

impl Drop for NewFiles {
    fn drop(&mut self) {
        for path in &self.written {
            if let Err(error) = fs::remove_file(path) {
                super::write::note(format_args!("{} could not be removed: {error}", path.display()));
            }
        }
    }
}

/// The error for a name that is taken.
pub(super) fn taken(path: &Path) -> Error {
    Error::permanent(ErrorKind::AlreadyExists, "write a file")
        .with("path", path.display())
        .advice("a file with this path exists, and is not replaced: choose another name or directory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn no_file_is_replaced_and_none_is_left_after_an_error() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("there"), "mine").unwrap();
        let mut files = NewFiles::below(directory.path()).unwrap();
        assert!(files.refuse_existing(["new", "there"]).unwrap_err().chain().contains("not replaced"));
        let key = files.write("new", b"key", PRIVATE).unwrap();
        assert_eq!(key.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(files.write("there", b"other", PUBLIC).unwrap_err().kind(), ErrorKind::AlreadyExists);
        drop(files);
        assert!(!key.exists());
        assert_eq!(fs::read(directory.path().join("there")).unwrap(), b"mine");
    }

    #[test]
    fn kept_files_stay_and_missing_directories_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let mut files = NewFiles::below(&directory.path().join("a/b")).unwrap();
        files.write("new", b"certificate", PUBLIC).unwrap();
        let kept = files.keep().unwrap();
        assert_eq!(fs::read(&kept[0]).unwrap(), b"certificate");
        assert!(kept[0].is_absolute() && kept[0].ends_with("a/b/new"));
    }
}
