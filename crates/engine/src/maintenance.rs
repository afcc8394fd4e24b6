//! Periodic work: lapsed leases, late receipts, expired deliveries, retention, orphaned files in staging, messages that have
//! arrived in part; and work
//! that other crates add, such as sealing the audit trail.

pub(crate) mod archives;
pub(crate) mod deadlines;
pub(crate) mod expectations;
pub(crate) mod fencing;
pub(crate) mod partial_messages;
pub(crate) mod purge;
pub(crate) mod repeat;
pub(crate) mod retention;
pub(crate) mod sweep;
