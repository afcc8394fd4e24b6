//! What lists show of endpoints that are offline after failures.

use model::Timestamp;
use serde::{Deserialize, Serialize};

/// An endpoint that failures took offline on a node: it is not used there for some time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FailingEndpoint {
    /// The endpoint.
    pub endpoint: String,
    /// The node.
    pub node: String,
    /// Since when nothing has succeeded there.
    pub since: Timestamp,
    /// Until when it is not tried again.
    pub until: Timestamp,
    /// Failures in a row.
    pub failures: u64,
    /// The revision of the definitions that was in force there.
    pub revision: i64,
    /// The error of the last try.
    pub error: Option<String>,
}
