//! What the overview shows of expectations that were not met.

use model::Timestamp;
use serde::Serialize;

/// Files that a flow still misses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MissingFiles {
    /// The flow.
    pub flow: String,
    /// The day, as `2026-12-24`.
    pub day: String,
    /// By when they were expected.
    pub by: Timestamp,
    /// How many were expected at least.
    pub at_least: u64,
    /// How many had come by then.
    pub found: u64,
}
