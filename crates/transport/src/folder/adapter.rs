//! Makes a complete transport from a folder protocol.
//!
//! A protocol declares its options ([`FolderProtocol::spec`]), reads where an endpoint's folder is, and opens a
//! [`Folder`] there. [`FolderTransport`] does the rest: declaration, checks, source, destination, tests of endpoints.
//! `docs/adding-a-transport.md` explains it step by step.

use super::options::{self, Polling};
use super::{
    DirectoryBelow, Folder, FolderDestination, FolderPlace, FolderSource, FolderSourceOptions, Overwrite,
    Owner, WriteOptions, check, check_poll, polled_directory,
};
use crate::{Destination, Services, Source, Transport};
use futures::future::BoxFuture;
use model::definition::{
    self, Definitions, DeliveryDirectory, Endpoint, Flow, FlowSource, KeyDefinition, PollEffects, PollSource,
    PublicKey,
};
use model::schema::{Finding, Findings, Section, TransportSpec, Values};
use model::{Declaration, HostKeyFormat, OfferedHostKey, Probe, Purpose, Result, Timestamp};
use std::sync::Arc;

/// What a folder protocol implements.
pub trait FolderProtocol: Send + Sync + 'static {
    /// The declaration of the transport. Its groups for sources and destinations begin with [`options::SOURCE`] and
    /// [`options::DESTINATION`].
    fn spec(&self) -> &'static TransportSpec;

    /// Reads and checks an endpoint's options, reports each mistake at its field, and returns where its folder is. No I/O.
    fn place(&self, endpoint: &Endpoint, findings: &mut Findings<'_>) -> Option<FolderPlace>;

    /// Creates the folder. It connects only when it is first used.
    ///
    /// # Errors
    /// `ConfigInvalid`: what [`FolderProtocol::place`] reports ([`Findings::required`]).
    fn folder(
        &self,
        endpoint: &Arc<Endpoint>,
        opened: FolderUse,
        services: &Services,
    ) -> Result<Arc<dyn Folder>>;

    /// Makes the checks of an endpoint that take long, such as decrypting a private key, or need other definitions.
    /// Called once, when the endpoint is defined.
    fn check_endpoint(&self, _: &Endpoint, _definitions: &Definitions, _: &mut Findings<'_>) {}

    /// As [`Declaration::public_key`].
    fn public_key(&self, _: &KeyDefinition) -> Option<Result<PublicKey>> {
        None
    }

    /// As [`Declaration::host_keys`].
    fn host_keys(&self) -> Option<&dyn HostKeyFormat> {
        None
    }

    /// As [`Transport::shown_host_keys`].
    fn shown_host_keys(
        &self,
        _: &Arc<Endpoint>,
        _services: &Services,
    ) -> Option<BoxFuture<'static, Result<Vec<OfferedHostKey>>>> {
        None
    }

    /// As [`Transport::test_as_jump_host`].
    fn test_as_jump_host(
        &self,
        _: &Arc<Endpoint>,
        _services: &Services,
    ) -> Option<BoxFuture<'static, Probe>> {
        None
    }

    /// Checks a flow's polling options, beyond what [`check_poll`] checks. Paths begin at the source.
    fn check_polling(&self, _: &Endpoint, _: &Polling, _: &mut Findings<'_>) {}

    /// Checks a destination's options, beyond what [`WriteOptions::check`] checks. Paths begin at the destination.
    fn check_writing(&self, _: &Endpoint, _: &WriteOptions, _: &mut Findings<'_>) {}
}

/// The use for which a folder is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderUse {
    /// The purpose of its connections, for the connection records.
    pub purpose: Purpose,
    /// The mode (as of `chmod`) of the files that it writes; with `None` the server decides.
    pub permissions: Option<u32>,
    /// Who owns the files that it writes; with `None` the server decides.
    pub owner: Option<Owner>,
}

impl FolderUse {
    /// A use that leaves permissions and owner to the server.
    #[must_use]
    pub const fn of(purpose: Purpose) -> Self {
        Self { purpose, permissions: None, owner: None }
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

    fn required_place(&self, endpoint: &Endpoint) -> Result<FolderPlace> {
        Findings::required(Section::ENDPOINT, &endpoint.name, |findings| {
            self.protocol.place(endpoint, findings)
        })
    }

    fn known_place(&self, endpoint: &Endpoint) -> Option<FolderPlace> {
        Findings::ignored(|ignored| self.protocol.place(endpoint, ignored))
    }
}

impl<P: FolderProtocol> Declaration for FolderTransport<P> {
    fn spec(&self) -> &'static TransportSpec {
        self.protocol.spec()
    }

    fn poll_effects(&self, poll: &PollSource) -> PollEffects {
        Polling::of(poll).effects()
    }

    fn delivery_directory(&self, flow: &str, options: &Values) -> DeliveryDirectory {
        DirectoryBelow::delivery_directory(flow, options)
    }

    fn check_endpoint(&self, endpoint: &Endpoint, definitions: &Definitions, findings: &mut Findings<'_>) {
        self.protocol.place(endpoint, findings);
        self.protocol.check_endpoint(endpoint, definitions, findings);
    }

    fn public_key(&self, key: &KeyDefinition) -> Option<Result<PublicKey>> {
        self.protocol.public_key(key)
    }

    fn host_keys(&self) -> Option<&dyn HostKeyFormat> {
        self.protocol.host_keys()
    }

    fn check_source(&self, endpoint: &Endpoint, poll: &PollSource, findings: &mut Findings<'_>) {
        let polling = Polling::of(poll);
        let directory = self.known_place(endpoint).map(|place| place.directory);
        check_poll(directory.as_ref(), &polling, findings);
        check::check_stable_for(poll, findings);
        check::check_done_file(poll, findings);
        polled_directory::check(poll, findings);
        self.protocol.check_polling(endpoint, &polling, findings);
    }

    fn check_destination(
        &self,
        endpoint: &Endpoint,
        destination: &definition::Destination,
        findings: &mut Findings<'_>,
    ) {
        let place = self.known_place(endpoint).unwrap_or_default();
        if let Some(write) = WriteOptions::read(endpoint, destination, place, findings) {
            if write.overwrite == Overwrite::Append {
                let message = "is append: the receiver may see a part of a file, and after an interruption a person may have \
                               to find out what was appended; prefer files of their own";
                findings.warning("overwrite", message);
            }
            self.protocol.check_writing(endpoint, &write, findings);
        }
    }

    fn check_streamed(
        &self,
        endpoint: &Endpoint,
        destination: &definition::Destination,
        findings: &mut Findings<'_>,
    ) {
        let place = self.known_place(endpoint).unwrap_or_default();
        let read = Findings::ignored(|ignored| WriteOptions::read(endpoint, destination, place, ignored));
        if let Some(write) = read {
            write.check_streamed(findings);
        }
    }

    fn check_definitions(&self, definitions: &Definitions, _: Timestamp) -> Vec<Finding> {
        check::definitions(self.spec().name, definitions, |endpoint| self.known_place(endpoint))
    }
}

impl<P: FolderProtocol> Transport for FolderTransport<P> {
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> Result<Arc<dyn Source>> {
        let directory = self.required_place(&endpoint)?.directory;
        Findings::required(Section::FLOW, &flow.name, |findings| {
            let FlowSource::Poll(poll) = &flow.source else { return Some(()) };
            self.check_source(&endpoint, poll, findings);
            Some(())
        })?;
        let folder = self.protocol.folder(&endpoint, FolderUse::of(Purpose::Poll), &services)?;
        let options = FolderSourceOptions { flow, endpoint: endpoint.name.clone(), directory };
        Ok(Arc::new(FolderSource::new(folder, options, services)?))
    }

    fn shown_host_keys(
        &self,
        endpoint: &Arc<Endpoint>,
        services: &Services,
    ) -> Option<BoxFuture<'static, Result<Vec<OfferedHostKey>>>> {
        self.protocol.shown_host_keys(endpoint, services)
    }

    fn test_as_jump_host(
        &self,
        endpoint: &Arc<Endpoint>,
        services: &Services,
    ) -> Option<BoxFuture<'static, Probe>> {
        self.protocol.test_as_jump_host(endpoint, services)
    }

    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> Result<Arc<dyn Destination>> {
        let place = self.required_place(&endpoint)?;
        let (write, permissions) = Findings::required(Section::ENDPOINT, &endpoint.name, |findings| {
            let write = WriteOptions::read(&endpoint, destination, place, findings)?;
            Some((write, findings.accept("permissions", options::permissions(destination))?))
        })?;
        let owner = write.owner.clone();
        let opened = FolderUse { purpose: Purpose::Deliver, permissions, owner };
        let folder = self.protocol.folder(&endpoint, opened, &services)?;
        Ok(Arc::new(FolderDestination::new(folder, write, services)?))
    }
}
