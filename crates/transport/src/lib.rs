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
mod services;
mod source;

pub use budget::{BufferBudget, BufferLease};
pub use copy::{COPY_BUFFER, Copied, copy_to_staging};
pub use destination::{Deliver, Destination, Sent};
pub use listener::{Begin, Intake, Listener, Message, Reception, Resolved, Shutdown, StoredReply, Wanted};
pub use offer_notes::OfferNotes;
pub use payload::{PartWriter, Payload, PayloadReader, StagedPart, StagedPayload};
pub use services::{
    AuditLog, Clock, DeliveryLog, Directory, KnownOffers, Random, Services, SkippedFile, StagingArea,
    UNSTABLE_LIMIT, UnstableFile,
};
pub use source::{AfterRead, Discovery, FoundOffer, OfferStream, Opened, Part, PartStream, Settled, Source};

use model::definition::{self, Endpoint, Flow};
pub use model::{Declaration, Probe, ProbeStep, Step};
use std::sync::Arc;

/// A transport: its [`Declaration`], and how its parts are made.
pub trait Transport: Declaration {
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

    /// A destination for a flow's deliveries to this endpoint. Opens nothing yet.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no destination; `ConfigInvalid`.
    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> model::Result<Arc<dyn Destination>>;

    /// A defined listener. Opens nothing yet.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no listeners; `ConfigInvalid`.
    fn listener(
        &self,
        listener: Arc<definition::Listener>,
        _services: Services,
    ) -> model::Result<Arc<dyn Listener>> {
        Err(model::Error::permanent(
            model::ErrorKind::Unsupported,
            "use a listener of a transport that has none",
        )
        .with("listener", &listener.name)
        .with("transport", &listener.transport))
    }
}
