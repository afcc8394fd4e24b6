//! Sources: where files come from.

use crate::{KnownOffers, PendingFiles, Probe, Resumptions};
use async_trait::async_trait;
use futures::stream::BoxStream;
use model::{ConnectionId, Error, ErrorKind, Offer, OfferIdentity, Outcome, RemotePath, Result, Timestamp};
use serde_json::{Map, Value};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;

/// A bounded stream of what a poll found.
pub type OfferStream = BoxStream<'static, Result<FoundOffer>>;

/// The parts of one offer: one for a file, several for a mail or a multipart.
pub type PartStream = BoxStream<'static, Result<Part>>;

/// The input of one poll.
pub struct Discovery {
    /// Answers which identities are already known. Asked in batches, before sorting and limiting.
    pub known: Arc<dyn KnownOffers>,
    /// The files that the flow's earlier polls did not take yet, because they may still be being written. The poll
    /// replaces it.
    pub pending: Arc<PendingFiles>,
    /// Whether this poll is made besides the schedule's, to look at pending files again. Files that it sees for the
    /// first time, or changed, then wait for the schedule's next poll.
    pub looks_again: bool,
}

impl Discovery {
    /// The first poll of a flow.
    #[must_use]
    pub fn first(known: Arc<dyn KnownOffers>) -> Self {
        Self { known, pending: Arc::default(), looks_again: false }
    }
}

/// A file (or message) that a poll has found, and that is not staged yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundOffer {
    /// What it is.
    pub identity: OfferIdentity,
    /// Data by which the source finds it again, in the source's own format.
    pub source_data: Map<String, Value>,
}

/// An opened offer.
pub struct Opened {
    /// Its parts.
    pub parts: PartStream,
    /// The size in bytes that the server reports when the offer is opened, if it is one file. It may be
    /// wrong: only the end of the data shows that a part was read completely.
    pub size: Option<u64>,
    /// Data that the source needs to check the offer again or to settle it. It is added to the offer's
    /// `source_data`.
    pub source_data: Map<String, Value>,
}

/// The state of an offer at its source after its last byte was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AfterRead {
    /// The file is unchanged.
    Unchanged,
    /// The file no longer exists: the server gives each file only once, or somebody else removed it. The
    /// bytes that were read may be the only copy.
    Gone,
    /// Listings show the file unchanged, but a direct request (stat) shows the change that the text
    /// describes. The bytes that were read may be complete or not.
    Doubtful(String),
    /// The file was replaced or changed, as the text describes. It will be offered again.
    Changed(String),
}

/// What is known of the only file of an offer before it is opened.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    /// As [`Part::file_name`].
    pub file_name: RemotePath,
    /// As [`Part::media_type`].
    pub media_type: Option<String>,
    /// As [`Part::metadata`].
    pub metadata: Map<String, Value>,
}

/// One part of an offer.
pub struct Part {
    /// The file name, relative to the polled directory (with its directories when recursive).
    pub file_name: RemotePath,
    /// The media type, if the source reports it.
    pub media_type: Option<String>,
    /// Metadata for templates and destinations.
    pub metadata: Map<String, Value>,
    /// The bytes.
    pub reader: Box<dyn AsyncRead + Send + Unpin>,
    /// The file that the reader reads, open, where it is a whole file of this machine: staging may share its blocks instead of
    /// copying it.
    pub file: Option<File>,
    /// The connection over which they are read; `None` if there is none, as for a file of this machine. Where reading
    /// went on after a connection broke, the first one.
    pub connection: Option<ConnectionId>,
    /// How often reading went on so far, filled while it is read.
    pub resumptions: Resumptions,
}

/// The result of settling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Settled {
    /// The file was deleted, archived or moved, now or by an earlier call.
    Done,
    /// The file was archived, now or by an earlier call, and is to be removed from the archive after a time.
    Archived {
        /// The file, and what belongs to it.
        files: Vec<ArchivedFile>,
        /// How long they stay there.
        keep_for: Duration,
    },
    /// The file was kept at the source. It is not offered again as long as complete listings show it.
    Kept,
    /// The file no longer exists: it disappeared by itself, or somebody else removed it.
    Gone,
    /// The file there is not the one that was read. It was not touched, and will be offered again.
    Changed,
}

/// A file in an archive at its source.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArchivedFile {
    /// Its path.
    pub path: RemotePath,
    /// Its size in bytes there, if the server reports it.
    pub size: Option<u64>,
    /// Its modification time there, if the server reports it.
    pub modified: Option<Timestamp>,
}

/// The result of removing a file from an archive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArchivedRemoval {
    /// It was removed.
    Removed,
    /// It no longer existed.
    Gone,
    /// Another file is there, or the file was changed: it was left.
    Changed,
}

/// A source: a place that is polled for files.
#[async_trait]
pub trait Source: Send + Sync {
    /// Looks for offers: files that are stable, match the mask and are not known, in order, up to the limit.
    ///
    /// The stream ends when the poll is done. An error item ends the poll; the offers before it remain valid.
    ///
    /// # Errors
    /// The source could not be listed.
    async fn discover(&self, discovery: Discovery) -> Result<OfferStream>;

    /// What [`Source::open`] would tell about the only file of an offer, without asking the server: for flows that
    /// stream, which record a file before they open it.
    ///
    /// # Errors
    /// `Unsupported`, which is the default, where an offer is not one file, or nothing is known of it before; and as
    /// [`Source::open`] where the flow's options refuse the file.
    fn describe(&self, offer: &FoundOffer) -> Result<Described> {
        Err(Error::permanent(ErrorKind::Unsupported, "stream a file")
            .with("endpoint", &offer.identity.endpoint)
            .with("path", &offer.identity.path)
            .advice("remove 'stream' from the flow's source"))
    }

    /// Opens an offer. Its parts are read to the end of their data, whatever size was reported. The engine
    /// calls [`Source::look_again`] after the last byte of the last part.
    ///
    /// # Errors
    /// `NotFound` if the file no longer exists or was replaced; otherwise by the protocol's codes.
    async fn open(&self, offer: &FoundOffer) -> Result<Opened>;

    /// Checks an offer at its source after it was read. Its `source_data` contains what [`Source::open`]
    /// added.
    ///
    /// # Errors
    /// The source does not answer.
    async fn look_again(&self, offer: &FoundOffer) -> Result<AfterRead>;

    /// Whether its parts are files of this machine ([`Part::file`]), so that opening one asks no server.
    fn is_local(&self) -> bool {
        false
    }

    /// Undoes what [`Source::open`] did at the source, for an offer that is not taken now. Does nothing by default.
    ///
    /// # Errors
    /// The source does not answer; a later poll makes up for it.
    async fn release(&self, _offer: &FoundOffer) -> Result<()> {
        Ok(())
    }

    /// Deletes, archives, moves or keeps the file, as the flow says. Idempotent. Needs only the offer, so any
    /// node can call it days later.
    ///
    /// # Errors
    /// The file was not settled, or that is unknown; the engine calls again.
    async fn settle(&self, offer: &Offer, outcome: Outcome) -> Result<Settled>;

    /// The path that [`Source::settle`] will give the file of a taken offer in an archive at the source; `None` if it is not
    /// archived there, or if that is known only afterwards, which is the default.
    fn archive_path(&self, _offer: &Offer) -> Option<RemotePath> {
        None
    }

    /// Removes a file that [`Source::settle`] archived and whose time in the archive is over, if it is still as it was
    /// archived. Idempotent.
    ///
    /// # Errors
    /// `Unsupported` by default; otherwise by the protocol's codes: the engine calls again.
    async fn remove_archived(&self, file: &ArchivedFile) -> Result<ArchivedRemoval> {
        Err(Error::permanent(ErrorKind::Unsupported, "remove a file from an archive")
            .with("path", &file.path))
    }

    /// Begins to watch for files that arrive, so that a poll can come early. `None` where the source cannot tell, which
    /// is the default. What arrives before this returns is found by the next poll.
    ///
    /// # Errors
    /// It cannot be watched now: files are found at the flow's interval.
    async fn watch(&self) -> Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }

    /// Tests every step of a poll and reports each. Does not read any file.
    async fn probe(&self) -> Probe;
}

/// Watches a source for files that arrive. Only makes polls come early; what it misses is found at the flow's interval.
#[async_trait]
pub trait Watch: Send {
    /// Waits until something may have arrived since the last call, or since the watch began. Loses nothing when it is
    /// cancelled.
    ///
    /// # Errors
    /// The watch has ended.
    async fn changed(&mut self) -> Result<()>;
}
