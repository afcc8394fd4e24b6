//! Where files come from.

use crate::{KnownOffers, Probe};
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{ConnectionId, Offer, OfferIdentity, Outcome, RemotePath, Result};
use serde_json::{Map, Value};
use std::sync::Arc;
use tokio::io::AsyncRead;

/// A bounded stream of what a poll found.
pub type OfferStream = BoxStream<'static, Result<FoundOffer>>;

/// The parts of one offer: one for a file, several for a mail or a multipart.
pub type PartStream = BoxStream<'static, Result<Part>>;

/// What one poll is told.
pub struct Discovery {
    /// Tells which identities are known already, in batches; asked before sorting and limiting.
    pub known: Arc<dyn KnownOffers>,
}

/// Something a source has, not yet ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundOffer {
    /// What it is.
    pub identity: OfferIdentity,
    /// What the source needs to find it again, in its own words.
    pub source_data: Map<String, Value>,
}

/// An offer that was opened.
pub struct Opened {
    /// Its parts.
    pub parts: PartStream,
    /// The size in bytes that the place states when the offer is opened, where it is one file and the place tells
    /// it. It may be wrong: whether the parts were read to their end is told by their bytes alone.
    pub size: Option<u64>,
    /// What the source wants to know when it looks again or settles: added to the offer's `source_data`.
    pub source_data: Map<String, Value>,
}

/// What a source finds of an offer after its last byte was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AfterRead {
    /// It is there as it was found.
    Unchanged,
    /// Nothing is there any more: a mailbox that gives each file once, or somebody else took it. What was read to
    /// its end may be the only copy.
    Gone,
    /// Listings show it as it was found, but what a look at it tells has changed: in these words. What was read may
    /// be whole or not.
    Doubtful(String),
    /// Another file is there now, or this one was written to: in these words. It is offered anew.
    Changed(String),
}

/// One part of an offer.
pub struct Part {
    /// The file name, relative to the polled directory (with its directories when recursive).
    pub file_name: RemotePath,
    /// The media type, when the source tells it.
    pub media_type: Option<String>,
    /// Metadata for templates and destinations.
    pub metadata: Map<String, Value>,
    /// The bytes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// The connection that they are read over; `None` where there is none, as for a file of this machine.
    pub connection: Option<ConnectionId>,
}

/// What settling found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Done, now or by an earlier call: settling is idempotent.
    Done,
    /// Kept at the source: its identity hides it as long as complete listings still show it.
    Kept,
    /// Nothing was left to settle: the file had gone by itself, or somebody else took it away.
    Gone,
    /// What lies there is not what was taken. It was left alone, and will be offered anew.
    Changed,
}

/// A place that has offers.
#[async_trait]
pub trait Source: Send + Sync {
    /// Looks for offers: stable, matching, not known, in order, up to the limit.
    ///
    /// The stream ends when the poll is done. An error item ends the poll; what came before it stands.
    ///
    /// # Errors
    /// The place could not be looked at.
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream>;

    /// Opens an offer. Its parts are read to the end of their data, whatever size was stated. The engine calls
    /// [`Source::look_again`] after the last part's last byte.
    ///
    /// # Errors
    /// `NotFound` when it is gone or another file is there; the others by the protocol's codes.
    async fn open(&self, offer: &FoundOffer) -> Result<Opened>;

    /// Looks at an offer after it was read; its `source_data` holds what [`Source::open`] added.
    ///
    /// # Errors
    /// The place could not be asked.
    async fn look_again(&self, offer: &FoundOffer) -> Result<AfterRead>;

    /// Deletes, archives, moves or keeps, as the flow says. Idempotent, and needs nothing but the
    /// offer: any node may call it days later.
    ///
    /// # Errors
    /// Nothing was settled, or it is not known whether; the engine calls again.
    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled>;

    /// Tries every step of a poll and reports each, without taking anything.
    async fn probe(&self) -> Probe;
}
