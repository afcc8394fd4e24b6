//! What the engine asks of its transports.

use model::definition::{Definitions, Endpoint, Flow};
use model::{OptionSpec, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::fake::FakeTransport;
use transport::{Roles, Services, Source, Transport};

/// The fake transport, counting the sources it makes.
pub(crate) struct Counting {
    fake: Arc<FakeTransport>,
    sources: AtomicUsize,
}

impl Transport for Counting {
    fn name(&self) -> &'static str {
        self.fake.name()
    }

    fn schemes(&self) -> &'static [&'static str] {
        self.fake.schemes()
    }

    fn options(&self) -> &'static [OptionSpec] {
        self.fake.options()
    }

    fn roles(&self) -> Roles {
        self.fake.roles()
    }

    fn check(&self, endpoint: &Endpoint) -> Result<()> {
        self.fake.check(endpoint)
    }

    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        self.sources.fetch_add(1, Ordering::SeqCst);
        self.fake.source(endpoint, flow, services)
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        services: Services,
    ) -> Result<Arc<dyn transport::Destination>> {
        self.fake.destination(endpoint, services)
    }

    fn listener(
        &self,
        definitions: Arc<Definitions>,
        services: Services,
    ) -> Result<Option<Arc<dyn transport::Listener>>> {
        self.fake.listener(definitions, services)
    }
}

impl Counting {
    pub(crate) fn of(fake: &Arc<FakeTransport>) -> Arc<Self> {
        Arc::new(Self { fake: Arc::clone(fake), sources: AtomicUsize::new(0) })
    }

    pub(crate) fn sources(&self) -> usize {
        self.sources.load(Ordering::SeqCst)
    }
}
