//! Who sent a request, for limits and the audit trail.

use http::Extensions;
use net::http::{PeerInfo, client_network};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The client's address, as `net` found it: behind a trusted proxy, what the proxy says.
pub(crate) fn client_address(extensions: &Extensions) -> Option<SocketAddr> {
    extensions.get::<PeerInfo>().map(|peer| peer.remote)
}

/// The address that failed logins are counted for: of IPv6 the /64, which one person has whole.
pub(crate) fn limit_address(client: Option<SocketAddr>) -> IpAddr {
    client.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |client| client_network(client.ip()))
}
