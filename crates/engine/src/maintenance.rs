//! What has to be done now and then: lapsed leases, late receipts, expired deliveries, retention, orphaned files in
//! staging; and what other crates have the engine run, such as the sealing of the audit trail.

pub(crate) mod deadlines;
pub(crate) mod fencing;
pub(crate) mod purge;
pub(crate) mod repeat;
pub(crate) mod retention;
pub(crate) mod sweep;
