//! `transport = "file"`: makes sources and destinations over [`LocalFolder`].

use crate::options::{SPEC, write_options};
use crate::{LocalFolder, place};
use model::definition::{self, Definitions, Endpoint, Flow, FlowSource, PollEffects, PollSource};
use model::schema::{Finding, TransportSpec};
use model::{Error, ErrorKind, RemotePath, Result, Timestamp};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use transport::folder::{
    FolderDestination, FolderSource, FolderSourceOptions, Polling, check_poll, options, parse_directory,
};
use transport::{Declaration, Destination, Services, Source, Transport};

/// The file transport. It reaches nothing but the roots it was given.
pub struct FileTransport {
    roots: Vec<RemotePath>,
}

impl FileTransport {
    /// A transport for these roots: absolute directories, as `waybill.toml` names them. With none,
    /// every endpoint is refused.
    #[must_use]
    pub fn new(roots: impl IntoIterator<Item = PathBuf>) -> Self {
        let roots =
            roots.into_iter().map(|root| RemotePath::from_bytes(root.into_os_string().into_vec())).collect();
        Self { roots }
    }

    /// The directory an endpoint names, checked without looking at it.
    fn directory(&self, endpoint: &Endpoint) -> Result<RemotePath> {
        let wrong = |advice: &'static str| {
            Error::permanent(ErrorKind::ConfigInvalid, "use a file endpoint")
                .with("endpoint", &endpoint.name)
                .with("url", endpoint.url().map_or("none", |url| url.as_str()))
                .advice(advice)
        };
        let url = endpoint.url().ok_or_else(|| wrong("give its directory: file:///abs/dir"))?;
        if url.scheme() != "file" {
            return Err(wrong("its URL begins with file:///"));
        }
        let path = url.to_file_path().map_err(|()| wrong("name no host: file:///abs/dir"))?;
        let path = RemotePath::from_bytes(path.into_os_string().into_vec());
        if path.escapes() || path.parts().next().is_none() {
            return Err(wrong("name a directory below one of the allowed roots"));
        }
        self.allowed(&path).map_err(|e| e.with("endpoint", &endpoint.name))?;
        Ok(path)
    }

    fn allowed(&self, path: &RemotePath) -> Result<()> {
        if place::root_of(&self.roots, path).is_some() {
            return Ok(());
        }
        let roots: Vec<_> = self.roots.iter().map(RemotePath::to_text).collect();
        Err(Error::permanent(ErrorKind::ConfigInvalid, "use a directory outside the allowed roots")
            .with("directory", path)
            .with("roots", if roots.is_empty() { "none".into() } else { roots.join(", ") })
            .advice("name it below one of them, or add its root to waybill.toml"))
    }

    fn folder(&self, directory: &RemotePath) -> Arc<LocalFolder> {
        Arc::new(LocalFolder::new(directory.clone(), self.roots.clone()))
    }
}

impl Declaration for FileTransport {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        self.directory(endpoint).map(drop)
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        Polling::of(poll).effects()
    }

    fn check_destination(&self, endpoint: &Endpoint, destination: &definition::Destination) -> Result<()> {
        let directory = self.directory(endpoint)?;
        write_options(endpoint, destination, directory)
            .check()
            .map_err(|e| e.with("endpoint", &endpoint.name))
    }

    fn check_definitions(&self, definitions: &Definitions, _: Timestamp) -> Vec<Finding> {
        options::check_definitions(SPEC.name, definitions)
    }

    /// Archive and error directories of a local source are absolute, and below an allowed root too.
    fn check_source(&self, endpoint: &Endpoint, flow: &Flow) -> Result<()> {
        let FlowSource::Poll(poll) = &flow.source else { return Ok(()) };
        let directory = self.directory(endpoint)?;
        let polling = Polling::of(poll);
        if polling.error_directory.is_none() {
            return Err(Error::permanent(ErrorKind::ConfigInvalid, "poll a folder of this machine")
                .with("flow", &flow.name)
                .advice("'error_directory' is missing: name one for files that cannot be taken"));
        }
        for text in polling.after.directory().into_iter().chain(polling.error_directory.as_deref()) {
            let path = parse_directory(text)?;
            if !path.is_absolute() {
                return Err(Error::permanent(ErrorKind::ConfigInvalid, "use a relative directory")
                    .with("flow", &flow.name)
                    .with("directory", &path)
                    .advice("directories of a file endpoint are absolute"));
            }
            self.allowed(&path).map_err(|e| e.with("flow", &flow.name))?;
        }
        check_poll(&directory, poll).map_err(|e| e.with("flow", &flow.name))
    }
}

impl Transport for FileTransport {
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        self.check_source(&endpoint, &flow)?;
        let directory = self.directory(&endpoint)?;
        let folder = self.folder(&directory);
        let options = FolderSourceOptions { flow, endpoint: endpoint.name.clone(), directory };
        Ok(Arc::new(FolderSource::new(folder, options, services)?))
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let directory = self.directory(&endpoint)?;
        let folder = self.folder(&directory);
        let options = write_options(&endpoint, destination, directory);
        Ok(Arc::new(FolderDestination::new(folder, options, services)?))
    }
}

#[cfg(test)]
mod tests;
