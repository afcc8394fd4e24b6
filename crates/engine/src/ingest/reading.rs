//! What reading an offer came to.

use model::{AuditEvent, ConnectionId, Error, ErrorKind, Offer, OfferId, OfferState, RemotePath, Timestamp};
use serde_json::{Map, Value, json};
use store::NodeLease;
use transport::StagedPart;
use transport::{FoundOffer, OfferNotes};

/// The key in `source_data` of what a doubtful reading gave, to be compared with the next one.
pub(crate) const READING: &str = "reading";

/// An offer, when its source's listing gave it, and the lease under which it was asked for: found under one
/// life of the node, it is not recorded under the next, when others may have taken it in between.
pub(crate) struct Discovered {
    pub(crate) offer: FoundOffer,
    pub(crate) at: Timestamp,
    pub(crate) lease: NodeLease,
}

impl Discovered {
    /// The offer that is recorded of it.
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
    /// What opening it and looking at it added to its `source_data`.
    pub(crate) source_data: Map<String, Value>,
    /// The size that the place states, where it is not the number of bytes read.
    pub(crate) wrong_size: Option<WrongSize>,
    /// What else contradicts that it is whole, in words.
    pub(crate) contradiction: Option<String>,
    /// Whether reading broke off before the size that the place states, or where it states none: as long as the file
    /// is there, these bytes are only kept in case it goes.
    pub(crate) partial: bool,
    /// Why it could not be read to its end, or could not be looked at afterwards.
    pub(crate) failed: Option<Error>,
    /// Whether the place could not be asked, after the last byte, if the file is still there.
    pub(crate) unseen: bool,
    /// Why a person has to look at it before it is delivered.
    pub(crate) hold: Option<String>,
}

/// A stated size that is not the number of bytes read to the end of the data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct WrongSize {
    pub(crate) stated: u64,
    pub(crate) read: u64,
}

/// What reading an offer came to.
pub(crate) enum Reading {
    /// It is whole.
    Whole(Whole),
    /// What the place tells of it contradicts that it is whole, though nothing about it changed, or the connection broke
    /// before the place could be asked: taken once a second reading gave the same bytes, or once the file is gone.
    Doubtful(Whole),
    /// Another file is there now: it is offered anew.
    Changed(String),
}

impl Whole {
    /// What tells one reading from another: length and hash of each part.
    pub(crate) fn fingerprint(&self) -> Value {
        self.parts.iter().map(|part| json!([part.staged.length, part.staged.sha256.to_string()])).collect()
    }

    /// The connection that its first part was read over.
    pub(crate) fn connection(&self) -> Option<ConnectionId> {
        self.parts.first().and_then(|part| part.connection)
    }

    /// Notes that the file is gone from its place: what was read may be the only copy.
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

    /// Why it was not taken at the first reading.
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

/// The event with both sizes, where they differ.
pub(crate) fn with_sizes(event: AuditEvent, wrong_size: Option<WrongSize>) -> AuditEvent {
    match wrong_size {
        Some(size) => event.detail("stated_bytes", size.stated).detail("read_bytes", size.read),
        None => event,
    }
}
