//! What lists show of claims that were left behind.

use model::{RemotePath, Timestamp};
use serde::Serialize;

/// The claimed files of a flow for which no recorded offer waits: their reading was cut off, or another program or gateway
/// is at work on them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ClaimsLeft {
    /// The flow.
    pub flow: String,
    /// The node that polls it.
    pub node: String,
    /// When the first of them was seen first.
    pub since: Timestamp,
    /// When the first of them is released at the earliest.
    pub released: Timestamp,
    /// How many files there are.
    pub files: u64,
    /// One of them, by its name without the claim.
    pub path: RemotePath,
}
