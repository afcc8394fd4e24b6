//! Deliveries: claims, attempts, receipts.

mod attachments;
mod awaited;
pub(crate) mod change;
mod claim;
pub(crate) mod evidence;
mod failure;
mod failure_route;
mod finish;
mod hours;
mod insert;
mod note;
pub(crate) mod processing;
mod receipt_notes;
mod resolve;
mod steps_due;
mod streamed;
mod sweep;
mod transfers;
mod unfinished;
mod waiting;

pub use awaited::AwaitedDelivery;
pub use claim::{ClaimFilter, Claimed, PoolRooms};
pub use evidence::{EvidenceOf, NewEvidence, evidence_digest, evidence_pieces};
pub use failure_route::{FAILURE, FailureDestination, FailureRoute};
pub(crate) use finish::FinishAttempt;
pub use finish::{Finish, Finished};
pub use hours::ClosedDestination;
pub use insert::{NewDelivery, NewTransfer};
pub(crate) use insert::{described, insert_payload, insert_transfers, precise, refer};
pub(crate) use note::{may_write, write_note};
pub use processing::{ClaimedSteps, FailedSteps, MadePayload, StepsEnd, StepsEnded};
pub use resolve::{ReceiptJudgedBy, ReceiptRecord, ReceiptSays, Resolved};
pub use streamed::StreamedContent;
pub(crate) use streamed::reopen;
pub use sweep::{ExpiredDelivery, Overdue};

use model::{Error, ErrorKind, PeerText};

/// Whether a write under a claim took place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Done {
    /// It did.
    Done,
    /// Another node holds the claim now: stop this attempt.
    ClaimLost,
}

/// The failure of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The error's kind.
    pub kind: ErrorKind,
    /// The error with its causes, in one line, as in its event.
    pub text: String,
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self { kind: error.kind(), text: PeerText::from(error.chain().as_str()).as_str().to_owned() }
    }
}

impl Failure {
    /// Kind and text, as they are stored.
    pub(crate) fn columns(&self) -> (&str, &str) {
        (self.kind.as_str(), &self.text)
    }
}
