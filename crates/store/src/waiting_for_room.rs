//! What the overview shows of flows whose files wait for room in staging.

use model::{RemotePath, Timestamp};
use serde::Serialize;

/// A flow whose files wait at their source until staging has room for them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct WaitingForRoom {
    /// The flow.
    pub flow: String,
    /// Its source's endpoint.
    pub endpoint: String,
    /// The node that polls it.
    pub node: String,
    /// Since when some of its files wait.
    pub since: Timestamp,
    /// How many the last poll found.
    pub files: u64,
    /// The largest of them.
    pub largest: RemotePath,
    /// The bytes that the largest needs.
    pub bytes: u64,
}
