//! The console of a gateway: its pages on their own address.

use crate::gateway::Gateway;
use model::Result;
use std::net::SocketAddr;

/// The console, as long as it is held.
pub(crate) struct ConsoleRoom {
    address: SocketAddr,
}

impl ConsoleRoom {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link to open.
    pub(crate) fn link(&self) -> String {
        format!("http://{}/", self.address)
    }
}

/// Opens the console's address.
pub(crate) async fn open(gateway: &Gateway) -> Result<ConsoleRoom> {
    Ok(ConsoleRoom { address: gateway.settings.listen.console })
}
