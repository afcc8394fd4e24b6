//! The result of reading an offer.

use crate::ingest::room::NoRoom;
use model::{
    AuditEvent, ConnectionId, Error, ErrorKind, Offer, OfferId, OfferState, RemotePath, Retry, Timestamp,
};
use serde_json::{Map, Value, json};
use store::NodeLease;
use transport::{Described, FoundOffer, OfferNotes, StagedPart};

/// The key in `source_data` for the result of a doubtful reading, which is compared with the next one.
pub(crate) const READING: &str = "reading";

/// An offer, the time when it was listed, and the lease under which it was queried: an offer that was found under one
/// lease is not recorded under the next, because other nodes may have recorded it in between.
pub(crate) struct Discovered {
    pub(crate) offer: FoundOffer,
    pub(crate) at: Timestamp,
    pub(crate) lease: NodeLease,
}

impl Discovered {
    /// The record of the offer.
    pub(crate) fn into_offer(self, id: OfferId) -> Offer {
        Offer {
            id,
            identity: self.offer.identity,
            state: OfferState::Staging,
            found_at: self.at,
            failures: 0,
            source_data: self.offer.source_data,
        }
    }
}

/// An offer that was read, durable in staging.
pub(crate) struct Whole {
    pub(crate) parts: Vec<StagedPart>,
    /// What opening and checking added to its `source_data`.
    pub(crate) source_data: Map<String, Value>,
    /// The size that the server reports, if it is not the number of bytes read.
    pub(crate) wrong_size: Option<WrongSize>,
    /// Other reasons why it may be incomplete, as text.
    pub(crate) contradiction: Option<String>,
    /// Whether reading broke off before the reported size, or no size is reported. As long as the file exists, these
    /// bytes are kept only in case it disappears.
    pub(crate) partial: bool,
    /// Why it could not be read to its end, or could not be checked afterwards.
    pub(crate) failed: Option<Error>,
    /// Whether the server could not be asked, after the last byte, if the file still exists.
    pub(crate) unseen: bool,
    /// Why a person must check it before it is delivered.
    pub(crate) hold: Option<String>,
}

/// A reported size that differs from the number of bytes read to the end of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WrongSize {
    pub(crate) stated: u64,
    pub(crate) read: u64,
}

/// The result of reading an offer.
pub(crate) enum Reading {
    /// It was read completely.
    Whole(Whole),
    /// The server's metadata contradicts that it is complete, although it did not change; or the connection broke
    /// before it could be checked. It is accepted if a second reading gives the same bytes, or if the file no longer
    /// exists.
    Doubtful(Whole),
    /// Another file has its path now, and will be offered.
    Changed(String),
    /// It was not read, or not to its end: staging has no room for it.
    NoRoom(NoRoom),
    /// It was not read: it is streamed. What is known of it, with its size in bytes.
    Streamed(Described, u64),
}

impl Reading {
    /// Whether the file waits at its source until staging has room for it.
    pub(crate) fn waits_for_room(&self) -> bool {
        matches!(self, Self::NoRoom(NoRoom { error, .. }) if error.retry() != Retry::Permanent)
    }
}

impl Whole {
    /// What identifies a reading: the length and hash of each part.
    pub(crate) fn fingerprint(&self) -> Value {
        self.parts.iter().map(|part| json!([part.staged.length, part.staged.sha256.to_string()])).collect()
    }

    /// The connection over which its first part was read.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.parts.first().and_then(|part| part.connection)
    }

    /// Notes that the file no longer exists: what was read may be the only copy.
    pub(crate) fn note_gone(&mut self) {
        OfferNotes::change(&mut self.source_data, |notes| notes.gone = true);
        self.hold = match (self.wrong_size, self.partial) {
            (Some(size), _) if size.read < size.stated => Some(format!(
                "the source reported {} bytes, {} were read, and the file no longer exists there: the bytes \
                that were read may be the only copy, and may be incomplete",
                size.stated, size.read
            )),
            (_, true) => Some(
                "reading was interrupted, the source reported no size, and the file no longer exists there: \
                the bytes that were read may be the only copy, and may be incomplete"
                    .to_owned(),
            ),
            _ => None,
        };
    }

    /// Why it was not accepted after the first reading.
    pub(crate) fn doubt(&self, path: &RemotePath) -> Error {
        if let Some(failed) = &self.failed {
            let error = Error::transient(ErrorKind::Unreachable, "check whether a file was read completely");
            let error = error.with("path", path).caused_by(failed.chain());
            return error.advice(
                "Waybill keeps what it has read: if the file still exists at the next poll, it is read \
                again; if not, these bytes are accepted",
            );
        }
        let mut error =
            Error::transient(ErrorKind::IntegrityFailed, "make sure that a file was read completely")
                .with("path", path);
        if let Some(size) = self.wrong_size {
            error = error.with("reported bytes", size.stated).with("read bytes", size.read);
        }
        error = error.on_connection(self.connection());
        if let Some(words) = &self.contradiction {
            error = error.with("since it was opened", words);
        }
        error.advice(
            "what the server reports about the file does not match what was read; it is accepted when a \
            second reading gives the same bytes",
        )
    }
}

/// The event with both sizes, if they differ.
pub(crate) fn with_sizes(event: AuditEvent, wrong_size: Option<WrongSize>) -> AuditEvent {
    match wrong_size {
        Some(size) => event.detail("stated_bytes", size.stated).detail("read_bytes", size.read),
        None => event,
    }
}
