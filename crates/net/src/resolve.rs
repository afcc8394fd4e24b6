//! Name resolution: the addresses of a host.

#![allow(clippy::disallowed_methods, reason = "the one place in Waybill where this is done")]

use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;

/// Finds addresses. The system's resolver in production; tests use their own names.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a host, in the order to try them. `host` is a name or an address in text form.
    ///
    /// # Errors
    /// The name is unknown, or no server answered.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver: `/etc/hosts`, DNS, or whatever is configured.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
