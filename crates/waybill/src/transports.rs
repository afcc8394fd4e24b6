//! Every transport there is.

use config::{Catalogue, Roles, Settings, TransportSpec};
use model::OptionSpec;
use net::Net;
use net::http::{HttpServers, ListenSpec};
use std::sync::Arc;
use transport::Transport;
use transport_as2::As2;
use transport_file::FileTransport;
use transport_sftp::SftpTransport;

/// Where AS2 messages are received, on each HTTP address.
pub(crate) const AS2_PATH: &str = "/as2";

/// The transports of one gateway.
pub(crate) struct Transports {
    /// AS2, for the addresses that it is bound to.
    pub(crate) as2: Arc<As2>,
    /// All of them.
    pub(crate) all: Vec<Arc<dyn Transport>>,
}

impl Transports {
    /// The transports, receiving at these addresses; at none for a command that only looks at definitions.
    pub(crate) fn new(
        settings: &Settings,
        net: &Net,
        servers: &HttpServers,
        listen: Vec<ListenSpec>,
    ) -> Self {
        let as2 = Arc::new(As2::new(net.clone(), servers.clone(), listen, AS2_PATH));
        let all: Vec<Arc<dyn Transport>> = vec![
            Arc::new(FileTransport::new(settings.roots.files.clone())),
            Arc::new(SftpTransport::new(net.clone())),
            Arc::clone(&as2) as Arc<dyn Transport>,
        ];
        Self { as2, all }
    }

    /// Those whose endpoints refuse a name that is taken, unless their option `overwrite` says otherwise.
    pub(crate) fn refusing(&self) -> Vec<&'static str> {
        let refuses = |option: &OptionSpec| option.name == "overwrite" && option.default == Some("refuse");
        let refusing = self.all.iter().filter(|transport| transport.options().iter().any(refuses));
        refusing.map(|transport| transport.name()).collect()
    }

    /// What definitions may say about them.
    pub(crate) fn catalogue(&self) -> Catalogue {
        self.all
            .iter()
            .map(|transport| {
                let roles = transport.roles();
                let (checked, polled) = (Arc::clone(transport), Arc::clone(transport));
                TransportSpec {
                    name: transport.name(),
                    schemes: transport.schemes(),
                    options: transport.options(),
                    roles: Roles {
                        source: roles.source,
                        destination: roles.destination,
                        listener: roles.listener,
                    },
                    partnership: transport.name() == self.as2.name(),
                    check: Arc::new(move |endpoint| checked.check(endpoint)),
                    check_flow: Arc::new(move |endpoint, flow| polled.check_source(endpoint, flow)),
                }
            })
            .collect()
    }
}
