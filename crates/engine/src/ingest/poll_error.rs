//! What ended a poll.

use model::Error;

/// What ended a poll.
pub(crate) enum PollError {
    /// The source failed.
    Source(Error),
    /// This node failed: the database, the lease, staging.
    Node(Error),
}
