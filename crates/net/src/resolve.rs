//! From a host's name to its addresses.

#![allow(clippy::disallowed_methods, reason = "the one place in Waybill where this is done")]

use async_trait::async_trait;
use std::io;
use std::net::SocketAddr;

/// Finds addresses. The system's resolver in production; tests put names of their own in its place.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// The addresses of a host, in the order to try them. `host` is a name or an address in text form.
    ///
    /// # Errors
    /// The name is not known, or nobody could be asked.
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system's resolver: `/etc/hosts`, DNS, whatever it is configured for.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, port)).await?.collect())
    }
}
