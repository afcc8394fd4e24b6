//! Test tools for Waybill, which are not part of the product. Every wait has a limit, so that a test fails
//! instead of waiting without end.

#![allow(
    clippy::disallowed_methods,
    reason = "what tests are made with opens sockets of its own: they carry no transfer"
)]

pub mod clock;
pub mod conformance;
pub mod crash;
pub mod defined;
pub mod fake;
pub mod forgetful;
pub mod heap;
pub mod ledger;
pub mod mounts;
pub mod polls;
pub mod proxy;
pub mod server;
pub mod sftp;
pub mod through;
pub mod xfs;
