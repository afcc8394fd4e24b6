//! What the engine asks of its transports.

use model::Result;
use model::definition::{Destination, Endpoint, Flow, PollEffects, PollSource};
use model::schema::TransportSpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::fake::FakeTransport;
use transport::{Declaration, Services, Source, Transport};

/// The fake transport, counting the sources it makes.
pub(crate) struct Counting {
    fake: Arc<FakeTransport>,
    sources: AtomicUsize,
}

impl Declaration for Counting {
    fn spec(&self) -> &'static TransportSpec {
        self.fake.spec()
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        self.fake.poll_effects(poll)
    }
}

impl Transport for Counting {
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
        destination: &Destination,
        services: Services,
    ) -> Result<Arc<dyn transport::Destination>> {
        self.fake.destination(endpoint, destination, services)
    }

    fn receipt_destination(
        &self,
        endpoint: Arc<Endpoint>,
        url: &str,
        services: Services,
    ) -> Result<Arc<dyn transport::Destination>> {
        self.fake.receipt_destination(endpoint, url, services)
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
