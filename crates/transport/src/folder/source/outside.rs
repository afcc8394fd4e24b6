//! Directories of a flow that must not lie inside the polled one, where only the server can tell.

use super::FolderSource;
use crate::folder::sample_directory;
use model::{Error, ErrorKind, RemotePath, Result};

impl FolderSource {
    /// Refuses to poll where the archive, move or error directory is inside the polled one, so that what was moved there
    /// would be taken again. Definitions are checked for it without the server; a path from the root and one from where a
    /// login starts can only be compared here.
    ///
    /// # Errors
    /// `ConfigInvalid`, permanent: it is inside.
    pub(super) async fn check_outside(&self) -> Result<()> {
        let polled = &self.options.directory;
        for (field, text) in self.polling.directories() {
            let Ok(other) = sample_directory(text) else { continue };
            if other.is_absolute() == polled.is_absolute() {
                continue;
            }
            // Where the server does not tell, nothing can be said.
            let (Some(outer), Some(inner)) = (self.absolute(polled).await?, self.absolute(&other).await?)
            else {
                continue;
            };
            if inner.is_within(&outer) {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "poll a directory")
                    .with("endpoint", &self.options.endpoint)
                    .with("directory", outer)
                    .with(field, inner)
                    .advice(
                        "it is inside the polled directory, so its files would be polled again; choose a directory outside",
                    ));
            }
        }
        Ok(())
    }

    async fn absolute(&self, path: &RemotePath) -> Result<Option<RemotePath>> {
        match path.is_absolute() {
            true => Ok(Some(path.clone())),
            false => self.folder.absolute(path).await,
        }
    }
}
