//! `transport = "ftp"`: directories of FTP servers as sources and destinations, in the clear or protected by TLS.
//!
//! The dialogue (RFC 959, 2228, 2389, 2428, 3659, 4217) is spoken here over streams of the `net` room, with names as
//! bytes. Reading order: `options` (what an endpoint says), `connection` (dial, TLS, log in), `folder` (the contract, over
//! pooled connections), `error`; below them `protocol`. Polling and safe writing are [`transport::folder`]'s.
//!
//! An endpoint's directory, `ftp://host:port/dir`, is taken from where the login starts; `ftp://host:port//dir` is
//! absolute.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod connection;
mod error;
mod folder;
mod options;
mod protocol;

pub use options::SPEC;

use connection::Remote;
use folder::FtpFolder;
use model::Result;
use model::definition::{Definitions, Endpoint};
use model::schema::{Findings, TransportSpec};
use net::{Net, Pools};
use options::Settings;
use std::sync::Arc;
use transport::Services;
use transport::folder::{
    Folder, FolderPlace, FolderProtocol, FolderTransport, FolderUse, Overwrite, Verify, WriteOptions,
};

/// `transport = "ftp"`.
pub type FtpTransport = FolderTransport<Ftp>;

/// FTP servers, over a network.
pub struct Ftp {
    net: Net,
    pools: Pools<Remote>,
}

impl Ftp {
    /// The protocol over a network.
    #[must_use]
    pub fn new(net: Net) -> Self {
        let pools = Pools::of(&net);
        Self { net, pools }
    }
}

impl FolderProtocol for Ftp {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace> {
        Settings::read(endpoint, findings).map(Settings::place)
    }

    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>> {
        let definitions = services.directory.definitions();
        let pool = self.pools.get(endpoint, &definitions, opened.purpose, || {
            let settings = Settings::of(endpoint)?;
            let limits = settings.limits;
            Ok((Remote::new(self.net.clone(), settings, services.clone()), limits))
        })?;
        Ok(Arc::new(FtpFolder::new(pool, opened.permissions)))
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        let Some(settings) = Findings::ignored(|ignored| Settings::read(endpoint, ignored)) else { return };
        settings.connecting.check(definitions, findings);
        settings.warn(findings);
    }

    fn check_writing(&self, endpoint: &Endpoint, write: &WriteOptions, findings: &mut Findings<'_>) {
        check_text(endpoint, write, findings);
    }
}

/// Refuses what needs the same bytes at the server as here, where line ends are converted on the way.
fn check_text(endpoint: &Endpoint, write: &WriteOptions, findings: &mut Findings<'_>) {
    let settings = Findings::ignored(|ignored| Settings::read(endpoint, ignored));
    if !settings.is_some_and(|settings| settings.is_ascii) {
        return;
    }
    let name = &endpoint.name;
    if write.verify == Verify::Checksum {
        let message = format!(
            "is checksum, but endpoint '{name}' converts line ends (type = \"ascii\"), so what the server stores is not what \
             is sent; set verify = \"size\", or type = \"binary\" on the endpoint"
        );
        findings.error("verify", message);
    }
    if matches!(write.overwrite, Overwrite::SkipSame | Overwrite::Append) {
        let word = if write.overwrite == Overwrite::Append { "append" } else { "skip_same" };
        let message = format!(
            "is {word}, but endpoint '{name}' converts line ends (type = \"ascii\"), so what is there cannot be compared; set \
             another value, or type = \"binary\" on the endpoint"
        );
        findings.error("overwrite", message);
    }
}
