//! The steps of flows: transfers that are claimed, what steps make of their payloads, and the record of it.
//!
//! ```text
//! dispatch ─▶ attempt ─▶ make (each step: a staged payload into a new one) ─▶ conclude
//! ```

mod attempt;
mod conclude;
pub(crate) mod dispatch;
mod make;
mod outcome;
mod streams;
