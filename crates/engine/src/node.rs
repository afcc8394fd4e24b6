//! This node among the others: its own lease, and the release of claims of nodes whose lease has lapsed.

pub(crate) mod fencing;
pub(crate) mod lease;
