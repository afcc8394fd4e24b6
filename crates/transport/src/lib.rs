//! The contract between the engine and every transport.
//!
//! A transport implements [`Source`], [`Destination`] or [`Listener`]; its [`Transport`] creates them. The
//! engine calls them and gives them [`Services`]. The rules are written in `docs/transport-contract.md`, and
//! the conformance suite in `testkit` tests them.
//!
//! [`folder`] implements polling and safe writing for all transports with folders: a transport that can list, read
//! and write a folder implements [`folder::Folder`] and gets a complete source and destination.

#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

mod budget;
mod copy;
mod destination;
mod evidence;
pub mod folder;
mod kept;
mod listener;
mod offer_notes;
mod payload;
mod pending;
mod resumption;
mod services;
mod source;

pub use budget::{BufferBudget, BufferLease};
pub use copy::{COPY_BUFFER, Copied, copy_to_staging};
pub use destination::{AnswerMessage, Deliver, Destination, Reply, Sent};
pub use evidence::{Evidence, EvidenceContent, LARGEST_EVIDENCE};
pub use kept::{HeldMessage, Keep, KeepLimits, Kept, KeptMessage, KeptMessages, KeptState, PartialBytes};
pub use listener::{
    AnswerState, AnsweredMessage, Awaited, Begin, Intake, JudgedBy, Judgement, Listener, Message,
    OutgoingReceipt, ReceivedFile, Reception, Resolution, Resolved, Shutdown, StoredReply, Wanted,
    content_digest,
};
pub use offer_notes::OfferNotes;
pub use payload::{PartWriter, Payload, PayloadReader, StagedPart, StagedPayload};
pub use pending::PendingFiles;
pub use resumption::{Resumption, Resumptions};
pub use services::{
    AnsweredBy, AuditLog, ClaimedFile, Clock, DeliveryLog, Directory, HostKeyList, KeptBytes, KnownOffers,
    Random, Services, SkippedFile, StagingArea, UNSTABLE_LIMIT, UnstableFile, WaitingAnswer,
};
pub use source::{
    AfterRead, ArchivedFile, ArchivedRemoval, Described, Discovery, FoundOffer, OfferStream, Opened, Part,
    PartStream, Settled, Source, Watch,
};

use futures::future::BoxFuture;
use model::OfferedHostKey;
use model::definition::{self, Endpoint, Flow};
pub use model::{Declaration, Probe, ProbeStep, Step};
use std::sync::Arc;

/// A transport: its [`Declaration`], and the functions that create its sources, destinations and listeners.
pub trait Transport: Declaration {
    /// Creates the source for a flow that polls this endpoint. Opens no connection.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no source; `ConfigInvalid`.
    fn source(
        &self,
        endpoint: Arc<Endpoint>,
        flow: Arc<Flow>,
        services: Services,
    ) -> model::Result<Arc<dyn Source>>;

    /// Creates the destination for a flow's deliveries to this endpoint. Opens no connection.
    ///
    /// # Errors
    /// `Unsupported` when the transport has no destination; `ConfigInvalid`.
    fn destination(
        &self,
        endpoint: Arc<Endpoint>,
        destination: &definition::Destination,
        services: Services,
    ) -> model::Result<Arc<dyn Destination>>;

    /// Creates the destination for a receipt that is sent later ([`OutgoingReceipt`]): it goes to this URL, which the
    /// message named, over the connection settings of this endpoint. Opens no connection.
    ///
    /// # Errors
    /// `Unsupported`, the default, when the transport sends no receipts later; `ConfigInvalid`; `PermissionDenied` when
    /// the definitions in force do not allow this URL.
    fn receipt_destination(
        &self,
        endpoint: Arc<Endpoint>,
        _url: &str,
        _services: Services,
    ) -> model::Result<Arc<dyn Destination>> {
        Err(model::Error::permanent(
            model::ErrorKind::Unsupported,
            "send a receipt by a transport that has none",
        )
        .with("endpoint", &endpoint.name)
        .with("transport", &endpoint.transport))
    }

    /// Asks the server of an endpoint for its host keys, as they are shown to whoever connects; `None`, the default, from a
    /// transport whose servers have none. Nobody logs in.
    fn shown_host_keys(
        &self,
        _: &Arc<Endpoint>,
        _services: &Services,
    ) -> Option<BoxFuture<'static, model::Result<Vec<OfferedHostKey>>>> {
        None
    }

    /// Tests an endpoint over which others are reached (a jump host): connects and logs in, no more. `None`, the default, from a
    /// transport that has no such endpoints.
    fn test_as_jump_host(
        &self,
        _: &Arc<Endpoint>,
        _services: &Services,
    ) -> Option<BoxFuture<'static, Probe>> {
        None
    }

    /// Creates a defined listener. Opens no port.
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
