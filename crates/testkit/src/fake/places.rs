//! The fake transport itself.

use super::destination::FakeDestination;
use super::endpoint::FakeEndpoint;
use super::lent::locked;
use super::source::FakeSource;
use model::definition::{self, Endpoint, Flow, PollEffects, PollSource};
use model::schema::{Field, Group, Kind, Paths, Roles, Scheme, Section, TransportSpec};
use model::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use transport::folder::{
    FolderDestination, FolderSource, FolderSourceOptions, Polling, WriteOptions, options as folder,
};
use transport::{Declaration, Destination, Services, Source, Transport};

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

/// `transport = "fake"`, declared: with a field of its own for sources and one for destinations, as a mailbox's folder
/// and a message's subject are.
pub static SPEC: TransportSpec = TransportSpec {
    schemes: &[Scheme { name: "fake", port: None, paths: Paths::None, connects_per_poll: false }],
    roles: Roles { source: true, destination: true, listener: false },
    endpoint: &[&ENDPOINT],
    source: &[&folder::SOURCE, &SOURCE],
    destination: &[&folder::DESTINATION, &DESTINATION],
    sends_attachments: true,
    ..TransportSpec::new("fake", "A place of tests.")
};

static ENDPOINT: Group = Group::of(&[Field::optional(
    "through",
    Kind::Name(Section::ENDPOINT),
    "An endpoint through which this one is reached, as a jump host.",
)]);

static SOURCE: Group = Group::of(&[
    folder::unfinished(".a"),
    Field::optional(
        "mailbox",
        Kind::Text,
        "A folder that the source offers from, as a mail server has them.",
    ),
]);

static DESTINATION: Group = Group::of(&[Field::optional(
    "subject",
    Kind::Template,
    "What goes with each delivery, as the subject of a message does.",
)]);

impl Declaration for FakeTransport {
    fn spec(&self) -> &'static TransportSpec {
        &SPEC
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        Polling::of(poll).effects()
    }
}

impl Transport for FakeTransport {
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
        let options =
            FolderSourceOptions { flow, endpoint: endpoint.name.clone(), directory: place.directory };
        Ok(Arc::new(FolderSource::new(place.folder, options, services)?))
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let fake = self.endpoint(place_of(&endpoint));
        let Some(place) = fake.folder() else {
            return Ok(Arc::new(FakeDestination {
                endpoint: fake,
                subject: destination.options.text("subject").map(str::to_owned),
                services,
            }));
        };
        let options = WriteOptions {
            overwrite: place.overwrite,
            address: place_of(&endpoint).to_owned(),
            create_directories: true,
            ..WriteOptions::new(endpoint.name.clone(), place.directory)
        };
        Ok(Arc::new(FolderDestination::new(place.folder, options, services)?))
    }

    fn receipt_destination(
        &self,
        endpoint: Arc<Endpoint>,
        url: &str,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let place = place_of_receipt(url).ok_or_else(|| {
            Error::permanent(ErrorKind::PermissionDenied, "send a receipt to another place than fake:NAME")
                .with("endpoint", &endpoint.name)
                .with("url", url)
        })?;
        Ok(Arc::new(FakeDestination { endpoint: self.endpoint(place), subject: None, services }))
    }
}

/// The place that a receipt is sent to: `fake:NAME`.
fn place_of_receipt(url: &str) -> Option<&str> {
    url.strip_prefix("fake:").filter(|name| !name.is_empty())
}

/// The place that a destination's address leads to: `fake:NAME` for one of several, the endpoint's own for `fake:place`.
fn place_of(endpoint: &Endpoint) -> &str {
    let named = endpoint.url().map(|url| url.path()).filter(|name| *name != "place");
    named.unwrap_or(&endpoint.name)
}
