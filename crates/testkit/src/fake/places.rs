//! The fake transport itself.

use super::destination::FakeDestination;
use super::endpoint::FakeEndpoint;
use super::lent::locked;
use super::source::FakeSource;
use model::definition::{Definitions, Endpoint, Flow};
use model::{OptionSpec, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use transport::folder::{FolderDestination, FolderSource, FolderSourceOptions, WriteOptions};
use transport::{Destination, Listener, Roles, Services, Source, Transport};

/// `transport = "fake"`: its endpoints do what the test says.
#[derive(Default)]
pub struct FakeTransport {
    endpoints: Mutex<BTreeMap<String, Arc<FakeEndpoint>>>,
}

impl FakeTransport {
    /// A transport without endpoints.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The place behind an endpoint's name; made when it is first asked for.
    pub fn endpoint(&self, name: &str) -> Arc<FakeEndpoint> {
        let mut endpoints = locked(&self.endpoints);
        Arc::clone(endpoints.entry(name.to_owned()).or_insert_with(|| FakeEndpoint::new(name)))
    }
}

impl Transport for FakeTransport {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn schemes(&self) -> &'static [&'static str] {
        &["fake"]
    }

    fn options(&self) -> &'static [OptionSpec] {
        &[]
    }

    fn roles(&self) -> Roles {
        Roles { source: true, destination: true, listener: false }
    }

    fn check(&self, _: &Endpoint) -> Result<()> {
        Ok(())
    }

    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        let fake = self.endpoint(&endpoint.name);
        let Some(place) = fake.folder() else {
            return Ok(Arc::new(FakeSource { endpoint: fake, flow }));
        };
        let options = FolderSourceOptions {
            flow,
            endpoint: endpoint.name.clone(),
            directory: place.directory,
            temporary_suffix: ".a".into(),
        };
        Ok(Arc::new(FolderSource::new(place.folder, options, services)?))
    }

    fn destination(&self, endpoint: Arc<Endpoint>, services: Services) -> Result<Arc<dyn Destination>> {
        let fake = self.endpoint(&endpoint.name);
        let Some(place) = fake.folder() else {
            return Ok(Arc::new(FakeDestination { endpoint: fake, services }));
        };
        let options = WriteOptions {
            overwrite: place.overwrite,
            create_directories: true,
            ..WriteOptions::new(endpoint.name.clone(), place.directory)
        };
        Ok(Arc::new(FolderDestination::new(place.folder, options, services)?))
    }

    fn listener(&self, _: Arc<Definitions>, _: Services) -> Result<Option<Arc<dyn Listener>>> {
        Ok(None)
    }
}
