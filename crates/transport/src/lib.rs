//! The contract between the engine and every transport.
//!
//! A transport implements [`Source`], [`Destination`] or [`Listener`] and is made by its [`Transport`].
//! The engine calls them and lends them [`Services`]; neither knows the other's names. The rules in
//! words are in `docs/transport-contract.md`; the conformance suite in `testkit` is their other half.
//!
//! [`folder`] holds polling and safe writing, written once: a transport that can list, read and write
//! a folder implements [`folder::Folder`] and gets a whole source and destination.

mod budget;
mod copy;
mod destination;
pub mod folder;
mod listener;
mod offer_notes;
mod payload;
mod probe;
mod services;
mod source;

pub use budget::{BufferBudget, BufferLease};
pub use copy::{COPY_BUFFER, Copied, copy_to_staging};
pub use destination::{Deliver, Destination, Sent};
pub use listener::{Begin, Intake, Listener, Message, Reception, Resolved, Shutdown, StoredReply};
pub use offer_notes::OfferNotes;
pub use payload::{PartWriter, Payload, PayloadReader, StagedPart, StagedPayload};
pub use probe::{Probe, ProbeStep};
pub use services::{
    AuditLog, Clock, DeliveryLog, Directory, IdentityMaterial, KnownOffers, PartnerMaterial, Random,
    Services, StagingArea, UNSTABLE_LIMIT, UnstableFile,
};
pub use source::{AfterRead, Discovery, FoundOffer, OfferStream, Opened, Part, PartStream, Settled, Source};

use async_trait::async_trait;
use model::OptionSpec;
use model::definition::{Definitions, Endpoint, Flow};
use std::sync::Arc;

/// A transport: what it is called, what it can be told, and how its parts are made.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Its name in an endpoint's `transport`, such as `sftp`.
    fn name(&self) -> &'static str;

    /// URL schemes that an endpoint of it may have; empty when it takes no URL.
    fn schemes(&self) -> &'static [&'static str];

    /// The options an endpoint may set.
    fn options(&self) -> &'static [OptionSpec];

    /// What its endpoints can be used for.
    fn roles(&self) -> Roles;

    /// Checks an endpoint further than its options' types can: without any I/O.
    ///
    /// # Errors
    /// What cannot be used, in words for the person who wrote it.
    fn check(&self, endpoint: &Endpoint) -> model::Result<()>;

    /// Checks what a flow asks of an endpoint that it polls (archive directories and the like): without
    /// any I/O.
    ///
    /// # Errors
    /// `ConfigInvalid` or `Unsupported`, in words for the person who wrote it.
    fn check_source(&self, _endpoint: &Endpoint, _flow: &Flow) -> model::Result<()> {
        Ok(())
    }

    /// A source for a flow that polls this endpoint. Opens nothing yet.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no source; `ConfigInvalid`.
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> model::Result<Arc<dyn Source>>;

    /// A destination for deliveries to this endpoint. Opens nothing yet.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no destination; `ConfigInvalid`.
    fn destination(&self, endpoint: Arc<Endpoint>, services: Services)
    -> model::Result<Arc<dyn Destination>>;

    /// A listener for all flows that receive by this transport, or `None` when it has none or no flow
    /// asks for one.
    ///
    /// # Errors
    /// `ConfigInvalid`.
    fn listener(
        &self,
        definitions: Arc<Definitions>,
        services: Services,
    ) -> model::Result<Option<Arc<dyn Listener>>>;
}

/// What endpoints of a transport can be used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Roles {
    /// A flow may poll them.
    pub source: bool,
    /// A flow may deliver to them.
    pub destination: bool,
    /// A flow may receive by the transport.
    pub listener: bool,
}
