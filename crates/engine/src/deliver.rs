//! Deliveries: claiming those that are due, attempting them, and recording the result.

mod answered;
mod attempt;
mod balanced;
mod claim_log;
pub(crate) mod conclude;
pub(crate) mod dispatch;
mod event;
mod hours;
pub(crate) mod payload;
mod pools;
pub(crate) mod proof;
mod receipt;
mod sending;
mod streamed;
