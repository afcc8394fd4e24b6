//! Every transport there is.

use config::{Catalogue, Environment, Problem, Report, Roles, Settings, Severity, TransportSpec};
use model::definition::{Definitions, FlowSource};
use net::Net;
use net::http::{HttpServers, ListenSpec};
use std::path::Path;
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
    pub(crate) fn new(settings: &Settings, net: &Net, servers: &HttpServers) -> Self {
        let listen = settings.listen.http.values().map(|address| ListenSpec { address: *address, tls: None });
        let as2 = Arc::new(As2::new(net.clone(), servers.clone(), listen.collect(), AS2_PATH));
        let all: Vec<Arc<dyn Transport>> = vec![
            Arc::new(FileTransport::new(settings.roots.files.clone())),
            Arc::new(SftpTransport::new(net.clone())),
            Arc::clone(&as2) as Arc<dyn Transport>,
        ];
        Self { as2, all }
    }

    /// What only a transport can say of a flow that polls one of its endpoints: without any I/O.
    pub(crate) fn check_flows(&self, definitions: &Definitions) -> Vec<Problem> {
        let polling = definitions.flows.values().filter_map(|flow| match &flow.source {
            FlowSource::Poll(poll) => {
                definitions.endpoints.get(&poll.endpoint).map(|endpoint| (flow, endpoint))
            }
            FlowSource::Receive(_) => None,
        });
        polling
            .filter_map(|(flow, endpoint)| {
                let transport = self.all.iter().find(|transport| transport.name() == endpoint.transport)?;
                let error = transport.check_source(endpoint, flow).err()?;
                Some(Problem {
                    file: String::new(),
                    line: 0,
                    column: 0,
                    severity: Severity::Error,
                    key: format!("flow.{}.source", flow.name),
                    message: error.chain(),
                })
            })
            .collect()
    }

    /// Reads and checks a directory of definitions, with everything that transports know.
    pub(crate) fn validate(
        &self,
        directory: &Path,
        settings: &Settings,
        environment: &dyn Environment,
    ) -> Report {
        let mut report = config::validate(directory, settings, &self.catalogue(), environment);
        if let Some(definitions) = &report.definitions {
            let problems = self.check_flows(definitions);
            if !problems.is_empty() {
                report.problems.extend(problems);
                report.definitions = None;
            }
        }
        report
    }

    /// What definitions may say about them.
    pub(crate) fn catalogue(&self) -> Catalogue {
        self.all
            .iter()
            .map(|transport| {
                let roles = transport.roles();
                let checked = Arc::clone(transport);
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
                }
            })
            .collect()
    }
}
