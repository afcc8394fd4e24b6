//! Which step of dialling failed, for tests of endpoints that show one step after the other.

use model::Error;

/// Operations of errors that dialling gives.
pub(crate) const FIND_HOST: &str = "find the host's address";
pub(crate) const FIND_PROXY: &str = "find the proxy's address";
pub(crate) const CONNECT: &str = "connect";
pub(crate) const CONNECT_PROXY: &str = "connect to the proxy";
pub(crate) const TUNNEL: &str = "open a tunnel through the proxy";

/// A step of dialling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DialStep {
    /// Finding the host's address.
    Name,
    /// Reaching the proxy, and the tunnel through it.
    Proxy,
    /// The connection itself.
    Socket,
}

impl DialStep {
    /// The step at which [`crate::Net::dial`] failed; `None` for what came after the connection.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        match error.operation() {
            FIND_HOST => Some(Self::Name),
            FIND_PROXY | CONNECT_PROXY | TUNNEL => Some(Self::Proxy),
            CONNECT => Some(Self::Socket),
            _ => None,
        }
    }
}
