//! `transport = "file"`: directories of this machine, or mounted on it, as sources and destinations.
//!
//! An endpoint names a directory (`file:///abs/dir`) below one of the roots that `waybill.toml` allows. [`LocalFolder`] does
//! the file-system work and never leaves those roots; polling and safe writing are [`transport::folder`]'s. Local
//! directories need no connection, and give no connection events.

mod error;
mod folder;
mod options;

pub use folder::LocalFolder;
pub use options::SPEC;

use folder::root_of;
use model::definition::Endpoint;
use model::schema::TransportSpec;
use model::{Error, ErrorKind, RemotePath, Result};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use transport::Services;
use transport::folder::{
    Folder, FolderPlace, FolderProtocol, FolderTransport, FolderUse, Polling, parse_directory,
};

/// `transport = "file"`.
pub type FileTransport = FolderTransport<LocalFiles>;

/// Local directories. Reaches nothing but the roots that it was given.
pub struct LocalFiles {
    roots: Vec<RemotePath>,
}

impl LocalFiles {
    /// Directories below these roots: absolute ones, as `waybill.toml` names them. With none, every endpoint is refused.
    #[must_use]
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let roots =
            roots.into_iter().map(|root| RemotePath::from_bytes(root.into_os_string().into_vec())).collect();
        Self { roots }
    }

    fn allowed(&self, path: &RemotePath) -> Result<()> {
        if root_of(&self.roots, path).is_some() {
            return Ok(());
        }
        let roots: Vec<_> = self.roots.iter().map(RemotePath::to_text).collect();
        Err(Error::permanent(ErrorKind::ConfigInvalid, "use a directory outside the allowed roots")
            .with("directory", path)
            .with("roots", if roots.is_empty() { "none".into() } else { roots.join(", ") })
            .advice("use a directory below one of them, or add its root to roots.files in waybill.toml"))
    }
}

impl FolderProtocol for LocalFiles {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint) -> Result<FolderPlace> {
        let directory = options::directory(endpoint)?;
        self.allowed(&directory).map_err(|error| error.with("endpoint", &endpoint.name))?;
        Ok(FolderPlace { address: "file://".into(), directory })
    }

    fn folder(&self, endpoint: &Arc<Endpoint>, opened: FolderUse, _: &Services) -> Result<Arc<dyn Folder>> {
        let folder = LocalFolder::new(self.place(endpoint)?.directory, self.roots.clone());
        Ok(Arc::new(folder.with_permissions(opened.permissions)))
    }

    /// Archive and error directories are absolute, and below an allowed root too.
    fn check_polling(&self, _: &Endpoint, polling: &Polling) -> Result<()> {
        if polling.error_directory.is_none() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "poll a folder of this machine").advice(
                "'error_directory' is missing: set it to a directory for files that cannot be staged",
            ));
        }
        for text in polling.after.directory().into_iter().chain(polling.error_directory.as_deref()) {
            let path = parse_directory(text)?;
            if !path.is_absolute() {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a relative path")
                    .with("directory", &path)
                    .advice("write an absolute path: a file endpoint has no other starting point"));
            }
            self.allowed(&path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
