//! What Waybill's tests are made with. Nothing here is part of the product, and a test that uses it
//! should fail rather than wait: every wait has a limit.

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
pub mod ledger;
pub mod proxy;
pub mod server;
pub mod sftp;
