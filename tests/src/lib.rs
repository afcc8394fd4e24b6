//! What the end-to-end suites share: real servers, gateways as child processes, waiting, sending.
//!
//! Everything a test starts is a value whose drop ends it. A server that cannot be started fails the
//! test.

#![allow(clippy::disallowed_methods, reason = "tests open sockets of their own")]

mod connections;
mod console;
mod database;
mod gateway;
mod keys;
pub mod pair;
mod server;
mod wait;
mod watchdog;

pub use console::cookie;
pub use database::{query, tamper};
pub use gateway::{Gateway, GatewayBuilder, get, run, waybill};
pub use keys::KeyPair;
pub use server::fresh_database;
pub use testkit::server::{Server, repository};
pub use wait::{eventually, free_port, within};
