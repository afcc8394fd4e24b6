//! That no connection could be made, for all who wait for one.

use model::{ConnectionId, Error, ErrorKind, Retry};
use std::time::Duration;
use tokio::time::Instant;

/// After one could not be made, those there are carry the load for so long before another is tried.
const NO_FURTHER: Duration = Duration::from_secs(15);

/// The same where the server did not let us in or was not trusted: trying often locks accounts.
const NO_FURTHER_REFUSED: Duration = Duration::from_secs(600);

/// Who asks so soon after a refusal gets it as well.
const REFUSAL_HOLDS: Duration = Duration::from_secs(5);

/// An error of connecting, and when it happened.
pub(super) struct Failure {
    at: Instant,
    kind: ErrorKind,
    retry: Retry,
    chain: String,
    connection: Option<ConnectionId>,
}

impl Failure {
    pub(super) fn now(error: &Error) -> Self {
        Self {
            at: Instant::now(),
            kind: error.kind(),
            retry: error.retry(),
            chain: error.chain(),
            connection: error.connection(),
        }
    }

    fn is_refusal(&self) -> bool {
        matches!(self.kind, ErrorKind::Unauthenticated | ErrorKind::TrustFailed)
    }

    /// Whether another connection beside those there are would only fail again.
    pub(super) fn keeps_from_further(&self) -> bool {
        self.at.elapsed() < if self.is_refusal() { NO_FURTHER_REFUSED } else { NO_FURTHER }
    }

    /// Whether it answers an operation that began then.
    pub(super) fn answers(&self, since: Instant) -> bool {
        since <= self.at || self.is_refusal() && self.at.elapsed() < REFUSAL_HOLDS
    }

    /// The same error for one who did not try.
    pub(super) fn for_another(&self) -> Error {
        let error =
            Error::new(self.kind, self.retry, "get a connection that another operation had requested")
                .caused_by(self.chain.as_str());
        error.on_connection(self.connection)
    }
}
