//! `transport = "file"`: directories of this machine, or mounted on it, as sources and destinations.
//!
//! An endpoint names a directory (`file:///abs/dir`) below one of the roots that `waybill.toml` allows. [`LocalFolder`] does
//! the file-system work and never leaves those roots; polling and safe writing are [`transport::folder`]'s. Local
//! directories need no connection, and give no connection events.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod error;
mod folder;
mod options;

pub use folder::LocalFolder;
pub use options::SPEC;

use folder::{WakeUps, root_of};
use model::definition::Endpoint;
use model::schema::{Findings, Section, TransportSpec};
use model::{RemotePath, Result};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use transport::Services;
use transport::folder::{
    After, Folder, FolderPlace, FolderProtocol, FolderTransport, FolderUse, LOCAL_ADDRESS, Polling,
    sample_directory,
};

/// `transport = "file"`.
pub type FileTransport = FolderTransport<LocalFiles>;

/// Local directories. Reaches nothing but the roots that it was given.
pub struct LocalFiles {
    roots: Vec<RemotePath>,
    wake_ups: Arc<WakeUps>,
}

impl LocalFiles {
    /// Directories below these roots: absolute ones, as `waybill.toml` names them. With none, every endpoint is refused.
    #[must_use]
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let roots =
            roots.into_iter().map(|root| RemotePath::from_bytes(root.into_os_string().into_vec())).collect();
        Self { roots, wake_ups: Arc::default() }
    }

    /// All directories below the roots, by absolute paths: for archives of flows.
    #[must_use]
    pub fn archives(&self) -> LocalFolder {
        let base = self.roots.first().cloned().unwrap_or_else(|| "/".into());
        LocalFolder::new(base, self.roots.clone())
    }

    /// A directory that may be used.
    fn allowed(&self, path: RemotePath) -> Result<RemotePath, String> {
        if root_of(&self.roots, &path).is_some() {
            return Ok(path);
        }
        let roots: Vec<_> = self.roots.iter().map(RemotePath::to_text).collect();
        let roots = if roots.is_empty() { "none".into() } else { roots.join(", ") };
        Err(format!(
            "{path} is outside the allowed roots ({roots}); use a directory below one of them, or add its root to \
             roots.files in waybill.toml"
        ))
    }

    /// An archive or error directory: absolute, and below an allowed root too.
    fn other_directory(&self, text: &str) -> Result<RemotePath, String> {
        let path = sample_directory(text)?;
        if !path.is_absolute() {
            return Err("must be an absolute path: a file endpoint has no other starting point".into());
        }
        self.allowed(path)
    }
}

impl FolderProtocol for LocalFiles {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace> {
        let directory = findings.accept("url", options::directory(endpoint))?;
        let directory = findings.accept("url", self.allowed(directory))?;
        Some(FolderPlace { address: LOCAL_ADDRESS.into(), directory })
    }

    fn folder(&self, endpoint: &Arc<Endpoint>, opened: FolderUse, _: &Services) -> Result<Arc<dyn Folder>> {
        let place = |findings: &mut Findings<'_>| self.place(endpoint, findings);
        let place = Findings::required(Section::ENDPOINT, &endpoint.name, place)?;
        let folder = LocalFolder::new(place.directory, self.roots.clone());
        let folder = folder.giving(opened.permissions, opened.owner);
        Ok(Arc::new(match options::wakes_up(endpoint) {
            true => folder.with_wake_ups(&self.wake_ups),
            false => folder,
        }))
    }

    fn check_polling(&self, _: &Endpoint, polling: &Polling, findings: &mut Findings<'_>) {
        if polling.error_directory.is_none() {
            let message = "has no 'error_directory': a file that is refused stays in the polled directory, and the \
                           overview shows it; set it to a directory that such files are moved to";
            findings.warning("", message);
        }
        if matches!(polling.after, After::ArchiveLocally { .. }) {
            findings
                .error("after.archive_locally", "is for remote endpoints; for a local folder use archive");
        }
        for (path, text) in polling.directories() {
            findings.accept(path, self.other_directory(text));
        }
    }
}

#[cfg(test)]
mod tests;
