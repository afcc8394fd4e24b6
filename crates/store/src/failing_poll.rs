//! What the overview shows of flows that cannot be polled.

use model::Timestamp;
use serde::Serialize;

/// A flow whose last poll failed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FailingPoll {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The node that polled last.
    pub node: String,
    /// When a poll failed first.
    pub since: Timestamp,
    /// When the last one failed.
    pub last: Timestamp,
    /// How many failed in a row.
    pub failures: u64,
    /// Why the last one failed.
    pub error: String,
}
