//! This node among the others: its own lease, and what becomes of the work of nodes whose lease has lapsed.

pub(crate) mod fencing;
pub(crate) mod lease;
