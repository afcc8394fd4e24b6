//! The `net` room over real sockets on loopback, with certificates made on the spot.

mod client;
mod dial;
mod proxy;
mod record;
mod server;
mod support;
mod tls;
