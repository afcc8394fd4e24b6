//! Tests of endpoints, and dry runs of flows, for a person. No file is moved.

use crate::ingest::dry_run::{DryRun, dry_run};
use crate::ingest::room::StagingRoom;
use model::definition::{Definitions, Destination, Endpoint, EndpointUrl, FlowSource, PollSource};
use model::{Error, ErrorKind, OfferedHostKey, Result};
use std::sync::Arc;
use store::Store;
use transport::{Probe, Services, Transport};

/// What tests of endpoints need, in the gateway or in a command.
#[derive(Clone)]
pub struct Trial {
    /// The database.
    pub store: Store,
    /// All transports.
    pub transports: Vec<Arc<dyn Transport>>,
    /// The services for transports; their directory has the definitions.
    pub services: Services,
    /// The room in staging, for dry runs.
    pub room: Arc<StagingRoom>,
}

/// The role in which an endpoint is tested.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrialRole {
    /// As a flow's source.
    Source,
    /// As a flow's destination.
    Destination,
    /// As a jump host of other endpoints, which no flow uses by itself.
    JumpHost,
}

/// A test of an endpoint in one role.
pub struct Tried {
    /// The role.
    pub role: TrialRole,
    /// The address, of an endpoint that has several.
    pub address: Option<String>,
    /// The steps.
    pub probe: Probe,
}

impl Trial {
    /// The definitions with the endpoints to test.
    #[must_use]
    pub fn definitions(&self) -> Arc<Definitions> {
        self.services.directory.definitions()
    }

    /// Tests an endpoint, at each of its addresses, in each role that it has in flows. If no flow uses it: as a jump host, if
    /// others are reached over it; else as a destination, if its transport has destinations.
    ///
    /// # Errors
    /// The endpoint is not defined, or its transport has neither role.
    pub async fn test(&self, name: &str) -> Result<Vec<Tried>> {
        let definitions = self.definitions();
        let (endpoint, transport) = self.endpoint(&definitions, name)?;
        let mut probes = Vec::new();
        let polling = definitions.flows.values().find(|flow| match &flow.source {
            FlowSource::Poll(poll) => poll.endpoint == name,
            FlowSource::Receive(_) => false,
        });
        if let Some(flow) = polling {
            let source = transport.source(Arc::clone(&endpoint), Arc::clone(flow), self.services.clone())?;
            let probe = source.probe().await;
            probes.push(Tried { role: TrialRole::Source, address: None, probe });
        }
        let mut destinations = definitions.flows.values().flat_map(|flow| &flow.destinations);
        let delivering = destinations.find(|destination| destination.endpoint == name);
        if delivering.is_none()
            && probes.is_empty()
            && self.leads_to_others(&definitions, name)
            && let Some(test) = transport.test_as_jump_host(&endpoint, &self.services)
        {
            return Ok(vec![Tried { role: TrialRole::JumpHost, address: None, probe: test.await }]);
        }
        if delivering.is_some() || probes.is_empty() {
            let defined = match delivering {
                Some(destination) => destination.clone(),
                None => Destination::usual(name, name, transport.spec())?,
            };
            let several = endpoint.urls.len() > 1;
            for at in 0..endpoint.urls.len().max(1) {
                let alone = if several { Arc::new(endpoint.at(at)) } else { Arc::clone(&endpoint) };
                let address = alone.urls.first().filter(|_| several).map(EndpointUrl::shown);
                let destination = transport.destination(alone, &defined, self.services.clone())?;
                let probe = destination.probe().await;
                probes.push(Tried { role: TrialRole::Destination, address, probe });
            }
        }
        Ok(probes)
    }

    /// Whether another endpoint is reached over this one.
    fn leads_to_others(&self, definitions: &Definitions, name: &str) -> bool {
        definitions.endpoints.values().any(|other| {
            let transport = self.transports.iter().find(|known| known.spec().name == other.transport);
            let mut ways = transport.into_iter().flat_map(|transport| transport.spec().ways());
            ways.any(|field| other.options.text(field) == Some(name))
        })
    }

    /// Asks the server of an endpoint, which need not be defined, for its host keys. Nobody logs in.
    ///
    /// # Errors
    /// `Unsupported`: the transport's servers have none; the server does not answer.
    pub async fn shown_host_keys(&self, endpoint: &Arc<Endpoint>) -> Result<Vec<OfferedHostKey>> {
        let transport = self.transports.iter().find(|known| known.spec().name == endpoint.transport);
        let shown = transport.and_then(|transport| transport.shown_host_keys(endpoint, &self.services));
        let Some(shown) = shown else {
            return Err(Error::permanent(ErrorKind::Unsupported, "ask a server for its host keys")
                .with("transport", &endpoint.transport)
                .advice("only SSH servers have host keys"));
        };
        shown.await
    }

    /// Makes a dry run of a flow's source. Changes nothing at the source or in the database.
    ///
    /// # Errors
    /// The flow is not defined, or does not poll; the source does not answer; the database failed.
    pub async fn dry_run(&self, name: &str) -> Result<DryRun> {
        let definitions = self.definitions();
        let flow = definitions
            .flows
            .get(name)
            .ok_or_else(|| Error::permanent(ErrorKind::NotFound, "find the flow").with("flow", name))?;
        let FlowSource::Poll(PollSource { endpoint, .. }) = &flow.source else {
            return Err(Error::permanent(ErrorKind::Unsupported, "check a flow's source")
                .with("flow", name)
                .advice("it receives from a listener, so there is nothing to poll"));
        };
        let (endpoint, transport) = self.endpoint(&definitions, endpoint)?;
        let (services, flow) = (self.services.clone(), Arc::clone(flow));
        dry_run(&self.store, &self.room, services, transport.as_ref(), endpoint, flow).await
    }

    fn endpoint(
        &self,
        definitions: &Definitions,
        name: &str,
    ) -> Result<(Arc<Endpoint>, &Arc<dyn Transport>)> {
        let endpoint = definitions.endpoints.get(name).ok_or_else(|| {
            Error::permanent(ErrorKind::NotFound, "find the endpoint").with("endpoint", name)
        })?;
        let transport = self.transports.iter().find(|known| known.spec().name == endpoint.transport);
        let transport = transport.ok_or_else(|| {
            Error::permanent(ErrorKind::ConfigInvalid, "find an endpoint's transport")
                .with("endpoint", name)
                .with("transport", &endpoint.transport)
        })?;
        Ok((Arc::clone(endpoint), transport))
    }
}
