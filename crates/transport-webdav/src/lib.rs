//! `transport = "webdav"`: directories of WebDAV servers (RFC 4918) as sources and destinations, over HTTP and HTTPS.
//!
//! Every request goes through the HTTP client of the `net` room: one pool of persistent connections for each endpoint
//! and purpose. Reading order: `options` (what an endpoint says), `connection` (one request and its answer: login,
//! redirects, number of connections), `folder` (the contract), `error`; below them `protocol`. Polling and safe writing are
//! [`transport::folder`]'s.
//!
//! A path, `davs://host:port/dir`, is taken from the server's root, whether it begins with a slash or not.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod connection;
mod error;
mod folder;
mod options;
mod protocol;

pub use options::SPEC;

use connection::Remotes;
use folder::WebdavFolder;
use model::Result;
use model::definition::{Definitions, Endpoint};
use model::schema::{Findings, TransportSpec};
use net::Net;
use options::Settings;
use std::sync::Arc;
use transport::Services;
use transport::folder::{
    Folder, FolderPlace, FolderProtocol, FolderTransport, FolderUse, Overwrite, WriteOptions,
};

/// `transport = "webdav"`.
pub type WebdavTransport = FolderTransport<Webdav>;

/// WebDAV servers, over a network.
pub struct Webdav {
    net: Net,
    remotes: Remotes,
}

impl Webdav {
    /// The protocol over a network.
    #[must_use]
    pub fn new(net: Net) -> Self {
        let remotes = Remotes::of(&net);
        Self { net, remotes }
    }
}

impl FolderProtocol for Webdav {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace> {
        Settings::read(endpoint, findings).map(|settings| settings.place())
    }

    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>> {
        let remote = self.remotes.get(endpoint, opened.purpose, &self.net, services)?;
        let directory = Settings::of(endpoint)?.directory.clone();
        Ok(Arc::new(WebdavFolder::new(remote, directory)))
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        let Some(settings) = Findings::ignored(|findings| Settings::read(endpoint, findings)) else { return };
        settings.connecting.check(definitions, findings);
        if settings.sends_secrets_in_clear() {
            findings.warning(
                "url",
                "begins with dav:, so the password or token and the files go over the network unencrypted; use davs: \
                where the server has it",
            );
        }
    }

    fn check_writing(&self, _: &Endpoint, write: &WriteOptions, findings: &mut Findings<'_>) {
        if write.overwrite == Overwrite::Append {
            let message = "is append, which WebDAV cannot do: it writes whole files only; set another value";
            findings.error("overwrite", message);
        }
    }
}
