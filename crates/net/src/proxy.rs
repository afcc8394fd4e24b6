//! Connecting through a proxy: HTTP CONNECT and SOCKS5. Errors here are about the proxy; what the proxy reports about
//! the host is quoted.

mod http_connect;
mod socks5;

use crate::dialling::Dialling;
use crate::stream::Counted;
use model::{Error, ErrorKind, Proxy, ProxyProtocol, Result, Retry};

/// The target of a tunnel.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// As `host:port`, with brackets around an IPv6 address.
    pub(crate) text: &'a str,
}

/// Asks the proxy for a tunnel. The caller's deadline limits it.
///
/// # Errors
/// `Unauthenticated` (the login is missing or wrong), `PermissionDenied` (the proxy does not allow the host),
/// `Unreachable` (the proxy could not reach the host, or closed the connection), `Protocol` (it is not such a proxy).
pub(crate) async fn open_tunnel(proxy: &Proxy, target: Target<'_>, socket: &mut Counted) -> Result<()> {
    match proxy.protocol {
        ProxyProtocol::Http => http_connect::open_tunnel(proxy, target, socket).await,
        ProxyProtocol::Socks5 => socks5::open_tunnel(proxy, target, socket).await,
    }
}

fn failed(proxy: &Proxy, target: Target<'_>, kind: ErrorKind, retry: Retry) -> Error {
    Dialling::Tunnel.error(kind, retry).with("proxy", proxy).with("host", target.text)
}

/// There was no answer, or only a part of it.
fn hung_up(proxy: &Proxy, target: Target<'_>, cause: std::io::Error) -> Error {
    failed(proxy, target, ErrorKind::Unreachable, Retry::Transient)
        .advice("the proxy closed the connection without an answer: check its port and its log")
        .caused_by(cause)
}
