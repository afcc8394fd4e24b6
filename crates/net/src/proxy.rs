//! Going through a proxy: HTTP CONNECT and SOCKS5. What stands in an error here is said of the proxy; what it
//! says of the host behind it is told as its words.

mod http_connect;
mod socks5;

use crate::dialling::Dialling;
use crate::stream::Counted;
use model::{Error, ErrorKind, Proxy, ProxyProtocol, Result, Retry};

/// Where a tunnel leads.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Without brackets.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    /// As `host:port`, with brackets around an IPv6 address.
    pub(crate) text: &'a str,
}

/// Asks the proxy for a tunnel. The caller's deadline bounds it.
///
/// # Errors
/// `Unauthenticated` (it wants a login, or another one), `PermissionDenied` (it does not allow the host),
/// `Unreachable` for what the proxy could not reach and for a proxy that hangs up, `Protocol` for what is no such
/// proxy.
pub(crate) async fn open_tunnel(proxy: &Proxy, target: Target<'_>, socket: &mut Counted) -> Result<()> {
    match proxy.protocol {
        ProxyProtocol::Http => http_connect::open_tunnel(proxy, target, socket).await,
        ProxyProtocol::Socks5 => socks5::open_tunnel(proxy, target, socket).await,
    }
}

fn failed(proxy: &Proxy, target: Target<'_>, kind: ErrorKind, retry: Retry) -> Error {
    Dialling::Tunnel.error(kind, retry).with("proxy", proxy).with("host", target.text)
}

/// Nothing was answered, or not all of it.
fn hung_up(proxy: &Proxy, target: Target<'_>, cause: std::io::Error) -> Error {
    failed(proxy, target, ErrorKind::Unreachable, Retry::Transient)
        .advice("the proxy closed the connection without an answer: check its port and its log")
        .caused_by(cause)
}
