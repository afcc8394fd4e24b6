//! Whole messages: any nesting of encryption, signature and compression taken off as it streams.

pub(crate) mod leaf;
pub(crate) mod limits;
pub(crate) mod options;
pub(crate) mod payload;
mod repeated;
pub(crate) mod report;
pub(crate) mod teed;
pub(crate) mod unwrap;
