//! Every transport there is.

use config::{Catalogue, Settings};
use model::Declaration;
use model::schema::Field;
use net::Net;
use net::http::{HttpServers, ListenSpec};
use std::sync::Arc;
use transport::Transport;
use transport::folder::{Folder, FolderTransport};
use transport_as2::As2;
use transport_file::LocalFiles;
use transport_ftp::Ftp;
use transport_sftp::Sftp;
use transport_webdav::Webdav;

/// The transports of one gateway.
pub(crate) struct Transports {
    /// AS2, for the addresses that it is bound to.
    pub(crate) as2: Arc<As2>,
    /// All of them.
    pub(crate) all: Vec<Arc<dyn Transport>>,
    /// The directories of this machine that flows may archive to.
    pub(crate) local_archives: Arc<dyn Folder>,
}

impl Transports {
    /// The transports, receiving at these addresses; at none for a command that only looks at definitions.
    pub(crate) fn new(
        settings: &Settings,
        net: &Net,
        servers: &HttpServers,
        listen: Vec<ListenSpec>,
    ) -> Self {
        let as2 = Arc::new(As2::new(net.clone(), servers.clone(), listen));
        let files = LocalFiles::new(settings.roots.files.clone());
        let local_archives = Arc::new(files.archives());
        let all: Vec<Arc<dyn Transport>> = vec![
            Arc::new(FolderTransport::of(files)),
            Arc::new(FolderTransport::of(
                Sftp::new(net.clone()).with_agent(settings.roots.ssh_agent.clone()),
            )),
            Arc::new(FolderTransport::of(Ftp::new(net.clone()))),
            Arc::new(FolderTransport::of(Webdav::new(net.clone()))),
            Arc::clone(&as2) as Arc<dyn Transport>,
        ];
        Self { as2, all, local_archives }
    }

    /// Those whose destinations refuse a name that is taken, unless their field `overwrite` says otherwise.
    pub(crate) fn refusing(&self) -> Vec<&'static str> {
        let refuses = |field: &Field| field.name == "overwrite" && field.default == Some("refuse");
        let specs = self.all.iter().map(|transport| transport.spec());
        let refusing =
            specs.filter(|spec| spec.destination.iter().flat_map(|group| group.fields).any(refuses));
        refusing.map(|spec| spec.name).collect()
    }

    /// What definitions may say about them.
    pub(crate) fn catalogue(&self) -> Catalogue {
        self.all.iter().map(|transport| Arc::clone(transport) as Arc<dyn Declaration>).collect()
    }
}

#[cfg(test)]
mod tests;
