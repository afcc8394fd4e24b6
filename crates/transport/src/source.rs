//! Where files come from.

use crate::{KnownOffers, Probe};
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{Offer, OfferIdentity, Outcome, RemotePath, Result};
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
}

/// What settling found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settled {
    /// Done, now or by an earlier call: settling is idempotent.
    Done,
    /// Kept at the source: its identity hides it as long as complete listings still show it.
    Kept,
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

    /// Reads an offer. The engine calls [`Source::unchanged`] after the last part's last byte.
    ///
    /// # Errors
    /// `NotFound` when it is gone; the others by the protocol's codes.
    async fn open(&self, offer: &FoundOffer) -> Result<PartStream>;

    /// Whether the offer is still what it was when it was found: false drops what was staged.
    ///
    /// # Errors
    /// The place could not be asked.
    async fn unchanged(&self, offer: &FoundOffer) -> Result<bool>;

    /// Deletes, archives, moves or keeps, as the flow says. Idempotent, and needs nothing but the
    /// offer: any node may call it days later.
    ///
    /// # Errors
    /// Nothing was settled, or it is not known whether; the engine calls again.
    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled>;

    /// Tries every step of a poll and reports each, without taking anything.
    async fn probe(&self) -> Probe;
}
