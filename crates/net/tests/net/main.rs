//! The `net` room over real sockets on loopback, with certificates made on the spot.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "these are tests")]
#![allow(clippy::disallowed_methods, reason = "the peers' sockets")]

mod client;
mod dial;
mod proxy;
mod record;
mod server;
mod start_tls;
mod support;
mod tls;
