//! Why a poll ended.

use model::Error;

/// Why a poll ended.
pub(crate) enum PollError {
    /// The source failed.
    Source(Error),
    /// This node failed: the database, the lease, staging.
    Node(Error),
}
