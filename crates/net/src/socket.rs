//! Sockets and their options. The only module that creates sockets.

#![allow(clippy::disallowed_methods, reason = "the one place in Waybill where this is done")]

use rustix::net::sockopt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// TCP keepalive: a silent peer is probed after this time (or an endpoint's own setting), at this interval, and given
/// up after this number of probes: two minutes in all. NATs and firewalls drop connections sooner than the systems'
/// default of two hours.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// The number of connections waiting to be accepted; the system's own limit may be lower.
const BACKLOG: u32 = 1024;

/// Connects to one address.
pub(crate) async fn connect(address: SocketAddr, keep_alive: Option<Duration>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    let stream = socket.connect(address).await?;
    prepare(&stream, keep_alive)?;
    Ok(stream)
}

/// Listens on one address.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait until the system has forgotten the old process's connections.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Small writes are sent at once; a peer that disappeared is noticed, if keepalive is on.
pub(crate) fn prepare(stream: &TcpStream, keep_alive: Option<Duration>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let Some(idle) = keep_alive else { return Ok(()) };
    sockopt::set_socket_keepalive(stream, true)?;
    // The system counts in seconds and accepts 1 to 32,767.
    let idle = Duration::from_secs(idle.as_secs().clamp(1, 32_767));
    sockopt::set_tcp_keepidle(stream, idle)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL.min(idle))?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}
