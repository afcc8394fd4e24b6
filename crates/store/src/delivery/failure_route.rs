//! Failure routes, as they are recorded with their transfers: whoever ends one, on any node, by an attempt, a receipt or a
//! sweep, makes its child in the same transaction.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The key of a child's metadata that says why it was made.
pub const FAILURE: &str = "failure";

/// Where a transfer goes that failed for good.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailureRoute {
    /// The flow that the child goes through.
    pub flow: String,
    /// The revision of the definitions that has it.
    pub revision: i64,
    /// How long its payload is kept after the child's end.
    pub retain_for: Duration,
    /// Where it goes; at least one.
    pub destinations: Vec<FailureDestination>,
    /// Where the child goes if it fails as well.
    pub next: Option<Box<Self>>,
}

/// One destination of a failure route.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailureDestination {
    /// The flow's name for it.
    pub destination: String,
    /// The endpoint.
    pub endpoint: String,
    /// The template of the file's name; `None` keeps the name.
    pub file_name: Option<String>,
    /// The clock of the dates in it, by its IANA name; `None` for UTC.
    #[serde(default)]
    pub time_zone: Option<String>,
    /// Its lane, when the flow is ordered.
    pub lane: Option<String>,
    /// In a lane: whether the next delivery may continue after a failure.
    pub lane_continues: bool,
    /// Whether steps make what it sends.
    pub has_steps: bool,
    /// How long the delivery may take.
    pub expires_after: Option<Duration>,
}
