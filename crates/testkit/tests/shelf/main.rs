//! `transport = "shelf"`: the example of `docs/adding-a-transport.md`, file for file; only that this file is a crate's `lib.rs`.
//!
//! A shelf is an invented server in memory that lets users in by password and carries one operation on a connection, as
//! FTP does.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test: a failed expectation is how it speaks"
)]

mod connection;
mod error;
mod folder;
mod options;
mod tests;

use connection::{Remote, Server};
use folder::ShelfFolder;
use model::Result;
use model::definition::{Definitions, Endpoint};
use model::schema::{Findings, Section, TransportSpec};
use net::{ConnectOptions, Pools};
use options::{SPEC, Settings};
use std::sync::Arc;
use transport::Services;
use transport::folder::{Folder, FolderPlace, FolderProtocol, FolderUse};

/// Shelves, by the one server that there is.
struct Shelves {
    server: Server,
    pools: Pools<Remote>,
}

impl Shelves {
    fn new(server: Server) -> Self {
        Self { server, pools: Pools::default() }
    }
}

impl FolderProtocol for Shelves {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace> {
        Settings::read(endpoint, findings).map(Settings::place)
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        ConnectOptions::read(&endpoint.options, findings).check(definitions, findings);
    }

    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>> {
        let definitions = services.directory.definitions();
        let pool = self.pools.get(endpoint, &definitions, opened.purpose, || {
            let read = |findings: &mut Findings<'_>| Settings::read(endpoint, findings);
            let settings = Findings::required(Section::ENDPOINT, &endpoint.name, read)?;
            let limits = settings.limits;
            Ok((Remote { server: self.server.clone(), settings }, limits))
        })?;
        Ok(Arc::new(ShelfFolder::new(pool)))
    }
}
