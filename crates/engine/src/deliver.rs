//! Deliveries: claimed when they are due, attempted, and their end recorded.

mod attempt;
mod claim_log;
pub(crate) mod conclude;
pub(crate) mod dispatch;
mod payload;
