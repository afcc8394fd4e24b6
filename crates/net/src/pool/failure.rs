//! The failure to make a connection, for all operations that wait for it.

use model::{ConnectionId, Error, ErrorKind, Retry, Step};
use std::time::Duration;
use tokio::time::Instant;

/// After a failure, the existing connections carry the load for this time before another is tried.
const NO_FURTHER: Duration = Duration::from_secs(15);

/// The same after a refused login or failed trust: repeated attempts often lock accounts.
const NO_FURTHER_REFUSED: Duration = Duration::from_secs(600);

/// An operation that asks within this time after a refusal gets the same error.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// An error of connecting, and when it happened.
pub(super) struct Failure {
    at: Instant,
    kind: ErrorKind,
    retry: Retry,
    chain: String,
    connection: Option<ConnectionId>,
    step: Option<Step>,
}

impl Failure {
    pub(super) fn now(error: &Error) -> Self {
        Self {
            at: Instant::now(),
            kind: error.kind(),
            retry: error.retry(),
            chain: error.chain(),
            connection: error.connection(),
            step: error.failed_step(),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self.kind, ErrorKind::Unauthenticated | ErrorKind::TrustFailed)
    }

    /// Whether another connection beside the existing ones would only fail again.
    pub(super) fn keeps_from_further(&self) -> bool {
        self.at.elapsed() < if self.is_refusal() { NO_FURTHER_REFUSED } else { NO_FURTHER }
    }

    /// Whether it also applies to an operation that began at this time.
    pub(super) fn answers(&self, since: Instant) -> bool {
        since <= self.at || self.is_refusal() && self.at.elapsed() < REFUSAL_HOLDS
    }

    /// The same error for an operation that did not try itself.
    pub(super) fn for_another(&self) -> Error {
        let error =
            Error::new(self.kind, self.retry, "get a connection that another operation had requested")
                .caused_by(self.chain.as_str());
        let error = error.on_connection(self.connection);
        self.step.into_iter().fold(error, Error::at_step)
    }
}
