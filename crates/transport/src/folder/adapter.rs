//! Makes a complete transport from a folder protocol.
//!
//! A protocol declares its options ([`FolderProtocol::spec`]), reads where an endpoint's folder is, and opens a
//! [`Folder`] there. [`FolderTransport`] does the rest: declaration, checks, source, destination, tests of endpoints.
//! `docs/adding-a-transport.md` explains it step by step.

use super::options::{self, Polling};
use super::{
    Folder, FolderDestination, FolderPlace, FolderSource, FolderSourceOptions, WriteOptions, check,
    check_poll,
};
use crate::{Destination, Services, Source, Transport};
use model::definition::{self, Definitions, Endpoint, Flow, FlowSource, PollEffects, PollSource};
use model::schema::{Finding, TransportSpec};
use model::{Declaration, Purpose, Result, Timestamp};
use std::sync::Arc;

/// What a folder protocol implements.
pub trait FolderProtocol: Send + Sync + 'static {
    /// The declaration of the transport. Its groups for sources and destinations begin with [`options::SOURCE`] and
    /// [`options::DESTINATION`].
    fn spec(&self) -> &'static TransportSpec;

    /// Reads and checks an endpoint's options, and returns where its folder is. No I/O.
    ///
    /// # Errors
    /// `ConfigInvalid`, naming the field, for the person who wrote the definition.
    fn place(&self, endpoint: &Endpoint) -> Result<FolderPlace>;

    /// Creates the folder. It connects only when it is first used.
    ///
    /// # Errors
    /// As [`FolderProtocol::place`].
    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>>;

    /// Makes the checks of an endpoint that take long, such as decrypting a private key. Called once, when the
    /// endpoint is defined.
    ///
    /// # Errors
    /// As [`FolderProtocol::place`].
    fn check_endpoint(&self, _endpoint: &Endpoint) -> Result<()> {
        Ok(())
    }

    /// Checks a flow's polling options, beyond what [`check_poll`] checks.
    ///
    /// # Errors
    /// As [`FolderProtocol::place`].
    fn check_polling(&self, _endpoint: &Endpoint, _polling: &Polling) -> Result<()> {
        Ok(())
    }
}

/// The use for which a folder is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FolderUse {
    /// The purpose of its connections, for the connection records.
    pub purpose: Purpose,
    /// The mode (as of `chmod`) of the files that it writes; with `None` the server decides.
    pub permissions: Option<u32>,
}

impl FolderUse {
    /// A use without permissions.
    #[must_use]
    pub const fn of(purpose: Purpose) -> Self {
        Self { purpose, permissions: None }
    }
}

/// A transport made from a folder protocol.
pub struct FolderTransport<P> {
    protocol: P,
}

impl<P: FolderProtocol> FolderTransport<P> {
    /// Creates the transport of a protocol.
    #[must_use]
    pub const fn of(protocol: P) -> Self {
        Self { protocol }
    }

    /// The endpoint's folder. Paths are the server's own; they are not relative to the endpoint's directory.
    ///
    /// # Errors
    /// As [`FolderProtocol::folder`].
    pub fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>> {
        self.protocol.folder(endpoint, opened, services)
    }

    fn writing(&self, endpoint: &Endpoint, destination: &definition::Destination) -> Result<WriteOptions> {
        let place = self.protocol.place(endpoint)?;
        WriteOptions::read(endpoint, destination, place)
            .map_err(|error| error.with("endpoint", &endpoint.name))
    }
}

impl<P: FolderProtocol> Declaration for FolderTransport<P> {
    fn spec(&self) -> &'static TransportSpec {
        self.protocol.spec()
    }

    fn check_endpoint(&self, endpoint: &Endpoint) -> Result<()> {
        self.protocol.place(endpoint)?;
        self.protocol.check_endpoint(endpoint)
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        Polling::of(poll).effects()
    }

    fn check_source(&self, endpoint: &Endpoint, flow: &Flow) -> Result<()> {
        let FlowSource::Poll(poll) = &flow.source else { return Ok(()) };
        let place = self.protocol.place(endpoint)?;
        let polling = Polling::of(poll);
        self.protocol
            .check_polling(endpoint, &polling)
            .and_then(|()| check_poll(&place.directory, &polling))
            .map_err(|error| error.with("flow", &flow.name))
    }

    fn check_destination(&self, endpoint: &Endpoint, destination: &definition::Destination) -> Result<()> {
        self.writing(endpoint, destination).map(drop)
    }

    fn check_definitions(&self, definitions: &Definitions, _: Timestamp) -> Vec<Finding> {
        check::definitions(self.spec().name, definitions, |endpoint| self.protocol.place(endpoint).ok())
    }
}

impl<P: FolderProtocol> Transport for FolderTransport<P> {
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        self.check_source(&endpoint, &flow)?;
        let directory = self.protocol.place(&endpoint)?.directory;
        let folder = self.protocol.folder(&endpoint, FolderUse::of(Purpose::Poll), &services)?;
        let options = FolderSourceOptions { flow, endpoint: endpoint.name.clone(), directory };
        Ok(Arc::new(FolderSource::new(folder, options, services)?))
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let write = self.writing(&endpoint, destination)?;
        let permissions = options::permissions(destination)?;
        let opened = FolderUse { purpose: Purpose::Deliver, permissions };
        let folder = self.protocol.folder(&endpoint, opened, &services)?;
        Ok(Arc::new(FolderDestination::new(folder, write, services)?))
    }
}
